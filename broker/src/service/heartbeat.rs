//! Heartbeat: a member lives, and hears whether a rebalance is on.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::groups::{error_code, identity};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

impl Service for HeartbeatRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> HeartbeatResponse {
        let (request, (), _) = request.into_parts();
        let who = identity(&request.group_id, request.generation_id, &request.member_id, &request.group_instance_id);
        HeartbeatResponse::default().with_error_code(error_code(&services.groups.heartbeat(&who)))
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> HeartbeatResponse {
        HeartbeatResponse::default().with_error_code(refusal.0.code())
    }
}
