//! The cluster itself: its brokers, their disks, their leaders.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeLogDirsRequest, ElectLeadersRequest};

use crate::auth::{Access, Guarded, Refusal};
use crate::catalog::acl::{CLUSTER_NAME, Operation, ResourceType};

fn on_cluster(access: &Access, operation: Operation) -> Result<(), Refusal> {
    match access.allows(operation, ResourceType::Cluster, CLUSTER_NAME) {
        true => Ok(()),
        false => Err(Refusal(ResponseError::ClusterAuthorizationFailed)),
    }
}

impl Guarded for DescribeClusterRequest {
    type Denied = ();

    /// Like Metadata's broker list, open to every authenticated client.
    fn guard(&mut self, _: &Access) -> Result<(), Refusal> {
        Ok(())
    }
}

impl Guarded for DescribeLogDirsRequest {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        on_cluster(access, Operation::Describe)
    }
}

impl Guarded for ElectLeadersRequest {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        on_cluster(access, Operation::Alter)
    }
}
