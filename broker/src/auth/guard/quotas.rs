//! Quotas are configs of the cluster, as Kafka has it.

use kafka_protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};

use super::super::{Access, Guarded, Refusal};
use super::acls::cluster;
use crate::catalog::acl::Operation;

impl Guarded for DescribeClientQuotasRequest {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        cluster(access, Operation::DescribeConfigs)
    }
}

impl Guarded for AlterClientQuotasRequest {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        cluster(access, Operation::AlterConfigs)
    }
}
