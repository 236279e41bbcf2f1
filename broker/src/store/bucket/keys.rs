//! The keys of a shard. Their form is fixed for ever: SlateDB routes by the first bytes, and no key is rewritten.
//!
//! All numbers are big-endian, so that keys sort as what they mean. Every key begins with a [`Segment`], the unit that
//! SlateDB keeps in files of its own and that is dropped as a whole:
//!
//! | key | value |
//! | --- | --- |
//! | `00 00000000` `00` | shard: [`super::rows::ShardRow`] |
//! | `00 00000000` `01` number (4) | partition: [`super::rows::PartitionRow`] |
//! | `00 00000000` `02` number (4) first offset (8) | chunk: [`super::rows::ChunkRow`] |
//! | `00 00000000` `03` number (4) caller's key | an entry of the partition's state: [`super::rows::StateRow`] |
//! | class (1) bucket (4) number (4) last offset (8) | a record batch, verbatim |
//!
//! The number is the shard's own for a partition and is never given again, so what is left of a deleted partition can
//! never be taken for another's. Taking over a shard reads kinds 0 to 2 in one scan, and of kind 3 nothing.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use slatedb::{PrefixExtractor, PrefixTarget};

use crate::store::{Offset, PartitionOptions};

/// Never reused within its shard.
pub(super) type Number = u32;

/// Bytes of a [`Segment`].
pub(super) const SEGMENT_LEN: usize = 5;
const BATCH_KEY_LEN: usize = SEGMENT_LEN + 12;

const KIND_SHARD: u8 = 0;
const KIND_PARTITION: u8 = 1;
const KIND_CHUNK: u8 = 2;
const KIND_STATE: u8 = 3;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Which records are kept together: those that expire at about the same time.
///
/// | class | records of partitions | a bucket spans |
/// | --- | --- | --- |
/// | 0 | none: headers and state, which never expire | everything |
/// | 1 | compacted by key only, which never expire as a whole | everything |
/// | 2 | kept up to an hour | 10 minutes |
/// | 3 | up to 6 hours | 1 hour |
/// | 4 | up to a day | 4 hours |
/// | 5 | up to a week | 1 day |
/// | 6 | up to 30 days | 5 days |
/// | 7 | up to a year | 30 days |
/// | 8 | for longer, or without limit in time | 180 days |
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Class(u8);

impl Class {
    pub(super) const META: Self = Self(0);
    pub(super) const COMPACTED: Self = Self(1);
    /// Longest retention and span of a bucket (ms) of the classes from 2 on.
    const TIMED: [(i64, i64); 7] = [
        (HOUR, 10 * MINUTE),
        (6 * HOUR, HOUR),
        (DAY, 4 * HOUR),
        (7 * DAY, DAY),
        (30 * DAY, 5 * DAY),
        (365 * DAY, 30 * DAY),
        (i64::MAX, 180 * DAY),
    ];
    const FIRST_TIMED: u8 = 2;

    pub(super) fn of(options: &PartitionOptions) -> Self {
        if options.compacted {
            return Self::COMPACTED;
        }
        let wanted = if options.retention_ms < 0 { i64::MAX } else { options.retention_ms };
        let tier = Self::TIMED.iter().position(|(longest, _)| wanted <= *longest).unwrap_or(Self::TIMED.len() - 1);
        Self(Self::FIRST_TIMED + tier as u8)
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        (usize::from(byte) < usize::from(Self::FIRST_TIMED) + Self::TIMED.len()).then_some(Self(byte))
    }

    pub(super) fn byte(self) -> u8 {
        self.0
    }

    /// The bucket for what is appended at this time (ms since 1970).
    pub(super) fn bucket(self, now_ms: i64) -> u32 {
        match self.0.checked_sub(Self::FIRST_TIMED) {
            Some(tier) => {
                let (_, span) = Self::TIMED[usize::from(tier)];
                u32::try_from(now_ms.max(0) / span).unwrap_or(u32::MAX)
            }
            None => 0,
        }
    }

    /// Its segments are dropped once nothing in them is wanted.
    pub(super) fn expires(self) -> bool {
        self.0 >= Self::FIRST_TIMED
    }
}

/// A class and a bucket of time: the first five bytes of every key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Segment {
    pub(super) class: Class,
    pub(super) bucket: u32,
}

