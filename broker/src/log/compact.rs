//! What compaction leaves of one batch: a pure function of the batch, the newest offset per key, and the time.
//!
//! Follows Kafka: offsets stay, a tombstone stays until the delete horizon that its batch got when it was first
//! compacted (kept in the base timestamp, with a bit that says so), and so does the marker of a transaction of which
//! nothing is left. The last batch of a producer stays as an empty header, so that its sequence survives, and so does
//! the last batch of what a pass covers: there may be nothing behind it, and readers wait until they are at the log end.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::codec::{self, Codec};
use super::decided::Decided;
use super::header::{BatchHeader, HEADER_LEN, NO_TIMESTAMP};
use super::producers::Trace;
use super::records::{self, RecordError, RecordView};
use crate::store::Offset;

/// Keys that one pass remembers: some 26 MiB, the only memory of a pass that grows with the data.
pub(super) const MAX_KEYS: usize = 900_000;

/// 128 bits of a key's SHA-256: keys that a client makes up on purpose do not collide either.
#[derive(Clone, Copy, PartialEq, Eq)]
struct KeyHash(u64, u64);

impl KeyHash {
    fn of(key: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::digest(key).into();
        let part = |at: usize| u64::from_be_bytes(*digest[at..].first_chunk().expect("a digest has 32 bytes"));
        Self(part(0), part(8))
    }
}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// The key is a good hash already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Newest offset per key within a range of offsets.
#[derive(Default)]
pub(super) struct Keys {
    newest: HashMap<KeyHash, Offset, BuildHasherDefault<AsIs>>,
    /// One past the last offset that was looked at.
    pub(super) end: Offset,
}

impl Keys {
    pub(super) fn is_full(&self) -> bool {
        self.newest.len() >= MAX_KEYS
    }

    /// Notes the keys of a batch; batches come in order.
    pub(super) fn add(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        decided: &mut Decided,
        buffer: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        if header.attributes.control() {
            decided.is_empty_end(header, batch);
        } else if !decided.is_aborted(header) {
            for record in records::views(records::plain(header, batch, buffer)?, header.count) {
                let record = record?;
                if let Some(key) = record.key {
                    self.newest.insert(KeyHash::of(key), header.offset(record.offset_delta));
                }
            }
        }
        self.end = header.last_offset() + 1;
        Ok(())
    }

    fn is_newest(&self, key: &[u8], offset: Offset) -> bool {
        self.newest.get(&KeyHash::of(key)).is_none_or(|newest| offset >= *newest)
    }
}

/// What a pass decides with.
pub(super) struct Rules {
    pub(super) keys: Keys,
    pub(super) now_ms: i64,
    pub(super) delete_retention_ms: i64,
    /// What has to stay of each producer.
    pub(super) last_traces: HashMap<i64, Trace>,
}

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Keep,
    Drop,
    Replace(Bytes),
}

impl Rules {
    pub(super) fn apply(
        &self,
        header: &BatchHeader,
        batch: &[u8],
        decided: &mut Decided,
        buffer: &mut Vec<u8>,
    ) -> Result<Outcome, RecordError> {
        let control = header.attributes.control();
        let goes = if control { decided.is_empty_end(header, batch) } else { decided.is_aborted(header) };
        // What this pass has not looked at is left for the next one.
        if header.last_offset() >= self.keys.end {
            return Ok(Outcome::Keep);
        }
        if header.count == 0 {
            return Ok(if self.leaves_a_header(header) { Outcome::Keep } else { Outcome::Drop });
        }
        if control {
            return self.marker(header, batch, goes);
        }
        if goes {
            return Ok(self.without_records(header));
        }
        let plain = records::plain(header, batch, buffer)?;
        let mut kept = 0;
        let mut tombstones = false;
        for record in records::views(plain, header.count) {
            let record = record?;
            if self.keeps(header, &record) {
                kept += 1;
                tombstones |= record.value.is_none();
            }
        }
        let horizon = (tombstones && !header.attributes.delete_horizon())
            .then(|| self.now_ms.saturating_add(self.delete_retention_ms));
        match kept {
            0 => Ok(self.without_records(header)),
            _ if kept == header.count && horizon.is_none() => Ok(Outcome::Keep),
            _ => {
                let stays = |record: &RecordView<'_>| self.keeps(header, record);
                rebuild(header, plain, kept, horizon, stays).map(Outcome::Replace)
            }
        }
    }

