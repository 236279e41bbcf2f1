//! The records of consumer groups in Apache Kafka's format. Keys are a two-byte type, then fields; values version 0 with
//! compact lengths and tagged fields.
//!
//! | key | about | value |
//! | --- | --- | --- |
//! | 3 | the group | epoch, hash of the metadata of the subscribed topics |
//! | 4 | (Kafka 4.0: the partitions of the subscribed topics; passed over, and removed with the group) | |
//! | 5 | a member | what it told of itself |
//! | 6 | the target assignment | its epoch |
//! | 7 | a member's target | partitions |
//! | 8 | a member's current assignment | epochs, state, partitions |
//! | 16 | a regular expression | the topics it was resolved to |

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use super::assignment::Assignment;
use super::member::{ClassicProfile, Current, MemberState, Profile};
use crate::group::member::Protocol;
use crate::group::records::{Input, RecordError, put_text};

const GROUP: i16 = 3;
const PARTITION_METADATA: i16 = 4;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;
/// The only version of every value.
const VERSION: i16 = 0;

/// A change of a consumer group. `None` takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) enum ConsumerRecord {
    Group(Option<GroupEpoch>),
    /// Kafka 4.0's record. Never written with a value, and of no use.
    PartitionMetadata,
    Member(Arc<str>, Option<Profile>),
    TargetEpoch(Option<i32>),
    Target(Arc<str>, Option<Assignment>),
    Current(Arc<str>, Option<Current>),
    Regex(Arc<str>, Option<Resolved>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct GroupEpoch {
    pub(in crate::group) epoch: i32,
    /// Changes when a subscribed topic does.
    pub(in crate::group) metadata_hash: i64,
}

/// The topics that a regular expression stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Resolved {
    pub(in crate::group) topics: BTreeSet<Arc<str>>,
    /// Of the catalog's image.
    pub(in crate::group) version: i64,
    /// Milliseconds since 1970.
    pub(in crate::group) at_ms: i64,
}

impl ConsumerRecord {
    pub(in crate::group) fn encode(&self, group: &str) -> (Bytes, Option<Bytes>) {
        match self {
            Self::Group(value) => (key(GROUP, group, None), value.as_ref().map(put_group)),
            Self::PartitionMetadata => (key(PARTITION_METADATA, group, None), None),
            Self::Member(id, value) => (key(MEMBER, group, Some(id)), value.as_ref().map(put_profile)),
            Self::TargetEpoch(value) => (key(TARGET_EPOCH, group, None), value.as_ref().map(put_target_epoch)),
            Self::Target(id, value) => (key(TARGET, group, Some(id)), value.as_ref().map(put_target)),
            Self::Current(id, value) => (key(CURRENT, group, Some(id)), value.as_ref().map(put_current)),
            Self::Regex(regex, value) => (key(REGEX, group, Some(regex)), value.as_ref().map(put_resolved)),
        }
    }

    /// The group and what changes of it; `None` when the record is about something else.
    pub(in crate::group) fn decode(
        key: &Bytes,
        value: Option<&Bytes>,
    ) -> Result<Option<(Arc<str>, Self)>, RecordError> {
        let mut input = Input::plain(key.clone());
        let kind = input.int16()?;
        if !matches!(kind, GROUP..=CURRENT | REGEX) {
            return Ok(None);
        }
        let group = input.text()?;
        let record = match kind {
            GROUP => Self::Group(take(value, group_epoch)?),
            PARTITION_METADATA => Self::PartitionMetadata,
            MEMBER => Self::Member(input.text()?, take(value, profile)?),
            TARGET_EPOCH => Self::TargetEpoch(take(value, Input::int32)?),
            TARGET => Self::Target(input.text()?, take(value, assignment)?),
            CURRENT => Self::Current(input.text()?, take(value, current)?),
            _ => Self::Regex(input.text()?, take(value, resolved)?),
        };
        input.finish()?;
        Ok(Some((group, record)))
    }
}

