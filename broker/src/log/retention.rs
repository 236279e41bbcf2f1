//! Moving the log start: retention by time and size, and DeleteRecords.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kafka_protocol::ResponseError;

use super::config::LogConfig;
use super::partition::{Handle, Partition};
use super::{LogError, refused};
use crate::store::{Chunk, Offset};

impl Partition {
    /// Moves the log start (DeleteRecords; -1: the high watermark) and returns where it is.
    pub async fn delete_records(&self, before: Offset) -> Result<Offset, LogError> {
        if !self.config.load().cleanup.delete {
            return Err(refused(
                ResponseError::PolicyViolation,
                "records of this topic are kept by key; its cleanup.policy has no delete",
            ));
        }
        let _upkeep = self.upkeep.lock().await;
        let handle = self.handle()?;
        let bounds = handle.bounds();
        let before = if before == -1 { bounds.high_watermark } else { before };
        if !(0..=bounds.high_watermark).contains(&before) {
            return Err(LogError::OffsetOutOfRange {
                wanted: before,
                start: bounds.log_start,
                end: bounds.high_watermark,
            });
        }
        self.trim(&handle, before).await
    }

    /// Deletes what the topic's settings let go.
    pub(super) async fn retain(&self) -> Result<(), LogError> {
        let config = self.config.load_full();
        if !config.cleanup.delete {
            return Ok(());
        }
        let handle = self.handle()?;
        let chunks = handle.bytes.chunks();
        let high_watermark = handle.bounds().high_watermark;
        let expired = expired(&chunks, &config, self.clock.now_ms());
        let durable = chunks[..expired].iter().take_while(|chunk| chunk.offsets.end <= high_watermark).count();
        let Some(last) = durable.checked_sub(1).map(|index| &chunks[index]) else { return Ok(()) };
        if !last.closed {
            let _appending = handle.tail.lock();
            // What came in meanwhile is young: the chunk then goes another time.
            if handle.bytes.chunks().last() != Some(last) {
                return Ok(());
            }
            handle.bytes.roll().map_err(|error| self.store_error(&handle, error))?;
        }
        self.trim(&handle, last.offsets.end).await?;
        Ok(())
    }

    async fn trim(&self, handle: &Arc<Handle>, before: Offset) -> Result<Offset, LogError> {
        let log_start = handle.bounds().log_start;
        if before <= log_start {
            return Ok(log_start);
        }
        handle.bytes.trim(before).await.map_err(|error| self.store_error(handle, error))?;
        handle.log_start.fetch_max(before, Ordering::AcqRel);
        handle.tail.lock().epochs.trim(before);
        Ok(before)
    }
}

/// How many of the oldest chunks may go.
fn expired(chunks: &[Chunk], config: &LogConfig, now_ms: i64) -> usize {
    by_time(chunks, config.retention_ms, now_ms).max(by_size(chunks, config.retention_bytes))
}

/// A chunk without timestamps is as old as the next one that has some.
fn by_time(chunks: &[Chunk], retention_ms: i64, now_ms: i64) -> usize {
    if retention_ms < 0 {
        return 0;
    }
    let border = now_ms.saturating_sub(retention_ms);
    let old = chunks.iter().take_while(|chunk| chunk.max_timestamp < border).count();
    chunks[..old].iter().rposition(|chunk| chunk.max_timestamp >= 0).map_or(0, |index| index + 1)
}

/// As many as leave at least the size that is to be kept.
fn by_size(chunks: &[Chunk], retention_bytes: i64) -> usize {
    let Ok(keep) = u64::try_from(retention_bytes) else { return 0 };
    let total: u64 = chunks.iter().map(|chunk| chunk.bytes).sum();
    let mut excess = total.saturating_sub(keep);
    chunks
        .iter()
        .take_while(|chunk| {
            let goes = chunk.bytes > 0 && chunk.bytes <= excess;
            excess = excess.saturating_sub(chunk.bytes);
            goes
        })
        .count()
}
