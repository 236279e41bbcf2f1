//! Segments: a closed one that is only read, and how batches are found in one.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::batch::{Header, Walk};
use super::fs::{DataFile, FileSystem};
use super::index::{Index, IndexFiles, OffsetEntry, newest_timestamp};
use crate::store::{Offset, Read};

/// Closed segments kept open at a time in the whole store: three file descriptors each.
const OPEN_SEGMENTS: usize = 128;

/// Positions in index files have 32 bits, as Kafka's, which are signed.
pub(super) const MAX_SEGMENT_BYTES: u64 = i32::MAX as u64;

pub(super) const LOG: &str = "log";
pub(super) const INDEX: &str = "index";
pub(super) const TIME_INDEX: &str = "timeindex";

/// `<folder>/<base offset, 20 digits>.<extension>`
pub(super) fn file_path(folder: &Path, base: Offset, extension: &str) -> PathBuf {
    folder.join(format!("{base:020}.{extension}"))
}

/// Base offset of a file named by [`file_path`], when it has this extension.
pub(super) fn base_of(name: &str, extension: &str) -> Option<Offset> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

pub(super) fn damaged(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// A segment that is no longer appended to.
pub(super) struct Segment {
    pub(super) base: Offset,
    /// Base offset of the next segment.
    pub(super) end: Offset,
    pub(super) len: u64,
    pub(super) max_timestamp: i64,
    folder: PathBuf,
    /// The index, until its files are durable.
    memory: Mutex<Option<Arc<Index>>>,
    opened: Mutex<Weak<OpenSegment>>,
}

pub(super) struct OpenSegment {
    pub(super) file: Arc<dyn DataFile>,
    index: Lookup,
}

enum Lookup {
    Memory(Arc<Index>),
    Files(IndexFiles),
}

impl Segment {
    /// One whose index is in memory.
    pub(super) fn closed(folder: &Path, end: Offset, len: u64, index: Arc<Index>) -> Self {
        Self {
            base: index.base(),
            end,
            len,
            max_timestamp: index.max_timestamp(),
            folder: folder.to_owned(),
            memory: Mutex::new(Some(index)),
            opened: Mutex::new(Weak::new()),
        }
    }

    /// One that is on the disk, with index files when they are good.
    pub(super) fn load(fs: &dyn FileSystem, folder: &Path, base: Offset, end: Offset) -> io::Result<Self> {
        let file = fs.open(&file_path(folder, base, LOG))?;
        let len = file.size()?;
        // The index files are durable before a checkpoint passes the segment; they are read when it is.
        let newest = fs.open(&file_path(folder, base, TIME_INDEX)).and_then(|times| newest_timestamp(&*times));
        let (memory, max_timestamp) = match newest {
            Ok(timestamp) => (None, timestamp),
            Err(_) => {
                let index = Arc::new(index_of(&*file, base, len)?);
                (Some(index.clone()), index.max_timestamp())
            }
        };
        let (memory, opened) = (Mutex::new(memory), Mutex::new(Weak::new()));
        Ok(Self { base, end, len, max_timestamp, folder: folder.to_owned(), memory, opened })
    }

    /// With `cached`, `WouldBlock` unless it is open already.
    pub(super) fn open(&self, fs: &dyn FileSystem, ring: &OpenSegments, cached: bool) -> io::Result<Arc<OpenSegment>> {
        let mut opened = self.opened.lock();
        if let Some(open) = opened.upgrade() {
            return Ok(open);
        }
        if cached {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let file = fs.open(&file_path(&self.folder, self.base, LOG))?;
        let memory = self.memory.lock().clone();
        let index = match memory {
            Some(index) => Lookup::Memory(index),
            None => match open_index(fs, &self.folder, self.base, self.len) {
                Some(files) => Lookup::Files(files),
                None => {
                    let index = Arc::new(index_of(&*file, self.base, self.len)?);
                    *self.memory.lock() = Some(index.clone());
                    Lookup::Memory(index)
                }
            },
        };
        let open = Arc::new(OpenSegment { file, index });
        *opened = Arc::downgrade(&open);
        ring.keep(open.clone());
        Ok(open)
    }

    /// The index when its files are still to be written.
    pub(super) fn unwritten_index(&self) -> Option<Arc<Index>> {
        self.memory.lock().clone()
    }

    pub(super) fn index_is_written(&self) {
        self.memory.lock().take();
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl OpenSegment {
    pub(super) fn floor(&self, before: impl Fn(OffsetEntry) -> bool, cached: bool) -> io::Result<u64> {
        let entry = match &self.index {
            Lookup::Memory(index) => index.floor(before),
            Lookup::Files(files) => files.floor(before, cached)?,
        };
        Ok(entry.map_or(0, |entry| u64::from(entry.position)))
    }

    pub(super) fn time_floor(&self, timestamp: i64) -> io::Result<Offset> {
        match &self.index {
            Lookup::Memory(index) => Ok(index.time_floor(timestamp)),
            Lookup::Files(files) => files.time_floor(timestamp),
        }
    }
}

fn open_index(fs: &dyn FileSystem, folder: &Path, base: Offset, len: u64) -> Option<IndexFiles> {
    // Any failure means the same: the index is built again from the log.
    let offsets = fs.open(&file_path(folder, base, INDEX)).ok()?;
    let times = fs.open(&file_path(folder, base, TIME_INDEX)).ok()?;
    IndexFiles::open(base, offsets, times, len).ok()?
}

/// Builds an index from batch headers.
pub(super) fn index_of(file: &dyn DataFile, base: Offset, len: u64) -> io::Result<Index> {
    let (mut index, mut position) = (Index::new(base), 0);
    extend_index(&mut index, file, &mut position, len)?;
    Ok(index)
}

/// Adds the batches of `position..len`.
pub(super) fn extend_index(index: &mut Index, file: &dyn DataFile, position: &mut u64, len: u64) -> io::Result<()> {
    let mut walk = Walk::new(file, len, false);
    while *position < len {
        let Some(header) = walk.header(*position)? else {
            return Err(damaged(format_args!("no batch at byte {position} of segment {}", index.base())));
        };
        index.add(&header, *position);
        *position += header.size;
    }
    Ok(())
}

/// Holds on to the segments that were opened last.
#[derive(Default)]
pub(super) struct OpenSegments(Mutex<VecDeque<Arc<OpenSegment>>>);

impl OpenSegments {
    fn keep(&self, open: Arc<OpenSegment>) {
        let mut ring = self.0.lock();
        if ring.len() >= OPEN_SEGMENTS {
            ring.pop_front();
        }
        ring.push_back(open);
    }
}

/// A segment's bytes, and where to start looking.
pub(super) struct Span<'a> {
    pub(super) file: &'a dyn DataFile,
    pub(super) len: u64,
    /// One past the last offset.
    pub(super) end: Offset,
    /// A batch boundary at or before the wanted offset.
    pub(super) start: u64,
    /// A batch boundary within the wanted bytes and offsets, seen from `start`; 0 when none is known.
    pub(super) hint: u64,
}

/// Result of [`locate`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Batches {
        position: u64,
        len: usize,
        next_offset: Offset,
    },
    /// The next batch may not be returned: too large, or too new.
    Nothing,
    /// Every batch is before the wanted offset.
    Past,
}

/// Finds whole batches by their headers, in a few reads thanks to the index.
pub(super) fn locate(span: &Span<'_>, read: &Read, from: Offset, cached: bool) -> io::Result<Found> {
    let mut walk = Walk::new(span.file, span.len, cached);
    let mut header_at = |position: u64| -> io::Result<Header> {
        walk.header(position)?.ok_or_else(|| damaged(format_args!("no batch at byte {position}, where one must be")))
    };
    let mut position = span.start;
    let first = loop {
        if position >= span.len {
            return Ok(Found::Past);
        }
        let header = header_at(position)?;
        if header.last_offset >= from {
            break header;
        }
        position += header.size;
    };
    let limit = position.saturating_add(read.max_bytes as u64);
    if first.last_offset >= read.until || (position + first.size > limit && !read.at_least_one) {
        return Ok(Found::Nothing);
    }
    let found = |to: u64, next_offset| Ok(Found::Batches { position, len: (to - position) as usize, next_offset });
    if read.until >= span.end && span.len <= limit {
        return found(span.len, span.end);
    }
    let mut to = (position + first.size).max(span.hint);
    let mut next_offset = first.last_offset + 1;
    while to < span.len {
        let header = header_at(to)?;
        if to + header.size > limit || header.last_offset >= read.until {
            return found(to, header.base_offset);
        }
        to += header.size;
        next_offset = header.last_offset + 1;
    }
    // The loop did not run when the hint, or the first batch, reaches the end already.
    found(to, next_offset.max(if to == span.len { span.end } else { next_offset }))
}
