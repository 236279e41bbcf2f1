//! OffsetFetch: how far groups have read. Only what is durable is shown; whoever wants a stable answer waits where an open
//! transaction may change it (KIP-447).

use std::collections::{HashMap, HashSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::groups::{wire, wire_topic};
use super::{Context, Service, Services};
use crate::auth::{Access, Authorized, Refusal};
use crate::catalog::Image;
use crate::catalog::acl::{Operation, ResourceType};
use crate::group::{OffsetValue, Offsets};

/// First version that asks for several groups.
const BATCHED: i16 = 8;
/// First version with an error for the group as a whole.
const GROUP_ERROR: i16 = 2;
/// "No offset", Kafka's way.
const NONE: i64 = -1;

/// Topics with partition indexes; `None` asks for all.
type Wanted = Option<Vec<(TopicName, Vec<i32>)>>;

impl Service for OffsetFetchRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> OffsetFetchResponse {
        let (request, denied, access) = request.into_parts();
        if context.version < BATCHED {
            let wanted = request.topics.map(|topics| topics.into_iter().map(named).collect());
            let stable = request.require_stable;
            let mut answer = fetch(services, &access, &request.group_id, wanted.clone(), stable);
            if let (Err(error), true) = (&answer, context.version < GROUP_ERROR) {
                answer = Ok(all_failed(wanted.unwrap_or_default(), *error));
            }
            let refused = denied.topics.into_iter().map(named).collect();
            return match answer {
                Ok(mut topics) => {
                    topics.extend(all_failed(refused, ResponseError::TopicAuthorizationFailed));
                    OffsetFetchResponse::default().with_topics(topics.into_iter().map(single).collect())
                }
                Err(error) => OffsetFetchResponse::default().with_error_code(error.code()),
            };
        }
        let stable = request.require_stable;
        let mut hidden: HashMap<_, _> = denied.group_topics.into_iter().collect();
        let mut seen = HashSet::new();
        let named = request.groups.into_iter().filter(|group| seen.insert(group.group_id.clone()));
        let answered = named.map(|group: OffsetFetchRequestGroup| {
            let wanted = group.topics.map(|topics| topics.into_iter().map(batch_named).collect());
            let refused = hidden.remove(&group.group_id).unwrap_or_default().into_iter().map(batch_named).collect();
            let member = group.member_id.as_deref();
            let allowed = services.groups.check_fetch(&group.group_id, member, group.member_epoch);
            match allowed.and_then(|()| fetch(services, &access, &group.group_id, wanted, stable)) {
                Ok(mut topics) => {
                    topics.extend(all_failed(refused, ResponseError::TopicAuthorizationFailed));
                    OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics)
                }
                Err(error) => failed(group.group_id, error),
            }
        });
        let refused = denied.groups.into_iter().map(|group| failed(group, ResponseError::GroupAuthorizationFailed));
        let groups = answered.collect::<Vec<_>>().into_iter().chain(refused);
        OffsetFetchResponse::default().with_groups(groups.collect())
    }

    fn refuse(refusal: Refusal, request: &Self, context: &Context) -> OffsetFetchResponse {
        let response = OffsetFetchResponse::default();
        if context.version >= BATCHED {
            let groups = request.groups.iter().map(|group| failed(group.group_id.clone(), refusal.0));
            return response.with_groups(groups.collect());
        }
        if context.version >= GROUP_ERROR {
            return response.with_error_code(refusal.0.code());
        }
        let wanted = request.topics.clone().unwrap_or_default().into_iter().map(named).collect();
        response.with_topics(all_failed(wanted, refusal.0).into_iter().map(single).collect())
    }
}

fn fetch(
    services: &Services,
    access: &Access,
    group: &GroupId,
    wanted: Wanted,
    stable: bool,
) -> Result<Vec<OffsetFetchResponseTopics>, ResponseError> {
    let image = services.catalog.image();
    services.groups.offsets(group, |offsets| match wanted {
        Some(topics) => topics
            .into_iter()
            .map(|(name, indexes)| {
                let found = |index| offsets.get(&name, index).filter(|value| value.is_current(&image, &name));
                let partitions = indexes.into_iter().map(|index| match stable && offsets.is_unstable(&name, index) {
                    true => unstable(index),
                    false => answer(index, found(index)),
                });
                topic(name.clone(), partitions.collect())
            })
            .collect(),
        None => everything(offsets, &image, access, stable),
    })
}

/// All topics with an offset that may be described.
fn everything(offsets: &Offsets, image: &Image, access: &Access, stable: bool) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    let mut last = None;
    for (name, index, value) in offsets.iter().filter(|(name, _, value)| value.is_current(image, name)) {
        // Offsets come sorted, so a topic is decided on once.
        let visible = match last {
            Some((decided, visible)) if decided == name => visible,
            _ => {
                let visible = access.sees(Operation::Describe, ResourceType::Topic, name);
                if visible {
                    topics.push(topic(wire_topic(name), Vec::new()));
                }
                last = Some((name, visible));
                visible
            }
        };
        if let (true, Some(topic)) = (visible, topics.last_mut()) {
            topic.partitions.push(match stable && offsets.is_unstable(name, index) {
                true => unstable(index),
                false => answer(index, Some(value)),
            });
        }
    }
    topics
}

fn topic(name: TopicName, partitions: Vec<OffsetFetchResponsePartitions>) -> OffsetFetchResponseTopics {
    OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions)
}

fn answer(index: i32, value: Option<&OffsetValue>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(value.map_or(NONE, |value| value.offset))
        .with_committed_leader_epoch(value.map_or(-1, |value| value.leader_epoch))
        .with_metadata(Some(value.map_or_else(StrBytes::default, |value| wire(&value.metadata))))
}

fn unstable(index: i32) -> OffsetFetchResponsePartitions {
    answer(index, None).with_error_code(ResponseError::UnstableOffsetCommit.code())
}

fn all_failed(wanted: Vec<(TopicName, Vec<i32>)>, error: ResponseError) -> Vec<OffsetFetchResponseTopics> {
    let failed = |index| answer(index, None).with_error_code(error.code());
    wanted.into_iter().map(|(name, indexes)| topic(name, indexes.into_iter().map(failed).collect())).collect()
}

fn failed(group: GroupId, error: ResponseError) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup::default().with_group_id(group).with_error_code(error.code())
}

fn named(topic: OffsetFetchRequestTopic) -> (TopicName, Vec<i32>) {
    (topic.name, topic.partition_indexes)
}

fn batch_named(topic: OffsetFetchRequestTopics) -> (TopicName, Vec<i32>) {
    (topic.name, topic.partition_indexes)
}

/// The form before batches.
fn single(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter().map(|partition| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code)
    });
    OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(partitions.collect())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::{Encodable, Message};

    use super::*;

    #[test]
    fn answers_fit_every_version() {
        let value = OffsetValue {
            offset: 7,
            leader_epoch: 1,
            metadata: "m".into(),
            commit_timestamp: 0,
            expire_timestamp: None,
            topic_id: None,
        };
        let versions = OffsetFetchRequest::VERSIONS;
        for version in versions.min..=versions.max {
            let found = vec![topic(wire_topic("t"), vec![answer(0, Some(&value)), answer(1, None)])];
            let response = match version < BATCHED {
                true => OffsetFetchResponse::default().with_topics(found.into_iter().map(single).collect()),
                false => OffsetFetchResponse::default()
                    .with_groups(vec![OffsetFetchResponseGroup::default().with_topics(found)]),
            };
            response.encode(&mut BytesMut::new(), version).expect("an answer");
        }
    }
}
