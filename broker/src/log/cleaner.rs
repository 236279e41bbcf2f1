//! Compaction: keeps the newest record per key below the dirty end. Works on closed, durable chunks only, reads them in
//! bounded pieces, and replaces them group by group, oldest first, so that a tombstone never goes before what it hides.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::LogError;
use super::compact::{Keys, Outcome, Rules};
use super::config::LogConfig;
use super::decided::Decided;
use super::header::{BatchHeader, Batches, NO_TIMESTAMP};
use super::partition::{Handle, Partition, Upkeep};
use super::slices::{away, read_slice_blocking};
use crate::store::{Chunk, Offset, Read, Slice, StoreError};

/// Bytes that are read and held in one go.
const STEP_BYTES: usize = 4 << 20;
/// Offsets that chunks made into one may span: files index them with 32 bits.
const MAX_SPAN: i64 = i32::MAX as i64;

impl Partition {
    /// One pass, when there is enough to clean.
    pub(super) async fn compact(&self, upkeep: &mut Upkeep, stop: &CancellationToken) -> Result<(), LogError> {
        let config = self.config.load_full();
        if !config.cleanup.compact {
            return Ok(());
        }
        let handle = self.handle()?;
        self.roll_overdue(&handle, &config).await?;
        let Some(work) = self.work(&handle, &config).await? else { return Ok(()) };
        let keys = self.collect_keys(&handle, &work, stop).await?;
        let end = keys.end;
        if end <= work.first_dirty {
            return Ok(());
        }
        let last_traces = handle.tail.lock().producers.last_traces();
        let rules = Arc::new(Rules {
            keys,
            now_ms: self.clock.now_ms(),
            delete_retention_ms: config.delete_retention_ms,
            last_traces,
        });
        let reached = work.chunks.partition_point(|chunk| chunk.offsets.start < end);
        let log_start = handle.bounds().log_start;
        let mut decided = Decided::new(handle.transactions.lock().aborted_from(log_start));
        for group in groups(&work.chunks[..reached], &config, handle.bytes.max_chunk_bytes()) {
            if stop.is_cancelled() {
                return Ok(());
            }
            self.handle()?;
            decided = self.clean_group(&handle, group, &rules, decided).await?;
        }
        handle.tail.lock().cleaned = end;
        // Of those the pass before this one left nothing, and whoever still read what it replaced is done.
        handle.transactions.lock().forget_aborted(work.first_dirty);
        self.checkpoint(upkeep).await
    }

    /// `max.compaction.lag.ms` holds for the open chunk too.
    async fn roll_overdue(&self, handle: &Arc<Handle>, config: &LogConfig) -> Result<(), LogError> {
        let border = self.clock.now_ms().saturating_sub(config.max_compaction_lag_ms);
        let Some(open) = handle.bytes.chunks().pop().filter(|open| border > 0 && open.bytes > 0) else { return Ok(()) };
        let all_old = (0..border).contains(&open.max_timestamp);
        if all_old || self.first_timestamp(handle, open.offsets).await?.is_some_and(|first| first < border) {
            let _appending = handle.tail.lock();
            handle.bytes.roll().map_err(|error| self.store_error(handle, error))?;
        }
        Ok(())
    }

    async fn work(&self, handle: &Arc<Handle>, config: &LogConfig) -> Result<Option<Work>, LogError> {
        let bounds = handle.bounds();
        let cleaned = handle.tail.lock().cleaned;
        let now = self.clock.now_ms();
        let Some(work) =
            Work::find(handle.bytes.chunks(), cleaned.max(bounds.log_start), bounds.last_stable, config, now)
        else {
            return Ok(None);
        };
        let border = now.saturating_sub(config.max_compaction_lag_ms);
        // Without a maximum nothing is read for it.
        let due = work.ratio() > config.min_cleanable_dirty_ratio
            || border > 0 && self.begins_before(handle, &work, border).await?;
        Ok(due.then_some(work))
    }

