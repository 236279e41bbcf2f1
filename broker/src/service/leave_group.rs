//! LeaveGroup: members go, or are removed by an operator.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::groups::{error_code, kept, kept_option};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

/// First version that names several members.
const BATCHED: i16 = 3;

impl Service for LeaveGroupRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> LeaveGroupResponse {
        let (request, (), _) = request.into_parts();
        let members: Vec<_> = if context.version < BATCHED {
            vec![(kept(&request.member_id), None)]
        } else {
            let named = request.members.iter();
            named.map(|member| (kept(&member.member_id), kept_option(&member.group_instance_id))).collect()
        };
        let results = match services.groups.leave(&kept(&request.group_id), &members) {
            Ok(results) => results,
            Err(error) => return failed(error),
        };
        if context.version < BATCHED {
            return LeaveGroupResponse::default().with_error_code(results.first().map_or(0, error_code));
        }
        let members = request.members.into_iter().zip(&results).map(|(member, result)| {
            MemberResponse::default()
                .with_member_id(member.member_id)
                .with_group_instance_id(member.group_instance_id)
                .with_error_code(error_code(result))
        });
        LeaveGroupResponse::default().with_members(members.collect())
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> LeaveGroupResponse {
        failed(refusal.0)
    }
}

fn failed(error: ResponseError) -> LeaveGroupResponse {
    LeaveGroupResponse::default().with_error_code(error.code())
}
