//! What a client's batch must be before it is appended. A pure function of the bytes, the settings and the time.

use std::borrow::Cow;
use std::fmt;
use std::ops::{ControlFlow, RangeInclusive};

use kafka_protocol::ResponseError;
use thiserror::Error;

use super::codec::{self, Codec};
use super::config::{Compression, LogConfig, TimestampType};
use super::header::{BatchHeader, HEADER_LEN, HeaderError, NO_PRODUCER, NO_TIMESTAMP, crc_of, is_compressed};
use super::records::{self, RecordError};
use super::{LogError, refused};
use crate::limits;

/// A batch that passed: its header as it shall be stored (but for base offset and leader epoch), and its records.
#[derive(Debug)]
pub struct Checked<'a> {
    pub header: BatchHeader,
    /// Everything behind the header.
    pub records: Cow<'a, [u8]>,
    /// The time that was stamped on it, when the topic uses LogAppendTime.
    pub log_append_time: i64,
}

/// One record of a batch that is not taken (KIP-467: clients learn which).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Position in the batch, from 0.
    pub index: i32,
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("a compacted topic takes only records with a key")]
    NoKey,
    #[error("timestamp {timestamp} is outside {oldest}..{newest}")]
    Timestamp { timestamp: i64, oldest: i64, newest: i64 },
}

impl fmt::Display for BadRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "record {}: {}", self.index, self.fault)
    }
}

/// Checks exactly one batch from a client, and rewrites what the topic's settings ask for.
pub fn validate<'a>(batch: &'a [u8], config: &LogConfig, now_ms: i64) -> Result<Checked<'a>, LogError> {
    let header = whole_batch(batch, config.max_message_bytes)?;
    fields(&header)?;
    let records = &batch[HEADER_LEN..];
    let max_timestamp = walk(&header, records, config, now_ms)?;
    let mut checked = Checked { header, records: Cow::Borrowed(records), log_append_time: NO_TIMESTAMP };
    if let Some(codec) = stored_codec(config.compression).filter(|codec| header.attributes.codec() != Some(*codec)) {
        recompress(&mut checked, batch, codec, config.compression_level)?;
        if checked.records.len() + HEADER_LEN > config.max_message_bytes {
            return Err(too_large(checked.records.len() + HEADER_LEN, config.max_message_bytes));
        }
    }
    match config.timestamp_type {
        TimestampType::LogAppendTime => {
            checked.header.attributes = checked.header.attributes.with_log_append_time();
            checked.header.max_timestamp = now_ms;
            checked.log_append_time = now_ms;
        }
        // Some clients leave it unset; the time index needs it right.
        TimestampType::CreateTime => checked.header.max_timestamp = max_timestamp,
    }
    if checked.header != header {
        checked.header.seal(&checked.records);
    }
    Ok(checked)
}

/// Whether checking this batch keeps a thread busy for long: it is large, and decompressed or compressed anew.
pub(super) fn takes_long(batch: &[u8], config: &LogConfig) -> bool {
    batch.len() > limits::DECOMPRESSED_ON_WORKER
        && (is_compressed(batch) || !matches!(config.compression, Compression::Producer | Compression::Uncompressed))
}

/// One batch, no more and no less, whose CRC holds.
fn whole_batch(batch: &[u8], max_message_bytes: usize) -> Result<BatchHeader, LogError> {
    let header = BatchHeader::parse(batch).map_err(|error| match error {
        // The formats before this one; what is none at all is damaged.
        HeaderError::Magic(0 | 1) => refused(ResponseError::InvalidRecord, error),
        _ => refused(ResponseError::CorruptMessage, error),
    })?;
    if header.total_len() > batch.len() {
        return Err(refused(
            ResponseError::CorruptMessage,
            format!("the batch says {} bytes, but {} were sent", header.total_len(), batch.len()),
        ));
    }
    if header.total_len() < batch.len() {
        return Err(refused(ResponseError::InvalidRecord, "more than one batch was sent for one partition"));
    }
    if batch.len() > max_message_bytes {
        return Err(too_large(batch.len(), max_message_bytes));
    }
    if crc_of(batch) != header.crc {
        return Err(refused(ResponseError::CorruptMessage, "the batch fails its CRC-32C"));
    }
    Ok(header)
}

fn too_large(len: usize, max_message_bytes: usize) -> LogError {
    refused(
        ResponseError::MessageTooLarge,
        format!("the batch has {len} bytes, more than max.message.bytes allows ({max_message_bytes})"),
    )
}

