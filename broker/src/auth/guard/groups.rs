//! Consumer groups, their members and offsets.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestTopic, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest, DescribeGroupsRequest,
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::auth::{Access, Guarded, Refusal};
use crate::catalog::acl::{Operation, ResourceType};

const FORBIDDEN: Refusal = Refusal(ResponseError::GroupAuthorizationFailed);
const GROUP_KEY: i8 = 0;
const TRANSACTION_KEY: i8 = 1;

fn group(access: &Access, operation: Operation, name: &str) -> Result<(), Refusal> {
    if access.allows(operation, ResourceType::Group, name) { Ok(()) } else { Err(FORBIDDEN) }
}

impl Guarded for FindCoordinatorRequest {
    /// Keys of a batch (version 4 on), with what is answered.
    type Denied = Vec<(StrBytes, ResponseError)>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        let (resource, error) = match self.key_type {
            GROUP_KEY => (ResourceType::Group, ResponseError::GroupAuthorizationFailed),
            TRANSACTION_KEY => (ResourceType::TransactionalId, ResponseError::TransactionalIdAuthorizationFailed),
            // Answered as invalid.
            _ => return Ok(Vec::new()),
        };
        let allowed = |key: &str| access.allows(Operation::Describe, resource, key);
        // A batch without keys and an empty single key look alike; both ask for nothing.
        if self.coordinator_keys.is_empty() && !self.key.is_empty() && !allowed(&self.key) {
            return Err(Refusal(error));
        }
        Ok(self.coordinator_keys.extract_if(.., |key| !allowed(key)).map(|key| (key, error)).collect())
    }
}

/// Requests of members need Read on their group.
macro_rules! member_requests {
    ($($request:ty),+) => {
        $(impl Guarded for $request {
            type Denied = ();

            fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
                group(access, Operation::Read, &self.group_id)
            }
        })+
    };
}

member_requests!(JoinGroupRequest, SyncGroupRequest, HeartbeatRequest, LeaveGroupRequest);

impl Guarded for ConsumerGroupHeartbeatRequest {
    /// Whether a topic is named that may not be described.
    type Denied = bool;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        group(access, Operation::Read, &self.group_id)?;
        let names = self.subscribed_topic_names.iter().flatten();
        Ok(!names.into_iter().all(|name| access.allows(Operation::Describe, ResourceType::Topic, name)))
    }
}

impl Guarded for ConsumerGroupDescribeRequest {
    type Denied = Vec<GroupId>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        Ok(self.group_ids.extract_if(.., |name| group(access, Operation::Describe, name).is_err()).collect())
    }
}

impl Guarded for OffsetCommitRequest {
    type Denied = Vec<OffsetCommitRequestTopic>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        group(access, Operation::Read, &self.group_id)?;
        let denied =
            |topic: &mut OffsetCommitRequestTopic| !access.allows(Operation::Read, ResourceType::Topic, &topic.name);
        Ok(self.topics.extract_if(.., denied).collect())
    }
}

/// What an OffsetFetch may not see.
#[derive(Debug, Default)]
pub struct DeniedOffsets {
    /// Topics of the one group of versions up to 7.
    pub topics: Vec<OffsetFetchRequestTopic>,
    /// Whole groups of a batch (version 8 on).
    pub groups: Vec<GroupId>,
    /// Topics of the allowed groups of a batch.
    pub group_topics: Vec<(GroupId, Vec<OffsetFetchRequestTopics>)>,
}

impl Guarded for OffsetFetchRequest {
    /// Where all topics are asked for, the service leaves out what may not be seen.
    type Denied = DeniedOffsets;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        // The empty name stands for nothing in a batch, and for itself before there were batches.
        if self.groups.is_empty() {
            group(access, Operation::Describe, &self.group_id)?;
        }
        let hidden = |name: &str| !access.allows(Operation::Describe, ResourceType::Topic, name);
        let mut denied = DeniedOffsets::default();
        if let Some(topics) = &mut self.topics {
            denied.topics = topics.extract_if(.., |topic| hidden(&topic.name)).collect();
        }
        let refused = self.groups.extract_if(.., |asked| group(access, Operation::Describe, &asked.group_id).is_err());
        denied.groups = refused.map(|asked| asked.group_id).collect();
        for asked in &mut self.groups {
            let Some(topics) = &mut asked.topics else { continue };
            let topics: Vec<_> = topics.extract_if(.., |topic| hidden(&topic.name)).collect();
            if !topics.is_empty() {
                denied.group_topics.push((asked.group_id.clone(), topics));
            }
        }
        Ok(denied)
    }
}

impl Guarded for OffsetDeleteRequest {
    type Denied = Vec<OffsetDeleteRequestTopic>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        group(access, Operation::Delete, &self.group_id)?;
        let denied =
            |topic: &mut OffsetDeleteRequestTopic| !access.allows(Operation::Read, ResourceType::Topic, &topic.name);
        Ok(self.topics.extract_if(.., denied).collect())
    }
}

impl Guarded for DescribeGroupsRequest {
    type Denied = Vec<GroupId>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        Ok(self.groups.extract_if(.., |name| group(access, Operation::Describe, name).is_err()).collect())
    }
}

impl Guarded for ListGroupsRequest {
    type Denied = ();

    /// The list leaves out what may not be described.
    fn guard(&mut self, _: &Access) -> Result<(), Refusal> {
        Ok(())
    }
}

impl Guarded for DeleteGroupsRequest {
    type Denied = Vec<GroupId>;

    fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
        Ok(self.groups_names.extract_if(.., |name| group(access, Operation::Delete, name).is_err()).collect())
    }
}
