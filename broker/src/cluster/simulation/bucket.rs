//! The bucket: writer epochs, fences, logs of writes, controller objects. Everything happens when a request arrives;
//! whether its sender ever learns is the network's business.

use std::collections::{BTreeMap, HashSet};

use super::super::{ControllerRef, Epoch, ShardId};

/// Number of a record, never given twice.
pub(super) type Record = u64;

#[derive(Debug, Default)]
pub(super) struct StoredShard {
    /// In the manifest.
    pub(super) epoch: Epoch,
    /// Writes of lower epochs are refused from here on.
    fence: Epoch,
    pub(super) log: Vec<Record>,
    /// Identities of the writes that are in it, so that one that is tried again is known.
    puts: HashSet<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) shards: BTreeMap<ShardId, StoredShard>,
    pub(super) controllers: BTreeMap<Epoch, ControllerRef>,
}

impl Bucket {
    pub(super) fn shard(&mut self, shard: ShardId) -> &mut StoredShard {
        self.shards.entry(shard).or_default()
    }

    /// Creates unless it exists, and returns what is there then.
    pub(super) fn create_controller(&mut self, object: ControllerRef) -> ControllerRef {
        self.controllers.entry(object.epoch).or_insert(object).clone()
    }

    pub(super) fn list_controllers(&self) -> Vec<ControllerRef> {
        self.controllers.values().rev().take(10).cloned().collect()
    }
}

impl StoredShard {
    /// First step of opening.
    pub(super) fn raise(&mut self, expected: Option<Epoch>) -> Option<Epoch> {
        if expected.is_some_and(|expected| expected != self.epoch) {
            return None;
        }
        self.epoch += 1;
        Some(self.epoch)
    }

    /// Second step: nobody before can write any more. Returns the end of the log.
    pub(super) fn fence(&mut self, epoch: Epoch) -> Option<usize> {
        (self.epoch == epoch).then(|| {
            self.fence = self.fence.max(epoch);
            self.log.len()
        })
    }

    /// Writes records in one object; whether they are in the log.
    pub(super) fn put(&mut self, epoch: Epoch, id: u64, records: &[Record]) -> bool {
        if self.puts.contains(&id) {
            return true;
        }
        if self.fence > epoch {
            return false;
        }
        self.puts.insert(id);
        self.log.extend_from_slice(records);
        true
    }
}
