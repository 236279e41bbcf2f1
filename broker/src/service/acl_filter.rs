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

    /// The one binding that fits, when nothing is left open.
    pub(super) fn exact(&self) -> Option<AclBinding> {
        let PatternFilter::Only(pattern_type) = self.pattern else { return None };
        Some(AclBinding {
            resource_type: self.resource_type?,
            pattern_type,
            resource_name: self.name.as_ref()?.to_string(),
            principal: self.principal.as_ref()?.to_string(),
            host: self.host.as_ref()?.to_string(),
            operation: self.operation?,
            permission: self.permission?,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(pattern_type: PatternType, name: &str) -> AclBinding {
        AclBinding {
            resource_type: ResourceType::Topic,
            pattern_type,
            resource_name: name.to_owned(),
            principal: "User:alice".to_owned(),
            host: "*".to_owned(),
            operation: Operation::Read,
            permission: Permission::Allow,
        }
    }

    const ANYTHING: WireFilter<'_> = WireFilter {
        resource_type: ANY,
        pattern_type: ANY,
        name: &None,
        principal: &None,
        host: &None,
        operation: ANY,
        permission: ANY,
    };

    fn fits(wire: WireFilter<'_>, binding: &AclBinding) -> bool {
        AclFilter::parse(wire).expect("a valid filter").fits(binding)
    }

    /// The table of Kafka's ResourcePatternFilter.
    #[test]
    fn patterns() {
        let cases = [
            // filter, name, binding's pattern, its name, fits
            (ANY, None, PatternType::Literal, "orders", true),
            (ANY, Some("orders"), PatternType::Literal, "orders", true),
            (ANY, Some("orders"), PatternType::Prefixed, "orders", true),
            (ANY, Some("orders"), PatternType::Literal, "*", false),
            (ANY, Some("orders-eu"), PatternType::Prefixed, "orders", false),
            (MATCH, Some("orders"), PatternType::Literal, "orders", true),
            (MATCH, Some("orders"), PatternType::Literal, "*", true),
            (MATCH, Some("orders-eu"), PatternType::Prefixed, "orders", true),
            (MATCH, Some("order"), PatternType::Prefixed, "orders", false),
            (MATCH, Some("orders-eu"), PatternType::Literal, "orders", false),
            (MATCH, None, PatternType::Prefixed, "x", true),
            (3, Some("orders"), PatternType::Literal, "orders", true),
            (3, Some("orders"), PatternType::Prefixed, "orders", false),
            (3, Some("orders"), PatternType::Literal, "*", false),
            (3, None, PatternType::Prefixed, "orders", false),
            (4, Some("orders"), PatternType::Prefixed, "orders", true),
            (4, Some("orders-eu"), PatternType::Prefixed, "orders", false),
        ];
        for (pattern_type, name, pattern, found, expected) in cases {
            let wanted = name.map(StrBytes::from_static_str);
            let wire = WireFilter { pattern_type, name: &wanted, ..ANYTHING };
            assert_eq!(fits(wire, &binding(pattern, found)), expected, "{pattern_type} {name:?} {pattern:?} {found}");
        }
    }

    #[test]
    fn every_other_part_narrows() {
        let orders = binding(PatternType::Literal, "orders");
        let text = |value: &'static str| Some(StrBytes::from_static_str(value));
        assert!(fits(ANYTHING, &orders));
        assert!(fits(WireFilter { principal: &text("User:alice"), ..ANYTHING }, &orders));
        assert!(!fits(WireFilter { principal: &text("User:*"), ..ANYTHING }, &orders));
        assert!(fits(WireFilter { host: &text("*"), ..ANYTHING }, &orders));
        assert!(!fits(WireFilter { host: &text("10.0.0.1"), ..ANYTHING }, &orders));
        assert!(!fits(WireFilter { resource_type: ResourceType::Group.code(), ..ANYTHING }, &orders));
        assert!(!fits(WireFilter { operation: Operation::All.code(), ..ANYTHING }, &orders));
        assert!(!fits(WireFilter { permission: Permission::Deny.code(), ..ANYTHING }, &orders));
    }

    #[test]
    fn unknown_codes_are_refused() {
        assert!(AclFilter::parse(WireFilter { resource_type: 0, ..ANYTHING }).is_err());
        assert!(AclFilter::parse(WireFilter { pattern_type: 5, ..ANYTHING }).is_err());
        assert!(AclFilter::parse(WireFilter { operation: -1, ..ANYTHING }).is_err());
        assert!(AclFilter::parse(WireFilter { permission: 2 + 9, ..ANYTHING }).is_err());
    }
}
