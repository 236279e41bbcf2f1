//! ACLs are seen by whoever may describe the cluster, and changed by whoever may alter it.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};

use super::super::{Access, Guarded, Refusal};
use crate::catalog::acl::{CLUSTER_NAME, Operation, ResourceType};

/// For requests that concern the cluster as a whole.
pub(super) fn cluster(access: &Access, operation: Operation) -> Result<(), Refusal> {
    match access.allows(operation, ResourceType::Cluster, CLUSTER_NAME) {
        true => Ok(()),
        false => Err(Refusal(ResponseError::ClusterAuthorizationFailed)),
    }
}

impl Guarded for CreateAclsRequest {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        cluster(access, Operation::Alter)
    }
}

impl Guarded for DeleteAclsRequest {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        cluster(access, Operation::Alter)
    }
}

impl Guarded for DescribeAclsRequest {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        cluster(access, Operation::Describe)
    }
}
