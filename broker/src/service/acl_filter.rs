//! Which ACLs a DescribeAcls or DeleteAcls request means: Kafka's AclBindingFilter.

use kafka_protocol::protocol::StrBytes;

use crate::auth::acl::WILDCARD;
use crate::catalog::acl::{AclBinding, Operation, PatternType, Permission, ResourceType};

/// Wire code of "any", for every enum of a filter.
const ANY: i8 = 1;
/// Wire code of the pattern type that means: every pattern which covers the name.
const MATCH: i8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PatternFilter {
    Any,
    Match,
    Only(PatternType),
}

/// A filter; `None` fits everything.
#[derive(Clone, Debug)]
pub(super) struct AclFilter {
    resource_type: Option<ResourceType>,
    pattern: PatternFilter,
    name: Option<StrBytes>,
    principal: Option<StrBytes>,
    host: Option<StrBytes>,
    operation: Option<Operation>,
    permission: Option<Permission>,
}

/// A filter as it is on the wire.
pub(super) struct WireFilter<'a> {
    pub(super) resource_type: i8,
    pub(super) pattern_type: i8,
    pub(super) name: &'a Option<StrBytes>,
    pub(super) principal: &'a Option<StrBytes>,
    pub(super) host: &'a Option<StrBytes>,
    pub(super) operation: i8,
    pub(super) permission: i8,
}

fn any_or<T>(code: i8, from_code: fn(i8) -> Option<T>, what: &str) -> Result<Option<T>, String> {
    match code {
        ANY => Ok(None),
        code => from_code(code).map(Some).ok_or_else(|| format!("Unknown {what} {code} in the ACL filter.")),
    }
}

impl AclFilter {
    pub(super) fn parse(wire: WireFilter<'_>) -> Result<Self, String> {
        let pattern = match wire.pattern_type {
            MATCH => PatternFilter::Match,
            code => {
                any_or(code, PatternType::from_code, "pattern type")?.map_or(PatternFilter::Any, PatternFilter::Only)
            }
        };
        Ok(Self {
            resource_type: any_or(wire.resource_type, ResourceType::from_code, "resource type")?,
            pattern,
            name: wire.name.clone(),
            principal: wire.principal.clone(),
            host: wire.host.clone(),
            operation: any_or(wire.operation, Operation::from_code, "operation")?,
            permission: any_or(wire.permission, Permission::from_code, "permission type")?,
        })
    }

    pub(super) fn fits(&self, binding: &AclBinding) -> bool {
        let is = |wanted: &Option<StrBytes>, found: &str| wanted.as_ref().is_none_or(|wanted| &**wanted == found);
        self.resource_type.is_none_or(|wanted| wanted == binding.resource_type)
            && self.fits_pattern(binding)
            && is(&self.principal, &binding.principal)
            && is(&self.host, &binding.host)
            && self.operation.is_none_or(|wanted| wanted == binding.operation)
            && self.permission.is_none_or(|wanted| wanted == binding.permission)
    }

    fn fits_pattern(&self, binding: &AclBinding) -> bool {
        let found = binding.resource_name.as_str();
        match (self.pattern, self.name.as_deref(), binding.pattern_type) {
            (PatternFilter::Only(wanted), _, pattern) if wanted != pattern => false,
            (_, None, _) => true,
            (PatternFilter::Match, Some(name), PatternType::Literal) => name == found || found == WILDCARD,
            (PatternFilter::Match, Some(name), PatternType::Prefixed) => name.starts_with(found),
            (_, Some(name), _) => name == found,
        }
    }
}
