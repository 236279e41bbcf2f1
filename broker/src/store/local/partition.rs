//! One open partition: appending and reading. What changes files besides appending is in [`super::upkeep`].

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::batch::{Header, MAX_BATCH_BYTES};
use super::flush::{Captured, Urgency};
use super::fs::DataFile;
use super::index::Index;
use super::reading::read_failed;
use super::segment::{Found, LOG, MAX_SEGMENT_BYTES, Segment, file_path};
use super::state::Mark;
use super::{Durability, Shared, Slot, blocking, refuse, unknown};
use crate::store::{
    Append, Chunk, Durable, Flush, Offset, PartitionOptions, PartitionStore, Read, Slice, StateEntry, StoreError,
};

/// Batches at the end whose place is remembered, so that consumers at the tail cost no system call before the send.
const RECENT: usize = 64;

pub(super) struct LocalPartition {
    me: Weak<LocalPartition>,
    pub(super) shared: Arc<Shared>,
    pub(super) slot: Arc<Slot>,
    folder: PathBuf,
    pub(super) writer: Mutex<Writer>,
    pub(super) view: RwLock<View>,
    /// Everything below is synced, whatever the durability option says.
    pub(super) synced: watch::Sender<Mark>,
    durable: watch::Sender<Durable>,
    closed: AtomicBool,
    /// The [`Urgency`] with which it waits for the flusher.
    queued: AtomicU8,
}

/// Owned by whoever appends, rolls, or captures for a flush.
pub(super) struct Writer {
    pub(super) options: PartitionOptions,
    /// Why the handle no longer works.
    pub(super) dead: Option<Arc<str>>,
    /// [`PartitionStore::close`] is under way: what were appended now would be in no flush that it waits for.
    closing: bool,
    file: Arc<dyn DataFile>,
    base: Offset,
    pub(super) len: u64,
    pub(super) end: Offset,
    first_append_ms: Option<i64>,
    unsynced: Vec<Arc<dyn DataFile>>,
    /// The open segment is in `unsynced`.
    dirty: bool,
    folder_unsynced: bool,
    rolled: bool,
}

/// What readers see.
pub(super) struct View {
    pub(super) log_start: Offset,
    pub(super) end: Offset,
    /// Oldest first.
    pub(super) closed: Vec<Arc<Segment>>,
    pub(super) active: Active,
}

/// The segment that is appended to.
pub(super) struct Active {
    pub(super) base: Offset,
    pub(super) file: Arc<dyn DataFile>,
    pub(super) len: u64,
    pub(super) index: Index,
    recent: VecDeque<(Header, u64)>,
}

impl Active {
    pub(super) fn new(file: Arc<dyn DataFile>, len: u64, index: Index) -> Self {
        Self { base: index.base(), file, len, index, recent: VecDeque::new() }
    }

    fn add(&mut self, header: Header) {
        self.index.add(&header, self.len);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((header, self.len));
        self.len += header.size;
    }

    /// The answer when it lies in the remembered batches.
    pub(super) fn read_recent(&self, read: &Read, from: Offset) -> Option<Found> {
        let (oldest, _) = self.recent.front()?;
        if from < oldest.base_offset {
            return None;
        }
        let first = self.recent.partition_point(|(header, _)| header.last_offset < from);
        let (_, position) = *self.recent.get(first)?;
        let (mut len, mut next_offset) = (0, from);
        for (header, _) in self.recent.range(first..) {
            let fits = len + header.size <= read.max_bytes as u64 || (len == 0 && read.at_least_one);
            if header.last_offset >= read.until || !fits {
                break;
            }
            len += header.size;
            next_offset = header.last_offset + 1;
        }
        Some(match len {
            0 => Found::Nothing,
            len => Found::Batches { position, len: len as usize, next_offset },
        })
    }
}

/// What opening found, to make a handle of.
pub(super) struct Opened {
    pub(super) log_start: Offset,
    pub(super) end: Offset,
    pub(super) closed: Vec<Arc<Segment>>,
    pub(super) active: Active,
}

