//! Records of `__transaction_state`, in Apache Kafka's form: key `TransactionLogKey` version 0, value
//! `TransactionLogValue` version 1 (and 0, read only).

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::state::{Partitions, Status, Transaction};

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 1;
const NONE: i64 = -1;
/// Numbers of the tagged fields.
const PREVIOUS_PRODUCER_ID: u32 = 0;
const NEXT_PRODUCER_ID: u32 = 1;
const CLIENT_VERSION: u32 = 2;

#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum RecordError {
    #[error("the record is cut off or its lengths disagree")]
    Malformed,
    #[error("{0} has version {1}, which this broker does not know")]
    Version(&'static str, i16),
    #[error("{0} is no status of a transaction")]
    Status(i8),
}

pub(super) fn encode_key(id: &str) -> Bytes {
    let mut key = BytesMut::with_capacity(4 + id.len());
    key.put_i16(KEY_VERSION);
    key.put_i16(id.len() as i16);
    key.put_slice(id.as_bytes());
    key.freeze()
}

pub(super) fn decode_key(mut key: Bytes) -> Result<Arc<str>, RecordError> {
    let version = key.try_get_i16().map_err(cut)?;
    if version != KEY_VERSION {
        return Err(RecordError::Version("the key", version));
    }
    let len = usize::try_from(key.try_get_i16().map_err(cut)?).map_err(cut)?;
    if key.len() != len {
        return Err(RecordError::Malformed);
    }
    std::str::from_utf8(&key).map(Arc::from).map_err(cut)
}

pub(super) fn encode_value(transaction: &Transaction) -> Bytes {
    let mut value = BytesMut::with_capacity(64);
    value.put_i16(VALUE_VERSION);
    value.put_i64(transaction.producer_id);
    value.put_i16(transaction.epoch);
    value.put_i32(transaction.timeout_ms);
    value.put_i8(transaction.status as i8);
    match transaction.status {
        Status::Empty | Status::Dead => put_varint(&mut value, 0),
        _ => put_partitions(&mut value, &transaction.partitions),
    }
    value.put_i64(transaction.updated_ms);
    value.put_i64(transaction.started_ms);
    put_tags(&mut value, transaction);
    value.freeze()
}

fn put_partitions(value: &mut BytesMut, partitions: &Partitions) {
    put_varint(value, partitions.len() as u32 + 1);
    for (topic, indexes) in partitions {
        put_varint(value, topic.len() as u32 + 1);
        value.put_slice(topic.as_bytes());
        put_varint(value, indexes.len() as u32 + 1);
        indexes.iter().for_each(|index| value.put_i32(*index));
        put_varint(value, 0);
    }
}

fn put_tags(value: &mut BytesMut, transaction: &Transaction) {
    let ids =
        [(PREVIOUS_PRODUCER_ID, transaction.previous_producer_id), (NEXT_PRODUCER_ID, transaction.next_producer_id)];
    let ids = ids.into_iter().filter_map(|(tag, id)| id.map(|id| (tag, id)));
    let version = Some(transaction.client_version).filter(|version| *version > 0);
    put_varint(value, ids.clone().count() as u32 + u32::from(version.is_some()));
    for (tag, id) in ids {
        put_varint(value, tag);
        put_varint(value, 8);
        value.put_i64(id);
    }
    if let Some(version) = version {
        put_varint(value, CLIENT_VERSION);
        put_varint(value, 2);
        value.put_i16(version);
    }
}

pub(super) fn decode_value(mut value: Bytes) -> Result<Transaction, RecordError> {
    let version = value.try_get_i16().map_err(cut)?;
    if !(0..=VALUE_VERSION).contains(&version) {
        return Err(RecordError::Version("the value", version));
    }
    let flexible = version >= 1;
    let producer_id = value.try_get_i64().map_err(cut)?;
    let epoch = value.try_get_i16().map_err(cut)?;
    let timeout_ms = value.try_get_i32().map_err(cut)?;
    let status = value.try_get_i8().map_err(cut)?;
    let status = Status::from_code(status).ok_or(RecordError::Status(status))?;
    let partitions = take_partitions(&mut value, flexible)?;
    let mut transaction = Transaction {
        producer_id,
        epoch,
        timeout_ms,
        status,
        partitions,
        updated_ms: value.try_get_i64().map_err(cut)?,
        started_ms: value.try_get_i64().map_err(cut)?,
        ..Transaction::new(producer_id, timeout_ms, 0)
    };
    if flexible {
        take_tags(&mut value, &mut transaction)?;
    }
    if value.is_empty() { Ok(transaction) } else { Err(RecordError::Malformed) }
}

fn take_partitions(value: &mut Bytes, flexible: bool) -> Result<Partitions, RecordError> {
    let mut partitions = Partitions::new();
    for _ in 0..take_count(value, flexible, 4)? {
        let len = match flexible {
            true => take_varint(value)?.checked_sub(1).ok_or(RecordError::Malformed)? as usize,
            false => usize::try_from(value.try_get_i16().map_err(cut)?).map_err(cut)?,
        };
        if value.len() < len {
            return Err(RecordError::Malformed);
        }
        let topic: Arc<str> = std::str::from_utf8(&value.split_to(len)).map(Arc::from).map_err(cut)?;
        let indexes = partitions.entry(topic).or_default();
        for _ in 0..take_count(value, flexible, 4)? {
            indexes.insert(value.try_get_i32().map_err(cut)?);
        }
        if flexible {
            skip_tags(value)?;
        }
    }
    Ok(partitions)
}

