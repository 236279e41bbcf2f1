//! TxnOffsetCommit: offsets that count when the producer's transaction is committed.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::groups::{error_code, identity, kept};
use super::transactions::offsets_of;
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::Topic;
use crate::group::limits::MAX_OFFSET_METADATA_BYTES;
use crate::group::{OffsetValue, TransactionalCommit};
use crate::txn::EPOCH_PER_TRANSACTION;

/// First version that may name a member of the group (KIP-447).
const MEMBERS: i16 = 3;
/// First version whose clients do not add the group to the transaction themselves.
const IMPLICIT: i16 = 5;

impl Service for TxnOffsetCommitRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> TxnOffsetCommitResponse {
        let (request, denied, access) = request.into_parts();
        let now_ms = services.clock.now_ms();
        let mut offsets = Vec::new();
        let mut judged = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let known = access.image().topic(&topic.name).map(|topic| &**topic);
            let verdicts = topic.partitions.iter().map(|partition| {
                let verdict = check(known, partition);
                if verdict.is_ok() {
                    offsets.push(((kept(&topic.name), partition.partition_index), value(known, partition, now_ms)));
                }
                (partition.partition_index, verdict)
            });
            judged.push((topic.name.clone(), verdicts.collect::<Vec<_>>()));
        }
        let outcome = if offsets.is_empty() { Ok(()) } else { commit(services, context, &request, offsets).await };
        let answered = judged.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, verdict)| answer(index, verdict.and(outcome)));
            TxnOffsetCommitResponseTopic::default().with_name(name).with_partitions(partitions.collect())
        });
        let refused = denied.iter().map(|topic| failed(topic, ResponseError::TopicAuthorizationFailed));
        TxnOffsetCommitResponse::default().with_topics(answered.chain(refused).collect())
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> TxnOffsetCommitResponse {
        let topics = request.topics.iter().map(|topic| failed(topic, refusal.0));
        TxnOffsetCommitResponse::default().with_topics(topics.collect())
    }
}

/// Asks the transaction's coordinator, then the group's.
async fn commit(
    services: &Services,
    context: &Context,
    request: &TxnOffsetCommitRequest,
    offsets: Vec<(crate::group::TopicPartition, OffsetValue)>,
) -> Result<(), ResponseError> {
    let producer = (request.producer_id.0, request.producer_epoch);
    let (generation, member, instance) = match context.version {
        MEMBERS.. => (request.generation_id, request.member_id.clone(), request.group_instance_id.clone()),
        _ => (-1, Default::default(), None),
    };
    let who = identity(&request.group_id, generation, &member, &instance);
    let mut guard = services.groups.begin_verification(&request.group_id, producer)?;
    if guard.is_some() {
        services.transactions.settle(&request.transactional_id).await.map_err(told)?;
        // Before the question, so that an end in between is noticed.
        guard = services.groups.begin_verification(&request.group_id, producer)?;
        let partitions = offsets_of(&request.group_id, &services.groups)?;
        let coordinator = &services.transactions;
        if context.version >= IMPLICIT {
            coordinator.add(&request.transactional_id, producer, partitions, EPOCH_PER_TRANSACTION).await
        } else {
            match coordinator.verify(&request.transactional_id, producer, &partitions).await {
                Ok(missing) if missing.is_empty() => Ok(()),
                Ok(_) => Err(ResponseError::InvalidTxnState),
                Err(error) => Err(error),
            }
        }
        .map_err(told)?;
    }
    services.groups.commit_transactional(TransactionalCommit { who, producer, guard, offsets }).await
}

/// Clients of TxnOffsetCommit know the errors of a group's coordinator.
fn told(error: ResponseError) -> ResponseError {
    match error {
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        other => other,
    }
}

fn value(topic: Option<&Topic>, partition: &TxnOffsetCommitRequestPartition, now_ms: i64) -> OffsetValue {
    OffsetValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: kept(partition.committed_metadata.as_deref().unwrap_or_default()),
        commit_timestamp: now_ms,
        expire_timestamp: None,
        topic_id: topic.map(|topic| topic.id),
    }
}

fn check(topic: Option<&Topic>, partition: &TxnOffsetCommitRequestPartition) -> Result<(), ResponseError> {
    if topic.is_none_or(|topic| !(0..topic.partitions).contains(&partition.partition_index)) {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    if partition.committed_metadata.as_ref().is_some_and(|metadata| metadata.len() > MAX_OFFSET_METADATA_BYTES) {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(())
}

fn answer(index: i32, result: Result<(), ResponseError>) -> TxnOffsetCommitResponsePartition {
    TxnOffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(error_code(&result))
}

fn failed(topic: &TxnOffsetCommitRequestTopic, error: ResponseError) -> TxnOffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().map(|partition| answer(partition.partition_index, Err(error)));
    TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}