/// Header fields that a client may not set so, or that contradict each other.
fn fields(header: &BatchHeader) -> Result<(), LogError> {
    let invalid = |message: String| Err(refused(ResponseError::InvalidRecord, message));
    let attributes = header.attributes;
    if attributes.codec().is_none() {
        return invalid("the compression codec is unknown".to_owned());
    }
    if attributes.control() {
        return invalid("clients may not write control records".to_owned());
    }
    if attributes.delete_horizon() {
        return invalid("clients may not set a delete horizon".to_owned());
    }
    if attributes.log_append_time() {
        return Err(refused(
            ResponseError::InvalidTimestamp,
            "producers may not set the timestamp type to LogAppendTime",
        ));
    }
    if header.base_offset != 0 {
        return invalid(format!("the base offset should be 0, but it is {}", header.base_offset));
    }
    if header.count <= 0 {
        return invalid(format!("a batch with {} records", header.count));
    }
    if header.last_offset_delta != header.count - 1 {
        return invalid(format!(
            "last offset delta {} does not match {} records",
            header.last_offset_delta, header.count
        ));
    }
    if header.producer_id < NO_PRODUCER {
        return invalid(format!("producer id {} is negative", header.producer_id));
    }
    if header.producer_id != NO_PRODUCER && header.base_sequence < 0 {
        return invalid(format!("producer id {} comes with sequence {}", header.producer_id, header.base_sequence));
    }
    if header.producer_id != NO_PRODUCER && header.producer_epoch < 0 {
        return Err(refused(
            ResponseError::InvalidProducerEpoch,
            format!("producer id {} comes with epoch {}", header.producer_id, header.producer_epoch),
        ));
    }
    if attributes.transactional() && header.producer_id == NO_PRODUCER {
        return invalid("a transactional batch without a producer id".to_owned());
    }
    Ok(())
}

/// Walks every record and returns the largest timestamp.
fn walk(header: &BatchHeader, records: &[u8], config: &LogConfig, now_ms: i64) -> Result<i64, LogError> {
    let codec = header.attributes.codec().unwrap_or(Codec::None);
    let rules = RecordRules::of(config, now_ms);
    let mut expected_delta = 0;
    let mut max_timestamp = NO_TIMESTAMP;
    let mut wrong_delta = None;
    let mut bad = Vec::new();
    let walked = records::walk(codec, records, header.count, |record| {
        if record.offset_delta != expected_delta {
            wrong_delta = Some(record.offset_delta);
            return ControlFlow::Break(());
        }
        let timestamp = header.base_timestamp.saturating_add(record.timestamp_delta);
        max_timestamp = max_timestamp.max(timestamp);
        if let Some(fault) = rules.fault(record.has_key, timestamp)
            && bad.len() < limits::RECORD_ERRORS
        {
            bad.push(BadRecord { index: expected_delta, fault });
        }
        expected_delta += 1;
        ControlFlow::Continue(())
    });
    if let Some(delta) = wrong_delta {
        return Err(refused(ResponseError::InvalidRecord, format!("record {expected_delta} has offset delta {delta}")));
    }
    match walked {
        Err(error @ RecordError::Decompress(_)) => Err(refused(ResponseError::CorruptMessage, error)),
        Err(error) => Err(refused(ResponseError::InvalidRecord, error)),
        Ok(()) if !bad.is_empty() => Err(LogError::BadRecords(bad)),
        Ok(()) => Ok(max_timestamp),
    }
}

/// What the topic asks of each record.
struct RecordRules {
    keys: bool,
    /// Times that a client may give; absent where the broker stamps records itself.
    times: Option<RangeInclusive<i64>>,
}

impl RecordRules {
    fn of(config: &LogConfig, now_ms: i64) -> Self {
        let oldest = now_ms.saturating_sub(config.timestamp_before_max_ms);
        let newest = now_ms.saturating_add(config.timestamp_after_max_ms);
        let stamped_by_client = config.timestamp_type == TimestampType::CreateTime;
        Self { keys: config.cleanup.compact, times: stamped_by_client.then_some(oldest..=newest) }
    }

    fn fault(&self, has_key: bool, timestamp: i64) -> Option<Fault> {
        if self.keys && !has_key {
            return Some(Fault::NoKey);
        }
        let times = self.times.as_ref().filter(|times| timestamp != NO_TIMESTAMP && !times.contains(&timestamp))?;
        Some(Fault::Timestamp { timestamp, oldest: *times.start(), newest: *times.end() })
    }
}

