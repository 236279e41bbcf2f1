//! The store on object stores in memory and in directories, honest ones and others.

mod conforms;
mod faults;
mod fencing;
mod probing;
mod retention;
mod stores;

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::clock::ClusterClock;
use super::url::Bucket;
use super::{BucketSettings, BucketStore, Environment, Shard, block_cache};
use crate::clock::{Clock, ManualClock, SystemClock};

/// Quick ones: nothing is paid here.
fn settings() -> BucketSettings {
    BucketSettings {
        flush_interval: Duration::from_millis(1),
        linger: Duration::from_millis(1),
        manifest_poll: Duration::from_millis(200),
        compactor_poll: Duration::from_millis(200),
        garbage_interval: Duration::from_millis(500),
        garbage_age: Duration::from_millis(500),
        ..BucketSettings::default()
    }
}

fn environment(settings: BucketSettings) -> Environment {
    environment_at(settings, Arc::new(SystemClock))
}

fn environment_at(settings: BucketSettings, clock: Arc<dyn Clock>) -> Environment {
    Environment { settings, clock: ClusterClock::new(clock), cache: block_cache(16 << 20) }
}

/// One whose time stands still.
fn manual(settings: BucketSettings, now_ms: i64) -> (Arc<ManualClock>, Environment) {
    let clock = Arc::new(ManualClock::at(now_ms));
    (clock.clone(), environment_at(settings, clock))
}

fn bucket_on(store: Arc<dyn ObjectStore>) -> Bucket {
    Bucket { store, prefix: Path::from("cluster"), url: "memory://cluster".to_owned(), local: false }
}

fn in_memory() -> Bucket {
    bucket_on(Arc::new(InMemory::new()))
}

/// A store with one shard that holds everything.
fn store_of(shard: Arc<Shard>) -> Arc<BucketStore> {
    let number = shard.number();
    let store = BucketStore::new(Arc::new(move |_| Some(number)));
    store.insert(shard);
    store
}

async fn open(bucket: &Bucket) -> Arc<Shard> {
    open_with(bucket, environment(settings())).await
}

async fn open_with(bucket: &Bucket, environment: Environment) -> Arc<Shard> {
    Shard::open(bucket, 0, None, environment).await.unwrap_or_else(|error| panic!("{error}"))
}
