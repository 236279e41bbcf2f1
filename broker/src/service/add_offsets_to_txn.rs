//! AddOffsetsToTxn: a transaction is going to commit offsets of a group.

use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::transactions::{for_version, offsets_of};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

/// First version whose clients know PRODUCER_FENCED.
const FENCED: i16 = 2;

impl Service for AddOffsetsToTxnRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> AddOffsetsToTxnResponse {
        let (request, (), _) = request.into_parts();
        let producer = (request.producer_id.0, request.producer_epoch);
        let added = match offsets_of(&request.group_id, &services.groups) {
            Ok(offsets) => services.transactions.add(&request.transactional_id, producer, offsets, 1).await,
            Err(error) => Err(error),
        };
        let code = added.err().map_or(0, |error| for_version(error, context.version, FENCED).code());
        AddOffsetsToTxnResponse::default().with_error_code(code)
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> AddOffsetsToTxnResponse {
        AddOffsetsToTxnResponse::default().with_error_code(refusal.0.code())
    }
}
