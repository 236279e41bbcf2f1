//! DescribeCluster: id, brokers and controller, as this listener's clients reach them.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::acl::{CLUSTER_NAME, ResourceType};

/// The only endpoint type a client may ask for here: brokers (2 would be KRaft controllers).
const BROKERS: i8 = 1;

impl Service for DescribeClusterRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> DescribeClusterResponse {
        let (request, (), access) = request.into_parts();
        let response = DescribeClusterResponse::default()
            .with_cluster_id(StrBytes::from_string(services.cluster_id.clone()))
            .with_endpoint_type(BROKERS);
        if context.version >= 1 && request.endpoint_type != BROKERS {
            return response
                .with_error_code(ResponseError::UnsupportedEndpointType.code())
                .with_error_message(Some(StrBytes::from_static_str("only broker endpoints can be described")));
        }
        let (host, port) = context.advertised.clone();
        let broker = DescribeClusterBroker::default()
            .with_broker_id(BrokerId(services.config.node_id))
            .with_host(host)
            .with_port(port);
        let operations = if request.include_cluster_authorized_operations {
            access.authorized_operations(ResourceType::Cluster, CLUSTER_NAME)
        } else {
            i32::MIN
        };
        response
            .with_controller_id(BrokerId(services.config.node_id))
            .with_brokers(vec![broker])
            .with_cluster_authorized_operations(operations)
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> DescribeClusterResponse {
        DescribeClusterResponse::default().with_error_code(refusal.0.code())
    }
}
