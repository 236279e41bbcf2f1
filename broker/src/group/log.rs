//! Where the coordinator's records are kept: the internal topic `__consumer_offsets`.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use futures_util::future::{self, BoxFuture};
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::limits::MAX_BATCH_BYTES;
use crate::catalog::{Catalog, CatalogRecord, Topic, TopicName};
use crate::limits::PARTITIONS_OPENED_AT_ONCE;
use crate::log::records::{NewRecord, Record, read_records};
use crate::log::{Cleanup, LogConfig, LogError, Logs, Partition, read_slice};
use crate::store::{PartitionId, StoreError};

/// The topic's name, as everywhere in the Kafka world.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// `segment.bytes` of the topic: small, so that compaction gets at most of it (Kafka's `offsets.topic.segment.bytes`).
const SEGMENT_BYTES: u64 = 100 << 20;
/// Bytes read at a time while loading.
const READ_BYTES: usize = 4 << 20;

/// Waits until an append is durable.
pub type WhenDurable = BoxFuture<'static, Result<(), LogError>>;

/// What the coordinator needs of its log. One implementation lies on partitions, another in memory for tests.
pub trait OffsetsLog: Send + Sync + 'static {
    /// Makes the log if there is none, and says how many partitions it has. That number never changes.
    fn open(&self) -> BoxFuture<'_, Result<i32, LogError>>;
    /// Appends one batch, in order. Does not wait.
    fn append(&self, partition: i32, records: &[NewRecord]) -> Result<WhenDurable, LogError>;
    /// Shows every record of a partition, oldest first. An error when the partition's handle is not, or did not stay,
    /// a working one.
    fn read<'a>(
        &'a self,
        partition: i32,
        visit: &'a mut (dyn FnMut(Record) + Send),
    ) -> BoxFuture<'a, Result<(), LogError>>;
}

/// The log as an ordinary topic of the catalog.
pub struct TopicLog {
    catalog: Arc<Catalog>,
    logs: Arc<Logs>,
    partitions: i32,
    replication_factor: i16,
    topic: OnceLock<Uuid>,
}

impl TopicLog {
    /// `partitions` counts only when the topic does not exist yet.
    pub fn new(catalog: Arc<Catalog>, logs: Arc<Logs>, partitions: i32) -> Self {
        Self { catalog, logs, partitions, replication_factor: 1, topic: OnceLock::new() }
    }

    fn partition(&self, index: i32) -> Result<Arc<Partition>, LogError> {
        let topic = *self.topic.get().ok_or(LogError::NotLeader)?;
        self.logs.get(PartitionId { topic, index })
    }
}

impl OffsetsLog for TopicLog {
    fn open(&self) -> BoxFuture<'_, Result<i32, LogError>> {
        Box::pin(async move {
            let topic =
                ensure_offsets_topic(&self.catalog, &self.logs, self.partitions, self.replication_factor).await?;
            self.topic.get_or_init(|| topic.id);
            Ok(topic.partitions)
        })
    }

    fn append(&self, partition: i32, records: &[NewRecord]) -> Result<WhenDurable, LogError> {
        let mut appended = self.partition(partition)?.append_records(records)?;
        Ok(Box::pin(async move { appended.durable().await }))
    }

    fn read<'a>(
        &'a self,
        partition: i32,
        visit: &'a mut (dyn FnMut(Record) + Send),
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
                let records = read_records(read_slice(slice).await?)?;
                records.into_iter().filter(|record| record.offset >= bounds.log_start).for_each(&mut *visit);
            }
            works()
        })
    }
}

/// Makes the offsets topic unless the catalog has it, and returns it. Partitions come first, as with every topic, so
/// that one which the catalog knows and the store does not have is always damage.
pub async fn ensure_offsets_topic(
    catalog: &Catalog,
    logs: &Logs,
    partitions: i32,
    replication_factor: i16,
) -> Result<Arc<Topic>, LogError> {
    if let Some(existing) = catalog.image().topic(OFFSETS_TOPIC) {
        return Ok(Arc::clone(existing));
    }
    let text = |error: &dyn std::fmt::Display| LogError::Store(StoreError::Rejected(error.to_string().into()));
    let name = TopicName::parse(OFFSETS_TOPIC).map_err(|error| text(&error))?;
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("max.message.bytes", MAX_BATCH_BYTES.to_string()),
        ("segment.bytes", SEGMENT_BYTES.to_string()),
    ];
    let configs = configs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let topic = Arc::new(Topic { id: Uuid::new_v4(), name, partitions, replication_factor, configs });
    let config = Arc::new(offsets_config());
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

/// What the configs above mean to the log.
pub fn offsets_config() -> LogConfig {
    LogConfig {
        cleanup: Cleanup { delete: false, compact: true },
        max_message_bytes: MAX_BATCH_BYTES,
        segment_bytes: SEGMENT_BYTES,
        internal: true,
        ..LogConfig::default()
    }
}
