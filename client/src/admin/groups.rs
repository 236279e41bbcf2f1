//! Consumer groups: list, describe, delete.

use std::collections::BTreeMap;

use krafka::__private::protocol::{
    ApiKey, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupMember, DescribeGroupsRequest,
    DescribeGroupsResponse, ListGroupsRequest, ListGroupsResponse, decode_consumer_protocol_assignment, versions,
};
use serde::Serialize;

use super::connection::{Admin, Api, Kind};
use krafka::error::ErrorCode;

use crate::error::{BrokerError, Result, answer};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupListing {
    pub group: String,
    /// `consumer` for consumers.
    pub protocol_type: String,
    pub state: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    pub group: String,
    pub state: String,
    pub protocol_type: String,
    /// The assignor in use.
    pub protocol: String,
    pub members: Vec<GroupMember>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupMember {
    pub member_id: String,
    /// Of static members.
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    pub assignment: Vec<TopicPartitions>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicPartitions {
    pub topic: String,
    pub partitions: Vec<i32>,
}

const LIST: Api = Api {
    key: ApiKey::ListGroups,
    name: "ListGroups",
    min: versions::LIST_GROUPS_MIN,
    max: versions::LIST_GROUPS_MAX,
    kind: Kind::Read,
};
const DESCRIBE: Api = Api {
    key: ApiKey::DescribeGroups,
    name: "DescribeGroups",
    min: versions::DESCRIBE_GROUPS_MIN,
    max: versions::DESCRIBE_GROUPS_MAX,
    kind: Kind::Read,
};
const DELETE: Api = Api {
    key: ApiKey::DeleteGroups,
    name: "DeleteGroups",
    min: versions::DELETE_GROUPS_MIN,
    max: versions::DELETE_GROUPS_MAX,
    kind: Kind::Write,
};

impl Admin {
    /// The groups that the user may describe, by name.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        let request = ListGroupsRequest { states_filter: Vec::new(), types_filter: Vec::new() };
        let response: ListGroupsResponse = self.call(LIST, &request).await?;
        answer(response.error_code, None)?;
        let mut groups: Vec<GroupListing> = response
            .groups
            .into_iter()
            .map(|group| GroupListing {
                group: group.group_id,
                protocol_type: group.protocol_type,
                state: group.group_state,
            })
            .collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(groups)
    }

    /// The named groups; one that does not exist is an error of its own ([`crate::Error::is_not_found`]).
    pub async fn describe_groups(&self, names: &[&str]) -> Result<BTreeMap<String, Result<Group>>> {
        let groups = names.iter().map(|&name| name.to_owned()).collect();
        let request = DescribeGroupsRequest { groups, include_authorized_operations: false };
        let response: DescribeGroupsResponse = self.call(DESCRIBE, &request).await?;
        Ok(response
            .groups
            .into_iter()
            .map(|group| {
                let name = group.group_id.clone();
                // Before version 6 a group that does not exist is described as dead and empty.
                let gone = group.error_code.is_ok() && group.group_state == "Dead";
                let described = if gone {
                    Err(BrokerError { code: ErrorCode::GroupIdNotFound, message: None }.into())
                } else {
                    answer(group.error_code, group.error_message).map(|()| Group {
                        group: group.group_id,
                        state: group.group_state,
                        protocol_type: group.protocol_type,
                        protocol: group.protocol_data,
                        members: group.members.into_iter().map(member).collect(),
                    })
                };
                (name, described)
            })
            .collect())
    }

    /// Deletes groups with their offsets; a group with members is refused.
    pub async fn delete_groups(&self, names: &[&str]) -> Result<BTreeMap<String, Result<()>>> {
        let group_names = names.iter().map(|&name| name.to_owned()).collect();
        let response: DeleteGroupsResponse = self.call(DELETE, &DeleteGroupsRequest { group_names }).await?;
        Ok(response.results.into_iter().map(|result| (result.group_id, answer(result.error_code, None))).collect())
    }
}

/// An assignment that is not a consumer's (Connect has its own form) is left empty.
fn member(member: DescribeGroupMember) -> GroupMember {
    let assignment = decode_consumer_protocol_assignment(&member.member_assignment)
        .map(|assignment| {
            let topics = assignment.assigned_partitions.into_iter();
            topics.map(|topic| TopicPartitions { topic: topic.topic, partitions: topic.partitions }).collect()
        })
        .unwrap_or_default();
    GroupMember {
        member_id: member.member_id,
        instance_id: member.group_instance_id,
        client_id: member.client_id,
        host: member.client_host,
        assignment,
    }
}
