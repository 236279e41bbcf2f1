//! Bytes of partitions, kept durably. The store knows batches, offsets and opaque state; it knows nothing of Kafka.
//!
//! There are two: segment files on one machine (`local`), and object storage with one database per shard (`bucket`).
//! Both pass the suite in `conformance`. What a record *means* (duplicates, epochs, retention, compaction) is
//! decided once, in [`crate::log`].

pub mod bucket;
#[cfg(test)]
pub mod conformance;
mod header;
pub mod local;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::sync::watch;
use uuid::Uuid;

/// Position of a record in its partition, counted from 0.
pub type Offset = i64;

/// Identity of a partition: never a name, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    pub topic: Uuid,
    pub index: i32,
}

/// What a caller may conclude from a failed store operation.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// Nothing was written; the handle stays usable.
    #[error("storage refused: {0}")]
    Rejected(Arc<str>),
    /// The free-space reserve is reached; nothing was written. Client records are refused until there is space.
    #[error("storage is full: {0}")]
    Full(Arc<str>),
    /// Whether something was written is not known: drop the handle and open the partition again.
    #[error("storage failed, the outcome is unknown: {0}")]
    Unknown(Arc<str>),
    /// The stored bytes are damaged below the checkpoint; the partition stays offline.
    #[error("stored data is damaged: {0}")]
    Corrupt(Arc<str>),
    /// Another broker has the partition, or nobody yet; nothing was written.
    #[error("the partition is not at this broker: {0}")]
    NotOwner(Arc<str>),
    /// The partition does not exist in this store.
    #[error("no such partition in the store")]
    NotFound,
}

/// One entry of a partition's state: opaque to the store. An empty value removes the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    pub key: Bytes,
    pub value: Bytes,
}

/// Settings of one partition that change where its bytes are cut or kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOptions {
    /// A chunk is closed when the next batch would make it larger (bytes).
    pub segment_bytes: u64,
    /// A chunk is closed when its first append is older than this (milliseconds).
    pub segment_ms: i64,
    /// How long records are about to be kept (milliseconds; -1: without limit). Stores may keep those together that go
    /// together; it deletes nothing.
    pub retention_ms: i64,
    /// Compacted partitions never expire as a whole.
    pub compacted: bool,
    /// May use the space that is reserved for the broker's own bookkeeping.
    pub internal: bool,
}

/// What opening a partition found.
#[derive(Debug)]
pub struct Loaded {
    /// First offset that may be read. Survives an empty log.
    pub log_start: Offset,
    /// One past the last durable record. Survives an empty log.
    pub end: Offset,
    /// Epoch of this opening: not smaller than that of any earlier opening of this partition, and larger than that of
    /// every opening whose records this one may have lost.
    pub leader_epoch: i32,
    /// The newest stored state, complete for all batches below `state_end`.
    pub state: Vec<StateEntry>,
    /// The log replays the batches in `state_end..end` to complete `state`.
    pub state_end: Offset,
}

/// A record batch (or the caller's own bytes in that form), ready to be written verbatim.
pub struct Append<'a> {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// Largest timestamp of its records, for the time index (milliseconds since 1970).
    pub max_timestamp: i64,
    /// The batch in two parts, written one after the other: the patched head and the untouched rest.
    pub parts: [&'a [u8]; 2],
    /// The change of state that goes with the batch, atomically, for stores that do not replay batches.
    /// Called at most once.
    pub delta: &'a dyn Fn() -> Vec<StateEntry>,
}

/// How far a partition is durable, and whether its handle still works.
#[derive(Clone, Debug)]
pub struct Durable {
    /// One past the last record that survives a crash now.
    pub end: Offset,
    /// Set once: the handle failed, nothing more becomes durable through it.
    pub failed: Option<Arc<str>>,
}

/// When a written batch should become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Somebody waits, and calls [`PartitionStore::flush`] when they begin to: whatever is appended until then, to any
    /// partition, shares the flush.
    Now,
    /// Nobody waits: flush within the store's bounded linger.
    Soon,
}

/// A part of a file or bytes in memory, in log order.
#[derive(Clone, Debug)]
pub enum Piece {
    Memory(Bytes),
    File(FileRange),
}