fn key(kind: i16, group: &str, of: Option<&str>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(kind);
    put_text(&mut out, group);
    if let Some(of) = of {
        put_text(&mut out, of);
    }
    out.freeze()
}

fn value() -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i16(VERSION);
    out
}

fn put_group(value_of: &GroupEpoch) -> Bytes {
    let mut out = value();
    out.put_i32(value_of.epoch);
    // The hash is tag 0, left out where it says nothing.
    if value_of.metadata_hash == 0 {
        out.put_u8(0);
    } else {
        out.put_slice(&[1, 0, 8]);
        out.put_i64(value_of.metadata_hash);
    }
    out.freeze()
}

fn put_target_epoch(epoch: &i32) -> Bytes {
    let mut out = value();
    out.put_i32(*epoch);
    out.put_u8(0);
    out.freeze()
}

fn put_target(target: &Assignment) -> Bytes {
    let mut out = value();
    put_assignment(&mut out, target);
    out.put_u8(0);
    out.freeze()
}

fn put_current(current: &Current) -> Bytes {
    let mut out = value();
    out.put_i32(current.epoch);
    out.put_i32(current.previous_epoch);
    out.put_i8(current.state as i8);
    put_assignment(&mut out, &current.assigned);
    put_assignment(&mut out, &current.revoking);
    out.put_u8(0);
    out.freeze()
}

fn put_resolved(resolved: &Resolved) -> Bytes {
    let mut out = value();
    put_texts(&mut out, &resolved.topics);
    out.put_i64(resolved.version);
    out.put_i64(resolved.at_ms);
    out.put_u8(0);
    out.freeze()
}

fn put_profile(profile: &Profile) -> Bytes {
    let mut out = value();
    put_optional(&mut out, profile.instance.as_deref());
    put_optional(&mut out, profile.rack.as_deref());
    put_compact(&mut out, &profile.client_id);
    put_compact(&mut out, &profile.client_host);
    put_texts(&mut out, &profile.names);
    put_optional(&mut out, profile.regex.as_deref());
    out.put_i32(profile.rebalance_timeout_ms);
    put_optional(&mut out, profile.assignor.as_deref());
    let Some(classic) = &profile.classic else {
        out.put_u8(0);
        return out.freeze();
    };
    let mut inner = BytesMut::new();
    inner.put_i8(1);
    inner.put_i32(classic.session_timeout_ms);
    put_varint(&mut inner, classic.protocols.len() as u32 + 1);
    for protocol in &classic.protocols {
        put_compact(&mut inner, &protocol.name);
        put_varint(&mut inner, protocol.metadata.len() as u32 + 1);
        inner.put_slice(&protocol.metadata);
        inner.put_u8(0);
    }
    inner.put_u8(0);
    out.put_slice(&[1, 0]);
    put_varint(&mut out, inner.len() as u32);
    out.put_slice(&inner);
    out.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn put_compact(out: &mut BytesMut, text: &str) {
    put_varint(out, text.len() as u32 + 1);
    out.put_slice(text.as_bytes());
}

fn put_optional(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_compact(out, text),
        None => out.put_u8(0),
    }
}

fn put_texts(out: &mut BytesMut, texts: &BTreeSet<Arc<str>>) {
    put_varint(out, texts.len() as u32 + 1);
    texts.iter().for_each(|text| put_compact(out, text));
}

fn put_assignment(out: &mut BytesMut, assignment: &Assignment) {
    put_varint(out, assignment.topic_count() as u32 + 1);
    for (topic, partitions) in assignment.topics() {
        out.put_slice(topic.as_bytes());
        put_varint(out, partitions.len() as u32 + 1);
        partitions.iter().for_each(|partition| out.put_i32(*partition));
        out.put_u8(0);
    }
}

