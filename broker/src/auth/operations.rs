//! What a session may do with a resource, as the bit field that Metadata and the describe calls tell clients.

use super::Access;
use crate::catalog::acl::{CLUSTER_NAME, Operation, ResourceType};

impl Access {
    /// One bit per operation that is allowed, at the position of the operation's wire code.
    pub fn authorized_operations(&self, resource: ResourceType, name: &str) -> i32 {
        let allowed = possible(resource).iter().filter(|operation| self.sees(**operation, resource, name));
        allowed.fold(0, |bits, operation| bits | 1 << operation.code())
    }

    /// The cluster's bits as Metadata and DescribeCluster show them: none without Describe.
    pub fn cluster_operations(&self) -> i32 {
        match self.sees(Operation::Describe, ResourceType::Cluster, CLUSTER_NAME) {
            true => self.authorized_operations(ResourceType::Cluster, CLUSTER_NAME),
            false => 0,
        }
    }
}

/// The operations that make sense for a type of resource (Kafka's `AclEntry.supportedOperations`).
fn possible(resource: ResourceType) -> &'static [Operation] {
    use Operation::*;
    match resource {
        ResourceType::Topic => &[Read, Write, Create, Describe, Delete, Alter, DescribeConfigs, AlterConfigs],
        ResourceType::Group => &[Read, Describe, Delete, DescribeConfigs, AlterConfigs],
        ResourceType::Cluster => {
            &[Create, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, Alter, Describe]
        }
        ResourceType::TransactionalId => &[Describe, Write, TwoPhaseCommit],
        ResourceType::DelegationToken => &[Describe],
        ResourceType::User => &[CreateTokens, DescribeTokens],
    }
}