impl Piece {
    pub fn len(&self) -> usize {
        match self {
            Piece::Memory(bytes) => bytes.len(),
            Piece::File(range) => range.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// `len` bytes at `position` of an open file. The bytes below a durable end never change in place.
#[derive(Clone, Debug)]
pub struct FileRange {
    pub file: Arc<std::fs::File>,
    pub position: u64,
    pub len: usize,
}

/// Whole batches, in order.
#[derive(Clone, Debug, Default)]
pub struct Slice {
    pub pieces: Vec<Piece>,
    /// Where to read on: one past the last offset in `pieces`, or beyond the gap behind it; the wanted offset when empty.
    pub next_offset: Offset,
}

impl Slice {
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Piece::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.iter().all(Piece::is_empty)
    }
}

/// What to read.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// The first batch returned is the one that holds this offset or, in a gap, the next one.
    pub from: Offset,
    /// No batch that ends at or after this offset is returned.
    pub until: Offset,
    /// No more bytes than this,
    pub max_bytes: usize,
    /// except for one first batch that is larger, when this is set.
    pub at_least_one: bool,
}

/// A contiguous part of a partition that is kept, replaced or deleted as a whole (a closed segment, a time bucket).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub offsets: Range<Offset>,
    pub bytes: u64,
    /// Largest record timestamp in it (milliseconds since 1970); -1 when it holds none.
    pub max_timestamp: i64,
    /// False for the chunk that is still appended to.
    pub closed: bool,
}

/// Space of the volume or quota behind a store, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free: u64,
    pub total: u64,
}

/// A handle, and what opening found.
pub type Opened = (Arc<dyn PartitionStore>, Loaded);

/// Where partitions live.
pub trait Store: Send + Sync + 'static {
    /// Makes an empty partition, durably. `Rejected` when it exists.
    fn create(&self, id: PartitionId, options: PartitionOptions) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Opens a partition for reading and appending: recovers it, and fences every earlier handle to it.
    fn open(&self, id: PartitionId, options: PartitionOptions) -> BoxFuture<'_, Result<Opened, StoreError>>;
    /// Every partition in the store, known to the caller or not.
    fn list(&self) -> BoxFuture<'_, Result<Vec<PartitionId>, StoreError>>;
    /// Deletes a partition and all its bytes. Readers of file ranges already handed out are not disturbed.
    fn delete(&self, id: PartitionId) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Moves a partition that nobody knows out of the way, without deleting; returns where it is now.
    fn set_aside(&self, id: PartitionId) -> BoxFuture<'_, Result<String, StoreError>>;
    fn space(&self) -> Space;
    /// Flushes everything, writes checkpoints, and marks a clean shutdown.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// One open partition.
///
/// Appends are pipelined: `append` returns when the bytes are ordered and visible to `read`; durability is watched
/// through `durable`. Only one task appends at a time (the log holds its lock).
pub trait PartitionStore: Send + Sync + 'static {
    /// Adds a batch at the end. After an error that is not `Rejected` or `Full` the handle is dead.
    fn append(&self, batch: Append<'_>, flush: Flush) -> Result<(), StoreError>;
    /// Asks that everything appended so far becomes durable now. Where a flush is known to be brief, it may be done
    /// before this returns.
    fn flush(&self);
    fn durable(&self) -> watch::Receiver<Durable>;
    fn read(&self, read: Read) -> BoxFuture<'_, Result<Slice, StoreError>>;
    /// Offset from which the first batch with a timestamp at or after `timestamp` (ms) can be found by reading on;
    /// `None` when there is none. May point before that batch, never behind it.
    fn seek_time(&self, timestamp: i64) -> BoxFuture<'_, Result<Option<Offset>, StoreError>>;
    /// All chunks, oldest first; the last one is open.
    fn chunks(&self) -> Vec<Chunk>;
    /// Chunks that are replaced together should not have more than this (bytes): they may be held in memory.
    fn max_chunk_bytes(&self) -> u64 {
        u64::MAX
    }
    /// Closes the open chunk, so that it can be replaced or trimmed.
    fn roll(&self) -> Result<(), StoreError>;
    /// Moves the log start, durably, and frees chunks wholly below it.
    fn trim(&self, log_start: Offset) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Replaces the closed chunks that cover `offsets` by `batches` (same offsets, fewer records), atomically. They become
    /// one chunk, where the store can keep them together.
    fn replace(
        &self,
        offsets: Range<Offset>,
        batches: Box<dyn Iterator<Item = Result<Bytes, StoreError>> + Send>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Stores the whole state, complete for all batches below `end`, so that opening replays less.
    fn checkpoint(&self, end: Offset, state: Vec<StateEntry>) -> BoxFuture<'_, Result<(), StoreError>>;
    fn set_options(&self, options: PartitionOptions);
    /// Flushes and gives the handle up. Later calls fail.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}
