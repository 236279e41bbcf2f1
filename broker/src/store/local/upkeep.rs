//! What changes a partition's files besides appending: checkpoints, trimming, replacing, closing. All of it blocks and
//! holds the partition's `structure` lock, which survives reopening: an earlier handle can do no harm.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::{Header, crc_matches};
use super::fs::{DataFile, FileSystem};
use super::index::Index;
use super::partition::{LocalPartition, refused_write};
use super::segment::{INDEX, LOG, MAX_SEGMENT_BYTES, Segment, TIME_INDEX, file_path};
use super::state::{Mark, State, Swap, read_checksummed, replace_file, write_checksummed};
use super::{refuse, unknown};
use crate::store::{Offset, StateEntry, StoreError};

pub(super) const STATE: &str = "state";
pub(super) const SWAP: &str = "swap";
/// Index of the open segment at the last clean close: `base`, bytes covered, and both indexes.
pub(super) const ACTIVE_INDEX: &str = "active-index";
/// Extension of a replacement that is being written, after that of the file.
pub(super) const CLEANED: &str = "cleaned";

pub(super) type Batches = Box<dyn Iterator<Item = Result<Bytes, StoreError>> + Send>;

/// Reads a partition's `state`; it exists from the creation on.
pub(super) fn read_state(fs: &dyn FileSystem, folder: &Path) -> Result<State, StoreError> {
    let path = folder.join(STATE);
    let said = |what: String| {
        StoreError::Corrupt(format!("{}: {what}; restore the file or set the partition aside", path.display()).into())
    };
    match read_checksummed(fs, &path) {
        Ok(Some(bytes)) => State::decode(&bytes).ok_or_else(|| said("unknown layout".into())),
        Ok(None) => Err(said("the file is missing".into())),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(said(error.to_string())),
        Err(error) => Err(unknown(format_args!("{}: {error}", path.display()))),
    }
}

impl LocalPartition {
    /// Rewrites `state` with the newest checkpoint and whatever `change` does.
    pub(super) fn update_state(&self, change: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        let _structure = self.slot.structure.lock();
        self.update_state_locked(change)
    }

    fn update_state_locked(&self, change: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        self.check_alive()?;
        let fs = &*self.shared.fs;
        let mut state = read_state(fs, self.folder())?;
        let write = || -> io::Result<()> {
            state.checkpoint = self.checkpoint_mark()?;
            change(&mut state);
            self.write_indexes(state.checkpoint.offset)?;
            write_checksummed(fs, &self.folder().join(STATE), &state.encode())?;
            self.sync_folder()
        };
        write().map_err(|error| self.failed("writing the checkpoint", &error))
    }

    /// An operation on files failed midway. For want of space nothing is lost; otherwise the disk's answer to a later
    /// sync cannot be trusted, and the handle ends.
    fn failed(&self, doing: &str, error: &io::Error) -> StoreError {
        match refused_write(doing, self.folder(), error) {
            StoreError::Full(text) => StoreError::Full(text),
            other => {
                let text = other.to_string();
                self.fail(&text);
                unknown(text)
            }
        }
    }

    /// Up to where everything is synced, in a segment whose name is durable.
    fn checkpoint_mark(&self) -> io::Result<Mark> {
        let mark = *self.synced.borrow();
        let follows = {
            let view = self.view.read();
            let mut bases = view.closed.iter().map(|segment| segment.base).chain([view.active.base]);
            bases.any(|base| base == mark.offset && base != mark.base)
        };
        if !follows {
            return Ok(mark);
        }
        self.sync_folder()?;
        Ok(Mark { offset: mark.offset, base: mark.offset, position: 0 })
    }

    /// Index files of closed segments are whole and durable before a checkpoint passes them: recovery trusts them.
    fn write_indexes(&self, checkpoint: Offset) -> io::Result<()> {
        let closed = self.view.read().closed.clone();
        let mut written = Vec::new();
        for segment in closed.iter().filter(|segment| segment.end <= checkpoint) {
            if let Some(index) = segment.unwritten_index() {
                let (offsets, times) = index.encode();
                let fs = &*self.shared.fs;
                replace_file(fs, &file_path(segment.folder(), segment.base, INDEX), [&offsets, &[]])?;
                replace_file(fs, &file_path(segment.folder(), segment.base, TIME_INDEX), [&times, &[]])?;
                written.push(segment);
            }
        }
        if !written.is_empty() {
            self.sync_folder()?;
            written.iter().for_each(|segment| segment.index_is_written());
        }
        Ok(())
    }

