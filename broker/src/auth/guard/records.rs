//! Records in and out, and questions about offsets.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsTopic;
use kafka_protocol::messages::list_offsets_request::ListOffsetsTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderTopic;
use kafka_protocol::messages::produce_request::TopicProduceData;
use kafka_protocol::messages::{
    DeleteRecordsRequest, InitProducerIdRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest,
};

use crate::auth::{Access, Guarded, Refusal};
use crate::catalog::acl::{CLUSTER_NAME, Operation, ResourceType};

impl Guarded for ProduceRequest {
    type Denied = Vec<TopicProduceData>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        if let Some(id) = &self.transactional_id
            && !access.allows(Operation::Write, ResourceType::TransactionalId, id)
        {
            return Err(Refusal(ResponseError::TransactionalIdAuthorizationFailed));
        }
        let image = access.image();
        let allowed = |topic: &TopicProduceData| {
            let name = match topic.name.is_empty() {
                false => &*topic.name,
                // An unknown id is answered as such.
                true => match image.topic_by_id(topic.topic_id) {
                    Some(found) => found.name.as_str(),
                    None => return true,
                },
            };
            access.allows(Operation::Write, ResourceType::Topic, name)
        };
        Ok(self.topic_data.extract_if(.., |topic| !allowed(topic)).collect())
    }
}

impl Guarded for InitProducerIdRequest {
    type Denied = ();

    /// Idempotent producers need IdempotentWrite on the cluster, or Write on any topic (KIP-679).
    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        if let Some(id) = &self.transactional_id {
            return match access.allows(Operation::Write, ResourceType::TransactionalId, id) {
                true => Ok(()),
                false => Err(Refusal(ResponseError::TransactionalIdAuthorizationFailed)),
            };
        }
        let any_topic = access.allows_any(Operation::Write, ResourceType::Topic);
        match any_topic || access.allows(Operation::IdempotentWrite, ResourceType::Cluster, CLUSTER_NAME) {
            true => Ok(()),
            false => Err(Refusal(ResponseError::ClusterAuthorizationFailed)),
        }
    }
}

impl Guarded for ListOffsetsRequest {
    type Denied = Vec<ListOffsetsTopic>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        let allowed = |name: &str| access.allows(Operation::Describe, ResourceType::Topic, name);
        Ok(self.topics.extract_if(.., |topic| !allowed(&topic.name)).collect())
    }
}

impl Guarded for OffsetForLeaderEpochRequest {
    type Denied = Vec<OffsetForLeaderTopic>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        let allowed = |name: &str| access.allows(Operation::Describe, ResourceType::Topic, name);
        Ok(self.topics.extract_if(.., |topic| !allowed(&topic.topic)).collect())
    }
}

impl Guarded for DeleteRecordsRequest {
    type Denied = Vec<DeleteRecordsTopic>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        let allowed = |name: &str| access.allows(Operation::Delete, ResourceType::Topic, name);
        Ok(self.topics.extract_if(.., |topic| !allowed(&topic.name)).collect())
    }
}
