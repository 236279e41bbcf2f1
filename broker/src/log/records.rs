//! Records inside batches (magic 2): walking any client's, reading them, and building the broker's own.
//!
//! Everything here works on bytes alone, returns an error for whatever a client may send, and takes no memory because
//! of a number that the bytes claim.

use std::cell::RefCell;
use std::io::{self, Read};
use std::ops::ControlFlow;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use thiserror::Error;

use super::LogError;
use super::codec::{self, Codec, Decoder};
use super::header::{Attributes, BatchHeader, Batches, HEADER_LEN, HeaderError, NO_PRODUCER, NO_TIMESTAMP};

/// Piece of decompressed records that is looked at in one go while walking.
const WINDOW: usize = 64 * 1024;

/// A record to be written by the broker itself. `None` as value is a tombstone.
#[derive(Clone, Debug)]
pub struct NewRecord {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

/// A record as read from a batch.
#[derive(Clone, Debug)]
pub struct Record {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
}

/// Why the records of a batch cannot be read.
#[derive(Debug, Error)]
pub enum RecordError {
    #[error("a record is cut off or its lengths disagree")]
    Malformed,
    #[error("the batch does not hold as many records as its header says ({0})")]
    Count(i32),
    #[error("compression codec is unknown")]
    UnknownCodec,
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("cannot decompress: {0}")]
    Decompress(#[from] io::Error),
}

impl From<RecordError> for LogError {
    fn from(error: RecordError) -> Self {
        LogError::Refused { code: ResponseError::CorruptMessage, message: error.to_string() }
    }
}

/// What walking tells about each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub has_key: bool,
}

/// Visits `count` records, which must be all there are, without keeping any of them. Stops early, successfully, when
/// the visitor breaks.
pub fn walk(
    codec: Codec,
    records: &[u8],
    count: i32,
    visit: impl FnMut(RecordHead) -> ControlFlow<()>,
) -> Result<(), RecordError> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    match codec {
        Codec::None => walk_input(SliceInput { rest: records }, count, visit),
        compressed => {
            // Taken out for the time of the walk, so that a visitor may walk too.
            let mut buffer = BUFFER.take();
            buffer.resize(WINDOW, 0);
            let decoder = Decoder::new(compressed, records)?;
            let input = StreamInput { reader: decoder, buffer: &mut buffer, position: 0, filled: 0 };
            let walked = walk_input(input, count, visit);
            BUFFER.replace(buffer);
            walked
        }
    }
}

/// Bytes that are looked at once, front to back.
trait Cursor {
    fn byte(&mut self) -> Result<u8, RecordError>;
    fn skip(&mut self, len: usize) -> Result<(), RecordError>;

    #[inline]
    fn varint(&mut self) -> Result<i32, RecordError> {
        varint(|| self.byte())
    }

    /// Skips a length and as many bytes; false when the length is -1.
    #[inline]
    fn nullable_bytes(&mut self) -> Result<bool, RecordError> {
        match self.varint()? {
            -1 => Ok(false),
            len => {
                self.skip(usize::try_from(len).map_err(|_| RecordError::Malformed)?)?;
                Ok(true)
            }
        }
    }

    /// A record behind its length, up to wherever it ends.
    #[inline]
    fn body(&mut self) -> Result<RecordHead, RecordError> {
        self.byte()?; // attributes, unused
        let timestamp_delta = varlong(|| self.byte())?;
        let offset_delta = self.varint()?;
        let has_key = self.nullable_bytes()?;
        self.nullable_bytes()?;
        let headers = self.varint()?;
        if headers < 0 {
            return Err(RecordError::Malformed);
        }
        for _ in 0..headers {
            if !self.nullable_bytes()? {
                return Err(RecordError::Malformed);
            }
            self.nullable_bytes()?;
        }
        Ok(RecordHead { timestamp_delta, offset_delta, has_key })
    }
}

/// Records one after the other.
trait Input: Cursor {
    fn record(&mut self) -> Result<RecordHead, RecordError>;
    fn at_end(&mut self) -> Result<bool, RecordError>;
}

struct SliceInput<'a> {
    rest: &'a [u8],
}

impl Cursor for SliceInput<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordError> {
        take_byte(&mut self.rest)
    }

    #[inline]
    fn skip(&mut self, len: usize) -> Result<(), RecordError> {
        self.rest = self.rest.get(len..).ok_or(RecordError::Malformed)?;
        Ok(())
    }
}

impl Input for SliceInput<'_> {
    /// The hot path of uncompressed batches: bounds are those of the record's own slice, checked once per step.
    #[inline]
    fn record(&mut self) -> Result<RecordHead, RecordError> {
        let length = self.varint()?;
        let record = take_bytes(&mut self.rest, length)?.ok_or(RecordError::Malformed)?;
        whole_record(record)
    }

    fn at_end(&mut self) -> Result<bool, RecordError> {
        Ok(self.rest.is_empty())
    }
}

