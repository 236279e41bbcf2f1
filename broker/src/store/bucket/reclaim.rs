//! Getting space back. Segments in which nothing is wanted any more are dropped whole, without reading or writing data;
//! where they are shared with what stays, compaction leaves out what lies before a partition's log start or belongs to
//! a partition that is gone.
//!
//! Both go by what is durable, so that no crash brings back a log start before what was dropped. Neither decides what a
//! compacted topic keeps: a compaction sees an arbitrary part of a log.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use slatedb::compactor::{
    CompactionScheduler, CompactionSchedulerSupplier, CompactionSpec, CompactorStateView,
    SizeTieredCompactionSchedulerSupplier, SourceId,
};
use slatedb::config::CompactorOptions;
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
    /// Segments that can be dropped: of a time that is over, so that nothing is about to be added, and with nothing in
    /// them that is wanted. The manifest must have been read before.
    fn dead(&self, segments: impl Iterator<Item = Segment>) -> HashSet<Segment> {
        let now = self.clock.now_ms();
        let over: Vec<_> = segments
            .filter(|segment| segment.class.expires() && segment.bucket < segment.class.bucket(now))
            .collect();
        if over.is_empty() {
            return HashSet::new();
        }
        let wanted = self.registry.wanted();
        over.into_iter().filter(|segment| !wanted.contains(segment)).collect()
    }
}

impl CompactionSchedulerSupplier for Reclaim {
    fn compaction_scheduler(&self, options: &CompactorOptions) -> Box<dyn CompactionScheduler + Send + Sync> {
        let tiers = SizeTieredCompactionSchedulerSupplier::new().compaction_scheduler(options);
        Box::new(Scheduler { reclaim: self.clone(), tiers })
    }
}

struct Scheduler {
    reclaim: Reclaim,
    /// Decides about everything else.
    tiers: Box<dyn CompactionScheduler + Send + Sync>,
}

impl CompactionScheduler for Scheduler {
    fn propose(&self, state: &CompactorStateView) -> Vec<CompactionSpec> {
        let segments = state.manifest().segments();
        let dead = self.reclaim.dead(segments.iter().filter_map(|segment| Segment::parse(segment.prefix())));
        let mut drained = HashSet::new();
        let mut proposed = Vec::new();
        for segment in segments {
            let prefix = segment.prefix();
            if Segment::parse(prefix).is_none_or(|segment| !dead.contains(&segment)) {
                continue;
            }
            // Nothing else is begun in it either.
            drained.insert(prefix.clone());
            let busy = state.compactions().is_some_and(|compactions| {
                compactions.recent_compactions().any(|one| one.active() && one.spec().segment() == prefix)
            });
            let files = segment.l0().iter().map(|file| SourceId::SstView(file.id));
            let runs = segment.compacted().iter().map(|run| SourceId::SortedRun(run.id));
            let sources: Vec<_> = files.chain(runs).collect();
            if !busy && !sources.is_empty() {
                proposed.push(CompactionSpec::drain_segment(prefix.clone(), sources));
            }
        }
        let others = self.tiers.propose(state);
        proposed.extend(others.into_iter().filter(|spec| !drained.contains(spec.segment())));
        proposed
    }

    fn validate(&self, state: &CompactorStateView, spec: &CompactionSpec) -> Result<(), slatedb::Error> {
        match spec.is_drain() {
            true => Ok(()),
            false => self.tiers.validate(state, spec),
        }
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
