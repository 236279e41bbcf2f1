//! Moving the log start: retention by time and size, and DeleteRecords.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kafka_protocol::ResponseError;

use super::config::LogConfig;
use super::partition::{Handle, Partition, Upkeep};
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
        let mut upkeep = self.upkeep.lock().await;
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
        self.trim(&mut upkeep, &handle, before).await
    }

    /// Deletes what the topic's settings let go.
    pub(super) async fn retain(&self, upkeep: &mut Upkeep) -> Result<(), LogError> {
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
        self.trim(upkeep, &handle, last.offsets.end).await?;
        Ok(())
    }

    async fn trim(&self, upkeep: &mut Upkeep, handle: &Arc<Handle>, before: Offset) -> Result<Offset, LogError> {
        let log_start = handle.bounds().log_start;
        if before <= log_start {
            return Ok(log_start);
        }
        // Batches that go cannot be replayed: what they say of their producers has to be stored first.
        if before > upkeep.checkpointed {
            self.checkpoint(upkeep).await?;
        }
        handle.trimming.store(before, Ordering::Release);
        let trimmed = handle.bytes.trim(before).await;
        if trimmed.is_err() {
            handle.trimming.store(log_start, Ordering::Release);
        }
        trimmed.map_err(|error| self.store_error(handle, error))?;
        handle.log_start.fetch_max(before, Ordering::AcqRel);
        handle.tail.lock().epochs.trim(before);
        handle.transactions.lock().forget_aborted(before);
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
            // Compaction may leave a closed chunk empty.
            let goes = (chunk.closed || chunk.bytes > 0) && chunk.bytes <= excess;
            excess = excess.saturating_sub(chunk.bytes);
            goes
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::super::codec::Codec;
    use super::super::tests::{NOW, Rig, batch_of, plain_batch, record};
    use super::super::{Acks, Cleanup, Isolation};
    use super::*;

    fn chunk(offsets: std::ops::Range<Offset>, bytes: u64, max_timestamp: i64) -> Chunk {
        Chunk { offsets, bytes, max_timestamp, closed: true }
    }

    #[test]
    fn old_chunks_go_until_the_first_young_one() {
        let chunks = [chunk(0..5, 1, 10), chunk(5..9, 1, -1), chunk(9..12, 1, 20), chunk(12..20, 1, -1)];
        assert_eq!(by_time(&chunks, -1, 100), 0);
        assert_eq!(by_time(&chunks, 95, 100), 0);
        assert_eq!(by_time(&chunks, 85, 100), 1);
        assert_eq!(by_time(&chunks, 70, 100), 3);
    }

    #[test]
    fn size_never_falls_below_what_is_kept() {
        let chunks = [chunk(0..5, 10, 1), chunk(5..9, 10, 1), chunk(9..12, 10, 1)];
        assert_eq!(by_size(&chunks, -1), 0);
        assert_eq!(by_size(&chunks, 21), 0);
        assert_eq!(by_size(&chunks, 20), 1);
        assert_eq!(by_size(&chunks, 0), 3);
    }

    #[test]
    fn a_chunk_that_compaction_emptied_does_not_hold_up_the_rest() {
        let chunks = [chunk(0..5, 0, -1), chunk(5..9, 10, 1), chunk(9..12, 10, 1)];
        assert_eq!(by_size(&chunks, 10), 2);
        assert_eq!(by_size(&[Chunk { closed: false, ..chunk(0..0, 0, -1) }], 0), 0);
    }

    #[tokio::test]
    async fn the_open_chunk_goes_too_once_all_of_it_is_old() {
        let len = plain_batch(1).len() as u64;
        let config = LogConfig { retention_ms: 1_000, segment_bytes: 2 * len, ..LogConfig::default() };
        let (mut rig, partition) = Rig::new(config).await;
        for _ in 0..3 {
            partition.append(plain_batch(1), Acks::All).unwrap();
        }
        partition.retain(&mut *partition.upkeep.lock().await).await.unwrap();
        assert_eq!(partition.bounds().log_start, 0);
        rig.clock.advance(1_001);
        partition.append(batch_of(&[record("k", "young", NOW + 1_001)], Codec::None, |_| {}), Acks::All).unwrap();
        partition.retain(&mut *partition.upkeep.lock().await).await.unwrap();
        assert_eq!(partition.bounds().log_start, 2, "a young record keeps its chunk");
        rig.clock.advance(1_001);
        partition.retain(&mut *partition.upkeep.lock().await).await.unwrap();
        assert_eq!(partition.bounds().log_start, 4);
        let partition = rig.restart().await;
        assert_eq!(partition.append(plain_batch(1), Acks::All).unwrap().base_offset, 4);
    }

    #[tokio::test]
    async fn a_reader_does_not_pass_over_what_is_being_deleted() {
        let len = plain_batch(2).len() as u64;
        let (_rig, partition) = Rig::new(LogConfig { segment_bytes: len, ..LogConfig::default() }).await;
        for _ in 0..3 {
            partition.append(plain_batch(2), Acks::All).unwrap();
        }
        let handle = partition.handle().unwrap();
        handle.trimming.store(4, Ordering::Release);
        handle.bytes.trim(4).await.unwrap();
        assert_eq!(partition.bounds().log_start, 0, "not told yet");
        let error = partition.fetch(0, 1, true, Isolation::ReadUncommitted).await.unwrap_err();
        assert!(matches!(error, LogError::OffsetOutOfRange { wanted: 0, start: 4, end: 6 }), "{error}");
        partition.fetch(4, 1, true, Isolation::ReadUncommitted).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_durable_stays() {
        let (rig, partition) = Rig::new(LogConfig { retention_ms: 1_000, ..LogConfig::default() }).await;
        rig.store.hold();
        partition.append(plain_batch(1), Acks::Leader).unwrap();
        rig.clock.advance(2_000);
        partition.retain(&mut *partition.upkeep.lock().await).await.unwrap();
        assert_eq!(partition.bounds().log_start, 0);
    }

    #[tokio::test]
    async fn compacted_topics_keep_their_records() {
        let cleanup = Cleanup { delete: false, compact: true };
        let (rig, partition) = Rig::new(LogConfig { cleanup, retention_ms: 1, ..LogConfig::default() }).await;
        partition.append(plain_batch(1), Acks::All).unwrap();
        rig.clock.advance(2_000);
        partition.retain(&mut *partition.upkeep.lock().await).await.unwrap();
        assert_eq!(partition.bounds().log_start, 0);
        let refused = partition.delete_records(1).await.unwrap_err();
        assert_eq!(refused.code(), ResponseError::PolicyViolation);
    }
}