#[inline]
fn whole_record(record: &[u8]) -> Result<RecordHead, RecordError> {
    let mut fields = SliceInput { rest: record };
    let head = fields.body()?;
    if fields.rest.is_empty() { Ok(head) } else { Err(RecordError::Malformed) }
}

struct StreamInput<'a, R> {
    reader: R,
    buffer: &'a mut [u8],
    position: usize,
    filled: usize,
}

impl<R: Read> StreamInput<'_, R> {
    /// True when there is at least one more byte.
    fn fill(&mut self) -> Result<bool, RecordError> {
        if self.position == self.filled {
            self.position = 0;
            self.filled = self.reader.read(self.buffer)?;
        }
        Ok(self.filled > 0)
    }
}

impl<R: Read> Cursor for StreamInput<'_, R> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordError> {
        if !self.fill()? {
            return Err(RecordError::Malformed);
        }
        let byte = self.buffer[self.position];
        self.position += 1;
        Ok(byte)
    }

    fn skip(&mut self, mut len: usize) -> Result<(), RecordError> {
        while len > 0 {
            if !self.fill()? {
                return Err(RecordError::Malformed);
            }
            let step = len.min(self.filled - self.position);
            self.position += step;
            len -= step;
        }
        Ok(())
    }
}

impl<R: Read> Input for StreamInput<'_, R> {
    fn record(&mut self) -> Result<RecordHead, RecordError> {
        let length = self.varint()?;
        let left = usize::try_from(length).map_err(|_| RecordError::Malformed)?;
        let mut fields = Fields { input: self, left };
        let head = fields.body()?;
        if fields.left == 0 { Ok(head) } else { Err(RecordError::Malformed) }
    }

    fn at_end(&mut self) -> Result<bool, RecordError> {
        Ok(!self.fill()?)
    }
}

/// An input together with how much of the current record is left.
struct Fields<'i, I> {
    input: &'i mut I,
    left: usize,
}

impl<I: Input> Cursor for Fields<'_, I> {
    #[inline]
    fn byte(&mut self) -> Result<u8, RecordError> {
        self.left = self.left.checked_sub(1).ok_or(RecordError::Malformed)?;
        self.input.byte()
    }

    #[inline]
    fn skip(&mut self, len: usize) -> Result<(), RecordError> {
        self.left = self.left.checked_sub(len).ok_or(RecordError::Malformed)?;
        self.input.skip(len)
    }
}

fn walk_input<I: Input>(
    mut input: I,
    count: i32,
    mut visit: impl FnMut(RecordHead) -> ControlFlow<()>,
) -> Result<(), RecordError> {
    for _ in 0..count {
        if visit(input.record()?).is_break() {
            return Ok(());
        }
    }
    if input.at_end()? { Ok(()) } else { Err(RecordError::Count(count)) }
}

/// A zigzag varint of at most five bytes.
#[inline]
fn varint(mut byte: impl FnMut() -> Result<u8, RecordError>) -> Result<i32, RecordError> {
    let first = byte()?;
    let mut value = u32::from(first & 0x7f);
    if first >= 0x80 {
        for shift in [7, 14, 21, 28] {
            let next = byte()?;
            value |= u32::from(next & 0x7f) << shift;
            if next < 0x80 {
                return if shift == 28 && next > 0x0f { Err(RecordError::Malformed) } else { Ok(zigzag(value)) };
            }
        }
        return Err(RecordError::Malformed);
    }
    Ok(zigzag(value))
}

fn zigzag(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

/// A zigzag varint of at most ten bytes.
#[inline]
fn varlong(mut byte: impl FnMut() -> Result<u8, RecordError>) -> Result<i64, RecordError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let next = byte()?;
        value |= u64::from(next & 0x7f) << shift;
        if next < 0x80 {
            if shift == 63 && next > 1 {
                return Err(RecordError::Malformed);
            }
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    Err(RecordError::Malformed)
}

/// One record in uncompressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Number of headers and the headers, as they stand.
    pub headers: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// Takes one record off the front of `rest`.
    fn take(rest: &mut &'a [u8]) -> Result<Self, RecordError> {
        let length = take_varint(rest)?;
        let mut fields = take_bytes(rest, length)?.ok_or(RecordError::Malformed)?;
        // This checks the headers too, which are then kept as they stand.
        whole_record(fields)?;
        take_byte(&mut fields)?;
        let timestamp_delta = varlong(|| take_byte(&mut fields))?;
        let offset_delta = take_varint(&mut fields)?;
        let len = take_varint(&mut fields)?;
        let key = take_bytes(&mut fields, len)?;
        let len = take_varint(&mut fields)?;
        let value = take_bytes(&mut fields, len)?;
        Ok(Self { timestamp_delta, offset_delta, key, value, headers: fields })
    }
}

