//! Reading a partition: fetches, and look-ups by time that are exact to the record.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::header::{BatchHeader, Batches, HEADER_LEN};
use super::partition::{Handle, Partition};
use super::records::{self, RecordError};
use super::slices::{away, read_slice_blocking};
use super::{Bounds, Fetched, Isolation, LogError, TimestampOffset};
use crate::store::{Offset, Read, Slice, StoreError};

/// Bytes that a look-up by time reads in one go.
const LOOKUP_BYTES: usize = 256 * 1024;

impl Partition {
    /// Whole batches from `from` on that the isolation allows, never beyond the high watermark.
    pub async fn fetch(
        &self,
        from: Offset,
        max_bytes: usize,
        at_least_one: bool,
        isolation: Isolation,
    ) -> Result<Fetched, LogError> {
        let handle = self.handle()?;
        let bounds = in_range(&handle, from)?;
        let until = match isolation {
            Isolation::ReadUncommitted => bounds.high_watermark,
            Isolation::ReadCommitted => bounds.last_stable,
        };
        let slice = if from >= until {
            Slice { pieces: Vec::new(), next_offset: from }
        } else {
            self.read(&handle, Read { from, until, max_bytes, at_least_one }).await?
        };
        let aborted = match isolation {
            Isolation::ReadCommitted if !slice.is_empty() => {
                handle.transactions.lock().aborted_in(from, slice.next_offset.min(until))
            }
            _ => Vec::new(),
        };
        Ok(Fetched { slice, bounds, aborted })
    }

    /// Whole batches up to the log end, durable or not: for the broker's own loading at start.
    pub async fn read_all(&self, from: Offset, max_bytes: usize) -> Result<Slice, LogError> {
        let handle = self.handle()?;
        let bounds = in_range(&handle, from)?;
        self.read(&handle, Read { from, until: bounds.log_end, max_bytes, at_least_one: true }).await
    }

    pub(super) async fn read(&self, handle: &Arc<Handle>, read: Read) -> Result<Slice, LogError> {
        let found = handle.bytes.read(read).await;
        // What was to be read may have been deleted meanwhile: what follows it would hide that.
        let start = handle.trimming.load(Ordering::Acquire);
        if read.from < start {
            return Err(LogError::OffsetOutOfRange { wanted: read.from, start, end: handle.bounds().log_end });
        }
        found.map_err(|error| self.read_error(handle, error))
    }

    /// A failed read says nothing about appends, unless the handle itself is gone.
    fn read_error(&self, handle: &Arc<Handle>, error: StoreError) -> LogError {
        if handle.failed() {
            return self.handle().err().unwrap_or(LogError::NotLeader);
        }
        LogError::Store(error)
    }

    /// First record at or after `timestamp` (ms).
    pub async fn offset_for_time(&self, timestamp: i64) -> Result<Option<TimestampOffset>, LogError> {
        let handle = self.handle()?;
        let start = handle.bytes.seek_time(timestamp).await.map_err(|error| self.read_error(&handle, error))?;
        let Some(start) = start else { return Ok(None) };
        self.scan(&handle, start, move |header, batch, log_start| {
            if header.max_timestamp < timestamp {
                return Ok(None);
            }
            first_at(header, batch, timestamp, log_start)
        })
        .await
    }

    /// The record with the largest timestamp (ListOffsets -3).
    pub async fn offset_of_max_timestamp(&self) -> Result<Option<TimestampOffset>, LogError> {
        let handle = self.handle()?;
        let chunks = handle.bytes.chunks();
        let Some(newest) = chunks.iter().map(|chunk| chunk.max_timestamp).max() else { return Ok(None) };
        // The index may know of batches that are not durable yet, or that lie before the log start.
        if let Some(found) = self.offset_for_time(newest).await? {
            return Ok(Some(found));
        }
        let largest = self.largest_timestamp(&handle).await?;
        let Some(largest) = largest else { return Ok(None) };
        self.scan(&handle, handle.bounds().log_start, move |header, batch, log_start| {
            if header.max_timestamp < largest {
                return Ok(None);
            }
            first_at(header, batch, largest, log_start)
        })
        .await
    }

