//! What operators ask: which transactions there are, and what one of them does.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::coordinator::Coordinator;
use super::shard::Cell;
use super::state::{Status, Transaction};

impl Coordinator {
    pub(super) fn cells(&self) -> Vec<Arc<Cell>> {
        self.shards.get().into_iter().flatten().flat_map(|shard| shard.all()).collect()
    }

    /// Every transactional id with its state, and whether some cannot be told yet.
    pub async fn list(&self) -> (Vec<(Arc<str>, Transaction)>, bool) {
        let shards = self.shards.get();
        let complete = shards.is_some_and(|shards| shards.iter().all(|shard| shard.is_ready()));
        let mut found = Vec::new();
        for cell in self.cells() {
            found.push((Arc::clone(&cell.id), cell.transaction.lock().await.clone()));
        }
        (found, !complete)
    }

    pub async fn describe(&self, id: &str) -> Result<Transaction, ResponseError> {
        let cell = self.find(id).map_err(|code| match code {
            ResponseError::InvalidProducerIdMapping => ResponseError::TransactionalIdNotFound,
            other => other,
        })?;
        let transaction = cell.transaction.lock().await;
        Ok(transaction.clone())
    }

    /// Transactional ids by state. One that is just changing counts as it was not seen.
    pub fn counts(&self) -> BTreeMap<Status, usize> {
        let mut counts = BTreeMap::new();
        for cell in self.cells() {
            if let Ok(transaction) = cell.transaction.try_lock() {
                *counts.entry(transaction.status).or_default() += 1;
            }
        }
        counts
    }
}
