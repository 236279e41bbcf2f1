//! Space comes back: whole buckets of time once nobody wants anything in them, and what is dead in shared ones.

use std::sync::Arc;
use std::time::Duration;

use super::super::keys::Segment;
use super::super::url::Bucket;
use super::super::{BucketSettings, BucketStore, Environment, Shard};
use super::stores::stored_bytes;
use super::{in_memory, manual, open_with, settings, store_of};
use crate::clock::{Clock, ManualClock, SystemClock};
use crate::store::conformance::{append, batch, bytes_of, new_id, options, read_all, wait_durable};
use crate::store::{Flush, Offset, PartitionId, PartitionOptions, PartitionStore, Read, Store};

const MINUTE: i64 = 60_000;
const SIZE: usize = 20_000;

/// Kept for an hour, so in buckets of ten minutes.
fn hourly() -> PartitionOptions {
    PartitionOptions { retention_ms: 60 * MINUTE, ..options(1 << 20) }
}

fn compacted() -> PartitionOptions {
    PartitionOptions { compacted: true, ..options(1 << 20) }
}

struct Rig {
    bucket: Bucket,
    /// When it began (ms since 1970): now, because objects have real times.
    began: i64,
    clock: Arc<ManualClock>,
    environment: Environment,
    shard: Arc<Shard>,
    store: Arc<BucketStore>,
}

impl Rig {
    async fn new() -> Self {
        let began = SystemClock.now_ms();
        let (clock, environment) = manual(BucketSettings { recent_bytes: 0, ..settings() }, began);
        let bucket = in_memory();
        let shard = open_with(&bucket, environment.clone()).await;
        let store = store_of(shard.clone());
        Self { bucket, began, clock, environment, shard, store }
    }

    async fn created(&self, options: PartitionOptions) -> (PartitionId, Arc<dyn PartitionStore>) {
        let id = new_id();
        self.store.create(id, options.clone()).await.expect("created");
        (id, self.store.open(id, options).await.unwrap_or_else(|error| panic!("{error}")).0)
    }

    /// The wall clock and the steady one go on together in small steps, as they do.
    fn pass(&self, minutes: i64) {
        for _ in 0..minutes * 2 {
            self.clock.advance(MINUTE / 2);
            self.environment.clock.accept_jump();
        }
    }

    /// Classes and buckets that have files, without that of the headers.
    fn segments(&self) -> Vec<Segment> {
        let manifest = self.shard.shared.db.manifest();
        let segments = manifest.segments().iter().filter(|one| !one.l0().is_empty() || !one.compacted().is_empty());
        segments.filter_map(|one| Segment::parse(one.prefix())).filter(|one| one.class.byte() != 0).collect()
    }

    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        for _ in 0..300 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{what} did not come about; segments: {:?}", self.segments());
    }

    async fn bytes(&self) -> u64 {
        stored_bytes(&*self.bucket.store, &self.bucket.prefix).await
    }

    /// SlateDB deletes files that are older than its newest ones, and than what it had merged a quarter of an hour ago.
    async fn until_deleted(&self, handle: &dyn PartitionStore, most: u64) {
        for _ in 0..100 {
            if self.bytes().await < most {
                return;
            }
            let offset = handle.durable().borrow().end;
            append(handle, &batch(offset, 1, offset, 1), Flush::Soon).expect("appended");
            wait_durable(handle, offset + 1).await;
            self.shard.flush_memory().await.expect("flushed");
            self.pass(1);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{} bytes are stored, and no more than {most} are wanted", self.bytes().await);
    }
}

