//! OffsetForLeaderEpoch: where an epoch ended, so that clients notice truncation.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::Image;
use crate::log::EpochEnd;

impl Service for OffsetForLeaderEpochRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> OffsetForLeaderEpochResponse {
        let (request, denied, access) = request.into_parts();
        let refuse = |topic: &OffsetForLeaderTopic| failed(topic, ResponseError::TopicAuthorizationFailed);
        let mut answered: Vec<_> = denied.iter().map(refuse).collect();
        for topic in request.topics {
            let look_up =
                |wanted: &OffsetForLeaderPartition| match epoch_end(services, access.image(), &topic.topic, wanted) {
                    Ok(end) => answer(wanted.partition, 0, end),
                    Err(error) => answer(wanted.partition, error.code(), None),
                };
            let partitions = topic.partitions.iter().map(look_up).collect();
            answered.push(OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions));
        }
        OffsetForLeaderEpochResponse::default().with_topics(answered)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> OffsetForLeaderEpochResponse {
        let topics = request.topics.iter().map(|topic| failed(topic, refusal.0));
        OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
    }
}

fn epoch_end(
    services: &Services,
    image: &Image,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<Option<EpochEnd>, ResponseError> {
    let topic = image.topic(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let partition = services.partition(topic, wanted.partition).map_err(|error| error.code())?;
    partition.check_epoch(wanted.current_leader_epoch).map_err(|error| error.code())?;
    Ok(partition.epoch_end(wanted.leader_epoch))
}

fn answer(partition: i32, error_code: i16, end: Option<EpochEnd>) -> EpochEndOffset {
    let end = end.unwrap_or(EpochEnd { leader_epoch: -1, end_offset: -1 });
    EpochEndOffset::default()
        .with_partition(partition)
        .with_error_code(error_code)
        .with_leader_epoch(end.leader_epoch)
        .with_end_offset(end.end_offset)
}

fn failed(topic: &OffsetForLeaderTopic, error: ResponseError) -> OffsetForLeaderTopicResult {
    let partitions = topic.partitions.iter().map(|partition| answer(partition.partition, error.code(), None));
    OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions.collect())
}
