//! DescribeProducers: who writes to a partition, and since when a transaction is open there.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::log::{ActiveProducer, LogError};

impl Service for DescribeProducersRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> DescribeProducersResponse {
        let (request, denied, access) = request.into_parts();
        let describe = |topic: &str, index: i32| {
            let known = access.image().topic(topic).ok_or(LogError::UnknownPartition)?;
            services.partition(known, index)?.active_producers()
        };
        let described = request.topics.iter().map(|topic| {
            let partition = |index: &i32| match describe(&topic.name, *index) {
                Ok(producers) => PartitionResponse::default()
                    .with_partition_index(*index)
                    .with_active_producers(producers.into_iter().map(state).collect()),
                Err(error) => failed(*index, error.code()),
            };
            answer(topic, topic.partition_indexes.iter().map(partition).collect())
        });
        let refused = denied.iter().map(|topic| refuse(topic, ResponseError::TopicAuthorizationFailed));
        DescribeProducersResponse::default().with_topics(described.chain(refused).collect())
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> DescribeProducersResponse {
        let topics = request.topics.iter().map(|topic| refuse(topic, refusal.0));
        DescribeProducersResponse::default().with_topics(topics.collect())
    }
}

fn state(producer: ActiveProducer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(i32::from(producer.producer_epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_seen)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.transaction_start)
}

fn refuse(topic: &TopicRequest, error: ResponseError) -> TopicResponse {
    answer(topic, topic.partition_indexes.iter().map(|index| failed(*index, error)).collect())
}

fn answer(topic: &TopicRequest, partitions: Vec<PartitionResponse>) -> TopicResponse {
    TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions)
}

fn failed(index: i32, error: ResponseError) -> PartitionResponse {
    PartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(error.to_string())))
}
