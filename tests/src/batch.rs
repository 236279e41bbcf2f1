//! Record batches (magic 2) made by hand, so that a test can also make wrong ones.

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes before the records.
pub const HEAD: usize = 61;

/// A batch to be.
#[derive(Clone, Debug)]
pub struct Batch {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub attributes: i16,
    pub timestamp: i64,
    pub values: Vec<Bytes>,
}

impl Batch {
    /// Without a producer id.
    pub fn of(values: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        Self {
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            attributes: 0,
            timestamp: now_ms(),
            values: values.into_iter().map(Into::into).collect(),
        }
    }

    pub fn encode(&self) -> BytesMut {
        let mut buffer =
            BytesMut::with_capacity(HEAD + self.values.iter().map(|value| value.len() + 16).sum::<usize>());
        let count = self.values.len() as i32;
        buffer.put_i64(0);
        buffer.put_i32(0);
        buffer.put_i32(-1);
        buffer.put_i8(2);
        buffer.put_u32(0);
        buffer.put_i16(self.attributes);
        buffer.put_i32(count - 1);
        buffer.put_i64(self.timestamp);
        buffer.put_i64(self.timestamp);
        buffer.put_i64(self.producer_id);
        buffer.put_i16(self.producer_epoch);
        buffer.put_i32(self.base_sequence);
        buffer.put_i32(count);
        for (index, value) in self.values.iter().enumerate() {
            put_record(&mut buffer, index as i64, value);
        }
        let length = buffer.len() as i32 - 12;
        buffer[8..12].copy_from_slice(&length.to_be_bytes());
        seal(&mut buffer);
        buffer
    }
}

/// Retention looks at it, so it must be about now.
#[allow(clippy::disallowed_methods, reason = "the broker under test has the system's clock too")]
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// Gives a batch to another producer, or another place in its producer's sequence.
pub fn renumber(batch: &mut [u8], producer_id: i64, epoch: i16, base_sequence: i32) {
    batch[43..51].copy_from_slice(&producer_id.to_be_bytes());
    batch[51..53].copy_from_slice(&epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&base_sequence.to_be_bytes());
    seal(batch);
}

/// Makes the CRC right after a change behind it.
pub fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn put_record(buffer: &mut BytesMut, offset_delta: i64, value: &[u8]) {
    let mut body = BytesMut::with_capacity(value.len() + 12);
    body.put_i8(0);
    put_varint(&mut body, 0);
    put_varint(&mut body, offset_delta);
    put_varint(&mut body, -1);
    put_varint(&mut body, value.len() as i64);
    body.put_slice(value);
    put_varint(&mut body, 0);
    put_varint(buffer, body.len() as i64);
    buffer.put_slice(&body);
}

pub(crate) fn put_varint(buffer: &mut BytesMut, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        buffer.put_u8(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    buffer.put_u8(zigzag as u8);
}

/// A batch as found in a fetch response or a segment file.
#[derive(Clone, Debug)]
pub struct Found {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub producer_id: i64,
    pub base_sequence: i32,
    pub count: i32,
    /// Whether the CRC is right.
    pub intact: bool,
    /// The records as they are stored, compressed or not.
    pub records: Bytes,
}

impl Found {
    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub fn codec(&self) -> i16 {
        self.attributes & 7
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & (1 << 4) != 0
    }

    /// It ends a transaction.
    pub fn is_control(&self) -> bool {
        self.attributes & (1 << 5) != 0
    }

    /// One past its last offset.
    pub fn end(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    /// With its header.
    pub fn size(&self) -> usize {
        HEAD + self.records.len()
    }

    /// Values of the records; only for batches that are not compressed.
    pub fn values(&self) -> Option<Vec<Bytes>> {
        let mut rest = self.records.clone();
        (0..self.count).map(|_| take_value(&mut rest)).collect()
    }
}

/// The whole batches at the start of `bytes`; the second part is how many bytes they are.
pub fn parse(mut bytes: Bytes) -> (Vec<Found>, usize) {
    let total = bytes.len();
    let mut found = Vec::new();
    while bytes.len() >= HEAD {
        let length = i32_at(&bytes, 8);
        let Some(size) = usize::try_from(length).ok().map(|length| length + 12).filter(|&size| size >= HEAD) else {
            break;
        };
        if bytes.len() < size {
            break;
        }
        let batch = bytes.split_to(size);
        found.push(Found {
            base_offset: i64_at(&batch, 0),
            leader_epoch: i32_at(&batch, 12),
            attributes: i16::from_be_bytes([batch[21], batch[22]]),
            last_offset_delta: i32_at(&batch, 23),
            base_timestamp: i64_at(&batch, 27),
            producer_id: i64_at(&batch, 43),
            base_sequence: i32_at(&batch, 53),
            count: i32_at(&batch, 57),
            intact: batch[16] == 2 && i32_at(&batch, 17) as u32 == crc32c::crc32c(&batch[21..]),
            records: batch.slice(HEAD..),
        });
    }
    (found, total - bytes.len())
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn take_value(rest: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let mut record = (length <= rest.len()).then(|| rest.split_to(length))?;
    (!record.is_empty()).then(|| record.split_to(1))?;
    take_varint(&mut record)?;
    take_varint(&mut record)?;
    if let Ok(key) = usize::try_from(take_varint(&mut record)?) {
        (key <= record.len()).then(|| record.split_to(key))?;
    }
    let value = usize::try_from(take_varint(&mut record)?).ok()?;
    (value <= record.len()).then(|| record.split_to(value))
}

pub(crate) fn take_varint(rest: &mut Bytes) -> Option<i64> {
    let mut zigzag = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *rest.first()?;
        let _ = rest.split_to(1);
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_can_be_read() {
        let batch = Batch { producer_id: 7, producer_epoch: 0, base_sequence: 40, ..Batch::of(["a", "", "ccc"]) };
        let bytes = batch.encode().freeze();
        let (found, size) = parse(bytes.clone());
        assert_eq!((found.len(), size), (1, bytes.len()));
        assert!(found[0].intact);
        assert_eq!((found[0].producer_id, found[0].base_sequence, found[0].count), (7, 40, 3));
        assert_eq!(found[0].values(), Some(vec![Bytes::from("a"), Bytes::new(), Bytes::from("ccc")]));
        let (found, size) = parse(bytes.slice(..bytes.len() - 1));
        assert_eq!((found.len(), size), (0, 0));
    }
}
