//! ListTransactions: transactional ids that may be described, by state, producer, age or a pattern of their names.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use regex::{Regex, RegexBuilder};

use super::groups::wire;
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::acl::{Operation, ResourceType};
use crate::txn::Status;

/// Memory that a pattern of a client may take once compiled.
const PATTERN_BYTES: usize = 1 << 18;

impl Service for ListTransactionsRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> ListTransactionsResponse {
        let (request, (), access) = request.into_parts();
        let pattern = match request.transactional_id_pattern.as_deref().filter(|pattern| !pattern.is_empty()) {
            // The whole name has to match, as with Kafka.
            Some(pattern) => match RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_BYTES).build() {
                Ok(pattern) => Some(pattern),
                Err(_) => return failed(ResponseError::InvalidRegularExpression),
            },
            None => None,
        };
        let status_of = |name: &StrBytes| Status::ALL.into_iter().find(|status| status.name() == &**name);
        let wanted: Vec<Status> = request.state_filters.iter().filter_map(status_of).collect();
        let unknown = request.state_filters.iter().filter(|name| status_of(name).is_none()).cloned().collect();
        let now_ms = services.clock.now_ms();
        let (all, incomplete) = services.transactions.list().await;
        if incomplete {
            return failed(ResponseError::CoordinatorLoadInProgress);
        }
        let states = all.into_iter().filter(|(id, transaction)| {
            let by_state = request.state_filters.is_empty() || wanted.contains(&transaction.status);
            let by_producer = request.producer_id_filters.is_empty()
                || request.producer_id_filters.contains(&ProducerId(transaction.producer_id));
            let age_ms = now_ms.saturating_sub(transaction.started_ms);
            let by_age = request.duration_filter < 0 || transaction.started_ms >= 0 && age_ms > request.duration_filter;
            let by_name = pattern.as_ref().is_none_or(|pattern: &Regex| pattern.is_match(id));
            let may_see = || access.allows(Operation::Describe, ResourceType::TransactionalId, id);
            by_state && by_producer && by_age && by_name && may_see()
        });
        let states = states.map(|(id, transaction)| {
            TransactionState::default()
                .with_transactional_id(TransactionalId(wire(&id)))
                .with_producer_id(ProducerId(transaction.producer_id))
                .with_transaction_state(StrBytes::from_static_str(transaction.status.name()))
        });
        ListTransactionsResponse::default()
            .with_unknown_state_filters(unknown)
            .with_transaction_states(states.collect())
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> ListTransactionsResponse {
        failed(refusal.0)
    }
}

fn failed(error: ResponseError) -> ListTransactionsResponse {
    ListTransactionsResponse::default().with_error_code(error.code())
}
