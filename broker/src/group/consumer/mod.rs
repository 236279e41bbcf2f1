//! A consumer group (KIP-848): the coordinator itself shares out the partitions, and every member comes to its target
//! at its own pace. The rules are those of Apache Kafka's `GroupMetadataManager`.
//!
//! The state is what the group's records add up to, and nothing else ([`ConsumerGroup::apply`]): a restart at any point
//! leads to the same state. A request's records are applied as they are decided on and taken back when the request is
//! refused or the log does not take them; its answer goes out when they are durable.

mod assignment;
pub(super) mod assignor;
mod classic;
mod convert;
mod coordinator;
mod embedded;
mod heartbeat;
mod member;
mod membership;
mod queries;
mod reconcile;
pub(super) mod records;
mod target;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::{ConsumerSettings, Settings};
use crate::catalog::Image;
use crate::catalog::group_config::GroupTimes;
use assignment::Assignment;
pub use assignor::Assignor;
pub use heartbeat::{Beaten, Heartbeat, Refused};
use member::{Current, Deadlines, Member, Profile};
pub use queries::{ConsumerDescription, ConsumerMemberDescription, NamedPartitions};
use records::{ConsumerRecord, GroupEpoch, Resolved};

/// What a decision may look at besides the group.
pub(super) struct World<'a> {
    pub(super) image: &'a Image,
    /// Whether the member that asks may describe a topic.
    pub(super) may_describe: &'a (dyn Fn(&str) -> bool + Sync),
}

/// A record that is applied and not yet written, with the one that takes it back.
#[derive(Debug)]
struct Pending {
    record: ConsumerRecord,
    inverse: ConsumerRecord,
}

#[derive(Debug)]
pub(super) struct ConsumerGroup {
    pub(super) id: Arc<str>,
    settings: Arc<Settings>,
    epoch: GroupEpoch,
    /// The group epoch that the target assignment was made for.
    target_epoch: i32,
    members: BTreeMap<Arc<str>, Member>,
    targets: BTreeMap<Arc<str>, Assignment>,
    regexes: BTreeMap<Arc<str>, Resolved>,
    /// Instance id → member id.
    statics: HashMap<Arc<str>, Arc<str>>,
    /// Who has each partition, assigned or still to be revoked. Nobody else gets it before it is gone from here.
    owners: HashMap<(Uuid, i32), Arc<str>>,
    deadlines: HashMap<Arc<str>, Deadlines>,
    /// Members whose deadlines may have come nearer since the group's timer was set; see [`Self::next_deadline`].
    touched: Vec<Arc<str>>,
    /// How many members subscribe by each expression.
    regex_members: BTreeMap<Arc<str>, usize>,
    /// Of all members, about (bytes).
    bytes: usize,
    /// The catalog's version that the metadata hash was last compared with; `None` after a load.
    compared_with: Option<u64>,
    pending: Vec<Pending>,
}

/// The state of the group as a whole, by Kafka's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Empty,
    Assigning,
    Reconciling,
    Stable,
}

impl ConsumerGroup {
    pub(super) fn new(id: Arc<str>, settings: Arc<Settings>) -> Self {
        Self {
            id,
            settings,
            epoch: GroupEpoch::default(),
            target_epoch: 0,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            regexes: BTreeMap::new(),
            statics: HashMap::new(),
            owners: HashMap::new(),
            deadlines: HashMap::new(),
            touched: Vec::new(),
            regex_members: BTreeMap::new(),
            bytes: 0,
            compared_with: None,
            pending: Vec::new(),
        }
    }

    /// The group that its stored records have made; `None` when nothing is left of it.
    pub(super) fn loaded(mut self, settings: &Arc<Settings>) -> Option<Self> {
        if self.epoch.epoch == 0 && self.members.is_empty() {
            return None;
        }
        self.settings = Arc::clone(settings);
        // Compaction keeps the last record of each key, and not the order in which ownership went around.
        self.owners.clear();
        for (id, member) in &self.members {
            let current = &member.current;
            let partitions = current.assigned.partitions().chain(current.revoking.partitions());
            self.owners.extend(partitions.map(|partition| (partition, Arc::clone(id))));
        }
        Some(self)
    }

