//! FindCoordinator: who coordinates a group or a transaction. On one machine that is this broker.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

/// First version that asks for several keys.
const BATCHED: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

impl Service for FindCoordinatorRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> FindCoordinatorResponse {
        let (request, denied, _) = request.into_parts();
        let found = |key: StrBytes| {
            if !matches!(request.key_type, GROUP | TRANSACTION) {
                return failed(key, ResponseError::InvalidRequest);
            }
            let (host, port) = context.advertised.clone();
            let node_id = BrokerId(services.config.node_id);
            Coordinator::default().with_key(key).with_node_id(node_id).with_host(host).with_port(port)
        };
        if context.version < BATCHED {
            return single(found(request.key));
        }
        let refused = denied.into_iter().map(|(key, error)| failed(key, error));
        let coordinators = request.coordinator_keys.into_iter().map(found).chain(refused).collect();
        FindCoordinatorResponse::default().with_coordinators(coordinators)
    }

    fn refuse(refusal: Refusal, request: &Self, context: &Context) -> FindCoordinatorResponse {
        if context.version < BATCHED {
            return single(failed(request.key.clone(), refusal.0));
        }
        let coordinators = request.coordinator_keys.iter().map(|key| failed(key.clone(), refusal.0));
        FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
    }
}

fn failed(key: StrBytes, error: ResponseError) -> Coordinator {
    Coordinator::default()
        .with_key(key)
        .with_node_id(BrokerId(-1))
        .with_port(-1)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(error.to_string())))
}

/// The form before batches.
fn single(found: Coordinator) -> FindCoordinatorResponse {
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::{Encodable, Message};

    use super::*;

    #[test]
    fn refusals_fit_every_version() {
        let versions = FindCoordinatorRequest::VERSIONS;
        for version in versions.min..=versions.max {
            let refused = failed(StrBytes::from_static_str("g"), ResponseError::GroupAuthorizationFailed);
            let response = match version < BATCHED {
                true => single(refused),
                false => FindCoordinatorResponse::default().with_coordinators(vec![refused]),
            };
            response.encode(&mut BytesMut::new(), version).expect("a refusal");
        }
    }
}
