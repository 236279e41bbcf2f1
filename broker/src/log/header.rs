//! The fixed part of a record batch (magic 2) as Kafka lays it out: parsing, patching, and splitting bytes into batches.

use thiserror::Error;

use super::codec::Codec;

/// Bytes before the first record.
pub const HEADER_LEN: usize = 61;
/// Base offset and batch length: what `batch_length` does not count.
pub const LENGTH_OVERHEAD: usize = 12;

const LENGTH_AT: usize = 8;
const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// The CRC covers everything from here to the end.
const ATTRIBUTES_AT: usize = 21;
const LAST_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const COUNT_AT: usize = 57;

const CODEC_BITS: i16 = 0b111;
const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;

pub const NO_PRODUCER: i64 = -1;
pub const NO_TIMESTAMP: i64 = -1;

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    #[error("{0} bytes are too few for a record batch")]
    Short(usize),
    #[error("batch length {0} is impossible")]
    Length(i32),
    #[error("magic {0} is not supported, only 2 is")]
    Magic(i8),
}

/// Bits of the attributes field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    pub fn new(codec: Codec, log_append_time: bool) -> Self {
        Self(codec.id() | if log_append_time { LOG_APPEND_TIME_BIT } else { 0 })
    }

    /// Of a batch that ends a transaction.
    pub fn control_batch() -> Self {
        Self(TRANSACTIONAL_BIT | CONTROL_BIT)
    }

    /// `None` for an id that no codec has.
    pub fn codec(self) -> Option<Codec> {
        Codec::from_id(self.0 & CODEC_BITS)
    }

    pub fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !CODEC_BITS | codec.id())
    }

    pub fn log_append_time(self) -> bool {
        self.0 & LOG_APPEND_TIME_BIT != 0
    }

    pub fn with_log_append_time(self) -> Self {
        Self(self.0 | LOG_APPEND_TIME_BIT)
    }

    pub fn transactional(self) -> bool {
        self.0 & TRANSACTIONAL_BIT != 0
    }

    pub fn with_transactional(self) -> Self {
        Self(self.0 | TRANSACTIONAL_BIT)
    }

    pub fn control(self) -> bool {
        self.0 & CONTROL_BIT != 0
    }

    /// The base timestamp is the time from which tombstones of this batch may go.
    pub fn delete_horizon(self) -> bool {
        self.0 & DELETE_HORIZON_BIT != 0
    }

    pub fn with_delete_horizon(self) -> Self {
        Self(self.0 | DELETE_HORIZON_BIT)
    }
}

/// Every field of the fixed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes after this field.
    pub batch_length: i32,
    pub leader_epoch: i32,
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

impl BatchHeader {
    /// Reads the fixed part; the length is possible, but the bytes may hold less or more than it says.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let head: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(HeaderError::Short(bytes.len()))?;
        let magic = head[MAGIC_AT] as i8;
        if magic != 2 {
            return Err(HeaderError::Magic(magic));
        }
        let batch_length = i32_at(head, LENGTH_AT);
        if batch_length < (HEADER_LEN - LENGTH_OVERHEAD) as i32 || batch_length > i32::MAX - LENGTH_OVERHEAD as i32 {
            return Err(HeaderError::Length(batch_length));
        }
        Ok(Self {
            base_offset: i64_at(head, 0),
            batch_length,
            leader_epoch: i32_at(head, EPOCH_AT),
            crc: i32_at(head, CRC_AT) as u32,
            attributes: Attributes(i16_at(head, ATTRIBUTES_AT)),
            last_offset_delta: i32_at(head, LAST_DELTA_AT),
            base_timestamp: i64_at(head, BASE_TIMESTAMP_AT),
            max_timestamp: i64_at(head, MAX_TIMESTAMP_AT),
            producer_id: i64_at(head, PRODUCER_ID_AT),
            producer_epoch: i16_at(head, PRODUCER_EPOCH_AT),
            base_sequence: i32_at(head, BASE_SEQUENCE_AT),
            count: i32_at(head, COUNT_AT),
        })
    }

    /// The fixed part as bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut head = [0; HEADER_LEN];
        put(&mut head, 0, self.base_offset.to_be_bytes());
        put(&mut head, LENGTH_AT, self.batch_length.to_be_bytes());
        put(&mut head, EPOCH_AT, self.leader_epoch.to_be_bytes());
        head[MAGIC_AT] = 2;
        put(&mut head, CRC_AT, self.crc.to_be_bytes());
        put(&mut head, ATTRIBUTES_AT, self.attributes.0.to_be_bytes());
        put(&mut head, LAST_DELTA_AT, self.last_offset_delta.to_be_bytes());
        put(&mut head, BASE_TIMESTAMP_AT, self.base_timestamp.to_be_bytes());
        put(&mut head, MAX_TIMESTAMP_AT, self.max_timestamp.to_be_bytes());
        put(&mut head, PRODUCER_ID_AT, self.producer_id.to_be_bytes());
        put(&mut head, PRODUCER_EPOCH_AT, self.producer_epoch.to_be_bytes());
        put(&mut head, BASE_SEQUENCE_AT, self.base_sequence.to_be_bytes());
        put(&mut head, COUNT_AT, self.count.to_be_bytes());
        head
    }

    /// Sets length and CRC for these records.
    pub fn seal(&mut self, records: &[u8]) {
        let length = HEADER_LEN - LENGTH_OVERHEAD + records.len();
        self.batch_length = i32::try_from(length).expect("callers bound batches far below 2 GiB");
        self.crc = crc32c::crc32c_append(crc32c::crc32c(&self.encode()[ATTRIBUTES_AT..]), records);
    }

    /// Length of the whole batch in bytes.
    pub fn total_len(&self) -> usize {
        self.batch_length as usize + LENGTH_OVERHEAD
    }

    pub fn last_offset(&self) -> i64 {
        self.offset(self.last_offset_delta)
    }

    /// Offset of a record, from its delta.
    pub fn offset(&self, delta: i32) -> i64 {
        self.base_offset.saturating_add(i64::from(delta))
    }

    pub fn last_sequence(&self) -> i32 {
        sequence_after(self.base_sequence, self.last_offset_delta)
    }

    /// Timestamp of a record, from its delta.
    pub fn timestamp(&self, delta: i64) -> i64 {
        if self.attributes.log_append_time() { self.max_timestamp } else { self.base_timestamp.saturating_add(delta) }
    }
}