impl LocalPartition {
    pub(super) fn new(
        shared: Arc<Shared>,
        slot: Arc<Slot>,
        folder: PathBuf,
        options: PartitionOptions,
        opened: Opened,
        first_append_ms: Option<i64>,
    ) -> Arc<Self> {
        let Opened { log_start, end, closed, active } = opened;
        let writer = Writer {
            options,
            dead: None,
            closing: false,
            file: active.file.clone(),
            base: active.base,
            len: active.len,
            end,
            first_append_ms,
            unsynced: Vec::new(),
            dirty: false,
            folder_unsynced: false,
            rolled: false,
        };
        let synced = Mark { offset: end, base: active.base, position: active.len };
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            shared,
            slot,
            folder,
            writer: Mutex::new(writer),
            view: RwLock::new(View { log_start, end, closed, active }),
            synced: watch::Sender::new(synced),
            durable: watch::Sender::new(Durable { end, failed: None }),
            closed: AtomicBool::new(false),
            queued: AtomicU8::new(Urgency::None as u8),
        })
    }

    pub(super) fn me(&self) -> Arc<Self> {
        self.me.upgrade().expect("a method runs on a handle that somebody holds")
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn sync_folder(&self) -> io::Result<()> {
        self.shared.fs.sync_dir(&self.folder)
    }

    /// Ends the handle: nothing more is written or becomes durable through it.
    pub(super) fn fail(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        self.writer.lock().dead.get_or_insert_with(|| reason.clone());
        self.durable.send_if_modified(|durable| {
            let first = durable.failed.is_none();
            durable.failed.get_or_insert(reason);
            first
        });
        self.synced.send_modify(|_| {});
    }

    /// [`PartitionStore::close`] has succeeded.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends the handle in order: everything is durable and the checkpoint says so.
    pub(super) fn closed(&self) {
        self.closed.store(true, Ordering::Release);
        self.fail("the partition was closed");
    }

    pub(super) fn check_alive(&self) -> Result<(), StoreError> {
        self.writer.lock().check_alive()
    }

    pub(super) fn request_flush(&self, urgency: Urgency) {
        let before = self.queued.fetch_max(urgency as u8, Ordering::AcqRel);
        if before < urgency as u8 {
            self.shared.flusher.request(&self.me(), before == Urgency::None as u8, urgency);
        }
    }

    /// What the next flush makes durable. From here on, appends ask for another one.
    pub(super) fn capture(&self) -> Captured {
        self.queued.store(Urgency::None as u8, Ordering::Release);
        let mut writer = self.writer.lock();
        writer.dirty = false;
        Captured {
            files: std::mem::take(&mut writer.unsynced),
            folder: std::mem::take(&mut writer.folder_unsynced),
            mark: Mark { offset: writer.end, base: writer.base, position: writer.len },
            rolled: std::mem::take(&mut writer.rolled),
        }
    }

    /// A flush that began after `mark` was captured has succeeded.
    pub(super) fn flushed(&self, mark: Mark) {
        self.durable.send_if_modified(|durable| {
            let moves = durable.failed.is_none() && durable.end < mark.offset;
            if moves {
                durable.end = mark.offset;
            }
            moves
        });
        if self.durable.borrow().failed.is_none() {
            self.synced.send_replace(mark);
        }
    }

    /// Waits until everything below `end` is synced, whatever the durability option says.
    pub(super) async fn wait_synced(&self, end: Offset) -> Result<(), StoreError> {
        let mut synced = self.synced.subscribe();
        loop {
            self.check_alive()?;
            if synced.borrow_and_update().offset >= end {
                return Ok(());
            }
            self.request_flush(Urgency::Now);
            if synced.changed().await.is_err() {
                return Err(unknown("the partition was closed"));
            }
        }
    }

    /// Closes the open segment. The caller holds the writer's lock.
    pub(super) fn roll_locked(&self, writer: &mut Writer) -> io::Result<()> {
        let file = self.shared.fs.create(&file_path(&self.folder, writer.end, LOG))?;
        let mut view = self.view.write();
        let active = Active::new(file.clone(), 0, Index::new(writer.end));
        let old = std::mem::replace(&mut view.active, active);
        let segment = Segment::closed(&self.folder, writer.end, old.len, Arc::new(old.index));
        view.closed.push(Arc::new(segment));
        writer.file = file;
        writer.base = writer.end;
        writer.len = 0;
        writer.first_append_ms = None;
        writer.dirty = false;
        writer.folder_unsynced = true;
        writer.rolled = true;
        Ok(())
    }

    fn append_locked(&self, writer: &mut Writer, batch: &Append<'_>) -> Result<(), StoreError> {
        writer.check_open()?;
        let size = (batch.parts[0].len() + batch.parts[1].len()) as u64;
        if batch.base_offset != writer.end || batch.last_offset < batch.base_offset || size > MAX_BATCH_BYTES {
            return Err(refuse(format_args!(
                "a batch of {size} bytes at {}..={} cannot follow the log end {}",
                batch.base_offset, batch.last_offset, writer.end
            )));
        }
        if !writer.options.internal {
            self.shared.reserve.check(&*self.shared.volume, size)?;
        }
        let now = self.shared.clock.now_ms();
        if writer.must_roll(size, batch.last_offset, now) {
            self.roll_locked(writer).map_err(|error| refused_write("starting a new segment", &self.folder, &error))?;
        }
        if let Err(error) = writer.file.write_at(writer.len, batch.parts) {
            return Err(match writer.file.set_len(writer.len) {
                Ok(()) => refused_write("appending to the log", &self.folder, &error),
                Err(again) => {
                    let reason = format!("appending failed ({error}), and so did taking it back ({again})");
                    writer.dead = Some(reason.as_str().into());
                    unknown(reason)
                }
            });
        }
        let Append { base_offset, last_offset, max_timestamp, .. } = *batch;
        writer.first_append_ms.get_or_insert(now);
        writer.len += size;
        writer.end = last_offset + 1;
        if !writer.dirty {
            writer.dirty = true;
            let file = writer.file.clone();
            writer.unsynced.push(file);
        }
        let mut view = self.view.write();
        view.active.add(Header { base_offset, last_offset, max_timestamp, size });
        view.end = writer.end;
        Ok(())
    }
}

