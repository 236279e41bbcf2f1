//! InitProducerId for idempotent producers.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

impl Service for InitProducerIdRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> InitProducerIdResponse {
        let (request, (), _) = request.into_parts();
        if request.transactional_id.is_some() {
            return failed(ResponseError::TransactionalIdAuthorizationFailed);
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
