//! How a shard is run. The figures come from experiments with SlateDB on a local store behind 30-50 ms and on an S3
//! emulator.

use std::sync::Arc;
use std::time::Duration;

use slatedb::Settings;
use slatedb::config::{
    CompactionWorkerOptions, CompactorOptions, GarbageCollectorDirectoryOptions, GarbageCollectorOptions, ScanOptions,
    SizeTieredCompactionSchedulerOptions,
};
use slatedb::db_cache::DbCache;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};

use super::clock::ClusterClock;

/// Read ahead of scans (bytes): SlateDB alone fetches one block per request.
const READ_AHEAD: usize = 4 << 20;
/// The least that is fetched at once (bytes): a request costs more than these bytes do.
const LEAST_READ_AHEAD: usize = 256 << 10;
const FETCH_TASKS: usize = 4;
/// L0 files in a shard, over all its segments.
pub(super) const L0_FILES: usize = 64;
/// L0 files that one key may be in; writes wait beyond.
const L0_FILES_PER_KEY: usize = 16;
const MIN_COMPACTION_SOURCES: usize = 8;
/// Compactions at a time per shard, and pieces of 2 MiB that each holds of every input. With 8 inputs, 64 MiB.
pub(super) const COMPACTIONS: usize = 2;
const COMPACTION_PIECES: usize = 2;
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings of all shards of a broker.
#[derive(Clone, Debug)]
pub struct BucketSettings {
    /// Least time between two flushes of a shard: each is one paid request, and the most that a producer waits beside
    /// the request itself.
    pub flush_interval: Duration,
    /// How long a flush waits for others to share it.
    pub linger: Duration,
    /// Records that are not durable yet may take this much memory per shard; more are refused (bytes).
    pub max_undurable_bytes: usize,
    /// Durable records that are kept in memory for consumers at the end of logs, per shard (bytes).
    pub recent_bytes: usize,
    /// What SlateDB holds per shard before it makes writes wait (bytes).
    pub max_unflushed_bytes: usize,
    /// Size at which SlateDB turns its memory into files (bytes); bounds what the next owner has to replay.
    pub l0_bytes: usize,
    /// Opening a shard is given up after this.
    pub open_timeout: Duration,
    /// A read is refused after this.
    pub read_timeout: Duration,
    /// Closing is left to itself after this.
    pub close_timeout: Duration,
    /// How often an owner that does not write looks whether it still is one.
    pub manifest_poll: Duration,
    pub compactor_poll: Duration,
    /// How often files that nobody needs any more are looked for, and how old they have to be.
    pub garbage_interval: Duration,
    pub garbage_age: Duration,
    /// Attempts of SlateDB at one request, after object_store's own.
    pub max_retries: u32,
}

impl Default for BucketSettings {
    fn default() -> Self {
        Self {
            flush_interval: Duration::from_millis(100),
            linger: Duration::from_millis(2),
            max_undurable_bytes: 64 << 20,
            recent_bytes: 32 << 20,
            max_unflushed_bytes: 128 << 20,
            l0_bytes: 32 << 20,
            open_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(30),
            manifest_poll: Duration::from_secs(5),
            compactor_poll: Duration::from_secs(10),
            garbage_interval: Duration::from_secs(300),
            garbage_age: Duration::from_secs(300),
            max_retries: 10,
        }
    }
}

impl BucketSettings {
    /// `local`: the store is a directory, which cannot replace an object only if it is unchanged.
    pub(super) fn slatedb(&self, local: bool) -> Settings {
        Settings {
            // The shard flushes on demand.
            flush_interval: None,
            manifest_poll_interval: self.manifest_poll,
            manifest_update_timeout: MANIFEST_TIMEOUT,
            l0_sst_size_bytes: self.l0_bytes,
            l0_max_ssts: L0_FILES,
            l0_max_ssts_per_key: L0_FILES_PER_KEY,
            max_unflushed_bytes: self.max_unflushed_bytes,
            // Its builder has them.
            compactor_options: None,
            garbage_collector_options: Some(self.garbage(local)),
            object_store_max_retries: Some(self.max_retries),
            ..Settings::default()
        }
    }

