//! One group: its state, its members, its offsets. Pure: time comes in as an argument, what is to be written goes out
//! as a [`Change`], and nothing here waits. The transitions are those of Apache Kafka's classic group coordinator.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::Settings;
use super::consumer::ConsumerGroup;
use super::limits::MEMBER_BYTES;
use super::member::{JoinResult, Joined, JoinedMember, Member};
use super::memory::{Held, Share};
use super::offsets::{Offsets, TopicPartition};
use super::records::{GroupValue, OffsetValue};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Instant,
    /// Milliseconds since 1970.
    pub(super) wall_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    /// A consumer group whose target assignment is out of date.
    Assigning,
    /// A consumer group whose members are on their way to their targets.
    Reconciling,
    /// Deleted, or moved away: whoever still holds it looks the group up again.
    Dead,
}

impl State {
    pub const ALL: [State; 7] = [
        State::Empty,
        State::PreparingRebalance,
        State::CompletingRebalance,
        State::Stable,
        State::Assigning,
        State::Reconciling,
        State::Dead,
    ];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Assigning => "Assigning",
            State::Reconciling => "Reconciling",
            State::Dead => "Dead",
        }
    }
}

/// What takes effect once its records are durable.
#[derive(Debug)]
pub(super) enum Change {
    /// The group's metadata, written.
    Stored(Store),
    Committed(Vec<(TopicPartition, OffsetValue)>),
    /// Offsets of a transaction, which are held already.
    Held,
    OffsetsRemoved(Vec<TopicPartition>),
    /// A consumer group's, which took effect when it was appended; answers wait for it.
    Consumer,
    /// The group is gone with all its offsets.
    Deleted,
}

/// Why the group's metadata is written.
#[derive(Debug)]
pub(super) enum Store {
    /// The last member left.
    Empty,
    /// The leader shared out the partitions.
    Assignment { generation: i32, leader: Arc<str>, assignments: HashMap<Arc<str>, Bytes> },
    /// A static member came back under a new id without a rebalance; it is told when that is durable.
    Replaced { reply: oneshot::Sender<JoinResult>, joined: Joined },
}

/// When the join phase ends at the latest.
#[derive(Clone, Copy, Debug)]
pub(super) enum JoinTimer {
    /// First members of an empty group: more are waited for, `remaining` at most after `at`.
    Initial {
        at: Instant,
        remaining: Duration,
    },
    Rebalance {
        at: Instant,
    },
}

pub(super) struct Group {
    pub(super) id: Arc<str>,
    pub(super) settings: Arc<Settings>,
    pub(super) state: State,
    /// When the state was entered, in milliseconds since 1970; -1 when a stored group does not say.
    pub(super) state_since_ms: i64,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<Arc<str>>,
    pub(super) protocol: Option<Arc<str>>,
    pub(super) leader: Option<Arc<str>>,
    /// In the order of joining.
    pub(super) members: IndexMap<Arc<str>, Member>,
    /// Instance id → member id.
    pub(super) statics: HashMap<Arc<str>, Arc<str>>,
    /// Ids handed out to clients that have not come back yet, with the end of the wait.
    pub(super) pending_join: HashMap<Arc<str>, Instant>,
    /// Members that have joined this generation and not yet asked for their assignment.
    pub(super) pending_sync: HashSet<Arc<str>>,
    pub(super) join_timer: Option<JoinTimer>,
    /// A member joined since the initial delay was last extended.
    pub(super) new_member_added: bool,
    pub(super) sync_deadline: Option<Instant>,
    pub(super) offsets: Offsets,
    /// The members of a group with the consumer protocol. What belongs to classic groups is that of an empty one then.
    pub(super) consumer: Option<Box<ConsumerGroup>>,
    /// To be written by whoever holds the group's lock, before the lock is released.
    pub(super) to_store: Vec<Store>,
    /// Appended and not yet durable, in log order, each with its number.
    in_flight: VecDeque<(u64, Change)>,
    next_change: u64,
    /// Number of the last change that is durable. Replaced when the group is given up, which ends every wait.
    durable: watch::Sender<u64>,
    /// For when the group's timer is set (kept by the coordinator).
    pub(super) armed: Option<Instant>,
    /// What is counted of it in the memory of all groups (kept by the coordinator).
    share: Option<Share>,
}

impl Group {
    pub(super) fn new(id: Arc<str>, settings: Arc<Settings>, now: Now) -> Self {
        Self {
            id,
            settings,
            state: State::Empty,
            state_since_ms: now.wall_ms,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: IndexMap::new(),
            statics: HashMap::new(),
            pending_join: HashMap::new(),
            pending_sync: HashSet::new(),
            join_timer: None,
            new_member_added: false,
            sync_deadline: None,
            offsets: Offsets::default(),
            consumer: None,
            to_store: Vec::new(),
            in_flight: VecDeque::new(),
            next_change: 0,
            durable: watch::Sender::new(0),
            armed: None,
            share: None,
        }
    }

