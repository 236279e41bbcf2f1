//! CreatePartitions: topics grow, never shrink.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services, topics};
use crate::auth::{Authorized, Refusal};

impl Service for CreatePartitionsRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> CreatePartitionsResponse {
        let (request, denied, _) = request.into_parts();
        let code = ResponseError::TopicAuthorizationFailed;
        let mut results: Vec<_> = denied.into_iter().map(|name| failed(name, code, code.to_string())).collect();
        for topic in request.topics {
            let grown = topics::grow(services, &topic.name, topic.count, request.validate_only).await;
            results.push(match grown {
                Ok(_) => CreatePartitionsTopicResult::default().with_name(topic.name),
                Err(error) => failed(topic.name, error.code(), error.to_string()),
            });
        }
        CreatePartitionsResponse::default().with_results(results)
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
