//! The records of `__consumer_offsets`, in Apache Kafka's format: a two-byte version, then fields.
//!
//! Keys 0 and 1 name a committed offset, key 2 a classic group's metadata, 3 to 8 and 16 a consumer group
//! ([`super::consumer`]); others belong to features that this broker does not have and are passed over. Values are read
//! in versions 0 to 4. Group values are written in version 3. Offset values are written in version 4, whose tagged field 0
//! is the topic's id; in 1 when they have an expiry of their own, which no other version carries; and in 3 when the topic's
//! id is not known.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;
use uuid::Uuid;

/// Why stored bytes are not a record of this topic.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum RecordError {
    #[error("the record ends too early")]
    Short,
    #[error("{0} bytes are left over behind the record")]
    Trailing(usize),
    #[error("a length of {0} is not possible here")]
    Length(i64),
    #[error("a string is not UTF-8")]
    Text,
    #[error("version {0} of this record is not known")]
    Version(i16),
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Offset {
        group: Arc<str>,
        topic: Arc<str>,
        partition: i32,
    },
    Group {
        group: Arc<str>,
    },
    /// A kind of record that is not known here.
    Other(i16),
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetValue {
    pub offset: i64,
    /// -1 when the client did not say.
    pub leader_epoch: i32,
    pub metadata: Arc<str>,
    /// Milliseconds since 1970.
    pub commit_timestamp: i64,
    /// Milliseconds since 1970; only when an old client asked for a retention of its own.
    pub expire_timestamp: Option<i64>,
    /// The topic that the offset is of. `None` in records of older versions, and of those with an expiry.
    pub topic_id: Option<Uuid>,
}

/// A group as of its last finished rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupValue {
    pub protocol_type: Arc<str>,
    pub generation: i32,
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    /// Milliseconds since 1970, or -1.
    pub state_timestamp: i64,
    pub members: Vec<MemberValue>,
}

/// A member within [`GroupValue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberValue {
    pub id: Arc<str>,
    pub instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 3;
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
const OFFSET_VALUE_WITH_TOPIC: i16 = 4;
const GROUP_VALUE: i16 = 3;
/// First version of both values with compact lengths and tagged fields.
const FLEXIBLE: i16 = 4;

impl Key {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Key::Offset { group, topic, partition } => {
                out.put_i16(OFFSET_KEY);
                put_text(&mut out, group);
                put_text(&mut out, topic);
                out.put_i32(*partition);
            }
            Key::Group { group } => {
                out.put_i16(GROUP_KEY);
                put_text(&mut out, group);
            }
            Key::Other(version) => out.put_i16(*version),
        }
        out.freeze()
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let mut input = Input::plain(bytes);
        let key = match input.int16()? {
            0 | 1 => Key::Offset { group: input.text()?, topic: input.text()?, partition: input.int32()? },
            GROUP_KEY => Key::Group { group: input.text()? },
            other => return Ok(Key::Other(other)),
        };
        input.finish()?;
        Ok(key)
    }
}

impl OffsetValue {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match (self.expire_timestamp, self.topic_id) {
            (Some(expire), _) => {
                out.put_i16(OFFSET_VALUE_WITH_EXPIRY);
                out.put_i64(self.offset);
                put_text(&mut out, &self.metadata);
                out.put_i64(self.commit_timestamp);
                out.put_i64(expire);
            }
            (None, Some(topic)) => {
                out.put_i16(OFFSET_VALUE_WITH_TOPIC);
                out.put_i64(self.offset);
                out.put_i32(self.leader_epoch);
                put_compact(&mut out, &self.metadata);
                out.put_i64(self.commit_timestamp);
                // One tagged field: tag 0, the id's length, the id.
                out.put_slice(&[1, 0, 16]);
                out.put_slice(topic.as_bytes());
            }
            (None, None) => {
                out.put_i16(OFFSET_VALUE);
                out.put_i64(self.offset);
                out.put_i32(self.leader_epoch);
                put_text(&mut out, &self.metadata);
                out.put_i64(self.commit_timestamp);
            }
        }
        out.freeze()
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let (mut input, version) = Input::open(bytes)?;
        let value = Self {
            offset: input.int64()?,
            leader_epoch: if version >= 3 { input.int32()? } else { -1 },
            metadata: input.text()?,
            commit_timestamp: input.int64()?,
            expire_timestamp: if version == 1 { Some(input.int64()?).filter(|expire| *expire >= 0) } else { None },
            topic_id: if version >= FLEXIBLE { input.tagged_topic()? } else { None },
        };
        input.tagged_fields()?;
        input.finish()?;
        Ok(value)
    }
}

