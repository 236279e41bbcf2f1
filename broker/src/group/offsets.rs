//! The offsets that a group has committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::member::Identity;
use super::records::{OffsetValue, subscribed_topics};
use super::state::{Change, Group, Now, State};
use super::transactional::Pending;

/// Topic and partition index.
pub type TopicPartition = (Arc<str>, i32);

/// Durable offsets by topic and partition, and those that open transactions hold.
#[derive(Debug, Default)]
pub struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, OffsetValue>>,
    len: usize,
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

    pub(super) fn apply(&mut self, offsets: Vec<(TopicPartition, OffsetValue)>) {
        for ((topic, partition), value) in offsets {
            if self.topics.entry(topic).or_default().insert(partition, value).is_none() {
                self.len += 1;
            }
        }
    }

    pub(super) fn remove(&mut self, gone: &[TopicPartition]) {
        for (topic, partition) in gone {
            let Some(partitions) = self.topics.get_mut(topic) else { continue };
            if partitions.remove(partition).is_some() {
                self.len -= 1;
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

impl Group {
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

    /// Whether offsets may be deleted now; topics that are still read are judged by [`Self::is_subscribed`].
    pub(super) fn check_offset_delete(&self) -> Result<(), ResponseError> {
        match self.state {
            State::Dead => Err(ResponseError::CoordinatorNotAvailable),
            State::Empty => Ok(()),
            _ if self.protocol_type.as_deref() == Some(super::CONSUMER) => Ok(()),
            _ => Err(ResponseError::NonEmptyGroup),
        }
    }

    /// Whether a consumer of the group reads this topic; when that cannot be told, yes.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        if let Some(consumer) = &self.consumer {
            return consumer.is_subscribed(topic);
        }
        if self.members.is_empty() || self.protocol_type.as_deref() != Some(super::CONSUMER) {
            return false;
        }
        self.members.values().any(|member| {
            let offered = member.protocols.iter().find(|offered| Some(&offered.name) == self.protocol.as_ref());
            let topics = offered.or(member.protocols.first()).and_then(|offered| subscribed_topics(&offered.metadata));
            topics.is_none_or(|topics| topics.iter().any(|subscribed| &**subscribed == topic))
        })
    }

    /// Offsets that nobody has needed for the retention time, by Kafka's rule: counted from when the group became
    /// empty or, where consumers assign themselves or no longer subscribe, from the commit.
    pub(super) fn expired_offsets(&self, now: Now) -> Vec<TopicPartition> {
        if self.has_in_flight() {
            return Vec::new();
        }
        let retention = self.settings.offsets_retention_ms;
        let simple = self.protocol_type.is_none();
        let since_commit = |value: &OffsetValue| now.wall_ms.saturating_sub(value.commit_timestamp) >= retention;
        let expired = match self.state {
            // Of consumer groups, whether they have members or not, what nobody subscribes to.
            State::Empty if self.consumer.is_some() => {
                self.offsets.select(|topic, value| since_commit(value) && !self.is_subscribed(topic))
            }
            State::Empty => self.offsets.select(|_, value| {
                let since =
                    if simple { value.commit_timestamp } else { value.commit_timestamp.max(self.state_since_ms) };
                match value.expire_timestamp {
                    Some(expire) => now.wall_ms >= expire,
                    None => now.wall_ms.saturating_sub(since) >= retention,
                }
            }),
            State::Stable if self.protocol_type.as_deref() == Some(super::CONSUMER) => {
                self.offsets.select(|topic, value| since_commit(value) && !self.is_subscribed(topic))
            }
            _ => Vec::new(),
        };
        expired.into_iter().filter(|(topic, index)| !self.offsets.is_unstable(topic, *index)).collect()
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
