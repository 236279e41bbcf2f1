//! Slow, stalled and failing stores: memory stays bounded, everybody is answered, nothing false is acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::url::Bucket;
use super::super::{BucketSettings, Shard};
use super::stores::{Honesty, TestStore};
use super::{bucket_on, environment, open, open_with, settings, store_of};
use crate::store::conformance::{append, batch, new_id, options, read_all, wait_durable};
use crate::store::{Flush, PartitionOptions, PartitionStore, Read, Store, StoreError};

fn small() -> BucketSettings {
    BucketSettings {
        max_undurable_bytes: 256 << 10,
        recent_bytes: 64 << 10,
        max_unflushed_bytes: 1 << 20,
        l0_bytes: 128 << 10,
        ..settings()
    }
}

async fn created(shard: &Arc<Shard>, options: PartitionOptions) -> Arc<dyn PartitionStore> {
    let (store, id) = (store_of(shard.clone()), new_id());
    store.create(id, options.clone()).await.expect("created");
    store.open(id, options).await.unwrap_or_else(|error| panic!("{error}")).0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_store_bounds_memory_and_everybody_is_answered() {
    let test_store = TestStore::new(Honesty::Honest);
    let shard = open_with(&bucket_on(test_store.clone()), environment(small())).await;
    let handle = created(&shard, options(1 << 20)).await;
    let internal = created(&shard, PartitionOptions { internal: true, ..options(1 << 20) }).await;
    assert_eq!(shard.undurable_age(), None);
    test_store.hold(true);
    let mut taken = Vec::new();
    let refused = loop {
        let next = batch(taken.len() as i64, 1, 0, 10_000);
        match append(&*handle, &next, Flush::Now) {
            Ok(_) => taken.push(next),
            Err(error) => break error,
        }
        assert!(taken.len() < 1000, "there is a bound");
    };
    assert!(matches!(refused, StoreError::Rejected(_)), "{refused}");
    assert!((200 << 10..=256 << 10).contains(&shard.undurable_bytes()), "{}", shard.undurable_bytes());
    append(&*internal, &batch(0, 1, 0, 10_000), Flush::Now).expect("the broker's own records have some room left");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(shard.undurable_age().is_some_and(|age| age >= Duration::from_millis(50)));
    assert_eq!(handle.durable().borrow().end, 0, "nothing is acknowledged");
    let end = taken.len() as i64;
    assert!(read_all(&*handle, 0, end, 1 << 20).await == taken.concat(), "what waits can be read");
    test_store.hold(false);
    wait_durable(&*handle, end).await;
    wait_durable(&*internal, 1).await;
    assert_eq!((shard.undurable_bytes(), shard.undurable_age()), (0, None));
    append(&*handle, &batch(end, 1, 0, 10_000), Flush::Now).expect("and goes on");
    wait_durable(&*handle, end + 1).await;
    shard.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn much_more_than_memory_goes_through_a_slow_store() {
    let test_store = TestStore::slow(Duration::from_millis(5));
    let bucket = bucket_on(test_store.clone());
    let shard = open_with(&bucket, environment(small())).await;
    let handle = created(&shard, options(1 << 20)).await;
    let (mut next, mut all, began) = (0, Vec::new(), Instant::now());
    while next < 600 && began.elapsed() < Duration::from_secs(60) {
        let one = batch(next, 1, 0, 10_000);
        match append(&*handle, &one, Flush::Soon) {
            Ok(_) => {
                all.extend_from_slice(&one);
                next += 1;
            }
            Err(StoreError::Rejected(_)) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error}"),
        }
        assert!(shard.undurable_bytes() <= 256 << 10);
    }
    assert_eq!(next, 600, "6 MB through 1 MiB");
    wait_durable(&*handle, next).await;
    assert!(read_all(&*handle, 0, next, 100_000).await == all);
    shard.close().await.expect("closed");
    drop(shard);
    let shard = open(&bucket).await;
    let id = store_of(shard.clone()).list().await.expect("listed")[0];
    let (handle, loaded) = store_of(shard.clone()).open(id, options(1 << 20)).await.expect("opened");
    assert_eq!(loaded.end, next);
    assert!(read_all(&*handle, 0, next, 1 << 20).await == all);
    shard.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_share_flushes() {
    let test_store = TestStore::new(Honesty::Honest);
    let every = BucketSettings { flush_interval: Duration::from_millis(100), ..settings() };
    let shard = open_with(&bucket_on(test_store.clone()), environment(every)).await;
    let handle = created(&shard, options(1 << 20)).await;
    let (before, began) = (test_store.puts.load(Ordering::SeqCst), Instant::now());
    for offset in 0..200 {
        append(&*handle, &batch(offset, 1, 0, 10), Flush::Now).expect("appended");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    wait_durable(&*handle, 200).await;
    let flushes = began.elapsed().as_millis() as usize / 100 + 2;
    let puts = test_store.puts.load(Ordering::SeqCst) - before;
    // Compaction has its own few objects.
    assert!(puts <= 2 * flushes + 5, "{puts} objects were written in {:?}", began.elapsed());
    shard.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_store_ends_the_shard_and_nothing_is_acknowledged() {
    let test_store = TestStore::new(Honesty::Honest);
    let bucket = bucket_on(test_store.clone());
    let quick = BucketSettings { max_retries: 1, ..settings() };
    let shard = open_with(&bucket, environment(quick)).await;
    let handle = created(&shard, options(1 << 20)).await;
    append(&*handle, &batch(0, 1, 0, 10), Flush::Now).expect("appended");
    wait_durable(&*handle, 1).await;
    test_store.fail(true);
    append(&*handle, &batch(1, 1, 0, 10), Flush::Now).expect("taken");
    let mut durable = handle.durable();
    let waiting = durable.wait_for(|durable| durable.failed.is_some());
    let failed = tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("in time");
    assert_eq!(failed.expect("it is told").end, 1);
    assert!(matches!(append(&*handle, &batch(2, 1, 0, 10), Flush::Now), Err(StoreError::Unknown(_))));
    let read = Read { from: 0, until: 1, max_bytes: 1, at_least_one: true };
    assert!(handle.read(read).await.is_err(), "a shard that is lost serves nobody");
    assert!(handle.trim(1).await.is_err());
    assert!(shard.failed().borrow().is_some());
    test_store.fail(false);
    let shard = open(&bucket).await;
    let store = store_of(shard.clone());
    let id = store.list().await.expect("listed")[0];
    let (_, loaded) = store.open(id, options(1 << 20)).await.expect("opened");
    assert!((1..=2).contains(&loaded.end), "what was not acknowledged may be there or not");
    shard.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_does_not_wait_for_ever() {
    let test_store = TestStore::new(Honesty::Honest);
    let bucket: Bucket = bucket_on(test_store.clone());
    let impatient = BucketSettings { open_timeout: Duration::from_millis(200), ..settings() };
    test_store.hold(true);
    let error = Shard::open(&bucket, 0, None, environment(impatient)).await.err();
    assert!(matches!(&error, Some(StoreError::Unknown(reason)) if reason.contains("took more than")), "{error:?}");
    test_store.hold(false);
    // The opening that was given up may still come through, and is closed then: one more epoch is used up.
    for attempt in 0.. {
        let shard = open(&bucket).await;
        let created = store_of(shard.clone()).create(new_id(), options(1 << 20)).await;
        _ = shard.close().await;
        match created {
            Ok(()) => break,
            Err(error) => assert!(attempt < 3, "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_does_not_wait_for_ever() {
    let test_store = TestStore::new(Honesty::Honest);
    let bucket = bucket_on(test_store.clone());
    let impatient = BucketSettings { read_timeout: Duration::from_millis(200), recent_bytes: 0, ..settings() };
    let shard = open_with(&bucket, environment(impatient)).await;
    let handle = created(&shard, options(1 << 20)).await;
    append(&*handle, &batch(0, 1, 0, 10), Flush::Now).expect("appended");
    wait_durable(&*handle, 1).await;
    shard.flush_memory().await.expect("flushed");
    let read = Read { from: 0, until: 1, max_bytes: 1, at_least_one: true };
    test_store.hold(true);
    // Blocks that were just written are cached, so a read may well be answered.
    let began = Instant::now();
    let answer = handle.read(read).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(matches!(answer, Ok(_) | Err(StoreError::Rejected(_))));
    test_store.hold(false);
    assert_eq!(handle.read(read).await.expect("read").next_offset, 1);
    shard.close().await.expect("closed");
}
