//! ConsumerGroupHeartbeat: the one request of a consumer group's members (KIP-848).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::groups::{kept, kept_option, wire};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::acl::{Operation, ResourceType};
use crate::group::{Beaten, Heartbeat, Refused};

/// First version whose clients make their member ids.
const OWN_MEMBER_ID: i16 = 1;

impl Service for ConsumerGroupHeartbeatRequest {
    async fn serve(
        services: &Services,
        context: &Context,
        request: Authorized<Self>,
    ) -> ConsumerGroupHeartbeatResponse {
        let (request, hidden, access) = request.into_parts();
        if hidden {
            return refused(ResponseError::TopicAuthorizationFailed.into());
        }
        let may_describe = |topic: &str| access.sees(Operation::Describe, ResourceType::Topic, topic);
        let beaten = tokio::select! {
            beaten = services.groups.consumer_heartbeat(heartbeat(&request, context), &may_describe) => beaten,
            // The broker stops: the member finds its coordinator again.
            () = services.stopping.cancelled() => Err(ResponseError::NotCoordinator.into()),
        };
        beaten.map_or_else(refused, answer)
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> ConsumerGroupHeartbeatResponse {
        refused(refusal.0.into())
    }
}

fn heartbeat(request: &ConsumerGroupHeartbeatRequest, context: &Context) -> Heartbeat {
    let names = request.subscribed_topic_names.as_ref();
    let owned = request.topic_partitions.as_ref().map(|topics| {
        let of = |topic: &kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions| {
            topic.partitions.iter().map(|partition| (topic.topic_id, *partition)).collect::<Vec<_>>()
        };
        topics.iter().flat_map(of).collect()
    });
    Heartbeat {
        group: kept(&request.group_id),
        member: kept(&request.member_id),
        epoch: request.member_epoch,
        instance: kept_option(&request.instance_id),
        rack: kept_option(&request.rack_id),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        client_id: kept(context.client_id.as_deref().unwrap_or_default()),
        client_host: format!("/{}", context.session.host).into(),
        names: names.map(|names| names.iter().map(|name| kept(name)).collect()),
        regex: kept_option(&request.subscribed_topic_regex),
        assignor: kept_option(&request.server_assignor),
        owned,
        has_own_id: context.version >= OWN_MEMBER_ID,
    }
}

fn answer(beaten: Beaten) -> ConsumerGroupHeartbeatResponse {
    let topic = |(id, partitions)| TopicPartitions::default().with_topic_id(id).with_partitions(partitions);
    let assignment = beaten
        .assignment
        .map(|topics| Assignment::default().with_topic_partitions(topics.into_iter().map(topic).collect()));
    let interval =
        beaten.heartbeat_interval.map_or(0, |interval| i32::try_from(interval.as_millis()).unwrap_or(i32::MAX));
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(wire(&beaten.member)))
        .with_member_epoch(beaten.epoch)
        .with_heartbeat_interval_ms(interval)
        .with_assignment(assignment)
}

fn refused(refused: Refused) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(refused.code.code())
        .with_error_message(Some(wire(&refused.message)))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::{Encodable, Message};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn answers_fit_every_version() {
        let versions = ConsumerGroupHeartbeatRequest::VERSIONS;
        for version in versions.min..=versions.max {
            let beaten = Beaten {
                member: "m".into(),
                epoch: 3,
                heartbeat_interval: Some(std::time::Duration::from_secs(5)),
                assignment: Some(vec![(Uuid::from_u128(1), vec![0, 1])]),
            };
            answer(beaten).encode(&mut BytesMut::new(), version).expect("an answer");
            let fenced = refused(ResponseError::FencedMemberEpoch.into());
            fenced.encode(&mut BytesMut::new(), version).expect("a refusal");
        }
    }
}
