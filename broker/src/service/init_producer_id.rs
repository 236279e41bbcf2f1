//! InitProducerId for idempotent and transactional producers.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::transactions::for_version;
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

/// First version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 4;

impl Service for InitProducerIdRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> InitProducerIdResponse {
        let (request, (), _) = request.into_parts();
        let known = match (request.producer_id.0, request.producer_epoch) {
            (-1, -1) => None,
            (id, epoch) if id >= 0 && epoch >= 0 => Some((id, epoch)),
            _ => return failed(ResponseError::InvalidRequest),
        };
        if let Some(id) = &request.transactional_id {
            return match services.transactions.init(id, request.transaction_timeout_ms, known).await {
                Ok((id, epoch)) => {
                    InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(epoch)
                }
                Err(error) => failed(for_version(error, context.version, FENCED)),
            };
        }
        // A known producer that asks again (KIP-360) only wants its epoch raised; without transactions a new id with
        // epoch 0 serves it as well, and outlives any state.
        match services.producer_ids.next(&services.catalog).await {
            Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(0),
            Err(error) => {
                tracing::error!(%error, "no producer id can be given");
                failed(ResponseError::CoordinatorNotAvailable)
            }
        }
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> InitProducerIdResponse {
        failed(refusal.0)
    }
}

fn failed(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_error_code(error.code())
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}