impl Writer {
    pub(super) fn check_alive(&self) -> Result<(), StoreError> {
        match &self.dead {
            Some(reason) => Err(StoreError::Unknown(reason.clone())),
            None => Ok(()),
        }
    }

    fn check_open(&self) -> Result<(), StoreError> {
        self.check_alive()?;
        match self.closing {
            true => Err(refuse("the partition is being closed")),
            false => Ok(()),
        }
    }

    fn must_roll(&self, size: u64, last_offset: Offset, now_ms: i64) -> bool {
        let limit = self.options.segment_bytes.min(MAX_SEGMENT_BYTES);
        let old = self.first_append_ms.is_some_and(|first| now_ms.saturating_sub(first) >= self.options.segment_ms);
        self.len > 0 && (self.len + size > limit || last_offset - self.base > i64::from(i32::MAX) || old)
    }
}

/// Nothing was written: say whether it is for want of space.
pub(super) fn refused_write(doing: &str, folder: &Path, error: &io::Error) -> StoreError {
    let text = format!("{doing} in {} failed: {error}", folder.display()).into();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(text),
        _ => StoreError::Rejected(text),
    }
}

impl PartitionStore for LocalPartition {
    fn append(&self, batch: Append<'_>, flush: Flush) -> Result<(), StoreError> {
        let result = self.append_locked(&mut self.writer.lock(), &batch);
        match result {
            Ok(()) => {}
            Err(StoreError::Unknown(reason)) => {
                self.fail(&reason);
                return Err(StoreError::Unknown(reason));
            }
            Err(other) => return Err(other),
        }
        let urgency = match (self.shared.durability, flush) {
            (Durability::Fsync, Flush::Now) => Urgency::Awaited,
            (Durability::Fsync, Flush::Soon) => Urgency::Soon,
            (Durability::PageCache, _) => {
                self.durable.send_modify(|durable| durable.end = durable.end.max(batch.last_offset + 1));
                Urgency::Background
            }
        };
        self.request_flush(urgency);
        Ok(())
    }