impl Segment {
    const META: Self = Self { class: Class::META, bucket: 0 };

    /// `None` when these bytes are no segment of ours.
    pub(super) fn parse(prefix: &[u8]) -> Option<Self> {
        let (class, bucket) = prefix.get(..SEGMENT_LEN)?.split_first()?;
        Some(Self { class: Class::from_byte(*class)?, bucket: u32::from_be_bytes(bucket.try_into().ok()?) })
    }

    fn put(self, key: &mut BytesMut) {
        key.put_u8(self.class.byte());
        key.put_u32(self.bucket);
    }
}

fn meta(kind: u8, rest: usize) -> BytesMut {
    let mut key = BytesMut::with_capacity(SEGMENT_LEN + 1 + rest);
    Segment::META.put(&mut key);
    key.put_u8(kind);
    key
}

pub(super) fn shard() -> Bytes {
    meta(KIND_SHARD, 0).freeze()
}

pub(super) fn partition(number: Number) -> Bytes {
    let mut key = meta(KIND_PARTITION, 4);
    key.put_u32(number);
    key.freeze()
}

pub(super) fn chunk(number: Number, start: Offset) -> Bytes {
    let mut key = meta(KIND_CHUNK, 12);
    key.put_u32(number);
    key.put_u64(start as u64);
    key.freeze()
}

pub(super) fn state(number: Number, entry: &[u8]) -> Bytes {
    let mut key = meta(KIND_STATE, 4 + entry.len());
    key.put_u32(number);
    key.put_slice(entry);
    key.freeze()
}

/// All of a partition's state. The caller's key follows the first [`STATE_PREFIX_LEN`] bytes.
pub(super) fn states(number: Number) -> Range<Bytes> {
    let end = match number.checked_add(1) {
        Some(next) => state(next, &[]),
        None => meta(KIND_STATE + 1, 0).freeze(),
    };
    state(number, &[])..end
}

pub(super) const STATE_PREFIX_LEN: usize = SEGMENT_LEN + 1 + 4;

/// What taking over a shard reads.
pub(super) fn headers() -> Range<Bytes> {
    meta(KIND_SHARD, 0).freeze()..meta(KIND_STATE, 0).freeze()
}

pub(super) fn batch(segment: Segment, number: Number, last_offset: Offset) -> Bytes {
    let mut key = BytesMut::with_capacity(BATCH_KEY_LEN);
    segment.put(&mut key);
    key.put_u32(number);
    key.put_u64(last_offset as u64);
    key.freeze()
}

/// The batches of a partition whose last offset lies in a range.
pub(super) fn batches(segment: Segment, number: Number, last_offsets: Range<Offset>) -> Range<Bytes> {
    batch(segment, number, last_offsets.start)..batch(segment, number, last_offsets.end)
}

/// A key, read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Shard,
    Partition(Number),
    Chunk(Number, Offset),
    State(Number),
    Batch(Segment, Number, Offset),
}

impl Key {
    /// `None` when it is none of ours.
    pub(super) fn parse(key: &[u8]) -> Option<Self> {
        let segment = Segment::parse(key)?;
        let rest = &key[SEGMENT_LEN..];
        if segment.class != Class::META {
            let (number, offset) = number_and_offset(rest)?;
            return Some(Self::Batch(segment, number, offset));
        }
        let (kind, rest) = rest.split_first()?;
        match *kind {
            KIND_SHARD if rest.is_empty() => Some(Self::Shard),
            KIND_PARTITION => Some(Self::Partition(u32::from_be_bytes(rest.try_into().ok()?))),
            KIND_CHUNK => number_and_offset(rest).map(|(number, start)| Self::Chunk(number, start)),
            KIND_STATE => Some(Self::State(u32::from_be_bytes(rest.get(..4)?.try_into().ok()?))),
            _ => None,
        }
    }
}

fn number_and_offset(bytes: &[u8]) -> Option<(Number, Offset)> {
    let (number, offset) = bytes.split_at_checked(4)?;
    let offset = i64::try_from(u64::from_be_bytes(offset.try_into().ok()?)).ok()?;
    Some((u32::from_be_bytes(number.try_into().ok()?), offset))
}

