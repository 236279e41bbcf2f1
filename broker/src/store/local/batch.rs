//! Headers of record batches (magic 2), as far as the store looks at them: enough to find batches and to tell whole
//! ones from torn ones.

use std::io;

use super::fs::{DataFile, read_exact_at};
use crate::store::Offset;

/// Bytes before the records.
pub(super) const HEADER_LEN: usize = 61;
/// Largest batch that is stored or believed (bytes): bounds what a damaged length makes recovery read into memory.
pub(super) const MAX_BATCH_BYTES: u64 = 256 << 20;
/// Base offset and length, which the length does not count.
const LENGTH_OVERHEAD: usize = 12;
/// The CRC covers everything from the attributes on.
const CRC_FROM: usize = 21;
/// Read at once while batches are walked: several small batches per system call, and it fits on the stack.
const WINDOW: usize = 8 * 1024;

/// What the store reads from a batch header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) base_offset: Offset,
    pub(super) last_offset: Offset,
    pub(super) max_timestamp: i64,
    /// Bytes of the whole batch.
    pub(super) size: u64,
}

fn be<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has the length that was asked for")
}

impl Header {
    /// `None` when these bytes cannot be a batch header.
    pub(super) fn parse(bytes: &[u8]) -> Option<Header> {
        if bytes.len() < HEADER_LEN || bytes[16] != 2 {
            return None;
        }
        let base_offset = i64::from_be_bytes(be(bytes, 0));
        let size = usize::try_from(i32::from_be_bytes(be(bytes, 8))).ok()? + LENGTH_OVERHEAD;
        let last_delta = i32::from_be_bytes(be(bytes, 23));
        if base_offset < 0 || last_delta < 0 || size < HEADER_LEN {
            return None;
        }
        Some(Header {
            base_offset,
            last_offset: base_offset.checked_add(last_delta.into())?,
            max_timestamp: i64::from_be_bytes(be(bytes, 35)),
            size: size as u64,
        })
    }
}

/// Whether the batch's bytes are what its CRC-32C says.
pub(super) fn crc_matches(batch: &[u8]) -> bool {
    batch.len() >= HEADER_LEN && u32::from_be_bytes(be(batch, 17)) == crc32c::crc32c(&batch[CRC_FROM..])
}

/// Walks batch headers of one file, reading in windows.
pub(super) struct Walk<'a> {
    file: &'a dyn DataFile,
    /// Only bytes before this are looked at.
    end: u64,
    cached: bool,
    window: [u8; WINDOW],
    window_at: u64,
    window_len: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a dyn DataFile, end: u64, cached: bool) -> Self {
        Self { file, end, cached, window: [0; WINDOW], window_at: 0, window_len: 0 }
    }

    /// The header at `position`; `None` when there is no whole, plausible batch there.
    pub(super) fn header(&mut self, position: u64) -> io::Result<Option<Header>> {
        if position + HEADER_LEN as u64 > self.end {
            return Ok(None);
        }
        let inside =
            position >= self.window_at && position + HEADER_LEN as u64 <= self.window_at + self.window_len as u64;
        if !inside {
            let wanted = (self.end - position).min(WINDOW as u64) as usize;
            self.window_len = self.file.read_at(position, &mut self.window[..wanted], self.cached)?;
            self.window_at = position;
        }
        let from = (position - self.window_at) as usize;
        let header = Header::parse(&self.window[from..self.window_len]);
        Ok(header.filter(|header| position + header.size <= self.end))
    }
}

/// Reads whole batches and checks them, in large pieces: for recovery.
pub(super) struct Scan<'a> {
    file: &'a dyn DataFile,
    end: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> Scan<'a> {
    /// Read at once; larger batches take what they need.
    const PIECE: u64 = 1 << 20;

    pub(super) fn new(file: &'a dyn DataFile, end: u64) -> Self {
        Self { file, end, buffer: Vec::new(), buffer_at: 0 }
    }

    fn bytes(&mut self, position: u64, len: u64) -> io::Result<&[u8]> {
        let held = self.buffer_at..self.buffer_at + self.buffer.len() as u64;
        if position < held.start || position + len > held.end {
            self.buffer.resize(len.max(Self::PIECE.min(self.end - position)) as usize, 0);
            self.buffer_at = position;
            read_exact_at(self.file, position, &mut self.buffer)?;
        }
        let from = (position - self.buffer_at) as usize;
        Ok(&self.buffer[from..from + len as usize])
    }

    /// The batch at `position` with its bytes; `None` when it is torn, implausible or damaged.
    pub(super) fn batch(&mut self, position: u64) -> io::Result<Option<(Header, &[u8])>> {
        if position + HEADER_LEN as u64 > self.end {
            return Ok(None);
        }
        let Some(header) = Header::parse(self.bytes(position, HEADER_LEN as u64)?) else { return Ok(None) };
        if header.size > MAX_BATCH_BYTES || position + header.size > self.end {
            return Ok(None);
        }
        let bytes = self.bytes(position, header.size)?;
        Ok(crc_matches(bytes).then_some((header, bytes)))
    }
}
