//! DescribeCluster: id, brokers and controller, as this listener's clients reach them.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

/// Types of endpoints (KIP-919). Version 0 means brokers without saying so.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// This is a broker; whoever asks for anything else has the wrong address.
fn mismatch(endpoint_type: i8) -> Option<(ResponseError, String)> {
    match endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ResponseError::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
                .to_owned(),
        )),
        other => Some((ResponseError::UnsupportedEndpointType, format!("Unsupported endpoint type {other}"))),
    }
}

impl Service for DescribeClusterRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> DescribeClusterResponse {
        let (request, (), access) = request.into_parts();
        let response = DescribeClusterResponse::default()
            .with_cluster_id(StrBytes::from_string(services.cluster_id.clone()))
            .with_endpoint_type(BROKERS);
        if let Some((error, message)) = mismatch(request.endpoint_type) {
            return response.with_error_code(error.code()).with_error_message(Some(StrBytes::from_string(message)));
        }
        let (host, port) = context.advertised.clone();
        let broker = DescribeClusterBroker::default()
            .with_broker_id(BrokerId(services.config.node_id))
            .with_host(host)
            .with_port(port);
        let operations =
            if request.include_cluster_authorized_operations { access.cluster_operations() } else { i32::MIN };
        response
            .with_controller_id(BrokerId(services.config.node_id))
            .with_brokers(vec![broker])
            .with_cluster_authorized_operations(operations)
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> DescribeClusterResponse {
        DescribeClusterResponse::default().with_error_code(refusal.0.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brokers_are_described() {
        assert_eq!(mismatch(DescribeClusterRequest::default().endpoint_type), None, "version 0 asks for brokers");
        let error = |kind| mismatch(kind).map(|(error, _)| error);
        assert_eq!(error(2), Some(ResponseError::MismatchedEndpointType));
        for kind in [0, 3, -1] {
            assert_eq!(error(kind), Some(ResponseError::UnsupportedEndpointType), "{kind}");
        }
    }
}
