//! DescribeTransactions: state, producer and partitions of transactional ids.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::groups::wire_topic;
use super::{Context, Service, Services};
use crate::auth::{Access, Authorized, Refusal};
use crate::catalog::acl::{Operation, ResourceType};
use crate::txn::Transaction;

impl Service for DescribeTransactionsRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> DescribeTransactionsResponse {
        let (request, denied, access) = request.into_parts();
        let mut states = Vec::with_capacity(request.transactional_ids.len() + denied.len());
        for id in request.transactional_ids {
            states.push(match services.transactions.describe(&id).await {
                Ok(transaction) => described(id, &transaction, &access),
                Err(error) => failed(id, error),
            });
        }
        states.extend(denied.into_iter().map(|id| failed(id, ResponseError::TransactionalIdAuthorizationFailed)));
        DescribeTransactionsResponse::default().with_transaction_states(states)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> DescribeTransactionsResponse {
        let states = request.transactional_ids.iter().map(|id| failed(id.clone(), refusal.0));
        DescribeTransactionsResponse::default().with_transaction_states(states.collect())
    }
}

/// Topics that may not be described are left out.
fn described(id: TransactionalId, transaction: &Transaction, access: &Access) -> TransactionState {
    let visible = |topic: &str| access.allows(Operation::Describe, ResourceType::Topic, topic);
    let topics = transaction.partitions.iter().filter(|(topic, _)| visible(topic)).map(|(topic, indexes)| {
        TopicData::default().with_topic(wire_topic(topic)).with_partitions(indexes.iter().copied().collect())
    });
    TransactionState::default()
        .with_transactional_id(id)
        .with_transaction_state(StrBytes::from_static_str(transaction.status.name()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.started_ms)
        .with_producer_id(ProducerId(transaction.producer_id))
        .with_producer_epoch(transaction.epoch)
        .with_topics(topics.collect())
}

fn failed(id: TransactionalId, error: ResponseError) -> TransactionState {
    TransactionState::default().with_transactional_id(id).with_error_code(error.code())
}
