//! Getting space back. Segments in which nothing is wanted any more are dropped whole, without reading or writing data;
//! where they are shared with what stays, compaction leaves out what lies before a partition's log start or belongs to
//! a partition that is gone.
//!
//! Both go by what is durable, so that no crash brings back a log start before what was dropped. Neither decides what a
//! compacted topic keeps: a compaction sees an arbitrary part of a log.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use slatedb::{
    CompactionFilter, CompactionFilterDecision, CompactionFilterError, CompactionFilterSupplier, CompactionJobContext,
    RowEntry,
};

use super::clock::ClusterClock;
use super::keys::{Key, Segment};
use super::shared::Registry;

/// Makes the two for a shard.
#[derive(Clone)]
pub(super) struct Reclaim {
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Arc<ClusterClock>,
}

impl Reclaim {
    /// Whether the time of a segment has passed.
    pub(super) fn is_over(&self, segment: Segment) -> bool {
        segment.class.expires() && segment.bucket < segment.class.bucket(self.clock.now_ms())
    }

    /// Segments that can be dropped: of a time that is over, so that nothing is about to be added, and with nothing in
    /// them that is wanted. The manifest must have been read before.
    pub(super) fn dead(&self, segments: impl Iterator<Item = Segment>) -> HashSet<Segment> {
        let over: Vec<_> = segments.filter(|segment| self.is_over(*segment)).collect();
        if over.is_empty() {
            return HashSet::new();
        }
        let Some(wanted) = self.registry.wanted() else { return HashSet::new() };
        over.into_iter().filter(|segment| !wanted.contains(segment)).collect()
    }
}

#[async_trait]
impl CompactionFilterSupplier for Reclaim {
    async fn create_compaction_filter(
        &self,
        _context: &CompactionJobContext,
    ) -> Result<Box<dyn CompactionFilter>, CompactionFilterError> {
        Ok(Box::new(Filter(self.registry.clone())))
    }
}

struct Filter(Arc<Registry>);

#[async_trait]
impl CompactionFilter for Filter {
    async fn filter(&mut self, entry: &RowEntry) -> Result<CompactionFilterDecision, CompactionFilterError> {
        // Dropping leaves no tombstone, and an older value of the key may show again; nobody reads what is dead.
        // Headers and state are never dropped: an old one must not come back.
        Ok(match Key::parse(&entry.key) {
            Some(Key::Batch(_, number, last_offset)) if self.0.is_dead(number, last_offset) => {
                CompactionFilterDecision::Drop
            }
            _ => CompactionFilterDecision::Keep,
        })
    }

    async fn on_compaction_end(&mut self) -> Result<(), CompactionFilterError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::keys::Class;
    use super::super::rows::{ChunkRow, PartitionRow};
    use super::super::shared::Partitions;
    use super::super::slot::{Part, Slot};
    use super::*;
    use crate::clock::ManualClock;
    use crate::store::PartitionId;

    const HOUR: i64 = 3_600_000;

    fn segment(bucket: u32) -> Segment {
        Segment { class: Class::from_byte(3).expect("buckets of an hour"), bucket }
    }

    /// At hour 9, with partition number 0 that has a chunk of ten offsets in each of these hours.
    fn reclaim(hours: &[u32], loaded: bool, damage: Option<Arc<str>>) -> (Reclaim, Arc<Slot>) {
        let part = |(index, bucket): (usize, &u32)| {
            let start = index as i64 * 10;
            let row =
                ChunkRow { segment: segment(*bucket), end: start + 10, bytes: 1, max_timestamp: 0, first_append_ms: 0 };
            Part { start, row }
        };
        let id = PartitionId { topic: Uuid::from_u128(1), index: 0 };
        let row = PartitionRow { id, aside: false, log_start: 0 };
        let slot = Arc::new(Slot::loaded(0, row, hours.iter().enumerate().map(part).collect(), damage));
        let registry = Arc::new(Registry::default());
        let mut partitions = Partitions { next: 2, loaded, ..Partitions::default() };
        partitions.by_number.insert(0, slot.clone());
        *registry.write() = partitions;
        (Reclaim { registry, clock: ClusterClock::new(Arc::new(ManualClock::at(9 * HOUR))) }, slot)
    }

    fn dead(reclaim: &Reclaim) -> Vec<u32> {
        let mut dead: Vec<_> = reclaim.dead((0..12).map(segment)).iter().map(|segment| segment.bucket).collect();
        dead.sort();
        dead
    }

    #[test]
    fn what_is_over_and_not_wanted_is_dead() {
        let (reclaim, slot) = reclaim(&[3, 5, 5, 9], true, None);
        assert_eq!(dead(&reclaim), [0, 1, 2, 4, 6, 7, 8]);
        slot.trimmed(20);
        assert_eq!(dead(&reclaim), [0, 1, 2, 3, 4, 6, 7, 8], "half of hour 5 is wanted");
        slot.trimmed(40);
        assert_eq!(dead(&reclaim), [0, 1, 2, 3, 4, 5, 6, 7, 8], "and hour 9 goes on");
        let forever = [Class::META, Class::COMPACTED].map(|class| Segment { class, bucket: 0 });
        assert!(reclaim.dead(forever.into_iter()).is_empty());
    }

    #[test]
    fn nothing_is_dead_before_all_is_known() {
        assert!(dead(&reclaim(&[], false, None).0).is_empty());
        assert!(dead(&reclaim(&[3], true, Some(Arc::from("damaged"))).0).is_empty());
        let (unloaded, _) = reclaim(&[], false, None);
        assert!(!unloaded.registry.is_dead(1, 5));
    }

    #[tokio::test]
    async fn the_filter_drops_only_dead_batches() {
        let (reclaim, slot) = reclaim(&[3, 9], true, None);
        slot.trimmed(7);
        let mut filter = Filter(reclaim.registry.clone());
        let mut drops = async |key| {
            let value = slatedb::ValueDeletable::Value(bytes::Bytes::new());
            let entry = RowEntry { key, value, seq: 1, create_ts: None, expire_ts: None };
            filter.filter(&entry).await.expect("decided") == CompactionFilterDecision::Drop
        };
        use super::super::keys;
        let batch = |number, last_offset| keys::batch(segment(3), number, last_offset);
        assert!(drops(batch(0, 6)).await && !drops(batch(0, 7)).await);
        assert!(drops(batch(1, 99)).await, "number 1 was given, and its partition is gone");
        assert!(!drops(batch(2, 0)).await, "number 2 is yet to be given");
        for header in [keys::shard(), keys::partition(1), keys::chunk(1, 0), keys::state(1, b"p")] {
            assert!(!drops(header).await);
        }
    }
}
