//! One open partition: its handle in the store, the state that goes with it, and its life: open, failed and opened
//! again, not opened yet, offline, closed, deleted.
//!
//! When the handle fails, everything answers NOT_LEADER_OR_FOLLOWER until
//! the partition is opened again, through recovery and under a new leader epoch, so no offset that was acknowledged as
//! durable is ever given to another record.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use kafka_protocol::ResponseError;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};

use super::config::LogConfig;
use super::epochs::Epochs;
use super::header::{BatchHeader, Batches};
use super::marker::EndMarker;
use super::producers::{ActiveProducer, Producers};
use super::slices::read_slice;
use super::transactions::Transactions;
use super::{Bounds, EpochEnd, LogError, refused};
use crate::clock::Clock;
use crate::store::{
    Durable, Loaded, Offset, PartitionId, PartitionOptions, PartitionStore, Read, StateEntry, Store, StoreError,
};

/// Bytes of batches that are replayed in one go when a partition is opened.
const REPLAY_BYTES: usize = 1 << 20;
const CLEANED_KEY: &[u8] = b"c";
/// Handles that were opened by this process.
static OPENINGS: AtomicU64 = AtomicU64::new(0);

/// One open partition.
pub struct Partition {
    id: PartitionId,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: ArcSwap<LogConfig>,
    phase: RwLock<Phase>,
    /// Held by whatever changes the partition other than by appending.
    pub(super) upkeep: tokio::sync::Mutex<Upkeep>,
    /// Rung when the handle fails, for the maintenance task.
    alarm: Arc<Notify>,
}

enum Phase {
    Open(Arc<Handle>),
    /// The last handle, whose bounds are still told to those who ask.
    Failed(Arc<Handle>),
    /// It could not be opened for a reason that may pass (no file descriptors, one failed read): tried again.
    Unopened(Arc<str>),
    /// Another broker has it, or nobody yet.
    Elsewhere,
    /// Its data is damaged or missing: somebody has to look.
    Offline(Arc<str>),
    /// The broker stops; another one, or this one later, goes on.
    Closed,
    Deleted,
}

impl Phase {
    /// Maintenance opens it again.
    fn may_reopen(&self) -> bool {
        matches!(self, Phase::Failed(_) | Phase::Unopened(_) | Phase::Elsewhere)
    }
}

/// Trying again cannot mend it.
fn is_final(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt(_) | StoreError::NotFound)
}

/// What becomes of a partition that could not be opened.
fn unopened(id: PartitionId, error: &StoreError) -> Phase {
    let reason = Arc::from(error.to_string());
    if is_final(error) {
        tracing::error!(topic = %id.topic, partition = id.index, %error, "partition is offline");
        return Phase::Offline(reason);
    }
    if matches!(error, StoreError::NotOwner(_)) {
        return Phase::Elsewhere;
    }
    tracing::warn!(topic = %id.topic, partition = id.index, %error, "partition cannot be opened, trying again");
    Phase::Unopened(reason)
}

/// What maintenance remembers between its rounds.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// State is stored for all batches below this.
    pub(super) checkpointed: Offset,
    /// When that was, on the broker's clock (ms).
    pub(super) checkpointed_at: i64,
    /// Start of the open chunk at that time.
    pub(super) chunk_start: Offset,
    pub(super) reopen: Backoff,
}

/// When a failed partition may be opened again.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    pub(super) attempts: u32,
    pub(super) not_before: Option<tokio::time::Instant>,
}

/// An opened partition in the store with the state above it.
pub(super) struct Handle {
    pub(super) bytes: Arc<dyn PartitionStore>,
    pub(super) durable: watch::Receiver<Durable>,
    pub(super) leader_epoch: i32,
    /// Tells this handle from every other of the process.
    pub(super) opening: u64,
    pub(super) log_start: AtomicI64,
    /// Where the log is going to start: what is below may be gone before that is durable, and told.
    pub(super) trimming: AtomicI64,
    pub(super) log_end: AtomicI64,
    pub(super) tail: Mutex<Tail>,
    /// Taken after the tail's lock by whoever needs both.
    pub(super) transactions: Mutex<Transactions>,
    /// False: there is no transaction that is open, or whose end is not durable.
    pub(super) unstable: AtomicBool,
}

/// What an append reads and changes.
pub(super) struct Tail {
    pub(super) next_offset: Offset,
    pub(super) producers: Producers,
    pub(super) epochs: Epochs,
    /// Compaction has been everywhere below.
    pub(super) cleaned: Offset,
}

