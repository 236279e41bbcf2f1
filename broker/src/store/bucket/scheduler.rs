//! What a shard's compactor does next: drops dead segments, and merges files.
//!
//! SlateDB merges the files of a segment once there are enough of them. A bucket of time that is over never gets more,
//! and its few files would count against the shard's limit until writes wait for ever; so these are merged too, and so
//! are those of whichever segment has most when the limit comes near.

use std::collections::HashSet;

use bytes::Bytes;
use slatedb::compactor::{
    CompactionScheduler, CompactionSchedulerSupplier, CompactionSpec, CompactorStateView,
    SizeTieredCompactionSchedulerSupplier, SourceId,
};
use slatedb::config::CompactorOptions;

use super::keys::Segment;
use super::reclaim::Reclaim;
use super::settings::{COMPACTIONS, L0_FILES};

/// From so many files on, those of the fullest segment are merged.
const PRESSED: usize = L0_FILES / 2;
/// Files that are merged at once.
const MERGED: usize = 16;

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

/// One segment, as the manifest has it.
struct Tree {
    segment: Segment,
    prefix: Bytes,
    /// Files that were flushed, the newest first.
    files: Vec<SourceId>,
    /// Files that were merged.
    runs: Vec<u32>,
    /// A compaction is under way, or about to be.
    busy: bool,
}

impl CompactionScheduler for Scheduler {
    fn propose(&self, state: &CompactorStateView) -> Vec<CompactionSpec> {
        let active: Vec<_> = state
            .compactions()
            .into_iter()
            .flat_map(|compactions| compactions.recent_compactions())
            .filter(|compaction| compaction.active())
            .map(|compaction| compaction.spec().clone())
            .collect();
        let mut trees = trees(state, &active);
        let dead = self.reclaim.dead(trees.iter().map(|tree| tree.segment));
        let (dying, kept): (Vec<_>, Vec<_>) = trees.drain(..).partition(|tree| dead.contains(&tree.segment));
        let dropped = dying.iter().filter(|tree| !tree.busy).filter_map(Tree::drain);
        let mut proposed: Vec<CompactionSpec> = dropped.collect();
        // Nothing else is begun in what is about to go.
        let dying: HashSet<&Bytes> = dying.iter().map(|tree| &tree.prefix).collect();
        let tiers: Vec<_> =
            self.tiers.propose(state).into_iter().filter(|spec| !dying.contains(spec.segment())).collect();
        let merging = active.iter().chain(&tiers).filter(|spec| !spec.is_drain());
        let room = COMPACTIONS.saturating_sub(merging.clone().count());
        let taken: HashSet<Bytes> = tiers.iter().map(|spec| spec.segment().clone()).collect();
        let highest = merging.filter_map(CompactionSpec::destination).max();
        let free: Vec<_> = kept.iter().filter(|tree| !tree.busy && !taken.contains(&tree.prefix)).collect();
        let all: usize = kept.iter().map(|tree| tree.files.len()).sum();
        let runs = kept.iter().flat_map(|tree| tree.runs.iter().copied()).max();
        let next = highest.max(runs).map_or(0, |highest| highest.saturating_add(1));
        let merged = merges(free, all, |segment| self.reclaim.is_over(segment), room, next);
        proposed.extend(tiers);
        proposed.extend(merged);
        proposed
    }

    fn validate(&self, state: &CompactorStateView, spec: &CompactionSpec) -> Result<(), slatedb::Error> {
        match spec.is_drain() {
            true => Ok(()),
            false => self.tiers.validate(state, spec),
        }
    }
}

fn trees(state: &CompactorStateView, active: &[CompactionSpec]) -> Vec<Tree> {
    let tree = |segment: &slatedb::manifest::Segment| {
        let prefix = segment.prefix().clone();
        Some(Tree {
            segment: Segment::parse(&prefix)?,
            files: segment.l0().iter().map(|file| SourceId::SstView(file.id)).collect(),
            runs: segment.compacted().iter().map(|run| run.id).collect(),
            busy: active.iter().any(|spec| *spec.segment() == prefix),
            prefix,
        })
    };
    state.manifest().segments().iter().filter_map(tree).collect()
}

impl Tree {
    /// Drops everything that it holds now; what is flushed later stays.
    fn drain(&self) -> Option<CompactionSpec> {
        let runs = self.runs.iter().map(|run| SourceId::SortedRun(*run));
        let sources: Vec<_> = self.files.iter().copied().chain(runs).collect();
        (!sources.is_empty()).then(|| CompactionSpec::drain_segment(self.prefix.clone(), sources))
    }

    /// Merges its oldest files into a new run, which is newer than all runs.
    fn merge(&self, run: u32) -> CompactionSpec {
        let oldest = self.files[self.files.len().saturating_sub(MERGED)..].to_vec();
        CompactionSpec::for_segment(self.prefix.clone(), oldest, run)
    }
}

/// Merges that SlateDB does not think of. `all`: files of the shard; `room`: how many may begin; `next`: the first free
/// number for a run.
fn merges(
    mut free: Vec<&Tree>,
    all: usize,
    is_over: impl Fn(Segment) -> bool,
    room: usize,
    next: u32,
) -> Vec<CompactionSpec> {
    let pressed = all >= PRESSED;
    free.retain(|tree| !tree.files.is_empty() && (is_over(tree.segment) || pressed && tree.files.len() > 1));
    free.sort_by_key(|tree| std::cmp::Reverse(tree.files.len()));
    free.iter().take(room).zip(next..).map(|(tree, run)| tree.merge(run)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::keys::Class;
    use super::*;

    fn tree(bucket: u32, files: usize) -> Tree {
        let segment = Segment { class: Class::from_byte(3).expect("a class"), bucket };
        let prefix = Bytes::copy_from_slice(&[&[3][..], &bucket.to_be_bytes()].concat());
        // What kind of source it is makes no difference here.
        let files = (0..files as u32).map(SourceId::SortedRun).collect();
        Tree { segment, prefix, files, runs: vec![], busy: false }
    }

    /// Buckets that are merged, with how many files and into which run.
    fn merged(trees: &[Tree], room: usize) -> Vec<(u8, usize, Option<u32>)> {
        let all = trees.iter().map(|tree| tree.files.len()).sum();
        let specs = merges(trees.iter().collect(), all, |segment| segment.bucket < 5, room, 7);
        specs.iter().map(|spec| (spec.segment()[4], spec.sources().len(), spec.destination())).collect()
    }

    #[test]
    fn what_is_over_is_merged_and_what_goes_on_is_not() {
        let trees = [tree(1, 3), tree(2, 0), tree(3, 7), tree(4, 1), tree(5, 7)];
        assert_eq!(merged(&trees, 9), [(3, 7, Some(7)), (1, 3, Some(8)), (4, 1, Some(9))]);
        assert_eq!(merged(&trees, 1), [(3, 7, Some(7))]);
        assert_eq!(merged(&trees, 0), []);
    }

    #[test]
    fn near_the_limit_the_fullest_is_merged() {
        let trees = [tree(5, 7), tree(6, 1), tree(7, 20), tree(8, 4)];
        assert_eq!(merged(&trees, 2), [(7, MERGED, Some(7)), (5, 7, Some(8))]);
        let spec = merges(vec![&trees[2]], PRESSED, |_| false, 1, 0).remove(0);
        assert_eq!(spec.sources().last(), trees[2].files.last(), "the oldest ones");
        assert_eq!(merges(vec![&trees[2]], PRESSED - 1, |_| false, 1, 0), []);
    }
}