async fn fill(handle: &dyn PartitionStore, offsets: std::ops::Range<Offset>) -> Vec<u8> {
    let batches: Vec<_> = offsets.clone().map(|offset| batch(offset, 1, offset, SIZE)).collect();
    for batch in &batches {
        append(handle, batch, Flush::Soon).expect("appended");
    }
    wait_durable(handle, offsets.end).await;
    batches.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn trimming_frees_whole_buckets_of_time() {
    let rig = Rig::new().await;
    let (_, one) = rig.created(hourly()).await;
    let (_, two) = rig.created(hourly()).await;
    let mut kept = Vec::new();
    for bucket in 0..4 {
        let written = fill(&*one, bucket * 10..(bucket + 1) * 10).await;
        if bucket == 3 {
            kept = written;
        }
        if bucket < 2 {
            fill(&*two, bucket * 10..(bucket + 1) * 10).await;
        }
        rig.shard.flush_memory().await.expect("flushed");
        rig.pass(10);
    }
    let segments = rig.segments();
    assert_eq!(segments.len(), 4, "{segments:?}");
    let chunks = one.chunks();
    assert_eq!(chunks.iter().map(|chunk| chunk.offsets.start).collect::<Vec<_>>(), [0, 10, 20, 30]);
    let before = rig.bytes().await;
    one.trim(30).await.expect("trimmed");
    // The other partition has records in two of them.
    rig.until("dropping what only the first one had", async || rig.segments().len() == 3).await;
    two.trim(10).await.expect("trimmed");
    rig.until("dropping the oldest one", async || rig.segments().len() == 2).await;
    assert_eq!(rig.segments(), [segments[1], segments[3]]);
    two.trim(20).await.expect("trimmed");
    two.roll().expect("rolled");
    rig.until("dropping the rest", async || rig.segments() == [segments[3]]).await;
    assert!(read_all(&*one, 30, 40, 1 << 20).await == kept);
    assert!(read_all(&*two, 0, 20, 1 << 20).await.is_empty());
    fill(&*two, 20..21).await;
    rig.until_deleted(&*one, before / 2).await;
    assert!(read_all(&*one, 30, 40, 1 << 20).await == kept);
    let end = one.durable().borrow().end;
    rig.store.close().await.expect("closed");
    // Nothing of it hangs on what was in memory.
    let store = store_of(open_with(&rig.bucket, rig.environment.clone()).await);
    for id in store.list().await.expect("listed") {
        let (_, loaded) = store.open(id, hourly()).await.expect("opened");
        assert!([(30, end), (20, 21)].contains(&(loaded.log_start, loaded.end)));
    }
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_time_that_is_over_do_not_add_up() {
    let rig = Rig::new().await;
    let (_, handle) = rig.created(hourly()).await;
    let mut all = Vec::new();
    for round in 0..12 {
        all.extend(fill(&*handle, round..round + 1).await);
        rig.shard.flush_memory().await.expect("flushed");
        if round % 3 == 2 {
            rig.pass(10);
        }
    }
    assert_eq!(rig.segments().len(), 4);
    let files = || {
        let manifest = rig.shard.shared.db.manifest();
        let timed = manifest.segments().iter().filter(|one| one.prefix()[0] > 1);
        timed.map(|one| one.l0().len()).sum::<usize>()
    };
    // Far fewer than SlateDB merges by itself.
    rig.until("merging", async || files() == 0).await;
    assert_eq!(rig.segments().len(), 4);
    assert!(read_all(&*handle, 0, 12, 1 << 20).await == all);
    rig.store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_expires_by_itself_or_while_it_may_be_added_to() {
    let rig = Rig::new().await;
    let (_, handle) = rig.created(hourly()).await;
    fill(&*handle, 0..5).await;
    rig.shard.flush_memory().await.expect("flushed");
    handle.trim(5).await.expect("trimmed");
    handle.roll().expect("rolled");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.segments().len(), 1, "the bucket of now stays");
    let kept = fill(&*handle, 5..10).await;
    rig.shard.flush_memory().await.expect("flushed");
    // Far beyond the retention, which the log decides about and not the store.
    rig.pass(600);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.segments().len(), 1);
    assert!(read_all(&*handle, 0, 10, 1 << 20).await == kept);
    rig.store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_of_a_partition_never_goes_back() {
    let rig = Rig::new().await;
    let (id, handle) = rig.created(hourly()).await;
    fill(&*handle, 0..1).await;
    rig.pass(30);
    fill(&*handle, 1..2).await;
    rig.store.close().await.expect("closed");
    // The next owner's clock is behind, by less than is refused.
    let (_, behind) = manual(settings(), rig.began + 30 * MINUTE - 30_000);
    let store = store_of(open_with(&rig.bucket, behind.clone()).await);
    assert!(behind.clock.now_ms() >= rig.began + 30 * MINUTE, "it learns the time from what is stored");
    let (handle, _) = store.open(id, hourly()).await.expect("opened");
    let more = fill(&*handle, 2..3).await;
    assert_eq!(handle.chunks().len(), 2, "it goes on in the bucket of the last record");
    assert!(read_all(&*handle, 2, 3, 1 << 20).await == more);
    store.close().await.expect("closed");
    let (_, far_behind) = manual(settings(), rig.began - 60 * MINUTE);
    let refused = Shard::open(&rig.bucket, 0, None, far_behind).await.err().expect("refused");
    assert!(refused.to_string().contains("NTP"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_drops_what_is_dead_where_segments_stay() {
    let rig = Rig::new().await;
    let (gone, doomed) = rig.created(compacted()).await;
    let (aside, stray) = rig.created(compacted()).await;
    let (_, trimmed) = rig.created(compacted()).await;
    let (_, kept) = rig.created(compacted()).await;
    let mut all = Vec::new();
    for round in 0..7 {
        for handle in [&doomed, &stray, &trimmed] {
            fill(&**handle, round * 5..(round + 1) * 5).await;
        }
        all.extend(fill(&*kept, round * 5..(round + 1) * 5).await);
        rig.shard.flush_memory().await.expect("flushed");
    }
    rig.store.delete(gone).await.expect("deleted");
    trimmed.trim(30).await.expect("trimmed");
    rig.store.set_aside(aside).await.expect("set aside");
    // Enough files for a compaction.
    for round in 7..12 {
        all.extend(fill(&*kept, round * 5..(round + 1) * 5).await);
        rig.shard.flush_memory().await.expect("flushed");
    }
    // 35 of the stray, 5 of the trimmed one and 60 stay; 65 go.
    rig.until_deleted(&*kept, (35 + 5 + 60 + 20) * SIZE as u64).await;
    assert!(read_all(&*kept, 0, 60, 1 << 20).await == all);
    let read = Read { from: 0, until: 35, max_bytes: 1 << 30, at_least_one: true };
    assert_eq!(bytes_of(&trimmed.read(read).await.expect("read")).len(), 5 * batch(0, 1, 0, SIZE).len());
    rig.store.close().await.expect("closed");
}
