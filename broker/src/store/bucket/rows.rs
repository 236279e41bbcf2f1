//! What stands under the keys of a shard beside batches and state. Each begins with its version.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::keys::{Class, Number, Segment};
use crate::store::{Offset, PartitionId};

const VERSION: u8 = 1;
const ASIDE: u8 = 1;

/// What is true of a whole shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShardRow {
    /// For the next partition; those below are given.
    pub(super) next_number: Number,
}

/// A partition, for as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartitionRow {
    pub(super) id: PartitionId,
    /// Nobody knew it: kept, but no longer found by its id.
    pub(super) aside: bool,
    /// What is below may be gone.
    pub(super) log_start: Offset,
}

/// A contiguous part of a partition, all of it in one segment. The last one is open: written again with every append,
/// and its end is the log's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkRow {
    pub(super) segment: Segment,
    pub(super) end: Offset,
    pub(super) bytes: u64,
    /// Largest record timestamp (ms since 1970); -1 when it holds none.
    pub(super) max_timestamp: i64,
    /// When its first batch came, on the cluster clock (ms since 1970); -1 before.
    pub(super) first_append_ms: i64,
}

/// An entry of a partition's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateRow {
    /// Where the log ended when it got this value: state that was gathered before must not replace it.
    pub(super) end: Offset,
    /// The caller's; empty when the entry was removed.
    pub(super) value: Bytes,
}

impl StateRow {
    pub(super) fn encode(&self) -> Bytes {
        let mut row = BytesMut::with_capacity(9 + self.value.len());
        row.put_u8(VERSION);
        row.put_i64(self.end);
        row.put_slice(&self.value);
        row.freeze()
    }

    pub(super) fn decode(row: &Bytes) -> Option<Self> {
        let (version, rest) = row.split_first()?;
        let (end, _) = rest.split_first_chunk()?;
        (*version == VERSION).then(|| Self { end: i64::from_be_bytes(*end), value: row.slice(9..) })
    }
}

impl ShardRow {
    pub(super) fn encode(self) -> Bytes {
        let mut row = BytesMut::with_capacity(5);
        row.put_u8(VERSION);
        row.put_u32(self.next_number);
        row.freeze()
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let mut rest = fields(row, 4)?;
        Some(Self { next_number: rest.get_u32() })
    }
}

impl PartitionRow {
    pub(super) fn encode(self) -> Bytes {
        let mut row = BytesMut::with_capacity(30);
        row.put_u8(VERSION);
        row.put_u128(self.id.topic.as_u128());
        row.put_i32(self.id.index);
        row.put_u8(if self.aside { ASIDE } else { 0 });
        row.put_i64(self.log_start);
        row.freeze()
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let mut rest = fields(row, 29)?;
        Some(Self {
            id: PartitionId { topic: Uuid::from_u128(rest.get_u128()), index: rest.get_i32() },
            aside: rest.get_u8() & ASIDE != 0,
            log_start: rest.get_i64(),
        })
    }
}

impl ChunkRow {
    pub(super) fn encode(self) -> Bytes {
        let mut row = BytesMut::with_capacity(38);
        row.put_u8(VERSION);
        row.put_u8(self.segment.class.byte());
        row.put_u32(self.segment.bucket);
        row.put_i64(self.end);
        row.put_u64(self.bytes);
        row.put_i64(self.max_timestamp);
        row.put_i64(self.first_append_ms);
        row.freeze()
    }

    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let mut rest = fields(row, 37)?;
        Some(Self {
            segment: Segment { class: Class::from_byte(rest.get_u8())?, bucket: rest.get_u32() },
            end: rest.get_i64(),
            bytes: rest.get_u64(),
            max_timestamp: rest.get_i64(),
            first_append_ms: rest.get_i64(),
        })
    }
}

/// What follows the version, when both are as they should be.
fn fields(row: &[u8], len: usize) -> Option<&[u8]> {
    let (version, rest) = row.split_first()?;
    (*version == VERSION && rest.len() == len).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_and_others_are_refused() {
        let shard = ShardRow { next_number: 7 };
        assert_eq!(ShardRow::decode(&shard.encode()), Some(shard));
        let id = PartitionId { topic: Uuid::from_u128(5), index: -3 };
        for aside in [false, true] {
            let partition = PartitionRow { id, aside, log_start: 1 << 40 };
            assert_eq!(PartitionRow::decode(&partition.encode()), Some(partition));
        }
        for value in ["", "value"] {
            let state = StateRow { end: 9, value: Bytes::from_static(value.as_bytes()) };
            assert_eq!(StateRow::decode(&state.encode()), Some(state));
        }
        assert_eq!(StateRow::decode(&Bytes::from_static(b"\x01\0\0\0\0\0\0\0")), None);
        let segment = Segment { class: Class::COMPACTED, bucket: 9 };
        let chunk = ChunkRow { segment, end: 5, bytes: 6, max_timestamp: -1, first_append_ms: 8 };
        let row = chunk.encode();
        assert_eq!(ChunkRow::decode(&row), Some(chunk));
        for wrong in [&row[..0], &row[..row.len() - 1], &[&row[..], b"x"].concat(), &[b"\x02", &row[1..]].concat()] {
            assert_eq!(ChunkRow::decode(wrong), None);
        }
        let mut other_class = row.to_vec();
        other_class[1] = 200;
        assert_eq!(ChunkRow::decode(&other_class), None);
    }
}