    async fn largest_timestamp(&self, handle: &Arc<Handle>) -> Result<Option<i64>, LogError> {
        let largest = Arc::new(parking_lot::Mutex::new(None));
        let seen = Arc::clone(&largest);
        self.scan(handle, handle.bounds().log_start, move |header, batch, log_start| {
            let mut seen = seen.lock();
            if seen.is_none_or(|seen| header.max_timestamp > seen) {
                each(header, batch, |offset, timestamp| {
                    if offset >= log_start && seen.is_none_or(|seen| timestamp > seen) {
                        *seen = Some(timestamp);
                    }
                    ControlFlow::Continue(())
                })?;
            }
            Ok(None)
        })
        .await?;
        let largest = *largest.lock();
        Ok(largest)
    }

    /// Shows durable batches, in order, until one yields an answer.
    async fn scan(
        &self,
        handle: &Arc<Handle>,
        start: Offset,
        look: impl Fn(&BatchHeader, &[u8], Offset) -> Result<Option<TimestampOffset>, RecordError> + Send + Sync + 'static,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let look = Arc::new(look);
        let bounds = handle.bounds();
        let mut from = start.max(bounds.log_start);
        while from < bounds.high_watermark {
            let read = Read { from, until: bounds.high_watermark, max_bytes: LOOKUP_BYTES, at_least_one: true };
            let slice = match self.read(handle, read).await {
                // What is deleted meanwhile is no answer.
                Err(LogError::OffsetOutOfRange { start, .. }) if start > from => {
                    from = start;
                    continue;
                }
                slice => slice?,
            };
            let next = slice.next_offset;
            let look = Arc::clone(&look);
            let found = away(move || {
                let bytes = read_slice_blocking(&slice)?;
                Ok(Batches::new(&bytes).find_map(|batch| match batch {
                    Ok((header, batch)) => look(&header, batch, bounds.log_start).transpose(),
                    Err(error) => Some(Err(RecordError::from(error))),
                }))
            });
            match found.await.map_err(|error| self.read_error(handle, error))? {
                Some(found) => return Ok(Some(found?)),
                None if next <= from => return Ok(None),
                None => from = next,
            }
        }
        Ok(None)
    }
}

fn in_range(handle: &Handle, from: Offset) -> Result<Bounds, LogError> {
    let bounds = handle.bounds();
    if (bounds.log_start..=bounds.log_end).contains(&from) {
        Ok(bounds)
    } else {
        Err(LogError::OffsetOutOfRange { wanted: from, start: bounds.log_start, end: bounds.log_end })
    }
}

/// The first record of a batch at or after a time and an offset.
fn first_at(
    header: &BatchHeader,
    batch: &[u8],
    wanted: i64,
    log_start: Offset,
) -> Result<Option<TimestampOffset>, RecordError> {
    let mut found = None;
    each(header, batch, |offset, timestamp| {
        if timestamp < wanted || offset < log_start {
            return ControlFlow::Continue(());
        }
        found = Some(TimestampOffset { timestamp, offset, leader_epoch: header.leader_epoch });
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// Shows offset and timestamp of each record of a batch.
fn each(
    header: &BatchHeader,
    batch: &[u8],
    mut look: impl FnMut(Offset, i64) -> ControlFlow<()>,
) -> Result<(), RecordError> {
    let codec = header.attributes.codec().ok_or(RecordError::UnknownCodec)?;
    if header.count == 0 {
        return Ok(());
    }
    records::walk(codec, batch.get(HEADER_LEN..).unwrap_or_default(), header.count, |record| {
        look(header.offset(record.offset_delta), header.timestamp(record.timestamp_delta))
    })
}
