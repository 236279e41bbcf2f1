//! The one background task of the log: reopens failed partitions at once, and goes round the others for checkpoints,
//! producer expiry, retention and compaction.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LogError;
use super::logs::Logs;
use super::partition::{Backoff, Partition};

/// How often failed handles are looked for, beyond those that are reported.
const WATCH: Duration = Duration::from_secs(1);
/// State is stored at least this often while a partition is written to (ms).
const CHECKPOINT_MS: i64 = 60_000;
/// `producer.id.expiration.ms`.
const PRODUCER_EXPIRATION_MS: i64 = 86_400_000;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(10);

impl Logs {
    /// Runs retention, compaction, producer expiry and reopening of failed partitions until cancelled. Every partition
    /// gets its turn once per `interval`.
    pub async fn run_maintenance(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        let reopening = self.keep_open(&stop);
        let rounds = self.go_round(interval, &stop);
        tokio::join!(reopening, rounds);
    }

    /// Compaction may take minutes and must not keep a failed partition waiting, hence two loops.
    async fn keep_open(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            for partition in self.all() {
                if partition.is_failed() && !stop.is_cancelled() {
                    partition.reopen_when_due().await;
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.alarm.notified() => {}
                () = tokio::time::sleep(if self.any_failed() { FIRST_BACKOFF } else { WATCH }) => {}
            }
        }
    }

    fn any_failed(&self) -> bool {
        self.all().iter().any(|partition| partition.is_failed())
    }

    async fn go_round(&self, interval: Duration, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
            for partition in self.all() {
                if stop.is_cancelled() {
                    return;
                }
                partition.maintain(stop).await;
            }
        }
    }
}

impl Backoff {
    fn failed(&mut self) {
        let wait = FIRST_BACKOFF.saturating_mul(1 << self.attempts.min(16)).min(LAST_BACKOFF);
        self.attempts += 1;
        self.not_before = Some(Instant::now() + wait);
    }
}

impl Partition {
    async fn reopen_when_due(&self) {
        // Compaction of a failed handle ends by itself, soon.
        let Ok(mut upkeep) = self.upkeep.try_lock() else { return };
        if upkeep.reopen.not_before.is_some_and(|moment| moment > Instant::now()) {
            return;
        }
        let id = self.id();
        match self.reopen().await {
            Ok(()) => {
                upkeep.reopen = Backoff::default();
                tracing::info!(topic = %id.topic, partition = id.index, epoch = self.leader_epoch(), "partition is open again");
            }
            Err(error) => {
                upkeep.reopen.failed();
                tracing::warn!(topic = %id.topic, partition = id.index, %error, "cannot open the partition again");
            }
        }
    }

    /// One turn of everything that is due.
    pub(super) async fn maintain(&self, stop: &CancellationToken) {
        let mut upkeep = self.upkeep.lock().await;
        let Ok(handle) = self.handle() else { return };
        handle.tail.lock().producers.expire(self.clock.now_ms().saturating_sub(PRODUCER_EXPIRATION_MS));
        self.said(self.retain(&mut upkeep).await, "retention");
        self.said(self.compact(&mut upkeep, stop).await, "compaction");
        let end = handle.bounds().log_end;
        let rolled = handle.bytes.chunks().last().is_some_and(|chunk| chunk.offsets.start > upkeep.chunk_start);
        let old = self.clock.now_ms().saturating_sub(upkeep.checkpointed_at) >= CHECKPOINT_MS;
        if end > upkeep.checkpointed && (rolled || old) {
            self.said(self.checkpoint(&mut upkeep).await, "checkpoint");
        }
    }

    fn said(&self, result: Result<(), LogError>, what: &str) {
        if let Err(error) = result {
            let id = self.id();
            tracing::warn!(topic = %id.topic, partition = id.index, %error, "{what} failed, tried again later");
        }
    }
}
