//! ACLs: list by filter, create, delete by filter.

use std::fmt;
use std::str::FromStr;

use krafka::__private::protocol::{self as wire, ApiKey, versions};
use serde::Serialize;

use super::connection::{Admin, Api, Kind};
use crate::error::{Result, answer};

/// An enum of the protocol with Kafka's names, read in any case and with or without separators.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident = $wire:ty, $what:literal { $($variant:ident),+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum $name { $($variant),+ }

        impl $name {
            /// Every value, in the protocol's order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Kafka's name, such as `DescribeConfigs`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            fn to_wire(self) -> $wire {
                match self { $(Self::$variant => <$wire>::$variant),+ }
            }

            fn from_wire(wire: $wire) -> Option<Self> {
                match wire { $(<$wire>::$variant => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let plain: String = text.chars().filter(|letter| !matches!(letter, '_' | '-' | ' ')).collect();
                Self::ALL.iter().copied().find(|value| value.name().eq_ignore_ascii_case(&plain)).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|value| value.name()).collect();
                    format!("{text:?} is not {}; it is one of {}", $what, known.join(", "))
                })
            }
        }
    };
}

names! {
    /// What an ACL is about.
    AclResourceType = wire::AclResourceType, "a resource type" {
        Topic, Group, Cluster, TransactionalId, DelegationToken
    }
}
names! {
    /// How an ACL names its resources.
    AclPatternType = wire::AclPatternType, "a pattern type" { Literal, Prefixed }
}
names! {
    /// What an ACL allows or denies.
    AclOperation = wire::AclOperation, "an operation" {
        All, Read, Write, Create, Delete, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite
    }
}
names! {
    AclPermission = wire::AclPermissionType, "a permission" { Deny, Allow }
}

/// One ACL: one operation of one principal from one host on one resource pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Acl {
    pub resource_type: AclResourceType,
    pub resource_name: String,
    pub pattern_type: AclPatternType,
    /// Such as `User:alice`.
    pub principal: String,
    /// An address, or `*`.
    pub host: String,
    pub operation: AclOperation,
    pub permission: AclPermission,
}

/// Which ACLs to list or delete; what is not set matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclFilter {
    pub resource_type: Option<AclResourceType>,
    pub resource_name: Option<String>,
    pub pattern_type: Option<AclPatternType>,
    pub principal: Option<String>,
    pub host: Option<String>,
    pub operation: Option<AclOperation>,
    pub permission: Option<AclPermission>,
}

impl AclFilter {
    /// Matches this ACL and no other.
    pub fn exactly(acl: &Acl) -> Self {
        Self {
            resource_type: Some(acl.resource_type),
            resource_name: Some(acl.resource_name.clone()),
            pattern_type: Some(acl.pattern_type),
            principal: Some(acl.principal.clone()),
            host: Some(acl.host.clone()),
            operation: Some(acl.operation),
            permission: Some(acl.permission),
        }
    }

    fn to_wire(&self) -> wire::AclBindingFilter {
        wire::AclBindingFilter {
            resource_type: self.resource_type.map(AclResourceType::to_wire).unwrap_or_default(),
            resource_name: self.resource_name.clone(),
            pattern_type: self.pattern_type.map(AclPatternType::to_wire).unwrap_or_default(),
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation.map(AclOperation::to_wire).unwrap_or_default(),
            permission_type: self.permission.map(AclPermission::to_wire).unwrap_or_default(),
        }
    }
}

const DESCRIBE: Api = Api {
    key: ApiKey::DescribeAcls,
    name: "DescribeAcls",
    min: versions::DESCRIBE_ACLS_MIN,
    max: versions::DESCRIBE_ACLS_MAX,
    kind: Kind::Read,
};
const CREATE: Api = Api {
    key: ApiKey::CreateAcls,
    name: "CreateAcls",
    min: versions::CREATE_ACLS_MIN,
    max: versions::CREATE_ACLS_MAX,
    kind: Kind::Write,
};
const DELETE: Api = Api {
    key: ApiKey::DeleteAcls,
    name: "DeleteAcls",
    min: versions::DELETE_ACLS_MIN,
    max: versions::DELETE_ACLS_MAX,
    kind: Kind::Write,
};