impl Tail {
    /// The whole state but aborted transactions, complete for all batches below `next_offset`.
    pub(super) fn state(&self) -> Vec<StateEntry> {
        let cleaned = StateEntry {
            key: Bytes::from_static(CLEANED_KEY),
            value: Bytes::copy_from_slice(&self.cleaned.to_be_bytes()),
        };
        self.epochs.entries().chain(self.producers.entries()).chain([cleaned]).collect()
    }

    fn restore(state: &[StateEntry], end: Offset) -> Result<(Self, Transactions), String> {
        let mut tail =
            Self { next_offset: end, producers: Producers::default(), epochs: Epochs::default(), cleaned: 0 };
        let mut transactions = Transactions::default();
        for entry in state {
            if entry.key == CLEANED_KEY {
                let value = entry.value.as_ref().try_into().map_err(|_| "the cleaned offset has a wrong length")?;
                tail.cleaned = i64::from_be_bytes(value);
            } else if !tail.epochs.restore(entry)? && !tail.producers.restore(entry)? && !transactions.restore(entry)? {
                return Err(format!("the stored state has an entry of unknown kind ({:?})", entry.key));
            }
        }
        // State may have been stored for batches that a crash then took.
        tail.producers.truncate(end);
        tail.epochs.truncate(end);
        tail.cleaned = tail.cleaned.min(end);
        transactions.restored();
        transactions.truncate(end);
        Ok((tail, transactions))
    }
}

impl Tail {
    /// Takes a batch that is in the log as it is.
    fn replay(&mut self, header: &BatchHeader, batch: &[u8], transactions: &mut Transactions, now_ms: i64) {
        self.epochs.assign(header.leader_epoch, header.base_offset);
        if let Some(marker) = EndMarker::read(header, batch) {
            if let Some(first) = self.producers.replay_marker(&marker, now_ms) {
                transactions.end(marker.producer_id, first, header.base_offset, marker.commit);
            }
            return;
        }
        let was_open = self.producers.is_open(header.producer_id);
        self.producers.replay(header, now_ms);
        if !was_open && self.producers.is_open(header.producer_id) {
            transactions.begin(header.producer_id, header.base_offset);
        }
    }
}

impl Handle {
    async fn open(store: &dyn Store, id: PartitionId, config: &LogConfig, now_ms: i64) -> Result<Self, StoreError> {
        let (bytes, loaded) = store.open(id, options(id, config)).await?;
        let (mut tail, mut transactions) = Tail::restore(&loaded.state, loaded.end).map_err(|reason| {
            StoreError::Corrupt(Arc::from(format!("{reason}; restore this partition from a copy")))
        })?;
        tail.producers.open().for_each(|(producer_id, first)| transactions.begin(producer_id, first));
        replay(&*bytes, &loaded, &mut tail, &mut transactions, now_ms).await?;
        tail.epochs.assign(loaded.leader_epoch, loaded.end);
        tail.epochs.trim(loaded.log_start);
        transactions.forget_aborted(loaded.log_start);
        let unstable = transactions.first_unstable(loaded.end).is_some();
        Ok(Self {
            transactions: Mutex::new(transactions),
            unstable: AtomicBool::new(unstable),
            durable: bytes.durable(),
            bytes,
            leader_epoch: loaded.leader_epoch,
            opening: OPENINGS.fetch_add(1, Ordering::Relaxed),
            log_start: AtomicI64::new(loaded.log_start),
            trimming: AtomicI64::new(loaded.log_start),
            log_end: AtomicI64::new(loaded.end),
            tail: Mutex::new(tail),
        })
    }

    pub(super) fn bounds(&self) -> Bounds {
        // In this order, so that a high watermark never lies beyond the log end.
        let high_watermark = self.durable.borrow().end;
        let log_end = self.log_end.load(Ordering::Acquire).max(high_watermark);
        let log_start = self.log_start.load(Ordering::Acquire);
        let last_stable = match self.unstable.load(Ordering::Acquire) {
            true => self.last_stable(high_watermark),
            false => high_watermark,
        };
        Bounds { log_start, last_stable, high_watermark, log_end }
    }

