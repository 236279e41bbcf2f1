//! The catalog's log as an ordinary partition: durable, recovered and reopened like every other.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{CatalogError, CatalogLog};
use crate::clock::Clock;
use crate::log::records::{NewRecord, read_records};
use crate::log::{Bounds, LogError, Logs, Partition, read_slice};
use crate::store::PartitionId;

/// Where the catalog lives. No topic ever gets this id.
pub const CATALOG_PARTITION: PartitionId = PartitionId { topic: Uuid::from_u128(1), index: 0 };
/// Bytes read at a time while loading.
const READ_BYTES: usize = 4 << 20;

pub struct PartitionLog {
    logs: Arc<Logs>,
    clock: Arc<dyn Clock>,
}

impl PartitionLog {
    /// The partition must be open in `logs`.
    pub fn new(logs: Arc<Logs>, clock: Arc<dyn Clock>) -> Self {
        Self { logs, clock }
    }
}

impl CatalogLog for PartitionLog {
    fn append(&self, records: Vec<Bytes>) -> BoxFuture<'_, Result<i64, CatalogError>> {
        Box::pin(async move {
            let timestamp = self.clock.now_ms();
            let records: Vec<_> =
                records.into_iter().map(|value| NewRecord { key: None, value: Some(value), timestamp }).collect();
            let partition = self.logs.get(CATALOG_PARTITION).map_err(log_error)?;
            let mut appended = partition.append_records(&records).map_err(log_error)?;
            appended.durable().await.map_err(log_error)?;
            Ok(appended.base_offset)
        })
    }

    fn read(&self) -> BoxFuture<'_, Result<Vec<(i64, Bytes)>, CatalogError>> {
        Box::pin(async move {
            let partition = self.logs.get(CATALOG_PARTITION).map_err(log_error)?;
            let bounds = partition.bounds();
            // A record that a crash could still take must not be shown.
            let mut durable = partition.watch();
            let there = durable.wait_for(|durable| durable.end >= bounds.log_end || durable.failed.is_some()).await;
            if there.is_ok_and(|durable| durable.failed.is_none()) {
                return read_from(&partition, bounds).await;
            }
            Err(log_error(LogError::NotLeader))
        })
    }

    fn forget_before(&self, offset: i64) -> BoxFuture<'_, Result<(), CatalogError>> {
        Box::pin(async move {
            let partition = self.logs.get(CATALOG_PARTITION).map_err(log_error)?;
            partition.delete_records(offset).await.map(|_| ()).map_err(log_error)
        })
    }
}

async fn read_from(partition: &Partition, bounds: Bounds) -> Result<Vec<(i64, Bytes)>, CatalogError> {
    let mut found = Vec::new();
    let mut from = bounds.log_start;
    while from < bounds.log_end {
        let slice = partition.read_all(from, READ_BYTES).await.map_err(log_error)?;
        if slice.is_empty() {
            break;
        }
        from = slice.next_offset;
        let batches = read_slice(slice).await.map_err(|error| log_error(error.into()))?;
        let records = read_records(batches).map_err(log_error)?;
        let wanted = records.into_iter().filter(|record| record.offset >= bounds.log_start);
        found.extend(wanted.filter_map(|record| Some((record.offset, record.value?))));
    }
    Ok(found)
}

fn log_error(error: LogError) -> CatalogError {
    CatalogError::Log(error.to_string().into())
}
