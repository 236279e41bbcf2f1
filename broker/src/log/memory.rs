//! A store in memory for the log's tests: flushing can be held, handles can be made to fail, and a crash takes what was
//! not durable.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::header::Batches;
use crate::store::conformance;
use crate::store::{
    Append, Chunk, Durable, Flush, Loaded, Offset, PartitionId, PartitionOptions, PartitionStore, Piece, Read, Slice,
    Space, StateEntry, Store, StoreError,
};

#[derive(Clone)]
struct Batch {
    base: Offset,
    last: Offset,
    max_timestamp: i64,
    bytes: Bytes,
}

struct Piled {
    offsets: Range<Offset>,
    batches: Vec<Batch>,
}

struct Disk {
    chunks: Vec<Piled>,
    options: PartitionOptions,
    log_start: Offset,
    durable: Offset,
    state: Vec<StateEntry>,
    state_end: Offset,
    epoch: i32,
    handle: Option<watch::Sender<Durable>>,
    corrupt: bool,
}

#[derive(Default)]
pub(super) struct MemoryStore {
    disks: Mutex<BTreeMap<PartitionId, Arc<Mutex<Disk>>>>,
    shared: Arc<Shared>,
    pub(super) strays: Mutex<Vec<PartitionId>>,
}

#[derive(Default)]
struct Shared {
    held: Mutex<bool>,
    /// What the next append answers.
    refuse: Mutex<Option<StoreError>>,
    opens_failing: Mutex<u32>,
    deltas: Mutex<HashMap<Bytes, Bytes>>,
}

impl MemoryStore {
    /// Nothing becomes durable until released.
    pub(super) fn hold(&self) {
        *self.shared.held.lock() = true;
    }

    pub(super) fn release(&self) {
        *self.shared.held.lock() = false;
        self.disks.lock().values().for_each(|disk| disk.lock().flush());
    }

    pub(super) fn refuse_next_append(&self, error: StoreError) {
        *self.shared.refuse.lock() = Some(error);
    }

    pub(super) fn fail_opens(&self, count: u32) {
        *self.shared.opens_failing.lock() = count;
    }

    pub(super) fn fail_handle(&self, id: PartitionId) {
        self.disk(id).expect("the partition exists").lock().fail();
    }

    pub(super) fn corrupt(&self, id: PartitionId) {
        self.disk(id).expect("the partition exists").lock().corrupt = true;
    }

    /// Sum of all state deltas, as a store that does not replay would keep them.
    pub(super) fn deltas(&self) -> HashMap<Bytes, Bytes> {
        self.shared.deltas.lock().clone()
    }

    pub(super) fn state(&self, id: PartitionId) -> (Offset, Vec<StateEntry>) {
        let disk = self.disk(id).expect("the partition exists");
        let disk = disk.lock();
        (disk.state_end, disk.state.clone())
    }

    fn disk(&self, id: PartitionId) -> Option<Arc<Mutex<Disk>>> {
        self.disks.lock().get(&id).cloned()
    }
}

impl Disk {
    fn end(&self) -> Offset {
        self.chunks.last().map_or(0, |chunk| chunk.offsets.end)
    }

    fn flush(&mut self) {
        self.durable = self.end();
        let end = self.durable;
        if let Some(handle) = &self.handle {
            handle.send_modify(|durable| durable.end = end);
        }
    }

    fn fail(&mut self) {
        if let Some(handle) = self.handle.take() {
            handle.send_modify(|durable| durable.failed = Some(Arc::from("made to fail")));
        }
    }

    fn roll(&mut self) {
        let end = self.end();
        if self.chunks.last().is_some_and(|chunk| !chunk.batches.is_empty()) {
            self.chunks.push(Piled { offsets: end..end, batches: Vec::new() });
        }
    }

    fn crash(&mut self) {
        let durable = self.durable;
        for chunk in &mut self.chunks {
            chunk.batches.retain(|batch| batch.last < durable);
            chunk.offsets.end = chunk.offsets.end.min(durable);
        }
        self.chunks.retain(|chunk| chunk.offsets.start <= durable);
    }
}

