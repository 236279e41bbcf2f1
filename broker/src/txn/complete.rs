//! The second half of an end: markers to every partition of the transaction, and then the record that it is complete.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};

use super::coordinator::Coordinator;
use super::shard::Cell;
use super::state::{Status, Transaction};
use crate::log::EndMarker;

/// Markers under way at once for one transaction.
const AT_ONCE: usize = 64;

/// Writes a marker to one partition. One implementation writes to partitions of this broker; on a cluster another one
/// asks the broker that leads the partition.
pub trait MarkerWriter: Send + Sync + 'static {
    /// True when the marker is durable, or is needed no more because the partition is gone or the marker fenced. False:
    /// try again.
    fn write<'a>(&'a self, topic: &'a str, partition: i32, marker: EndMarker) -> BoxFuture<'a, bool>;
}

impl Coordinator {
    pub(super) fn begin_completion(self: &Arc<Self>, cell: &Arc<Cell>) {
        let (coordinator, cell) = (Arc::clone(self), Arc::clone(cell));
        self.tasks.spawn(async move { coordinator.complete(&cell).await });
    }

    /// Nobody else changes a transaction that is decided, so the lock is not held while markers are written.
    async fn complete(&self, cell: &Cell) {
        let decided = cell.transaction.lock().await.clone();
        if !decided.status.is_prepared() {
            return;
        }
        self.write_markers(cell, &decided).await;
        loop {
            let mut transaction = cell.transaction.lock().await;
            let complete = transaction.completed(self.clock.now_ms());
            let stored = self.store(cell, &mut transaction, complete).await;
            drop(transaction);
            match stored {
                Err(kafka_protocol::ResponseError::CoordinatorNotAvailable) if !self.tasks.is_closed() => {
                    tokio::time::sleep(Self::RETRY).await;
                }
                // When the shard was given up, whoever loads it completes the transaction.
                _ => break,
            }
        }
        cell.settled.notify_waiters();
    }

    async fn write_markers(&self, cell: &Cell, decided: &Transaction) {
        let marker = EndMarker {
            producer_id: decided.producer_id,
            producer_epoch: decided.epoch,
            coordinator_epoch: cell.coordinator_epoch,
            commit: decided.status == Status::PrepareCommit,
        };
        let mut partitions = Vec::new();
        for (topic, indexes) in &decided.partitions {
            partitions.extend(indexes.iter().map(|index| (Arc::clone(topic), *index)));
        }
        stream::iter(partitions)
            .for_each_concurrent(AT_ONCE, |(topic, index)| async move {
                while !self.markers.write(&topic, index, marker).await {
                    if self.tasks.is_closed() {
                        return;
                    }
                    tokio::time::sleep(Self::RETRY).await;
                }
            })
            .await;
    }
}
