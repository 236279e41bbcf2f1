//! One shard: a SlateDB database with one owner. Whoever opens it fences every earlier owner, and its writer epoch is the
//! leader epoch of all its partitions.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use object_store::path::Path;
use slatedb::compactor::CompactorBuilder;
use slatedb::config::{CloseOptions, FlushOptions, FlushType};
use slatedb::{CloseReason, Db, ErrorKind};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::keys::Segments;
use super::reclaim::Reclaim;
use super::settings::Environment;
use super::shared::{Registry, Shared};
use super::url::Bucket;
use super::{durable, flusher, load, refuse, unknown, writer};
use crate::store::StoreError;

/// An open shard. Give it up with [`Shard::close`]; dropping it gives it up too, without waiting for what is not durable.
pub struct Shard {
    number: u32,
    pub(super) shared: Arc<Shared>,
    stop: CancellationToken,
    /// Ends once the database is closed.
    tasks: TaskTracker,
}

/// Where a shard lies.
fn path_of(bucket: &Bucket, number: u32) -> Path {
    bucket.path(&format!("shards/{number}"))
}

/// The writer epoch of a shard's last opening, finished or not; `None` when it was never opened. Opens nothing.
pub async fn stored_epoch(bucket: &Bucket, number: u32) -> Result<Option<u64>, StoreError> {
    let admin = slatedb::admin::Admin::builder(path_of(bucket, number), bucket.store.clone()).build();
    let manifest = admin.read_manifest(None).await;
    let manifest = manifest.map_err(|error| refuse(format_args!("the manifest of shard {number}: {error}")))?;
    Ok(manifest.map(|manifest| manifest.writer_epoch()))
}

impl Shard {
    /// Opens a shard, and makes it where it is not there.
    ///
    /// `expected_epoch`: what [`stored_epoch`] said (0 for one that was never opened); then only this opening can have
    /// the epoch after it. Without one the shard is taken over from whoever has it. An opening that failed may have used
    /// up an epoch. Errors: `NotOwner` when another epoch was found, `Corrupt`, and `Unknown` for everything that may
    /// pass.
    pub async fn open(
        bucket: &Bucket,
        number: u32,
        expected_epoch: Option<u64>,
        environment: Environment,
    ) -> Result<Arc<Self>, StoreError> {
        let timeout = environment.settings.open_timeout;
        let opening = open_database(bucket.clone(), number, expected_epoch, environment.clone());
        let (db, registry) = within(timeout, number, tokio::spawn(opening)).await?;
        match Self::start(number, db.clone(), registry, environment).await {
            Ok(shard) => Ok(shard),
            Err(error) => {
                close_database(db, timeout).await;
                Err(error)
            }
        }
    }

    async fn start(
        number: u32,
        db: Db,
        registry: Arc<Registry>,
        environment: Environment,
    ) -> Result<Arc<Self>, StoreError> {
        let Environment { settings, clock, .. } = environment;
        let epoch = db.manifest().writer_epoch();
        let epoch =
            i32::try_from(epoch).map_err(|_| refuse("the shard was opened more often than epochs can count"))?;
        let loading = tokio::time::timeout(settings.open_timeout, load::load(&db)).await;
        let (partitions, written_ms) = loading.map_err(|_| unknown("reading the headers took too long"))??;
        clock.observe(written_ms).map_err(|error| unknown(format_args!("shard {number}: {error}")))?;
        *registry.write() = partitions;
        let (commands, received) = mpsc::unbounded_channel();
        let (pending, waiting) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let (linger, interval, grace) = (settings.linger, settings.flush_interval, settings.close_timeout);
        let shared = Shared::new(db.clone(), epoch, clock, settings, registry, commands, stop.clone());
        let tasks = TaskTracker::new();
        tasks.spawn(durable::run(shared.clone(), db.subscribe(), waiting));
        tasks.spawn(writer::run(shared.clone(), db.clone(), received, pending, stop.clone()));
        tasks.spawn(flusher::run(shared.clone(), db.clone(), linger, interval, stop.clone()));
        let stopped = stop.clone();
        tasks.spawn(async move {
            stopped.cancelled().await;
            close_database(db, grace).await;
        });
        tasks.close();
        Ok(Arc::new(Self { number, shared, stop, tasks }))
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// Of this opening: the leader epoch of all its partitions.
    pub fn epoch(&self) -> i32 {
        self.shared.epoch
    }

    /// Why the shard can no longer be used, once that is so: it was taken over, its store failed, or it was closed.
    pub fn failed(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.shared.failed()
    }

    /// How long the oldest record waits that is not durable yet: more than some seconds mean that the store stalls.
    pub fn undurable_age(&self) -> Option<Duration> {
        self.shared.undurable_age()
    }

    /// Memory of records that are not durable yet (bytes).
    pub fn undurable_bytes(&self) -> usize {
        self.shared.undurable_bytes()
    }

    /// Proves that nobody has taken the shard over: it was this broker's at the moment that is returned, which lies
    /// before the manifest was read.
    pub async fn prove(&self) -> Result<Instant, StoreError> {
        let began = Instant::now();
        self.shared.check()?;
        let read = self.shared.db.refresh_manifest().await;
        read.map_err(|error| unknown(format_args!("the manifest of shard {}: {error}", self.number)))?;
        match i32::try_from(self.shared.db.manifest().writer_epoch()) {
            Ok(epoch) if epoch == self.shared.epoch => self.shared.check().map(|()| began),
            _ => Err(StoreError::NotOwner(Arc::from(format!("shard {} was taken over", self.number)))),
        }
    }

    /// Turns what is only in memory and in the log of writes into files, while the shard goes on: the next owner has less
    /// to replay then.
    pub async fn flush_memory(&self) -> Result<(), StoreError> {
        let flush = self.shared.db.flush_with_options(FlushOptions { flush_type: FlushType::MemTable });
        flush.await.map_err(|error| unknown(format_args!("flushing shard {}: {error}", self.number)))
    }

    /// Ends all appends (their handles fail) and waits until everything that was taken is durable. The shard can then be
    /// opened elsewhere, which need not wait for [`Shard::close`].
    pub async fn stop_writes(&self) -> Result<(), StoreError> {
        if self.shared.is_sealed() {
            return self.shared.check();
        }
        let slots: Vec<_> = self.shared.registry.read().by_number.values().cloned().collect();
        slots.iter().for_each(|slot| slot.log.lock().stop());
        let durable = self.shared.write_durably(Vec::new())?;
        self.shared.seal();
        durable.await?;
        let reason: Arc<str> = Arc::from("the shard is given up");
        slots.iter().for_each(|slot| slot.kill(&reason));
        Ok(())
    }

    /// Stops writes, gives the shard up and closes its database, each within the time that the settings allow.
    pub fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let grace = self.shared.settings.close_timeout;
            let stopped = match tokio::time::timeout(grace, self.stop_writes()).await {
                Ok(stopped) => stopped,
                Err(_) => Err(unknown(format_args!("shard {} was closed before all was durable", self.number))),
            };
            self.shared.fail("the shard was closed");
            self.tasks.wait().await;
            stopped
        })
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.shared.fail("the shard was given up");
        self.stop.cancel();
    }
}

