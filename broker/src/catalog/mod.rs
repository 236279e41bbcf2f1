//! Topics, configs, ACLs, users and producer-id blocks: one image, changed by an ordered log of records.
//!
//! A change is decided against the newest image, appended as one atomic batch, and published when it is durable. The
//! catalog does not know where its log is kept: see [`CatalogLog`].

pub mod acl;
pub mod broker_config;
pub mod group_config;
mod image;
#[cfg(test)]
pub(crate) mod memory_log;
mod name;
mod partition_log;
pub mod quota;
pub mod record;
pub mod topic_config;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::sync::{Mutex, watch};

pub use image::{Acls, Image, ScramCredential, ScramMechanism, Topic, User};
pub use name::{InvalidTopicName, TopicName};
pub use partition_log::{CATALOG_PARTITION, PartitionLog};
pub use record::CatalogRecord;

/// The catalog's log is rewritten as a snapshot when it holds this many records more than the image needs.
const SNAPSHOT_SLACK: usize = 20_000;
/// Records per atomic batch of a snapshot, so that no batch grows without bound.
const SNAPSHOT_BATCH: usize = 1_000;

#[derive(Clone, Debug, Error)]
pub enum CatalogError {
    #[error("the catalog's log cannot be used: {0}")]
    Log(Arc<str>),
    #[error("the catalog's log holds a record that cannot be read (offset {offset}): {reason}")]
    Damaged { offset: i64, reason: String },
}

/// Why a change did not happen: refused by its own rules, or by the log.
#[derive(Debug)]
pub enum ChangeError<E> {
    Refused(E),
    Catalog(CatalogError),
}

impl<E: fmt::Display> fmt::Display for ChangeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeError::Refused(reason) => reason.fmt(f),
            ChangeError::Catalog(error) => error.fmt(f),
        }
    }
}

/// An ordered, durable log of small records.
pub trait CatalogLog: Send + Sync + 'static {
    /// Appends all or none, and returns the offset of the first when they are durable.
    fn append(&self, records: Vec<Bytes>) -> BoxFuture<'_, Result<i64, CatalogError>>;
    /// Every record from the log's start on, with its offset.
    fn read(&self) -> BoxFuture<'_, Result<Vec<(i64, Bytes)>, CatalogError>>;
    /// Forgets the records below `offset`.
    fn forget_before(&self, offset: i64) -> BoxFuture<'_, Result<(), CatalogError>>;
}

/// Handle to the catalog.
pub struct Catalog {
    image: ArcSwap<Image>,
    version: watch::Sender<u64>,
    writer: Mutex<Writer>,
}

/// What only the holder of the write lock may touch.
struct Writer {
    log: Box<dyn CatalogLog>,
    records_in_log: usize,
    /// Set when an append's outcome is unknown: the image is read again before the next change.
    stale: bool,
}

impl Catalog {
    /// Reads the whole log.
    pub async fn load(log: Box<dyn CatalogLog>) -> Result<Arc<Self>, CatalogError> {
        let (image, records_in_log) = replay(log.as_ref()).await?;
        Ok(Arc::new(Self {
            version: watch::Sender::new(image.version),
            image: ArcSwap::from_pointee(image),
            writer: Mutex::new(Writer { log, records_in_log, stale: false }),
        }))
    }

    /// The newest durable image.
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Tells of every published change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Decides on a change against the newest image and makes it durable. Changes happen one after the other.
    /// `decide` returns the records to write and what to hand back; no records means that nothing changes.
    pub async fn change<T, E>(
        &self,
        decide: impl FnOnce(&Image) -> Result<(Vec<CatalogRecord>, T), E>,
    ) -> Result<T, ChangeError<E>> {
        let mut writer = self.writer.lock().await;
        if writer.stale {
            let (image, records) = replay(writer.log.as_ref()).await.map_err(ChangeError::Catalog)?;
            writer.records_in_log = records;
            writer.stale = false;
            self.publish(image);
        }
        let current = self.image();
        let (records, answer) = decide(&current).map_err(ChangeError::Refused)?;
        if records.is_empty() {
            return Ok(answer);
        }
        let mut next = Image::clone(&current);
        records.iter().for_each(|record| next.apply(record));
        writer.append(&records).await.map_err(ChangeError::Catalog)?;
        next.version += 1;
        self.publish(next);
        writer.snapshot_if_long(&self.image()).await;
        Ok(answer)
    }

    fn publish(&self, image: Image) {
        let version = image.version;
        self.image.store(Arc::new(image));
        self.version.send_replace(version);
    }
}

impl Writer {
    async fn append(&mut self, records: &[CatalogRecord]) -> Result<i64, CatalogError> {
        let encoded = encode(records)?;
        // Set across the await: a caller that goes away in the middle leaves an unknown outcome behind.
        self.stale = true;
        let offset = self.log.append(encoded).await?;
        self.stale = false;
        self.records_in_log += records.len();
        Ok(offset)
    }

    /// A failed snapshot leaves a longer log and nothing else behind, so it is only reported.
    async fn snapshot_if_long(&mut self, image: &Image) {
        let objects = image.topics.len() + image.acls.len() + image.users.len() + image.broker_configs.len();
        let objects = objects + image.group_configs.values().map(|configs| configs.len()).sum::<usize>();
        let needed = objects + image.quotas.values().map(|values| values.len()).sum::<usize>();
        if self.records_in_log < needed * 2 + SNAPSHOT_SLACK {
            return;
        }
        if let Err(error) = self.snapshot(image).await {
            tracing::warn!(%error, "the catalog's log could not be shortened");
        }
    }

    async fn snapshot(&mut self, image: &Image) -> Result<(), CatalogError> {
        let records = image.snapshot();
        let mut start = None;
        for batch in records.chunks(SNAPSHOT_BATCH) {
            let offset = self.append(batch).await?;
            start.get_or_insert(offset);
        }
        if let Some(start) = start {
            self.log.forget_before(start).await?;
            self.records_in_log = records.len();
        }
        Ok(())
    }
}

fn encode(records: &[CatalogRecord]) -> Result<Vec<Bytes>, CatalogError> {
    let to_bytes = |record| serde_json::to_vec(record).map(Bytes::from);
    records.iter().map(to_bytes).collect::<Result<_, _>>().map_err(|error| CatalogError::Log(error.to_string().into()))
}

/// Rebuilds the image from the log. A snapshot that was not finished is ignored: what it repeats is still there.
async fn replay(log: &dyn CatalogLog) -> Result<(Image, usize), CatalogError> {
    let stored = log.read().await?;
    let count = stored.len();
    let mut records = Vec::with_capacity(count);
    for (offset, bytes) in stored {
        let record: CatalogRecord = serde_json::from_slice(&bytes)
            .map_err(|error| CatalogError::Damaged { offset, reason: error.to_string() })?;
        records.push((offset, record));
    }
    let last_end = records.iter().rposition(|(_, record)| *record == CatalogRecord::SnapshotEnd);
    let mut image = Image::default();
    let mut version = 0;
    for (index, (offset, record)) in records.iter().enumerate() {
        let unfinished = last_end.is_none_or(|end| index > end);
        if *record == CatalogRecord::SnapshotStart && unfinished {
            continue;
        }
        image.apply(record);
        version = *offset as u64 + 1;
    }
    image.version = version;
    Ok((image, count))
}