impl Store for MemoryStore {
    fn create(&self, id: PartitionId, options: PartitionOptions) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut disks = self.disks.lock();
        if disks.contains_key(&id) {
            return ready(Err(StoreError::Rejected(Arc::from("exists")))).boxed();
        }
        let disk = Disk {
            chunks: vec![Piled { offsets: 0..0, batches: Vec::new() }],
            options,
            log_start: 0,
            durable: 0,
            state: Vec::new(),
            state_end: 0,
            epoch: 0,
            handle: None,
            corrupt: false,
        };
        disks.insert(id, Arc::new(Mutex::new(disk)));
        ready(Ok(())).boxed()
    }

    fn open(
        &self,
        id: PartitionId,
        options: PartitionOptions,
    ) -> BoxFuture<'_, Result<(Arc<dyn PartitionStore>, Loaded), StoreError>> {
        async move {
            let shared = self.disk(id).ok_or(StoreError::NotFound)?;
            let mut disk = shared.lock();
            disk.fail();
            if disk.corrupt {
                return Err(StoreError::Corrupt(Arc::from("made corrupt")));
            }
            let mut failing = self.shared.opens_failing.lock();
            if *failing > 0 {
                *failing -= 1;
                return Err(StoreError::Unknown(Arc::from("not now")));
            }
            disk.crash();
            disk.epoch += 1;
            disk.options = options;
            let (sender, durable) = watch::channel(Durable { end: disk.durable, failed: None });
            disk.handle = Some(sender);
            let loaded = Loaded {
                log_start: disk.log_start,
                end: disk.durable,
                leader_epoch: disk.epoch,
                state: disk.state.clone(),
                state_end: disk.state_end,
            };
            let handle = MemoryPartition {
                disk: Arc::clone(&shared),
                shared: Arc::clone(&self.shared),
                epoch: disk.epoch,
                durable,
            };
            Ok((Arc::new(handle) as Arc<dyn PartitionStore>, loaded))
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<PartitionId>, StoreError>> {
        ready(Ok(self.disks.lock().keys().copied().collect())).boxed()
    }

    fn delete(&self, id: PartitionId) -> BoxFuture<'_, Result<(), StoreError>> {
        let removed = self.disks.lock().remove(&id);
        ready(removed.map(|disk| disk.lock().fail()).ok_or(StoreError::NotFound)).boxed()
    }

    fn set_aside(&self, id: PartitionId) -> BoxFuture<'_, Result<String, StoreError>> {
        let Some(disk) = self.disks.lock().remove(&id) else { return ready(Err(StoreError::NotFound)).boxed() };
        disk.lock().fail();
        self.strays.lock().push(id);
        ready(Ok("aside".to_owned())).boxed()
    }

    fn space(&self) -> Space {
        Space { free: 1, total: 2 }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.disks.lock().values().for_each(|disk| disk.lock().fail());
        ready(Ok(())).boxed()
    }
}

struct MemoryPartition {
    disk: Arc<Mutex<Disk>>,
    shared: Arc<Shared>,
    epoch: i32,
    durable: watch::Receiver<Durable>,
}

impl MemoryPartition {
    fn alive<T>(&self, work: impl FnOnce(&mut Disk) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut disk = self.disk.lock();
        if disk.handle.is_none() || disk.epoch != self.epoch {
            return Err(StoreError::Unknown(Arc::from("the handle is dead")));
        }
        work(&mut disk)
    }

    fn now<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Disk) -> Result<T, StoreError>,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        ready(self.alive(work)).boxed()
    }
}

impl PartitionStore for MemoryPartition {
    fn append(&self, batch: Append<'_>, flush: Flush) -> Result<(), StoreError> {
        if let Some(error) = self.shared.refuse.lock().take() {
            return Err(error);
        }
        self.alive(|disk| {
            if batch.base_offset != disk.end() {
                return Err(StoreError::Rejected(Arc::from("not at the end")));
            }
            let bytes = Bytes::from(batch.parts.concat());
            let open = disk.chunks.last().expect("one chunk is always open");
            let size: usize = open.batches.iter().map(|batch| batch.bytes.len()).sum();
            if (size + bytes.len()) as u64 > disk.options.segment_bytes {
                disk.roll();
            }
            self.shared.deltas.lock().extend((batch.delta)().into_iter().map(|entry| (entry.key, entry.value)));
            let open = disk.chunks.last_mut().expect("one chunk is always open");
            open.offsets.end = batch.last_offset + 1;
            open.batches.push(Batch {
                base: batch.base_offset,
                last: batch.last_offset,
                max_timestamp: batch.max_timestamp,
                bytes,
            });
            // Whoever waits says so with a flush of their own.
            if flush == Flush::Soon && !*self.shared.held.lock() {
                disk.flush();
            }
            Ok(())
        })
    }

