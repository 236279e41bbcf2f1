//! Looking at groups: for Describe, List, OffsetFetch and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::coordinator::{Coordinator, check_group_id};
use super::offsets::Offsets;
use super::shard::Cell;
use super::state::State;

/// A group as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub state: State,
    pub protocol_type: Arc<str>,
    /// The chosen protocol; empty unless the group is stable.
    pub protocol: Arc<str>,
    pub members: Vec<MemberDescription>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    pub id: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

/// Which protocol a group's members use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Classic,
    Consumer,
}

impl Kind {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Classic => "classic",
            Kind::Consumer => "consumer",
        }
    }
}

/// A group as ListGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub group: Arc<str>,
    pub protocol_type: Arc<str>,
    pub state: State,
    pub kind: Kind,
}

/// How many groups and members there are, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub by_state: BTreeMap<State, usize>,
    pub members: usize,
}

impl Counts {
    pub fn groups(&self) -> usize {
        self.by_state.values().sum()
    }
}

impl Coordinator {
    /// Shows a group's durable offsets; a group that does not exist has none.
    pub fn offsets<R>(&self, group: &str, look: impl FnOnce(&Offsets) -> R) -> Result<R, ResponseError> {
        match self.shard(group)?.get(group)? {
            Some(cell) => Ok(look(&cell.group.lock().offsets)),
            None => Ok(look(&Offsets::default())),
        }
    }

    pub fn describe(&self, group: &str) -> Result<Description, ResponseError> {
        check_group_id(group)?;
        let cell = self.shard(group)?.get(group)?.ok_or(ResponseError::GroupIdNotFound)?;
        let group = cell.group.lock();
        if group.state == State::Dead || group.consumer.is_some() {
            return Err(ResponseError::GroupIdNotFound);
        }
        let protocol = group.protocol.clone().filter(|_| group.state == State::Stable).unwrap_or_default();
        let members = group.members.values().map(|member| MemberDescription {
            id: Arc::clone(&member.id),
            instance: member.instance.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            metadata: member.metadata(&protocol),
            assignment: member.assignment.clone(),
        });
        let members = members.collect();
        Ok(Description {
            state: group.state,
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol,
            members,
        })
    }

    /// Every group that is loaded; and the error to be told with them when some are not.
    pub fn list(&self) -> (Vec<Listed>, Option<ResponseError>) {
        let Some(shards) = self.shards.get() else {
            return (Vec::new(), Some(ResponseError::CoordinatorLoadInProgress));
        };
        let listed = |cell: Arc<Cell>| {
            let group = cell.group.lock();
            let (kind, protocol_type) = match &group.consumer {
                Some(_) => (Kind::Consumer, super::CONSUMER.into()),
                None => (Kind::Classic, group.protocol_type.clone().unwrap_or_default()),
            };
            Listed { group: Arc::clone(&group.id), protocol_type, state: group.shown_state(), kind }
        };
        let mut groups: Vec<_> = self.cells().into_iter().map(listed).collect();
        groups.retain(|group| group.state != State::Dead);
        (groups, shards.iter().find_map(|shard| shard.status_code()))
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts { by_state: State::ALL.into_iter().map(|state| (state, 0)).collect(), members: 0 };
        for cell in self.cells() {
            let group = cell.group.lock();
            *counts.by_state.entry(group.shown_state()).or_default() += 1;
            counts.members += group.member_count();
        }
        counts
    }

    /// What members and offsets of all groups take in memory, about (bytes).
    pub fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    pub(super) fn cells(&self) -> Vec<Arc<Cell>> {
        self.shards.get().into_iter().flatten().flat_map(|shard| shard.all()).collect()
    }
}