impl GroupValue {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(GROUP_VALUE);
        put_text(&mut out, &self.protocol_type);
        out.put_i32(self.generation);
        put_optional_text(&mut out, self.protocol.as_deref());
        put_optional_text(&mut out, self.leader.as_deref());
        out.put_i64(self.state_timestamp);
        out.put_i32(self.members.len() as i32);
        for member in &self.members {
            put_text(&mut out, &member.id);
            put_optional_text(&mut out, member.instance_id.as_deref());
            put_text(&mut out, &member.client_id);
            put_text(&mut out, &member.client_host);
            out.put_i32(member.rebalance_timeout_ms);
            out.put_i32(member.session_timeout_ms);
            put_bytes(&mut out, &member.subscription);
            put_bytes(&mut out, &member.assignment);
        }
        out.freeze()
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Self, RecordError> {
        let (mut input, version) = Input::open(bytes)?;
        let value = Self {
            protocol_type: input.text()?,
            generation: input.int32()?,
            protocol: input.optional_text()?,
            leader: input.optional_text()?,
            state_timestamp: if version >= 2 { input.int64()? } else { -1 },
            members: input.members(version)?,
        };
        input.tagged_fields()?;
        input.finish()?;
        Ok(value)
    }
}

/// Names are bounded where they come in ([`super::limits`]), so their lengths fit.
pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

