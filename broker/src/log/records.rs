//! Record batches (magic 2): building the broker's own, and reading any.

use bytes::Bytes;

/// A record to be written by the broker itself. `None` as value is a tombstone.
#[derive(Clone, Debug)]
pub struct NewRecord {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

/// A record as read from a batch.
#[derive(Clone, Debug)]
pub struct Record {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
}

/// The records of consecutive whole batches (control batches are skipped), decompressed within bounds.
pub fn read_records(_batches: Bytes) -> Result<Vec<Record>, super::LogError> {
    unimplemented!()
}
