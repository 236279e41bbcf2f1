//! All partitions of this broker: opening, finding, configuring, deleting and closing them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::RwLock;
use tokio::sync::Notify;
use uuid::Uuid;

use super::LogError;
use super::config::LogConfig;
use super::partition::{Partition, options};
use crate::clock::Clock;
use crate::store::{PartitionId, Space, Store, StoreError};

/// Partitions that are opened, deleted or closed at the same time: enough to keep a disk busy, and few enough for
/// their read buffers.
const AT_ONCE: usize = 16;

/// All partitions of this broker.
pub struct Logs {
    store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    partitions: RwLock<HashMap<PartitionId, Arc<Partition>>>,
    /// A partition's own one (by its id) is held while it is opened, so that it is never opened twice.
    opening: [tokio::sync::Mutex<()>; AT_ONCE],
    /// Rung by partitions whose handle failed.
    pub(super) alarm: Arc<Notify>,
}

impl Logs {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock,
            partitions: RwLock::default(),
            opening: Default::default(),
            alarm: Arc::default(),
        })
    }

    /// Opens the partitions that the catalog knows; sets aside (and logs) what the store holds beyond them, except
    /// `keep`. A partition that cannot be opened is said in the log (and opened later, unless its
    /// data is damaged), and the others go on. To be called before
    /// anybody makes partitions.
    pub async fn load(&self, known: Vec<(PartitionId, Arc<LogConfig>)>, keep: &[PartitionId]) -> Result<(), LogError> {
        let wanted: HashSet<PartitionId> = known.iter().map(|(id, _)| *id).chain(keep.iter().copied()).collect();
        for stray in self.store.list().await?.into_iter().filter(|id| !wanted.contains(id)) {
            if self.partitions.read().contains_key(&stray) {
                continue;
            }
            match self.store.set_aside(stray).await {
                Ok(place) => tracing::warn!(
                    topic = %stray.topic, partition = stray.index, place,
                    "the catalog does not know this partition; its data is set aside"
                ),
                Err(error) => tracing::error!(
                    topic = %stray.topic, partition = stray.index, %error,
                    "cannot set aside a partition that the catalog does not know; it stays where it is"
                ),
            }
        }
        let opened = known.into_iter().map(|(id, config)| self.load_one(id, config));
        let mut opened = stream::iter(opened).buffer_unordered(AT_ONCE);
        while opened.next().await.is_some() {}
        Ok(())
    }

    async fn load_one(&self, id: PartitionId, config: Arc<LogConfig>) {
        let _opening = self.opening_of(id).lock().await;
        if !self.partitions.read().contains_key(&id) {
            let partition = self.open_stored(id, config).await;
            self.partitions.write().insert(id, Arc::new(partition));
        }
    }

    fn opening_of(&self, id: PartitionId) -> &tokio::sync::Mutex<()> {
        let spread = id.topic.as_u128() as usize ^ id.index as usize;
        &self.opening[spread % AT_ONCE]
    }

    /// Opens one partition, after making it where `create` is set and it is not there. One that is open already is
    /// returned as it is, with the new settings.
    pub async fn open(
        &self,
        id: PartitionId,
        config: Arc<LogConfig>,
        create: bool,
    ) -> Result<Arc<Partition>, LogError> {
        let _opening = self.opening_of(id).lock().await;
        let known = self.partitions.read().get(&id).cloned();
        if let Some(partition) = known {
            partition.configure(config);
            partition.handle()?;
            return Ok(partition);
        }
        if create {
            match self.store.create(id, options(id, &config)).await {
                // Made before, by an attempt that was interrupted: opening tells.
                Ok(()) | Err(StoreError::Rejected(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let partition = Arc::new(self.open_stored(id, config).await);
        partition.handle()?;
        self.partitions.write().insert(id, Arc::clone(&partition));
        Ok(partition)
    }

    async fn open_stored(&self, id: PartitionId, config: Arc<LogConfig>) -> Partition {
        Partition::open(id, config, Arc::clone(&self.store), Arc::clone(&self.clock), Arc::clone(&self.alarm)).await
    }

    /// The partition, when it can be used now.
    pub fn get(&self, id: PartitionId) -> Result<Arc<Partition>, LogError> {
        let partition = self.partitions.read().get(&id).cloned().ok_or(LogError::UnknownPartition)?;
        partition.handle()?;
        Ok(partition)
    }

    /// Every partition, usable or not.
    pub(super) fn all(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().values().cloned().collect()
    }

    /// Gives a topic's partitions new settings.
    pub fn configure(&self, topic: Uuid, config: Arc<LogConfig>) {
        for partition in self.all().iter().filter(|partition| partition.id().topic == topic) {
            partition.configure(Arc::clone(&config));
        }
    }

    /// Deletes partitions; waiting fetches wake with `UnknownPartition`.
    pub async fn delete(&self, ids: &[PartitionId]) -> Result<(), LogError> {
        let mut deleted = stream::iter(ids.to_vec()).map(|id| self.delete_one(id)).buffer_unordered(AT_ONCE);
        let mut outcome = Ok(());
        while let Some(result) = deleted.next().await {
            outcome = outcome.and(result);
        }
        outcome
    }

    async fn delete_one(&self, id: PartitionId) -> Result<(), LogError> {
        let _opening = self.opening_of(id).lock().await;
        let partition = self.partitions.write().remove(&id);
        if let Some(partition) = partition {
            let handle = partition.remove();
            // A running compaction ends first.
            let _upkeep = partition.upkeep.lock().await;
            if let Some(handle) = handle
                && let Err(error) = handle.bytes.close().await
            {
                tracing::debug!(topic = %id.topic, partition = id.index, %error, "closing before deletion");
            }
        }
        match self.store.delete(id).await {
            Ok(()) | Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Bytes stored per open partition, for metrics and DescribeLogDirs.
    pub fn sizes(&self) -> HashMap<PartitionId, u64> {
        let size = |partition: Arc<Partition>| {
            let chunks = partition.handle().ok()?.bytes.chunks();
            Some((partition.id(), chunks.iter().map(|chunk| chunk.bytes).sum()))
        };
        self.all().into_iter().filter_map(size).collect()
    }

    /// Space of the volume behind all partitions.
    pub fn space(&self) -> Space {
        self.store.space()
    }

    /// Flushes, checkpoints and closes everything; marks a clean shutdown.
    pub async fn close(&self) -> Result<(), LogError> {
        let partitions = self.all();
        let mut closed = stream::iter(partitions.iter().map(|partition| close(partition))).buffer_unordered(AT_ONCE);
        while closed.next().await.is_some() {}
        Ok(self.store.close().await?)
    }
}

async fn close(partition: &Partition) {
    let mut upkeep = partition.upkeep.lock().await;
    if partition.handle().is_ok()
        && let Err(error) = partition.checkpoint(&mut upkeep).await
    {
        let id = partition.id();
        tracing::warn!(topic = %id.topic, partition = id.index, %error, "no checkpoint at shutdown; the next start replays");
    }
    if let Some(handle) = partition.shut()
        && let Err(error) = handle.bytes.close().await
    {
        let id = partition.id();
        tracing::warn!(topic = %id.topic, partition = id.index, %error, "partition did not close cleanly");
    }
}
