//! Small checksummed files, each replaced as a whole: a partition's `state` and `swap`, the store's `leader-epoch`.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::fs::{FileSystem, read_whole};
use crate::store::{Offset, StateEntry};

/// Largest such file believed (state of very many producers), so that a damaged one does not take the memory.
const MAX_FILE: u64 = 1 << 30;
const MAGIC: &[u8; 4] = b"LGS1";

/// A place in a partition's segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) offset: Offset,
    /// Base offset of the segment,
    pub(super) base: Offset,
    /// and the byte in it where the batch with `offset` starts or will start.
    pub(super) position: u64,
}

/// What `state` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) log_start: Offset,
    /// Everything below is synced and was whole; recovery scans from here.
    pub(super) checkpoint: Mark,
    pub(super) state_end: Offset,
    pub(super) entries: Vec<StateEntry>,
}

/// What `swap` holds: the commit record of a replacement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Swap {
    /// Base offsets of the segments that go,
    pub(super) remove: Vec<Offset>,
    /// and of those that come, written beside them.
    pub(super) put: Vec<Offset>,
}

/// Reads fields off the front; `None` as soon as something is missing.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(front)
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn len(&mut self) -> Option<usize> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?) as usize)
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let len = self.len()?;
        self.take(len).map(Bytes::copy_from_slice)
    }

    fn offsets(&mut self) -> Option<Vec<Offset>> {
        (0..self.len()?).map(|_| self.i64()).collect()
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

impl State {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let numbers = [
            self.log_start,
            self.checkpoint.offset,
            self.checkpoint.base,
            self.checkpoint.position as i64,
            self.state_end,
            self.entries.len() as i64,
        ];
        numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
        for entry in &self.entries {
            put_bytes(&mut out, &entry.key);
            put_bytes(&mut out, &entry.value);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let log_start = fields.i64()?;
        let (offset, base, position) = (fields.i64()?, fields.i64()?, u64::try_from(fields.i64()?).ok()?);
        let (state_end, count) = (fields.i64()?, u64::try_from(fields.i64()?).ok()?);
        let entry = |fields: &mut Fields<'_>| Some(StateEntry { key: fields.bytes()?, value: fields.bytes()? });
        let entries = (0..count).map(|_| entry(&mut fields)).collect::<Option<Vec<_>>>()?;
        let checkpoint = Mark { offset, base, position };
        fields.0.is_empty().then_some(State { log_start, checkpoint, state_end, entries })
    }
}

impl Swap {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for list in [&self.remove, &self.put] {
            out.extend_from_slice(&(list.len() as u32).to_be_bytes());
            list.iter().for_each(|base| out.extend_from_slice(&base.to_be_bytes()));
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let swap = Swap { remove: fields.offsets()?, put: fields.offsets()? };
        fields.0.is_empty().then_some(swap)
    }
}

/// Puts a new file in the place of an old one, atomically. The caller syncs the folder to make that durable.
pub(super) fn replace_file(fs: &dyn FileSystem, path: &Path, parts: [&[u8]; 2]) -> io::Result<()> {
    let beside = path.with_added_extension("tmp");
    let file = fs.create(&beside)?;
    file.write_at(0, parts)?;
    file.sync_data()?;
    fs.rename(&beside, path)
}

/// [`replace_file`] with a checksum in front, for [`read_checksummed`].
pub(super) fn write_checksummed(fs: &dyn FileSystem, path: &Path, body: &[u8]) -> io::Result<()> {
    let mut head = [0; 8];
    head[..4].copy_from_slice(MAGIC);
    head[4..].copy_from_slice(&crc32c::crc32c(body).to_be_bytes());
    replace_file(fs, path, [&head, body])
}

/// The body of a file of [`write_checksummed`]; `None` when it is missing, `InvalidData` when it is damaged.
pub(super) fn read_checksummed(fs: &dyn FileSystem, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match fs.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = read_whole(&*file, MAX_FILE)?;
    let whole = bytes.len() >= 8 && bytes[..4] == *MAGIC && bytes[4..8] == crc32c::crc32c(&bytes[8..]).to_be_bytes();
    if !whole {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file's checksum does not match"));
    }
    bytes.drain(..8);
    Ok(Some(bytes))
}

/// Hands bytes to every decoder of this module, for `fuzz/`.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &[u8]) {
    if let Some(state) = State::decode(bytes) {
        assert_eq!(state.encode(), bytes);
    }
    if let Some(swap) = Swap::decode(bytes) {
        assert_eq!(swap.encode(), bytes);
    }
    let middle = bytes.len() / 2;
    let _ = super::index::Index::decode(0, &bytes[..middle], &bytes[middle..], 1 << 30);
    let _ = super::batch::Header::parse(bytes);
}