    pub(super) fn checkpoint_blocking(&self, end: Offset, mut entries: Vec<StateEntry>) -> Result<(), StoreError> {
        entries.retain(|entry| !entry.value.is_empty());
        self.update_state(|state| {
            state.entries = entries;
            state.state_end = end;
        })
    }

    pub(super) fn trim_blocking(&self, log_start: Offset) -> Result<(), StoreError> {
        let _structure = self.slot.structure.lock();
        self.check_alive()?;
        if log_start <= self.view.read().log_start {
            return Ok(());
        }
        {
            let mut writer = self.writer.lock();
            if writer.end == log_start && writer.len > 0 {
                self.roll_locked(&mut writer)
                    .map_err(|error| refused_write("starting a new segment", self.folder(), &error))?;
            }
        }
        // This syncs the folder: the segment that carries the log end on has a durable name before any other goes.
        self.update_state_locked(|state| state.log_start = log_start)?;
        let removed: Vec<_> = {
            let mut view = self.view.write();
            view.log_start = log_start;
            let keep = view.closed.partition_point(|segment| segment.end <= log_start);
            view.closed.drain(..keep).collect()
        };
        for segment in removed {
            remove_segment(&*self.shared.fs, self.folder(), segment.base);
        }
        Ok(())
    }

    pub(super) fn replace_blocking(&self, offsets: Range<Offset>, batches: Batches) -> Result<(), StoreError> {
        let _structure = self.slot.structure.lock();
        self.check_alive()?;
        let old: Vec<_> = {
            let view = self.view.read();
            let inside = |segment: &&Arc<Segment>| segment.base >= offsets.start && segment.end <= offsets.end;
            view.closed.iter().filter(inside).cloned().collect()
        };
        let covers = old.first().map(|first| first.base) == Some(offsets.start)
            && old.last().map(|last| last.end) == Some(offsets.end);
        if !covers {
            return Err(refuse(format_args!("{offsets:?} is not what whole closed segments cover")));
        }
        // The checkpoint must not point into what goes.
        self.update_state_locked(|_| {})?;
        let fs = &*self.shared.fs;
        let written = self.write_replacement(&offsets, batches);
        let (put, segments) = match written {
            Ok(written) => written,
            Err(error) => {
                remove_cleaned(fs, self.folder());
                return Err(error);
            }
        };
        let swap = Swap { remove: old.iter().map(|segment| segment.base).collect(), put };
        let commit = || -> io::Result<()> {
            self.sync_folder()?;
            write_checksummed(fs, &self.folder().join(SWAP), &swap.encode())?;
            self.sync_folder()
        };
        if let Err(error) = commit() {
            // The commit record may or may not be there: only opening again can tell.
            let text = format!("replacing segments in {}: {error}", self.folder().display());
            self.fail(&text);
            return Err(unknown(text));
        }
        finish_swap(fs, self.folder(), &swap).map_err(|error| {
            let text = format!("replacing segments in {}: {error}", self.folder().display());
            self.fail(&text);
            unknown(text)
        })?;
        let mut view = self.view.write();
        let first = view.closed.partition_point(|segment| segment.base < offsets.start);
        view.closed.splice(first..first + old.len(), segments.into_iter().map(Arc::new));
        Ok(())
    }

    /// Writes the new segments beside the old ones, synced.
    fn write_replacement(
        &self,
        offsets: &Range<Offset>,
        batches: Batches,
    ) -> Result<(Vec<Offset>, Vec<Segment>), StoreError> {
        let limit = self.writer.lock().options.segment_bytes.min(MAX_SEGMENT_BYTES);
        let fs = &*self.shared.fs;
        let io = |error: io::Error| refused_write("writing replaced segments", self.folder(), &error);
        let mut done: Vec<Replacement> = Vec::new();
        let mut current = Replacement::start(fs, self.folder(), offsets.start).map_err(io)?;
        let mut next = offsets.start;
        for batch in batches {
            let batch = batch?;
            let header = Header::parse(&batch)
                .filter(|header| header.size == batch.len() as u64 && crc_matches(&batch))
                .filter(|header| header.base_offset >= next && header.last_offset < offsets.end)
                .ok_or_else(|| {
                    refuse(format_args!("a batch for {offsets:?} is damaged or out of order, after {next}"))
                })?;
            next = header.last_offset + 1;
            let far = header.last_offset - current.base > i64::from(i32::MAX);
            if current.len > 0 && (current.len + header.size > limit || far) {
                let following = Replacement::start(fs, self.folder(), header.base_offset).map_err(io)?;
                done.push(std::mem::replace(&mut current, following));
            }
            current.file.write_at(current.len, [&batch, &[]]).map_err(io)?;
            current.index.add(&header, current.len);
            current.len += header.size;
        }
        done.push(current);
        let ends: Vec<_> = done.iter().skip(1).map(|next| next.base).chain([offsets.end]).collect();
        let mut segments = Vec::new();
        for (replacement, end) in done.iter().zip(ends) {
            replacement.finish(fs, self.folder()).map_err(io)?;
            let segment = Segment::closed(self.folder(), end, replacement.len, Arc::new(replacement.index.clone()));
            segment.index_is_written();
            segments.push(segment);
        }
        Ok((done.iter().map(|replacement| replacement.base).collect(), segments))
    }

