//! CreateTopics.

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::{ResponseError, messages};

use super::topics::{self, NewTopic, TopicError};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::acl::{Operation, ResourceType};
use crate::catalog::{Topic, topic_config};

/// First version that refuses instead of only waiting when a quota is used up (KIP-599).
const STRICT_QUOTA: i16 = 6;

impl Service for CreateTopicsRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> CreateTopicsResponse {
        let (request, denied, access) = request.into_parts();
        let mut results: Vec<_> = denied.into_iter().map(|name| failed(name, denied_error())).collect();
        let mut times_named: HashMap<&str, usize> = HashMap::new();
        for topic in &request.topics {
            *times_named.entry(&topic.name).or_default() += 1;
        }
        let twice: Vec<_> =
            times_named.into_iter().filter(|(_, times)| *times > 1).map(|(name, _)| name.to_owned()).collect();
        let mut quota = services.quotas.mutations(context.client(), context.version >= STRICT_QUOTA);
        let mut names = Vec::new();
        let mut wanted = Vec::new();
        for topic in request.topics {
            let name = topic.name.clone();
            if twice.iter().any(|other| **other == **name) {
                if !results.iter().any(|result| result.name == name) {
                    let message = format!("the request names topic '{}' more than once", &**name);
                    results.push(failed(name, (ResponseError::InvalidRequest, message)));
                }
                continue;
            }
            match wanted_topic(topic, services.config.node_id) {
                Ok(topic) => {
                    let partitions = partitions(services, &topic);
                    if !request.validate_only && !quota.take(partitions) {
                        let error = ResponseError::ThrottlingQuotaExceeded;
                        results.push(failed(name, (error, error.to_string())));
                        continue;
                    }
                    names.push((name, partitions));
                    wanted.push(topic);
                }
                Err(reason) => results.push(failed(name, reason)),
            }
        }
        let made = topics::create(services, wanted, request.validate_only).await;
        for ((name, partitions), made) in names.into_iter().zip(made) {
            results.push(match made {
                Ok(topic) => {
                    let shown = access.sees(Operation::DescribeConfigs, ResourceType::Topic, &name);
                    let configs = shown.then(|| configs(services, &topic));
                    created(name, &topic, configs, request.validate_only)
                }
                Err(error) => {
                    if !request.validate_only {
                        quota.give_back(partitions);
                    }
                    failed(name, (error.code(), error.to_string()))
                }
            });
        }
        CreateTopicsResponse::default().with_throttle_time_ms(quota.throttle_ms()).with_topics(results)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> CreateTopicsResponse {
        let results = request.topics.iter().map(|topic| failed(topic.name.clone(), (refusal.0, refusal.0.to_string())));
        CreateTopicsResponse::default().with_topics(results.collect())
    }
}

/// What a quota counts.
fn partitions(services: &Services, topic: &NewTopic) -> i32 {
    if topic.partitions > 0 { topic.partitions } else { services.config.default_partitions }
}

fn denied_error() -> (ResponseError, String) {
    (ResponseError::TopicAuthorizationFailed, "not allowed to create this topic".to_owned())
}

/// A manual assignment says how many partitions and replicas there are to be. It may name brokers that exist only.
fn wanted_topic(topic: CreatableTopic, node_id: i32) -> Result<NewTopic, (ResponseError, String)> {
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        let Some(value) = &config.value else {
            let message = format!("config '{}' has no value", &*config.name);
            return Err((ResponseError::InvalidConfig, message));
        };
        configs.insert(config.name.to_string(), value.to_string());
    }
    let mut wanted = NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        configs,
    };
    if !topic.assignments.is_empty() {
        if topic.num_partitions != -1 || topic.replication_factor != -1 {
            let message = "with a manual assignment, partitions and replication factor must be -1".to_owned();
            return Err((ResponseError::InvalidRequest, message));
        }
        let mut indexes: Vec<_> = topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
        indexes.sort_unstable();
        let replicas = topic.assignments[0].broker_ids.len();
        let consecutive = indexes.iter().enumerate().all(|(at, index)| at as i32 == *index);
        let even = replicas > 0 && topic.assignments.iter().all(|assignment| assignment.broker_ids.len() == replicas);
        if !consecutive || !even {
            let message =
                "a manual assignment names partitions 0, 1, 2 … once each, with equally many replicas".to_owned();
            return Err((ResponseError::InvalidReplicaAssignment, message));
        }
        for assignment in &topic.assignments {
            topics::check_replicas(&assignment.broker_ids, node_id)
                .map_err(|message| (ResponseError::InvalidReplicaAssignment, message))?;
        }
        wanted.partitions = indexes.len() as i32;
        wanted.replication_factor = replicas as i16;
    }
    Ok(wanted)
}

/// The configs in effect, as the response has them.
fn configs(services: &Services, topic: &Topic) -> Vec<CreatableTopicConfigs> {
    let image = services.catalog.image();
    let defaults = services.topic_defaults(&image);
    let configs = topic_config::effective(&topic.configs, &defaults).map(|effective| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(effective.config.name))
            .with_value(Some(StrBytes::from_string(effective.value.to_owned())))
            .with_read_only(false)
            .with_config_source(effective.source as i8)
            .with_is_sensitive(false)
    });
    configs.collect()
}

/// Who may not describe the topic's configs learns nothing of what the broker's defaults made of the request (KIP-525).
fn created(
    name: messages::TopicName,
    topic: &Topic,
    configs: Option<Vec<CreatableTopicConfigs>>,
    validate_only: bool,
) -> CreatableTopicResult {
    let id = if validate_only { uuid::Uuid::nil() } else { topic.id };
    let result = CreatableTopicResult::default().with_name(name).with_topic_id(id).with_error_message(None);
    match configs {
        Some(configs) => result
            .with_num_partitions(topic.partitions)
            .with_replication_factor(topic.replication_factor)
            .with_configs(Some(configs)),
        None => result
            .with_topic_config_error_code(ResponseError::TopicAuthorizationFailed.code())
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_configs(Some(Vec::new())),
    }
}

fn failed(name: messages::TopicName, (error, message): (ResponseError, String)) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
}

impl From<TopicError> for (ResponseError, String) {
    fn from(error: TopicError) -> Self {
        (error.code(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::TopicName;

    #[test]
    fn only_who_may_describe_configs_sees_what_the_defaults_made() {
        let topic = Topic {
            id: uuid::Uuid::from_u128(1),
            name: TopicName::parse("orders").expect("a valid name"),
            partitions: 3,
            replication_factor: 1,
            configs: BTreeMap::new(),
        };
        let name = || messages::TopicName(StrBytes::from_static_str("orders"));
        let hidden = created(name(), &topic, None, false);
        assert_eq!(hidden.error_code, 0, "the topic is made all the same");
        assert_eq!(hidden.topic_config_error_code, ResponseError::TopicAuthorizationFailed.code());
        assert_eq!((hidden.num_partitions, hidden.replication_factor), (-1, -1));
        assert_eq!((hidden.topic_id, hidden.configs), (topic.id, Some(Vec::new())));
        let shown = created(name(), &topic, Some(vec![CreatableTopicConfigs::default()]), true);
        assert_eq!((shown.topic_config_error_code, shown.num_partitions, shown.replication_factor), (0, 3, 1));
        assert_eq!((shown.topic_id, shown.configs.map(|configs| configs.len())), (uuid::Uuid::nil(), Some(1)));
    }
}
