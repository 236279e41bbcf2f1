//! DeleteTopics, by name or by id.

use std::collections::{HashMap, HashSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::topics::{self, TopicError};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::Image;

/// First version that refuses instead of only waiting when a quota is used up (KIP-599).
const STRICT_QUOTA: i16 = 5;
const NAMED_TWICE: &str = "The topic is named more than once, by its name or by its id.";

impl Service for DeleteTopicsRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> DeleteTopicsResponse {
        let (request, denied, access) = request.into_parts();
        let mut results: Vec<_> =
            denied.into_iter().map(|(topic, error)| failed(topic, error, error.to_string())).collect();
        let mut quota = services.quotas.mutations(context.client(), context.version >= STRICT_QUOTA);
        let (once, doubtful) = named_well(request.topics, access.image());
        results.extend(doubtful.into_iter().map(|(topic, why)| failed(topic, ResponseError::InvalidRequest, why)));
        for topic in once {
            let found = match &topic.name {
                Some(name) => access.image().topic(name).map(|found| found.id),
                None => Some(topic.topic_id),
            };
            let known = found.and_then(|id| access.image().topic_by_id(id));
            let partitions = known.map_or(0, |topic| topic.partitions);
            if partitions > 0 && !quota.take(partitions) {
                let error = ResponseError::ThrottlingQuotaExceeded;
                results.push(failed(topic, error, error.to_string()));
                continue;
            }
            let deleted = match found {
                Some(id) => topics::delete(services, id).await,
                None => Err(TopicError::Unknown),
            };
            if deleted.is_err() && partitions > 0 {
                quota.give_back(partitions);
            }
            results.push(match deleted {
                Ok(()) => {
                    let name = known.map(|known| TopicName(StrBytes::from_string(known.name.as_str().to_owned())));
                    answer(topic).with_name(name).with_topic_id(found.unwrap_or_default()).with_error_message(None)
                }
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

/// Topics that are named once, by name or by id; and the others, with what is wrong.
fn named_well(
    topics: Vec<DeleteTopicState>,
    image: &Image,
) -> (Vec<DeleteTopicState>, Vec<(DeleteTopicState, String)>) {
    let id = |topic: &DeleteTopicState| match &topic.name {
        Some(name) => image.topic(name).map(|found| found.id),
        None => Some(topic.topic_id),
    };
    let mut ids: HashMap<Uuid, usize> = HashMap::new();
    let mut names: HashMap<TopicName, usize> = HashMap::new();
    for topic in &topics {
        id(topic).into_iter().for_each(|id| *ids.entry(id).or_default() += 1);
        topic.name.iter().for_each(|name| *names.entry(name.clone()).or_default() += 1);
    }
    let wrong = |topic: &DeleteTopicState| match &topic.name {
        Some(_) if !topic.topic_id.is_nil() => Some("You may not specify both topic name and topic id."),
        None if topic.topic_id.is_nil() => Some("Neither topic name nor id were specified."),
        Some(name) if names.get(name) > Some(&1) => Some("Duplicate topic name."),
        _ if id(topic).is_some_and(|id| ids.get(&id) > Some(&1)) => Some(NAMED_TWICE),
        _ => None,
    };
    let (mut well, mut doubtful, mut told) = (Vec::new(), Vec::new(), HashSet::new());
    for topic in topics {
        match wrong(&topic) {
            None => well.push(topic),
            // Once for each topic, as in Kafka.
            Some(why) if told.insert(id(&topic).ok_or_else(|| topic.name.clone())) => {
                let by_id = why == NAMED_TWICE;
                let topic_id = id(&topic).filter(|_| by_id).unwrap_or(topic.topic_id);
                doubtful.push((topic.with_topic_id(topic_id), why.to_owned()));
            }
            Some(_) => {}
        }
    }
    (well, doubtful)
}

fn answer(topic: DeleteTopicState) -> DeletableTopicResult {
    DeletableTopicResult::default().with_name(topic.name).with_topic_id(topic.topic_id)
}

fn failed(topic: DeleteTopicState, error: ResponseError, message: String) -> DeletableTopicResult {
    answer(topic).with_error_code(error.code()).with_error_message(Some(StrBytes::from_string(message)))
}