/// Reads a value of version 0 to its end, unless it is a tombstone.
fn take<T>(
    value: Option<&Bytes>,
    fields: impl FnOnce(&mut Input) -> Result<T, RecordError>,
) -> Result<Option<T>, RecordError> {
    let Some(value) = value else { return Ok(None) };
    let mut input = Input::plain(value.clone());
    match input.int16()? {
        VERSION => {}
        version => return Err(RecordError::Version(version)),
    }
    input.make_flexible();
    let taken = fields(&mut input)?;
    input.tagged_fields()?;
    input.finish()?;
    Ok(Some(taken))
}

fn group_epoch(input: &mut Input) -> Result<GroupEpoch, RecordError> {
    let epoch = input.int32()?;
    let metadata_hash = match input.tag_zero()? {
        Some(bytes) => Input::plain(bytes).int64()?,
        None => 0,
    };
    Ok(GroupEpoch { epoch, metadata_hash })
}

fn profile(input: &mut Input) -> Result<Profile, RecordError> {
    Ok(Profile {
        instance: input.optional_text()?,
        rack: input.optional_text()?,
        client_id: input.text()?,
        client_host: input.text()?,
        names: texts(input)?,
        regex: input.optional_text()?.filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: input.int32()?,
        assignor: input.optional_text()?,
        classic: match input.tag_zero()? {
            Some(bytes) => classic(bytes)?,
            None => None,
        },
    })
}

fn classic(bytes: Bytes) -> Result<Option<ClassicProfile>, RecordError> {
    let mut input = Input::plain(bytes);
    input.make_flexible();
    if input.int8()? < 0 {
        return Ok(None);
    }
    let session_timeout_ms = input.int32()?;
    let protocols = input.array(|input| {
        let protocol = Protocol { name: input.text()?, metadata: input.byte_string()? };
        input.tagged_fields()?;
        Ok(protocol)
    })?;
    input.tagged_fields()?;
    input.finish()?;
    Ok(Some(ClassicProfile { session_timeout_ms, protocols }))
}

fn texts(input: &mut Input) -> Result<BTreeSet<Arc<str>>, RecordError> {
    Ok(input.array(Input::text)?.into_iter().collect())
}

fn assignment(input: &mut Input) -> Result<Assignment, RecordError> {
    let topics = input.array(|input| {
        let topic = input.uuid()?;
        let partitions = input.array(Input::int32)?;
        input.tagged_fields()?;
        Ok((topic, partitions))
    })?;
    let partitions = |(topic, partitions): (Uuid, Vec<i32>)| partitions.into_iter().map(move |index| (topic, index));
    Ok(topics.into_iter().flat_map(partitions).collect())
}

fn current(input: &mut Input) -> Result<Current, RecordError> {
    Ok(Current {
        epoch: input.int32()?,
        previous_epoch: input.int32()?,
        state: MemberState::from_number(input.int8()?),
        assigned: assignment(input)?,
        revoking: assignment(input)?,
    })
}

fn resolved(input: &mut Input) -> Result<Resolved, RecordError> {
    Ok(Resolved { topics: texts(input)?, version: input.int64()?, at_ms: input.int64()? })
}

