//! Consumer groups: list, describe, delete.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use krafka::__private::protocol::{
    ApiKey, ConsumerGroupDescribeGroup, ConsumerGroupDescribeMember, ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupMember,
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, FindCoordinatorRequest, FindCoordinatorResponse,
    ListGroupsRequest, ListGroupsResponse, VersionedDecode, VersionedEncode, decode_consumer_protocol_assignment,
    versions,
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
    /// `classic` or `consumer`: the protocol of its members. Brokers before version 5 of the request do not say.
    pub group_type: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    pub group: String,
    pub state: String,
    pub protocol_type: String,
    /// `classic` or `consumer`: the protocol of its members.
    pub group_type: &'static str,
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
const DESCRIBE_CONSUMER: Api = Api {
    key: ApiKey::ConsumerGroupDescribe,
    name: "ConsumerGroupDescribe",
    min: versions::CONSUMER_GROUP_DESCRIBE_MIN,
    max: versions::CONSUMER_GROUP_DESCRIBE_MAX,
    kind: Kind::Read,
};
const DELETE: Api = Api {
    key: ApiKey::DeleteGroups,
    name: "DeleteGroups",
    min: versions::DELETE_GROUPS_MIN,
    max: versions::DELETE_GROUPS_MAX,
    kind: Kind::Write,
};

const FIND: Api = Api {
    key: ApiKey::FindCoordinator,
    name: "FindCoordinator",
    min: versions::FIND_COORDINATOR_MIN,
    max: versions::FIND_COORDINATOR_MAX,
    kind: Kind::Read,
};
/// Between two questions to a coordinator that is not ready.
const COORDINATOR_PAUSE: Duration = Duration::from_millis(200);

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
                group_type: group.group_type,
            })
            .collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(groups)
    }

    /// The named groups; one that does not exist is an error of its own ([`crate::Error::is_not_found`]).
    pub async fn describe_groups(&self, names: &[&str]) -> Result<BTreeMap<String, Result<Group>>> {
        let request = |names: &[&str]| DescribeGroupsRequest {
            groups: names.iter().map(|&name| name.to_owned()).collect(),
            include_authorized_operations: false,
        };
        let response: DescribeGroupsResponse = self.call(DESCRIBE, &request(names)).await?;
        let mut groups = BTreeMap::new();
        for mut group in response.groups {
            let name = group.group_id.clone();
            if group.error_code == ErrorCode::NotCoordinator {
                let code = |response: &DescribeGroupsResponse| response.groups.first().map(|group| group.error_code);
                let again = self
                    .call_coordinator(&FindCoordinatorRequest::for_group(&name), DESCRIBE, &request(&[&name]), code)
                    .await;
                match again.map(|response| response.groups.into_iter().next()) {
                    Ok(answered) => group = answered.unwrap_or(group),
                    Err(error) => {
                        groups.insert(name, Err(error));
                        continue;
                    }
                }
            }
            groups.insert(name, described(group));
        }
        self.describe_consumer_groups(&mut groups).await;
        Ok(groups)
    }

    /// Groups that are no classic ones may be consumer groups; a broker that knows none leaves them as they are.
    async fn describe_consumer_groups(&self, groups: &mut BTreeMap<String, Result<Group>>) {
        let missing = |described: &Result<Group>| described.as_ref().is_err_and(crate::Error::is_not_found);
        let names: Vec<String> =
            groups.iter().filter(|(_, described)| missing(described)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let request = ConsumerGroupDescribeRequest::new(vec![name.clone()]);
            let code = |response: &ConsumerGroupDescribeResponse| response.groups.first().map(|group| group.error_code);
            let Ok(response) = self.call_group(&name, DESCRIBE_CONSUMER, &request, code).await else { continue };
            if let Some(group) = response.groups.into_iter().next() {
                groups.insert(name, described_consumer(group));
            }
        }
    }

    /// Deletes groups with their offsets; a group with members is refused.
    pub async fn delete_groups(&self, names: &[&str]) -> Result<BTreeMap<String, Result<()>>> {
        let request =
            |names: &[&str]| DeleteGroupsRequest { group_names: names.iter().map(|&name| name.to_owned()).collect() };
        let response: DeleteGroupsResponse = self.call(DELETE, &request(names)).await?;
        let mut groups = BTreeMap::new();
        for result in response.results {
            let name = result.group_id;
            let mut deleted = Ok(result.error_code);
            if result.error_code == ErrorCode::NotCoordinator {
                let code = |response: &DeleteGroupsResponse| response.results.first().map(|result| result.error_code);
                let again = self
                    .call_coordinator(&FindCoordinatorRequest::for_group(&name), DELETE, &request(&[&name]), code)
                    .await;
                deleted = again.map(|response| code(&response).unwrap_or(ErrorCode::NotCoordinator));
            }
            groups.insert(name, deleted.and_then(|code| answer(code, None)));
        }
        Ok(groups)
    }

    /// A request about one group: sent to the bootstrap server, and on clusters that answer it at the group's coordinator
    /// alone, to that. `code` finds the error that says so.
    pub(super) async fn call_group<Req, Resp>(
        &self,
        group: &str,
        api: Api,
        request: &Req,
        code: impl Fn(&Resp) -> Option<ErrorCode>,
    ) -> Result<Resp>
    where
        Req: VersionedEncode,
        Resp: VersionedDecode,
    {
        let response = self.call(api, request).await?;
        match code(&response) {
            Some(ErrorCode::NotCoordinator) => {
                self.call_coordinator(&FindCoordinatorRequest::for_group(group), api, request, code).await
            }
            _ => Ok(response),
        }
    }

    /// Finding a coordinator also makes a cluster create its internal topic, which takes a moment.
    pub(super) async fn call_coordinator<Req, Resp>(
        &self,
        find: &FindCoordinatorRequest,
        api: Api,
        request: &Req,
        code: impl Fn(&Resp) -> Option<ErrorCode>,
    ) -> Result<Resp>
    where
        Req: VersionedEncode,
        Resp: VersionedDecode,
    {
        let not_ready = |code| {
            use ErrorCode::{CoordinatorLoadInProgress, CoordinatorNotAvailable, NotCoordinator};
            matches!(code, CoordinatorLoadInProgress | CoordinatorNotAvailable | NotCoordinator)
        };
        let deadline = Instant::now() + self.profile().request_timeout;
        loop {
            let found: FindCoordinatorResponse = self.call(FIND, find).await?;
            let late = Instant::now() >= deadline;
            if !not_ready(found.error_code) || late {
                answer(found.error_code, found.error_message)?;
                let response = self.call_at(&format!("{}:{}", found.host, found.port), api, request).await?;
                if !code(&response).is_some_and(not_ready) || late {
                    return Ok(response);
                }
            }
            tokio::time::sleep(COORDINATOR_PAUSE).await;
        }
    }
}

