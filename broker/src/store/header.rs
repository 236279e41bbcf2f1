//! Headers of record batches (magic 2), as far as stores look at them: enough to find batches and to tell whole ones from
//! torn ones.

use super::Offset;

/// Bytes before the records.
pub(super) const HEADER_LEN: usize = 61;
/// Base offset and length, which the length does not count.
const LENGTH_OVERHEAD: usize = 12;
/// The CRC covers everything from the attributes on.
const CRC_FROM: usize = 21;

/// What a store reads from a batch header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) base_offset: Offset,
    pub(super) last_offset: Offset,
    pub(super) max_timestamp: i64,
    /// Bytes of the whole batch.
    pub(super) size: u64,
}

fn be<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the slice has the length that was asked for")
}

impl Header {
    /// `None` when these bytes cannot be a batch header.
    pub(super) fn parse(bytes: &[u8]) -> Option<Header> {
        if bytes.len() < HEADER_LEN || bytes[16] != 2 {
            return None;
        }
        let base_offset = i64::from_be_bytes(be(bytes, 0));
        let size = usize::try_from(i32::from_be_bytes(be(bytes, 8))).ok()? + LENGTH_OVERHEAD;
        let last_delta = i32::from_be_bytes(be(bytes, 23));
        if base_offset < 0 || last_delta < 0 || size < HEADER_LEN {
            return None;
        }
        Some(Header {
            base_offset,
            last_offset: base_offset.checked_add(last_delta.into())?,
            max_timestamp: i64::from_be_bytes(be(bytes, 35)),
            size: size as u64,
        })
    }
}

/// Whether the batch's bytes are what its CRC-32C says.
pub(super) fn crc_matches(batch: &[u8]) -> bool {
    batch.len() >= HEADER_LEN && u32::from_be_bytes(be(batch, 17)) == crc32c::crc32c(&batch[CRC_FROM..])
}