/// Tells SlateDB how long a [`Segment`] is.
pub(super) struct Segments;

impl PrefixExtractor for Segments {
    /// Stored with every shard; another name would mean other keys.
    fn name(&self) -> &str {
        "lockgate-segment-1"
    }

    fn prefix_len(&self, target: &PrefixTarget) -> Option<usize> {
        let (PrefixTarget::Point(bytes) | PrefixTarget::Prefix(bytes)) = target;
        (bytes.len() >= SEGMENT_LEN).then_some(SEGMENT_LEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(retention_ms: i64) -> PartitionOptions {
        PartitionOptions { segment_bytes: 1, segment_ms: 1, retention_ms, compacted: false, internal: false }
    }

    #[test]
    fn keys_read_back() {
        let segment = Segment { class: Class(5), bucket: 20_000 };
        for (key, meant) in [
            (shard(), Key::Shard),
            (partition(7), Key::Partition(7)),
            (chunk(7, 9), Key::Chunk(7, 9)),
            (state(7, b"p123"), Key::State(7)),
            (batch(segment, 7, 9), Key::Batch(segment, 7, 9)),
        ] {
            assert_eq!(Key::parse(&key), Some(meant));
            assert_eq!(Segments.prefix_len(&PrefixTarget::Point(key.clone())), Some(SEGMENT_LEN));
        }
        for wrong in [&b""[..], b"\0\0\0\0\0", b"\0\0\0\0\0\x09", b"\xff\0\0\0\0", b"\x05\0\0\0\0\0\0\0\x01"] {
            assert_eq!(Key::parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(Key::parse(&[&batch(segment, 7, 9)[..], b"x"].concat()), None);
    }

    /// These bytes are in buckets: a change here loses data.
    #[test]
    fn the_form_is_fixed() {
        let hex = |key: Bytes| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(shard()), "000000000000");
        assert_eq!(hex(partition(258)), "00000000000100000102");
        assert_eq!(hex(chunk(258, 3)), "000000000002000001020000000000000003");
        assert_eq!(hex(state(258, b"ab")), "000000000003000001026162");
        let segment = Segment { class: Class(5), bucket: 0x1_0000 };
        assert_eq!(hex(batch(segment, 258, 3)), "0500010000000001020000000000000003");
    }

    #[test]
    fn ranges_hold_what_they_should() {
        let segment = Segment { class: Class::COMPACTED, bucket: 0 };
        let range = batches(segment, 7, 5..9);
        assert!(range.contains(&batch(segment, 7, 5)) && range.contains(&batch(segment, 7, 8)));
        assert!(!range.contains(&batch(segment, 7, 9)) && !range.contains(&batch(segment, 8, 5)));
        for key in [shard(), partition(u32::MAX), chunk(u32::MAX, i64::MAX)] {
            assert!(headers().contains(&key));
        }
        assert!(!headers().contains(&state(0, b"")) && !headers().contains(&batch(segment, 0, 0)));
        for number in [0, 7, u32::MAX] {
            assert!(
                states(number).contains(&state(number, b"\xff\xff")) && states(number).contains(&state(number, b""))
            );
        }
        assert!(!states(7).contains(&state(8, b"")));
        assert_eq!(state(7, b"abc")[STATE_PREFIX_LEN..], *b"abc");
    }

    #[test]
    fn classes_go_by_retention() {
        let class = |retention_ms| Class::of(&kept(retention_ms)).byte();
        assert_eq!([0, 1, HOUR, HOUR + 1, 7 * DAY, 8 * DAY, -1, i64::MAX].map(class), [2, 2, 2, 3, 5, 6, 8, 8]);
        assert_eq!(Class::of(&PartitionOptions { compacted: true, ..kept(1) }), Class::COMPACTED);
        assert!(!Class::META.expires() && !Class::COMPACTED.expires() && Class(2).expires());
        assert_eq!(Class(5).bucket(3 * DAY + 5), 3);
        assert_eq!(
            (Class::COMPACTED.bucket(i64::MAX), Class(2).bucket(-5), Class(2).bucket(i64::MAX)),
            (0, 0, u32::MAX)
        );
        assert_eq!((Class::from_byte(8), Class::from_byte(9)), (Some(Class(8)), None));
    }
}