fn described(group: DescribedGroup) -> Result<Group> {
    // Before version 6 a group that does not exist is described as dead and empty.
    if group.error_code.is_ok() && group.group_state == "Dead" {
        return Err(BrokerError { code: ErrorCode::GroupIdNotFound, message: None }.into());
    }
    answer(group.error_code, group.error_message)?;
    Ok(Group {
        group: group.group_id,
        state: group.group_state,
        protocol_type: group.protocol_type,
        group_type: "classic",
        protocol: group.protocol_data,
        members: group.members.into_iter().map(member).collect(),
    })
}

fn described_consumer(group: ConsumerGroupDescribeGroup) -> Result<Group> {
    answer(group.error_code, group.error_message)?;
    Ok(Group {
        group: group.group_id,
        state: group.group_state,
        protocol_type: "consumer".to_owned(),
        group_type: "consumer",
        protocol: group.assignor_name,
        members: group.members.into_iter().map(consumer_member).collect(),
    })
}

fn consumer_member(member: ConsumerGroupDescribeMember) -> GroupMember {
    let topics = member.assignment.topic_partitions.into_iter();
    GroupMember {
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        host: member.client_host,
        assignment: topics
            .map(|topic| TopicPartitions { topic: topic.topic_name, partitions: topic.partitions })
            .collect(),
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
