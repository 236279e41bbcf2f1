//! One owner at a time: what an earlier one acknowledged is there, and what it did not may be lost, but nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::url::Bucket;
use super::super::{BucketStore, Shard, stored_epoch};
use super::{environment, in_memory, open, settings, store_of};
use crate::store::conformance::{append, batch, new_id, options, read_all, wait_durable};
use crate::store::{Flush, Loaded, Offset, PartitionId, PartitionStore, Store, StoreError};

async fn opened(store: &BucketStore, id: PartitionId) -> (Arc<dyn PartitionStore>, Loaded) {
    store.open(id, options(1 << 20)).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn created(store: &BucketStore) -> (PartitionId, Arc<dyn PartitionStore>) {
    let id = new_id();
    store.create(id, options(1 << 20)).await.expect("created");
    (id, opened(store, id).await.0)
}

/// A batch that only its writer makes.
fn record(offset: Offset, writer: u8) -> Bytes {
    batch(offset, 1, i64::from(writer), 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_owner_is_fenced() {
    let bucket = in_memory();
    let old = open(&bucket).await;
    let old_store = store_of(old.clone());
    let (id, handle) = created(&old_store).await;
    append(&*handle, &record(0, 1), Flush::Now).expect("appended");
    wait_durable(&*handle, 1).await;
    let new = open(&bucket).await;
    assert!(new.epoch() > old.epoch());
    // The old one does not know yet: it takes the batch, and never acknowledges it.
    _ = append(&*handle, &record(1, 1), Flush::Now);
    let mut durable = handle.durable();
    let end = durable.wait_for(|durable| durable.failed.is_some()).await.expect("it is told").end;
    assert_eq!(end, 1);
    assert!(matches!(append(&*handle, &record(2, 1), Flush::Now), Err(StoreError::Unknown(_))));
    assert!(old.failed().borrow().is_some());
    assert!(matches!(old_store.open(id, options(1)).await.err(), Some(StoreError::Unknown(_))));
    let new_store = store_of(new);
    let (handle, loaded) = opened(&new_store, id).await;
    assert_eq!(loaded.end, 1);
    assert!(read_all(&*handle, 0, 9, 1 << 20).await == record(0, 1));
    append(&*handle, &record(1, 2), Flush::Now).expect("appended");
    wait_durable(&*handle, 2).await;
    new_store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_owner_learns_that_it_was_fenced() {
    let bucket = in_memory();
    let old = open(&bucket).await;
    old.prove().await.expect("it is the owner");
    let _new = open(&bucket).await;
    assert!(old.prove().await.is_err(), "a proof asks the store");
    let mut failed = old.failed();
    let told = tokio::time::timeout(Duration::from_secs(10), failed.wait_for(Option::is_some)).await;
    assert!(told.is_ok(), "and without one the poll tells");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_expected_epoch_is_taken() {
    let bucket = in_memory();
    let open = |expected| Shard::open(&bucket, 7, expected, environment(settings()));
    assert_eq!(stored_epoch(&bucket, 7).await.expect("read"), None);
    let first = open(Some(0)).await.unwrap_or_else(|error| panic!("{error}"));
    let epoch = stored_epoch(&bucket, 7).await.expect("read").expect("there is one");
    assert_eq!(u64::try_from(first.epoch()), Ok(epoch));
    assert!(matches!(open(Some(epoch + 1)).await.err(), Some(StoreError::NotOwner(_))));
    assert!(matches!(open(Some(epoch - 1)).await.err(), Some(StoreError::NotOwner(_))));
    first.prove().await.expect("whoever was refused took nothing");
    let (one, two) = tokio::join!(open(Some(epoch)), open(Some(epoch)));
    assert!(one.is_ok() != two.is_ok(), "of two that expect the same, one gets it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_not_open_here_is_said_to_be_elsewhere() {
    let bucket = in_memory();
    let store = BucketStore::new(Arc::new(|id: PartitionId| (id.index != 9).then_some(0)));
    let id = new_id();
    assert!(matches!(store.create(id, options(1)).await, Err(StoreError::NotOwner(_))));
    assert!(matches!(store.open(id, options(1)).await.err(), Some(StoreError::NotOwner(_))));
    let unknown = PartitionId { index: 9, ..id };
    assert!(matches!(store.open(unknown, options(1)).await.err(), Some(StoreError::NotFound)));
    assert!(store.insert(open(&bucket).await).is_none());
    store.create(id, options(1)).await.expect("created");
    let shard = store.remove(0).expect("it was there");
    assert!(matches!(store.open(id, options(1)).await.err(), Some(StoreError::NotOwner(_))));
    assert_eq!(store.list().await.expect("listed"), []);
    shard.close().await.expect("closed");
}

/// Appends until the handle fails, and returns what was acknowledged.
async fn write_until_failed(handle: Arc<dyn PartitionStore>, from: Offset, writer: u8) -> BTreeMap<Offset, Bytes> {
    let (mut durable, mut next, mut written) = (handle.durable(), from, BTreeMap::new());
    loop {
        for _ in 0..5 {
            if append(&*handle, &record(next, writer), Flush::Soon).is_ok() {
                written.insert(next, record(next, writer));
                next += 1;
            }
        }
        let wait = durable.wait_for(|durable| durable.end >= next || durable.failed.is_some());
        let (end, failed) = match tokio::time::timeout(Duration::from_millis(3), wait).await {
            Ok(Ok(durable)) => (durable.end, durable.failed.is_some()),
            Ok(Err(_)) => (handle.durable().borrow().end, true),
            Err(_) => continue,
        };
        if failed {
            written.retain(|offset, _| *offset < end);
            return written;
        }
    }
}

async fn take_over(bucket: &Bucket, id: PartitionId, acknowledged: &BTreeMap<Offset, Bytes>) -> TakenOver {
    let shard = open(bucket).await;
    let store = store_of(shard.clone());
    let (handle, loaded) = opened(&store, id).await;
    let all = read_all(&*handle, 0, loaded.end, 1 << 20).await;
    let size = record(0, 0).len();
    assert_eq!(all.len(), loaded.end as usize * size, "a prefix without gaps");
    for (offset, record) in acknowledged {
        let at = *offset as usize * size;
        assert!(all.get(at..at + size) == Some(&record[..]), "offset {offset} was acknowledged, and is another record");
    }
    TakenOver { shard, store, handle, end: loaded.end }
}

fn note(acknowledged: &mut BTreeMap<Offset, Bytes>, more: BTreeMap<Offset, Bytes>) {
    for (offset, record) in more {
        let other = acknowledged.insert(offset, record);
        assert_eq!(other, None, "offset {offset} was acknowledged twice");
    }
}

struct TakenOver {
    shard: Arc<Shard>,
    store: Arc<BucketStore>,
    handle: Arc<dyn PartitionStore>,
    end: Offset,
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_in_turn_never_lose_or_reassign_what_was_acknowledged() {
    let bucket = in_memory();
    let first = open(&bucket).await;
    let (id, _) = created(&store_of(first.clone())).await;
    first.close().await.expect("closed");
    let mut acknowledged = BTreeMap::new();
    let mut writers = Vec::new();
    for writer in 0..8 {
        let owner = take_over(&bucket, id, &acknowledged).await;
        // The one before learns only now, from the fence, and hands over what it had acknowledged until then.
        for task in writers.drain(..) {
            let (shard, task): (Arc<Shard>, tokio::task::JoinHandle<BTreeMap<Offset, Bytes>>) = task;
            note(&mut acknowledged, task.await.expect("the writer ended"));
            drop(shard);
        }
        let writing = tokio::spawn(write_until_failed(owner.handle.clone(), owner.end, writer));
        writers.push((owner.shard.clone(), writing));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    for (shard, task) in writers {
        shard.close().await.expect("closed");
        note(&mut acknowledged, task.await.expect("the writer ended"));
    }
    assert!(acknowledged.len() > 50, "{} were acknowledged", acknowledged.len());
    let last = take_over(&bucket, id, &acknowledged).await;
    last.store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_move_loses_nothing_and_waits_for_no_close() {
    let bucket = in_memory();
    let old = open(&bucket).await;
    let old_store = store_of(old.clone());
    let (id, handle) = created(&old_store).await;
    for offset in 0..20 {
        append(&*handle, &record(offset, 1), Flush::Soon).expect("appended");
    }
    old.flush_memory().await.expect("flushed");
    for offset in 20..40 {
        append(&*handle, &record(offset, 1), Flush::Soon).expect("appended");
    }
    old.stop_writes().await.expect("stopped");
    assert!(append(&*handle, &record(40, 1), Flush::Soon).is_err());
    assert_eq!(handle.durable().borrow().end, 40, "everything that was taken is durable");
    let new = open(&bucket).await;
    let new_store = store_of(new);
    let (handle, loaded) = opened(&new_store, id).await;
    assert_eq!(loaded.end, 40);
    append(&*handle, &record(40, 2), Flush::Soon).expect("appended");
    wait_durable(&*handle, 41).await;
    _ = old.close().await;
    new_store.close().await.expect("closed");
}
