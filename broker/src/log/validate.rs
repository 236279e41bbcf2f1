//! What a client's batch must be before it is appended. A pure function of the bytes, the settings and the time.

use std::borrow::Cow;
use std::ops::ControlFlow;

use kafka_protocol::ResponseError;

use super::codec::{self, Codec};
use super::config::{Compression, LogConfig, TimestampType};
use super::header::{BatchHeader, HEADER_LEN, HeaderError, NO_PRODUCER, NO_TIMESTAMP, crc_of};
use super::records::{self, RecordError};
use super::{LogError, refused};

/// A batch that passed: its header as it shall be stored (but for base offset and leader epoch), and its records.
#[derive(Debug)]
pub struct Checked<'a> {
    pub header: BatchHeader,
    /// Everything behind the header.
    pub records: Cow<'a, [u8]>,
    /// The time that was stamped on it, when the topic uses LogAppendTime.
    pub log_append_time: i64,
}

/// Checks exactly one batch from a client, and rewrites what the topic's settings ask for.
pub fn validate<'a>(batch: &'a [u8], config: &LogConfig, now_ms: i64) -> Result<Checked<'a>, LogError> {
    let header = whole_batch(batch, config.max_message_bytes)?;
    fields(&header)?;
    let records = &batch[HEADER_LEN..];
    let max_timestamp = walk(&header, records, config, now_ms)?;
    let mut checked = Checked { header, records: Cow::Borrowed(records), log_append_time: NO_TIMESTAMP };
    if let Some(codec) = stored_codec(config.compression).filter(|codec| header.attributes.codec() != Some(*codec)) {
        recompress(&mut checked, batch, codec)?;
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

/// One batch, no more and no less, whose CRC holds.
fn whole_batch(batch: &[u8], max_message_bytes: usize) -> Result<BatchHeader, LogError> {
    let header = BatchHeader::parse(batch).map_err(|error| match error {
        HeaderError::Magic(_) => refused(ResponseError::InvalidRecord, error),
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
    if header.producer_id != NO_PRODUCER && (header.producer_epoch < 0 || header.base_sequence < 0) {
        return invalid(format!(
            "producer id {} comes with epoch {} and sequence {}",
            header.producer_id, header.producer_epoch, header.base_sequence
        ));
    }
    if attributes.transactional() {
        return Err(refused(ResponseError::InvalidTxnState, "there is no open transaction for this batch"));
    }
    Ok(())
}

/// Walks every record and returns the largest timestamp.
fn walk(header: &BatchHeader, records: &[u8], config: &LogConfig, now_ms: i64) -> Result<i64, LogError> {
    let codec = header.attributes.codec().unwrap_or(Codec::None);
    let oldest = now_ms.saturating_sub(config.timestamp_before_max_ms);
    let newest = now_ms.saturating_add(config.timestamp_after_max_ms);
    let stamped_by_client = config.timestamp_type == TimestampType::CreateTime;
    let mut expected_delta = 0;
    let mut max_timestamp = NO_TIMESTAMP;
    let mut refusal = None;
    let walked = records::walk(codec, records, header.count, |record| {
        let timestamp = header.base_timestamp.saturating_add(record.timestamp_delta);
        max_timestamp = max_timestamp.max(timestamp);
        if record.offset_delta != expected_delta {
            refusal = Some(refused(
                ResponseError::InvalidRecord,
                format!("record {expected_delta} has offset delta {}", record.offset_delta),
            ));
        } else if config.cleanup.compact && !record.has_key {
            refusal = Some(refused(ResponseError::InvalidRecord, "a compacted topic takes only records with a key"));
        } else if stamped_by_client && timestamp != NO_TIMESTAMP && !(oldest..=newest).contains(&timestamp) {
            refusal = Some(refused(
                ResponseError::InvalidTimestamp,
                format!("timestamp {timestamp} is outside {oldest}..{newest}"),
            ));
        } else {
            expected_delta += 1;
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(())
    });
    match (walked, refusal) {
        (_, Some(refusal)) => Err(refusal),
        (Err(error @ RecordError::Decompress(_)), _) => Err(refused(ResponseError::CorruptMessage, error)),
        (Err(error), _) => Err(refused(ResponseError::InvalidRecord, error)),
        (Ok(()), None) => Ok(max_timestamp),
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
fn recompress(checked: &mut Checked<'_>, batch: &[u8], codec: Codec) -> Result<(), LogError> {
    let mut buffer = Vec::new();
    let plain = records::plain(&checked.header, batch, &mut buffer)?;
    let compressed = codec::compress(codec, plain).map_err(RecordError::from)?;
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
    Ok(records::build(records))
}

fn own_len(record: &records::NewRecord) -> usize {
    record.key.as_ref().map_or(0, |key| key.len()) + record.value.as_ref().map_or(0, |value| value.len())
}
