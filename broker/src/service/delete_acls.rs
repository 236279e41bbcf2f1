//! DeleteAcls: every binding that fits one of the filters, in one change.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use kafka_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};

use super::acl_filter::{AclFilter, WireFilter};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::acl::AclBinding;
use crate::catalog::{CatalogRecord, Image};

/// Filters in one request: each but an exact one looks at every ACL.
const MAX_FILTERS: usize = 1000;

impl Service for DeleteAclsRequest {
    async fn serve(services: &Services, _context: &Context, request: Authorized<Self>) -> DeleteAclsResponse {
        let (request, (), _access) = request.into_parts();
        let excess = request.filters.len() > MAX_FILTERS;
        let parsed = request.filters.iter().map(|filter| match excess {
            true => Err(format!("The request has more than {MAX_FILTERS} filters.")),
            false => parse(filter),
        });
        let filters: Vec<_> = parsed.collect();
        let deleted =
            services.catalog.change::<_, std::convert::Infallible>(|image| Ok(deleted(image, &filters))).await;
        let results = match deleted {
            Ok(matches) => matches,
            Err(error) => {
                let failed = failed(ResponseError::KafkaStorageError, error.to_string());
                vec![failed; filters.len()]
            }
        };
        DeleteAclsResponse::default().with_filter_results(results)
    }

    fn refuse(refusal: Refusal, request: &Self, _context: &Context) -> DeleteAclsResponse {
        let refused = DeleteAclsFilterResult::default()
            .with_error_code(refusal.0.code())
            .with_error_message(Some(refusal.0.to_string().into()));
        DeleteAclsResponse::default().with_filter_results(vec![refused; request.filters.len()])
    }
}

fn parse(filter: &DeleteAclsFilter) -> Result<AclFilter, String> {
    AclFilter::parse(WireFilter {
        resource_type: filter.resource_type_filter,
        pattern_type: filter.pattern_type_filter,
        name: &filter.resource_name_filter,
        principal: &filter.principal_filter,
        host: &filter.host_filter,
        operation: filter.operation,
        permission: filter.permission_type,
    })
}

/// A binding that several filters fit is reported for each and deleted once.
fn deleted(image: &Image, filters: &[Result<AclFilter, String>]) -> (Vec<CatalogRecord>, Vec<DeleteAclsFilterResult>) {
    let mut gone = BTreeSet::new();
    let results = filters.iter().map(|filter| match filter {
        Err(message) => failed(ResponseError::InvalidRequest, message.clone()),
        Ok(filter) => {
            let found: Vec<_> = match filter.exact() {
                Some(binding) => image.acls.get(&binding).into_iter().collect(),
                None => image.acls.iter().filter(|binding| filter.fits(binding)).collect(),
            };
            gone.extend(found.iter().copied());
            let matches = found.into_iter().map(|binding| matching(binding)).collect();
            DeleteAclsFilterResult::default().with_error_message(None).with_matching_acls(matches)
        }
    });
    let results = results.collect();
    let records = gone.into_iter().map(|binding| CatalogRecord::AclDeleted(AclBinding::clone(binding)));
    (records.collect(), results)
}

fn failed(error: ResponseError, message: String) -> DeleteAclsFilterResult {
    DeleteAclsFilterResult::default().with_error_code(error.code()).with_error_message(Some(message.into()))
}

fn matching(binding: &AclBinding) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl::default()
        .with_error_message(None)
        .with_resource_type(binding.resource_type.code())
        .with_resource_name(binding.resource_name.clone().into())
        .with_pattern_type(binding.pattern_type.code())
        .with_principal(binding.principal.clone().into())
        .with_host(binding.host.clone().into())
        .with_operation(binding.operation.code())
        .with_permission_type(binding.permission.code())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::acl::{Operation, PatternType, Permission, ResourceType};

    fn binding(name: &str, operation: Operation) -> AclBinding {
        AclBinding {
            resource_type: ResourceType::Topic,
            pattern_type: PatternType::Literal,
            resource_name: name.to_owned(),
            principal: "User:alice".to_owned(),
            host: "*".to_owned(),
            operation,
            permission: Permission::Allow,
        }
    }

    fn filter(name: &'static str) -> DeleteAclsFilter {
        DeleteAclsFilter::default()
            .with_resource_type_filter(1)
            .with_pattern_type_filter(1)
            .with_resource_name_filter(Some(name.into()))
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_operation(1)
            .with_permission_type(1)
    }

    #[test]
    fn each_filter_reports_its_matches_and_each_binding_goes_once() {
        let mut image = Image::default();
        for binding in [binding("a", Operation::Read), binding("a", Operation::Write), binding("b", Operation::Read)] {
            image.apply(&CatalogRecord::Acl(binding));
        }
        let reading = filter("a").with_operation(Operation::Read.code());
        let broken = filter("a").with_operation(0);
        let exact = reading
            .clone()
            .with_resource_type_filter(2)
            .with_pattern_type_filter(3)
            .with_principal_filter(Some("User:alice".into()))
            .with_host_filter(Some("*".into()))
            .with_permission_type(3);
        let other = exact.clone().with_host_filter(Some("10.0.0.1".into()));
        let filters =
            [filter("a"), reading, broken, filter("none"), exact, other].iter().map(parse).collect::<Vec<_>>();
        let (records, results) = deleted(&image, &filters);
        let counts: Vec<_> = results.iter().map(|result| result.matching_acls.len()).collect();
        assert_eq!(counts, [2, 1, 0, 0, 1, 0]);
        let errors: Vec<_> = results.iter().map(|result| result.error_code).collect();
        assert_eq!(errors, [0, 0, ResponseError::InvalidRequest.code(), 0, 0, 0]);
        assert_eq!(records.len(), 2);
        records.iter().for_each(|record| image.apply(record));
        assert_eq!(image.acls.iter().map(AsRef::as_ref).collect::<Vec<_>>(), [&binding("b", Operation::Read)]);
    }
}