    fn flush(&self) {
        // What the page cache has counts as durable already. Its flush comes within a second, and what needs more than that, such
        // as a checkpoint, asks for itself.
        if self.shared.durability == Durability::PageCache {
            return;
        }
        // What is not queued is durable, or part of the round that runs.
        if self.queued.load(Ordering::Acquire) != Urgency::None as u8 {
            self.shared.flusher.flush_now(&*self.shared.volume);
        }
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.subscribe()
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Slice, StoreError>> {
        match self.try_read(&read, true) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let me = self.me();
                blocking(move || me.try_read(&read, false).map_err(read_failed)).boxed()
            }
            result => ready(result.map_err(read_failed)).boxed(),
        }
    }

    fn seek_time(&self, timestamp: i64) -> BoxFuture<'_, Result<Option<Offset>, StoreError>> {
        let me = self.me();
        blocking(move || me.seek_blocking(timestamp).map_err(read_failed)).boxed()
    }

    fn chunks(&self) -> Vec<Chunk> {
        let view = self.view.read();
        let closed = view.closed.iter().map(|segment| Chunk {
            offsets: segment.base..segment.end,
            bytes: segment.len,
            max_timestamp: segment.max_timestamp,
            closed: true,
        });
        let active = Chunk {
            offsets: view.active.base..view.end,
            bytes: view.active.len,
            max_timestamp: view.active.index.max_timestamp(),
            closed: false,
        };
        closed.chain([active]).collect()
    }

    fn roll(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        writer.check_open()?;
        if writer.len > 0 {
            self.roll_locked(&mut writer)
                .map_err(|error| refused_write("starting a new segment", &self.folder, &error))?;
            drop(writer);
            self.request_flush(Urgency::Soon);
        }
        Ok(())
    }

    fn trim(&self, log_start: Offset) -> BoxFuture<'_, Result<(), StoreError>> {
        let me = self.me();
        async move {
            let end = me.view.read().end;
            if log_start > end {
                return Err(refuse(format_args!("the log start cannot move to {log_start}, beyond the end {end}")));
            }
            me.wait_synced(log_start).await?;
            blocking(move || me.trim_blocking(log_start)).await
        }
        .boxed()
    }

    fn replace(
        &self,
        offsets: std::ops::Range<Offset>,
        batches: Box<dyn Iterator<Item = Result<Bytes, StoreError>> + Send>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let me = self.me();
        async move {
            me.wait_synced(offsets.end).await?;
            blocking(move || me.replace_blocking(offsets, batches)).await
        }
        .boxed()
    }

    fn checkpoint(&self, end: Offset, entries: Vec<StateEntry>) -> BoxFuture<'_, Result<(), StoreError>> {
        let me = self.me();
        async move {
            me.wait_synced(end).await?;
            blocking(move || me.checkpoint_blocking(end, entries)).await
        }
        .boxed()
    }

    fn set_options(&self, options: PartitionOptions) {
        self.writer.lock().options = options;
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let me = self.me();
        async move {
            let end = {
                let mut writer = me.writer.lock();
                writer.closing = true;
                writer.end
            };
            me.wait_synced(end).await?;
            let closing = me.clone();
            let closed = blocking(move || closing.close_blocking()).await;
            if closed.is_err() {
                me.writer.lock().closing = false;
            }
            closed
        }
        .boxed()
    }
}