    fn last_stable(&self, high_watermark: Offset) -> Offset {
        let mut transactions = self.transactions.lock();
        match transactions.first_unstable(high_watermark) {
            Some(first) => first.min(high_watermark),
            None => {
                self.unstable.store(false, Ordering::Release);
                high_watermark
            }
        }
    }

    pub(super) fn failed(&self) -> bool {
        // A sender that is gone is a handle that was closed.
        self.durable.has_changed().is_err() || self.durable.borrow().failed.is_some()
    }

    /// Waits until everything below `end` is durable.
    pub(super) async fn durable_to(&self, end: Offset) -> Result<(), LogError> {
        let mut durable = self.durable.clone();
        match durable.wait_for(|durable| durable.end >= end || durable.failed.is_some()).await {
            Ok(durable) if durable.end >= end => Ok(()),
            _ => Err(LogError::NotLeader),
        }
    }
}

/// Completes the state with the batches that were written after it was stored.
async fn replay(
    bytes: &dyn PartitionStore,
    loaded: &Loaded,
    tail: &mut Tail,
    transactions: &mut Transactions,
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut from = loaded.state_end.max(loaded.log_start);
    while from < loaded.end {
        let read = Read { from, until: loaded.end, max_bytes: REPLAY_BYTES, at_least_one: true };
        let slice = bytes.read(read).await?;
        let next = slice.next_offset;
        let batches = read_slice(slice).await?;
        for batch in Batches::new(&batches) {
            let (header, batch) = batch.map_err(|error| {
                StoreError::Corrupt(Arc::from(format!("no record batch after offset {from}: {error}")))
            })?;
            if header.base_offset >= loaded.state_end {
                tail.replay(&header, batch, transactions, now_ms);
            }
        }
        if next <= from {
            break;
        }
        from = next;
    }
    Ok(())
}

/// What the store has to know of a topic's settings.
pub(super) fn options(id: PartitionId, config: &LogConfig) -> PartitionOptions {
    let most = if config.cleanup.compact { config.max_compaction_lag_ms } else { i64::MAX };
    let segment_ms =
        config.segment_ms.min(most) - jitter(id, config.segment_jitter_ms.min(config.segment_ms).min(most));
    PartitionOptions {
        segment_bytes: config.segment_bytes,
        segment_ms,
        retention_ms: config.retention_ms,
        compacted: config.cleanup.compact && !config.cleanup.delete,
        internal: config.internal,
    }
}

/// How much earlier than others this partition closes its segments (0 to `most`, ms): partitions that were made
/// together do not all begin new files at the same time.
fn jitter(id: PartitionId, most: i64) -> i64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish().checked_rem(most as u64).map_or(0, |part| part as i64)
}

impl Partition {
    /// Opens a partition; one that cannot be opened comes back without a handle, with the reason.
    pub(super) async fn open(
        id: PartitionId,
        config: Arc<LogConfig>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        alarm: Arc<Notify>,
    ) -> Self {
        let opened = Handle::open(&*store, id, &config, clock.now_ms()).await;
        let upkeep = Upkeep { checkpointed_at: clock.now_ms(), ..Upkeep::default() };
        let phase = match opened {
            Ok(handle) => Phase::Open(Arc::new(handle)),
            Err(error) => unopened(id, &error),
        };
        Self {
            id,
            store,
            clock,
            config: ArcSwap::new(config),
            phase: RwLock::new(phase),
            upkeep: tokio::sync::Mutex::new(upkeep),
            alarm,
        }
    }

    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// The handle, or why there is none.
    pub(super) fn handle(&self) -> Result<Arc<Handle>, LogError> {
        let handle = match &*self.phase.read() {
            Phase::Open(handle) => Arc::clone(handle),
            Phase::Failed(_) | Phase::Elsewhere | Phase::Closed => return Err(LogError::NotLeader),
            Phase::Unopened(reason) | Phase::Offline(reason) => return Err(LogError::Offline(Arc::clone(reason))),
            Phase::Deleted => return Err(LogError::UnknownPartition),
        };
        if handle.failed() {
            self.fail(&handle, "the store gave the handle up");
            return self.phase_error();
        }
        Ok(handle)
    }

    fn phase_error<T>(&self) -> Result<T, LogError> {
        match &*self.phase.read() {
            Phase::Deleted => Err(LogError::UnknownPartition),
            Phase::Unopened(reason) | Phase::Offline(reason) => Err(LogError::Offline(Arc::clone(reason))),
            Phase::Open(_) | Phase::Failed(_) | Phase::Elsewhere | Phase::Closed => Err(LogError::NotLeader),
        }
    }

