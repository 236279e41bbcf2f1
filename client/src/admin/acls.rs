//! ACLs: list by filter, create, delete by filter.

use std::fmt;
use std::str::FromStr;

use krafka::__private::protocol::ApiKey;
use serde::Serialize;

use super::acl_messages::{
    CreateAcls, CreateAclsResponse, DeleteAcls, DeleteAclsResponse, DescribeAcls, DescribeAclsResponse, RawAcl,
    RawFilter,
};
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
        Topic = 2, Group = 3, Cluster = 4, TransactionalId = 5, DelegationToken = 6, User = 7
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
        DescribeConfigs = 10, AlterConfigs = 11, IdempotentWrite = 12, CreateTokens = 13, DescribeTokens = 14
    }
}
names! {
    AclPermission, "a permission" { Deny = 2, Allow = 3 }
}

/// In a filter: any value.
const ANY: i8 = 1;

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

/// An ACL of a kind that this client does not know, as of an operation that a newer Kafka has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnknownAcl {
    principal: String,
    host: String,
    resource_name: String,
    /// Of resource type, pattern type, operation and permission.
    codes: [i8; 4],
}

impl fmt::Display for UnknownAcl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { principal, host, resource_name, codes: [resource_type, pattern_type, operation, permission] } = self;
        write!(
            f,
            "{principal:?} from {host:?} on {resource_name:?} (codes of the protocol: resource type {resource_type}, \
             pattern type {pattern_type}, operation {operation}, permission {permission})"
        )
    }
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

    fn raw(&self) -> RawFilter {
        RawFilter {
            resource_type: self.resource_type.map_or(ANY, AclResourceType::code),
            resource_name: self.resource_name.clone(),
            pattern_type: self.pattern_type.map_or(ANY, AclPatternType::code),
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation.map_or(ANY, AclOperation::code),
            permission: self.permission.map_or(ANY, AclPermission::code),
        }
    }
}

impl Acl {
    fn raw(&self) -> RawAcl {
        RawAcl {
            resource_type: self.resource_type.code(),
            resource_name: self.resource_name.clone(),
            pattern_type: self.pattern_type.code(),
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation.code(),
            permission: self.permission.code(),
        }
    }
}

const DESCRIBE: Api = Api { key: ApiKey::DescribeAcls, name: "DescribeAcls", min: 2, max: 3, kind: Kind::Read };
const CREATE: Api = Api { key: ApiKey::CreateAcls, name: "CreateAcls", min: 2, max: 3, kind: Kind::Write };
const DELETE: Api = Api { key: ApiKey::DeleteAcls, name: "DeleteAcls", min: 2, max: 3, kind: Kind::Write };

impl Admin {
    /// The ACLs that match, in order. ACLs of kinds that this client does not know are left out, with a warning in the log.
    pub async fn list_acls(&self, filter: &AclFilter) -> Result<Vec<Acl>> {
        let (acls, unknown) = self.list_acls_of_all_kinds(filter).await?;
        unknown.iter().for_each(warn);
        Ok(acls)
    }

    /// The same, and beside them those of kinds that this client does not know.
    pub async fn list_acls_of_all_kinds(&self, filter: &AclFilter) -> Result<(Vec<Acl>, Vec<UnknownAcl>)> {
        let response: DescribeAclsResponse = self.call(DESCRIBE, &DescribeAcls { filter: filter.raw() }).await?;
        answer(response.error_code, response.error_message)?;
        let (mut acls, mut unknown) = (Vec::new(), Vec::new());
        for raw in response.acls {
            match known(raw) {
                Ok(acl) => acls.push(acl),
                Err(acl) => unknown.push(acl),
            }
        }
        acls.sort();
        unknown.sort();
        Ok((acls, unknown))
    }

    /// Creates ACLs in one request; one result for each, in their order. An ACL that exists already is a success.
    pub async fn create_acls(&self, acls: &[Acl]) -> Result<Vec<Result<()>>> {
        let request = CreateAcls { acls: acls.iter().map(Acl::raw).collect() };
        let response: CreateAclsResponse = self.call(CREATE, &request).await?;
        Ok(response.results.into_iter().map(|(code, message)| answer(code, message)).collect())
    }

    /// Deletes what each filter matches; for each filter, in their order, the ACLs that are gone.
    pub async fn delete_acls(&self, filters: &[AclFilter]) -> Result<Vec<Result<Vec<Acl>>>> {
        let request = DeleteAcls { filters: filters.iter().map(AclFilter::raw).collect() };
        let response: DeleteAclsResponse = self.call(DELETE, &request).await?;
        Ok(response
            .filters
            .into_iter()
            .map(|filter| {
                answer(filter.error_code, filter.error_message)?;
                let mut deleted = Vec::new();
                for (code, message, acl) in filter.matching {
                    answer(code, message)?;
                    deleted.extend(known(acl).inspect_err(warn));
                }
                deleted.sort();
                Ok(deleted)
            })
            .collect())
    }
}

fn known(raw: RawAcl) -> Result<Acl, UnknownAcl> {
    let kinds = AclResourceType::from_code(raw.resource_type)
        .zip(AclPatternType::from_code(raw.pattern_type))
        .zip(AclOperation::from_code(raw.operation).zip(AclPermission::from_code(raw.permission)));
    let RawAcl { resource_name, principal, host, .. } = raw;
    let Some(((resource_type, pattern_type), (operation, permission))) = kinds else {
        let codes = [raw.resource_type, raw.pattern_type, raw.operation, raw.permission];
        return Err(UnknownAcl { principal, host, resource_name, codes });
    };
    Ok(Acl { resource_type, resource_name, pattern_type, principal, host, operation, permission })
}

fn warn(acl: &UnknownAcl) {
    tracing::warn!(%acl, "ACL of an unknown kind left out");
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
        let raw = AclFilter::exactly(&acl).raw();
        assert_eq!((raw.resource_type, raw.pattern_type, raw.operation, raw.permission), (2, 3, 3, 3));
        assert!(raw.resource_name.is_some() && raw.principal.is_some() && raw.host.is_some());
        let open = AclFilter::default().raw();
        assert_eq!((open.resource_type, open.pattern_type, open.operation, open.permission), (ANY, ANY, ANY, ANY));
    }
}
