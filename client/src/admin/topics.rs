//! Topics: list, describe by name, create, delete, more partitions.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use krafka::__private::protocol::{
    ApiKey, CreatableTopic, CreatableTopicConfig, CreatePartitionsRequest, CreatePartitionsResponse,
    CreatePartitionsTopic, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicState, DeleteTopicsRequest,
    DeleteTopicsResponse, MetadataRequest, MetadataResponse, MetadataTopicResponse, versions,
};
use serde::{Serialize, Serializer};

use super::connection::{Admin, Api, Kind};
use crate::error::{Result, answer};

/// A topic's id, written as Kafka writes it (base64).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicId(pub [u8; 16]);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

impl Serialize for TopicId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topic {
    pub name: String,
    /// Brokers before Kafka 2.8 have none.
    pub topic_id: Option<TopicId>,
    pub internal: bool,
    /// By index.
    pub partitions: Vec<Partition>,
}

impl Topic {
    /// Replicas of the first partition, which creation gives to all.
    pub fn replication_factor(&self) -> usize {
        self.partitions.first().map_or(0, |partition| partition.replicas.len())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    pub index: i32,
    /// -1 when no broker leads.
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub in_sync_replicas: Vec<i32>,
}

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NewTopic {
    pub name: String,
    /// The broker's default when not set.
    pub partitions: Option<i32>,
    /// The broker's default when not set.
    pub replication_factor: Option<i16>,
    pub configs: BTreeMap<String, String>,
}

/// What a creation made; brokers before Kafka 2.4 say nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CreatedTopic {
    pub topic_id: Option<TopicId>,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
}

/// A topic's new number of partitions, in total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPartitions {
    pub topic: String,
    pub total: i32,
}

/// Before version 4 a Metadata request creates the topics that it names.
const METADATA: Api =
    Api { key: ApiKey::Metadata, name: "Metadata", min: 4, max: versions::METADATA_MAX, kind: Kind::Read };
const CREATE: Api = Api {
    key: ApiKey::CreateTopics,
    name: "CreateTopics",
    min: versions::CREATE_TOPICS_MIN,
    max: versions::CREATE_TOPICS_MAX,
    kind: Kind::Write,
};
const DELETE: Api = Api {
    key: ApiKey::DeleteTopics,
    name: "DeleteTopics",
    min: versions::DELETE_TOPICS_MIN,
    max: versions::DELETE_TOPICS_MAX,
    kind: Kind::Write,
};
const CREATE_PARTITIONS: Api = Api {
    key: ApiKey::CreatePartitions,
    name: "CreatePartitions",
    min: versions::CREATE_PARTITIONS_MIN,
    max: versions::CREATE_PARTITIONS_MAX,
    kind: Kind::Write,
};

impl Admin {
    /// Every topic that the user may describe, by name. A topic that is missing here may exist all the same: ask for it by
    /// name with [`Admin::describe_topics`].
    pub async fn list_topics(&self) -> Result<Vec<Topic>> {
        let response: MetadataResponse = self.call(METADATA, &MetadataRequest::all_topics()).await?;
        answer(response.error_code, None)?;
        let mut topics: Vec<Topic> =
            response.topics.into_iter().filter(|topic| topic.error_code.is_ok()).filter_map(topic).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// The named topics; one that does not exist is an error of its own ([`crate::Error::is_not_found`]).
    pub async fn describe_topics(&self, names: &[&str]) -> Result<BTreeMap<String, Result<Topic>>> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let response: MetadataResponse = self.call(METADATA, &MetadataRequest::for_topics(names.to_vec())).await?;
        answer(response.error_code, None)?;
        Ok(response
            .topics
            .into_iter()
            .filter_map(|described| {
                let name = described.name.clone()?;
                match answer(described.error_code, None) {
                    Ok(()) => topic(described).map(|topic| (name, Ok(topic))),
                    Err(error) => Some((name, Err(error))),
                }
            })
            .collect())
    }

    /// Creates topics in one request, or with `validate_only` says what creating them would answer.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<BTreeMap<String, Result<CreatedTopic>>> {
        let topics = topics
            .iter()
            .map(|topic| CreatableTopic {
                name: topic.name.clone(),
                num_partitions: topic.partitions.unwrap_or(-1),
                replication_factor: topic.replication_factor.unwrap_or(-1),
                assignments: Vec::new(),
                configs: topic
                    .configs
                    .iter()
                    .map(|(name, value)| CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) })
                    .collect(),
            })
            .collect();
        let request = CreateTopicsRequest { topics, timeout_ms: self.broker_timeout_ms(), validate_only };
        let response: CreateTopicsResponse = self.call(CREATE, &request).await?;
        Ok(response
            .topics
            .into_iter()
            .map(|topic| {
                let created = CreatedTopic {
                    topic_id: topic_id(topic.topic_id),
                    partitions: (topic.num_partitions >= 0).then_some(topic.num_partitions),
                    replication_factor: (topic.replication_factor >= 0).then_some(topic.replication_factor),
                };
                (topic.name, answer(topic.error_code, topic.error_message).map(|()| created))
            })
            .collect())
    }

    /// Deletes topics with all their records.
    pub async fn delete_topics(&self, names: &[&str]) -> Result<BTreeMap<String, Result<()>>> {
        let request = DeleteTopicsRequest {
            topic_names: names.iter().map(|&name| name.to_owned()).collect(),
            topics: names
                .iter()
                .map(|&name| DeleteTopicState { name: Some(name.to_owned()), topic_id: [0; 16] })
                .collect(),
            timeout_ms: self.broker_timeout_ms(),
        };
        let response: DeleteTopicsResponse = self.call(DELETE, &request).await?;
        Ok(response
            .responses
            .into_iter()
            .filter_map(|topic| Some((topic.name?, answer(topic.error_code, topic.error_message))))
            .collect())
    }

    /// Adds partitions; a topic never loses any.
    pub async fn create_partitions(
        &self,
        topics: &[NewPartitions],
        validate_only: bool,
    ) -> Result<BTreeMap<String, Result<()>>> {
        let topics = topics
            .iter()
            .map(|new| CreatePartitionsTopic { name: new.topic.clone(), count: new.total, assignments: None })
            .collect();
        let request = CreatePartitionsRequest { topics, timeout_ms: self.broker_timeout_ms(), validate_only };
        let response: CreatePartitionsResponse = self.call(CREATE_PARTITIONS, &request).await?;
        Ok(response
            .results
            .into_iter()
            .map(|topic| (topic.name, answer(topic.error_code, topic.error_message)))
            .collect())
    }
}

fn topic(described: MetadataTopicResponse) -> Option<Topic> {
    let mut partitions: Vec<Partition> = described
        .partitions
        .into_iter()
        .map(|partition| Partition {
            index: partition.partition_index,
            leader: partition.leader_id,
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes,
            in_sync_replicas: partition.isr_nodes,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    let topic_id = topic_id(described.topic_id);
    Some(Topic { name: described.name?, topic_id, internal: described.is_internal, partitions })
}

/// All zeros is how the protocol says "no id".
fn topic_id(id: Option<[u8; 16]>) -> Option<TopicId> {
    id.filter(|id| *id != [0; 16]).map(TopicId)
}
