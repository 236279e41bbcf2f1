//! A consumer group as ConsumerGroupDescribe shows it.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::assignment::Assignment;
use super::heartbeat::Refused;
use super::member::Member;
use super::{ConsumerGroup, Phase};
use crate::group::coordinator::{Coordinator, check_group_id};
use crate::group::state::State;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerDescription {
    pub state: State,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub assignor: &'static str,
    pub members: Vec<ConsumerMemberDescription>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMemberDescription {
    pub id: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub rack: Option<Arc<str>>,
    pub epoch: i32,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub names: Vec<Arc<str>>,
    pub regex: Option<Arc<str>>,
    pub assignment: NamedPartitions,
    pub target: NamedPartitions,
    pub is_classic: bool,
}

/// Topic id with partition indexes.
pub type NamedPartitions = Vec<(Uuid, Vec<i32>)>;

impl Phase {
    pub(in crate::group) fn state(self) -> State {
        match self {
            Phase::Empty => State::Empty,
            Phase::Assigning => State::Assigning,
            Phase::Reconciling => State::Reconciling,
            Phase::Stable => State::Stable,
        }
    }
}

impl ConsumerGroup {
    fn describe(&self) -> ConsumerDescription {
        let member = |(id, member): (&Arc<str>, &Member)| ConsumerMemberDescription {
            id: Arc::clone(id),
            instance: member.profile.instance.clone(),
            rack: member.profile.rack.clone(),
            epoch: member.current.epoch,
            client_id: Arc::clone(&member.profile.client_id),
            client_host: Arc::clone(&member.profile.client_host),
            names: member.profile.names.iter().cloned().collect(),
            regex: member.profile.regex.clone(),
            assignment: named(&member.current.assigned),
            target: self.targets.get(id).map(named).unwrap_or_default(),
            is_classic: member.is_classic(),
        };
        ConsumerDescription {
            state: self.phase().state(),
            epoch: self.epoch.epoch,
            assignment_epoch: self.target_epoch,
            assignor: self.preferred_assignor().name(),
            members: self.members.iter().map(member).collect(),
        }
    }
}

fn named(assignment: &Assignment) -> NamedPartitions {
    assignment.topics().map(|(topic, partitions)| (topic, partitions.iter().copied().collect())).collect()
}

impl Coordinator {
    pub fn describe_consumer(&self, group: &str) -> Result<ConsumerDescription, Refused> {
        check_group_id(group)?;
        let not_found = |message: String| Refused::new(ResponseError::GroupIdNotFound, message);
        let cell = self.shard(group)?.get(group)?.ok_or_else(|| not_found(format!("Group {group} not found.")))?;
        let found = cell.group.lock();
        match &found.consumer {
            _ if found.state == State::Dead => Err(not_found(format!("Group {group} not found."))),
            Some(consumer) => Ok(consumer.describe()),
            None => Err(not_found(format!("Group {group} is not a consumer group."))),
        }
    }
}
