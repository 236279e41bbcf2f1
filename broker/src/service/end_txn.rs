//! EndTxn: commit or abort. Answered when the decision is durable; markers follow.

use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId};

use super::transactions::for_version;
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::txn::EPOCH_PER_TRANSACTION;

/// First version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 2;
/// First version that tells the epoch of the next transaction.
const EPOCHS: i16 = 5;

impl Service for EndTxnRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> EndTxnResponse {
        let (request, (), _) = request.into_parts();
        let client_version = if context.version >= EPOCHS { EPOCH_PER_TRANSACTION } else { 1 };
        let producer = (request.producer_id.0, request.producer_epoch);
        let ended = services.transactions.end(&request.transactional_id, producer, request.committed, client_version);
        match ended.await {
            Ok((id, epoch)) if context.version >= EPOCHS => {
                EndTxnResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(epoch)
            }
            Ok(_) => EndTxnResponse::default(),
            Err(error) => EndTxnResponse::default().with_error_code(for_version(error, context.version, FENCED).code()),
        }
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> EndTxnResponse {
        EndTxnResponse::default().with_error_code(refusal.0.code())
    }
}