/// Length of an array, which may be null; never more than the bytes that are left can hold.
fn take_count(value: &mut Bytes, flexible: bool, least: usize) -> Result<usize, RecordError> {
    let count = match flexible {
        true => i64::from(take_varint(value)?) - 1,
        false => i64::from(value.try_get_i32().map_err(cut)?),
    };
    match usize::try_from(count) {
        Ok(count) if count <= value.len() / least + 1 => Ok(count),
        Ok(_) => Err(RecordError::Malformed),
        Err(_) => Ok(0),
    }
}

fn take_tags(value: &mut Bytes, transaction: &mut Transaction) -> Result<(), RecordError> {
    for _ in 0..take_varint(value)? {
        let tag = take_varint(value)?;
        let len = take_varint(value)? as usize;
        if value.len() < len {
            return Err(RecordError::Malformed);
        }
        let mut field = value.split_to(len);
        let mut id = || field.try_get_i64().map_err(cut).map(|id| Some(id).filter(|id| *id != NONE));
        match tag {
            PREVIOUS_PRODUCER_ID => transaction.previous_producer_id = id()?,
            NEXT_PRODUCER_ID => transaction.next_producer_id = id()?,
            CLIENT_VERSION => transaction.client_version = field.try_get_i16().map_err(cut)?,
            _ => {}
        }
    }
    Ok(())
}

fn skip_tags(value: &mut Bytes) -> Result<(), RecordError> {
    for _ in 0..take_varint(value)? {
        take_varint(value)?;
        let len = take_varint(value)? as usize;
        if value.len() < len {
            return Err(RecordError::Malformed);
        }
        value.advance(len);
    }
    Ok(())
}

fn put_varint(value: &mut BytesMut, mut number: u32) {
    while number >= 0x80 {
        value.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    value.put_u8(number as u8);
}

fn take_varint(value: &mut Bytes) -> Result<u32, RecordError> {
    let mut number = 0u32;
    for shift in (0..35).step_by(7) {
        let byte = value.try_get_u8().map_err(cut)?;
        number |= u32::from(byte & 0x7f).checked_shl(shift).ok_or(RecordError::Malformed)?;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(RecordError::Malformed)
}

fn cut<E>(_: E) -> RecordError {
    RecordError::Malformed
}

/// For the fuzz target: whatever the bytes are, an answer and no panic.
#[cfg(fuzzing)]
pub fn fuzz(key: Bytes, value: Bytes) {
    let _ = decode_key(key);
    if let Ok(transaction) = decode_value(value) {
        assert_eq!(decode_value(encode_value(&transaction)).map(|again| again.status), Ok(transaction.status));
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn sample() -> Transaction {
        let partitions = [(Arc::from("orders"), [0, 3].into()), (Arc::from("__consumer_offsets"), [7].into())];
        Transaction {
            epoch: 3,
            status: Status::PrepareCommit,
            partitions: partitions.into(),
            started_ms: 5,
            updated_ms: 9,
            previous_producer_id: Some(4),
            next_producer_id: Some(12),
            client_version: 2,
            ..Transaction::new(11, 60_000, 0)
        }
    }

    #[test]
    fn values_round_trip() {
        let bare = Transaction { previous_producer_id: None, next_producer_id: None, client_version: 0, ..sample() };
        for transaction in [sample(), bare, Transaction::new(1, 2, 3)] {
            assert_eq!(decode_value(encode_value(&transaction)), Ok(transaction));
        }
        assert_eq!(decode_key(encode_key("my-id")).as_deref(), Ok("my-id"));
    }

    #[test]
    fn version_0_is_kafkas_older_form() {
        let mut value = BytesMut::new();
        value.put_i16(0);
        value.put_i64(11);
        value.put_i16(3);
        value.put_i32(60_000);
        value.put_i8(1);
        value.put_i32(1);
        value.put_i16(1);
        value.put_slice(b"t");
        value.put_i32(2);
        value.put_i32(4);
        value.put_i32(5);
        value.put_i64(9);
        value.put_i64(5);
        let decoded = decode_value(value.freeze()).expect("a value");
        assert_eq!(decoded.status, Status::Ongoing);
        assert_eq!(decoded.partitions[&Arc::from("t")], [4, 5].into());
    }

    #[test]
    fn damaged_bytes_are_errors_and_never_panics() {
        let whole = encode_value(&sample());
        for len in 0..whole.len() {
            assert!(decode_value(whole.slice(..len)).is_err());
        }
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..20_000 {
            let mut bytes = whole.to_vec();
            for _ in 0..3 {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            let _ = decode_value(Bytes::from(bytes));
        }
    }
}
