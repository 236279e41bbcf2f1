//! ListOffsets: by timestamp, or one of Kafka's special positions.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::Image;
use crate::log::{LogError, Partition, TimestampOffset};

/// Next offset to be written, as far as the isolation sees.
const LATEST: i64 = -1;
/// First offset.
const EARLIEST: i64 = -2;
/// Record with the largest timestamp.
const MAX_TIMESTAMP: i64 = -3;
/// First offset on local disk; all are.
const EARLIEST_LOCAL: i64 = -4;
/// Last offset in tiered storage; there is none.
const LATEST_TIERED: i64 = -5;

const READ_COMMITTED: i8 = 1;
/// First version with leader epochs in request and response.
const LEADER_EPOCH: i16 = 4;

impl Service for ListOffsetsRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> ListOffsetsResponse {
        let (request, denied, access) = request.into_parts();
        let refuse = |topic: &ListOffsetsTopic| failed(topic, ResponseError::TopicAuthorizationFailed);
        let mut answered: Vec<_> = denied.iter().map(refuse).collect();
        let committed = request.isolation_level == READ_COMMITTED;
        for topic in merged(request.topics) {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for (wanted, repeated) in once(&topic.partitions) {
                let found = match repeated {
                    true => Err(ResponseError::InvalidRequest),
                    false => look_up(services, access.image(), &topic.name, wanted, committed, context.version).await,
                };
                let index = wanted.partition_index;
                let told = |found: TimestampOffset| match context.version >= LEADER_EPOCH {
                    true => found,
                    false => TimestampOffset { leader_epoch: -1, ..found },
                };
                partitions.push(match found {
                    Ok(Some(found)) => answer(index, 0, told(found)),
                    Ok(None) => answer(index, 0, NOT_FOUND),
                    Err(error) => answer(index, error.code(), NOT_FOUND),
                });
            }
            answered.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
        }
        ListOffsetsResponse::default().with_topics(answered)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> ListOffsetsResponse {
        let topics = request.topics.iter().map(|topic| failed(topic, refusal.0));
        ListOffsetsResponse::default().with_topics(topics.collect())
    }
}

/// Each topic once, with all partitions that the request wants of it.
fn merged(topics: Vec<ListOffsetsTopic>) -> Vec<ListOffsetsTopic> {
    let mut places: HashMap<_, usize> = HashMap::with_capacity(topics.len());
    let mut merged: Vec<ListOffsetsTopic> = Vec::with_capacity(topics.len());
    for topic in topics {
        match places.entry(topic.name.clone()) {
            Entry::Occupied(place) => merged[*place.get()].partitions.extend(topic.partitions),
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(topic);
            }
        }
    }
    merged
}

/// Each partition once, and whether it is wanted more than once.
fn once(partitions: &[ListOffsetsPartition]) -> Vec<(&ListOffsetsPartition, bool)> {
    let mut places: HashMap<_, usize> = HashMap::with_capacity(partitions.len());
    let mut once: Vec<(&ListOffsetsPartition, bool)> = Vec::with_capacity(partitions.len());
    for partition in partitions {
        match places.entry(partition.partition_index) {
            Entry::Occupied(place) => once[*place.get()].1 = true,
            Entry::Vacant(place) => {
                place.insert(once.len());
                once.push((partition, false));
            }
        }
    }
    once
}

const NOT_FOUND: TimestampOffset = TimestampOffset { timestamp: -1, offset: -1, leader_epoch: -1 };

async fn look_up(
    services: &Services,
    image: &Image,
    topic: &str,
    wanted: &ListOffsetsPartition,
    committed: bool,
    version: i16,
) -> Result<Option<TimestampOffset>, ResponseError> {
    if first_version(wanted.timestamp).is_none_or(|first| version < first) {
        return Err(ResponseError::UnsupportedVersion);
    }
    let topic = image.topic(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let code = |error: LogError| error.code();
    let partition = services.partition(topic, wanted.partition_index).map_err(code)?;
    if version >= LEADER_EPOCH {
        partition.check_epoch(wanted.current_leader_epoch).map_err(code)?;
    }
    let bounds = partition.bounds();
    let latest = if committed { bounds.last_stable } else { bounds.high_watermark };
    match wanted.timestamp {
        LATEST => Ok(Some(at(&partition, latest))),
        EARLIEST | EARLIEST_LOCAL => Ok(Some(at(&partition, bounds.log_start))),
        LATEST_TIERED => Ok(None),
        MAX_TIMESTAMP => partition.offset_of_max_timestamp().await.map_err(code),
        timestamp => {
            let found = partition.offset_for_time(timestamp).await.map_err(code)?;
            Ok(found.filter(|found| found.offset < latest))
        }
    }
}

/// The version that first knew a position; none when it means nothing.
fn first_version(timestamp: i64) -> Option<i16> {
    match timestamp {
        0.. | LATEST | EARLIEST => Some(0),
        MAX_TIMESTAMP => Some(7),
        EARLIEST_LOCAL => Some(8),
        LATEST_TIERED => Some(9),
        _ => None,
    }
}

fn at(partition: &Partition, offset: i64) -> TimestampOffset {
    TimestampOffset { timestamp: -1, offset, leader_epoch: partition.epoch_of(offset) }
}

fn answer(index: i32, error_code: i16, found: TimestampOffset) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(error_code)
        .with_timestamp(found.timestamp)
        .with_offset(found.offset)
        .with_leader_epoch(found.leader_epoch)
}

fn failed(topic: &ListOffsetsTopic, error: ResponseError) -> ListOffsetsTopicResponse {
    let partitions =
        topic.partitions.iter().map(|partition| answer(partition.partition_index, error.code(), NOT_FOUND));
    ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::TopicName;
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    #[test]
    fn what_is_wanted_twice_is_told_once() {
        let topic = |name: &'static str, partitions: &[i32]| {
            let partition = |index: &i32| ListOffsetsPartition::default().with_partition_index(*index);
            ListOffsetsTopic::default()
                .with_name(TopicName(StrBytes::from_static_str(name)))
                .with_partitions(partitions.iter().map(partition).collect())
        };
        let merged = merged(vec![topic("a", &[0, 1]), topic("b", &[0]), topic("a", &[2, 0])]);
        let told = |topic: &ListOffsetsTopic| {
            let once = once(&topic.partitions).into_iter();
            (topic.name.to_string(), once.map(|(one, twice)| (one.partition_index, twice)).collect::<Vec<_>>())
        };
        let told: Vec<_> = merged.iter().map(told).collect();
        let expected = [("a", vec![(0, true), (1, false), (2, false)]), ("b", vec![(0, false)])];
        assert_eq!(told, expected.map(|(name, partitions)| (name.to_owned(), partitions)));
    }

    #[test]
    fn positions_are_known_from_some_version_on() {
        for (timestamp, first) in
            [(5, Some(0)), (-1, Some(0)), (-2, Some(0)), (-3, Some(7)), (-4, Some(8)), (-5, Some(9)), (-6, None)]
        {
            assert_eq!(first_version(timestamp), first, "{timestamp}");
        }
    }
}
