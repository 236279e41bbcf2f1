//! Taking over a shard: one short scan over its headers tells all of its partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use slatedb::Db;

use super::keys::{self, Key, Number};
use super::rows::{ChunkRow, PartitionRow, ShardRow};
use super::settings::scan_once;
use super::shared::Partitions;
use super::slot::{Part, Slot};
use super::{corrupt, unknown};
use crate::store::{Offset, StoreError};

/// What the headers of a shard say.
#[derive(Default)]
struct Headers {
    next: Number,
    partitions: BTreeMap<Number, (PartitionRow, Vec<Part>)>,
    /// Latest time of the cluster at which one of them was written (ms since 1970).
    written_ms: i64,
}

/// The partitions of a shard, and the latest time at which one was written (ms since 1970; the least i64 when none was).
pub(super) async fn load(db: &Db) -> Result<(Partitions, i64), StoreError> {
    let mut headers = Headers { written_ms: i64::MIN, ..Headers::default() };
    let failed = |error: slatedb::Error| match error.kind() {
        slatedb::ErrorKind::Data => corrupt(format_args!("the headers of the shard cannot be read: {error}")),
        _ => unknown(format_args!("the headers of the shard cannot be read: {error}")),
    };
    let mut rows = db.scan_with_options(keys::headers(), &scan_once()).await.map_err(failed)?;
    while let Some(row) = rows.next().await.map_err(failed)? {
        headers.written_ms = headers.written_ms.max(row.create_ts);
        headers.add(&row.key, &row.value).ok_or_else(|| {
            corrupt(format_args!(
                "the shard holds a header that this version does not know ({:02x?}); use the version that wrote it",
                &row.key[..]
            ))
        })?;
    }
    let written_ms = headers.written_ms;
    Ok((headers.partitions()?, written_ms))
}

impl Headers {
    /// `None` when it makes no sense. Rows come in the order of their keys, so a partition before its chunks.
    fn add(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match Key::parse(key)? {
            Key::Shard => self.next = ShardRow::decode(value)?.next_number,
            Key::Partition(number) => {
                self.partitions.insert(number, (PartitionRow::decode(value)?, Vec::new()));
            }
            Key::Chunk(number, start) => {
                let row = ChunkRow::decode(value)?;
                let (_, parts) = self.partitions.get_mut(&number)?;
                parts.push(Part { start, row });
            }
            Key::State(_) | Key::Batch(..) => return None,
        }
        Some(())
    }

    fn partitions(self) -> Result<Partitions, StoreError> {
        let mut partitions = Partitions { next: self.next, loaded: true, ..Partitions::default() };
        for (number, (row, parts)) in self.partitions {
            if number >= self.next {
                return Err(corrupt(format_args!("partition number {number} was never given")));
            }
            let damage = damage(&row, &parts);
            let slot = Arc::new(Slot::loaded(number, row, parts, damage));
            partitions.by_number.insert(number, slot.clone());
            if !row.aside && partitions.by_id.insert(row.id, slot).is_some() {
                return Err(corrupt(format_args!(
                    "partition {} of topic {} is there twice",
                    row.id.index, row.id.topic
                )));
            }
        }
        Ok(partitions)
    }
}

/// What keeps one partition offline, without touching the others.
fn damage(row: &PartitionRow, parts: &[Part]) -> Option<Arc<str>> {
    let whole = parts.iter().all(|part| part.start <= part.row.end);
    let joined = parts.windows(2).all(|two| two[0].row.end == two[1].start);
    let end: Option<Offset> = parts.last().map(|part| part.row.end);
    match end {
        Some(end) if whole && joined && row.log_start <= end => None,
        Some(_) => Some(Arc::from("the chunks of the partition do not fit together")),
        None => Some(Arc::from("the partition has no chunks")),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::keys::{Class, Segment};
    use super::*;
    use crate::store::PartitionId;

    fn row() -> PartitionRow {
        PartitionRow { id: PartitionId { topic: Uuid::from_u128(1), index: 0 }, aside: false, log_start: 0 }
    }

    fn part(start: Offset, end: Offset) -> Part {
        let segment = Segment { class: Class::COMPACTED, bucket: 0 };
        Part { start, row: ChunkRow { segment, end, bytes: 1, max_timestamp: 0, first_append_ms: 0 } }
    }

    fn headers(parts: &[Part]) -> Headers {
        let mut headers = Headers::default();
        headers.add(&keys::shard(), &ShardRow { next_number: 1 }.encode()).expect("known");
        headers.add(&keys::partition(0), &row().encode()).expect("known");
        for part in parts {
            headers.add(&keys::chunk(0, part.start), &part.row.encode()).expect("known");
        }
        headers
    }

    #[test]
    fn a_damaged_partition_leaves_the_others_alone() {
        for (parts, whole) in [
            (vec![part(0, 5), part(5, 9)], true),
            (vec![part(0, 5), part(6, 9)], false),
            (vec![part(5, 0)], false),
            (vec![], false),
        ] {
            let partitions = headers(&parts).partitions().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(partitions.by_id[&row().id].check_whole().is_ok(), whole, "{parts:?}");
        }
        let behind = PartitionRow { log_start: 6, ..row() };
        assert!(damage(&behind, &[part(0, 5)]).is_some());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut headers = headers(&[part(0, 5)]);
        assert_eq!(headers.add(b"\0\0\0\0\0\x02", b""), None);
        assert_eq!(headers.add(&keys::chunk(3, 0), &part(0, 5).row.encode()), None);
        assert_eq!(headers.add(&keys::partition(0), b"\x09"), None);
        headers.add(&keys::partition(1), &row().encode()).expect("known");
        assert!(headers.partitions().is_err(), "a number that was never given");
    }
}