    fn own(&self) -> &ConsumerSettings {
        &self.settings.consumer
    }

    /// This group's own times, or everybody's.
    fn times(&self, image: &Image) -> GroupTimes {
        let ConsumerSettings { session_timeout, heartbeat_interval, .. } = *self.own();
        GroupTimes { session_timeout, heartbeat_interval }.of(&self.id, image)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// What the members have said, about (bytes). Assignments are bounded by the partitions that there are.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn phase(&self) -> Phase {
        if self.members.is_empty() {
            Phase::Empty
        } else if self.epoch.epoch > self.target_epoch {
            Phase::Assigning
        } else if self.members.values().all(|member| member.is_reconciled_to(self.target_epoch)) {
            Phase::Stable
        } else {
            Phase::Reconciling
        }
    }

    /// Takes a record into the state, and returns the one that undoes it.
    pub(super) fn apply(&mut self, record: ConsumerRecord) -> ConsumerRecord {
        match record {
            ConsumerRecord::Group(value) => {
                let before = std::mem::replace(&mut self.epoch, value.unwrap_or_default());
                ConsumerRecord::Group(Some(before))
            }
            ConsumerRecord::PartitionMetadata => ConsumerRecord::PartitionMetadata,
            ConsumerRecord::TargetEpoch(value) => {
                ConsumerRecord::TargetEpoch(Some(std::mem::replace(&mut self.target_epoch, value.unwrap_or(0))))
            }
            ConsumerRecord::Target(id, value) => {
                let before = match value {
                    Some(target) => self.targets.insert(Arc::clone(&id), target),
                    None => self.targets.remove(&id),
                };
                ConsumerRecord::Target(id, before)
            }
            ConsumerRecord::Regex(regex, value) => {
                let before = match value {
                    Some(resolved) => self.regexes.insert(Arc::clone(&regex), resolved),
                    None => self.regexes.remove(&regex),
                };
                ConsumerRecord::Regex(regex, before)
            }
            ConsumerRecord::Member(id, profile) => self.apply_profile(id, profile),
            ConsumerRecord::Current(id, current) => self.apply_current(id, current),
        }
    }

    fn apply_profile(&mut self, id: Arc<str>, profile: Option<Profile>) -> ConsumerRecord {
        let Some(profile) = profile else {
            let gone = self.members.remove(&id);
            if let Some(member) = &gone {
                self.bytes -= member.profile.bytes();
                self.count_regex(None, member.profile.regex.as_ref());
                self.disown(&id, &member.current);
                if let Some(instance) = &member.profile.instance
                    && self.statics.get(instance) == Some(&id)
                {
                    self.statics.remove(instance);
                }
            }
            return ConsumerRecord::Member(id, gone.map(|member| member.profile));
        };
        if let Some(instance) = &profile.instance {
            self.statics.insert(Arc::clone(instance), Arc::clone(&id));
        }
        self.bytes += profile.bytes();
        let regex = profile.regex.clone();
        let before = match self.members.get_mut(&id) {
            Some(member) => Some(std::mem::replace(&mut member.profile, profile)),
            None => {
                self.members.insert(Arc::clone(&id), Member { profile, current: Current::default() });
                None
            }
        };
        self.bytes -= before.as_ref().map_or(0, Profile::bytes);
        self.count_regex(regex.as_ref(), before.as_ref().and_then(|before| before.regex.as_ref()));
        ConsumerRecord::Member(id, before)
    }

    /// A member subscribes by one expression, and no longer by the other.
    fn count_regex(&mut self, more: Option<&Arc<str>>, fewer: Option<&Arc<str>>) {
        if let Some(regex) = more {
            *self.regex_members.entry(Arc::clone(regex)).or_default() += 1;
        }
        if let Some(regex) = fewer
            && let Some(members) = self.regex_members.get_mut(regex)
        {
            *members -= 1;
            if *members == 0 {
                self.regex_members.remove(regex);
            }
        }
    }

