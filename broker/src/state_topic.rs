//! Internal topics in which the coordinators of groups and transactions keep their state: compacted, written by the broker
//! alone, in Kafka's record formats, and read as a whole when a partition's state is loaded.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use futures_util::future::{self, BoxFuture};
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use crate::catalog::{Catalog, CatalogRecord, Topic, TopicName};
use crate::limits::PARTITIONS_OPENED_AT_ONCE;
use crate::log::records::NewRecord;
use crate::log::{
    Appended, Cleanup, EndMarker, Entry, LogConfig, LogError, Logs, Partition, VerificationGuard, read_entries,
    read_slice,
};
use crate::store::{PartitionId, StoreError};

/// `segment.bytes` of these topics: small, so that compaction gets at most of them (Kafka's `offsets.topic.segment.bytes`
/// and `transaction.state.log.segment.bytes`).
const SEGMENT_BYTES: u64 = 100 << 20;
/// Bytes read at a time while loading.
const READ_BYTES: usize = 4 << 20;

/// Waits until an append is durable.
pub type WhenDurable = BoxFuture<'static, Result<(), LogError>>;

/// What a coordinator needs of its topic. One implementation lies on partitions, others in memory for tests.
pub trait StateLog: Send + Sync + 'static {
    /// Makes the topic if there is none, and says how many partitions it has. That number never changes.
    fn open(&self) -> BoxFuture<'_, Result<i32, LogError>>;
    /// Appends one batch, in order. Does not wait.
    fn append(&self, partition: i32, records: &[NewRecord]) -> Result<WhenDurable, LogError>;
    /// See [`Partition::begin_verification`].
    fn begin_verification(
        &self,
        partition: i32,
        producer_id: i64,
        producer_epoch: i16,
    ) -> Result<Option<VerificationGuard>, LogError>;
    /// The same as [`Self::append`], as part of a producer's transaction.
    fn append_transactional(
        &self,
        partition: i32,
        records: &[NewRecord],
        producer: (i64, i16),
        guard: Option<VerificationGuard>,
    ) -> Result<WhenDurable, LogError>;
    /// Ends a producer's transaction in a partition.
    fn append_marker(&self, partition: i32, marker: EndMarker) -> Result<WhenDurable, LogError>;
    /// Leader epoch of a partition: larger after every opening.
    fn epoch(&self, partition: i32) -> Result<i32, LogError>;
    /// Shows every batch of a partition, oldest first. An error when the partition's handle is not, or did not stay, a
    /// working one.
    fn read<'a>(
        &'a self,
        partition: i32,
        visit: &'a mut (dyn FnMut(Entry) + Send),
    ) -> BoxFuture<'a, Result<(), LogError>>;
}

/// Which topic, and how large its batches may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateTopic {
    pub name: &'static str,
    pub max_batch_bytes: usize,
}

impl StateTopic {
    /// Settings of its partitions.
    pub fn log_config(&self) -> LogConfig {
        LogConfig {
            cleanup: Cleanup { delete: false, compact: true },
            max_message_bytes: self.max_batch_bytes,
            segment_bytes: SEGMENT_BYTES,
            internal: true,
            ..LogConfig::default()
        }
    }

