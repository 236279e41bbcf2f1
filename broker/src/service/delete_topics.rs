//! DeleteTopics, by name or by id.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use kafka_protocol::protocol::StrBytes;

use super::topics::{self, TopicError};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

/// First version that refuses instead of only waiting when a quota is used up (KIP-599).
const STRICT_QUOTA: i16 = 5;

impl Service for DeleteTopicsRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> DeleteTopicsResponse {
        let (request, denied, access) = request.into_parts();
        let mut results: Vec<_> =
            denied.into_iter().map(|(topic, error)| failed(topic, error, error.to_string())).collect();
        let mut quota = services.quotas.mutations(context.client(), context.version >= STRICT_QUOTA);
        for topic in request.topics {
            let found = match &topic.name {
                Some(name) => access.image().topic(name).map(|found| found.id),
                None => Some(topic.topic_id),
            };
            let known = found.and_then(|id| access.image().topic_by_id(id)).map_or(0, |topic| topic.partitions);
            if known > 0 && !quota.take(known) {
                let error = ResponseError::ThrottlingQuotaExceeded;
                results.push(failed(topic, error, error.to_string()));
                continue;
            }
            let deleted = match found {
                Some(id) => topics::delete(services, id).await,
                None => Err(TopicError::Unknown),
            };
            if deleted.is_err() && known > 0 {
                quota.give_back(known);
            }
            results.push(match deleted {
                Ok(()) => answer(topic),
                Err(TopicError::Unknown) if topic.name.is_none() => {
                    failed(topic, ResponseError::UnknownTopicId, "this topic id does not exist".to_owned())
                }
                Err(error) => failed(topic, error.code(), error.to_string()),
            });
        }
        DeleteTopicsResponse::default().with_throttle_time_ms(quota.throttle_ms()).with_responses(results)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> DeleteTopicsResponse {
        let results = request.topics.iter().map(|topic| failed(topic.clone(), refusal.0, refusal.0.to_string()));
        DeleteTopicsResponse::default().with_responses(results.collect())
    }
}

fn answer(topic: DeleteTopicState) -> DeletableTopicResult {
    DeletableTopicResult::default().with_name(topic.name).with_topic_id(topic.topic_id)
}

fn failed(topic: DeleteTopicState, error: ResponseError, message: String) -> DeletableTopicResult {
    answer(topic).with_error_code(error.code()).with_error_message(Some(StrBytes::from_string(message)))
}