    /// Whether any of the dirty chunks begins before this time (ms).
    async fn begins_before(&self, handle: &Arc<Handle>, work: &Work, border: i64) -> Result<bool, LogError> {
        for chunk in work.dirty() {
            let from = chunk.offsets.start.max(work.first_dirty);
            let first = self.first_timestamp(handle, from..chunk.offsets.end).await?;
            if first.is_some_and(|first| first < border) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Of the first batch; `None` when it has none.
    async fn first_timestamp(&self, handle: &Arc<Handle>, offsets: Range<Offset>) -> Result<Option<i64>, LogError> {
        let Range { start: from, end: until } = offsets;
        let slice = self.read(handle, Read { from, until, max_bytes: 1, at_least_one: true }).await?;
        let bytes = super::read_slice(slice).await?;
        Ok(BatchHeader::parse(&bytes).ok().map(|header| header.max_timestamp).filter(|time| *time != NO_TIMESTAMP))
    }

    async fn collect_keys(
        &self,
        handle: &Arc<Handle>,
        work: &Work,
        stop: &CancellationToken,
    ) -> Result<Keys, LogError> {
        let mut keys = Keys::default();
        let mut decided = Decided::new(handle.transactions.lock().aborted_from(work.first_dirty));
        let mut from = work.first_dirty;
        while from < work.end && !keys.is_full() && !stop.is_cancelled() {
            let read = Read { from, until: work.end, max_bytes: STEP_BYTES, at_least_one: true };
            let slice = self.read(handle, read).await?;
            let next = slice.next_offset;
            (keys, decided) = away(move || {
                let bytes = read_slice_blocking(&slice)?;
                let mut buffer = Vec::new();
                for batch in Batches::new(&bytes) {
                    let (header, batch) = batch.map_err(|error| unreadable(from, error))?;
                    let added = keys.add(&header, batch, &mut decided, &mut buffer);
                    added.map_err(|error| unreadable(header.base_offset, error))?;
                    if keys.is_full() {
                        break;
                    }
                }
                Ok((keys, decided))
            })
            .await?;
            if next <= from {
                // The rest held batches once; it is clean.
                keys.end = work.end;
                break;
            }
            from = next;
        }
        Ok(keys)
    }

    /// Hands back what is known of transactions behind the group.
    async fn clean_group(
        &self,
        handle: &Arc<Handle>,
        group: &[Chunk],
        rules: &Arc<Rules>,
        decided: Decided,
    ) -> Result<Decided, LogError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(decided) };
        let offsets = first.offsets.start..last.offsets.end;
        let mut slices = Vec::new();
        for chunk in group {
            self.slices_of(handle, chunk, &mut slices).await?;
        }
        let (rules, source) = (Arc::clone(rules), slices.clone());
        let mut look = Cleaned::new(source, Arc::clone(&rules), decided.clone());
        let (changes, behind) = away(move || {
            let mut changes = false;
            while let Some(outcome) = look.next_outcome()? {
                changes |= !matches!(outcome, (_, Outcome::Keep));
            }
            Ok((changes, look.decided))
        })
        .await?;
        if changes || group.len() > 1 {
            let batches = Box::new(Cleaned::new(slices, rules, decided));
            handle.bytes.replace(offsets, batches).await.map_err(|error| self.store_error(handle, error))?;
        }
        Ok(behind)
    }

    /// All batches of a chunk that are not below the log start.
    async fn slices_of(&self, handle: &Arc<Handle>, chunk: &Chunk, into: &mut Vec<Slice>) -> Result<(), LogError> {
        let until = chunk.offsets.end;
        let mut from = chunk.offsets.start.max(handle.bounds().log_start);
        let whole = from == chunk.offsets.start;
        let mut bytes = 0;
        while from < until {
            let slice = self.read(handle, Read { from, until, max_bytes: STEP_BYTES, at_least_one: true }).await?;
            if slice.next_offset <= from {
                break;
            }
            bytes += slice.len() as u64;
            from = slice.next_offset;
            into.push(slice);
        }
        // Whatever is not read here would be gone after the replacement.
        if whole && bytes != chunk.bytes {
            let text = format!("{bytes} of {} bytes were read from offset {}", chunk.bytes, chunk.offsets.start);
            return Err(StoreError::Rejected(Arc::from(text)).into());
        }
        Ok(())
    }
}