/// With a compact length: that and one, seven bits to the byte.
fn put_compact(out: &mut BytesMut, text: &str) {
    let mut length = text.len() + 1;
    while length >= 0x80 {
        out.put_u8(length as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
    out.put_slice(text.as_bytes());
}

fn put_optional_text(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_text(out, text),
        None => out.put_i16(-1),
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

/// A checked reader: every length is compared with what is there before anything is taken or allocated.
pub(super) struct Input {
    bytes: Bytes,
    flexible: bool,
    /// Tagged fields that are still to be read, where the first was taken.
    tags_left: Option<u32>,
}

impl Input {
    /// Bytes with lengths of fixed size.
    pub(super) fn plain(bytes: Bytes) -> Self {
        Self { bytes, flexible: false, tags_left: None }
    }

    /// From here on lengths are compact, and structures end with tagged fields.
    pub(super) fn make_flexible(&mut self) {
        self.flexible = true;
    }

    /// A value: its version, and the fields to be read.
    fn open(bytes: Bytes) -> Result<(Self, i16), RecordError> {
        let mut input = Self::plain(bytes);
        let version = input.int16()?;
        if !(0..=FLEXIBLE).contains(&version) {
            return Err(RecordError::Version(version));
        }
        input.flexible = version >= FLEXIBLE;
        Ok((input, version))
    }

    fn take(&mut self, len: usize) -> Result<Bytes, RecordError> {
        if self.bytes.len() < len {
            return Err(RecordError::Short);
        }
        Ok(self.bytes.split_to(len))
    }

    pub(super) fn int16(&mut self) -> Result<i16, RecordError> {
        self.bytes.try_get_i16().map_err(|_| RecordError::Short)
    }

    pub(super) fn int32(&mut self) -> Result<i32, RecordError> {
        self.bytes.try_get_i32().map_err(|_| RecordError::Short)
    }

    pub(super) fn int64(&mut self) -> Result<i64, RecordError> {
        self.bytes.try_get_i64().map_err(|_| RecordError::Short)
    }

    pub(super) fn int8(&mut self) -> Result<i8, RecordError> {
        self.bytes.try_get_i8().map_err(|_| RecordError::Short)
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, RecordError> {
        self.bytes.try_get_u128().map(Uuid::from_u128).map_err(|_| RecordError::Short)
    }

    fn varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.bytes.try_get_u8().map_err(|_| RecordError::Short)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::Length(-1))
    }

    /// A length, or `None` for null.
    fn length(&mut self, wide: bool) -> Result<Option<usize>, RecordError> {
        let length = match (self.flexible, wide) {
            (true, _) => i64::from(self.varint()?) - 1,
            (false, true) => i64::from(self.int32()?),
            (false, false) => i64::from(self.int16()?),
        };
        match length {
            -1 => Ok(None),
            0.. => Ok(Some(length as usize)),
            _ => Err(RecordError::Length(length)),
        }
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<Arc<str>>, RecordError> {
        let Some(len) = self.length(false)? else { return Ok(None) };
        let bytes = self.take(len)?;
        std::str::from_utf8(&bytes).map(|text| Some(text.into())).map_err(|_| RecordError::Text)
    }

    pub(super) fn text(&mut self) -> Result<Arc<str>, RecordError> {
        self.optional_text()?.ok_or(RecordError::Length(-1))
    }

    /// A copy, so that a loaded group does not hold on to the batch that it came in.
    pub(super) fn byte_string(&mut self) -> Result<Bytes, RecordError> {
        let len = self.length(true)?.ok_or(RecordError::Length(-1))?;
        self.take(len).map(|bytes| Bytes::copy_from_slice(&bytes))
    }

    /// Bytes that are not needed, or null.
    pub(super) fn optional_bytes(&mut self) -> Result<(), RecordError> {
        let len = self.length(true)?.unwrap_or(0);
        self.take(len).map(drop)
    }

    pub(super) fn array<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        let count = self.length(true)?.ok_or(RecordError::Length(-1))?;
        // Every item has at least a byte.
        if count > self.bytes.len() {
            return Err(RecordError::Short);
        }
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// The first tagged field when it is tag 0; the others are left for [`Self::tagged_fields`], which is to follow.
    pub(super) fn tag_zero(&mut self) -> Result<Option<Bytes>, RecordError> {
        let before = self.bytes.clone();
        let count = self.varint()?;
        if count == 0 || self.varint()? != 0 {
            self.bytes = before;
            return Ok(None);
        }
        let len = self.varint()?;
        let field = self.take(len as usize)?;
        self.tags_left = Some(count - 1);
        Ok(Some(field))
    }

    fn members(&mut self, version: i16) -> Result<Vec<MemberValue>, RecordError> {
        let count = self.length(true)?.ok_or(RecordError::Length(-1))?;
        if count > self.bytes.len() {
            return Err(RecordError::Short);
        }
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(self.member(version)?);
        }
        Ok(members)
    }

    fn member(&mut self, version: i16) -> Result<MemberValue, RecordError> {
        let id = self.text()?;
        let instance_id = if version >= 3 { self.optional_text()? } else { None };
        let (client_id, client_host) = (self.text()?, self.text()?);
        let rebalance_timeout_ms = if version >= 1 { Some(self.int32()?) } else { None };
        let session_timeout_ms = self.int32()?;
        let member = MemberValue {
            id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: self.byte_string()?,
            assignment: self.byte_string()?,
        };
        self.tagged_fields()?;
        Ok(member)
    }

    /// The topic's id of an offset: tag 0, unless it is the id that stands for none.
    fn tagged_topic(&mut self) -> Result<Option<Uuid>, RecordError> {
        let Some(field) = self.tag_zero()? else { return Ok(None) };
        let id = Uuid::from_slice(&field).map_err(|_| RecordError::Length(field.len() as i64))?;
        Ok(Some(id).filter(|id| !id.is_nil()))
    }

    /// Passes over the tagged fields that are left: nothing that is needed here.
    pub(super) fn tagged_fields(&mut self) -> Result<(), RecordError> {
        if !self.flexible {
            return Ok(());
        }
        let count = match self.tags_left.take() {
            Some(left) => left,
            None => self.varint()?,
        };
        for _ in 0..count {
            self.varint()?;
            let len = self.varint()?;
            self.take(len as usize)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), RecordError> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(RecordError::Trailing(left)),
        }
    }
}

/// The topics of a consumer's subscription (`ConsumerProtocolSubscription`), or `None` when it is something else.
pub(super) fn subscribed_topics(subscription: &Bytes) -> Option<Vec<Arc<str>>> {
    let mut input = Input::plain(subscription.clone());
    input.int16().ok()?;
    let count = input.length(true).ok()??;
    let mut topics = Vec::new();
    for _ in 0..count {
        topics.push(input.text().ok()?);
    }
    Some(topics)
}

/// The partition of the offsets topic that keeps a group: Java's `String.hashCode`, made positive.
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash = java_hash(group);
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    positive % partitions.max(1)
}

fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> GroupValue {
        GroupValue {
            protocol_type: "consumer".into(),
            generation: 7,
            protocol: Some("range".into()),
            leader: Some("a-1".into()),
            state_timestamp: 1_700_000_000_000,
            members: vec![MemberValue {
                id: "a-1".into(),
                instance_id: None,
                client_id: "a".into(),
                client_host: "/127.0.0.1".into(),
                rebalance_timeout_ms: 300_000,
                session_timeout_ms: 45_000,
                subscription: Bytes::from_static(b"sub"),
                assignment: Bytes::from_static(b"ass"),
            }],
        }
    }

    #[test]
    fn hash_is_javas() {
        assert_eq!(java_hash("abc"), 96_354);
        assert_eq!(java_hash(""), 0);
        // Known collision with Integer.MIN_VALUE.
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        // One char in Rust, two in Java.
        assert_eq!(java_hash("\u{1F600}"), 0xD83D * 31 + 0xDE00);
        assert_eq!(partition_of("abc", 50), 4);
    }

    #[test]
    fn keys_have_kafkas_bytes() {
        let key = Key::Offset { group: "g".into(), topic: "tt".into(), partition: 5 };
        assert_eq!(&key.encode()[..], b"\0\x01\0\x01g\0\x02tt\0\0\0\x05");
        assert_eq!(Key::decode(key.encode()), Ok(key));
        let key = Key::Group { group: "g".into() };
        assert_eq!(&key.encode()[..], b"\0\x02\0\x01g");
        assert_eq!(Key::decode(key.encode()), Ok(key));
        assert_eq!(Key::decode(Bytes::from_static(b"\0\x03\0\x01g")), Ok(Key::Other(3)));
    }

    #[test]
    fn offset_values_have_kafkas_bytes() {
        let mut value = OffsetValue {
            offset: 42,
            leader_epoch: 3,
            metadata: "m".into(),
            commit_timestamp: 9,
            expire_timestamp: None,
            topic_id: None,
        };
        let expected = b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x03\0\x01m\0\0\0\0\0\0\0\x09";
        assert_eq!(&value.encode()[..], expected);
        assert_eq!(OffsetValue::decode(value.encode()), Ok(value.clone()));
        value.expire_timestamp = Some(10);
        value.leader_epoch = -1;
        let expected = b"\0\x01\0\0\0\0\0\0\0\x2a\0\x01m\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x0a";
        assert_eq!(&value.encode()[..], expected);
        assert_eq!(OffsetValue::decode(value.encode()), Ok(value));
    }

    #[test]
    fn offset_values_know_their_topic() {
        let mut bytes = BytesMut::from(&b"\0\x04\0\0\0\0\0\0\0\x2a\0\0\0\x03\x02m\0\0\0\0\0\0\0\x09\x01\0\x10"[..]);
        bytes.put_slice(&[7; 16]);
        let bytes = bytes.freeze();
        let value = OffsetValue::decode(bytes.clone()).expect("version 4");
        assert_eq!((value.offset, value.leader_epoch, &*value.metadata, value.commit_timestamp), (42, 3, "m", 9));
        assert_eq!(value.topic_id, Some(Uuid::from_bytes([7; 16])));
        assert_eq!(value.encode(), bytes);
        let long = OffsetValue { metadata: "x".repeat(4_096).into(), ..value.clone() };
        assert_eq!(OffsetValue::decode(long.encode()), Ok(long));
        let none = OffsetValue::decode(OffsetValue { topic_id: Some(Uuid::nil()), ..value.clone() }.encode());
        assert_eq!(none, Ok(OffsetValue { topic_id: None, ..value }));
    }

    #[test]
    fn other_tags_of_offset_values_are_passed_over() {
        let start = b"\0\x04\0\0\0\0\0\0\0\x2a\0\0\0\x03\x02m\0\0\0\0\0\0\0\x09";
        let decode = |tags: &[u8]| OffsetValue::decode([&start[..], tags].concat().into());
        assert_eq!(decode(b"\0").map(|value| value.topic_id), Ok(None));
        assert_eq!(decode(b"\x01\x05\x02ab").map(|value| value.topic_id), Ok(None));
        let with_more = [&b"\x02\0\x10"[..], &[7; 16], b"\x05\x02ab"].concat();
        assert_eq!(decode(&with_more).map(|value| value.topic_id), Ok(Some(Uuid::from_bytes([7; 16]))));
        assert_eq!(decode(b"\x01\0\x02ab"), Err(RecordError::Length(2)), "an id has 16 bytes");
    }

    #[test]
    fn group_values_come_back() {
        let value = value();
        assert_eq!(GroupValue::decode(value.encode()), Ok(value.clone()));
        let empty = GroupValue { protocol: None, leader: None, members: Vec::new(), ..value };
        let expected = b"\0\x03\0\x08consumer\0\0\0\x07\xff\xff\xff\xff\0\0\x01\x8b\xcf\xe5\x68\0\0\0\0\0";
        assert_eq!(&empty.encode()[..], expected);
        assert_eq!(GroupValue::decode(empty.encode()), Ok(empty));
    }

    #[test]
    fn old_group_values_are_read() {
        let bytes = Bytes::from_static(
            b"\0\0\0\x08consumer\0\0\0\x01\0\x05range\0\x01m\0\0\0\x01\0\x01m\0\x01c\0\x01h\0\0\0\x64\0\0\0\x01s\0\0\0\x01a",
        );
        let value = GroupValue::decode(bytes).expect("version 0");
        assert_eq!((value.generation, value.state_timestamp), (1, -1));
        assert_eq!((value.members[0].rebalance_timeout_ms, value.members[0].session_timeout_ms), (100, 100));
    }

    #[test]
    fn damaged_bytes_are_errors_and_never_panics() {
        let good = [
            value().encode(),
            Key::Offset { group: "g".into(), topic: "t".into(), partition: 1 }.encode(),
            Bytes::from_static(b"\0\x04\x09consumer\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\x02\x02m\0\x02c\x02h"),
        ];
        for bytes in good {
            for cut in 0..bytes.len() {
                assert!(GroupValue::decode(bytes.slice(..cut)).is_err());
                let _ = Key::decode(bytes.slice(..cut));
                let _ = OffsetValue::decode(bytes.slice(..cut));
            }
            for position in 0..bytes.len() {
                for byte in [0u8, 0x7f, 0x80, 0xff] {
                    let mut damaged = bytes.to_vec();
                    damaged[position] = byte;
                    let damaged = Bytes::from(damaged);
                    let _ = GroupValue::decode(damaged.clone());
                    let _ = OffsetValue::decode(damaged.clone());
                    let _ = Key::decode(damaged.clone());
                    let _ = subscribed_topics(&damaged);
                }
            }
        }
    }

    #[test]
    fn subscriptions_name_their_topics() {
        let bytes = Bytes::from_static(b"\0\x01\0\0\0\x02\0\x01a\0\x02bb\xff\xff\xff\xff\0\0\0\0");
        assert_eq!(subscribed_topics(&bytes), Some(vec!["a".into(), "bb".into()]));
        assert_eq!(subscribed_topics(&Bytes::from_static(b"\0\x01\xff\xff\xff\xff")), None);
        assert_eq!(subscribed_topics(&Bytes::new()), None);
    }
}

/// Hands bytes to every decoder of this module, for `fuzz/`.
#[cfg(fuzzing)]
pub fn fuzz(bytes: &Bytes) {
    if let Ok(key) = Key::decode(bytes.clone()) {
        assert_eq!(Key::decode(key.encode()).ok().map(|again| again.encode()), Some(key.encode()));
    }
    let _ = OffsetValue::decode(bytes.clone());
    let _ = GroupValue::decode(bytes.clone());
    let _ = subscribed_topics(bytes);
    super::consumer::records::fuzz(bytes);
}