    pub(super) fn close_blocking(&self) -> Result<(), StoreError> {
        let _structure = self.slot.structure.lock();
        self.check_alive()?;
        let body = {
            let view = self.view.read();
            let (offsets, times) = view.active.index.encode();
            let (base, len) = (view.active.base.to_be_bytes(), view.active.len.to_be_bytes());
            let count = (offsets.len() as u64).to_be_bytes();
            [&base[..], &len, &count, &offsets, &times].concat()
        };
        write_checksummed(&*self.shared.fs, &self.folder().join(ACTIVE_INDEX), &body)
            .map_err(|error| self.failed("writing the index", &error))?;
        self.update_state_locked(|_| {})?;
        self.closed();
        Ok(())
    }
}

/// A new segment that is being written beside the old ones.
struct Replacement {
    base: Offset,
    file: Arc<dyn DataFile>,
    len: u64,
    index: Index,
}

impl Replacement {
    fn start(fs: &dyn FileSystem, folder: &Path, base: Offset) -> io::Result<Self> {
        let file = fs.create(&file_path(folder, base, LOG).with_added_extension(CLEANED))?;
        Ok(Self { base, file, len: 0, index: Index::new(base) })
    }

    fn finish(&self, fs: &dyn FileSystem, folder: &Path) -> io::Result<()> {
        self.file.sync_data()?;
        let (offsets, times) = self.index.encode();
        for (extension, bytes) in [(INDEX, offsets), (TIME_INDEX, times)] {
            let file = fs.create(&file_path(folder, self.base, extension).with_added_extension(CLEANED))?;
            file.write_at(0, [&bytes, &[]])?;
            file.sync_data()?;
        }
        Ok(())
    }
}

/// Carries out a committed replacement, as far as it was not yet.
pub(super) fn finish_swap(fs: &dyn FileSystem, folder: &Path, swap: &Swap) -> io::Result<()> {
    for base in &swap.remove {
        for extension in [LOG, INDEX, TIME_INDEX] {
            if extension != LOG || !swap.put.contains(base) {
                remove_if_there(fs, &file_path(folder, *base, extension))?;
            }
        }
    }
    for base in &swap.put {
        for extension in [LOG, INDEX, TIME_INDEX] {
            let path = file_path(folder, *base, extension);
            match fs.rename(&path.with_added_extension(CLEANED), &path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                // Not there: an earlier attempt has renamed it.
                _ => {}
            }
        }
    }
    fs.sync_dir(folder)?;
    fs.remove_file(&folder.join(SWAP))?;
    fs.sync_dir(folder)
}

/// Removes what an uncommitted replacement left.
pub(super) fn remove_cleaned(fs: &dyn FileSystem, folder: &Path) {
    let names = fs.read_dir(folder).unwrap_or_default();
    for name in names.iter().filter(|name| name.ends_with(CLEANED)) {
        // Left over, it only takes space until the next opening.
        _ = fs.remove_file(&folder.join(name));
    }
}

fn remove_if_there(fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
    match fs.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a segment below the log start. What stays behind is removed at the next opening.
pub(super) fn remove_segment(fs: &dyn FileSystem, folder: &Path, base: Offset) {
    for extension in [LOG, INDEX, TIME_INDEX] {
        if let Err(error) = remove_if_there(fs, &file_path(folder, base, extension)) {
            tracing::warn!(folder = %folder.display(), base, extension, %error, "removing a segment file failed");
        }
    }
}
