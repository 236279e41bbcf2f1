//! What the tasks and handles of one open shard share.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use slatedb::Db;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::clock::ClusterClock;
use super::keys::{Number, Segment};
use super::settings::BucketSettings;
use super::slot::Slot;
use super::unknown;
use super::writer::{Command, Done, Op};
use crate::store::{Offset, PartitionId, StoreError};

pub(super) struct Shared {
    /// For reading; only the shard's own tasks write.
    pub(super) db: Db,
    pub(super) epoch: i32,
    pub(super) clock: Arc<ClusterClock>,
    pub(super) settings: BucketSettings,
    pub(super) registry: Arc<Registry>,
    /// Rung when something was written that is not flushed.
    pub(super) dirty: Notify,
    commands: mpsc::UnboundedSender<Command>,
    /// No more commands are taken.
    sealed: AtomicBool,
    memory: Memory,
    failed: watch::Sender<Option<Arc<str>>>,
    stop: CancellationToken,
}

/// The partitions of a shard.
#[derive(Default)]
pub(super) struct Registry {
    inner: RwLock<Partitions>,
}

#[derive(Default)]
pub(super) struct Partitions {
    /// Without those that were set aside.
    pub(super) by_id: HashMap<PartitionId, Arc<Slot>>,
    /// All whose data is kept.
    pub(super) by_number: HashMap<Number, Arc<Slot>>,
    /// Numbers below are given.
    pub(super) next: Number,
    /// False until the headers were read: the database compacts from its opening on, and must not take what is not known
    /// yet for what is gone.
    pub(super) loaded: bool,
}

/// Memory of a shard's records, beside what SlateDB holds.
#[derive(Default)]
struct Memory {
    /// Bytes that are not durable.
    undurable: AtomicUsize,
    /// Since when the oldest of them waits.
    oldest: Mutex<Option<Instant>>,
    recent: Mutex<Recent>,
}

/// Durable batches that are still in memory, oldest first.
#[derive(Default)]
struct Recent {
    batches: VecDeque<(Arc<Slot>, Offset, usize)>,
    bytes: usize,
}

impl Registry {
    pub(super) fn read(&self) -> parking_lot::RwLockReadGuard<'_, Partitions> {
        self.inner.read()
    }

    pub(super) fn write(&self) -> parking_lot::RwLockWriteGuard<'_, Partitions> {
        self.inner.write()
    }

    /// Whether nobody will ever ask for a batch: its partition is gone, or its log starts behind it.
    pub(super) fn is_dead(&self, number: Number, last_offset: Offset) -> bool {
        let partitions = self.read();
        match partitions.by_number.get(&number) {
            Some(slot) => last_offset < slot.dead_below(),
            None => partitions.loaded && number < partitions.next,
        }
    }

    /// The segments that hold a batch that is not dead; `None` when that is not known of all partitions.
    pub(super) fn wanted(&self) -> Option<HashSet<Segment>> {
        let slots: Vec<_> = {
            let partitions = self.read();
            partitions.loaded.then(|| partitions.by_number.values().cloned().collect())?
        };
        let mut wanted = HashSet::new();
        for slot in slots {
            // Whoever repairs a damaged partition needs all of it.
            slot.check_whole().ok()?;
            let dead_below = slot.dead_below();
            let log = slot.log.lock();
            let parts = log.parts.iter().filter(|part| part.row.bytes > 0 && part.row.end > dead_below);
            wanted.extend(parts.map(|part| part.row.segment));
        }
        Some(wanted)
    }
}