    fn apply_current(&mut self, id: Arc<str>, current: Option<Current>) -> ConsumerRecord {
        // A tombstone for somebody who is not there must not make them.
        if current.is_none() && !self.members.contains_key(&id) {
            return ConsumerRecord::Current(id, None);
        }
        let current = current.unwrap_or_default();
        let member = self.members.entry(Arc::clone(&id)).or_default();
        let before = std::mem::replace(&mut member.current, current.clone());
        self.disown(&id, &before);
        for partition in current.assigned.partitions().chain(current.revoking.partitions()) {
            self.owners.insert(partition, Arc::clone(&id));
        }
        ConsumerRecord::Current(id, Some(before).filter(|before| *before != Current::default()))
    }

    /// Only what is still this member's: while records are loaded, what they describe may come out of order.
    fn disown(&mut self, id: &Arc<str>, current: &Current) {
        for partition in current.assigned.partitions().chain(current.revoking.partitions()) {
            if self.owners.get(&partition) == Some(id) {
                self.owners.remove(&partition);
            }
        }
    }

    /// Applies a record that is to be written with the others of this request.
    fn put(&mut self, record: ConsumerRecord) {
        let inverse = self.apply(record.clone());
        self.pending.push(Pending { record, inverse });
    }

    /// What the request wants written, in order.
    pub(super) fn to_write(&self) -> impl Iterator<Item = &ConsumerRecord> {
        self.pending.iter().map(|pending| &pending.record)
    }

    /// The request is refused, or its records could not be appended: nothing has happened.
    pub(super) fn roll_back(&mut self) {
        let mut undone = Vec::with_capacity(self.pending.len());
        while let Some(Pending { record, inverse }) = self.pending.pop() {
            self.apply(inverse);
            undone.push(record);
        }
        self.compared_with = None;
        undone.iter().for_each(|record| self.forget_stranger(record));
    }

    /// The request's records are appended.
    pub(super) fn appended(&mut self) {
        for Pending { record, .. } in std::mem::take(&mut self.pending) {
            self.forget_stranger(&record);
        }
    }

    /// Nobody waits for those who are not, or no longer, members.
    fn forget_stranger(&mut self, record: &ConsumerRecord) {
        if let ConsumerRecord::Member(id, _) = record
            && !self.members.contains_key(id)
        {
            self.deadlines.remove(id);
        }
    }

    /// The records that remove the group. Order as Kafka writes them.
    pub(super) fn tombstones(&self) -> Vec<ConsumerRecord> {
        let ids = || self.members.keys().cloned();
        let mut records: Vec<_> = ids().map(|id| ConsumerRecord::Current(id, None)).collect();
        records.extend(self.targets.keys().cloned().map(|id| ConsumerRecord::Target(id, None)));
        records.push(ConsumerRecord::TargetEpoch(None));
        records.extend(ids().map(|id| ConsumerRecord::Member(id, None)));
        records.extend(self.regexes.keys().cloned().map(|regex| ConsumerRecord::Regex(regex, None)));
        records.extend([ConsumerRecord::PartitionMetadata, ConsumerRecord::Group(None)]);
        records
    }

    /// Everything that a member subscribes to, by name or by its resolved expression.
    fn topics_of<'a>(&'a self, profile: &'a Profile) -> impl Iterator<Item = &'a Arc<str>> {
        let resolved = profile.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        profile.names.iter().chain(resolved.into_iter().flat_map(|resolved| &resolved.topics))
    }

    /// Everything that somebody subscribes to.
    pub(super) fn subscribed_topics(&self) -> BTreeSet<&Arc<str>> {
        self.members.values().flat_map(|member| self.topics_of(&member.profile)).collect()
    }

    fn deadlines_of(&mut self, id: &Arc<str>) -> &mut Deadlines {
        self.touched.push(Arc::clone(id));
        self.deadlines.entry(Arc::clone(id)).or_default()
    }
}
