//! ACLs: list by filter, create, delete by filter.

use std::fmt;
use std::str::FromStr;

use krafka::__private::protocol::ApiKey;
use serde::Serialize;

use super::acl_wire as wire;
use super::connection::{Admin, Api, Kind};
use crate::error::{Result, answer};

/// An enum of the protocol with Kafka's names, read in any case and with or without separators.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($variant:ident = $code:literal),+ $(,)? }) => {
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

            /// The protocol's number.
            fn code(self) -> i8 {
                match self { $(Self::$variant => $code),+ }
            }

            fn from_code(code: i8) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.code() == code)
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
    AclResourceType, "a resource type" {
        Topic = 2, Group = 3, Cluster = 4, TransactionalId = 5, DelegationToken = 6
    }
}
names! {
    /// How an ACL names its resources.
    AclPatternType, "a pattern type" { Literal = 3, Prefixed = 4 }
}
names! {
    /// What an ACL allows or denies.
    AclOperation, "an operation" {
        All = 2, Read = 3, Write = 4, Create = 5, Delete = 6, Alter = 7, Describe = 8, ClusterAction = 9,
        DescribeConfigs = 10, AlterConfigs = 11, IdempotentWrite = 12,
    }
}
names! {
    AclPermission, "a permission" { Deny = 2, Allow = 3 }
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

    fn to_wire(&self) -> wire::Filter {
        wire::Filter {
            resource_type: self.resource_type.map_or(wire::ANY, AclResourceType::code),
            resource_name: self.resource_name.clone(),
            pattern_type: self.pattern_type.map_or(wire::ANY, AclPatternType::code),
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation.map_or(wire::ANY, AclOperation::code),
            permission: self.permission.map_or(wire::ANY, AclPermission::code),
        }
    }
}

const DESCRIBE: Api =
    Api { key: ApiKey::DescribeAcls, name: "DescribeAcls", min: wire::VERSION, max: wire::VERSION, kind: Kind::Read };
const CREATE: Api =
    Api { key: ApiKey::CreateAcls, name: "CreateAcls", min: wire::VERSION, max: wire::VERSION, kind: Kind::Write };
const DELETE: Api =
    Api { key: ApiKey::DeleteAcls, name: "DeleteAcls", min: wire::VERSION, max: wire::VERSION, kind: Kind::Write };

impl Admin {
    /// The ACLs that match, in order. ACLs of kinds that this client does not know are left out, with a warning in the log.
    pub async fn list_acls(&self, filter: &AclFilter) -> Result<Vec<Acl>> {
        let response: wire::DescribeResponse = self.call(DESCRIBE, &wire::DescribeRequest(filter.to_wire())).await?;
        answer(response.verdict.code, response.verdict.message)?;
        let mut acls: Vec<Acl> = response.bindings.into_iter().filter_map(known).collect();
        acls.sort();
        Ok(acls)
    }

    /// Creates ACLs in one request; one result for each, in their order. An ACL that exists already is a success.
    pub async fn create_acls(&self, acls: &[Acl]) -> Result<Vec<Result<()>>> {
        let creations = acls
            .iter()
            .map(|acl| wire::Binding {
                resource_type: acl.resource_type.code(),
                resource_name: acl.resource_name.clone(),
                pattern_type: acl.pattern_type.code(),
                principal: acl.principal.clone(),
                host: acl.host.clone(),
                operation: acl.operation.code(),
                permission: acl.permission.code(),
            })
            .collect();
        let response: wire::CreateResponse = self.call(CREATE, &wire::CreateRequest(creations)).await?;
        Ok(response.0.into_iter().map(|verdict| answer(verdict.code, verdict.message)).collect())
    }

    /// Deletes what each filter matches; for each filter, in their order, the ACLs that are gone.
    pub async fn delete_acls(&self, filters: &[AclFilter]) -> Result<Vec<Result<Vec<Acl>>>> {
        let request = wire::DeleteRequest(filters.iter().map(AclFilter::to_wire).collect());
        let response: wire::DeleteResponse = self.call(DELETE, &request).await?;
        Ok(response
            .0
            .into_iter()
            .map(|(verdict, matched)| {
                answer(verdict.code, verdict.message)?;
                let mut deleted = Vec::new();
                for (verdict, binding) in matched {
                    answer(verdict.code, verdict.message)?;
                    deleted.extend(known(binding));
                }
                deleted.sort();
                Ok(deleted)
            })
            .collect())
    }
}

fn known(binding: wire::Binding) -> Option<Acl> {
    let acl = (|| {
        Some(Acl {
            resource_type: AclResourceType::from_code(binding.resource_type)?,
            pattern_type: AclPatternType::from_code(binding.pattern_type)?,
            operation: AclOperation::from_code(binding.operation)?,
            permission: AclPermission::from_code(binding.permission)?,
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
        // Topic, LITERAL (not MATCH), Read, Allow.
        assert_eq!((wire.resource_type, wire.pattern_type, wire.operation, wire.permission), (2, 3, 3, 3));
        assert!(wire.resource_name.is_some() && wire.principal.is_some() && wire.host.is_some());
        let open = AclFilter::default().to_wire();
        assert_eq!((open.resource_type, open.pattern_type, open.operation), (wire::ANY, wire::ANY, wire::ANY));
    }
}
