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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kafka_protocol::messages::{AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest};

    use super::*;
    use crate::auth::{Principal, Session};
    use crate::catalog::acl::{AclBinding, PatternType, Permission};
    use crate::catalog::{CatalogRecord, Image};

    fn access(user: &str, operation: Option<Operation>) -> Access {
        let mut image = Image::default();
        if let Some(operation) = operation {
            image.apply(&CatalogRecord::Acl(AclBinding {
                resource_type: ResourceType::Cluster,
                pattern_type: PatternType::Literal,
                resource_name: CLUSTER_NAME.to_owned(),
                principal: "User:alice".to_owned(),
                host: "*".to_owned(),
                operation,
                permission: Permission::Allow,
            }));
        }
        let session =
            Session { principal: Principal::user(user), host: [127, 0, 0, 1].into(), listener: "clients".into() };
        Access::new(Arc::new(session), Arc::new(image), [Principal::parse("User:admin")].into())
    }

    fn may<R: Guarded + Default>(access: &Access) -> bool {
        R::default().guard(access).is_ok()
    }

    #[test]
    fn altering_needs_alter_and_describing_needs_describe() {
        let cases = [("alice", None, false, false), ("admin", None, true, true)];
        let granted = [
            ("alice", Some(Operation::Describe), false, true),
            ("alice", Some(Operation::Alter), true, true),
            ("alice", Some(Operation::Create), false, false),
            ("bob", Some(Operation::All), false, false),
        ];
        for (user, operation, alter, describe) in cases.into_iter().chain(granted) {
            let access = access(user, operation);
            assert_eq!(may::<CreateAclsRequest>(&access), alter, "{user} {operation:?}");
            assert_eq!(may::<DeleteAclsRequest>(&access), alter, "{user} {operation:?}");
            assert_eq!(may::<AlterUserScramCredentialsRequest>(&access), alter, "{user} {operation:?}");
            assert_eq!(may::<DescribeAclsRequest>(&access), describe, "{user} {operation:?}");
            assert_eq!(may::<DescribeUserScramCredentialsRequest>(&access), describe, "{user} {operation:?}");
        }
    }
}
