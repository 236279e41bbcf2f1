//! DeleteRecords: moves the log start.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsTopic;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::{Context, Service, Services, topics};
use crate::auth::{Authorized, Refusal};
use crate::catalog::Image;
use crate::store::Offset;

impl Service for DeleteRecordsRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> DeleteRecordsResponse {
        let (request, denied, access) = request.into_parts();
        let refuse = |topic: &DeleteRecordsTopic| failed(topic, ResponseError::TopicAuthorizationFailed);
        let mut answered: Vec<_> = denied.iter().map(refuse).collect();
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let moved = delete(services, access.image(), &topic.name, index, partition.offset).await;
                partitions.push(match moved {
                    Ok(low_watermark) => result(index, 0).with_low_watermark(low_watermark),
                    Err(error) => result(index, error.code()),
                });
            }
            answered.push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions));
        }
        DeleteRecordsResponse::default().with_topics(answered)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> DeleteRecordsResponse {
        let topics = request.topics.iter().map(|topic| failed(topic, refusal.0));
        DeleteRecordsResponse::default().with_topics(topics.collect())
    }
}

async fn delete(
    services: &Services,
    image: &Image,
    topic: &str,
    index: i32,
    before: Offset,
) -> Result<Offset, ResponseError> {
    if topics::is_internal(topic) {
        return Err(ResponseError::PolicyViolation);
    }
    let topic = image.topic(topic).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let partition = services.partition(topic, index).map_err(|error| error.code())?;
    partition.delete_records(before).await.map_err(|error| error.code())
}

fn result(index: i32, code: i16) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult::default().with_partition_index(index).with_error_code(code).with_low_watermark(-1)
}

fn failed(topic: &DeleteRecordsTopic, error: ResponseError) -> DeleteRecordsTopicResult {
    let partitions = topic.partitions.iter().map(|partition| result(partition.partition_index, error.code()));
    DeleteRecordsTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}