    /// The same as the topic's configs.
    fn configs(&self) -> [(&'static str, String); 4] {
        [
            ("cleanup.policy", "compact".to_owned()),
            ("compression.type", "producer".to_owned()),
            ("max.message.bytes", self.max_batch_bytes.to_string()),
            ("segment.bytes", SEGMENT_BYTES.to_string()),
        ]
    }

    /// Makes the topic unless the catalog has it, and returns it. Partitions come first, as with every topic, so that
    /// one which the catalog knows and the store does not have is always damage.
    pub async fn ensure(&self, catalog: &Catalog, logs: &Logs, partitions: i32) -> Result<Arc<Topic>, LogError> {
        if let Some(existing) = catalog.image().topic(self.name) {
            return Ok(Arc::clone(existing));
        }
        let text = |error: &dyn std::fmt::Display| LogError::Store(StoreError::Rejected(error.to_string().into()));
        let name = TopicName::parse(self.name).map_err(|error| text(&error))?;
        let configs = self.configs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let topic = Arc::new(Topic { id: Uuid::new_v4(), name, partitions, replication_factor: 1, configs });
        let config = Arc::new(self.log_config());
        stream::iter((0..partitions).map(|index| PartitionId { topic: topic.id, index }))
            .map(|id| logs.open(id, Arc::clone(&config), true))
            .buffer_unordered(PARTITIONS_OPENED_AT_ONCE)
            .try_for_each(|_| future::ready(Ok(())))
            .await?;
        let record = CatalogRecord::Topic(Topic::clone(&topic));
        let changed = catalog.change(|_| Ok::<_, Infallible>((vec![record], ())));
        changed.await.map_err(|error| text(&error))?;
        Ok(topic)
    }
}

/// The log as an ordinary topic of the catalog.
pub struct TopicLog {
    topic: StateTopic,
    catalog: Arc<Catalog>,
    logs: Arc<Logs>,
    partitions: i32,
    id: OnceLock<Uuid>,
}

impl TopicLog {
    /// `partitions` counts only when the topic does not exist yet.
    pub fn new(topic: StateTopic, catalog: Arc<Catalog>, logs: Arc<Logs>, partitions: i32) -> Self {
        Self { topic, catalog, logs, partitions, id: OnceLock::new() }
    }

    fn partition(&self, index: i32) -> Result<Arc<Partition>, LogError> {
        let topic = *self.id.get().ok_or(LogError::NotLeader)?;
        self.logs.get(PartitionId { topic, index })
    }
}

fn when_durable(mut appended: Appended) -> WhenDurable {
    Box::pin(async move { appended.durable().await })
}

impl StateLog for TopicLog {
    fn open(&self) -> BoxFuture<'_, Result<i32, LogError>> {
        Box::pin(async move {
            let topic = self.topic.ensure(&self.catalog, &self.logs, self.partitions).await?;
            self.id.get_or_init(|| topic.id);
            Ok(topic.partitions)
        })
    }

    fn append(&self, partition: i32, records: &[NewRecord]) -> Result<WhenDurable, LogError> {
        Ok(when_durable(self.partition(partition)?.append_records(records)?))
    }

    fn begin_verification(
        &self,
        partition: i32,
        producer_id: i64,
        producer_epoch: i16,
    ) -> Result<Option<VerificationGuard>, LogError> {
        self.partition(partition)?.begin_verification(producer_id, producer_epoch)
    }

    fn append_transactional(
        &self,
        partition: i32,
        records: &[NewRecord],
        producer: (i64, i16),
        guard: Option<VerificationGuard>,
    ) -> Result<WhenDurable, LogError> {
        Ok(when_durable(self.partition(partition)?.append_transactional(records, producer, guard)?))
    }

    fn append_marker(&self, partition: i32, marker: EndMarker) -> Result<WhenDurable, LogError> {
        Ok(when_durable(self.partition(partition)?.append_marker(marker)?))
    }

    fn epoch(&self, partition: i32) -> Result<i32, LogError> {
        Ok(self.partition(partition)?.leader_epoch())
    }

    fn read<'a>(
        &'a self,
        partition: i32,
        visit: &'a mut (dyn FnMut(Entry) + Send),
    ) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            let partition = self.partition(partition)?;
            let watch = partition.watch();
            // A failed handle may show what recovery then cuts off.
            let works = || if watch.borrow().failed.is_some() { Err(LogError::NotLeader) } else { Ok(()) };
            works()?;
            let bounds = partition.bounds();
            let mut from = bounds.log_start;
            while from < bounds.log_end {
                let slice = partition.read_all(from, READ_BYTES).await?;
                if slice.is_empty() {
                    break;
                }
                from = slice.next_offset;
                read_entries(read_slice(slice).await?)?.into_iter().for_each(&mut *visit);
            }
            works()
        })
    }
}