fn stored_codec(compression: Compression) -> Option<Codec> {
    Some(match compression {
        Compression::Producer => return None,
        Compression::Uncompressed => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    })
}

/// Records keep their bytes; only what is around them changes.
fn recompress(checked: &mut Checked<'_>, batch: &[u8], codec: Codec, level: Option<i32>) -> Result<(), LogError> {
    let mut buffer = Vec::new();
    let plain = records::plain(&checked.header, batch, &mut buffer)?;
    let compressed = codec::compress_at(codec, level, plain).map_err(RecordError::from)?;
    checked.header.attributes = checked.header.attributes.with_codec(codec);
    checked.records = Cow::Owned(compressed);
    Ok(())
}

/// Records that the broker made itself, refused when they are more than a batch may hold.
pub(super) fn own_batch(
    records: &[records::NewRecord],
    config: &LogConfig,
) -> Result<(BatchHeader, Vec<u8>), LogError> {
    if records.is_empty() {
        return Err(refused(ResponseError::InvalidRecord, "a batch with 0 records"));
    }
    let len: usize = records.iter().map(own_len).sum();
    if len > config.max_message_bytes {
        return Err(too_large(len, config.max_message_bytes));
    }
    let (header, body) = records::build(records);
    if header.total_len() > config.max_message_bytes {
        return Err(too_large(header.total_len(), config.max_message_bytes));
    }
    Ok((header, body))
}