/// What could be cleaned.
#[derive(Debug, PartialEq, Eq)]
struct Work {
    /// Closed, durable, and old enough.
    chunks: Vec<Chunk>,
    first_dirty: Offset,
    end: Offset,
    clean_bytes: u64,
    dirty_bytes: u64,
}

impl Work {
    fn find(
        mut chunks: Vec<Chunk>,
        first_dirty: Offset,
        last_stable: Offset,
        config: &LogConfig,
        now_ms: i64,
    ) -> Option<Self> {
        let young = now_ms.saturating_sub(config.min_compaction_lag_ms);
        let is_dirty = |chunk: &Chunk| chunk.offsets.end > first_dirty;
        let cleanable = |chunk: &Chunk| {
            let old = config.min_compaction_lag_ms <= 0 || chunk.max_timestamp <= young || !is_dirty(chunk);
            chunk.closed && chunk.offsets.end <= last_stable && old
        };
        let count = chunks.iter().take_while(|chunk| cleanable(chunk)).count();
        chunks.truncate(count);
        let end = chunks.last()?.offsets.end;
        let dirty_bytes = chunks.iter().filter(|chunk| is_dirty(chunk)).map(|chunk| chunk.bytes).sum();
        let clean_bytes = chunks.iter().filter(|chunk| !is_dirty(chunk)).map(|chunk| chunk.bytes).sum();
        (dirty_bytes > 0).then_some(Self { chunks, first_dirty, end, clean_bytes, dirty_bytes })
    }

    fn dirty(&self) -> impl Iterator<Item = &Chunk> {
        self.chunks.iter().filter(|chunk| chunk.offsets.end > self.first_dirty)
    }

    fn ratio(&self) -> f64 {
        self.dirty_bytes as f64 / (self.clean_bytes + self.dirty_bytes) as f64
    }
}

/// Neighbours that fit into one chunk of the configured size, and of the store's largest, together. Where time deletes
/// too, they are no further apart than `segment.ms`: a chunk goes as a whole, and what is old would stay for as long as
/// something young is added to it.
fn groups<'a>(chunks: &'a [Chunk], config: &LogConfig, max_chunk_bytes: u64) -> Vec<&'a [Chunk]> {
    let by_time = config.cleanup.delete && config.retention_ms >= 0;
    let age = if by_time { config.segment_ms } else { i64::MAX };
    let mut groups = Vec::new();
    let mut rest = chunks;
    while let Some(first) = rest.first() {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|chunk| {
            bytes += chunk.bytes;
            let apart = chunk.max_timestamp.saturating_sub(first.max_timestamp);
            bytes <= config.segment_bytes.min(max_chunk_bytes)
                && chunk.offsets.end - first.offsets.start <= MAX_SPAN
                && apart <= age
        });
        let (group, tail) = rest.split_at(fitting.count().max(1));
        groups.push(group);
        rest = tail;
    }
    groups
}

/// What is left of slices, batch by batch; reads them one at a time.
struct Cleaned {
    slices: std::vec::IntoIter<Slice>,
    bytes: Bytes,
    rules: Arc<Rules>,
    decided: Decided,
    buffer: Vec<u8>,
}

impl Cleaned {
    fn new(slices: Vec<Slice>, rules: Arc<Rules>, decided: Decided) -> Self {
        Self { slices: slices.into_iter(), bytes: Bytes::new(), rules, decided, buffer: Vec::new() }
    }