impl Admin {
    /// The ACLs that match, in order. ACLs of kinds that this client does not know are left out, with a warning in the log.
    pub async fn list_acls(&self, filter: &AclFilter) -> Result<Vec<Acl>> {
        let filter = filter.to_wire();
        let request = wire::DescribeAclsRequest {
            resource_type: filter.resource_type,
            resource_name: filter.resource_name,
            pattern_type: filter.pattern_type,
            principal: filter.principal,
            host: filter.host,
            operation: filter.operation,
            permission_type: filter.permission_type,
        };
        let response: wire::DescribeAclsResponse = self.call(DESCRIBE, &request).await?;
        answer(response.error_code, response.error_message)?;
        let mut acls = Vec::new();
        for resource in response.resources {
            for acl in resource.acls {
                acls.extend(known(wire::AclBinding {
                    resource_type: resource.resource_type,
                    resource_name: resource.resource_name.clone(),
                    pattern_type: resource.pattern_type,
                    principal: acl.principal,
                    host: acl.host,
                    operation: acl.operation,
                    permission_type: acl.permission_type,
                }));
            }
        }
        acls.sort();
        Ok(acls)
    }

    /// Creates ACLs in one request; one result for each, in their order. An ACL that exists already is a success.
    pub async fn create_acls(&self, acls: &[Acl]) -> Result<Vec<Result<()>>> {
        let creations = acls
            .iter()
            .map(|acl| wire::AclBinding {
                resource_type: acl.resource_type.to_wire(),
                resource_name: acl.resource_name.clone(),
                pattern_type: acl.pattern_type.to_wire(),
                principal: acl.principal.clone(),
                host: acl.host.clone(),
                operation: acl.operation.to_wire(),
                permission_type: acl.permission.to_wire(),
            })
            .collect();
        let response: wire::CreateAclsResponse = self.call(CREATE, &wire::CreateAclsRequest { creations }).await?;
        Ok(response.results.into_iter().map(|result| answer(result.error_code, result.error_message)).collect())
    }

    /// Deletes what each filter matches; for each filter, in their order, the ACLs that are gone.
    pub async fn delete_acls(&self, filters: &[AclFilter]) -> Result<Vec<Result<Vec<Acl>>>> {
        let request = wire::DeleteAclsRequest { filters: filters.iter().map(AclFilter::to_wire).collect() };
        let response: wire::DeleteAclsResponse = self.call(DELETE, &request).await?;
        Ok(response
            .filter_results
            .into_iter()
            .map(|result| {
                answer(result.error_code, result.error_message)?;
                let mut deleted = Vec::new();
                for acl in result.matching_acls {
                    answer(acl.error_code, acl.error_message)?;
                    deleted.extend(known(wire::AclBinding {
                        resource_type: acl.resource_type,
                        resource_name: acl.resource_name,
                        pattern_type: acl.pattern_type,
                        principal: acl.principal,
                        host: acl.host,
                        operation: acl.operation,
                        permission_type: acl.permission_type,
                    }));
                }
                deleted.sort();
                Ok(deleted)
            })
            .collect())
    }
}

fn known(binding: wire::AclBinding) -> Option<Acl> {
    let acl = (|| {
        Some(Acl {
            resource_type: AclResourceType::from_wire(binding.resource_type)?,
            pattern_type: AclPatternType::from_wire(binding.pattern_type)?,
            operation: AclOperation::from_wire(binding.operation)?,
            permission: AclPermission::from_wire(binding.permission_type)?,
            resource_name: binding.resource_name.clone(),
            principal: binding.principal.clone(),
            host: binding.host.clone(),
        })
    })();
    if acl.is_none() {
        tracing::warn!(
            principal = binding.principal,
            resource = binding.resource_name,
            "ACL of an unknown kind left out"
        );
    }
    acl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_usual_spelling() {
        for text in ["DescribeConfigs", "DESCRIBE_CONFIGS", "describe-configs"] {
            assert_eq!(text.parse(), Ok(AclOperation::DescribeConfigs));
        }
        let error = "Reed".parse::<AclOperation>().expect_err("unknown");
        assert!(error.contains("\"Reed\"") && error.contains("IdempotentWrite"), "{error}");
    }

    #[test]
    fn an_exact_filter_leaves_nothing_open() {
        let acl = Acl {
            resource_type: AclResourceType::Topic,
            resource_name: "orders".into(),
            pattern_type: AclPatternType::Literal,
            principal: "User:alice".into(),
            host: "*".into(),
            operation: AclOperation::Read,
            permission: AclPermission::Allow,
        };
        let wire = AclFilter::exactly(&acl).to_wire();
        assert_ne!(wire.resource_type, wire::AclResourceType::Any);
        assert_ne!(wire.pattern_type, wire::AclPatternType::Any);
        assert_ne!(wire.operation, wire::AclOperation::Any);
        assert_ne!(wire.permission_type, wire::AclPermissionType::Any);
        assert!(wire.resource_name.is_some() && wire.principal.is_some() && wire.host.is_some());
        let open = AclFilter::default().to_wire();
        assert_eq!(open.operation, wire::AclOperation::Any);
    }
}
