//! The groups of one partition of the offsets topic, and how they come back from its records.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use parking_lot::{Mutex, RwLock};

use super::Settings;
use super::consumer::ConsumerGroup;
use super::consumer::records::ConsumerRecord;
use super::offsets::TopicPartition;
use super::records::{GroupValue, Key, OffsetValue, RecordError};
use super::state::{Group, Now};
use crate::catalog::Image;
use crate::log::records::Record;
use crate::log::{EndMarker, Entry, LogError};
use crate::state_topic::StateLog;

/// A group with its lock. The lock is never held across a wait, and never together with the shard's.
pub(super) struct Cell {
    pub(super) id: Arc<str>,
    pub(super) partition: i32,
    /// Which loading of the shard made this cell.
    pub(super) epoch: u64,
    pub(super) group: Mutex<Group>,
}

pub(super) enum Status {
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
    epoch: u64,
    status: Status,
}

impl Shard {
    pub(super) fn new(partition: i32) -> Self {
        Self { partition, inner: RwLock::new(Inner { epoch: 0, status: Status::Loading }) }
    }

    /// The group, if there is one.
    pub(super) fn get(&self, group: &str) -> Result<Option<Arc<Cell>>, ResponseError> {
        match &self.inner.read().status {
            Status::Loading => Err(ResponseError::CoordinatorLoadInProgress),
            Status::Unavailable => Err(ResponseError::CoordinatorNotAvailable),
            Status::Ready(groups) => Ok(groups.get(group).cloned()),
        }
    }

    /// The group, made by `make` when there is none.
    pub(super) fn get_or_create(
        &self,
        group: &Arc<str>,
        make: impl FnOnce() -> Result<Group, ResponseError>,
    ) -> Result<Arc<Cell>, ResponseError> {
        if let Some(cell) = self.get(group)? {
            return Ok(cell);
        }
        let mut inner = self.inner.write();
        let epoch = inner.epoch;
        match &mut inner.status {
            Status::Loading => Err(ResponseError::CoordinatorLoadInProgress),
            Status::Unavailable => Err(ResponseError::CoordinatorNotAvailable),
            Status::Ready(groups) => match groups.get(group) {
                Some(cell) => Ok(Arc::clone(cell)),
                None => {
                    let cell = Arc::new(self.cell(make()?, epoch));
                    groups.insert(Arc::clone(group), Arc::clone(&cell));
                    Ok(cell)
                }
            },
        }
    }

    fn cell(&self, group: Group, epoch: u64) -> Cell {
        Cell { id: Arc::clone(&group.id), partition: self.partition, epoch, group: Mutex::new(group) }
    }

    pub(super) fn all(&self) -> Vec<Arc<Cell>> {
        match &self.inner.read().status {
            Status::Ready(groups) => groups.values().cloned().collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.inner.read().status {
            Status::Ready(groups) => groups.len(),
            _ => 0,
        }
    }

    pub(super) fn is_loading(&self) -> bool {
        matches!(self.inner.read().status, Status::Loading)
    }

    pub(super) fn status_code(&self) -> Option<ResponseError> {
        match &self.inner.read().status {
            Status::Loading => Some(ResponseError::CoordinatorLoadInProgress),
            Status::Unavailable => Some(ResponseError::CoordinatorNotAvailable),
            Status::Ready(_) => None,
        }
    }

    /// Takes a dead group out, unless another has its place.
    pub(super) fn forget(&self, cell: &Arc<Cell>) {
        if let Status::Ready(groups) = &mut self.inner.write().status
            && groups.get(&cell.id).is_some_and(|current| Arc::ptr_eq(current, cell))
        {
            groups.remove(&cell.id);
        }
    }

    /// Gives all groups up; false when that loading of the shard is over already.
    pub(super) fn give_up(&self, epoch: Option<u64>, status: Status, now: Now) -> bool {
        let old = {
            let mut inner = self.inner.write();
            let is_ready = matches!(inner.status, Status::Ready(_));
            if epoch.is_some_and(|epoch| epoch != inner.epoch || !is_ready) {
                return false;
            }
            inner.epoch += 1;
            std::mem::replace(&mut inner.status, status)
        };
        if let Status::Ready(groups) = old {
            for cell in groups.values() {
                cell.group.lock().abandon(ResponseError::NotCoordinator, now);
            }
        }
        true
    }

    pub(super) fn set_unavailable(&self) {
        let mut inner = self.inner.write();
        if !matches!(inner.status, Status::Ready(_)) {
            inner.status = Status::Unavailable;
        }
    }

    /// Opens the shard with what was loaded, and returns its groups.
    pub(super) fn publish(&self, groups: Vec<Group>) -> Vec<Arc<Cell>> {
        let mut inner = self.inner.write();
        inner.epoch += 1;
        let epoch = inner.epoch;
        let cells: Vec<_> = groups.into_iter().map(|group| Arc::new(self.cell(group, epoch))).collect();
        inner.status = Status::Ready(cells.iter().map(|cell| (Arc::clone(&cell.id), Arc::clone(cell))).collect());
        cells
    }
}

/// What a partition's records add up to.
#[derive(Default)]
pub(super) struct Loaded {
    groups: HashMap<Arc<str>, GroupValue>,
    consumers: HashMap<Arc<str>, ConsumerGroup>,
    offsets: HashMap<Arc<str>, HashMap<TopicPartition, OffsetValue>>,
    /// What open transactions commit, by group and producer id.
    pending: HashMap<Arc<str>, HashMap<i64, HashMap<TopicPartition, OffsetValue>>>,
    damaged: usize,
}

impl Loaded {
    pub(super) async fn read(log: &dyn StateLog, partition: i32) -> Result<Self, LogError> {
        let mut loaded = Self::default();
        let each = |loaded: &mut Self, record: Record, transaction: Option<i64>| {
            let offset = record.offset;
            if let Err(error) = loaded.apply(record, transaction) {
                loaded.damaged += 1;
                tracing::error!(partition, offset, %error, "a record of the offsets topic cannot be read; it is passed over");
            }
        };
        let mut visit = |entry: Entry| match entry {
            Entry::Records(records) => records.into_iter().for_each(|record| each(&mut loaded, record, None)),
            Entry::Transactional { producer_id, records, .. } => {
                records.into_iter().for_each(|record| each(&mut loaded, record, Some(producer_id)));
            }
            Entry::Marker { marker, .. } => loaded.end_transaction(&marker),
        };
        log.read(partition, &mut visit).await?;
        Ok(loaded)
    }

