//! A partition of an open shard, in memory: its chunks, its newest batches and who may append. It outlives the handles
//! that are given out for it; opening again only makes the earlier one invalid, since one writer takes everything in
//! order.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::keys::{self, Class, Number, Segment};
use super::rows::{ChunkRow, PartitionRow, StateRow};
use super::tail::Tail;
use super::writer::Op;
use super::{refuse, unknown};
use crate::store::{Append, Chunk, Durable, Offset, PartitionId, PartitionOptions, StateEntry, StoreError};

/// Chunks are closed at this size whatever a topic's settings say (bytes): one is held in memory and written in one go
/// when it is replaced, and a look-up by time reads on from the start of one.
pub(super) const MAX_CHUNK_BYTES: u64 = 32 << 20;
/// Largest batch that is stored (bytes).
const MAX_BATCH_BYTES: usize = 256 << 20;

pub(super) struct Slot {
    pub(super) number: Number,
    pub(super) id: PartitionId,
    pub(super) log: Mutex<Log>,
    /// Durable log start: what is below may be dropped.
    dead_below: AtomicI64,
    /// Why it stays offline.
    damage: Option<Arc<str>>,
}

/// A contiguous part of the log in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) start: Offset,
    pub(super) row: ChunkRow,
}

impl Part {
    /// An empty one that begins here.
    fn empty(start: Offset, segment: Segment) -> Self {
        let row = ChunkRow { segment, end: start, bytes: 0, max_timestamp: -1, first_append_ms: -1 };
        Self { start, row }
    }

    pub(super) fn put(&self, number: Number) -> Op {
        Op::Put(keys::chunk(number, self.start), self.row.encode())
    }
}

/// What appends read and change.
pub(super) struct Log {
    /// Of the handle that is valid.
    generation: u64,
    /// Why nobody may use the partition now.
    dead: Option<Arc<str>>,
    options: PartitionOptions,
    pub(super) log_start: Offset,
    /// Oldest first; never empty, and the last one is open.
    pub(super) parts: Vec<Part>,
    pub(super) tail: Tail,
    pub(super) durable: watch::Sender<Durable>,
    /// While state is being stored: which entries appends have changed since that began.
    changed: Option<HashSet<Bytes>>,
    /// The last entries that an append brought; the same ones again need no writing.
    last_delta: Vec<StateEntry>,
}

/// Everything that an append writes, and what it costs.
pub(super) struct Appended {
    pub(super) ops: Vec<Op>,
    pub(super) end: Offset,
    pub(super) bytes: usize,
}

impl Slot {
    pub(super) fn loaded(number: Number, row: PartitionRow, parts: Vec<Part>, damage: Option<Arc<str>>) -> Self {
        let end = parts.last().map_or(0, |part| part.row.end);
        let log = Log {
            generation: 0,
            dead: Some(Arc::from("the partition is not open")),
            options: PartitionOptions {
                segment_bytes: MAX_CHUNK_BYTES,
                segment_ms: i64::MAX,
                retention_ms: -1,
                compacted: false,
                internal: false,
            },
            log_start: row.log_start,
            parts,
            tail: Tail::new(end),
            durable: watch::Sender::new(Durable { end, failed: None }),
            changed: None,
            last_delta: Vec::new(),
        };
        Self { number, id: row.id, log: Mutex::new(log), dead_below: AtomicI64::new(row.log_start), damage }
    }

    /// A new one that holds nothing, with the rows that make it.
    pub(super) fn created(number: Number, id: PartitionId, options: &PartitionOptions, now_ms: i64) -> (Self, [Op; 2]) {
        let class = Class::of(options);
        let part = Part::empty(0, Segment { class, bucket: class.bucket(now_ms) });
        let row = PartitionRow { id, aside: false, log_start: 0 };
        let ops = [Op::Put(keys::partition(number), row.encode()), part.put(number)];
        (Self::loaded(number, row, vec![part], None), ops)
    }