    /// A group as it was stored. Members resume where they were, with their sessions started again.
    pub(super) fn stored(id: Arc<str>, value: GroupValue, settings: Arc<Settings>, now: Now) -> Self {
        let mut group = Self::new(id, settings, now);
        group.generation = value.generation;
        group.protocol_type = Some(value.protocol_type).filter(|name| !name.is_empty());
        group.state_since_ms = value.state_timestamp;
        for member in value.members {
            let member = Member::stored(member, value.protocol.as_ref(), now.at);
            if let Some(instance) = &member.instance {
                group.statics.insert(Arc::clone(instance), Arc::clone(&member.id));
            }
            group.members.insert(Arc::clone(&member.id), member);
        }
        if !group.members.is_empty() {
            group.state = State::Stable;
            group.protocol = value.protocol;
            let leader = value.leader.filter(|leader| group.members.contains_key(leader));
            group.leader = leader.or_else(|| group.members.keys().next().cloned());
        }
        group
    }

    /// What is stored. `assignments` stand in for those that take effect only when this is durable.
    pub(super) fn value(&self, assignments: Option<&HashMap<Arc<str>, Bytes>>) -> GroupValue {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let assignment = |member: &Member| match assignments {
            Some(assignments) => assignments.get(&member.id).cloned().unwrap_or_default(),
            None => member.assignment.clone(),
        };
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp: self.state_since_ms,
            members: self.members.values().map(|member| member.value(protocol, assignment(member))).collect(),
        }
    }

    pub(super) fn transition(&mut self, state: State, now: Now) {
        self.state = state;
        self.state_since_ms = now.wall_ms;
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Whether this member, under this static name, belongs to the group.
    pub(super) fn check_member(&self, member: &str, instance: Option<&Arc<str>>) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(current) if &**current != member => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// Adds a member; the first one decides about the protocol type, and leads.
    pub(super) fn add(&mut self, member: Member, protocol_type: Arc<str>) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type);
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(Arc::clone(instance), Arc::clone(&member.id));
        }
        self.leader.get_or_insert_with(|| Arc::clone(&member.id));
        self.pending_join.remove(&member.id);
        self.members.insert(Arc::clone(&member.id), member);
    }

    /// Takes a member out; whoever joined first of the rest leads.
    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.members.shift_remove(id)?;
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_sync.remove(id);
        Some(member)
    }

    /// The longest that any member asks the others to wait.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Names, subscriptions and assignments of all members.
    pub(super) fn bytes(&self) -> usize {
        self.members.values().map(Member::bytes).sum()
    }

    /// Whether a newcomer with these protocols can agree with everybody on one.
    pub(super) fn supports<'a>(&self, protocol_type: &str, mut names: impl Iterator<Item = &'a Arc<str>>) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && names.next().is_some();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && names.any(|name| self.members.values().all(|member| member.offers(name)))
    }

    /// The protocol that everybody offers and most members prefer.
    pub(super) fn select_protocol(&self) -> Option<Arc<str>> {
        let everybody = |name: &str| self.members.values().all(|member| member.offers(name));
        let candidates: HashSet<Arc<str>> = self
            .members
            .first()?
            .1
            .protocols
            .iter()
            .map(|protocol| Arc::clone(&protocol.name))
            .filter(|name| everybody(name))
            .collect();
        let mut votes: IndexMap<&Arc<str>, usize> = IndexMap::new();
        for member in self.members.values() {
            if let Some(vote) = member.protocols.iter().map(|p| &p.name).find(|name| candidates.contains(*name)) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = *votes.values().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| Arc::clone(name))
    }

    /// Everybody with what they offer for the chosen protocol, for the leader.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let joined = |member: &Member| JoinedMember {
            id: Arc::clone(&member.id),
            instance: member.instance.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(joined).collect()
    }

    /// The current generation, as told to one of its members.
    pub(super) fn joined(&self, member: &Arc<str>, with_members: bool) -> Joined {
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member: Arc::clone(member),
            skip_assignment: false,
            members: if with_members { self.joined_members() } else { Vec::new() },
        }
    }

    /// Everything that waits is refused, and the group takes no more requests.
    pub(super) fn abandon(&mut self, code: ResponseError, now: Now) {
        for member in self.members.values_mut() {
            let id = Arc::clone(&member.id);
            member.refuse(code, id);
        }
        self.to_store.clear();
        self.in_flight.clear();
        self.join_timer = None;
        self.sync_deadline = None;
        self.consumer = None;
        self.durable = watch::Sender::new(0);
        self.transition(State::Dead, now);
    }

    /// Notes a change whose records were appended, and gives it its number.
    pub(super) fn appended(&mut self, change: Change) -> u64 {
        self.next_change += 1;
        self.in_flight.push_back((self.next_change, change));
        self.next_change
    }

    /// The change with this number is durable, and so is everything before it.
    pub(super) fn durable(&mut self, number: u64, now: Now) {
        while self.in_flight.front().is_some_and(|(first, _)| *first <= number) {
            let Some((_, change)) = self.in_flight.pop_front() else { return };
            match change {
                Change::Stored(store) => self.store_done(store, Ok(()), now),
                Change::Committed(offsets) => self.offsets.apply(offsets),
                Change::OffsetsRemoved(partitions) => self.offsets.remove(&partitions),
                Change::Consumer | Change::Held => {}
                Change::Deleted => self.abandon(ResponseError::CoordinatorNotAvailable, now),
            }
        }
        self.durable.send_if_modified(|durable| number > std::mem::replace(durable, number.max(*durable)));
    }

    /// The last change that was appended, and what tells when it is durable.
    pub(super) fn in_flight_until(&self) -> (u64, watch::Receiver<u64>) {
        (self.next_change, self.durable.subscribe())
    }

    /// The members go on in a consumer group: what waits here is told to join again.
    pub(super) fn leave_classic(&mut self, now: Now) {
        for member in self.members.values_mut() {
            let id = Arc::clone(&member.id);
            member.refuse(ResponseError::RebalanceInProgress, id);
        }
        let empty = Group::new(Arc::clone(&self.id), Arc::clone(&self.settings), now);
        self.take_members_of(empty);
    }

    /// A consumer group goes on with these members.
    pub(super) fn become_classic(&mut self, classic: Group) {
        self.consumer = None;
        self.take_members_of(classic);
    }

    fn take_members_of(&mut self, other: Group) {
        (self.state, self.state_since_ms) = (other.state, other.state_since_ms);
        (self.generation, self.leader) = (other.generation, other.leader);
        (self.protocol_type, self.protocol) = (other.protocol_type, other.protocol);
        (self.members, self.statics) = (other.members, other.statics);
        self.pending_join.clear();
        self.pending_sync.clear();
        (self.join_timer, self.sync_deadline) = (None, None);
    }

    /// What the group is doing, whichever its kind.
    pub(super) fn shown_state(&self) -> State {
        match &self.consumer {
            Some(consumer) if self.state != State::Dead => consumer.phase().state(),
            _ => self.state,
        }
    }

    /// Number of the change that was appended last.
    pub(super) fn last_change(&self) -> u64 {
        self.next_change
    }

    pub(super) fn in_flight(&self) -> impl Iterator<Item = &Change> {
        self.in_flight.iter().map(|(_, change)| change)
    }

    pub(super) fn has_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Whether nothing of this group is worth keeping.
    pub(super) fn is_disposable(&self) -> bool {
        self.state == State::Empty
            && self.pending_join.is_empty()
            && self.in_flight.is_empty()
            && self.offsets.is_empty()
            && self.consumer.as_ref().is_none_or(|consumer| consumer.is_empty())
    }

    /// Whether the group's part of all groups' memory may grow so much.
    pub(super) fn may_grow_by(&self, bytes: usize) -> bool {
        self.share.as_ref().is_none_or(|share| share.has_room_for(bytes))
    }

    /// Counts what the group holds now.
    pub(super) fn weigh(&mut self, held: &Arc<Held>) {
        let consumer = self.consumer.as_ref().map_or(0, |consumer| consumer.bytes());
        let members = MEMBER_BYTES * self.member_count() + self.bytes() + consumer;
        let bytes = members + self.offsets.bytes();
        self.share.get_or_insert_with(|| Share::of(held)).set(bytes);
    }

    /// Members of either kind.
    pub(super) fn member_count(&self) -> usize {
        self.members.len() + self.consumer.as_ref().map_or(0, |consumer| consumer.len())
    }

    /// When [`Self::on_time`] has something to do, if that may be before the group's timer.
    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        let armed = self.armed.is_some();
        let join = self.join_timer.map(|timer| match timer {
            JoinTimer::Initial { at, .. } | JoinTimer::Rebalance { at } => at,
        });
        let sessions = self.members.values().filter_map(|member| member.deadline);
        let pending = self.pending_join.values().copied();
        let consumer = self.consumer.as_mut().and_then(|consumer| consumer.next_deadline(armed));
        sessions.chain(pending).chain(join).chain(self.sync_deadline).chain(consumer).min()
    }
}