async fn open_database(
    bucket: Bucket,
    number: u32,
    expected_epoch: Option<u64>,
    environment: Environment,
) -> Result<(Db, Arc<Registry>), StoreError> {
    let Environment { settings, clock, cache } = environment;
    let path = path_of(&bucket, number);
    let registry = Arc::new(Registry::default());
    let reclaim = Arc::new(Reclaim { registry: registry.clone(), clock: clock.clone() });
    let compactor = CompactorBuilder::new(path.clone(), bucket.store.clone())
        .with_options(settings.compactor())
        .with_scheduler_supplier(reclaim.clone())
        .with_compaction_filter_supplier(reclaim);
    let mut builder = Db::builder(path, bucket.store.clone())
        .with_settings(settings.slatedb(bucket.local))
        .with_segment_extractor(Arc::new(Segments))
        .with_compactor_builder(compactor)
        .with_db_cache(cache, u64::from(number))
        .with_system_clock(clock)
        // Everything is read by scans, which ask no filters.
        .with_filter_policies(Vec::new());
    if let Some(expected) = expected_epoch {
        builder = builder.with_expected_epoch(expected);
    }
    match builder.build().await {
        Ok(db) => Ok((db, registry)),
        Err(error) => Err(not_opened(number, &error)),
    }
}

fn not_opened(number: u32, error: &slatedb::Error) -> StoreError {
    match error.kind() {
        ErrorKind::Closed(CloseReason::Fenced) => {
            StoreError::NotOwner(Arc::from(format!("shard {number} was opened by another broker")))
        }
        ErrorKind::Data => super::corrupt(format_args!("shard {number}: {error}")),
        _ => unknown(format_args!("shard {number} cannot be opened: {error}")),
    }
}

/// Waits for an opening. One that takes too long goes on by itself, and what it opens is closed at once: nobody else
/// could close it.
async fn within(
    timeout: Duration,
    number: u32,
    mut opening: JoinHandle<Result<(Db, Arc<Registry>), StoreError>>,
) -> Result<(Db, Arc<Registry>), StoreError> {
    match tokio::time::timeout(timeout, &mut opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => Err(unknown(format_args!("opening shard {number} ended: {error}"))),
        Err(_) => {
            tokio::spawn(async move {
                if let Ok(Ok((db, _))) = opening.await {
                    close_database(db, timeout).await;
                }
            });
            Err(unknown(format_args!("opening shard {number} took more than {} s", timeout.as_secs())))
        }
    }
}

/// Without a last flush: whatever has to be durable is, and the next owner replays the log of writes.
async fn close_database(db: Db, grace: Duration) {
    let closing = db.close_with_options(CloseOptions::default().with_flush_type(None));
    match tokio::time::timeout(grace, closing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "closing a shard's database"),
        Err(_) => tracing::warn!("a shard's database does not close in time and is left alone"),
    }
}