    fn flush(&self) {
        if !*self.shared.held.lock() {
            self.disk.lock().flush();
        }
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.clone()
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Slice, StoreError>> {
        self.now(|disk| {
            let from = read.from.max(disk.log_start);
            let mut slice = Slice { pieces: Vec::new(), next_offset: read.from };
            let batches = disk.chunks.iter().flat_map(|chunk| &chunk.batches);
            for batch in batches.filter(|batch| batch.last >= from && batch.last < read.until) {
                let excepted = slice.is_empty() && read.at_least_one;
                if slice.len() + batch.bytes.len() > read.max_bytes && !excepted {
                    break;
                }
                slice.pieces.push(Piece::Memory(batch.bytes.clone()));
                slice.next_offset = batch.last + 1;
            }
            Ok(slice)
        })
    }

    fn seek_time(&self, timestamp: i64) -> BoxFuture<'_, Result<Option<Offset>, StoreError>> {
        self.now(|disk| {
            let found = disk.chunks.iter().flat_map(|chunk| &chunk.batches);
            Ok(found.into_iter().find(|batch| batch.max_timestamp >= timestamp).map(|batch| batch.base))
        })
    }

    fn chunks(&self) -> Vec<Chunk> {
        let disk = self.disk.lock();
        let last = disk.chunks.len() - 1;
        let chunk = |(index, chunk): (usize, &Piled)| Chunk {
            offsets: chunk.offsets.clone(),
            bytes: chunk.batches.iter().map(|batch| batch.bytes.len() as u64).sum(),
            max_timestamp: chunk.batches.iter().map(|batch| batch.max_timestamp).max().unwrap_or(-1),
            closed: index < last,
        };
        disk.chunks.iter().enumerate().map(chunk).collect()
    }

    fn roll(&self) -> Result<(), StoreError> {
        self.alive(|disk| {
            disk.roll();
            Ok(())
        })
    }

    fn trim(&self, log_start: Offset) -> BoxFuture<'_, Result<(), StoreError>> {
        self.now(|disk| {
            if log_start > disk.end() {
                return Err(StoreError::Rejected(Arc::from("beyond the end")));
            }
            disk.log_start = disk.log_start.max(log_start);
            let open = disk.chunks.pop().expect("one chunk is always open");
            disk.chunks.retain(|chunk| chunk.offsets.end > log_start);
            disk.chunks.push(open);
            Ok(())
        })
    }

    fn replace(
        &self,
        offsets: Range<Offset>,
        batches: Box<dyn Iterator<Item = Result<Bytes, StoreError>> + Send>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let batches: Result<Vec<_>, StoreError> = batches
            .map(|bytes| {
                let bytes = bytes?;
                let (header, whole) = Batches::new(&bytes).next().expect("a batch").expect("a valid batch");
                assert_eq!(whole.len(), bytes.len(), "one batch at a time");
                let (base, last) = (header.base_offset, header.last_offset());
                Ok(Batch { base, last, max_timestamp: header.max_timestamp, bytes })
            })
            .collect();
        self.now(|disk| {
            let batches = batches?;
            let first = disk.chunks.iter().position(|chunk| chunk.offsets.start == offsets.start);
            let last = disk.chunks.iter().position(|chunk| chunk.offsets.end == offsets.end);
            let inside = |batch: &Batch| offsets.contains(&batch.base) && offsets.contains(&batch.last);
            let ordered = batches.is_sorted_by_key(|batch| batch.base) && batches.iter().all(inside);
            match (first, last) {
                (Some(first), Some(last)) if last + 1 < disk.chunks.len() && ordered => {
                    disk.chunks.splice(first..=last, [Piled { offsets, batches }]);
                    Ok(())
                }
                _ => Err(StoreError::Rejected(Arc::from("not what whole closed chunks cover"))),
            }
        })
    }

    fn checkpoint(&self, end: Offset, mut state: Vec<StateEntry>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.now(|disk| {
            assert!(end <= disk.durable, "state is never ahead of the log");
            state.retain(|entry| !entry.value.is_empty());
            disk.state = state;
            disk.state_end = end;
            Ok(())
        })
    }

    fn set_options(&self, options: PartitionOptions) {
        self.disk.lock().options = options;
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.now(|disk| {
            disk.flush();
            disk.fail();
            Ok(())
        })
    }
}

#[tokio::test]
async fn conforms() {
    struct InMemory(Arc<MemoryStore>);
    impl conformance::Place for InMemory {
        fn open(&self) -> BoxFuture<'_, Arc<dyn Store>> {
            ready(Arc::clone(&self.0) as Arc<dyn Store>).boxed()
        }
    }
    conformance::run(|| InMemory(Arc::default())).await;
}
