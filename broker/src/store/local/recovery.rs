//! Opening a partition's folder: completes what was interrupted, checks what is past the checkpoint, cuts a torn tail.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::batch::{Scan, Walk};
use super::fs::{DataFile, FileSystem, read_exact_at};
use super::index::Index;
use super::partition::{Active, Opened};
use super::segment::{LOG, Segment, base_of, damaged, extend_index, file_path};
use super::state::{State, Swap, read_checksummed};
use super::unknown;
use super::upkeep::{ACTIVE_INDEX, SWAP, finish_swap, read_state, remove_cleaned, remove_segment};
use crate::store::{Offset, StoreError};

/// Below the checkpoint only this much is read again after an unclean stop (bytes): damage by a crash is near the end,
/// and reading everything would keep a broker with much data from starting for minutes.
const VERIFIED_BELOW_CHECKPOINT: u64 = 1 << 20;
/// Cut tails kept per partition; older ones go.
const KEPT_CUTS: usize = 8;
/// Largest index of an open segment believed (bytes).
const MAX_ACTIVE_INDEX: usize = 128 << 20;

/// How much of what the files show can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The last stop was clean: there is nothing past the checkpoint.
    Clean,
    /// The last stop was not clean; the volume has been synced since.
    Synced,
    /// An earlier handle of this process may have left unsynced bytes.
    Unsynced,
    /// A flush failed: the page cache may show bytes that the disk will never have.
    Nothing,
}

/// A partition's folder being opened.
struct Recovery<'a> {
    fs: &'a dyn FileSystem,
    folder: &'a Path,
    trust: Trust,
    state: State,
    /// Cuts, removals and renames were made.
    changed: bool,
}

/// What scanning one segment found.
struct Scanned {
    index: Index,
    /// End of the whole batches: offset and byte.
    end: Offset,
    len: u64,
    file: Arc<dyn DataFile>,
}

/// Recovers the partition in `folder`: what is kept is durable afterwards.
pub(super) fn recover(fs: &dyn FileSystem, folder: &Path, trust: Trust) -> Result<(Opened, State), StoreError> {
    let state = complete_swap(fs, folder).and_then(|()| read_state(fs, folder))?;
    let mut recovery = Recovery { fs, folder, trust, state, changed: false };
    let opened = recovery.run().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            StoreError::Corrupt(format!("{}: {error}", folder.display()).into())
        }
        _ => unknown(format_args!("opening {}: {error}", folder.display())),
    })?;
    Ok((opened, recovery.state))
}