/// Hands bytes to every decoder of this module, for `fuzz/`.
#[cfg(fuzzing)]
pub(in crate::group) fn fuzz(bytes: &Bytes) {
    for kind in [GROUP, PARTITION_METADATA, MEMBER, TARGET_EPOCH, TARGET, CURRENT, REGEX] {
        let of = (kind == MEMBER || kind >= TARGET).then_some("m");
        if let Ok(Some((group, record))) = ConsumerRecord::decode(&key(kind, "g", of), Some(bytes)) {
            let (key, value) = record.encode(&group);
            assert_eq!(ConsumerRecord::decode(&key, value.as_ref()), Ok(Some((group, record))));
        }
    }
    let _ = ConsumerRecord::decode(bytes, Some(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<ConsumerRecord> {
        let topic = Uuid::from_u128(7);
        let assigned: Assignment = [(topic, 1), (topic, 300), (Uuid::from_u128(9), 0)].into_iter().collect();
        let profile = Profile {
            instance: Some("i".into()),
            rack: None,
            client_id: "c".into(),
            client_host: "/::1".into(),
            names: ["a".into(), "b".into()].into(),
            regex: Some("t.*".into()),
            rebalance_timeout_ms: 300_000,
            assignor: Some("range".into()),
            classic: None,
        };
        let protocols = vec![Protocol { name: "range".into(), metadata: Bytes::from(vec![1; 200]) }];
        let classic = ClassicProfile { session_timeout_ms: 45_000, protocols };
        let current = Current {
            epoch: 5,
            previous_epoch: 4,
            state: MemberState::UnrevokedPartitions,
            assigned: assigned.clone(),
            revoking: [(topic, 2)].into_iter().collect(),
        };
        vec![
            ConsumerRecord::Group(Some(GroupEpoch { epoch: 3, metadata_hash: -8 })),
            ConsumerRecord::Group(Some(GroupEpoch { epoch: 3, metadata_hash: 0 })),
            ConsumerRecord::Member("m".into(), Some(profile.clone())),
            ConsumerRecord::Member("m".into(), Some(Profile { classic: Some(classic), ..profile })),
            ConsumerRecord::TargetEpoch(Some(2)),
            ConsumerRecord::Target("m".into(), Some(assigned)),
            ConsumerRecord::Current("m".into(), Some(current)),
            ConsumerRecord::Regex(
                "t.*".into(),
                Some(Resolved { topics: ["t1".into()].into(), version: 12, at_ms: 1_000 }),
            ),
        ]
    }

    #[test]
    fn records_come_back() {
        for record in samples() {
            let (key, value) = record.encode("g");
            assert_eq!(ConsumerRecord::decode(&key, value.as_ref()), Ok(Some(("g".into(), record))));
        }
        for gone in [
            ConsumerRecord::Group(None),
            ConsumerRecord::PartitionMetadata,
            ConsumerRecord::Member("m".into(), None),
            ConsumerRecord::TargetEpoch(None),
            ConsumerRecord::Target("m".into(), None),
            ConsumerRecord::Current("m".into(), None),
            ConsumerRecord::Regex("r".into(), None),
        ] {
            let (key, value) = gone.encode("g");
            assert_eq!(value, None);
            assert_eq!(ConsumerRecord::decode(&key, None), Ok(Some(("g".into(), gone))));
        }
        assert_eq!(ConsumerRecord::decode(&Bytes::from_static(b"\0\x02\0\x01g"), None), Ok(None));
    }

    #[test]
    fn records_have_kafkas_bytes() {
        let (key, value) = ConsumerRecord::Group(Some(GroupEpoch { epoch: 3, metadata_hash: 0 })).encode("g");
        assert_eq!((&key[..], &value.expect("a value")[..]), (&b"\0\x03\0\x01g"[..], &b"\0\0\0\0\0\x03\0"[..]));
        let target: Assignment = [(Uuid::from_u128(1), 2)].into_iter().collect();
        let (key, value) = ConsumerRecord::Target("m".into(), Some(target)).encode("g");
        assert_eq!(&key[..], b"\0\x07\0\x01g\0\x01m");
        let expected = b"\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\0\0\0\x02\0\0";
        assert_eq!(&value.expect("a value")[..], expected);
    }

    #[test]
    fn damaged_bytes_are_errors_and_never_panics() {
        for record in samples() {
            let (key, value) = record.encode("g");
            let value = value.expect("a value");
            for cut in 0..value.len() {
                assert!(ConsumerRecord::decode(&key, Some(&value.slice(..cut))).is_err(), "{record:?} at {cut}");
            }
            for position in 0..value.len() {
                for byte in [0u8, 0x7f, 0x80, 0xff] {
                    let mut damaged = value.to_vec();
                    damaged[position] = byte;
                    let _ = ConsumerRecord::decode(&key, Some(&Bytes::from(damaged)));
                }
            }
        }
    }
}
