//! What runs beside the requests: loading, timeouts, expiry.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use super::coordinator::Coordinator;
use super::shard::{Shard, load};
use super::state::Status;
use crate::log::LogError;

/// Partitions loaded at the same time.
const LOADERS: usize = 4;

impl Coordinator {
    /// Opens and loads the topic, then keeps time, until cancelled.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            self.open().await;
            tokio::join!(self.load_all(), self.abort_late(), self.expire(), self.reload_failed());
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
        self.tasks.close();
        for shard in self.shards.get().into_iter().flatten() {
            shard.give_up(None, false);
        }
        self.tasks.wait().await;
    }

    /// Whether some transactions are not served yet, because they are still read from their log. Before there is a log,
    /// none is.
    pub fn is_loading(&self) -> bool {
        self.shards.get().is_some_and(|shards| shards.iter().any(|shard| shard.is_loading()))
    }

    async fn open(&self) {
        loop {
            match self.log.open().await {
                Ok(partitions) => {
                    let shards = (0..partitions).map(|partition| Arc::new(Shard::new(partition)));
                    self.shards.get_or_init(|| shards.collect());
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, "the topic for transactions cannot be opened; trying again");
                    tokio::time::sleep(Self::RETRY).await;
                }
            }
        }
    }

    async fn load_all(self: &Arc<Self>) {
        use futures_util::StreamExt;
        let shards = self.shards.get().into_iter().flatten();
        futures_util::stream::iter(shards).for_each_concurrent(LOADERS, |shard| self.load(shard)).await;
    }

    /// Loads a shard, however often it has to be tried, and goes on with ends that were decided and not complete.
    async fn load(self: &Arc<Self>, shard: &Arc<Shard>) {
        loop {
            let loaded = match self.log.epoch(shard.partition) {
                Ok(epoch) => load(&*self.log, shard.partition).await.map(|loaded| (loaded, epoch)),
                Err(error) => Err(error),
            };
            match loaded {
                Ok((loaded, epoch)) => {
                    for cell in shard.publish(loaded, epoch) {
                        if cell.transaction.lock().await.status.is_prepared() {
                            self.begin_completion(&cell);
                        }
                    }
                    return;
                }
                Err(_) if self.tasks.is_closed() => return,
                Err(error) => {
                    if matches!(error, LogError::Offline(_)) {
                        shard.set_unavailable();
                    }
                    tracing::warn!(partition = shard.partition, %error, "transactions cannot be loaded yet; trying again");
                    tokio::time::sleep(Self::RETRY).await;
                }
            }
        }
    }

    /// Loads partitions again whose log failed.
    async fn reload_failed(self: &Arc<Self>) {
        loop {
            self.failure.notified().await;
            let failed = std::mem::take(&mut *self.failed.lock());
            for partition in failed {
                let Some(shard) = self.shards.get().and_then(|shards| shards.get(partition as usize)) else { continue };
                tracing::warn!(partition, "the log of these transactions failed; they are loaded again");
                let (coordinator, shard) = (Arc::clone(self), Arc::clone(shard));
                self.tasks.spawn(async move { coordinator.load(&shard).await });
            }
        }
    }

    async fn abort_late(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(self.settings.timeout_check).await;
            self.abort_late_now().await;
        }
    }

    /// Aborts transactions that take longer than their producers said, and fences those.
    pub(super) async fn abort_late_now(self: &Arc<Self>) {
        for cell in self.cells() {
            // One that is busy has not been forgotten.
            let Ok(late) = cell.transaction.try_lock().map(|now| now.timed_out(self.clock.now_ms())) else { continue };
            if late.is_none() {
                continue;
            }
            let coordinator = Arc::clone(self);
            self.tasks.spawn(async move {
                let mut transaction = cell.transaction.lock().await;
                let Some(ended) = transaction.timed_out(coordinator.clock.now_ms()) else { return };
                tracing::info!(
                    transactional_id = %cell.id, producer_id = ended.producer_id, timeout_ms = ended.timeout_ms,
                    "a transaction took too long and is aborted"
                );
                if coordinator.store(&cell, &mut transaction, ended).await.is_ok() {
                    coordinator.timed_out.fetch_add(1, Ordering::Relaxed);
                    drop(transaction);
                    coordinator.begin_completion(&cell);
                }
            });
        }
    }

    async fn expire(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(self.settings.expiration_check).await;
            self.expire_now().await;
        }
    }

    /// Forgets transactional ids that nobody has used for long.
    pub(super) async fn expire_now(self: &Arc<Self>) {
        for cell in self.cells() {
            let coordinator = Arc::clone(self);
            let expired = self.tasks.spawn(async move {
                let mut transaction = cell.transaction.lock().await;
                if !transaction.is_expired(coordinator.settings.expiration_ms, coordinator.clock.now_ms()) {
                    return;
                }
                if coordinator.write(&cell, None).await.is_ok()
                    && let Ok(shard) = coordinator.shard(&cell.id)
                {
                    transaction.status = Status::Dead;
                    shard.forget(&cell);
                }
            });
            // One after the other: there may be very many.
            let _ = expired.await;
        }
    }
}
