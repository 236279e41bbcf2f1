//! SyncGroup: the leader hands in everybody's assignment, everybody gets their own.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::groups::{identity, kept, kept_option, wire_option};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::group::Sync;

/// First version in which members say which protocol they think was chosen.
const NAMES_PROTOCOL: i16 = 5;

impl Service for SyncGroupRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> SyncGroupResponse {
        let (request, (), _) = request.into_parts();
        if context.version >= NAMES_PROTOCOL && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
            return failed(ResponseError::InconsistentGroupProtocol);
        }
        let assignments = request.assignments.iter();
        let assignments =
            assignments.map(|member| (kept(&member.member_id), Bytes::copy_from_slice(&member.assignment)));
        let sync = Sync {
            identity: identity(
                &request.group_id,
                request.generation_id,
                &request.member_id,
                &request.group_instance_id,
            ),
            protocol_type: kept_option(&request.protocol_type),
            protocol: kept_option(&request.protocol_name),
            assignments: assignments.collect(),
        };
        let synced = tokio::select! {
            synced = services.groups.sync(sync) => synced,
            // The broker stops: the member finds its coordinator again.
            () = services.stopping.cancelled() => Err(ResponseError::NotCoordinator),
        };
        match synced {
            Ok(synced) => SyncGroupResponse::default()
                .with_protocol_type(wire_option(&synced.protocol_type))
                .with_protocol_name(wire_option(&synced.protocol))
                .with_assignment(synced.assignment),
            Err(error) => failed(error),
        }
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> SyncGroupResponse {
        failed(refusal.0)
    }
}

fn failed(error: ResponseError) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(error.code())
}