    /// Nothing goes through this handle any more.
    pub(super) fn fail(&self, handle: &Arc<Handle>, reason: &str) {
        let mut phase = self.phase.write();
        if matches!(&*phase, Phase::Open(current) if Arc::ptr_eq(current, handle)) {
            tracing::warn!(topic = %self.id.topic, partition = self.id.index, reason, "partition failed, reopening it");
            *phase = Phase::Failed(Arc::clone(handle));
            self.alarm.notify_one();
        }
    }

    /// What a store error means: one with an unknown outcome ends the handle.
    pub(super) fn store_error(&self, handle: &Arc<Handle>, error: StoreError) -> LogError {
        match error {
            StoreError::Rejected(_) | StoreError::Full(_) => LogError::Store(error),
            StoreError::Unknown(_) | StoreError::NotOwner(_) | StoreError::NotFound | StoreError::Corrupt(_) => {
                self.fail(handle, &error.to_string());
                LogError::NotLeader
            }
        }
    }

    pub(super) fn is_failed(&self) -> bool {
        // Asking for the handle notices when it has failed.
        self.handle().is_err() && self.phase.read().may_reopen()
    }

    /// Opens a failed partition, or one that could not be opened, again: recovery, a new epoch, and state rebuilt from what is stored.
    pub(super) async fn reopen(&self) -> Result<(), LogError> {
        let config = self.config.load_full();
        let opened = Handle::open(&*self.store, self.id, &config, self.clock.now_ms()).await;
        let mut phase = self.phase.write();
        if !phase.may_reopen() {
            return Ok(());
        }
        match opened {
            Ok(handle) => *phase = Phase::Open(Arc::new(handle)),
            Err(error) => {
                // One that was open goes on telling its last bounds until there is no hope.
                if is_final(&error) || matches!(&*phase, Phase::Unopened(_) | Phase::Elsewhere) {
                    *phase = unopened(self.id, &error);
                }
                return Err(LogError::Store(error));
            }
        }
        Ok(())
    }

    /// Ends the partition for its callers, who get UNKNOWN_TOPIC_OR_PARTITION, and hands back what is to be closed.
    pub(super) fn remove(&self) -> Option<Arc<Handle>> {
        self.end(Phase::Deleted)
    }

    /// Ends the partition for its callers, who get NOT_LEADER_OR_FOLLOWER, and hands back what is to be closed.
    pub(super) fn shut(&self) -> Option<Arc<Handle>> {
        self.end(Phase::Closed)
    }

    fn end(&self, phase: Phase) -> Option<Arc<Handle>> {
        match std::mem::replace(&mut *self.phase.write(), phase) {
            Phase::Open(handle) | Phase::Failed(handle) => Some(handle),
            Phase::Unopened(_) | Phase::Elsewhere | Phase::Offline(_) | Phase::Closed | Phase::Deleted => None,
        }
    }

    pub(super) fn configure(&self, config: Arc<LogConfig>) {
        if let Ok(handle) = self.handle() {
            handle.bytes.set_options(options(self.id, &config));
        }
        self.config.store(config);
    }

    /// FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH when a client's idea of the leader epoch differs (-1: it has none).
    pub fn check_epoch(&self, current_epoch: i32) -> Result<(), LogError> {
        let epoch = self.handle()?.leader_epoch;
        match current_epoch {
            ..0 => Ok(()),
            older if older < epoch => {
                Err(refused(ResponseError::FencedLeaderEpoch, format!("the leader epoch is {epoch}, not {older}")))
            }
            newer if newer > epoch => {
                Err(refused(ResponseError::UnknownLeaderEpoch, format!("the leader epoch is {epoch}, not {newer}")))
            }
            _ => Ok(()),
        }
    }

    /// As last known while the partition is being reopened; all 0 when it is offline.
    pub fn bounds(&self) -> Bounds {
        match &*self.phase.read() {
            Phase::Open(handle) | Phase::Failed(handle) => handle.bounds(),
            Phase::Unopened(_) | Phase::Elsewhere | Phase::Offline(_) | Phase::Closed | Phase::Deleted => {
                Bounds { log_start: 0, last_stable: 0, high_watermark: 0, log_end: 0 }
            }
        }
    }

