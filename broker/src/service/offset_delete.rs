//! OffsetDelete: forgets how far a group has read a partition.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::groups::{error_code, kept};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

impl Service for OffsetDeleteRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> OffsetDeleteResponse {
        let (request, denied, _) = request.into_parts();
        if request.group_id.is_empty() {
            return OffsetDeleteResponse::default().with_error_code(ResponseError::InvalidGroupId.code());
        }
        let mut wanted = Vec::new();
        for topic in &request.topics {
            let name = kept(&topic.name);
            wanted.extend(topic.partitions.iter().map(|partition| (name.clone(), partition.partition_index)));
        }
        let results = match services.groups.delete_offsets(&kept(&request.group_id), wanted).await {
            Ok(results) => results,
            Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
        };
        let mut results = results.into_iter();
        let answered: Vec<_> =
            request.topics.iter().map(|topic| answer(topic, || results.next().unwrap_or(Ok(())))).collect();
        let refused = denied.iter().map(|topic| answer(topic, || Err(ResponseError::TopicAuthorizationFailed)));
        OffsetDeleteResponse::default().with_topics(answered.into_iter().chain(refused).collect())
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> OffsetDeleteResponse {
        OffsetDeleteResponse::default().with_error_code(refusal.0.code())
    }
}

fn answer(
    topic: &OffsetDeleteRequestTopic,
    mut result: impl FnMut() -> Result<(), ResponseError>,
) -> OffsetDeleteResponseTopic {
    let partitions = topic.partitions.iter().map(|partition| {
        OffsetDeleteResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(error_code(&result()))
    });
    OffsetDeleteResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}