fn own_len(record: &records::NewRecord) -> usize {
    record.key.as_ref().map_or(0, |key| key.len()) + record.value.as_ref().map_or(0, |value| value.len())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::super::Cleanup;
    use super::super::records::{NewRecord, read_records};
    use super::super::tests::{NOW, batch_of, plain_batch, produced, record};
    use super::*;

    const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn refusal(batch: &[u8], config: &LogConfig) -> ResponseError {
        validate(batch, config, NOW).unwrap_err().code()
    }

    fn two(codec: Codec, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
        batch_of(&[record("a", "1", NOW), record("b", "2", NOW + 3)], codec, change)
    }

    fn stored(checked: &Checked<'_>) -> Bytes {
        Bytes::from([&checked.header.encode()[..], &checked.records].concat())
    }

    #[test]
    fn large_compressed_batches_take_long() {
        let mut rng = StdRng::seed_from_u64(1);
        let value: String =
            (0..limits::DECOMPRESSED_ON_WORKER).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect();
        let sized = |value: &str, codec| batch_of(&[record("a", value, NOW)], codec, |_| {});
        let gzip = LogConfig { compression: Compression::Gzip, ..LogConfig::default() };
        let plain = LogConfig { compression: Compression::Uncompressed, ..LogConfig::default() };
        let large = sized(&value, Codec::None);
        assert!(!takes_long(&large, &LogConfig::default()), "the usual batch stays on its thread");
        assert!(!takes_long(&large, &plain));
        assert!(takes_long(&large, &gzip));
        assert!(!takes_long(&sized("1", Codec::None), &gzip));
        let doubled = sized(&value.repeat(3), Codec::Snappy);
        assert!(takes_long(&doubled, &LogConfig::default()));
        assert!(!takes_long(&sized("1", Codec::Zstd), &LogConfig::default()));
    }

    #[test]
    fn batches_are_compressed_anew_at_the_topics_level() {
        let text: String = (0..20_000u32).map(|i| (i * i / 7 % 1009).to_string()).collect();
        let batch = batch_of(&[record("a", &text, NOW)], Codec::None, |_| {});
        for (compression, fast, small) in [(Compression::Gzip, 1, 9), (Compression::Zstd, -50, 19)] {
            let [fast, small] = [fast, small].map(|level| {
                let config = LogConfig { compression, compression_level: Some(level), ..LogConfig::default() };
                validate(&batch, &config, NOW).unwrap().records.len()
            });
            assert!(small < fast, "{compression:?}: {small}, {fast}");
        }
    }

    #[test]
    fn honest_batches_pass_untouched() {
        for codec in ALL {
            let batch = two(codec, |_| {});
            let checked = validate(&batch, &LogConfig::default(), NOW).unwrap();
            assert_eq!(stored(&checked), batch);
            assert!(matches!(checked.records, Cow::Borrowed(_)));
        }
        validate(&produced(5, 0, 0, 3), &LogConfig::default(), NOW).unwrap();
    }

    #[test]
    fn lying_headers_are_refused() {
        type Lie = fn(&mut BatchHeader);
        let config = LogConfig::default();
        let lies: [(ResponseError, Lie); 12] = [
            (ResponseError::InvalidRecord, |header| header.count = 1),
            (ResponseError::InvalidRecord, |header| (header.count, header.last_offset_delta) = (1, 0)),
            (ResponseError::InvalidRecord, |header| (header.count, header.last_offset_delta) = (3, 2)),
            (ResponseError::InvalidRecord, |header| {
                (header.count, header.last_offset_delta) = (i32::MAX, i32::MAX - 1)
            }),
            (ResponseError::InvalidRecord, |header| (header.count, header.last_offset_delta) = (0, -1)),
            (ResponseError::InvalidRecord, |header| header.base_offset = 4),
            (ResponseError::InvalidRecord, |header| header.attributes.0 |= 1 << 5),
            (ResponseError::InvalidRecord, |header| header.attributes.0 |= 1 << 6),
            (ResponseError::InvalidRecord, |header| header.producer_id = 3),
            (ResponseError::InvalidProducerEpoch, |header| (header.producer_id, header.base_sequence) = (3, 0)),
            (ResponseError::InvalidTimestamp, |header| header.attributes.0 |= 1 << 3),
            (ResponseError::InvalidRecord, |header| header.attributes.0 |= 1 << 4),
        ];
        for codec in ALL {
            for (index, (code, lie)) in lies.iter().enumerate() {
                assert_eq!(refusal(&two(codec, lie), &config), *code, "{codec:?}, lie {index}");
            }
        }
        assert_eq!(
            refusal(&two(Codec::None, |header| header.attributes.0 |= 7), &config),
            ResponseError::InvalidRecord
        );
        // A codec that is not the one that was used.
        assert!(validate(&two(Codec::Gzip, |header| header.attributes.0 = 4), &config, NOW).is_err());
        assert!(validate(&two(Codec::None, |header| header.attributes.0 = 2), &config, NOW).is_err());
    }

    #[test]
    fn damaged_cut_and_doubled_batches_are_refused() {
        let config = LogConfig::default();
        let batch = plain_batch(3);
        for len in 0..batch.len() {
            assert_eq!(refusal(&batch[..len], &config), ResponseError::CorruptMessage, "cut to {len}");
        }
        let mut flipped = batch.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(refusal(&flipped, &config), ResponseError::CorruptMessage);
        assert_eq!(refusal(&[&batch[..], &batch[..]].concat(), &config), ResponseError::InvalidRecord);
        let mut old = batch.to_vec();
        old[16] = 1;
        assert_eq!(refusal(&old, &config), ResponseError::InvalidRecord);
        let small = LogConfig { max_message_bytes: batch.len() - 1, ..LogConfig::default() };
        assert_eq!(refusal(&batch, &small), ResponseError::MessageTooLarge);
    }

    #[test]
    fn bombs_are_refused() {
        for codec in [Codec::Gzip, Codec::Zstd] {
            let value = Bytes::from(vec![0; 65 << 20]);
            let bomb = NewRecord { key: None, value: Some(value), timestamp: NOW };
            assert_eq!(
                refusal(&batch_of(&[bomb], codec, |_| {}), &LogConfig::default()),
                ResponseError::CorruptMessage
            );
        }
    }

    #[test]
    fn keys_are_asked_for_on_compacted_topics() {
        let config = LogConfig { cleanup: Cleanup { delete: false, compact: true }, ..LogConfig::default() };
        let keyless = NewRecord { key: None, ..record("", "1", NOW) };
        for codec in ALL {
            validate(&two(codec, |_| {}), &config, NOW).unwrap();
            let batch = batch_of(&[record("a", "1", NOW), keyless.clone()], codec, |_| {});
            assert_eq!(refusal(&batch, &config), ResponseError::InvalidRecord);
            validate(&batch, &LogConfig::default(), NOW).unwrap();
        }
    }

    #[test]
    fn every_bad_record_is_named() {
        let compact = Cleanup { delete: false, compact: true };
        let config = LogConfig { cleanup: compact, timestamp_after_max_ms: 5, ..LogConfig::default() };
        let keyless = NewRecord { key: None, ..record("", "1", NOW) };
        let good = record("a", "1", NOW);
        let bad_of = |records: &[NewRecord], codec| match validate(&batch_of(records, codec, |_| {}), &config, NOW) {
            Err(error @ LogError::BadRecords(_)) => {
                let code = error.code();
                let LogError::BadRecords(bad) = error else { unreachable!() };
                (code, bad)
            }
            other => panic!("{other:?}"),
        };
        for codec in ALL {
            let records = [keyless.clone(), good.clone(), keyless.clone(), good.clone()];
            let (code, bad) = bad_of(&records, codec);
            assert_eq!(code, ResponseError::InvalidRecord);
            assert_eq!(bad, [0, 2].map(|index| BadRecord { index, fault: Fault::NoKey }));
            let (code, bad) = bad_of(&[keyless.clone(), good.clone(), record("b", "2", NOW + 9)], codec);
            assert_eq!(code, ResponseError::InvalidTimestamp);
            assert_eq!(bad.iter().map(|bad| bad.index).collect::<Vec<_>>(), [0, 2]);
        }
        let many = vec![keyless; limits::RECORD_ERRORS + 1];
        assert_eq!(bad_of(&many, Codec::Gzip).1.len(), limits::RECORD_ERRORS);
    }

    #[test]
    fn timestamps_lie_within_bounds() {
        let config = LogConfig { timestamp_before_max_ms: 10, timestamp_after_max_ms: 5, ..LogConfig::default() };
        let at = |time| batch_of(&[record("a", "1", time)], Codec::None, |_| {});
        for time in [NOW - 10, NOW + 5, -1] {
            validate(&at(time), &config, NOW).unwrap();
        }
        for time in [NOW - 11, NOW + 6, i64::MAX, i64::MIN] {
            assert_eq!(refusal(&at(time), &config), ResponseError::InvalidTimestamp);
        }
    }

    #[test]
    fn an_unset_maximum_timestamp_is_put_right() {
        let batch = two(Codec::None, |header| header.max_timestamp = -1);
        let checked = validate(&batch, &LogConfig::default(), NOW).unwrap();
        assert_eq!(checked.header.max_timestamp, NOW + 3);
        assert_eq!(crc_of(&stored(&checked)), checked.header.crc);
    }

    #[test]
    fn log_append_time_is_stamped() {
        let config = LogConfig { timestamp_type: TimestampType::LogAppendTime, ..LogConfig::default() };
        let batch = batch_of(&[record("a", "1", 5)], Codec::Lz4, |_| {});
        let checked = validate(&batch, &config, NOW).unwrap();
        assert_eq!(checked.log_append_time, NOW);
        let stored = stored(&checked);
        assert_eq!(crc_of(&stored), checked.header.crc);
        assert_eq!(read_records(stored).unwrap()[0].timestamp, NOW);
    }

    #[test]
    fn the_topics_codec_replaces_the_producers() {
        let types = [
            (Compression::Uncompressed, Codec::None),
            (Compression::Gzip, Codec::Gzip),
            (Compression::Snappy, Codec::Snappy),
            (Compression::Lz4, Codec::Lz4),
            (Compression::Zstd, Codec::Zstd),
        ];
        for (compression, wanted) in types {
            for codec in ALL {
                let config = LogConfig { compression, ..LogConfig::default() };
                let batch = two(codec, |_| {});
                let stored = stored(&validate(&batch, &config, NOW).unwrap());
                let header = whole_batch(&stored, usize::MAX).unwrap();
                assert_eq!(header.attributes.codec(), Some(wanted));
                let values: Vec<_> = read_records(stored).unwrap().into_iter().map(|record| record.value).collect();
                assert_eq!(values, [Some(Bytes::from("1")), Some(Bytes::from("2"))]);
            }
        }
    }

    #[test]
    fn random_damage_never_panics() {
        let mut rng = StdRng::seed_from_u64(7);
        for round in 0..20_000 {
            let codec = ALL[round % ALL.len()];
            let mut batch = two(codec, |_| {}).to_vec();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..batch.len());
                batch[at] = rng.random();
            }
            // With a CRC that holds, so that what lies behind it is reached.
            let crc = crc_of(&batch);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
            if validate(&batch, &LogConfig::default(), NOW).is_ok() {
                read_records(Bytes::from(batch)).unwrap();
            }
        }
    }
}
