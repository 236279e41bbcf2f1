//! JoinGroup: becomes a member, and waits for the next generation.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::groups::{kept, kept_option, wire, wire_option};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::group::{Join, JoinRefused, Joined, Protocol, milliseconds};

/// First version with a rebalance timeout of its own.
const REBALANCE_TIMEOUT: i16 = 1;
/// First version whose clients come back with the member id they are given.
const MEMBER_ID_REQUIRED: i16 = 4;
/// First version in which the protocol name may be null.
const NULL_PROTOCOL: i16 = 7;
const SKIP_ASSIGNMENT: i16 = 9;

impl Service for JoinGroupRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> JoinGroupResponse {
        let (request, (), _) = request.into_parts();
        let member = kept(&request.member_id);
        let joined = tokio::select! {
            joined = services.groups.join(join(request, context)) => joined,
            // The broker stops: the member finds its coordinator again.
            () = services.stopping.cancelled() => Err(JoinRefused { code: ResponseError::NotCoordinator, member }),
        };
        match joined {
            Ok(joined) => answer(joined, context.version),
            Err(refused) => refusal_of(&refused, context.version),
        }
    }

    fn refuse(refusal: Refusal, _: &Self, context: &Context) -> JoinGroupResponse {
        let refused = JoinRefused { code: refusal.0, member: "".into() };
        refusal_of(&refused, context.version)
    }
}

fn join(request: JoinGroupRequest, context: &Context) -> Join {
    let rebalance_timeout_ms = match context.version < REBALANCE_TIMEOUT || request.rebalance_timeout_ms < 0 {
        true => request.session_timeout_ms,
        false => request.rebalance_timeout_ms,
    };
    let protocols = request
        .protocols
        .iter()
        .map(|protocol| Protocol { name: kept(&protocol.name), metadata: Bytes::copy_from_slice(&protocol.metadata) });
    Join {
        group: kept(&request.group_id),
        member: kept(&request.member_id),
        instance: kept_option(&request.group_instance_id),
        client_id: kept(context.client_id.as_deref().unwrap_or_default()),
        // Kafka shows hosts as Java prints addresses, and tools cut the slash off.
        client_host: format!("/{}", context.session.host).into(),
        session_timeout: milliseconds(request.session_timeout_ms),
        rebalance_timeout: milliseconds(rebalance_timeout_ms),
        protocol_type: kept(&request.protocol_type),
        protocols: protocols.collect(),
        id_first: context.version >= MEMBER_ID_REQUIRED,
        may_skip_assignment: context.version >= SKIP_ASSIGNMENT,
    }
}

fn answer(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(wire(&member.id))
            .with_group_instance_id(wire_option(&member.instance))
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(wire_option(&joined.protocol_type))
        .with_protocol_name(protocol_name(wire_option(&joined.protocol), version))
        .with_leader(wire(&joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(wire(&joined.member))
        .with_members(members.collect())
}

fn refusal_of(refused: &JoinRefused, version: i16) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(refused.code.code())
        .with_generation_id(-1)
        .with_protocol_type(None)
        .with_protocol_name(protocol_name(None, version))
        .with_member_id(wire(&refused.member))
}

fn protocol_name(name: Option<StrBytes>, version: i16) -> Option<StrBytes> {
    name.or_else(|| (version < NULL_PROTOCOL).then(StrBytes::default))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::{Encodable, Message};

    use super::*;
    use crate::group::JoinedMember;

    #[test]
    fn answers_fit_every_version() {
        let versions = JoinGroupRequest::VERSIONS;
        for version in versions.min..=versions.max {
            let joined = Joined {
                generation: 3,
                protocol_type: Some("consumer".into()),
                protocol: Some("range".into()),
                leader: "a".into(),
                member: "a".into(),
                skip_assignment: version >= SKIP_ASSIGNMENT,
                members: vec![JoinedMember { id: "a".into(), instance: Some("i".into()), metadata: Bytes::new() }],
            };
            answer(joined, version).encode(&mut BytesMut::new(), version).expect("an answer");
            let refused = JoinRefused { code: ResponseError::MemberIdRequired, member: "b".into() };
            refusal_of(&refused, version).encode(&mut BytesMut::new(), version).expect("a refusal");
        }
    }
}
