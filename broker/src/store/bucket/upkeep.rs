//! What changes a partition besides appending: trimming, replacing chunks, and storing the state.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::handle::Handle;
use super::keys::{self, Key, Number};
use super::reading::read_failed;
use super::refuse;
use super::rows::{ChunkRow, StateRow};
use super::settings::scan_once;
use super::slot::{MAX_CHUNK_BYTES, Part};
use super::writer::Op;
use crate::store::header::Header;
use crate::store::{Offset, StateEntry, StoreError};

/// Most that the batches of one replacement may have (bytes): they are held in memory and written together.
const MAX_REPLACED_BYTES: u64 = 4 * MAX_CHUNK_BYTES;

impl Handle {
    pub(super) async fn trim_to(&self, log_start: Offset) -> Result<(), StoreError> {
        {
            let log = self.slot.log.lock();
            log.check(self.generation)?;
            let end = log.end();
            if log_start > end {
                return Err(refuse(format_args!("the log start cannot move to {log_start}, beyond the end {end}")));
            }
            if log_start <= log.log_start {
                return Ok(());
            }
        }
        self.wait_durable(log_start).await?;
        let (freed, stored) = {
            let mut log = self.slot.log.lock();
            log.check(self.generation)?;
            log.log_start = log.log_start.max(log_start);
            log.tail.forget(log_start);
            let closed = log.parts.len().saturating_sub(1);
            let below = log.parts[..closed].iter().take_while(|part| part.row.end <= log_start);
            let freed: Vec<Offset> = below.map(|part| part.start).collect();
            let mut ops = vec![self.slot.row(false, log_start)];
            ops.extend(freed.iter().map(|start| Op::Delete(keys::chunk(self.slot.number, *start))));
            (freed, self.shared.write_durably(ops)?)
        };
        stored.await?;
        // Only now may anything be dropped: a crash must not bring the old log start back without its records.
        self.slot.trimmed(log_start);
        self.slot.log.lock().parts.retain(|part| freed.binary_search(&part.start).is_err());
        Ok(())
    }

    /// Batches stay under the keys of their last offsets, each in the segment it was in; so neighbours in one segment
    /// become one chunk, and others stay apart.
    pub(super) async fn replace_parts(
        &self,
        offsets: Range<Offset>,
        batches: Box<dyn Iterator<Item = Result<Bytes, StoreError>> + Send>,
    ) -> Result<(), StoreError> {
        let old = self.closed_parts(&offsets)?;
        self.wait_durable(offsets.end).await?;
        let gathering = tokio::task::spawn_blocking(move || gather(batches, &offsets));
        let batches = gathering.await.map_err(|error| refuse(format_args!("the batches did not come: {error}")))??;
        let mut batches = batches.into_iter().peekable();
        let (mut ops, mut new) = (Vec::new(), Vec::new());
        for group in old.chunk_by(|one, two| one.row.segment == two.row.segment) {
            let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
            let within: Vec<_> =
                std::iter::from_fn(|| batches.next_if(|(header, _)| header.last_offset < last.row.end)).collect();
            if within.first().is_some_and(|(header, _)| header.base_offset < first.start) {
                return Err(refuse("a batch reaches over chunks that are kept apart"));
            }
            self.replacing_ops(group, &within, &mut ops).await?;
            let part = Part {
                start: first.start,
                row: ChunkRow {
                    segment: first.row.segment,
                    end: last.row.end,
                    bytes: within.iter().map(|(_, bytes)| bytes.len() as u64).sum(),
                    max_timestamp: within.iter().map(|(header, _)| header.max_timestamp).max().unwrap_or(-1),
                    first_append_ms: first.row.first_append_ms,
                },
            };
            ops.extend(group[1..].iter().map(|part| Op::Delete(keys::chunk(self.slot.number, part.start))));
            ops.push(part.put(self.slot.number));
            new.push(part);
        }
        self.put_in_place(&old, new, ops).await
    }

    /// The closed parts that a range covers exactly.
    fn closed_parts(&self, offsets: &Range<Offset>) -> Result<Vec<Part>, StoreError> {
        let log = self.slot.log.lock();
        log.check(self.generation)?;
        let closed = &log.parts[..log.parts.len().saturating_sub(1)];
        let first = closed.iter().position(|part| part.start == offsets.start);
        let last = closed.iter().position(|part| part.row.end == offsets.end);
        match (first, last) {
            (Some(first), Some(last)) if first <= last => Ok(closed[first..=last].to_vec()),
            _ => Err(refuse("only whole closed chunks can be replaced")),
        }
    }

