//! Users' SCRAM credentials: their names and iterations are seen by whoever may describe the cluster, and they are
//! changed by whoever may alter it.

use kafka_protocol::messages::{AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest};

use super::super::{Access, Guarded, Refusal};
use super::acls::cluster;
use crate::catalog::acl::Operation;

impl Guarded for AlterUserScramCredentialsRequest {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        cluster(access, Operation::Alter)
    }
}

impl Guarded for DescribeUserScramCredentialsRequest {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        cluster(access, Operation::Describe)
    }
}
