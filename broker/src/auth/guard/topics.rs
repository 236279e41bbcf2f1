//! Topics and their metadata.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeTopicPartitionsRequest, MetadataRequest,
    TopicName,
};
use uuid::Uuid;

use crate::auth::{Access, Guarded, Refusal};
use crate::catalog::acl::{CLUSTER_NAME, Operation, ResourceType};

impl Guarded for MetadataRequest {
    /// Topics asked for that may not be described. Lists of all topics leave them out.
    type Denied = Vec<MetadataRequestTopic>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        let Some(topics) = &mut self.topics else { return Ok(Vec::new()) };
        let visible = |topic: &mut MetadataRequestTopic| match &topic.name {
            Some(name) => access.allows(Operation::Describe, ResourceType::Topic, name),
            // An unknown id is answered as such.
            None => access
                .image()
                .topic_by_id(topic.topic_id)
                .is_none_or(|found| access.allows(Operation::Describe, ResourceType::Topic, found.name.as_str())),
        };
        Ok(topics.extract_if(.., |topic| !visible(topic)).collect())
    }
}

impl Guarded for DescribeTopicPartitionsRequest {
    /// Topics asked for that may not be described. Lists of all topics leave them out.
    type Denied = Vec<TopicName>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        let allowed = |name: &str| access.allows(Operation::Describe, ResourceType::Topic, name);
        Ok(self.topics.extract_if(.., |topic| !allowed(&topic.name)).map(|topic| topic.name).collect())
    }
}

impl Guarded for CreateTopicsRequest {
    type Denied = Vec<TopicName>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        let cluster = access.sees(Operation::Create, ResourceType::Cluster, CLUSTER_NAME);
        let allowed = |name: &str| cluster || access.allows(Operation::Create, ResourceType::Topic, name);
        Ok(self.topics.extract_if(.., |topic| !allowed(&topic.name)).map(|topic| topic.name).collect())
    }
}

impl Guarded for CreatePartitionsRequest {
    type Denied = Vec<TopicName>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        let allowed = |name: &str| access.allows(Operation::Alter, ResourceType::Topic, name);
        Ok(self.topics.extract_if(.., |topic| !allowed(&topic.name)).map(|topic| topic.name).collect())
    }
}

impl Guarded for DeleteTopicsRequest {
    type Denied = Vec<(DeleteTopicState, ResponseError)>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        // Versions before 6 have a plain list of names; both forms become one.
        let names = std::mem::take(&mut self.topic_names);
        let states =
            names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)).with_topic_id(Uuid::nil()));
        self.topics.extend(states);
        let refusal = |topic: &DeleteTopicState| match &topic.name {
            Some(name) if access.allows(Operation::Delete, ResourceType::Topic, name) => None,
            Some(_) => Some(ResponseError::TopicAuthorizationFailed),
            None => match access.image().topic_by_id(topic.topic_id) {
                Some(found) if !access.sees(Operation::Describe, ResourceType::Topic, found.name.as_str()) => {
                    Some(ResponseError::UnknownTopicId)
                }
                Some(found) if !access.allows(Operation::Delete, ResourceType::Topic, found.name.as_str()) => {
                    Some(ResponseError::TopicAuthorizationFailed)
                }
                _ => None,
            },
        };
        let mut denied = Vec::new();
        let mut allowed = Vec::with_capacity(self.topics.len());
        for topic in self.topics.drain(..) {
            match refusal(&topic) {
                Some(error) => denied.push((topic, error)),
                None => allowed.push(topic),
            }
        }
        self.topics = allowed;
        Ok(denied)
    }
}
