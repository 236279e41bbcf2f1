//! The partitions of a shard: making, opening, deleting and setting aside.

use std::sync::Arc;

use super::handle::Handle;
use super::keys::{self, Number};
use super::rows::ShardRow;
use super::shard::Shard;
use super::slot::Slot;
use super::writer::Op;
use super::{refuse, unknown};
use crate::store::{Loaded, Opened, PartitionId, PartitionOptions, PartitionStore, StateEntry, StoreError};

impl Shard {
    /// Without those that were set aside.
    pub(super) fn partitions(&self) -> Vec<PartitionId> {
        self.shared.registry.read().by_id.keys().copied().collect()
    }

    fn slot(&self, id: PartitionId) -> Result<Arc<Slot>, StoreError> {
        self.shared.check()?;
        self.shared.registry.read().by_id.get(&id).cloned().ok_or(StoreError::NotFound)
    }

    pub(super) async fn create(&self, id: PartitionId, options: &PartitionOptions) -> Result<(), StoreError> {
        self.shared.check()?;
        let created = {
            let mut partitions = self.shared.registry.write();
            if partitions.by_id.contains_key(&id) {
                return Err(refuse("the partition exists"));
            }
            let number: Number = partitions.next;
            let next = number.checked_add(1).ok_or_else(|| refuse("the shard has given all of its numbers"))?;
            let (slot, rows) = Slot::created(number, id, options, self.shared.clock.now_ms());
            let mut ops = vec![Op::Put(keys::shard(), ShardRow { next_number: next }.encode())];
            ops.extend(rows);
            // Under the lock, so that what is stored last is the highest number.
            let created = self.shared.write_durably(ops)?;
            let slot = Arc::new(slot);
            partitions.next = next;
            partitions.by_number.insert(number, slot.clone());
            partitions.by_id.insert(id, slot);
            created
        };
        created.await
    }

    pub(super) async fn open_partition(
        &self,
        id: PartitionId,
        options: PartitionOptions,
    ) -> Result<Opened, StoreError> {
        let slot = self.slot(id)?;
        slot.check_whole()?;
        let generation = slot.log.lock().take_over(options);
        // What the earlier handle appended comes first, and the end that is told is durable.
        self.shared.write_durably(Vec::new())?.await?;
        let handle = Handle { shared: self.shared.clone(), slot, generation };
        let state = handle.state().await?;
        let loaded = {
            let mut log = handle.slot.log.lock();
            log.ready(generation)?;
            // Every append stores its change of state with its batch: nothing has to be replayed.
            Loaded {
                log_start: log.log_start,
                end: log.end(),
                leader_epoch: self.shared.epoch,
                state: state
                    .into_iter()
                    .filter(|(_, row)| !row.value.is_empty())
                    .map(|(key, row)| StateEntry { key, value: row.value })
                    .collect(),
                state_end: log.end(),
            }
        };
        // Whoever gives the shard up tells all handles; this one may have come after.
        if let Err(error) = self.shared.check() {
            handle.slot.kill(&Arc::from(error.to_string()));
            return Err(error);
        }
        Ok((Arc::new(handle) as Arc<dyn PartitionStore>, loaded))
    }

    /// Its headers and state go now, its batches with their segments or by compaction.
    pub(super) async fn delete(&self, id: PartitionId) -> Result<(), StoreError> {
        let slot = self.slot(id)?;
        let number = slot.number;
        let generation = slot.log.lock().take_away("the partition was deleted");
        self.shared.write(Vec::new()).await?;
        let state = Handle { shared: self.shared.clone(), slot: slot.clone(), generation }.state().await?;
        let deleted = {
            let mut partitions = self.shared.registry.write();
            let log = slot.log.lock();
            if !log.is_current(generation) {
                return Err(unknown("the partition was opened while it was being deleted"));
            }
            let mut ops = vec![Op::Delete(keys::partition(number))];
            ops.extend(log.parts.iter().map(|part| Op::Delete(keys::chunk(number, part.start))));
            ops.extend(state.iter().map(|(key, _)| Op::Delete(keys::state(number, key))));
            let deleted = self.shared.write_durably(ops)?;
            forget(&mut partitions.by_id, id, number);
            deleted
        };
        deleted.await?;
        // Compaction may drop its batches from here on.
        self.shared.registry.write().by_number.remove(&number);
        Ok(())
    }

    /// Everything stays where it is, under its number, which no id leads to any more.
    pub(super) async fn set_aside(&self, id: PartitionId) -> Result<String, StoreError> {
        let slot = self.slot(id)?;
        let stored = {
            let mut partitions = self.shared.registry.write();
            let mut log = slot.log.lock();
            log.take_away("the partition was set aside");
            let stored = self.shared.write_durably(vec![slot.row(true, log.log_start)])?;
            forget(&mut partitions.by_id, id, slot.number);
            stored
        };
        stored.await?;
        Ok(format!("shard {}, partition number {}", self.number(), slot.number))
    }
}

/// Unless the id leads to another one by now.
fn forget(by_id: &mut std::collections::HashMap<PartitionId, Arc<Slot>>, id: PartitionId, number: Number) {
    if by_id.get(&id).is_some_and(|slot| slot.number == number) {
        by_id.remove(&id);
    }
}