    /// A marker stays for as long as a tombstone would from when the last record of its transaction went.
    fn marker(&self, header: &BatchHeader, batch: &[u8], goes: bool) -> Result<Outcome, RecordError> {
        if !goes {
            return Ok(Outcome::Keep);
        }
        if header.attributes.delete_horizon() {
            let gone = header.base_timestamp <= self.now_ms;
            return Ok(if gone { self.without_records(header) } else { Outcome::Keep });
        }
        let horizon = self.now_ms.saturating_add(self.delete_retention_ms);
        let records = batch.get(HEADER_LEN..).unwrap_or_default();
        rebuild(header, records, header.count, Some(horizon), |_| true).map(Outcome::Replace)
    }

    fn without_records(&self, header: &BatchHeader) -> Outcome {
        if self.leaves_a_header(header) { Outcome::Replace(emptied(header)) } else { Outcome::Drop }
    }

    fn keeps(&self, header: &BatchHeader, record: &RecordView<'_>) -> bool {
        let offset = header.offset(record.offset_delta);
        let gone = || header.attributes.delete_horizon() && header.base_timestamp <= self.now_ms;
        record.key.is_some_and(|key| self.keys.is_newest(key, offset)) && (record.value.is_some() || !gone())
    }

    fn leaves_a_header(&self, header: &BatchHeader) -> bool {
        header.last_offset() + 1 == self.keys.end || self.ends_a_producer(header)
    }

    fn ends_a_producer(&self, header: &BatchHeader) -> bool {
        match self.last_traces.get(&header.producer_id) {
            Some(Trace::Batch(last)) => *last == header.last_offset(),
            Some(Trace::Marker(epoch)) => header.attributes.control() && *epoch == header.producer_epoch,
            None => false,
        }
    }
}

/// The batch with `count` of its records, those that stay.
fn rebuild(
    header: &BatchHeader,
    plain: &[u8],
    count: i32,
    horizon: Option<i64>,
    stays: impl Fn(&RecordView<'_>) -> bool,
) -> Result<Bytes, RecordError> {
    let mut rebuilt = BatchHeader { count, ..*header };
    if let Some(horizon) = horizon {
        rebuilt.attributes = header.attributes.with_delete_horizon();
        rebuilt.base_timestamp = horizon;
    }
    let mut body = Vec::with_capacity(plain.len());
    let mut max_timestamp = NO_TIMESTAMP;
    for record in records::views(plain, header.count) {
        let record = record?;
        if stays(&record) {
            let timestamp = header.base_timestamp.saturating_add(record.timestamp_delta);
            max_timestamp = max_timestamp.max(timestamp);
            let timestamp_delta = timestamp.saturating_sub(rebuilt.base_timestamp);
            records::encode(&mut body, &RecordView { timestamp_delta, ..record });
        }
    }
    if !header.attributes.log_append_time() {
        rebuilt.max_timestamp = max_timestamp;
    }
    let codec = header.attributes.codec().ok_or(RecordError::UnknownCodec)?;
    Ok(whole(rebuilt, &codec::compress(codec, &body)?))
}

/// A batch without records that still tells offsets, epoch and sequence.
fn emptied(header: &BatchHeader) -> Bytes {
    whole(BatchHeader { count: 0, attributes: header.attributes.with_codec(Codec::None), ..*header }, &[])
}

fn whole(mut header: BatchHeader, body: &[u8]) -> Bytes {
    header.seal(body);
    Bytes::from([&header.encode()[..], body].concat())
}