#[inline]
fn take_byte(rest: &mut &[u8]) -> Result<u8, RecordError> {
    let (&byte, tail) = rest.split_first().ok_or(RecordError::Malformed)?;
    *rest = tail;
    Ok(byte)
}

fn take_varint(rest: &mut &[u8]) -> Result<i32, RecordError> {
    varint(|| take_byte(rest))
}

#[inline]
fn take_bytes<'a>(rest: &mut &'a [u8], len: i32) -> Result<Option<&'a [u8]>, RecordError> {
    if len == -1 {
        return Ok(None);
    }
    let len = usize::try_from(len).map_err(|_| RecordError::Malformed)?;
    let (bytes, tail) = rest.split_at_checked(len).ok_or(RecordError::Malformed)?;
    *rest = tail;
    Ok(Some(bytes))
}

/// The records in `plain` (uncompressed), which must be `count`.
pub fn views(plain: &[u8], count: i32) -> impl Iterator<Item = Result<RecordView<'_>, RecordError>> {
    let mut rest = plain;
    let mut seen = 0;
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed || (seen >= count && rest.is_empty()) {
            return None;
        }
        let record =
            if seen >= count || rest.is_empty() { Err(RecordError::Count(count)) } else { RecordView::take(&mut rest) };
        seen = seen.saturating_add(1);
        failed = record.is_err();
        Some(record)
    })
}

/// The records of a batch, uncompressed: as they stand, or decompressed into `buffer`.
pub fn plain<'a>(header: &BatchHeader, batch: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<&'a [u8], RecordError> {
    let records = batch.get(HEADER_LEN..).unwrap_or_default();
    match header.attributes.codec().ok_or(RecordError::UnknownCodec)? {
        Codec::None => Ok(records),
        _ if records.is_empty() => Ok(records),
        compressed => {
            codec::decompress(compressed, records, buffer)?;
            Ok(buffer)
        }
    }
}

/// The records of consecutive whole batches (control batches are skipped), decompressed within bounds.
pub fn read_records(batches: Bytes) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::new();
    for batch in Batches::new(&batches) {
        let (header, batch) = batch.map_err(RecordError::from)?;
        if !header.attributes.control() {
            records.extend(read_batch(&header, &batches.slice_ref(batch))?);
        }
    }
    Ok(records)
}

/// The records of one whole batch, decompressed within bounds.
pub(super) fn read_batch(header: &BatchHeader, batch: &Bytes) -> Result<Vec<Record>, RecordError> {
    let mut buffer = Vec::new();
    let compressed = header.attributes.codec() != Some(Codec::None);
    let owner = if compressed {
        plain(header, batch, &mut buffer)?;
        Bytes::from(buffer)
    } else {
        batch.slice(HEADER_LEN..)
    };
    let record = |view: RecordView<'_>| Record {
        offset: header.offset(view.offset_delta),
        timestamp: header.timestamp(view.timestamp_delta),
        key: view.key.map(|key| owner.slice_ref(key)),
        value: view.value.map(|value| owner.slice_ref(value)),
    };
    views(&owner, header.count).map(|view| view.map(record)).collect()
}

/// Appends one record in its wire form.
pub fn encode(out: &mut Vec<u8>, record: &RecordView<'_>) {
    let body = 1
        + varlong_len(record.timestamp_delta)
        + varlong_len(i64::from(record.offset_delta))
        + nullable_len(record.key)
        + nullable_len(record.value)
        + record.headers.len();
    put_varlong(out, body as i64);
    out.push(0);
    put_varlong(out, record.timestamp_delta);
    put_varlong(out, i64::from(record.offset_delta));
    put_nullable(out, record.key);
    put_nullable(out, record.value);
    out.extend_from_slice(record.headers);
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_len(bytes.len() as i64) + bytes.len())
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varlong(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn varlong_len(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)) as u64;
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

/// The same bytes serve as varint where the value fits one.
fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

/// Puts records into one uncompressed batch with base offset 0 and leader epoch -1, sealed.
pub fn build(records: &[NewRecord]) -> (BatchHeader, Vec<u8>) {
    let base_timestamp = records.first().map_or(NO_TIMESTAMP, |record| record.timestamp);
    let mut body = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let view = RecordView {
            timestamp_delta: record.timestamp.wrapping_sub(base_timestamp),
            offset_delta: index as i32,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &[0],
        };
        encode(&mut body, &view);
    }
    let mut header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        leader_epoch: -1,
        crc: 0,
        attributes: Attributes::new(Codec::None, false),
        last_offset_delta: records.len() as i32 - 1,
        base_timestamp,
        max_timestamp: records.iter().map(|record| record.timestamp).max().unwrap_or(NO_TIMESTAMP),
        producer_id: NO_PRODUCER,
        producer_epoch: -1,
        base_sequence: -1,
        count: records.len() as i32,
    };
    header.seal(&body);
    (header, body)
}
