//! The sparse indexes of a segment: offset → position, and timestamp → offset, in Kafka's file form.
//!
//! In memory while the segment is appended to; from files (binary search in place, so that closed segments cost no
//! memory) afterwards. An index is only a hint where to start looking: positions are always at batch boundaries.

use std::io;
use std::sync::Arc;

use super::batch::Header;
use super::fs::{DataFile, read_whole};
use crate::store::Offset;

/// At most one entry per this many bytes, Kafka's `index.interval.bytes`.
const INTERVAL: u64 = 4096;
const OFFSET_ENTRY: usize = 8;
const TIME_ENTRY: usize = 12;
/// Largest index file believed: that of a 2 GiB segment with an entry every [`INTERVAL`] bytes, with room to spare.
const MAX_FILE: u64 = 64 << 20;

/// Where a batch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    /// Offset of the batch's first record, less the segment's base offset.
    pub(super) relative: u32,
    pub(super) position: u32,
}

/// Up to and with the batch at `relative`, no record is younger than `timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub(super) timestamp: i64,
    pub(super) relative: u32,
}

/// The indexes of a segment in memory.
#[derive(Clone, Debug)]
pub(super) struct Index {
    base: Offset,
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    /// Largest timestamp so far and the batch that has it; -1 when there is none.
    max: TimeEntry,
}

impl Index {
    pub(super) fn new(base: Offset) -> Self {
        Self { base, offsets: Vec::new(), times: Vec::new(), max: TimeEntry { timestamp: -1, relative: 0 } }
    }

    pub(super) fn base(&self) -> Offset {
        self.base
    }

    pub(super) fn max_timestamp(&self) -> i64 {
        self.max.timestamp
    }

    /// Notes the batch at `position`; batches come in order.
    pub(super) fn add(&mut self, header: &Header, position: u64) {
        let relative = (header.base_offset - self.base) as u32;
        if header.max_timestamp > self.max.timestamp {
            self.max = TimeEntry { timestamp: header.max_timestamp, relative };
        }
        let due = self.offsets.last().is_none_or(|last| position - u64::from(last.position) >= INTERVAL);
        if due {
            self.offsets.push(OffsetEntry { relative, position: position as u32 });
            self.note_time();
        }
    }

    fn note_time(&mut self) {
        if self.max.timestamp > self.times.last().map_or(-1, |last| last.timestamp) {
            self.times.push(self.max);
        }
    }

    /// The last entry for which `before` holds; it must hold for the entries before that too.
    pub(super) fn floor(&self, before: impl Fn(OffsetEntry) -> bool) -> Option<OffsetEntry> {
        self.offsets[..self.offsets.partition_point(|entry| before(*entry))].last().copied()
    }

    /// Offset from which to read on for the first batch at or after `timestamp`.
    pub(super) fn time_floor(&self, timestamp: i64) -> Offset {
        let before = self.times.partition_point(|entry| entry.timestamp < timestamp);
        self.base + self.times[..before].last().map_or(0, |entry| i64::from(entry.relative))
    }

    /// The bytes of `.index` and `.timeindex`.
    pub(super) fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let mut offsets = Vec::with_capacity(self.offsets.len() * OFFSET_ENTRY);
        for entry in &self.offsets {
            offsets.extend_from_slice(&entry.relative.to_be_bytes());
            offsets.extend_from_slice(&entry.position.to_be_bytes());
        }
        let mut times = Vec::with_capacity(self.times.len() * TIME_ENTRY);
        // The last entry tells the segment's largest timestamp.
        let newest = (self.max.timestamp > self.times.last().map_or(-1, |last| last.timestamp)).then_some(&self.max);
        for entry in self.times.iter().chain(newest) {
            times.extend_from_slice(&entry.timestamp.to_be_bytes());
            times.extend_from_slice(&entry.relative.to_be_bytes());
        }
        (offsets, times)
    }

    /// Back from the bytes of [`Index::encode`]; `None` when they are not in order or point outside `len` bytes.
    pub(super) fn decode(base: Offset, offsets: &[u8], times: &[u8], len: u64) -> Option<Self> {
        if !offsets.len().is_multiple_of(OFFSET_ENTRY) || !times.len().is_multiple_of(TIME_ENTRY) {
            return None;
        }
        let offsets: Vec<_> = offsets.chunks_exact(OFFSET_ENTRY).map(offset_entry).collect();
        let times: Vec<_> = times.chunks_exact(TIME_ENTRY).map(time_entry).collect();
        let ordered =
            offsets.windows(2).all(|two| two[0].relative < two[1].relative && two[0].position < two[1].position)
                && times.windows(2).all(|two| two[0].timestamp < two[1].timestamp && two[0].relative < two[1].relative);
        // A segment with bytes has an entry for its first batch.
        let complete = match offsets.first() {
            Some(first) => first.position == 0 && u64::from(offsets[offsets.len() - 1].position) < len,
            None => len == 0 && times.is_empty(),
        };
        let max = times.last().copied().unwrap_or(TimeEntry { timestamp: -1, relative: 0 });
        (ordered && complete).then_some(Self { base, offsets, times, max })
    }
}