    /// The next batch with what becomes of it.
    fn next_outcome(&mut self) -> Result<Option<(Bytes, Outcome)>, StoreError> {
        while self.bytes.is_empty() {
            match self.slices.next() {
                Some(slice) => self.bytes = read_slice_blocking(&slice)?,
                None => return Ok(None),
            }
        }
        let Some(batch) = Batches::new(&self.bytes).next() else { return Ok(None) };
        let (header, batch) = batch.map_err(|error| unreadable(-1, error))?;
        let batch = self.bytes.slice_ref(batch);
        self.bytes = self.bytes.slice(batch.len()..);
        let outcome = self.rules.apply(&header, &batch, &mut self.decided, &mut self.buffer);
        let outcome = outcome.map_err(|error| unreadable(header.base_offset, error))?;
        Ok(Some((batch, outcome)))
    }
}

impl Iterator for Cleaned {
    type Item = Result<Bytes, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_outcome() {
                Ok(Some((_, Outcome::Drop))) => {}
                Ok(Some((batch, Outcome::Keep))) => return Some(Ok(batch)),
                Ok(Some((_, Outcome::Replace(batch)))) => return Some(Ok(batch)),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn unreadable(offset: Offset, error: impl std::fmt::Display) -> StoreError {
    StoreError::Rejected(Arc::from(format!("the batch at offset {offset} cannot be compacted: {error}")))
}

#[cfg(test)]
mod tests {
    use super::super::codec::Codec;
    use super::super::records::{NewRecord, Record, read_records};
    use super::super::tests::{NOW, Rig, batch_of, produced, record};
    use super::super::{Acks, Cleanup, Isolation, read_slice};
    use super::*;

    fn compacted() -> LogConfig {
        LogConfig {
            cleanup: Cleanup { delete: false, compact: true },
            min_cleanable_dirty_ratio: 0.0,
            segment_bytes: 200,
            ..LogConfig::default()
        }
    }

    async fn all(partition: &Partition) -> Vec<Record> {
        let from = partition.bounds().log_start;
        let fetched = partition.fetch(from, usize::MAX, true, Isolation::ReadUncommitted).await.unwrap();
        read_records(read_slice(fetched.slice).await.unwrap()).unwrap()
    }

    async fn pass(partition: &Partition) {
        let mut upkeep = partition.upkeep.lock().await;
        partition.compact(&mut upkeep, &CancellationToken::new()).await.unwrap();
    }

    fn shown(records: &[Record]) -> Vec<(i64, String, Option<String>)> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let show =
            |record: &Record| (record.offset, record.key.as_ref().map(text).unwrap(), record.value.as_ref().map(text));
        records.iter().map(show).collect()
    }

    fn tombstone(key: &str) -> NewRecord {
        NewRecord { value: None, ..record(key, "", NOW) }
    }

    fn roll(partition: &Partition) {
        partition.handle().unwrap().bytes.roll().unwrap();
    }

    #[tokio::test]
    async fn the_newest_record_per_key_stays_at_its_offset() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let (mut rig, partition) = Rig::new(compacted()).await;
            let append = |records: &[NewRecord]| {
                partition.append(batch_of(records, codec, |_| {}), Acks::All).unwrap();
            };
            append(&[record("a", "1", NOW), record("b", "1", NOW + 5), record("a", "2", NOW)]);
            append(&[record("b", "2", NOW)]);
            append(&[record("c", "1", NOW)]);
            roll(&partition);
            // The open chunk is neither cleaned nor does it hide anything yet.
            append(&[record("c", "2", NOW)]);
            pass(&partition).await;
            let expected = [(2, "a", "2"), (3, "b", "2"), (4, "c", "1"), (5, "c", "2")];
            let expected = expected.map(|(offset, key, value)| (offset, key.to_owned(), Some(value.to_owned())));
            assert_eq!(shown(&all(&partition).await), expected, "{codec:?}");
            let first = partition.fetch(0, 1, true, Isolation::ReadUncommitted).await.unwrap();
            let header = BatchHeader::parse(&read_slice(first.slice).await.unwrap()).unwrap();
            assert_eq!((header.base_offset, header.last_offset(), header.max_timestamp), (0, 2, NOW));
            assert_eq!(header.attributes.codec(), Some(codec));
            // Where compaction has been survives a restart.
            let partition = rig.restart().await;
            assert_eq!(partition.handle().unwrap().tail.lock().cleaned, 5);
        }
    }

    #[tokio::test]
    async fn tombstones_stay_for_their_time() {
        let (rig, partition) = Rig::new(LogConfig { delete_retention_ms: 1_000, ..compacted() }).await;
        let append = |records: &[NewRecord]| {
            partition.append(batch_of(records, Codec::None, |_| {}), Acks::All).unwrap();
            roll(&partition);
        };
        append(&[record("a", "1", NOW), record("b", "1", NOW)]);
        append(&[tombstone("a")]);
        pass(&partition).await;
        let with_tombstone = [(1, "b".to_owned(), Some("1".to_owned())), (2, "a".to_owned(), None)];
        assert_eq!(shown(&all(&partition).await), with_tombstone);
        assert_eq!(all(&partition).await[1].timestamp, NOW, "the horizon does not change timestamps");
        append(&[record("c", "1", NOW)]);
        pass(&partition).await;
        assert_eq!(shown(&all(&partition).await)[..2], with_tombstone);
        rig.clock.advance(1_000);
        append(&[record("d", "1", NOW)]);
        pass(&partition).await;
        assert_eq!(all(&partition).await.iter().map(|record| record.offset).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[tokio::test]
    async fn the_last_sequence_of_a_producer_stays() {
        let (_, partition) = Rig::new(compacted()).await;
        partition.append(produced(7, 0, 0, 2), Acks::All).unwrap();
        partition.append(produced(7, 0, 2, 2), Acks::All).unwrap();
        partition.append(batch_of(&[record("key", "last", NOW)], Codec::None, |_| {}), Acks::All).unwrap();
        roll(&partition);
        pass(&partition).await;
        let fetched = partition.fetch(0, usize::MAX, true, Isolation::ReadUncommitted).await.unwrap();
        let bytes = read_slice(fetched.slice).await.unwrap();
        let headers: Vec<_> = Batches::new(&bytes).map(|batch| batch.unwrap().0).collect();
        assert_eq!(headers.len(), 2);
        assert_eq!((headers[0].count, headers[0].base_offset, headers[0].last_sequence()), (0, 2, 3));
        assert_eq!(all(&partition).await.len(), 1);
        pass(&partition).await;
    }

    #[tokio::test]
    async fn nothing_undurable_or_young_is_touched() {
        let (rig, partition) = Rig::new(LogConfig { min_compaction_lag_ms: 1_000, ..compacted() }).await;
        for _ in 0..2 {
            partition.append(batch_of(&[record("a", "1", NOW)], Codec::None, |_| {}), Acks::All).unwrap();
            roll(&partition);
        }
        pass(&partition).await;
        assert_eq!(all(&partition).await.len(), 2);
        rig.clock.advance(2_000);
        rig.store.hold();
        partition.append(batch_of(&[record("a", "2", NOW)], Codec::None, |_| {}), Acks::Leader).unwrap();
        roll(&partition);
        let work = Work::find(partition.handle().unwrap().bytes.chunks(), 0, 2, &rig.config, NOW + 2_000).unwrap();
        assert_eq!(work.end, 2);
        rig.store.release();
        pass(&partition).await;
        assert_eq!(shown(&all(&partition).await), [(2, "a".to_owned(), Some("2".to_owned()))]);
    }

    #[tokio::test]
    async fn the_dirty_ratio_and_the_maximum_lag_decide_when() {
        let config = LogConfig { min_cleanable_dirty_ratio: 0.9, max_compaction_lag_ms: 5_000, ..compacted() };
        let (rig, partition) = Rig::new(config).await;
        let append = |value: &str| {
            partition.append(batch_of(&[record("a", value, NOW)], Codec::None, |_| {}), Acks::All).unwrap();
            roll(&partition);
        };
        append("1");
        append("2");
        pass(&partition).await;
        assert_eq!(all(&partition).await.len(), 1);
        append("3");
        pass(&partition).await;
        assert_eq!(all(&partition).await.len(), 2, "half is clean");
        rig.clock.advance(6_000);
        pass(&partition).await;
        assert_eq!(all(&partition).await.len(), 1);
    }

    #[tokio::test]
    async fn a_log_is_compacted_when_more_than_the_ratio_is_dirty() {
        for (ratio, left) in [(0.5, 2), (0.49, 1)] {
            let config = LogConfig { min_cleanable_dirty_ratio: ratio, ..compacted() };
            let (_rig, partition) = Rig::new(config).await;
            let append = |value: &str| {
                partition.append(batch_of(&[record("a", value, NOW)], Codec::None, |_| {}), Acks::All).unwrap();
                roll(&partition);
            };
            append("1");
            append("2");
            pass(&partition).await;
            assert_eq!(all(&partition).await.len(), 1, "all of it was dirty");
            append("3");
            pass(&partition).await;
            assert_eq!(all(&partition).await.len(), left, "half of it is dirty, {ratio} may be");
        }
    }

    #[tokio::test]
    async fn the_maximum_lag_counts_from_any_dirty_chunk_with_a_time() {
        let config = LogConfig { min_cleanable_dirty_ratio: 1.0, max_compaction_lag_ms: 5_000, ..compacted() };
        let (rig, partition) = Rig::new(config).await;
        let append = |value: &str, timestamp| {
            partition.append(batch_of(&[record("a", value, timestamp)], Codec::None, |_| {}), Acks::All).unwrap();
            roll(&partition);
        };
        append("1", NO_TIMESTAMP);
        append("2", NOW + 60_000);
        pass(&partition).await;
        assert_eq!(all(&partition).await.len(), 2, "none is old");
        append("3", NOW);
        rig.clock.advance(5_000);
        pass(&partition).await;
        assert_eq!(all(&partition).await.len(), 3);
        rig.clock.advance(1);
        pass(&partition).await;
        assert_eq!(all(&partition).await.len(), 1);
    }

    #[tokio::test]
    async fn the_open_chunk_is_compacted_within_the_maximum_lag() {
        let config = LogConfig {
            min_cleanable_dirty_ratio: 1.0,
            max_compaction_lag_ms: 5_000,
            segment_bytes: 1 << 20,
            ..compacted()
        };
        let (rig, partition) = Rig::new(config).await;
        for timestamp in [NOW, NOW + 4_000] {
            partition.append(batch_of(&[record("a", "1", timestamp)], Codec::None, |_| {}), Acks::All).unwrap();
        }
        rig.clock.advance(5_000);
        pass(&partition).await;
        assert_eq!(all(&partition).await.len(), 2);
        rig.clock.advance(1);
        pass(&partition).await;
        assert_eq!(all(&partition).await.len(), 1, "the first record is over its time, if not the last");
    }

    #[test]
    fn what_time_deletes_is_not_put_together_with_what_is_younger() {
        let chunk = |start, max_timestamp| Chunk { offsets: start..start + 1, bytes: 10, max_timestamp, closed: true };
        let chunks = [chunk(0, NOW), chunk(1, NOW + 500), chunk(2, NOW + 1_001), chunk(3, NOW + 5_000)];
        let sizes =
            |config: &LogConfig| groups(&chunks, config, 40).iter().map(|group| group.len()).collect::<Vec<_>>();
        let both = LogConfig { cleanup: Cleanup { delete: true, compact: true }, segment_ms: 1_000, ..compacted() };
        assert_eq!(sizes(&both), [2, 1, 1]);
        assert_eq!(sizes(&LogConfig { retention_ms: -1, ..both }), [4]);
        assert_eq!(sizes(&LogConfig { segment_bytes: 30, ..compacted() }), [3, 1]);
        let of_a_small_store = groups(&chunks, &compacted(), 25);
        assert_eq!(of_a_small_store.iter().map(|group| group.len()).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn the_minimum_lag_is_that_of_dirty_chunks() {
        let chunk = |offsets, max_timestamp, closed| Chunk { offsets, bytes: 10, max_timestamp, closed };
        let chunks = || vec![chunk(0..2, NOW, true), chunk(2..3, NOW - 500, true), chunk(3..4, NOW, false)];
        let config = LogConfig { min_compaction_lag_ms: 500, ..compacted() };
        let work = Work::find(chunks(), 2, 4, &config, NOW).unwrap();
        assert_eq!((work.end, work.clean_bytes, work.dirty_bytes), (3, 10, 10));
        assert_eq!(Work::find(chunks(), 0, 4, &config, NOW), None);
    }

    /// What a reader finds who wants to get to the log end.
    async fn last_read(partition: &Partition) -> Offset {
        let fetched = partition.fetch(0, usize::MAX, true, Isolation::ReadUncommitted).await.unwrap();
        let bytes = read_slice(fetched.slice).await.unwrap();
        Batches::new(&bytes).last().unwrap().unwrap().0.last_offset()
    }

    #[tokio::test]
    async fn a_reader_gets_to_the_end_of_a_log_whose_last_records_went() {
        let (_rig, partition) = Rig::new(LogConfig { delete_retention_ms: 0, ..compacted() }).await;
        let append = |records: &[NewRecord]| {
            partition.append(batch_of(records, Codec::None, |_| {}), Acks::All).unwrap();
            roll(&partition);
        };
        append(&[record("a", "1", NOW), record("b", "1", NOW)]);
        append(&[tombstone("a")]);
        pass(&partition).await;
        partition.handle().unwrap().tail.lock().cleaned = 0;
        pass(&partition).await;
        assert_eq!(shown(&all(&partition).await), [(1, "b".to_owned(), Some("1".to_owned()))]);
        assert_eq!((last_read(&partition).await, partition.bounds().log_end), (2, 3));
        append(&[record("c", "1", NOW)]);
        pass(&partition).await;
        let fetched = partition.fetch(2, usize::MAX, true, Isolation::ReadUncommitted).await.unwrap();
        let bytes = read_slice(fetched.slice).await.unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!((header.base_offset, header.count), (3, 1), "once there is more, the empty batch goes");
    }

    #[tokio::test]
    async fn random_histories_keep_what_a_map_would() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        for seed in 0..30 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut rig, mut partition) = Rig::new(LogConfig { delete_retention_ms: 0, ..compacted() }).await;
            let mut newest = std::collections::BTreeMap::new();
            let mut offset = 0;
            for step in 0..60 {
                let records: Vec<_> = (0..rng.random_range(1..5))
                    .map(|_| {
                        let key = format!("k{}", rng.random_range(0..12));
                        if rng.random_bool(0.2) { tombstone(&key) } else { record(&key, &format!("{step}"), NOW) }
                    })
                    .collect();
                for record in &records {
                    newest.insert(record.key.clone().unwrap(), (offset, record.value.clone()));
                    offset += 1;
                }
                let codec = Codec::from_id(rng.random_range(0..5)).unwrap();
                partition.append(batch_of(&records, codec, |_| {}), Acks::All).unwrap();
                rig.clock.advance(1);
                if rng.random_bool(0.2) {
                    pass(&partition).await;
                }
                if rng.random_bool(0.1) {
                    partition = rig.restart().await;
                }
            }
            let mut left = std::collections::BTreeMap::new();
            for record in all(&partition).await {
                left.insert(record.key.clone().unwrap(), (record.offset, record.value.clone()));
            }
            newest.retain(|_, (_, value)| value.is_some());
            left.retain(|_, (_, value)| value.is_some());
            assert_eq!(left, newest, "seed {seed}");
        }
    }
}
