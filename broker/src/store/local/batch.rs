//! Finding record batches in files, by their headers.

use std::io;

use super::fs::{DataFile, read_exact_at};
pub(super) use crate::store::header::{HEADER_LEN, Header, crc_matches};

/// Largest batch that is stored or believed (bytes): bounds what a damaged length makes recovery read into memory.
pub(super) const MAX_BATCH_BYTES: u64 = 256 << 20;
/// Read at once while batches are walked: several small batches per system call, and it fits on the stack.
const WINDOW: usize = 8 * 1024;

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
