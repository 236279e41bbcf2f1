//! Partitions on object storage: one SlateDB database per shard, many partitions in each.
//!
//! ```text
//! <url>/shards/<n>/        shard n: see `keys` for what it holds
//! <url>/probe/<id>         passing: whether the store keeps its promises
//! ```
//!
//! A shard has one owner, who opened it last; opening fences every earlier owner. In the owner one task writes, one
//! learns what is durable, and one flushes. Which partition lives in which shard is not decided here: a [`Placement`]
//! tells, and shards come and go at run time with [`BucketStore::insert`] and [`BucketStore::remove`].

pub mod clock;
mod durable;
mod flusher;
mod handle;
mod http;
mod keys;
mod load;
mod partitions;
pub mod probe;
mod reading;
mod reclaim;
mod rows;
mod scheduler;
mod settings;
mod shard;
mod shared;
mod slot;
mod tail;
mod upkeep;
pub mod url;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use parking_lot::RwLock;

pub use self::settings::{BucketSettings, Environment, block_cache};
pub use self::shard::{Shard, stored_epoch};
use super::{Opened, PartitionId, PartitionOptions, Space, Store, StoreError};

fn unknown(text: impl Display) -> StoreError {
    StoreError::Unknown(text.to_string().into())
}

fn refuse(text: impl Display) -> StoreError {
    StoreError::Rejected(text.to_string().into())
}

fn corrupt(text: impl Display) -> StoreError {
    StoreError::Corrupt(text.to_string().into())
}

/// Which shard a partition lives in. Decided when it is made, and for ever.
pub trait Placement: Send + Sync + 'static {
    /// `None` when nobody knows the partition.
    fn shard_of(&self, id: PartitionId) -> Option<u32>;
}

impl<F: Fn(PartitionId) -> Option<u32> + Send + Sync + 'static> Placement for F {
    fn shard_of(&self, id: PartitionId) -> Option<u32> {
        self(id)
    }
}

/// The shards that are open here, as one store.
pub struct BucketStore {
    placement: Arc<dyn Placement>,
    shards: RwLock<BTreeMap<u32, Arc<Shard>>>,
}

impl BucketStore {
    /// Without any shard yet.
    pub fn new(placement: Arc<dyn Placement>) -> Arc<Self> {
        Arc::new(Self { placement, shards: RwLock::default() })
    }

    /// From now on the partitions of this shard can be opened here. Returns the shard of the same number that it takes
    /// the place of, for the caller to close.
    pub fn insert(&self, shard: Arc<Shard>) -> Option<Arc<Shard>> {
        self.shards.write().insert(shard.number(), shard)
    }

    /// The shard's partitions can no longer be opened here; handles to them work until it is closed.
    pub fn remove(&self, number: u32) -> Option<Arc<Shard>> {
        self.shards.write().remove(&number)
    }

    pub fn shard(&self, number: u32) -> Option<Arc<Shard>> {
        self.shards.read().get(&number).cloned()
    }

    /// All that are open here, by their numbers.
    pub fn shards(&self) -> Vec<Arc<Shard>> {
        self.shards.read().values().cloned().collect()
    }

    fn shard_of(&self, id: PartitionId) -> Result<Arc<Shard>, StoreError> {
        let number = self.placement.shard_of(id).ok_or(StoreError::NotFound)?;
        self.shard(number).ok_or_else(|| StoreError::NotOwner(Arc::from(format!("shard {number} is not open here"))))
    }
}

impl Store for BucketStore {
    fn create(&self, id: PartitionId, options: PartitionOptions) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.shard_of(id)?.create(id, &options).await }.boxed()
    }

    fn open(&self, id: PartitionId, options: PartitionOptions) -> BoxFuture<'_, Result<Opened, StoreError>> {
        async move { self.shard_of(id)?.open_partition(id, options).await }.boxed()
    }

    /// Of the shards that are open here.
    fn list(&self) -> BoxFuture<'_, Result<Vec<PartitionId>, StoreError>> {
        async move { Ok(self.shards().iter().flat_map(|shard| shard.partitions()).collect()) }.boxed()
    }

    fn delete(&self, id: PartitionId) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.shard_of(id)?.delete(id).await }.boxed()
    }

    fn set_aside(&self, id: PartitionId) -> BoxFuture<'_, Result<String, StoreError>> {
        async move { self.shard_of(id)?.set_aside(id).await }.boxed()
    }

    /// Object stores have no end.
    fn space(&self) -> Space {
        Space { free: i64::MAX as u64, total: i64::MAX as u64 }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let shards = std::mem::take(&mut *self.shards.write());
            let closed = join_all(shards.values().map(|shard| shard.close())).await;
            closed.into_iter().fold(Ok(()), Result::and)
        }
        .boxed()
    }
}
