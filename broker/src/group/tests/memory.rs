//! The coordinator's log in memory, with a handle that can be made to fail.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::catalog::Catalog;
use crate::log::records::{NewRecord, Record};
use crate::log::{EndMarker, Entry, LogError, VerificationGuard};
use crate::state_topic::{StateLog, WhenDurable};

pub(super) const PARTITIONS: i32 = 4;

#[derive(Default)]
pub(super) struct MemoryLog {
    pub(super) records: Mutex<Vec<Vec<NewRecord>>>,
    /// How appends end.
    pub(super) outcome: Mutex<Outcome>,
    /// While set, appends stay in flight.
    pub(super) held: watch::Sender<bool>,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Outcome {
    #[default]
    Durable,
    /// Appended, then the handle fails; the bytes are there after all.
    FailedButKept,
    /// Nothing is appended.
    NotLeader,
}

impl MemoryLog {
    pub(super) fn new() -> Arc<Self> {
        let log = Self::default();
        log.records.lock().resize_with(PARTITIONS as usize, Vec::new);
        Arc::new(log)
    }
}

impl StateLog for MemoryLog {
    fn open(&self) -> BoxFuture<'_, Result<i32, LogError>> {
        Box::pin(async { Ok(PARTITIONS) })
    }

    fn append(&self, partition: i32, records: &[NewRecord]) -> Result<WhenDurable, LogError> {
        let outcome = *self.outcome.lock();
        if outcome == Outcome::NotLeader {
            return Err(LogError::NotLeader);
        }
        self.records.lock()[partition as usize].extend_from_slice(records);
        let mut held = self.held.subscribe();
        Ok(Box::pin(async move {
            held.wait_for(|held| !held).await.map_err(|_| LogError::NotLeader)?;
            if outcome == Outcome::Durable { Ok(()) } else { Err(LogError::NotLeader) }
        }))
    }

    fn begin_verification(&self, _: i32, _: i64, _: i16) -> Result<Option<VerificationGuard>, LogError> {
        Ok(None)
    }

    /// Transactions are tested over real partitions.
    fn append_transactional(
        &self,
        _: i32,
        _: &[NewRecord],
        _: (i64, i16),
        _: Option<VerificationGuard>,
    ) -> Result<WhenDurable, LogError> {
        Err(LogError::NotLeader)
    }

    fn append_marker(&self, _: i32, _: EndMarker) -> Result<WhenDurable, LogError> {
        Err(LogError::NotLeader)
    }

    fn epoch(&self, _: i32) -> Result<i32, LogError> {
        Ok(0)
    }

    fn read<'a>(
        &'a self,
        partition: i32,
        visit: &'a mut (dyn FnMut(Entry) + Send),
    ) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            let records = self.records.lock()[partition as usize].clone();
            for (offset, record) in records.into_iter().enumerate() {
                let NewRecord { key, value, timestamp } = record;
                visit(Entry::Records(vec![Record { offset: offset as i64, timestamp, key, value }]));
            }
            Ok(())
        })
    }
}

/// A catalog without topics.
pub(in crate::group) async fn catalog() -> Arc<Catalog> {
    Catalog::load(Box::<crate::catalog::memory_log::MemoryLog>::default()).await.expect("a catalog")
}
