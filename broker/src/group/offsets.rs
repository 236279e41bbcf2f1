//! The offsets that a group has committed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::limits::{MAX_OFFSET_BYTES_PER_GROUP, MAX_OFFSETS_PER_GROUP, OFFSET_BYTES};
use super::member::Identity;
use super::records::{OffsetValue, subscribed_topics};
use super::state::{Change, Group, Now, State};
use super::transactional::Pending;
use crate::catalog::Image;

/// Topic and partition index.
pub type TopicPartition = (Arc<str>, i32);

/// Durable offsets by topic and partition, and those that open transactions hold.
#[derive(Debug, Default)]
pub struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, OffsetValue>>,
    len: usize,
    bytes: usize,
    pub(super) pending: Pending,
}

impl Offsets {
    pub fn get(&self, topic: &str, partition: i32) -> Option<&OffsetValue> {
        self.topics.get(topic)?.get(&partition)
    }

    /// An open transaction may change this one.
    pub fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        self.pending.contains(topic, partition)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &OffsetValue)> {
        self.topics
            .iter()
            .flat_map(|(topic, partitions)| partitions.iter().map(move |(partition, value)| (topic, *partition, value)))
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.pending.is_empty()
    }

    /// What they take in memory, about (bytes).
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.pending.bytes()
    }

    /// How many more they become, and by how many bytes, when these are taken in.
    fn growth(&self, offsets: &[(TopicPartition, OffsetValue)]) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        for ((topic, partition), value) in offsets {
            match self.get(topic, *partition) {
                Some(before) => bytes += value.bytes().saturating_sub(before.bytes()),
                None => (count, bytes) = (count + 1, bytes + value.bytes()),
            }
        }
        (count, bytes)
    }

    pub(super) fn apply(&mut self, offsets: Vec<(TopicPartition, OffsetValue)>) {
        for ((topic, partition), value) in offsets {
            self.bytes += value.bytes();
            match self.topics.entry(topic).or_default().insert(partition, value) {
                Some(before) => self.bytes -= before.bytes(),
                None => self.len += 1,
            }
        }
    }

    pub(super) fn remove(&mut self, gone: &[TopicPartition]) {
        for (topic, partition) in gone {
            let Some(partitions) = self.topics.get_mut(topic) else { continue };
            if let Some(value) = partitions.remove(partition) {
                self.len -= 1;
                self.bytes -= value.bytes();
            }
            if partitions.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// Those that `select` picks.
    pub(super) fn select(&self, select: impl Fn(&Arc<str>, &OffsetValue) -> bool) -> Vec<TopicPartition> {
        let picked = self.iter().filter(|(topic, _, value)| select(topic, value));
        picked.map(|(topic, partition, _)| (Arc::clone(topic), partition)).collect()
    }
}

impl OffsetValue {
    /// What it takes in memory, about (bytes).
    pub(super) fn bytes(&self) -> usize {
        OFFSET_BYTES + self.metadata.len()
    }

    /// Whether it is of the topic that has this name now, and not of a deleted one. What does not say is believed.
    pub fn is_current(&self, image: &Image, topic: &str) -> bool {
        self.topic_id.is_none_or(|id| image.topic(topic).is_some_and(|topic| topic.id == id))
    }

    /// Whether its time is up, when that is counted from `since_ms`. A retention that the client asked for counts first.
    fn is_expired(&self, since_ms: i64, retention_ms: i64, now: Now) -> bool {
        match self.expire_timestamp {
            Some(expire) => now.wall_ms >= expire,
            None => now.wall_ms.saturating_sub(since_ms) >= retention_ms,
        }
    }
}

/// What the consumers of a group read.
#[derive(Debug)]
pub(super) enum Subscribed {
    Topics(HashSet<Arc<str>>),
    /// A subscription cannot be read.
    PerhapsAll,
}

impl Subscribed {
    pub(super) fn contains(&self, topic: &str) -> bool {
        match self {
            Self::Topics(topics) => topics.contains(topic),
            Self::PerhapsAll => true,
        }
    }
}

impl Group {
    /// Whether these offsets fit, in this group and with all others. What takes the place of older ones and is no larger
    /// always does.
    pub(super) fn has_room_for(&self, offsets: &[(TopicPartition, OffsetValue)]) -> bool {
        let (count, bytes) = self.offsets.growth(offsets);
        self.fits(count, bytes)
    }

    /// The same for offsets that are held beside those that count.
    pub(super) fn has_room_to_hold(&self, offsets: &[(TopicPartition, OffsetValue)]) -> bool {
        self.fits(offsets.len(), offsets.iter().map(|(_, value)| value.bytes()).sum())
    }

    fn fits(&self, count: usize, bytes: usize) -> bool {
        let fits = |held: usize, growth: usize, most: usize| growth == 0 || held + growth <= most;
        fits(self.offsets.len() + self.offsets.pending.len(), count, MAX_OFFSETS_PER_GROUP)
            && fits(self.offsets.bytes(), bytes, MAX_OFFSET_BYTES_PER_GROUP)
            && self.may_grow_by(bytes)
    }

    /// Whether this client may commit now. A commit keeps the session alive.
    pub(super) fn check_commit(&mut self, who: &Identity, now: Now) -> Result<(), ResponseError> {
        match self.state {
            State::Dead => return Err(ResponseError::CoordinatorNotAvailable),
            _ if self.consumer.is_some() => {
                return self.consumer.as_ref().map_or(Ok(()), |group| group.check_commit(who));
            }
            // Tools, and consumers that assign partitions themselves.
            State::Empty if who.generation < 0 => return Ok(()),
            _ => {}
        }
        if who.generation < 0 && who.member.is_empty() && who.instance.is_none() {
            return Err(ResponseError::UnknownMemberId);
        }
        self.check_member(&who.member, who.instance.as_ref())?;
        if who.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if self.state == State::CompletingRebalance {
            return Err(ResponseError::RebalanceInProgress);
        }
        if let Some(member) = self.members.get_mut(&who.member) {
            member.heard(now.at);
        }
        Ok(())
    }

    /// Whether offsets may be deleted now; topics that are still read are judged by [`Self::subscribed`].
    pub(super) fn check_offset_delete(&self) -> Result<(), ResponseError> {
        match self.state {
            State::Dead => Err(ResponseError::CoordinatorNotAvailable),
            State::Empty => Ok(()),
            _ if self.protocol_type.as_deref() == Some(super::CONSUMER) => Ok(()),
            _ => Err(ResponseError::NonEmptyGroup),
        }
    }

    /// What the group's consumers read. Every subscription is parsed, so this is asked once for many topics.
    pub(super) fn subscribed(&self) -> Subscribed {
        if let Some(consumer) = &self.consumer {
            return Subscribed::Topics(consumer.subscribed_topics().into_iter().cloned().collect());
        }
        let mut all = HashSet::new();
        if self.protocol_type.as_deref() != Some(super::CONSUMER) {
            return Subscribed::Topics(all);
        }
        for member in self.members.values() {
            let offered = member.protocols.iter().find(|offered| Some(&offered.name) == self.protocol.as_ref());
            let offered = offered.or(member.protocols.first());
            let Some(topics) = offered.and_then(|offered| subscribed_topics(&offered.metadata)) else {
                return Subscribed::PerhapsAll;
            };
            all.extend(topics);
        }
        Subscribed::Topics(all)
    }

    /// Offsets that are to go: of deleted topics, and those that nobody has needed for the retention time. Not where
    /// another commit is on its way, which a tombstone would undo.
    pub(super) fn outdated_offsets(&self, image: &Image, now: Now) -> Vec<TopicPartition> {
        let mut gone = self.stale_offsets(image);
        gone.extend(self.expired_offsets(now));
        gone.sort();
        gone.dedup();
        gone
    }

    /// Offsets of topics that are deleted, whatever has their name now.
    pub(super) fn stale_offsets(&self, image: &Image) -> Vec<TopicPartition> {
        let stale = self.offsets.select(|topic, value| !value.is_current(image, topic));
        self.without_other_commits(stale)
    }

    /// Offsets whose retention is over and that nobody subscribes to.
    pub(super) fn expired_offsets(&self, now: Now) -> Vec<TopicPartition> {
        let retention = self.settings.offsets_retention_ms;
        let is_over = |value: &OffsetValue| {
            self.retention_since(value).is_some_and(|since_ms| value.is_expired(since_ms, retention, now))
        };
        let over = self.offsets.select(|_, value| is_over(value));
        if over.is_empty() {
            return over;
        }
        let subscribed = self.subscribed();
        self.without_other_commits(over.into_iter().filter(|(topic, _)| !subscribed.contains(topic)).collect())
    }

    /// From when on an offset's retention counts (milliseconds since 1970), by the rule of Kafka's
    /// `offsetExpirationCondition`: from when a classic group became empty, otherwise from the commit. `None` while
    /// nothing expires.
    fn retention_since(&self, value: &OffsetValue) -> Option<i64> {
        let is_consumer = self.protocol_type.as_deref() == Some(super::CONSUMER);
        match self.state {
            State::Dead => None,
            _ if self.consumer.is_some() || self.protocol_type.is_none() => Some(value.commit_timestamp),
            // Groups that Kafka before 2.1 has stored do not say.
            State::Empty if self.state_since_ms < 0 => Some(value.commit_timestamp),
            State::Empty => Some(self.state_since_ms),
            State::Stable if is_consumer => Some(value.commit_timestamp),
            _ => None,
        }
    }

    /// Leaves out what is on its way anew, or held by an open transaction.
    fn without_other_commits(&self, mut partitions: Vec<TopicPartition>) -> Vec<TopicPartition> {
        if partitions.is_empty() || (!self.has_in_flight() && self.offsets.pending.is_empty()) {
            return partitions;
        }
        let mut committing: HashSet<_> = self.offsets.pending.iter().collect();
        for change in self.in_flight() {
            if let Change::Committed(offsets) = change {
                committing.extend(offsets.iter().map(|(partition, _)| partition));
            }
        }
        partitions.retain(|partition| !committing.contains(partition));
        partitions
    }

    /// Every partition of these topics with an offset, durable or on its way.
    pub(super) fn partitions(&self, of: impl Fn(&str) -> bool) -> Vec<TopicPartition> {
        let mut found = self.offsets.select(|topic, _| of(topic));
        found.extend(self.offsets.pending.iter().filter(|(topic, _)| of(topic)).cloned());
        for change in self.in_flight() {
            if let Change::Committed(offsets) = change {
                let partitions = offsets.iter().map(|(partition, _)| partition);
                found.extend(partitions.filter(|(topic, _)| of(topic)).cloned());
            }
        }
        found
    }
}
