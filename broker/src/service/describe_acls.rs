//! DescribeAcls: the bindings that fit a filter, grouped by resource pattern.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use super::acl_filter::{AclFilter, WireFilter};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::acl::AclBinding;

impl Service for DescribeAclsRequest {
    async fn serve(_services: &Services, _context: &Context, request: Authorized<Self>) -> DescribeAclsResponse {
        let (request, (), access) = request.into_parts();
        match filter(&request) {
            Ok(filter) => {
                let found = access.image().acls.iter().map(AsRef::as_ref).filter(|binding| filter.fits(binding));
                DescribeAclsResponse::default().with_error_message(None).with_resources(grouped(found))
            }
            Err(message) => DescribeAclsResponse::default()
                .with_error_code(ResponseError::InvalidRequest.code())
                .with_error_message(Some(message.into())),
        }
    }

    fn refuse(refusal: Refusal, _request: &Self, _context: &Context) -> DescribeAclsResponse {
        DescribeAclsResponse::default()
            .with_error_code(refusal.0.code())
            .with_error_message(Some(refusal.0.to_string().into()))
    }
}

fn filter(request: &DescribeAclsRequest) -> Result<AclFilter, String> {
    AclFilter::parse(WireFilter {
        resource_type: request.resource_type_filter,
        pattern_type: request.pattern_type_filter,
        name: &request.resource_name_filter,
        principal: &request.principal_filter,
        host: &request.host_filter,
        operation: request.operation,
        permission: request.permission_type,
    })
}

/// Bindings come ordered by pattern, so the ones of a pattern are neighbours.
fn grouped<'a>(bindings: impl Iterator<Item = &'a AclBinding>) -> Vec<DescribeAclsResource> {
    let mut resources: Vec<DescribeAclsResource> = Vec::new();
    for binding in bindings {
        let acl = AclDescription::default()
            .with_principal(binding.principal.clone().into())
            .with_host(binding.host.clone().into())
            .with_operation(binding.operation.code())
            .with_permission_type(binding.permission.code());
        let same = |resource: &&mut DescribeAclsResource| {
            resource.resource_type == binding.resource_type.code()
                && resource.pattern_type == binding.pattern_type.code()
                && *resource.resource_name == *binding.resource_name
        };
        match resources.last_mut().filter(same) {
            Some(resource) => resource.acls.push(acl),
            None => resources.push(
                DescribeAclsResource::default()
                    .with_resource_type(binding.resource_type.code())
                    .with_resource_name(binding.resource_name.clone().into())
                    .with_pattern_type(binding.pattern_type.code())
                    .with_acls(vec![acl]),
            ),
        }
    }
    resources
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::catalog::acl::{Operation, PatternType, Permission, ResourceType};

    #[test]
    fn bindings_of_one_pattern_come_together() {
        let binding = |pattern_type, name: &str, principal: &str| AclBinding {
            resource_type: ResourceType::Topic,
            pattern_type,
            resource_name: name.to_owned(),
            principal: principal.to_owned(),
            host: "*".to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        };
        let acls = BTreeSet::from([
            binding(PatternType::Literal, "a", "User:alice"),
            binding(PatternType::Prefixed, "a", "User:alice"),
            binding(PatternType::Literal, "b", "User:alice"),
            binding(PatternType::Literal, "a", "User:bob"),
        ]);
        let resources = grouped(acls.iter());
        let shape: Vec<_> = resources
            .iter()
            .map(|found| (found.pattern_type, found.resource_name.as_str(), found.acls.len()))
            .collect();
        assert_eq!(shape, [(3, "a", 2), (3, "b", 1), (4, "a", 1)]);
        assert_eq!(resources[0].acls[1].principal.as_str(), "User:bob");
    }
}
