//! ListOffsets: by timestamp, or one of Kafka's special positions.

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
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in &topic.partitions {
                let found = look_up(services, access.image(), &topic.name, wanted, committed, context.version).await;
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

const NOT_FOUND: TimestampOffset = TimestampOffset { timestamp: -1, offset: -1, leader_epoch: -1 };

async fn look_up(
    services: &Services,
    image: &Image,
    topic: &str,
    wanted: &ListOffsetsPartition,
    committed: bool,
    version: i16,
) -> Result<Option<TimestampOffset>, ResponseError> {
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
        timestamp if timestamp >= 0 => {
            let found = partition.offset_for_time(timestamp).await.map_err(code)?;
            Ok(found.filter(|found| found.offset < latest))
        }
        _ => Err(ResponseError::UnsupportedVersion),
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