    /// As last known while the partition is being reopened; -1 when it is offline.
    pub fn leader_epoch(&self) -> i32 {
        match &*self.phase.read() {
            Phase::Open(handle) | Phase::Failed(handle) => handle.leader_epoch,
            Phase::Unopened(_) | Phase::Elsewhere | Phase::Offline(_) | Phase::Closed | Phase::Deleted => -1,
        }
    }

    /// Changes whenever the high watermark moves or the handle fails; long polls wait on it. Once it says `failed`, or
    /// its sender is gone, ask again: a reopened partition has a new one.
    pub fn watch(&self) -> watch::Receiver<Durable> {
        match &*self.phase.read() {
            Phase::Open(handle) | Phase::Failed(handle) => {
                // The handle's own receiver is never asked, so for it every move since the opening is news.
                let mut durable = handle.durable.clone();
                durable.mark_unchanged();
                durable
            }
            Phase::Unopened(_) | Phase::Elsewhere | Phase::Offline(_) | Phase::Closed | Phase::Deleted => {
                watch::channel(Durable { end: 0, failed: Some(Arc::from("the partition is not open")) }).1
            }
        }
    }

    /// Epoch in which the record at `offset` was (or the next one will be) written; -1 when unknown.
    pub fn epoch_of(&self, offset: Offset) -> i32 {
        self.handle().map_or(-1, |handle| handle.tail.lock().epochs.of(offset))
    }

    /// Where the largest epoch that is not larger than this one ended; `None` when it is yet to come.
    pub fn epoch_end(&self, leader_epoch: i32) -> Option<EpochEnd> {
        let handle = self.handle().ok()?;
        let tail = handle.tail.lock();
        tail.epochs.end_of(leader_epoch, tail.next_offset)
    }

    /// Producers that the partition knows, in no order.
    pub fn active_producers(&self) -> Result<Vec<ActiveProducer>, LogError> {
        Ok(self.handle()?.tail.lock().producers.active())
    }

    /// Stores the state, so that opening replays less.
    pub(super) async fn checkpoint(&self, upkeep: &mut Upkeep) -> Result<(), LogError> {
        let handle = self.handle()?;
        let (end, state) = {
            let tail = handle.tail.lock();
            let mut state = tail.state();
            state.extend(handle.transactions.lock().entries());
            (tail.next_offset, state)
        };
        // A state that knows more than the log would take lost batches for duplicates.
        handle.bytes.flush();
        handle.durable_to(end).await?;
        handle.bytes.checkpoint(end, state).await.map_err(|error| self.store_error(&handle, error))?;
        upkeep.checkpointed = end;
        upkeep.checkpointed_at = self.clock.now_ms();
        upkeep.chunk_start = handle.bytes.chunks().last().map_or(end, |chunk| chunk.offsets.start);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use uuid::Uuid;

    use super::super::Cleanup;
    use super::*;

    fn segment_ms(config: &LogConfig) -> HashSet<i64> {
        let id = |index| PartitionId { topic: Uuid::from_u128(7), index };
        (0..100).map(|index| options(id(index), config).segment_ms).collect()
    }

    #[test]
    fn jitter_spreads_when_segments_are_closed() {
        let config = LogConfig { segment_ms: 60_000, ..LogConfig::default() };
        assert_eq!(segment_ms(&config), HashSet::from([60_000]));
        let spread = segment_ms(&LogConfig { segment_jitter_ms: 10_000, ..config.clone() });
        assert!(spread.len() > 90 && spread.iter().all(|ms| (50_001..=60_000).contains(ms)), "{spread:?}");
        let wide = segment_ms(&LogConfig { segment_jitter_ms: i64::MAX, ..config.clone() });
        assert!(wide.len() > 90 && wide.iter().all(|ms| (1..=60_000).contains(ms)), "{wide:?}");
    }

    #[test]
    fn compacted_segments_are_closed_within_the_maximum_lag() {
        let config = LogConfig { max_compaction_lag_ms: 1_000, ..LogConfig::default() };
        assert_eq!(segment_ms(&config), HashSet::from([config.segment_ms]));
        let cleanup = Cleanup { delete: false, compact: true };
        let compacted = LogConfig { cleanup, ..config };
        assert_eq!(segment_ms(&compacted), HashSet::from([1_000]));
        let jittered = segment_ms(&LogConfig { segment_jitter_ms: 5_000, ..compacted });
        assert!(jittered.iter().all(|ms| (1..=1_000).contains(ms)), "{jittered:?}");
    }
}