fn offset_entry(bytes: &[u8]) -> OffsetEntry {
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes of an entry"));
    OffsetEntry { relative: word(0), position: word(4) }
}

fn time_entry(bytes: &[u8]) -> TimeEntry {
    TimeEntry {
        timestamp: i64::from_be_bytes(bytes[..8].try_into().expect("eight bytes of an entry")),
        relative: u32::from_be_bytes(bytes[8..12].try_into().expect("four bytes of an entry")),
    }
}

/// The index files of a closed segment, checked once when opened.
pub(super) struct IndexFiles {
    base: Offset,
    offsets: Arc<dyn DataFile>,
    offset_entries: usize,
    times: Arc<dyn DataFile>,
    time_entries: usize,
}

impl IndexFiles {
    /// `None` when the files do not make sense for a segment of `len` bytes; they are rebuilt then.
    pub(super) fn open(
        base: Offset,
        offsets: Arc<dyn DataFile>,
        times: Arc<dyn DataFile>,
        len: u64,
    ) -> io::Result<Option<Self>> {
        let (offset_bytes, time_bytes) = (read_whole(&*offsets, MAX_FILE)?, read_whole(&*times, MAX_FILE)?);
        Ok(Index::decode(base, &offset_bytes, &time_bytes, len).map(|index| Self {
            base,
            offsets,
            offset_entries: index.offsets.len(),
            times,
            time_entries: index.times.len(),
        }))
    }

    pub(super) fn floor(&self, before: impl Fn(OffsetEntry) -> bool, cached: bool) -> io::Result<Option<OffsetEntry>> {
        let read = |at: usize| -> io::Result<OffsetEntry> {
            let mut bytes = [0; OFFSET_ENTRY];
            read_entry(&*self.offsets, at * OFFSET_ENTRY, &mut bytes, cached)?;
            Ok(offset_entry(&bytes))
        };
        let count = partition_point(self.offset_entries, |at| Ok(before(read(at)?)))?;
        count.checked_sub(1).map(read).transpose()
    }

    pub(super) fn time_floor(&self, timestamp: i64) -> io::Result<Offset> {
        let read = |at: usize| -> io::Result<TimeEntry> {
            let mut bytes = [0; TIME_ENTRY];
            read_entry(&*self.times, at * TIME_ENTRY, &mut bytes, false)?;
            Ok(time_entry(&bytes))
        };
        let count = partition_point(self.time_entries, |at| Ok(read(at)?.timestamp < timestamp))?;
        let relative = count.checked_sub(1).map(read).transpose()?.map_or(0, |entry| entry.relative);
        Ok(self.base + i64::from(relative))
    }
}

/// The largest timestamp that a `.timeindex` tells; -1 when there is none.
pub(super) fn newest_timestamp(times: &dyn DataFile) -> io::Result<i64> {
    let len = times.size()?;
    if !len.is_multiple_of(TIME_ENTRY as u64) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let Some(last) = len.checked_sub(TIME_ENTRY as u64) else { return Ok(-1) };
    let mut bytes = [0; TIME_ENTRY];
    read_entry(times, last as usize, &mut bytes, false)?;
    Ok(time_entry(&bytes).timestamp)
}

fn read_entry(file: &dyn DataFile, position: usize, bytes: &mut [u8], cached: bool) -> io::Result<()> {
    match file.read_at(position as u64, bytes, cached)? {
        read if read == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Number of leading entries for which `before` holds.
fn partition_point(count: usize, before: impl Fn(usize) -> io::Result<bool>) -> io::Result<usize> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match before(middle)? {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Ok(low)
}
