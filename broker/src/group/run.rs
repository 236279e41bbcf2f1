//! What runs beside the requests: loading, timers, expiry of offsets.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::coordinator::Coordinator;
use super::shard::{Cell, Loaded, Shard, Status};
use super::state::{Group, Now, State};
use crate::log::LogError;

/// Partitions loaded at the same time.
const LOADERS: usize = 4;
/// A timer that nobody waits for.
const FAR: Duration = Duration::from_secs(3_600);

impl Coordinator {
    /// Opens and loads the log, then keeps time, until cancelled. Whoever still waits then is sent away.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            self.open().await;
            tokio::join!(self.load_all(), self.keep_time(), self.reload_failed(), self.expire_offsets());
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
        for shard in self.shards.get().into_iter().flatten() {
            shard.give_up(None, Status::Unavailable, self.now());
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Whether some groups are not served yet, because they are still read from their log. Before there is a log, none is.
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
                    tracing::error!(%error, "the topic for consumer offsets cannot be opened; trying again");
                    tokio::time::sleep(Self::RETRY).await;
                }
            }
        }
    }

    async fn load_all(self: &Arc<Self>) {
        use futures_util::StreamExt;
        let shards = self.shards.get().into_iter().flatten();
        futures_util::stream::iter(shards).for_each_concurrent(LOADERS, |shard| self.load(shard)).await;
        tracing::info!(groups = self.counts().groups(), "the groups are loaded");
    }

    /// Loads a shard, however often it has to be tried, until the coordinator stops.
    async fn load(self: &Arc<Self>, shard: &Arc<Shard>) {
        loop {
            match Loaded::read(&*self.log, shard.partition).await {
                Ok(loaded) => {
                    let groups = loaded.into_groups(&self.settings, &self.catalog.image(), self.now());
                    for cell in shard.publish(groups) {
                        // Sets the timers of the restarted sessions, too.
                        self.with(&cell, |group, now| self.remove_stale(&cell, group, now));
                    }
                    return;
                }
                Err(_) if self.tasks.is_closed() => return,
                Err(error) => {
                    if matches!(error, LogError::Offline(_)) {
                        shard.set_unavailable();
                    }
                    tracing::warn!(partition = shard.partition, %error, "groups cannot be loaded yet; trying again");
                    tokio::time::sleep(Self::RETRY).await;
                }
            }
        }
    }

    async fn keep_time(self: &Arc<Self>) {
        loop {
            let until = self.timers.next().unwrap_or_else(|| Instant::now() + FAR);
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.timers.nearer.notified() => {}
            }
            for (at, cell) in self.timers.due(Instant::now()) {
                self.with(&cell, |group, now| {
                    if group.armed.is_some_and(|armed| armed <= at) {
                        group.armed = None;
                    }
                    group.on_time(now);
                });
                self.put_out_overdue(&cell);
            }
        }
    }

    /// Loads shards again whose log failed.
    async fn reload_failed(self: &Arc<Self>) {
        loop {
            self.failure.notified().await;
            let failed = std::mem::take(&mut *self.failed.lock());
            for (partition, epoch) in failed {
                let shard = self.shards.get().and_then(|shards| shards.get(partition as usize));
                let Some(shard) = shard else { continue };
                if shard.give_up(Some(epoch), Status::Loading, self.now()) {
                    tracing::warn!(partition, "the log of these groups failed; they are loaded again");
                    let (coordinator, shard) = (Arc::clone(self), Arc::clone(shard));
                    self.tasks.spawn(async move { coordinator.load(&shard).await });
                }
            }
        }
    }

    async fn expire_offsets(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(self.settings.retention_check).await;
            self.expire_now();
        }
    }

    /// Removes offsets that nobody needs, and groups of which nothing is left.
    pub(super) fn expire_now(self: &Arc<Self>) {
        for shard in self.shards.get().into_iter().flatten() {
            for cell in shard.all() {
                if self.expire_in(&cell) {
                    shard.forget(&cell);
                }
            }
        }
    }

    /// Whether the group is gone.
    fn expire_in(self: &Arc<Self>, cell: &Arc<Cell>) -> bool {
        self.with(cell, |group, now| {
            let outdated = group.outdated_offsets(&self.catalog.image(), now);
            if let Err(code) = self.remove_offsets(cell, group, outdated, now) {
                tracing::warn!(group = %group.id, %code, "expired offsets could not be removed");
                return false;
            }
            if !group.is_disposable() {
                return group.state == State::Dead && !group.has_in_flight();
            }
            // A group that was never written leaves nothing to be deleted.
            if group.generation == 0 && group.consumer.is_none() {
                group.abandon(ResponseError::CoordinatorNotAvailable, now);
                return true;
            }
            if let Err(code) = self.delete(cell, group, now) {
                tracing::warn!(group = %group.id, %code, "an empty group could not be removed");
            }
            false
        })
    }

    /// Removes offsets of topics that were deleted when a crash came before their tombstones. Until these are durable
    /// readers pass over them, see [`super::OffsetValue::is_current`].
    fn remove_stale(self: &Arc<Self>, cell: &Arc<Cell>, group: &mut Group, now: Now) {
        let stale = group.stale_offsets(&self.catalog.image());
        if !stale.is_empty() {
            tracing::info!(group = %group.id, offsets = stale.len(), "offsets of deleted topics are removed");
        }
        if let Err(code) = self.remove_offsets(cell, group, stale, now) {
            tracing::warn!(group = %group.id, %code, "offsets of deleted topics could not be removed; again later");
        }
    }

    /// Removes what groups have committed for deleted topics, so that a new topic of that name starts afresh.
    pub fn topics_deleted(self: &Arc<Self>, topics: &[&str]) {
        for cell in self.cells() {
            self.with(&cell, |group, now| {
                let gone = group.partitions(|topic| topics.contains(&topic));
                if let Err(code) = self.remove_offsets(&cell, group, gone, now) {
                    tracing::warn!(group = %group.id, %code, "offsets of a deleted topic could not be removed");
                }
            });
        }
    }
}
