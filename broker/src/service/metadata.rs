//! Metadata: brokers, and topics with their partitions; makes unknown topics where that is switched on.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName as WireName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::topics::{self, NewTopic, TopicError};
use super::{Context, Service, Services};
use crate::auth::{Access, Authorized, Refusal};
use crate::catalog::acl::{CLUSTER_NAME, Operation, ResourceType};
use crate::catalog::{Image, Topic, TopicName};

/// Operations were not asked for.
const NOT_ASKED: i32 = i32::MIN;

impl Service for MetadataRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> MetadataResponse {
        let (request, denied, access) = request.into_parts();
        let all = match &request.topics {
            None => true,
            Some(topics) => context.version == 0 && topics.is_empty() && denied.is_empty(),
        };
        let answer = Answer { services, access: &access, operations: request.include_topic_authorized_operations };
        let mut found: Vec<_> = denied.into_iter().map(|topic| answer.denied(topic)).collect();
        if all {
            found.extend(answer.visible());
        } else {
            let wanted = request.topics.unwrap_or_default();
            // Version 0 to 3 cannot say; they always allow it.
            let may_create =
                services.config.auto_create_topics && (context.version < 4 || request.allow_auto_topic_creation);
            found.extend(answer.named(wanted, may_create).await);
        }
        let (host, port) = context.advertised.clone();
        let node_id = BrokerId(services.config.node_id);
        let broker = MetadataResponseBroker::default().with_node_id(node_id).with_host(host).with_port(port);
        let cluster_operations =
            if request.include_cluster_authorized_operations { access.cluster_operations() } else { NOT_ASKED };
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(StrBytes::from_string(services.cluster_id.clone())))
            .with_controller_id(node_id)
            .with_topics(found)
            .with_cluster_authorized_operations(cluster_operations)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> MetadataResponse {
        let topics = request.topics.iter().flatten().map(|topic| failed(topic.name.clone(), topic.topic_id, refusal.0));
        MetadataResponse::default().with_topics(topics.collect())
    }
}

/// What is needed to answer for one topic.
struct Answer<'a> {
    services: &'a Services,
    access: &'a Access,
    operations: bool,
}

impl Answer<'_> {
    /// Asked for by name or id, but not visible. An id must not reveal a name.
    fn denied(&self, topic: MetadataRequestTopic) -> MetadataResponseTopic {
        match topic.name {
            Some(name) => failed(Some(name), Uuid::nil(), ResponseError::TopicAuthorizationFailed),
            None => failed(None, topic.topic_id, ResponseError::UnknownTopicId),
        }
    }

    /// Every topic that the session may see.
    fn visible(&self) -> Vec<MetadataResponseTopic> {
        let image = self.access.image();
        let seen = image
            .topics
            .values()
            .filter(|topic| self.access.sees(Operation::Describe, ResourceType::Topic, topic.name.as_str()));
        seen.map(|topic| self.topic(topic)).collect()
    }

    async fn named(&self, wanted: Vec<MetadataRequestTopic>, may_create: bool) -> Vec<MetadataResponseTopic> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut missing = Vec::new();
        let mut seen = HashSet::new();
        for topic in wanted {
            if !seen.insert((topic.name.clone(), topic.topic_id)) {
                continue;
            }
            match (look_up(self.access.image(), &topic), topic.name) {
                (Some(known), _) => found.push(self.topic(&known)),
                (None, Some(name)) => missing.push(name),
                (None, None) => found.push(failed(None, topic.topic_id, ResponseError::UnknownTopicId)),
            }
        }
        if may_create {
            found.extend(self.create(missing).await);
        } else {
            found.extend(missing.into_iter().map(|name| {
                let error = match TopicName::parse(&name) {
                    Ok(_) => ResponseError::UnknownTopicOrPartition,
                    Err(_) => ResponseError::InvalidTopicException,
                };
                failed(Some(name), Uuid::nil(), error)
            }));
        }
        found
    }

    /// Makes the missing topics that the session may create.
    async fn create(&self, missing: Vec<WireName>) -> Vec<MetadataResponseTopic> {
        let cluster = self.access.sees(Operation::Create, ResourceType::Cluster, CLUSTER_NAME);
        let may = |name: &WireName| cluster || self.access.allows(Operation::Create, ResourceType::Topic, name);
        let (allowed, refused): (Vec<_>, Vec<_>) = missing.into_iter().partition(may);
        let refused =
            refused.into_iter().map(|name| failed(Some(name), Uuid::nil(), ResponseError::TopicAuthorizationFailed));
        let wanted = allowed.iter().map(|name| NewTopic {
            name: name.to_string(),
            partitions: -1,
            replication_factor: -1,
            configs: BTreeMap::new(),
        });
        let made = topics::create(self.services, wanted.collect(), false).await;
        let made = allowed.into_iter().zip(made).map(|(name, made)| match made {
            Ok(topic) => self.topic(&topic),
            // Somebody else was faster: the client asks again and finds it.
            Err(TopicError::Exists(_)) => failed(Some(name), Uuid::nil(), ResponseError::LeaderNotAvailable),
            Err(error) => failed(Some(name), Uuid::nil(), error.code()),
        });
        made.chain(refused).collect()
    }

    fn topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let partitions = (0..topic.partitions).map(|index| self.partition(topic, index));
        let operations = if self.operations {
            self.access.authorized_operations(ResourceType::Topic, topic.name.as_str())
        } else {
            NOT_ASKED
        };
        MetadataResponseTopic::default()
            .with_name(Some(WireName(StrBytes::from_string(topic.name.as_str().to_owned()))))
            .with_topic_id(topic.id)
            .with_is_internal(topics::is_internal(topic.name.as_str()))
            .with_partitions(partitions.collect())
            .with_topic_authorized_operations(operations)
    }

    fn partition(&self, topic: &Topic, index: i32) -> MetadataResponsePartition {
        let node_id = BrokerId(self.services.config.node_id);
        let answer = MetadataResponsePartition::default().with_partition_index(index).with_replica_nodes(vec![node_id]);
        match self.services.partition(topic, index) {
            Ok(partition) => {
                answer.with_leader_id(node_id).with_leader_epoch(partition.leader_epoch()).with_isr_nodes(vec![node_id])
            }
            Err(_) => answer
                .with_error_code(ResponseError::LeaderNotAvailable.code())
                .with_leader_id(BrokerId(-1))
                .with_leader_epoch(-1)
                .with_offline_replicas(vec![node_id]),
        }
    }
}

fn look_up(image: &Image, topic: &MetadataRequestTopic) -> Option<Arc<Topic>> {
    match &topic.name {
        Some(name) => image.topic(name).cloned(),
        None => image.topic_by_id(topic.topic_id).cloned(),
    }
}

fn failed(name: Option<WireName>, id: Uuid, error: ResponseError) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_error_code(error.code())
        .with_name(name)
        .with_topic_id(id)
        .with_topic_authorized_operations(NOT_ASKED)
}
