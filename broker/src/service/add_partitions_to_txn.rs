//! AddPartitionsToTxn: what a transaction is going to write to. Clients before transaction version 2 ask before they
//! produce; the batched form is for brokers, and can also verify without adding.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::groups::kept;
use super::transactions::for_version;
use super::{Context, Service, Services};
use crate::auth::{Access, Authorized, Refusal};
use crate::catalog::acl::{Operation, ResourceType};
use crate::txn::{EPOCH_PER_TRANSACTION, Partitions};

/// First version with several transactions.
const BATCHED: i16 = 4;
/// First version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 2;
/// First version whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE: i16 = 5;

impl Service for AddPartitionsToTxnRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> AddPartitionsToTxnResponse {
        let (request, (), access) = request.into_parts();
        if context.version < BATCHED {
            let transaction = AddPartitionsToTxnTransaction::default()
                .with_transactional_id(request.v3_and_below_transactional_id)
                .with_producer_id(request.v3_and_below_producer_id)
                .with_producer_epoch(request.v3_and_below_producer_epoch)
                .with_topics(request.v3_and_below_topics);
            let results = one(services, context, &access, transaction).await;
            return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results);
        }
        let mut results = Vec::with_capacity(request.transactions.len());
        for transaction in request.transactions {
            let id = transaction.transactional_id.clone();
            let topics = one(services, context, &access, transaction).await;
            results.push(AddPartitionsToTxnResult::default().with_transactional_id(id).with_topic_results(topics));
        }
        AddPartitionsToTxnResponse::default().with_results_by_transaction(results)
    }

    fn refuse(refusal: Refusal, request: &Self, context: &Context) -> AddPartitionsToTxnResponse {
        if context.version < BATCHED {
            let results = answer(&request.v3_and_below_topics, |_, _| Err(refusal.0));
            return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results);
        }
        AddPartitionsToTxnResponse::default().with_error_code(refusal.0.code())
    }
}

async fn one(
    services: &Services,
    context: &Context,
    access: &Access,
    transaction: AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topics = &transaction.topics;
    // Brokers have asked whether the client may write before they ask here.
    let judge_topics = context.version < BATCHED;
    let check = |topic: &str, index: i32| {
        if judge_topics && !access.allows(Operation::Write, ResourceType::Topic, topic) {
            return Err(ResponseError::TopicAuthorizationFailed);
        }
        match access.image().topic(topic) {
            Some(known) if (0..known.partitions).contains(&index) => Ok(()),
            _ => Err(ResponseError::UnknownTopicOrPartition),
        }
    };
    let all_fine =
        |topic: &AddPartitionsToTxnTopic| topic.partitions.iter().all(|index| check(&topic.name, *index).is_ok());
    if !topics.iter().all(all_fine) {
        return answer(topics, |topic, index| match check(topic, index) {
            Ok(()) => Err(ResponseError::OperationNotAttempted),
            refused => refused,
        });
    }
    let mut partitions = Partitions::new();
    for topic in topics {
        partitions.entry(kept(&topic.name)).or_default().extend(&topic.partitions);
    }
    let producer = (transaction.producer_id.0, transaction.producer_epoch);
    let id = &*transaction.transactional_id;
    let told = |error| for_version(error, context.version, FENCED);
    if transaction.verify_only {
        let verified = services.transactions.verify(id, producer, &partitions).await;
        return answer(topics, |topic, index| match &verified {
            Ok(missing) if missing.get(&Arc::from(topic)).is_none_or(|missing| !missing.contains(&index)) => Ok(()),
            Ok(_) if context.version >= ABORTABLE => Err(ResponseError::TransactionAbortable),
            Ok(_) => Err(ResponseError::InvalidTxnState),
            Err(error) => Err(told(*error)),
        });
    }
    let client_version = if context.version > BATCHED { EPOCH_PER_TRANSACTION } else { 1 };
    let added = services.transactions.add(id, producer, partitions, client_version).await;
    answer(topics, |_, _| added.map_err(told))
}

fn answer(
    topics: &[AddPartitionsToTxnTopic],
    result: impl Fn(&str, i32) -> Result<(), ResponseError>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let partition = |topic: &str, index: i32| {
        let code = result(topic, index).err().map_or(0, |error| error.code());
        AddPartitionsToTxnPartitionResult::default().with_partition_index(index).with_partition_error_code(code)
    };
    let topic = |topic: &AddPartitionsToTxnTopic| {
        let partitions = topic.partitions.iter().map(|index| partition(&topic.name, *index)).collect();
        AddPartitionsToTxnTopicResult::default().with_name(topic.name.clone()).with_results_by_partition(partitions)
    };
    topics.iter().map(topic).collect()
}
