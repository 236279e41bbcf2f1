//! Finding batches in an open partition, by offset and by time.

use std::io;

use super::index::OffsetEntry;
use super::partition::LocalPartition;
use super::segment::{Found, Span, damaged, locate};
use super::unknown;
use crate::store::{Offset, Read, Slice, StoreError};

pub(super) fn read_failed(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => StoreError::Corrupt(error.to_string().into()),
        _ => unknown(format_args!("reading failed: {error}")),
    }
}

impl LocalPartition {
    /// Finds batches; with `cached`, `WouldBlock` where the disk would have to be waited for.
    pub(super) fn try_read(&self, read: &Read, cached: bool) -> io::Result<Slice> {
        let mut from = read.from;
        loop {
            let view = self.view.read();
            from = from.max(view.log_start);
            if from >= view.end.min(read.until) {
                return Ok(Slice { pieces: Vec::new(), next_offset: read.from });
            }
            let limit = |entry: OffsetEntry, base: Offset, start: u64| {
                u64::from(entry.position) <= start.saturating_add(read.max_bytes as u64)
                    && base + i64::from(entry.relative) <= read.until
            };
            let (file, found, end) = if from >= view.active.base {
                let (active, end) = (&view.active, view.end);
                let (file, len) = (active.file.clone(), active.len);
                match active.read_recent(read, from) {
                    Some(found) => (file, found, end),
                    None => {
                        let at = |entry: Option<OffsetEntry>| entry.map_or(0, |e| u64::from(e.position));
                        let base = active.base;
                        let start = at(active.index.floor(|entry| base + i64::from(entry.relative) <= from));
                        let hint = at(active.index.floor(|entry| limit(entry, base, start)));
                        drop(view);
                        let found = locate(&Span { file: &*file, len, end, start, hint }, read, from, cached)?;
                        (file, found, end)
                    }
                }
            } else {
                let at = view.closed.partition_point(|segment| segment.end <= from);
                let Some(segment) = view.closed.get(at).cloned() else {
                    return Err(damaged(format_args!("no segment holds offset {from}")));
                };
                drop(view);
                let open = segment.open(&*self.shared.fs, &self.shared.open_segments, cached)?;
                let (base, len, end) = (segment.base, segment.len, segment.end);
                let start = open.floor(|entry| base + i64::from(entry.relative) <= from, cached)?;
                let hint = open.floor(|entry| limit(entry, base, start), cached)?;
                let span = Span { file: &*open.file, len, end, start, hint };
                (open.file.clone(), locate(&span, read, from, cached)?, end)
            };
            match found {
                Found::Batches { position, len, next_offset } => {
                    return Ok(Slice { pieces: vec![file.piece(position, len)?], next_offset });
                }
                Found::Nothing => return Ok(Slice { pieces: Vec::new(), next_offset: read.from }),
                Found::Past => from = end.max(from + 1),
            }
        }
    }

    pub(super) fn seek_blocking(&self, timestamp: i64) -> io::Result<Option<Offset>> {
        let (log_start, closed, active) = {
            let view = self.view.read();
            let index = &view.active.index;
            let active = (index.max_timestamp() >= timestamp).then(|| index.time_floor(timestamp));
            (view.log_start, view.closed.clone(), active)
        };
        let segment = closed.iter().find(|segment| segment.max_timestamp >= timestamp && segment.end > log_start);
        let offset = match segment {
            None => active,
            Some(segment) => {
                let open = segment.open(&*self.shared.fs, &self.shared.open_segments, false)?;
                Some(open.time_floor(timestamp)?)
            }
        };
        Ok(offset.map(|offset| offset.max(log_start)))
    }
}
