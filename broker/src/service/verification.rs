//! What a transactional batch needs before it begins a transaction in its partition: the coordinator has to know that
//! the partition belongs to it, or nobody would ever end it there (KIP-890). Clients of transaction version 2 leave the
//! adding to the broker.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProduceRequest;
use uuid::Uuid;

use super::Services;
use super::produce::topic_of;
use crate::catalog::Image;
use crate::log::VerificationGuard;
use crate::log::header::BatchHeader;
use crate::store::PartitionId;
use crate::txn::{EPOCH_PER_TRANSACTION, Partitions, Producer};

/// First version whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE: i16 = 11;
/// First version whose clients do not add partitions themselves.
const IMPLICIT: i16 = 12;

/// Topic id and partition index.
type Place = (Uuid, i32);

/// What the coordinator said of each partition that it was asked about.
#[derive(Default)]
pub(super) struct Verdicts(HashMap<Place, Result<Option<VerificationGuard>, ResponseError>>);

impl Verdicts {
    /// `None` when the transaction is open in the partition, or the batch belongs to none.
    pub(super) fn of(&self, topic: Uuid, index: i32) -> Result<Option<VerificationGuard>, ResponseError> {
        self.0.get(&(topic, index)).copied().unwrap_or(Ok(None))
    }
}

/// A question for the coordinator.
pub(super) struct Verification {
    id: String,
    producer: Producer,
    /// With the names of their topics.
    places: HashMap<Place, Arc<str>>,
    version: i16,
}

impl Verification {
    /// The question for a request, if its transaction is not open in all its partitions.
    pub(super) fn of(services: &Services, image: &Image, request: &ProduceRequest, version: i16) -> Option<Self> {
        let id = request.transactional_id.as_ref()?;
        let mut producer = None;
        let mut places = HashMap::new();
        for data in &request.topic_data {
            let Ok(topic) = topic_of(image, data, version) else { continue };
            for partition in &data.partition_data {
                let header = partition.records.as_deref().and_then(|records| BatchHeader::parse(records).ok());
                let Some(header) = header.filter(|header| header.attributes.transactional()) else { continue };
                let writer = (header.producer_id, header.producer_epoch);
                // One request is of one producer; a batch of another one is not verified, and refused.
                if *producer.get_or_insert(writer) != writer {
                    continue;
                }
                let Ok(opened) = services.partition(topic, partition.index) else { continue };
                if let Ok(Some(_)) = opened.begin_verification(writer.0, writer.1) {
                    places.insert((topic.id, partition.index), Arc::from(topic.name.as_str()));
                }
            }
        }
        let producer = producer.filter(|_| !places.is_empty())?;
        Some(Self { id: id.to_string(), producer, places, version })
    }

    pub(super) async fn ask(self, services: &Services) -> Verdicts {
        let settled = services.transactions.settle(&self.id).await;
        // Before the question, so that an end in between is noticed.
        let guard = |(topic, index): Place| {
            let partition = services.logs.get(PartitionId { topic, index }).ok()?;
            partition.begin_verification(self.producer.0, self.producer.1).ok()?
        };
        let guards: HashMap<Place, _> = self.places.keys().map(|place| (*place, guard(*place))).collect();
        let missing = match settled {
            Ok(()) => self.missing(services).await,
            Err(error) => Err(error),
        };
        let version = self.version;
        let verdict = |(place, guard): (Place, Option<VerificationGuard>)| {
            let is_missing = |missing: &Partitions| {
                let name = self.places.get(&place);
                name.and_then(|name| missing.get(name)).is_some_and(|missing| missing.contains(&place.1))
            };
            let verdict = match &missing {
                Ok(missing) if !is_missing(missing) => Ok(guard),
                Ok(_) if version >= ABORTABLE => Err(ResponseError::TransactionAbortable),
                Ok(_) => Err(ResponseError::InvalidTxnState),
                Err(error) => Err(told(*error, version)),
            };
            (place, verdict)
        };
        Verdicts(guards.into_iter().map(verdict).collect())
    }

    /// The partitions that do not belong to the transaction, and are not made part of it either.
    async fn missing(&self, services: &Services) -> Result<Partitions, ResponseError> {
        let mut partitions = Partitions::new();
        for ((_, index), name) in &self.places {
            partitions.entry(Arc::clone(name)).or_default().insert(*index);
        }
        let coordinator = &services.transactions;
        if self.version >= IMPLICIT {
            let added = coordinator.add(&self.id, self.producer, partitions, EPOCH_PER_TRANSACTION).await;
            added.map(|()| Partitions::new())
        } else {
            coordinator.verify(&self.id, self.producer, &partitions).await
        }
    }
}

/// Producers expect errors of partitions, not of coordinators: what passes by itself is NOT_ENOUGH_REPLICAS for those who
/// do not know that a coordinator is asked, as with Kafka.
fn told(error: ResponseError, version: i16) -> ResponseError {
    match error {
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        ResponseError::ConcurrentTransactions if version >= IMPLICIT => error,
        ResponseError::ConcurrentTransactions
        | ResponseError::CoordinatorLoadInProgress
        | ResponseError::CoordinatorNotAvailable
        | ResponseError::NotCoordinator => ResponseError::NotEnoughReplicas,
        other => other,
    }
}
