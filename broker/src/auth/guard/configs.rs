//! Configs of topics, of consumer groups and of the broker.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::auth::{Access, Guarded, Refusal};
use crate::catalog::acl::{CLUSTER_NAME, Operation, ResourceType};

/// Kafka's wire codes of what is protected by its own name.
const TOPIC: i8 = 2;
const GROUP: i8 = 32;

/// A resource whose configs the session may not see or change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedConfigs {
    pub resource_type: i8,
    pub resource_name: StrBytes,
    pub error: ResponseError,
}

/// Topics and groups are protected one by one; everything else belongs to the cluster.
fn denied(access: &Access, operation: Operation, resource_type: i8, name: &StrBytes) -> Option<DeniedConfigs> {
    let (allowed, error) = match resource_type {
        TOPIC => (access.allows(operation, ResourceType::Topic, name), ResponseError::TopicAuthorizationFailed),
        GROUP => (access.allows(operation, ResourceType::Group, name), ResponseError::GroupAuthorizationFailed),
        _ => (access.allows(operation, ResourceType::Cluster, CLUSTER_NAME), ResponseError::ClusterAuthorizationFailed),
    };
    (!allowed).then(|| DeniedConfigs { resource_type, resource_name: name.clone(), error })
}

macro_rules! guard_resources {
    ($($request:ty => $operation:expr),+ $(,)?) => {
        $(impl Guarded for $request {
            type Denied = Vec<DeniedConfigs>;

            fn guard(&mut self, access: &Access) -> Result<Self::Denied, Refusal> {
                let mut refused = Vec::new();
                self.resources.retain(|resource| {
                    let denied = denied(access, $operation, resource.resource_type, &resource.resource_name);
                    let allowed = denied.is_none();
                    refused.extend(denied);
                    allowed
                });
                Ok(refused)
            }
        })+
    };
}

guard_resources!(
    DescribeConfigsRequest => Operation::DescribeConfigs,
    AlterConfigsRequest => Operation::AlterConfigs,
    IncrementalAlterConfigsRequest => Operation::AlterConfigs,
);

impl Guarded for ListConfigResourcesRequest {
    type Denied = ();

    /// The list names topics and groups whatever the session may do with each, as in Kafka.
    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        match access.allows(Operation::DescribeConfigs, ResourceType::Cluster, CLUSTER_NAME) {
            true => Ok(()),
            false => Err(Refusal(ResponseError::ClusterAuthorizationFailed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;

    use super::*;
    use crate::auth::{Principal, Session};
    use crate::catalog::acl::{AclBinding, PatternType, Permission};
    use crate::catalog::{CatalogRecord, Image};

    #[test]
    fn topics_and_the_cluster_are_protected_separately() {
        let mut image = Image::default();
        image.apply(&CatalogRecord::Acl(AclBinding {
            resource_type: ResourceType::Topic,
            pattern_type: PatternType::Literal,
            resource_name: "mine".to_owned(),
            principal: "User:me".to_owned(),
            host: "*".to_owned(),
            operation: Operation::DescribeConfigs,
            permission: Permission::Allow,
        }));
        let session = Session {
            principal: Principal::user("me"),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            listener: "clients".into(),
        };
        let access = Access::new(Arc::new(session), Arc::new(image), Arc::new([]));
        let resource = |resource_type, name| {
            DescribeConfigsResource::default()
                .with_resource_type(resource_type)
                .with_resource_name(StrBytes::from_static_str(name))
        };
        let mut request = DescribeConfigsRequest::default().with_resources(vec![
            resource(2, "mine"),
            resource(2, "other"),
            resource(4, "1"),
            resource(32, "other"),
        ]);
        let denied = request.guard(&access).expect("never refused as a whole");
        assert_eq!(request.resources, [resource(2, "mine")]);
        let errors: Vec<_> = denied.iter().map(|denied| (&*denied.resource_name, denied.error)).collect();
        let expected = [
            ("other", ResponseError::TopicAuthorizationFailed),
            ("1", ResponseError::ClusterAuthorizationFailed),
            ("other", ResponseError::GroupAuthorizationFailed),
        ];
        assert_eq!(errors, expected);
    }
}
