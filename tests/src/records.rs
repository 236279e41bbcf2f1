//! Whole records, with key, value, headers and timestamp: what a producer sends, and what compaction has to leave of it.

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::{Found, HEAD, put_varint, seal, take_varint};

const TRANSACTIONAL: i16 = 1 << 4;

/// One record, without its offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub key: Option<Bytes>,
    /// `None`: a tombstone.
    pub value: Option<Bytes>,
    /// Names may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Who sends a batch; the default is a producer without an id.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub transactional: bool,
}

impl Default for Sender {
    fn default() -> Self {
        Self { producer_id: -1, producer_epoch: -1, base_sequence: -1, transactional: false }
    }
}

/// An uncompressed batch of these records, at offset 0.
pub fn encode(records: &[Record], sender: Sender) -> Bytes {
    let base_timestamp = records.first().map_or(-1, |record| record.timestamp);
    let count = records.len() as i32;
    let mut buffer = BytesMut::with_capacity(HEAD);
    buffer.put_i64(0);
    buffer.put_i32(0);
    buffer.put_i32(-1);
    buffer.put_i8(2);
    buffer.put_u32(0);
    buffer.put_i16(if sender.transactional { TRANSACTIONAL } else { 0 });
    buffer.put_i32(count - 1);
    buffer.put_i64(base_timestamp);
    buffer.put_i64(records.iter().map(|record| record.timestamp).max().unwrap_or(-1));
    buffer.put_i64(sender.producer_id);
    buffer.put_i16(sender.producer_epoch);
    buffer.put_i32(sender.base_sequence);
    buffer.put_i32(count);
    for (index, record) in records.iter().enumerate() {
        let mut body = BytesMut::new();
        body.put_i8(0);
        put_varint(&mut body, record.timestamp - base_timestamp);
        put_varint(&mut body, index as i64);
        put_bytes(&mut body, record.key.as_deref());
        put_bytes(&mut body, record.value.as_deref());
        put_varint(&mut body, record.headers.len() as i64);
        for (name, value) in &record.headers {
            put_bytes(&mut body, Some(name));
            put_bytes(&mut body, value.as_deref());
        }
        put_varint(&mut buffer, body.len() as i64);
        buffer.put_slice(&body);
    }
    let length = buffer.len() as i32 - 12;
    buffer[8..12].copy_from_slice(&length.to_be_bytes());
    seal(&mut buffer);
    buffer.freeze()
}

/// Offset and content of every record of a batch that is not compressed, or with gzip.
pub fn decode(batch: &Found) -> Result<Vec<(i64, Record)>> {
    let at = || format!("the batch at offset {}", batch.base_offset);
    ensure!(batch.intact, "{} has a wrong CRC", at());
    let mut rest = plain(batch).with_context(at)?;
    let records = (0..batch.count).map(|_| take_record(&mut rest, batch)).collect::<Option<Vec<_>>>();
    let records = records.with_context(|| format!("{} is cut", at()))?;
    ensure!(rest.is_empty(), "{} bytes follow the records of {}", rest.len(), at());
    Ok(records)
}

fn plain(batch: &Found) -> Result<Bytes> {
    match batch.codec() {
        0 => Ok(batch.records.clone()),
        1 => {
            let mut plain = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&batch.records[..]), &mut plain)?;
            Ok(plain.into())
        }
        codec => anyhow::bail!("codec {codec}"),
    }
}

fn put_bytes(buffer: &mut BytesMut, bytes: Option<&[u8]>) {
    put_varint(buffer, bytes.map_or(-1, |bytes| bytes.len() as i64));
    buffer.put_slice(bytes.unwrap_or_default());
}

fn take_record(rest: &mut Bytes, batch: &Found) -> Option<(i64, Record)> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let mut body = (1..=rest.len()).contains(&length).then(|| rest.split_to(length))?;
    _ = body.split_to(1);
    let timestamp = batch.base_timestamp + take_varint(&mut body)?;
    let offset = batch.base_offset + take_varint(&mut body)?;
    let (key, value) = (take_bytes(&mut body)?, take_bytes(&mut body)?);
    let mut headers = Vec::new();
    for _ in 0..take_varint(&mut body)? {
        headers.push((take_bytes(&mut body)??, take_bytes(&mut body)?));
    }
    body.is_empty().then_some((offset, Record { timestamp, key, value, headers }))
}

fn take_bytes(rest: &mut Bytes) -> Option<Option<Bytes>> {
    match take_varint(rest)? {
        -1 => Some(None),
        length => {
            let length = usize::try_from(length).ok().filter(|length| *length <= rest.len())?;
            Some(Some(rest.split_to(length)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::parse;

    #[test]
    fn what_is_made_can_be_read() {
        let header = |name: &'static str| (Bytes::from(name), Some(Bytes::from("x")));
        let records = [
            Record { timestamp: 70, key: Some("a".into()), value: Some("1".into()), headers: Vec::new() },
            Record { timestamp: 60, key: Some("b".into()), value: None, headers: vec![header("h"), header("h")] },
            Record { timestamp: 80, key: None, value: Some(Bytes::new()), headers: vec![("n".into(), None)] },
        ];
        let sender = Sender { producer_id: 7, producer_epoch: 1, base_sequence: 3, transactional: true };
        let (found, _) = parse(encode(&records, sender));
        assert!(found[0].is_transactional() && !found[0].is_control());
        let read = decode(&found[0]).unwrap();
        assert!(read.iter().map(|(offset, _)| *offset).eq(0..3));
        assert!(read.into_iter().map(|(_, record)| record).eq(records));
    }
}
