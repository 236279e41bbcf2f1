//! Offsets that producers commit as part of their transactions. They are held from when they are appended, hide what was
//! committed before from readers who want a stable answer, and count once the transaction's marker has reached their
//! partition of the offsets topic. Of two commits for one partition the later one counts, as it stands in the log.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::coordinator::{Coordinator, check_group_id, finished};
use super::member::Identity;
use super::offsets::TopicPartition;
use super::records::{Key, OffsetValue, partition_of};
use super::state::{Change, Group, Now, State};
use crate::log::records::NewRecord;
use crate::log::{EndMarker, LogError, VerificationGuard};

/// A producer's commit, for when its transaction is committed.
pub struct TransactionalCommit {
    pub who: Identity,
    /// Producer id and epoch.
    pub producer: (i64, i16),
    /// Where [`Coordinator::begin_verification`] gave one.
    pub guard: Option<VerificationGuard>,
    pub offsets: Vec<(TopicPartition, OffsetValue)>,
}

/// What a group holds for open transactions, by producer id.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_producer: HashMap<i64, Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Number of the last change that added to it: all changes up to it are durable when the marker is.
    last_change: u64,
    offsets: BTreeMap<TopicPartition, OffsetValue>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.by_producer.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.by_producer.values().map(|held| held.offsets.len()).sum()
    }

    /// What they take in memory, about (bytes).
    pub(super) fn bytes(&self) -> usize {
        self.by_producer.values().flat_map(|held| held.offsets.values()).map(OffsetValue::bytes).sum()
    }

    pub(super) fn contains(&self, topic: &str, partition: i32) -> bool {
        self.iter().any(|(held_topic, index)| *index == partition && &**held_topic == topic)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TopicPartition> {
        self.by_producer.values().flat_map(|held| held.offsets.keys())
    }

    pub(super) fn hold(&mut self, producer_id: i64, offsets: Vec<(TopicPartition, OffsetValue)>, change: u64) {
        let held = self.by_producer.entry(producer_id).or_default();
        held.last_change = change;
        held.offsets.extend(offsets);
    }

    /// A later commit outside of transactions, or a deletion, has been appended.
    pub(super) fn release<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>) {
        if self.by_producer.is_empty() {
            return;
        }
        for partition in partitions {
            self.by_producer.values_mut().for_each(|held| _ = held.offsets.remove(partition));
        }
        self.by_producer.retain(|_, held| !held.offsets.is_empty());
    }

    fn settle(&mut self, producer_id: i64) -> Option<Held> {
        self.by_producer.remove(&producer_id)
    }
}

impl Group {
    /// Whether a producer may commit for this member: who it is counts only when it is said.
    fn check_transactional_commit(&self, who: &Identity) -> Result<(), ResponseError> {
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        let unnamed = who.generation < 0 && who.member.is_empty() && who.instance.is_none();
        if unnamed {
            return Ok(());
        }
        if let Some(consumer) = &self.consumer {
            return consumer.check_commit(who);
        }
        if who.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        self.check_member(&who.member, who.instance.as_ref())?;
        if who.generation == self.generation { Ok(()) } else { Err(ResponseError::IllegalGeneration) }
    }

    /// The marker of the producer's transaction is durable.
    pub(super) fn end_transaction(&mut self, producer_id: i64, commit: bool, now: Now) {
        let Some(held) = self.offsets.pending.settle(producer_id) else { return };
        // What was appended before takes effect before.
        self.durable(held.last_change, now);
        if commit {
            self.offsets.apply(held.offsets.into_iter().collect());
        }
    }
}

impl Coordinator {
    /// The partition of the offsets topic that holds a group.
    pub fn partition_of(&self, group: &str) -> Result<i32, ResponseError> {
        check_group_id(group)?;
        let shards = self.shards.get().ok_or(ResponseError::CoordinatorLoadInProgress)?;
        Ok(partition_of(group, shards.len() as i32))
    }

    /// Before the first commit of a transaction for a group its coordinator is to be asked; `None`: it has begun there.
    pub fn begin_verification(
        &self,
        group: &str,
        (producer_id, epoch): (i64, i16),
    ) -> Result<Option<VerificationGuard>, ResponseError> {
        let partition = self.partition_of(group)?;
        self.log.begin_verification(partition, producer_id, epoch).map_err(|error| match error {
            LogError::Refused { code, .. } => code,
            _ => ResponseError::NotCoordinator,
        })
    }

    /// Commits offsets as part of a transaction; returns when they are durable.
    pub async fn commit_transactional(self: &Arc<Self>, commit: TransactionalCommit) -> Result<(), ResponseError> {
        let TransactionalCommit { who, producer, guard, offsets } = commit;
        check_group_id(&who.group)?;
        let cell = self.find_or_create(&who.group)?;
        let done = self.with(&cell, |group, now| {
            group.check_transactional_commit(&who)?;
            if !group.has_room_to_hold(&offsets) {
                return Err(ResponseError::InvalidCommitOffsetSize);
            }
            let records: Vec<_> = offsets.iter().map(|offset| record(&who.group, offset, now)).collect();
            let appended = self.log.append_transactional(cell.partition, &records, producer, guard);
            let durable = appended.map_err(|error| self.append_failed(&cell, &error))?;
            let done = self.track(&cell, group, Ok(durable), Change::Held, now)?;
            let change = group.last_change();
            group.offsets.pending.hold(producer.0, offsets, change);
            Ok(done)
        })?;
        finished(done).await
    }

    /// Ends a producer's transaction in a partition of the offsets topic: its offsets count, or are dropped, for every
    /// group there.
    pub async fn end_transaction(self: &Arc<Self>, partition: i32, marker: EndMarker) -> Result<(), LogError> {
        let shard = self.shards.get().and_then(|shards| shards.get(partition as usize)).ok_or(LogError::NotLeader)?;
        // While its groups are loaded it is not known what is read before the marker, and what is not.
        if shard.status_code().is_some() {
            return Err(LogError::NotLeader);
        }
        self.log.append_marker(partition, marker)?.await?;
        for cell in shard.all() {
            self.with(&cell, |group, now| group.end_transaction(marker.producer_id, marker.commit, now));
        }
        Ok(())
    }
}

fn record(group: &Arc<str>, ((topic, partition), value): &(TopicPartition, OffsetValue), now: Now) -> NewRecord {
    let key = Key::Offset { group: Arc::clone(group), topic: Arc::clone(topic), partition: *partition };
    let value: Bytes = value.encode();
    NewRecord { key: Some(key.encode()), value: Some(value), timestamp: now.wall_ms }
}
