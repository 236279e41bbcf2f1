//! Partitions as Kafka means them: offsets, leader epochs, high watermark, producer state, retention, compaction.
//! Exists once, above whichever [`crate::store`] holds the bytes.

mod append;
mod cleaner;
pub mod codec;
mod compact;
mod config;
mod decided;
mod epochs;
mod fetch;
pub mod header;
mod logs;
mod maintenance;
mod marker;
#[cfg(test)]
mod memory;
mod partition;
mod producers;
pub mod records;
mod retention;
mod slices;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transaction_tests;
mod transactions;
pub mod validate;

use std::sync::Arc;

use kafka_protocol::ResponseError;
use thiserror::Error;
use tokio::sync::watch;

pub use append::VerificationGuard;
pub use config::{Cleanup, Compression, LogConfig, TimestampType};
pub use logs::Logs;
pub use marker::{EndMarker, Entry, read_entries};
pub use partition::Partition;
pub use producers::ActiveProducer;
pub use slices::{read_slice, read_slice_blocking};
pub use validate::{BadRecord, Fault};

use crate::store::{Durable, Offset, PartitionStore, Slice, StoreError};

/// What the log refuses, each with the Kafka error that clients see.
#[derive(Clone, Debug, Error)]
pub enum LogError {
    #[error("{message}")]
    Refused { code: ResponseError, message: String },
    /// Single records are at fault, and with them their whole batch is refused.
    #[error("one or more records are refused: {}", .0.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    BadRecords(Vec<BadRecord>),
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
            LogError::BadRecords(records) => {
                // The error of a wrong time wins, as in Kafka's LogValidator.
                let timestamp = records.iter().any(|record| matches!(record.fault, Fault::Timestamp { .. }));
                if timestamp { ResponseError::InvalidTimestamp } else { ResponseError::InvalidRecord }
            }
            LogError::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
            LogError::NotLeader => ResponseError::NotLeaderOrFollower,
            LogError::Offline(_) => ResponseError::KafkaStorageError,
            LogError::UnknownPartition => ResponseError::UnknownTopicOrPartition,
            LogError::Store(StoreError::NotOwner(_)) => ResponseError::NotLeaderOrFollower,
            LogError::Store(_) => ResponseError::KafkaStorageError,
        }
    }
}

fn refused(code: ResponseError, message: impl ToString) -> LogError {
    LogError::Refused { code, message: message.to_string() }
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
#[derive(Debug)]
pub struct Appended {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// Milliseconds since 1970, or -1 unless the topic uses LogAppendTime.
    pub log_append_time: i64,
    pub log_start: Offset,
    /// True when this batch had been appended before (an idempotent retry).
    pub duplicate: bool,
    durable: watch::Receiver<Durable>,
    flush: WantedFlush,
}

impl Appended {
    /// Waits until the batch survives a crash. `NotLeader` when the handle failed first.
    pub async fn durable(&mut self) -> Result<(), LogError> {
        self.flush.ask();
        let last = self.last_offset;
        match self.durable.wait_for(|durable| durable.end > last || durable.failed.is_some()).await {
            Ok(durable) if durable.end > last => Ok(()),
            _ => Err(LogError::NotLeader),
        }
    }
}

/// A flush that is still to be asked for: when the waiting begins, or when nobody is going to wait after all.
struct WantedFlush(Option<Arc<dyn PartitionStore>>);

impl WantedFlush {
    fn ask(&mut self) {
        if let Some(bytes) = self.0.take() {
            bytes.flush();
        }
    }
}

impl Drop for WantedFlush {
    fn drop(&mut self) {
        self.ask();
    }
}

impl std::fmt::Debug for WantedFlush {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("WantedFlush").field(&self.0.is_some()).finish()
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
