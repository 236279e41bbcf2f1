//! CreatePartitions: topics grow, never shrink.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services, topics};
use crate::auth::{Authorized, Refusal};
use crate::catalog::Image;

/// First version that refuses instead of only waiting when a quota is used up (KIP-599).
const STRICT_QUOTA: i16 = 3;

impl Service for CreatePartitionsRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> CreatePartitionsResponse {
        let (request, denied, access) = request.into_parts();
        let code = ResponseError::TopicAuthorizationFailed;
        let mut results: Vec<_> = denied.into_iter().map(|name| failed(name, code, code.to_string())).collect();
        let mut quota = services.quotas.mutations(context.client(), context.version >= STRICT_QUOTA);
        let (once, twice) = named_once(request.topics);
        let message = "Duplicate topic name.".to_owned();
        results.extend(twice.into_iter().map(|name| failed(name, ResponseError::InvalidRequest, message.clone())));
        for topic in once {
            if let Err(message) = check_assignments(services, access.image(), &topic) {
                results.push(failed(topic.name, ResponseError::InvalidReplicaAssignment, message));
                continue;
            }
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

/// Topics that are named once, and the names of the others.
fn named_once(topics: Vec<CreatePartitionsTopic>) -> (Vec<CreatePartitionsTopic>, Vec<TopicName>) {
    let mut times: HashMap<TopicName, usize> = HashMap::new();
    for topic in &topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let once = topics.into_iter().filter(|topic| times.get(&topic.name) == Some(&1)).collect();
    times.retain(|_, times| *times > 1);
    (once, times.into_keys().collect())
}

/// A manual assignment names the brokers of each partition that is added. Topics and counts are checked elsewhere.
fn check_assignments(services: &Services, image: &Image, topic: &CreatePartitionsTopic) -> Result<(), String> {
    let (Some(assignments), Some(found)) = (&topic.assignments, image.topic(&topic.name)) else { return Ok(()) };
    let more = topic.count - found.partitions;
    if more > 0 && assignments.len() != more as usize {
        let given = assignments.len();
        return Err(format!(
            "attempted to add {more} additional partition(s), but {given} assignment(s) were specified"
        ));
    }
    for assignment in assignments {
        topics::check_replicas(&assignment.broker_ids, services.config.node_id)?;
    }
    Ok(())
}

fn failed(name: TopicName, error: ResponseError, message: String) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult::default()
        .with_name(name)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}
