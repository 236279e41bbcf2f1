//! What the transaction coordinator needs of the rest of the broker, and the shapes that its requests share.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kafka_protocol::ResponseError;

use super::ProducerIds;
use crate::catalog::Catalog;
use crate::group;
use crate::log::{EndMarker, LogError, Logs};
use crate::store::PartitionId;
use crate::txn::{MarkerWriter, NewIds, Partitions};

/// Writes markers to the partitions of this broker.
pub struct LocalMarkers {
    pub catalog: Arc<Catalog>,
    pub logs: Arc<Logs>,
    pub groups: Arc<group::Coordinator>,
}

impl LocalMarkers {
    pub(super) async fn try_write(&self, topic: &str, partition: i32, marker: EndMarker) -> Result<(), LogError> {
        if topic == group::OFFSETS_TOPIC {
            return self.groups.end_transaction(partition, marker).await;
        }
        let Some(topic) = self.catalog.image().topic(topic).map(|topic| topic.id) else {
            return Err(LogError::UnknownPartition);
        };
        let partition = self.logs.get(PartitionId { topic, index: partition })?;
        partition.append_marker(marker)?.durable().await
    }
}

impl MarkerWriter for LocalMarkers {
    fn write<'a>(&'a self, topic: &'a str, partition: i32, marker: EndMarker) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            match self.try_write(topic, partition, marker).await {
                Ok(()) | Err(LogError::UnknownPartition) => true,
                Err(LogError::Refused { code, message }) => {
                    let producer_id = marker.producer_id;
                    tracing::warn!(topic, partition, producer_id, %code, message, "the end of a transaction was refused");
                    matches!(code, ResponseError::InvalidProducerEpoch | ResponseError::TransactionCoordinatorFenced)
                }
                Err(error) => {
                    tracing::debug!(topic, partition, %error, "the end of a transaction is written again later");
                    false
                }
            }
        })
    }
}

/// Producer ids of this broker's blocks.
pub struct NewProducerIds {
    pub ids: Arc<ProducerIds>,
    pub catalog: Arc<Catalog>,
}

impl NewIds for NewProducerIds {
    fn next(&self) -> BoxFuture<'_, Result<i64, ResponseError>> {
        Box::pin(async move {
            self.ids.next(&self.catalog).await.map_err(|error| {
                tracing::error!(%error, "no producer id can be given");
                ResponseError::CoordinatorNotAvailable
            })
        })
    }
}

/// The partition of the offsets topic that holds a group's offsets.
pub(super) fn offsets_of(group: &str, groups: &group::Coordinator) -> Result<Partitions, ResponseError> {
    let partition = groups.partition_of(group)?;
    Ok([(Arc::from(group::OFFSETS_TOPIC), [partition].into())].into())
}

/// Clients of these versions know PRODUCER_FENCED only under its older name.
pub(super) fn for_version(error: ResponseError, version: i16, first_that_knows: i16) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if version < first_that_knows => ResponseError::InvalidProducerEpoch,
        other => other,
    }
}
