//! Reading a partition: from memory at the end of the log, from the database before that.

use std::sync::Arc;

use bytes::Bytes;

use super::handle::Handle;
use super::keys::{self, Key, Segment};
use super::rows::StateRow;
use super::settings::scan;
use super::{corrupt, refuse, unknown};
use crate::store::{Offset, Piece, Read, Slice, StoreError};

/// A part of the log that one scan covers.
struct Span {
    segment: Segment,
    from: Offset,
    until: Offset,
}

/// How a slice ended.
enum Ended {
    /// There may be more behind what was read.
    Full,
    /// Everything up to the wanted end was looked at.
    Complete,
}

impl Handle {
    pub(super) async fn read_within(&self, read: Read) -> Result<Slice, StoreError> {
        let timeout = self.shared.settings.read_timeout;
        match tokio::time::timeout(timeout, self.read_slice(read)).await {
            Ok(slice) => slice,
            Err(_) => Err(refuse(format_args!("reading took more than {} s", timeout.as_secs()))),
        }
    }

    async fn read_slice(&self, read: Read) -> Result<Slice, StoreError> {
        let mut slice = Slice { pieces: Vec::new(), next_offset: read.from };
        let (spans, tail_start) = {
            let log = self.slot.log.lock();
            log.check(self.generation)?;
            let from = read.from.max(log.log_start);
            let tail_start = log.tail.start();
            if from >= tail_start {
                log.tail.read(from, &read, &mut slice);
                return Ok(slice);
            }
            (spans(&log.parts, from, read.until.min(tail_start)), tail_start)
        };
        for span in spans {
            if let Ended::Full = self.scan_span(&span, &read, &mut slice).await? {
                return Ok(slice);
            }
        }
        let log = self.slot.log.lock();
        // What was forgotten meanwhile is found by the next read.
        if log.tail.start() == tail_start {
            log.tail.read(tail_start, &read, &mut slice);
        }
        Ok(slice)
    }

    async fn scan_span(&self, span: &Span, read: &Read, slice: &mut Slice) -> Result<Ended, StoreError> {
        let mut len = slice.len();
        let left = read.max_bytes.saturating_sub(len);
        let range = keys::batches(span.segment, self.slot.number, span.from..span.until);
        let mut rows = self.shared.db.scan_with_options(range, &scan(left)).await.map_err(read_failed)?;
        while let Some(row) = rows.next().await.map_err(read_failed)? {
            let Some(Key::Batch(_, _, last_offset)) = Key::parse(&row.key) else { continue };
            let fits = len + row.value.len() <= read.max_bytes || (len == 0 && read.at_least_one);
            if last_offset >= read.until || !fits {
                return Ok(Ended::Full);
            }
            len += row.value.len();
            slice.pieces.push(Piece::Memory(row.value));
            slice.next_offset = last_offset + 1;
        }
        Ok(Ended::Complete)
    }

    /// The whole stored state, by the callers' keys.
    pub(super) async fn state(&self) -> Result<Vec<(Bytes, StateRow)>, StoreError> {
        let range = keys::states(self.slot.number);
        let mut rows = self.shared.db.scan_with_options(range, &scan(0)).await.map_err(read_failed)?;
        let mut state = Vec::new();
        while let Some(row) = rows.next().await.map_err(read_failed)? {
            let entry = StateRow::decode(&row.value).ok_or_else(|| corrupt("an entry of the state is damaged"))?;
            state.push((row.key.slice(keys::STATE_PREFIX_LEN..), entry));
        }
        Ok(state)
    }
}

/// One span for neighbours in the same segment.
fn spans(parts: &[super::slot::Part], from: Offset, until: Offset) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let first = parts.partition_point(|part| part.row.end <= from);
    for part in &parts[first..] {
        let (from, until) = (part.start.max(from), part.row.end.min(until));
        if from >= until || part.row.bytes == 0 {
            continue;
        }
        match spans.last_mut() {
            Some(last) if last.segment == part.row.segment => last.until = until,
            _ => spans.push(Span { segment: part.row.segment, from, until }),
        }
    }
    spans
}

/// A failed read changes nothing; whether the shard is still ours shows elsewhere.
pub(super) fn read_failed(error: slatedb::Error) -> StoreError {
    match error.kind() {
        slatedb::ErrorKind::Closed(_) => unknown(format_args!("the shard is closed: {error}")),
        _ => StoreError::Rejected(Arc::from(format!("reading from the bucket failed: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Class;
    use super::super::rows::ChunkRow;
    use super::super::slot::Part;
    use super::*;

    #[test]
    fn neighbours_in_a_segment_are_read_in_one_scan() {
        let part = |start, end, bucket, bytes| {
            let segment = Segment { class: Class::COMPACTED, bucket };
            Part { start, row: ChunkRow { segment, end, bytes, max_timestamp: 0, first_append_ms: 0 } }
        };
        let parts = [part(0, 5, 1, 9), part(5, 9, 1, 9), part(9, 12, 2, 0), part(12, 20, 3, 9), part(20, 20, 3, 0)];
        let found = |from, until| -> Vec<(u32, Offset, Offset)> {
            spans(&parts, from, until).iter().map(|span| (span.segment.bucket, span.from, span.until)).collect()
        };
        assert_eq!(found(0, 20), [(1, 0, 9), (3, 12, 20)]);
        assert_eq!(found(6, 13), [(1, 6, 9), (3, 12, 13)]);
        assert_eq!(found(9, 12), []);
        assert_eq!(found(20, 30), []);
        assert_eq!(found(5, 5), []);
    }
}