    /// `transaction`: id of the producer whose transaction decides whether the record counts.
    pub(super) fn apply(&mut self, record: Record, transaction: Option<i64>) -> Result<(), RecordError> {
        let Some(key) = record.key else { return Ok(()) };
        if let Some(producer_id) = transaction {
            return self.hold(producer_id, key, record.value);
        }
        if let Some((group, change)) = ConsumerRecord::decode(&key, record.value.as_ref())? {
            self.apply_consumer(group, change);
            return Ok(());
        }
        match (Key::decode(key)?, record.value) {
            (Key::Offset { group, topic, partition }, Some(value)) => {
                let value = OffsetValue::decode(value)?;
                self.release(&group, &(Arc::clone(&topic), partition));
                self.offsets.entry(group).or_default().insert((topic, partition), value);
            }
            (Key::Offset { group, topic, partition }, None) => {
                self.release(&group, &(Arc::clone(&topic), partition));
                if let Some(offsets) = self.offsets.get_mut(&group) {
                    offsets.remove(&(topic, partition));
                    if offsets.is_empty() {
                        self.offsets.remove(&group);
                    }
                }
            }
            (Key::Group { group }, Some(value)) => {
                self.groups.insert(group, GroupValue::decode(value)?);
            }
            (Key::Group { group }, None) => {
                self.groups.remove(&group);
            }
            (Key::Other(_), _) => {}
        }
        Ok(())
    }

    fn hold(&mut self, producer_id: i64, key: Bytes, value: Option<Bytes>) -> Result<(), RecordError> {
        if let (Key::Offset { group, topic, partition }, Some(value)) = (Key::decode(key)?, value) {
            let value = OffsetValue::decode(value)?;
            let held = self.pending.entry(group).or_default();
            held.entry(producer_id).or_default().insert((topic, partition), value);
        }
        Ok(())
    }

    /// A later commit counts instead of those that are held.
    fn release(&mut self, group: &str, partition: &TopicPartition) {
        if let Some(held) = self.pending.get_mut(group) {
            held.values_mut().for_each(|offsets| _ = offsets.remove(partition));
        }
    }

    fn end_transaction(&mut self, marker: &EndMarker) {
        for (group, held) in &mut self.pending {
            if let Some(offsets) = held.remove(&marker.producer_id).filter(|_| marker.commit) {
                self.offsets.entry(Arc::clone(group)).or_default().extend(offsets);
            }
        }
        self.pending.retain(|_, held| !held.is_empty());
    }

    fn apply_consumer(&mut self, group: Arc<str>, change: ConsumerRecord) {
        if matches!(change, ConsumerRecord::Group(None)) {
            self.consumers.remove(&group);
            return;
        }
        let id = Arc::clone(&group);
        self.consumers.entry(group).or_insert_with(|| ConsumerGroup::new(id, Arc::default())).apply(change);
    }

    /// The groups, ready to serve. Offsets without a group belong to consumers that assign partitions themselves.
    pub(super) fn into_groups(mut self, settings: &Arc<Settings>, image: &Image, now: Now) -> Vec<Group> {
        let mut groups: HashMap<Arc<str>, Group> = self
            .groups
            .drain()
            .map(|(id, value)| (Arc::clone(&id), Group::stored(id, value, Arc::clone(settings), now)))
            .collect();
        for (id, offsets) in self.offsets {
            let group = groups.entry(Arc::clone(&id)).or_insert_with(|| Group::new(id, Arc::clone(settings), now));
            group.offsets.apply(offsets.into_iter().collect());
        }
        for (id, consumer) in self.consumers {
            let Some(mut consumer) = consumer.loaded(settings) else { continue };
            consumer.start_sessions(image, now);
            let group = groups.entry(Arc::clone(&id)).or_insert_with(|| Group::new(id, Arc::clone(settings), now));
            group.consumer = Some(Box::new(consumer));
        }
        for (id, held) in self.pending {
            for (producer_id, offsets) in held.into_iter().filter(|(_, offsets)| !offsets.is_empty()) {
                let make = || Group::new(Arc::clone(&id), Arc::clone(settings), now);
                let group = groups.entry(Arc::clone(&id)).or_insert_with(make);
                group.offsets.pending.hold(producer_id, offsets.into_iter().collect(), 0);
            }
        }
        groups.into_values().collect()
    }
}
