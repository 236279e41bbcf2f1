//! CreatePartitions: topics grow, never shrink.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services, topics};
use crate::auth::{Authorized, Refusal};

/// First version that refuses instead of only waiting when a quota is used up (KIP-599).
const STRICT_QUOTA: i16 = 3;

impl Service for CreatePartitionsRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> CreatePartitionsResponse {
        let (request, denied, access) = request.into_parts();
        let code = ResponseError::TopicAuthorizationFailed;
        let mut results: Vec<_> = denied.into_iter().map(|name| failed(name, code, code.to_string())).collect();
        let mut quota = services.quotas.mutations(context.client(), context.version >= STRICT_QUOTA);
        for topic in request.topics {
            let there = access.image().topic(&topic.name).map_or(topic.count, |found| found.partitions);
            let more = if request.validate_only { 0 } else { topic.count.saturating_sub(there).max(0) };
            if more > 0 && !quota.take(more) {
                let error = ResponseError::ThrottlingQuotaExceeded;
                results.push(failed(topic.name, error, error.to_string()));
                continue;
            }
            let grown = topics::grow(services, &topic.name, topic.count, request.validate_only).await;
            if grown.is_err() && more > 0 {
                quota.give_back(more);
            }
            results.push(match grown {
                Ok(_) => CreatePartitionsTopicResult::default().with_name(topic.name),
                Err(error) => failed(topic.name, error.code(), error.to_string()),
            });
        }
        CreatePartitionsResponse::default().with_throttle_time_ms(quota.throttle_ms()).with_results(results)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> CreatePartitionsResponse {
        let results = request.topics.iter().map(|topic| failed(topic.name.clone(), refusal.0, refusal.0.to_string()));
        CreatePartitionsResponse::default().with_results(results.collect())
    }
}

fn failed(name: TopicName, error: ResponseError, message: String) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult::default()
        .with_name(name)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}