impl Shared {
    pub(super) fn new(
        db: Db,
        epoch: i32,
        clock: Arc<ClusterClock>,
        settings: BucketSettings,
        registry: Arc<Registry>,
        commands: mpsc::UnboundedSender<Command>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            db,
            epoch,
            clock,
            settings,
            registry,
            dirty: Notify::new(),
            commands,
            sealed: AtomicBool::new(false),
            memory: Memory::default(),
            failed: watch::Sender::new(None),
            stop,
        })
    }

    /// Gives the shard up: nothing more is written or acknowledged through it.
    pub(super) fn fail(&self, reason: &str) {
        let reason: Arc<str> = Arc::from(reason);
        let first = self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| reason.clone());
            first
        });
        if first {
            let slots: Vec<_> = self.registry.read().by_number.values().cloned().collect();
            slots.iter().for_each(|slot| slot.kill(&reason));
            self.stop.cancel();
            *self.memory.recent.lock() = Recent::default();
        }
    }

    pub(super) fn failed(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.failed.subscribe()
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        match &*self.failed.borrow() {
            Some(reason) => Err(StoreError::Unknown(reason.clone())),
            None => Ok(()),
        }
    }

    /// What a caller is told whose write was dropped.
    pub(super) fn gone(&self) -> StoreError {
        let reason = self.failed.borrow().clone();
        StoreError::Unknown(reason.unwrap_or_else(|| Arc::from("the shard is closed")))
    }

    /// From now on nothing is written any more.
    pub(super) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(super) fn send(&self, ops: Vec<Op>, done: Done) -> Result<(), StoreError> {
        if self.is_sealed() {
            return Err(unknown("the shard is given up"));
        }
        self.commands.send(Command { ops, done }).map_err(|_| self.gone())
    }

    /// Waits until these changes, and everything sent before, can be read.
    pub(super) async fn write(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        let (sender, written) = oneshot::channel();
        self.send(ops, Done::Written(sender))?;
        written.await.map_err(|_| self.gone())
    }

    /// The same until they survive a crash. Sent before the first await.
    pub(super) fn write_durably(
        &self,
        ops: Vec<Op>,
    ) -> Result<impl Future<Output = Result<(), StoreError>> + Send + '_, StoreError> {
        let (sender, durable) = oneshot::channel();
        self.send(ops, Done::Durable(sender))?;
        Ok(async move { durable.await.map_err(|_| self.gone()) })
    }

    /// Takes memory for a batch until it is durable. The broker's own records may use a quarter more.
    pub(super) fn reserve(&self, bytes: usize, internal: bool) -> bool {
        let limit = self.settings.max_undurable_bytes;
        let limit = if internal { limit + limit / 4 } else { limit };
        let taken = self.memory.undurable.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            // A batch that is larger than the limit gets through when it is alone.
            (used == 0 || used + bytes <= limit).then_some(used + bytes)
        });
        if taken == Ok(0) {
            *self.memory.oldest.lock() = Some(Instant::now());
        }
        taken.is_ok()
    }

    /// Memory for batches is given back; they stay in memory as long as there is room. `oldest`: since when the next
    /// write waits.
    pub(super) fn became_durable(&self, batches: Vec<(Arc<Slot>, Offset, usize)>, oldest: Option<Instant>) {
        if batches.is_empty() {
            return;
        }
        let bytes: usize = batches.iter().map(|(_, _, bytes)| bytes).sum();
        let left = self.memory.undurable.fetch_sub(bytes, Ordering::AcqRel).saturating_sub(bytes);
        *self.memory.oldest.lock() = (left > 0).then(|| oldest.unwrap_or_else(Instant::now));
        let mut recent = self.memory.recent.lock();
        recent.bytes += bytes;
        recent.batches.extend(batches);
        while recent.bytes > self.settings.recent_bytes
            && let Some((slot, end, bytes)) = recent.batches.pop_front()
        {
            recent.bytes -= bytes;
            slot.log.lock().tail.forget(end);
        }
    }

    /// How long the oldest record waits that is not durable yet.
    pub(super) fn undurable_age(&self) -> Option<Duration> {
        self.memory.oldest.lock().map(|since| since.elapsed())
    }

    /// Bytes of records that are not durable yet.
    pub(super) fn undurable_bytes(&self) -> usize {
        self.memory.undurable.load(Ordering::Acquire)
    }
}