    fn garbage(&self, local: bool) -> GarbageCollectorOptions {
        let directory = Some(GarbageCollectorDirectoryOptions {
            interval: Some(self.garbage_interval),
            min_age: self.garbage_age,
            dry_run: false,
        });
        GarbageCollectorOptions {
            manifest_options: directory,
            wal_options: directory,
            // Never: a fence that is gone lets a writer that was paused store, and acknowledge, what nobody will read.
            wal_fence_options: None,
            compacted_options: directory,
            compactions_options: directory,
            detach_options: None,
            metric_level: None,
            boundary_files_enabled: !local,
            object_store_max_retries: Some(self.max_retries),
        }
    }

    pub(super) fn compactor(&self) -> CompactorOptions {
        let scheduler = SizeTieredCompactionSchedulerOptions {
            min_compaction_sources: MIN_COMPACTION_SOURCES,
            ..SizeTieredCompactionSchedulerOptions::default()
        };
        let worker = CompactionWorkerOptions {
            max_concurrent_compactions: COMPACTIONS,
            compactions_poll_interval: self.compactor_poll,
            max_fetch_tasks: COMPACTION_PIECES,
            max_subcompactions: 1,
            object_store_max_retries: Some(self.max_retries),
            ..CompactionWorkerOptions::default()
        };
        CompactorOptions {
            poll_interval: self.compactor_poll,
            max_concurrent_compactions: COMPACTIONS,
            scheduler_options: scheduler.into(),
            worker: Some(worker),
            object_store_max_retries: Some(self.max_retries),
            ..CompactorOptions::default()
        }
    }
}

/// How to read about this many bytes.
pub(super) fn scan(bytes: usize) -> ScanOptions {
    let read_ahead = bytes.clamp(LEAST_READ_AHEAD, READ_AHEAD);
    ScanOptions::default()
        .with_read_ahead_bytes(read_ahead)
        .with_max_fetch_tasks(bytes.div_ceil(read_ahead).clamp(1, FETCH_TASKS))
        // What was read ahead in vain is what the same consumer asks for next.
        .with_cache_blocks(true)
}

/// How to read what nobody will ask for again.
pub(super) fn scan_once() -> ScanOptions {
    scan(READ_AHEAD * FETCH_TASKS).with_cache_blocks(false)
}

/// What all shards of a broker share.
#[derive(Clone)]
pub struct Environment {
    pub settings: BucketSettings,
    pub clock: Arc<ClusterClock>,
    /// Blocks that were read (see [`block_cache`]).
    pub cache: Arc<dyn DbCache>,
}

/// A cache for the blocks of all shards together, of this many bytes.
pub fn block_cache(bytes: u64) -> Arc<dyn DbCache> {
    Arc::new(MokaCache::new_with_opts(MokaCacheOptions { max_capacity: bytes, ..MokaCacheOptions::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fences_are_never_collected() {
        for local in [false, true] {
            let settings = BucketSettings::default().slatedb(local);
            settings.validate().expect("SlateDB accepts them");
            let garbage = settings.garbage_collector_options.expect("garbage is collected");
            assert!(garbage.wal_fence_options.is_none());
            assert_eq!(garbage.boundary_files_enabled, !local);
        }
    }

    #[test]
    fn scans_fetch_many_blocks_at_once() {
        for (bytes, read_ahead, tasks) in [(1, LEAST_READ_AHEAD, 1), (1 << 20, 1 << 20, 1), (64 << 20, READ_AHEAD, 4)] {
            let options = scan(bytes);
            assert_eq!((options.read_ahead_bytes, options.max_fetch_tasks), (read_ahead, tasks));
        }
    }
}