    /// What turns the stored batches of some parts into others. What is there already is not written again.
    async fn replacing_ops(
        &self,
        group: &[Part],
        batches: &[(Header, Bytes)],
        ops: &mut Vec<Op>,
    ) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
        let (segment, number) = (first.row.segment, self.slot.number);
        let mut wanted: HashMap<Offset, &Bytes> =
            batches.iter().map(|(header, bytes)| (header.last_offset, bytes)).collect();
        let range = keys::batches(segment, number, first.start..last.row.end);
        let mut rows = self.shared.db.scan_with_options(range, &scan_once()).await.map_err(read_failed)?;
        while let Some(row) = rows.next().await.map_err(read_failed)? {
            let Some(Key::Batch(_, _, last_offset)) = Key::parse(&row.key) else { continue };
            match wanted.remove(&last_offset) {
                Some(bytes) if *bytes == row.value => {}
                Some(bytes) => ops.push(Op::Put(row.key, bytes.clone())),
                None => ops.push(Op::Delete(row.key)),
            }
        }
        ops.extend(wanted.into_iter().map(|(last, bytes)| Op::Put(keys::batch(segment, number, last), bytes.clone())));
        Ok(())
    }

    async fn put_in_place(&self, old: &[Part], new: Vec<Part>, ops: Vec<Op>) -> Result<(), StoreError> {
        let Some((first, last)) = old.first().zip(old.last()) else { return Ok(()) };
        let stored = {
            let mut log = self.slot.log.lock();
            log.check(self.generation)?;
            let at = log.parts.iter().position(|part| part.start == first.start);
            let at = at.filter(|at| log.parts.get(*at..*at + old.len()) == Some(old));
            let at = at.ok_or_else(|| refuse("the chunks have changed meanwhile"))?;
            log.parts.splice(at..at + old.len(), new);
            log.tail.forget(last.row.end);
            self.shared.write_durably(ops)?
        };
        stored.await
    }

    /// Appends store every change of state with their batch; so only what they do not know of is written here: entries
    /// that are gone, and some that are the caller's own.
    pub(super) async fn store_state(&self, end: Offset, state: Vec<StateEntry>) -> Result<(), StoreError> {
        self.wait_durable(end).await?;
        {
            let mut log = self.slot.log.lock();
            log.check(self.generation)?;
            log.begin_checkpoint();
        }
        let stored = self.state_as_written().await;
        let writing = {
            let mut log = self.slot.log.lock();
            let changed = log.end_checkpoint();
            let stored = stored?;
            log.check(self.generation)?;
            let ops = state_changes(self.slot.number, end, state, &stored, |key| changed.contains(key));
            self.shared.write_durably(ops)?
        };
        writing.await
    }

    /// With everything that was appended before this call.
    async fn state_as_written(&self) -> Result<HashMap<Bytes, StateRow>, StoreError> {
        self.shared.write(Vec::new()).await?;
        let rows = self.state().await?;
        Ok(rows.into_iter().collect())
    }
}

/// What turns the stored state into the one of `end`, without touching what appends have changed since.
fn state_changes(
    number: Number,
    end: Offset,
    state: Vec<StateEntry>,
    stored: &HashMap<Bytes, StateRow>,
    changed: impl Fn(&Bytes) -> bool,
) -> Vec<Op> {
    let newer = |key: &Bytes| changed(key) || stored.get(key).is_some_and(|row| row.end > end);
    let wanted: HashMap<Bytes, Bytes> =
        state.into_iter().filter(|entry| !entry.value.is_empty()).map(|entry| (entry.key, entry.value)).collect();
    let gone = stored.keys().filter(|key| !wanted.contains_key(*key) && !newer(key));
    let mut ops: Vec<Op> = gone.map(|key| Op::Delete(keys::state(number, key))).collect();
    let differs = |(key, value): &(&Bytes, &Bytes)| stored.get(*key).is_none_or(|row| row.value != **value);
    let puts = wanted.iter().filter(|(key, _)| !newer(key)).filter(differs);
    ops.extend(
        puts.map(|(key, value)| Op::Put(keys::state(number, key), StateRow { end, value: value.clone() }.encode())),
    );
    ops
}

/// Reads the batches of a replacement into memory, and checks that they are what may stand in their place.
fn gather(
    batches: Box<dyn Iterator<Item = Result<Bytes, StoreError>> + Send>,
    offsets: &Range<Offset>,
) -> Result<Vec<(Header, Bytes)>, StoreError> {
    let mut gathered: Vec<(Header, Bytes)> = Vec::new();
    let (mut next, mut total) = (offsets.start, 0);
    for bytes in batches {
        let bytes = bytes?;
        let header = Header::parse(&bytes).filter(|header| header.size == bytes.len() as u64);
        let header = header.ok_or_else(|| refuse("what is to replace batches is no batch"))?;
        total += header.size;
        if header.base_offset < next || header.last_offset >= offsets.end || total > MAX_REPLACED_BYTES {
            return Err(refuse(format_args!(
                "a batch of {} bytes at {}..={} is not in order, or not within {offsets:?}",
                header.size, header.base_offset, header.last_offset
            )));
        }
        next = header.last_offset + 1;
        gathered.push((header, bytes));
    }
    Ok(gathered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &'static str, value: &'static str) -> StateEntry {
        StateEntry { key: Bytes::from_static(key.as_bytes()), value: Bytes::from_static(value.as_bytes()) }
    }

    /// Keys that are put and deleted.
    fn changes(state: Vec<StateEntry>, stored: &[(&'static str, Offset, &'static str)]) -> (Vec<String>, Vec<String>) {
        let row = |end, value: &'static str| StateRow { end, value: Bytes::from_static(value.as_bytes()) };
        let stored =
            stored.iter().map(|(key, end, value)| (Bytes::from_static(key.as_bytes()), row(*end, value))).collect();
        let (mut put, mut deleted) = (Vec::new(), Vec::new());
        for op in state_changes(7, 10, state, &stored, |key| key == "racing") {
            let name = |key: Bytes| String::from_utf8_lossy(&key[keys::STATE_PREFIX_LEN..]).into_owned();
            match op {
                Op::Put(key, _) => put.push(name(key)),
                Op::Delete(key) => deleted.push(name(key)),
            }
        }
        (put, deleted)
    }

    #[test]
    fn only_what_differs_and_is_not_newer_is_written() {
        let stored = [("same", 3, "1"), ("other", 3, "1"), ("gone", 3, "1"), ("newer", 11, "2"), ("late", 11, "1")];
        let state = vec![
            entry("same", "1"),
            entry("other", "2"),
            entry("new", "1"),
            entry("newer", "1"),
            entry("racing", "1"),
            entry("none", ""),
        ];
        let (mut put, deleted) = changes(state, &stored);
        put.sort();
        assert_eq!(put, ["new", "other"]);
        assert_eq!(deleted, ["gone"]);
    }
}