/// `sequence + by`, where the one after `i32::MAX` is 0. Both are at least 0.
pub fn sequence_after(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) & i64::from(i32::MAX)) as i32
}

/// Whether the bytes, if they are a batch, say that they belong to a transaction.
pub fn is_transactional(batch: &[u8]) -> bool {
    batch.get(ATTRIBUTES_AT + 1).is_some_and(|low| i16::from(*low) & TRANSACTIONAL_BIT != 0)
}

/// Whether the bytes, if they are a batch, say that its records are compressed.
pub(super) fn is_compressed(batch: &[u8]) -> bool {
    batch.get(ATTRIBUTES_AT + 1).is_some_and(|low| i16::from(*low) & CODEC_BITS != 0)
}

/// The CRC-32C that a whole batch should carry.
pub fn crc_of(batch: &[u8]) -> u32 {
    crc32c::crc32c(batch.get(ATTRIBUTES_AT..).unwrap_or_default())
}

/// Splits bytes into whole batches; ends with an error where they are none.
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Batches<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), HeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        Some(BatchHeader::parse(rest).and_then(|header| {
            let (batch, rest) = rest.split_at_checked(header.total_len()).ok_or(HeaderError::Short(rest.len()))?;
            self.rest = rest;
            Ok((header, batch))
        }))
    }
}

fn put<const N: usize>(head: &mut [u8; HEADER_LEN], at: usize, bytes: [u8; N]) {
    head[at..at + N].copy_from_slice(&bytes);
}

fn at<const N: usize>(head: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    *head[at..].first_chunk().expect("every field lies within the header")
}

fn i16_at(head: &[u8; HEADER_LEN], offset: usize) -> i16 {
    i16::from_be_bytes(at(head, offset))
}

fn i32_at(head: &[u8; HEADER_LEN], offset: usize) -> i32 {
    i32::from_be_bytes(at(head, offset))
}

fn i64_at(head: &[u8; HEADER_LEN], offset: usize) -> i64 {
    i64::from_be_bytes(at(head, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BatchHeader {
        BatchHeader {
            base_offset: 1 << 40,
            batch_length: 0,
            leader_epoch: 7,
            crc: 0,
            attributes: Attributes::new(Codec::Zstd, true),
            last_offset_delta: 2,
            base_timestamp: 1_000,
            max_timestamp: 2_000,
            producer_id: 9,
            producer_epoch: 3,
            base_sequence: i32::MAX - 1,
            count: 3,
        }
    }

    #[test]
    fn encoding_round_trips_and_the_crc_ignores_offset_and_epoch() {
        let mut header = sample();
        header.seal(b"records");
        let mut batch = header.encode().to_vec();
        batch.extend_from_slice(b"records");
        assert_eq!(BatchHeader::parse(&batch), Ok(header));
        assert_eq!(header.total_len(), batch.len());
        assert_eq!(crc_of(&batch), header.crc);
        batch[..8].fill(0);
        batch[12..16].fill(0);
        assert_eq!(crc_of(&batch), header.crc);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(sample().last_sequence(), 0);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(5, 3), 8);
    }

    #[test]
    fn splitting_stops_with_an_error_at_what_is_no_batch() {
        let mut header = sample();
        header.seal(b"xy");
        let mut bytes = header.encode().to_vec();
        bytes.extend_from_slice(b"xy");
        let whole = bytes.len();
        bytes.extend_from_slice(&header.encode());
        let found: Vec<_> = Batches::new(&bytes).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].as_ref().map(|(_, batch)| batch.len()), Ok(whole));
        assert!(found[1].is_err());
        let mut negative = header.encode();
        negative[8..12].copy_from_slice(&(-5i32).to_be_bytes());
        assert_eq!(BatchHeader::parse(&negative), Err(HeaderError::Length(-5)));
    }
}
