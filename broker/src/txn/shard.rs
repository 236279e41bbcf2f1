//! The transactional ids of one partition of the state topic, and how they come back from its records.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use parking_lot::RwLock;
use tokio::sync::{Mutex, Notify};

use super::records::{decode_key, decode_value};
use super::state::Transaction;
use crate::log::records::NewRecord;
use crate::log::{Entry, LogError};
use crate::state_topic::{StateLog, WhenDurable};

/// A transactional id with its lock, which is held while a change becomes durable.
pub(super) struct Cell {
    pub(super) id: Arc<str>,
    pub(super) partition: i32,
    /// Which loading of the shard made this cell.
    generation: u64,
    /// Leader epoch of the partition, which the markers carry.
    pub(super) coordinator_epoch: i32,
    pub(super) transaction: Mutex<Transaction>,
    /// Rung when a decided transaction is complete, or the cell is given up.
    pub(super) settled: Notify,
}

enum Status {
    Loading,
    /// The partition is offline, or the coordinator stops.
    Unavailable,
    Ready(HashMap<Arc<str>, Arc<Cell>>),
}

pub(super) struct Shard {
    pub(super) partition: i32,
    inner: RwLock<Inner>,
}

struct Inner {
    generation: u64,
    coordinator_epoch: i32,
    status: Status,
}

impl Shard {
    pub(super) fn new(partition: i32) -> Self {
        let inner = Inner { generation: 0, coordinator_epoch: -1, status: Status::Loading };
        Self { partition, inner: RwLock::new(inner) }
    }

    pub(super) fn is_loading(&self) -> bool {
        matches!(self.inner.read().status, Status::Loading)
    }

    pub(super) fn get(&self, id: &str) -> Result<Option<Arc<Cell>>, ResponseError> {
        match &self.inner.read().status {
            Status::Loading => Err(ResponseError::CoordinatorLoadInProgress),
            Status::Unavailable => Err(ResponseError::CoordinatorNotAvailable),
            Status::Ready(cells) => Ok(cells.get(id).cloned()),
        }
    }

    /// The cell, with `transaction` when there is none. Nothing of it is stored yet.
    pub(super) fn get_or_insert(&self, id: &Arc<str>, transaction: Transaction) -> Result<Arc<Cell>, ResponseError> {
        let mut inner = self.inner.write();
        let (generation, coordinator_epoch) = (inner.generation, inner.coordinator_epoch);
        match &mut inner.status {
            Status::Loading => Err(ResponseError::CoordinatorLoadInProgress),
            Status::Unavailable => Err(ResponseError::CoordinatorNotAvailable),
            Status::Ready(cells) => {
                let make = || Arc::new(cell(id, self.partition, generation, coordinator_epoch, transaction));
                Ok(Arc::clone(cells.entry(Arc::clone(id)).or_insert_with(make)))
            }
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Cell>> {
        match &self.inner.read().status {
            Status::Ready(cells) => cells.values().cloned().collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.inner.read().status {
            Status::Ready(cells) => cells.len(),
            _ => 0,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.inner.read().status, Status::Ready(_))
    }

    /// Appends for a cell, unless it was given up meanwhile: whoever loads the shard again reads a log that no earlier
    /// cell adds to.
    pub(super) fn append(
        &self,
        log: &dyn StateLog,
        cell: &Cell,
        record: NewRecord,
    ) -> Option<Result<WhenDurable, LogError>> {
        let inner = self.inner.read();
        (inner.generation == cell.generation).then(|| log.append(self.partition, &[record]))
    }

    pub(super) fn forget(&self, cell: &Arc<Cell>) {
        if let Status::Ready(cells) = &mut self.inner.write().status
            && cells.get(&cell.id).is_some_and(|current| Arc::ptr_eq(current, cell))
        {
            cells.remove(&cell.id);
        }
    }

    /// Gives all cells up; false when that was done already for the loading that `cell` came from.
    pub(super) fn give_up(&self, cell: Option<&Cell>, available: bool) -> bool {
        let mut inner = self.inner.write();
        if cell.is_some_and(|cell| cell.generation != inner.generation) {
            return false;
        }
        inner.generation += 1;
        let status = if available { Status::Loading } else { Status::Unavailable };
        let old = std::mem::replace(&mut inner.status, status);
        drop(inner);
        if let Status::Ready(cells) = old {
            cells.values().for_each(|cell| cell.settled.notify_waiters());
        }
        true
    }

    pub(super) fn set_unavailable(&self) {
        let mut inner = self.inner.write();
        if matches!(inner.status, Status::Loading) {
            inner.status = Status::Unavailable;
        }
    }

    /// Opens the shard with what was loaded, and returns its cells.
    pub(super) fn publish(&self, loaded: HashMap<Arc<str>, Transaction>, coordinator_epoch: i32) -> Vec<Arc<Cell>> {
        let mut inner = self.inner.write();
        inner.generation += 1;
        inner.coordinator_epoch = coordinator_epoch;
        let generation = inner.generation;
        let make = |(id, transaction): (Arc<str>, Transaction)| {
            Arc::new(cell(&id, self.partition, generation, coordinator_epoch, transaction))
        };
        let cells: Vec<_> = loaded.into_iter().map(make).collect();
        inner.status = Status::Ready(cells.iter().map(|cell| (Arc::clone(&cell.id), Arc::clone(cell))).collect());
        cells
    }
}

fn cell(id: &Arc<str>, partition: i32, generation: u64, coordinator_epoch: i32, transaction: Transaction) -> Cell {
    Cell {
        id: Arc::clone(id),
        partition,
        generation,
        coordinator_epoch,
        transaction: Mutex::new(transaction),
        settled: Notify::new(),
    }
}

/// What a partition's records add up to.
pub(super) async fn load(log: &dyn StateLog, partition: i32) -> Result<HashMap<Arc<str>, Transaction>, LogError> {
    let mut loaded = HashMap::new();
    let mut visit = |entry: Entry| {
        let Entry::Records(records) = entry else { return };
        for record in records {
            let Some(key) = record.key else { continue };
            let read = decode_key(key).and_then(|id| Ok((id, record.value.map(decode_value).transpose()?)));
            match read {
                Ok((id, Some(transaction))) => _ = loaded.insert(id, transaction),
                Ok((id, None)) => _ = loaded.remove(&id),
                Err(error) => {
                    let offset = record.offset;
                    tracing::error!(partition, offset, %error, "a record of the transaction topic cannot be read; it is passed over");
                }
            }
        }
    };
    log.read(partition, &mut visit).await?;
    Ok(loaded)
}
