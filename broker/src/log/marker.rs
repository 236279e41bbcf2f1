//! Control batches that end a transaction in a partition, in Kafka's form: one record, whose key says commit or abort and
//! whose value names the coordinator's epoch.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::header::{Attributes, BatchHeader, HEADER_LEN};
use super::records::{self, NewRecord};

const VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// The end of a producer's transaction, as its coordinator decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndMarker {
    pub producer_id: i64,
    /// The epoch in which nothing more comes; from transaction version 2 on the one after the transaction's.
    pub producer_epoch: i16,
    /// Leader epoch of the coordinator's partition: a deposed coordinator decides nothing.
    pub coordinator_epoch: i32,
    pub commit: bool,
}

impl EndMarker {
    /// The batch, ready but for offset and leader epoch.
    pub(super) fn batch(&self, now_ms: i64) -> (BatchHeader, Vec<u8>) {
        let mut key = BytesMut::with_capacity(4);
        key.put_i16(VERSION);
        key.put_i16(if self.commit { COMMIT } else { ABORT });
        let mut value = BytesMut::with_capacity(6);
        value.put_i16(VERSION);
        value.put_i32(self.coordinator_epoch);
        let record = NewRecord { key: Some(key.freeze()), value: Some(value.freeze()), timestamp: now_ms };
        let (mut header, body) = records::build(&[record]);
        header.attributes = Attributes::control_batch();
        header.producer_id = self.producer_id;
        header.producer_epoch = self.producer_epoch;
        header.seal(&body);
        (header, body)
    }

    /// What a control batch says; `None` when it ends no transaction, or was emptied by compaction.
    pub(super) fn read(header: &BatchHeader, batch: &[u8]) -> Option<Self> {
        if !header.attributes.control() || header.count == 0 {
            return None;
        }
        let record = records::views(batch.get(HEADER_LEN..)?, header.count).next()?.ok()?;
        let (mut key, mut value) = (record.key?, record.value?);
        let (_, kind) = (key.try_get_i16().ok()?, key.try_get_i16().ok()?);
        let (_, coordinator_epoch) = (value.try_get_i16().ok()?, value.try_get_i32().ok()?);
        let commit = match kind {
            COMMIT => true,
            ABORT => false,
            _ => return None,
        };
        let (producer_id, producer_epoch) = (header.producer_id, header.producer_epoch);
        Some(Self { producer_id, producer_epoch, coordinator_epoch, commit })
    }
}

/// What the broker's own topics hold, batch by batch.
#[derive(Debug)]
pub enum Entry {
    /// Records that count as they stand.
    Records(Vec<records::Record>),
    /// Records that count once their producer's transaction is committed.
    Transactional { producer_id: i64, producer_epoch: i16, records: Vec<records::Record> },
    /// All that the producer wrote since its last marker is decided now.
    Marker { offset: i64, marker: EndMarker },
}

/// Consecutive whole batches, one by one.
pub fn read_entries(batches: Bytes) -> Result<Vec<Entry>, super::LogError> {
    let mut entries = Vec::new();
    for batch in super::header::Batches::new(&batches) {
        let (header, batch) = batch.map_err(records::RecordError::from)?;
        if header.attributes.control() {
            let offset = header.base_offset;
            entries.extend(EndMarker::read(&header, batch).map(|marker| Entry::Marker { offset, marker }));
            continue;
        }
        let records = records::read_batch(&header, &batches.slice_ref(batch))?;
        entries.push(match header.attributes.transactional() {
            true => {
                Entry::Transactional { producer_id: header.producer_id, producer_epoch: header.producer_epoch, records }
            }
            false => Entry::Records(records),
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_kafkas_bytes_and_read_back() {
        let marker = EndMarker { producer_id: 7, producer_epoch: 3, coordinator_epoch: 9, commit: true };
        let (header, body) = marker.batch(1_000);
        // Length, attributes, deltas, key length, key, value length, value, no headers: as Kafka writes it.
        assert_eq!(body, [32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 9, 0]);
        assert!(header.attributes.control() && header.attributes.transactional());
        assert_eq!((header.base_sequence, header.count), (-1, 1));
        let batch = [&header.encode()[..], &body].concat();
        assert_eq!(EndMarker::read(&header, &batch), Some(marker));
        let abort = EndMarker { commit: false, ..marker };
        let (header, body) = abort.batch(1_000);
        assert_eq!(EndMarker::read(&header, &[&header.encode()[..], &body].concat()), Some(abort));
        assert_eq!(EndMarker::read(&header, &batch[..70]), None, "cut");
    }
}
