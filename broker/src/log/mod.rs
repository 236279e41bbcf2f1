//! Partitions as Kafka means them: offsets, leader epochs, high watermark, producer state, retention, compaction.
//! Exists once, above whichever [`crate::store`] holds the bytes.

mod config;
pub mod records;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use config::{Cleanup, Compression, LogConfig, TimestampType};

use crate::clock::Clock;
use crate::store::{Durable, Offset, PartitionId, Slice, Store, StoreError};

/// What the log refuses, each with the Kafka error that clients see.
#[derive(Clone, Debug, Error)]
pub enum LogError {
    #[error("{message}")]
    Refused { code: ResponseError, message: String },
    #[error("offset {wanted} is outside {start}..{end}")]
    OffsetOutOfRange { wanted: Offset, start: Offset, end: Offset },
    /// The partition's handle failed or is being reopened; the client tries again.
    #[error("the partition is being recovered")]
    NotLeader,
    /// The partition is offline: its stored bytes are damaged.
    #[error("the partition is offline: {0}")]
    Offline(Arc<str>),
    #[error("no such partition")]
    UnknownPartition,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LogError {
    /// The Kafka error for a client.
    pub fn code(&self) -> ResponseError {
        match self {
            LogError::Refused { code, .. } => *code,
            LogError::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
            LogError::NotLeader => ResponseError::NotLeaderOrFollower,
            LogError::Offline(_) => ResponseError::KafkaStorageError,
            LogError::UnknownPartition => ResponseError::UnknownTopicOrPartition,
            LogError::Store(_) => ResponseError::KafkaStorageError,
        }
    }
}

/// When a producer wants its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// 0: no answer at all.
    None,
    /// 1: after the write.
    Leader,
    /// -1: when durable.
    All,
}

/// Where a batch went.
#[derive(Clone, Debug)]
pub struct Appended {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// Milliseconds since 1970, or -1 unless the topic uses LogAppendTime.
    pub log_append_time: i64,
    pub log_start: Offset,
    /// True when this batch had been appended before (an idempotent retry).
    pub duplicate: bool,
    durable: watch::Receiver<Durable>,
}

impl Appended {
    /// Waits until the batch survives a crash. `NotLeader` when the handle failed first.
    pub async fn durable(&mut self) -> Result<(), LogError> {
        let last = self.last_offset;
        match self.durable.wait_for(|durable| durable.end > last || durable.failed.is_some()).await {
            Ok(durable) if durable.end > last => Ok(()),
            _ => Err(LogError::NotLeader),
        }
    }
}

/// Which records a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

/// Bounds of a partition at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub log_start: Offset,
    pub last_stable: Offset,
    pub high_watermark: Offset,
    pub log_end: Offset,
}

/// What a fetch found.
#[derive(Debug)]
pub struct Fetched {
    pub slice: Slice,
    pub bounds: Bounds,
    /// Aborted transactions within the slice, as (producer id, first offset); only for `ReadCommitted`.
    pub aborted: Vec<(i64, Offset)>,
}

/// Answer of OffsetForLeaderEpoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    pub leader_epoch: i32,
    pub end_offset: Offset,
}

/// Answer of a look-up by timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: Offset,
    pub leader_epoch: i32,
}

/// All partitions of this broker.
pub struct Logs {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Logs {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { store, clock })
    }

    /// Opens the partitions that the catalog knows; sets aside (and logs) what the store holds beyond them, except
    /// `keep`. A partition that cannot be opened is offline, said in the log, and the others go on.
    pub async fn load(
        &self,
        _known: Vec<(PartitionId, Arc<LogConfig>)>,
        _keep: &[PartitionId],
    ) -> Result<(), LogError> {
        unimplemented!()
    }

    /// Opens (or with `create`, makes) one partition.
    pub async fn open(
        &self,
        _id: PartitionId,
        _config: Arc<LogConfig>,
        _create: bool,
    ) -> Result<Arc<Partition>, LogError> {
        unimplemented!()
    }

    pub fn get(&self, _id: PartitionId) -> Result<Arc<Partition>, LogError> {
        unimplemented!()
    }

    /// Gives a topic's partitions new settings.
    pub fn configure(&self, _topic: Uuid, _config: Arc<LogConfig>) {
        unimplemented!()
    }

    /// Deletes partitions; waiting fetches wake with `UnknownPartition`.
    pub async fn delete(&self, _ids: &[PartitionId]) -> Result<(), LogError> {
        unimplemented!()
    }

    /// Runs retention, compaction, producer expiry and reopening of failed partitions until cancelled.
    pub async fn run_maintenance(self: Arc<Self>, _stop: CancellationToken) {
        unimplemented!()
    }

    /// Bytes stored per open partition, for metrics and DescribeLogDirs.
    pub fn sizes(&self) -> HashMap<PartitionId, u64> {
        unimplemented!()
    }

    /// Flushes, checkpoints and closes everything; marks a clean shutdown.
    pub async fn close(&self) -> Result<(), LogError> {
        unimplemented!()
    }
}

/// One open partition.
pub struct Partition {
    id: PartitionId,
}

impl Partition {
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Appends exactly one batch from a client, after every check that the architecture names.
    pub fn append(&self, _batch: Bytes, _acks: Acks) -> Result<Appended, LogError> {
        unimplemented!()
    }

    /// Appends records of the broker's own (offsets, catalog), as one uncompressed batch.
    pub fn append_records(&self, _records: &[records::NewRecord]) -> Result<Appended, LogError> {
        unimplemented!()
    }

    /// Whole batches from `from` on that the isolation allows. `current_epoch` is the client's idea of the leader
    /// epoch (-1: none): FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH when it differs.
    pub async fn fetch(
        &self,
        _from: Offset,
        _max_bytes: usize,
        _at_least_one: bool,
        _isolation: Isolation,
    ) -> Result<Fetched, LogError> {
        unimplemented!()
    }

    /// Whole batches up to the log end, durable or not: for the broker's own loading at start.
    pub async fn read_all(&self, _from: Offset, _max_bytes: usize) -> Result<Slice, LogError> {
        unimplemented!()
    }

    pub fn check_epoch(&self, _current_epoch: i32) -> Result<(), LogError> {
        unimplemented!()
    }

    pub fn bounds(&self) -> Bounds {
        unimplemented!()
    }

    pub fn leader_epoch(&self) -> i32 {
        unimplemented!()
    }

    /// Changes whenever the high watermark moves or the handle fails; long polls wait on it.
    pub fn watch(&self) -> watch::Receiver<Durable> {
        unimplemented!()
    }

    /// Epoch in which the record at `offset` was (or the next one will be) written; -1 when unknown.
    pub fn epoch_of(&self, _offset: Offset) -> i32 {
        unimplemented!()
    }

    pub fn epoch_end(&self, _leader_epoch: i32) -> Option<EpochEnd> {
        unimplemented!()
    }

    /// First record at or after `timestamp` (ms).
    pub async fn offset_for_time(&self, _timestamp: i64) -> Result<Option<TimestampOffset>, LogError> {
        unimplemented!()
    }

    /// The record with the largest timestamp (ListOffsets -3).
    pub async fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        unimplemented!()
    }

    /// Moves the log start (DeleteRecords; -1: the high watermark) and returns where it is.
    pub async fn delete_records(&self, _before: Offset) -> Result<Offset, LogError> {
        unimplemented!()
    }
}