    pub(super) fn check_whole(&self) -> Result<(), StoreError> {
        match &self.damage {
            Some(damage) => Err(StoreError::Corrupt(damage.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn row(&self, aside: bool, log_start: Offset) -> Op {
        Op::Put(keys::partition(self.number), PartitionRow { id: self.id, aside, log_start }.encode())
    }

    /// Nothing goes through the present handle any more.
    pub(super) fn kill(&self, reason: &Arc<str>) {
        self.log.lock().kill(reason);
    }

    /// Everything below is durable.
    pub(super) fn durable_to(&self, end: Offset) {
        self.log.lock().durable.send_if_modified(|durable| {
            let moves = durable.failed.is_none() && durable.end < end;
            if moves {
                durable.end = end;
            }
            moves
        });
    }

    pub(super) fn dead_below(&self) -> Offset {
        self.dead_below.load(Ordering::Acquire)
    }

    pub(super) fn trimmed(&self, log_start: Offset) {
        self.dead_below.fetch_max(log_start, Ordering::AcqRel);
    }
}

impl Log {
    /// Makes the earlier handle invalid; the new one may be used after [`Log::ready`].
    pub(super) fn take_over(&mut self, options: PartitionOptions) -> u64 {
        self.kill(&Arc::from("the partition was opened again"));
        self.generation += 1;
        self.options = options;
        self.changed = None;
        self.generation
    }

    /// Makes the earlier handle invalid for good.
    pub(super) fn take_away(&mut self, reason: &str) -> u64 {
        self.kill(&Arc::from(reason));
        self.generation += 1;
        self.generation
    }

    /// Everything that the earlier handles appended is durable now.
    pub(super) fn ready(&mut self, generation: u64) -> Result<(), StoreError> {
        if generation != self.generation {
            return Err(unknown("the partition was opened again meanwhile"));
        }
        self.durable = watch::Sender::new(Durable { end: self.end(), failed: None });
        self.dead = None;
        Ok(())
    }

    pub(super) fn kill(&mut self, reason: &Arc<str>) {
        self.dead = Some(reason.clone());
        self.durable.send_if_modified(|durable| {
            let first = durable.failed.is_none();
            durable.failed.get_or_insert_with(|| reason.clone());
            first
        });
    }

    /// Ends appends through whatever handle there is.
    pub(super) fn stop(&mut self) {
        self.dead.get_or_insert_with(|| Arc::from("the shard is being given up"));
    }

    /// Nothing is appended any more, but what was becomes durable and is told.
    pub(super) fn closing(&mut self, generation: u64) -> Result<(), StoreError> {
        self.check(generation)?;
        self.dead = Some(Arc::from("the partition is being closed"));
        Ok(())
    }

    pub(super) fn check(&self, generation: u64) -> Result<(), StoreError> {
        match &self.dead {
            _ if generation != self.generation => Err(unknown("the partition was opened again")),
            Some(reason) => Err(StoreError::Unknown(reason.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn set_options(&mut self, generation: u64, options: PartitionOptions) {
        if generation == self.generation {
            self.options = options;
        }
    }

    pub(super) fn is_current(&self, generation: u64) -> bool {
        generation == self.generation
    }

    pub(super) fn is_internal(&self) -> bool {
        self.options.internal
    }

    pub(super) fn end(&self) -> Offset {
        self.parts.last().map_or(0, |part| part.row.end)
    }

    pub(super) fn check_batch(&self, batch: &Append<'_>, size: usize) -> Result<(), StoreError> {
        let end = self.end();
        if batch.base_offset != end || batch.last_offset < end || batch.last_offset == i64::MAX {
            return Err(refuse(format_args!(
                "a batch at {}..={} cannot follow the log end {end}",
                batch.base_offset, batch.last_offset
            )));
        }
        match size <= MAX_BATCH_BYTES {
            true => Ok(()),
            false => Err(refuse(format_args!("a batch of {size} bytes is too large to be stored"))),
        }
    }

    /// Takes a batch that was checked; what it returns is to be written before anything else of this partition.
    pub(super) fn append(&mut self, number: Number, batch: &Append<'_>, bytes: Bytes, now_ms: i64) -> Appended {
        let segment = self.segment_now(now_ms);
        if self.must_roll(bytes.len() as u64, segment, now_ms) {
            self.parts.push(Part::empty(batch.base_offset, segment));
        }
        let part = self.open_part(segment);
        part.row.segment = if part.row.bytes == 0 { segment } else { part.row.segment };
        part.row.end = batch.last_offset + 1;
        part.row.bytes += bytes.len() as u64;
        part.row.max_timestamp = part.row.max_timestamp.max(batch.max_timestamp);
        if part.row.first_append_ms < 0 {
            part.row.first_append_ms = now_ms;
        }
        let part = *part;
        let key = keys::batch(part.row.segment, number, batch.last_offset);
        let mut ops = vec![Op::Put(key, bytes.clone()), part.put(number)];
        self.state_ops(number, (batch.delta)(), part.row.end, &mut ops);
        let appended = Appended { ops, end: part.row.end, bytes: bytes.len() };
        self.tail.push(batch.last_offset, bytes);
        appended
    }

    fn open_part(&mut self, segment: Segment) -> &mut Part {
        if self.parts.is_empty() {
            self.parts.push(Part::empty(0, segment));
        }
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }

    /// Never an earlier bucket than the partition was in: its offsets would no longer rise with the keys' order in time.
    fn segment_now(&self, now_ms: i64) -> Segment {
        let class = Class::of(&self.options);
        let latest = self.parts.iter().rev().map(|part| part.row.segment).find(|segment| segment.class == class);
        let bucket = class.bucket(now_ms).max(latest.map_or(0, |segment| segment.bucket));
        Segment { class, bucket }
    }

    fn must_roll(&self, size: u64, segment: Segment, now_ms: i64) -> bool {
        let Some(open) = self.parts.last().filter(|part| part.row.bytes > 0) else { return false };
        let limit = self.options.segment_bytes.min(MAX_CHUNK_BYTES);
        let old = now_ms.saturating_sub(open.row.first_append_ms) >= self.options.segment_ms;
        open.row.bytes + size > limit || open.row.segment != segment || old
    }

    fn state_ops(&mut self, number: Number, delta: Vec<StateEntry>, end: Offset, ops: &mut Vec<Op>) {
        for entry in &delta {
            if self.last_delta.contains(entry) {
                continue;
            }
            // One that is removed leaves a row too, until the next checkpoint: state from before must not bring it back.
            let row = StateRow { end, value: entry.value.clone() };
            ops.push(Op::Put(keys::state(number, &entry.key), row.encode()));
            if let Some(changed) = &mut self.changed {
                changed.insert(entry.key.clone());
            }
        }
        self.last_delta = delta;
    }

    /// Closes the open part when it holds something, and returns what makes that durable.
    pub(super) fn roll(&mut self, number: Number) -> Option<Op> {
        let open = self.parts.last().filter(|open| open.row.bytes > 0)?;
        let part = Part::empty(open.row.end, open.row.segment);
        self.parts.push(part);
        Some(part.put(number))
    }

    /// From here on, entries that appends change are remembered.
    pub(super) fn begin_checkpoint(&mut self) {
        self.changed = Some(HashSet::new());
        // The next append writes its entries whatever they are, so that none that is dropped now is taken for stored.
        self.last_delta.clear();
    }

    pub(super) fn end_checkpoint(&mut self) -> HashSet<Bytes> {
        self.changed.take().unwrap_or_default()
    }

    pub(super) fn chunks(&self) -> Vec<Chunk> {
        let last = self.parts.len().saturating_sub(1);
        let chunk = |(index, part): (usize, &Part)| Chunk {
            offsets: part.start..part.row.end,
            bytes: part.row.bytes,
            max_timestamp: part.row.max_timestamp,
            closed: index < last,
        };
        self.parts.iter().enumerate().map(chunk).collect()
    }
}