fn complete_swap(fs: &dyn FileSystem, folder: &Path) -> Result<(), StoreError> {
    let failed = |error: &dyn std::fmt::Display| unknown(format_args!("{}: {error}", folder.join(SWAP).display()));
    let broken = |error: &dyn std::fmt::Display| {
        StoreError::Corrupt(format!("{}: {error}; set the partition aside", folder.join(SWAP).display()).into())
    };
    match read_checksummed(fs, &folder.join(SWAP)) {
        Ok(Some(bytes)) => {
            let swap = Swap::decode(&bytes).ok_or_else(|| broken(&"unknown layout"))?;
            finish_swap(fs, folder, &swap).map_err(|error| failed(&error))
        }
        Ok(None) => {
            remove_cleaned(fs, folder);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(broken(&error)),
        Err(error) => Err(failed(&error)),
    }
}

impl Recovery<'_> {
    fn run(&mut self) -> io::Result<Opened> {
        let bases = self.bases()?;
        let mark = self.state.checkpoint;
        let Some(from) = bases.iter().position(|base| *base == mark.base) else {
            return Err(damaged(format_args!("segment {} is missing, up to which everything was durable", mark.base)));
        };
        let mut closed = Vec::new();
        for two in bases[..=from].windows(2) {
            closed.push(Arc::new(Segment::load(self.fs, self.folder, two[0], two[1])?));
        }
        let mut last = self.scan_from_checkpoint()?;
        let mut rest = bases[from + 1..].iter();
        for base in rest.by_ref() {
            if *base != last.end {
                // What follows a torn segment has lost its place.
                self.set_segment_aside(*base)?;
                break;
            }
            let next = self.scan(*base, 0, Index::new(*base), 0)?;
            let full = std::mem::replace(&mut last, next);
            closed.push(Arc::new(Segment::closed(self.folder, full.end, full.len, Arc::new(full.index))));
        }
        for base in rest {
            self.set_segment_aside(*base)?;
        }
        self.finish(closed, last)
    }

    /// Base offsets of the segments, oldest first, without those that trimming left behind.
    fn bases(&mut self) -> io::Result<Vec<Offset>> {
        let names = self.fs.read_dir(self.folder)?;
        let mut bases: Vec<_> = names.iter().filter_map(|name| base_of(name, LOG)).collect();
        bases.sort_unstable();
        let start = self.state.log_start;
        let trimmed =
            bases.windows(2).take_while(|two| two[1] <= start && two[0] != self.state.checkpoint.base).count();
        for base in bases.drain(..trimmed) {
            remove_segment(self.fs, self.folder, base);
        }
        for name in names.iter().filter(|name| name.ends_with(".tmp")) {
            self.fs.remove_file(&self.folder.join(name))?;
        }
        self.prune_cuts(names);
        Ok(bases)
    }

    fn prune_cuts(&self, names: Vec<String>) {
        let mut cuts: Vec<_> = names.into_iter().filter(|name| name.ends_with(".cut")).collect();
        cuts.sort_unstable();
        let surplus = cuts.len().saturating_sub(KEPT_CUTS);
        for name in &cuts[..surplus] {
            // Only a convenience for whoever investigates: it is retried at the next opening.
            _ = self.fs.remove_file(&self.folder.join(name));
        }
    }

    fn open(&self, base: Offset, position: u64) -> io::Result<Arc<dyn DataFile>> {
        let file = self.fs.open(&file_path(self.folder, base, LOG))?;
        if self.trust != Trust::Clean {
            if self.trust != Trust::Synced {
                file.sync_data()?;
            }
            file.drop_cache(position)?;
        }
        Ok(file)
    }

    /// The segment that holds the checkpoint: damage below it is an error, what is torn above is cut.
    fn scan_from_checkpoint(&mut self) -> io::Result<Scanned> {
        let mark = self.state.checkpoint;
        let file = self.open(mark.base, mark.position)?;
        let len = file.size()?;
        if len < mark.position {
            return Err(damaged(format_args!(
                "segment {} has {len} bytes, though {} were durable",
                mark.base, mark.position
            )));
        }
        let (mut index, mut position) = match self.active_index(mark.base, mark.position) {
            Some((index, covered)) => (index, covered),
            None => (Index::new(mark.base), 0),
        };
        extend_index(&mut index, &*file, &mut position, mark.position)?;
        if self.trust == Trust::Clean && len == mark.position {
            return Ok(Scanned { index, end: mark.offset, len, file });
        }
        let below = mark.position.saturating_sub(VERIFIED_BELOW_CHECKPOINT);
        let from = index.floor(|entry| u64::from(entry.position) <= below).map_or(0, |entry| entry.position.into());
        let mut scan = Scan::new(&*file, mark.position);
        let mut position = from;
        while position < mark.position {
            let Some((header, _)) = scan.batch(position)? else {
                return Err(damaged(format_args!(
                    "segment {} is damaged at byte {position}, below the checkpoint at {}",
                    mark.base, mark.position
                )));
            };
            position += header.size;
        }
        self.scan(mark.base, mark.position, index, mark.offset - mark.base)
    }

    /// Keeps whole batches that follow one another from `position` on, and cuts the rest of the segment.
    fn scan(&mut self, base: Offset, position: u64, mut index: Index, relative: i64) -> io::Result<Scanned> {
        let file = self.open(base, position)?;
        let (len, mut position, mut end) = (file.size()?, position, base + relative);
        let mut scan = Scan::new(&*file, len);
        while let Some((header, bytes)) = scan.batch(position)? {
            if header.base_offset != end {
                break;
            }
            if self.trust == Trust::Nothing {
                // Dirty again, so that the coming sync writes it for certain.
                file.write_at(position, [bytes, &[]])?;
            }
            index.add(&header, position);
            (position, end) = (position + header.size, header.last_offset + 1);
        }
        if position < len {
            self.keep_cut(&*file, base, end, position, len);
            file.set_len(position)?;
            self.changed = true;
        }
        if position < len || matches!(self.trust, Trust::Unsynced | Trust::Nothing) {
            file.sync_data()?;
        }
        Ok(Scanned { index, end, len: position, file })
    }

    /// Copies what will be cut into a file beside it. Without space for that, the cut goes on without.
    fn keep_cut(&self, file: &dyn DataFile, base: Offset, end: Offset, from: u64, len: u64) {
        let path = file_path(self.folder, base, &format!("{end:020}.cut"));
        tracing::warn!(
            segment = %file_path(self.folder, base, LOG).display(), end, bytes = len - from, kept = %path.display(),
            "the log's tail is not whole and is cut"
        );
        let copy = || -> io::Result<()> {
            let cut = self.fs.create(&path)?;
            let mut buffer = vec![0; (len - from).min(1 << 20) as usize];
            let mut position = from;
            while position < len {
                let piece = &mut buffer[..(len - position).min(1 << 20) as usize];
                read_exact_at(file, position, piece)?;
                cut.write_at(position - from, [piece, &[]])?;
                position += piece.len() as u64;
            }
            cut.sync_data()
        };
        if let Err(error) = copy() {
            tracing::warn!(kept = %path.display(), %error, "the cut tail could not be kept");
        }
    }

    /// Takes a whole segment that does not follow what was kept out of the log.
    fn set_segment_aside(&mut self, base: Offset) -> io::Result<()> {
        let path = file_path(self.folder, base, LOG);
        let empty = self.fs.open(&path)?.size()? == 0;
        tracing::warn!(segment = %path.display(), empty, "the segment does not follow the log's end and is cut");
        self.changed = true;
        match empty {
            true => self.fs.remove_file(&path),
            false => self.fs.rename(&path, &file_path(self.folder, base, "cut")),
        }
    }

    /// The index of the open segment at the last clean close, with the bytes it covers.
    fn active_index(&self, base: Offset, checkpoint: u64) -> Option<(Index, u64)> {
        // Any failure means the same: the index is built again from the log.
        let bytes = read_checksummed(self.fs, &self.folder.join(ACTIVE_INDEX)).ok()??;
        let number = |at: usize| Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let (of, covered, count) = (number(0)? as i64, number(8)?, number(16)? as usize);
        if of != base || covered > checkpoint || bytes.len() > MAX_ACTIVE_INDEX {
            return None;
        }
        let (offsets, times) = bytes[24..].split_at_checked(count)?;
        Some((Index::decode(base, offsets, times, covered)?, covered))
    }

    fn finish(&mut self, mut closed: Vec<Arc<Segment>>, last: Scanned) -> io::Result<Opened> {
        let log_start = self.state.log_start;
        let Scanned { index, mut end, len, file } = last;
        let mut active = Active::new(file, len, index);
        if end < log_start {
            // The log was trimmed beyond what survived: it goes on, empty, at its start.
            let file = self.fs.create(&file_path(self.folder, log_start, LOG))?;
            let old = std::mem::replace(&mut active, Active::new(file, 0, Index::new(log_start)));
            closed.push(Arc::new(Segment::closed(self.folder, log_start, old.len, Arc::new(old.index))));
            end = log_start;
            self.changed = true;
        }
        if self.changed || matches!(self.trust, Trust::Unsynced | Trust::Nothing) {
            self.fs.sync_dir(self.folder)?;
        }
        Ok(Opened { log_start, end, closed, active })
    }
}

/// When the open segment got its first batch, as far as its timestamp tells.
pub(super) fn first_append_ms(active: &Active, now_ms: i64) -> Option<i64> {
    let header = Walk::new(&*active.file, active.len, false).header(0).ok()??;
    Some(match header.max_timestamp {
        plausible if (0..=now_ms).contains(&plausible) => plausible,
        _ => now_ms,
    })
}
