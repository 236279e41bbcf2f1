//! ACL bindings as the catalog stores them. The decision is made in [`crate::auth`].

use serde::{Deserialize, Serialize};

/// What an ACL protects. The numbers are Kafka's wire codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceType {
    Topic = 2,
    Group = 3,
    Cluster = 4,
    TransactionalId = 5,
    DelegationToken = 6,
    User = 7,
}

/// How an ACL names its resource. The numbers are Kafka's wire codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatternType {
    /// The name itself, or `*` for every name.
    Literal = 3,
    Prefixed = 4,
}

/// What is done. The numbers are Kafka's wire codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    All = 2,
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
    CreateTokens = 13,
    DescribeTokens = 14,
    TwoPhaseCommit = 15,
}

/// Deny wins over allow. The numbers are Kafka's wire codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    Deny = 2,
    Allow = 3,
}

/// One ACL binding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AclBinding {
    pub resource_type: ResourceType,
    pub pattern_type: PatternType,
    pub resource_name: String,
    /// `User:name`, or `User:*` for everyone.
    pub principal: String,
    /// An IP address, or `*`.
    pub host: String,
    pub operation: Operation,
    pub permission: Permission,
}

/// The name of the one resource of type [`ResourceType::Cluster`].
pub const CLUSTER_NAME: &str = "kafka-cluster";

macro_rules! wire_code {
    ($type:ty, $($variant:ident),+ $(,)?) => {
        impl $type {
            pub const VARIANTS: &'static [$type] = &[$(<$type>::$variant),+];

            /// Kafka's wire code.
            pub fn code(self) -> i8 {
                self as i8
            }

            /// `None` for an unknown code and for the codes that only filters may use (any, match).
            pub fn from_code(code: i8) -> Option<Self> {
                Self::VARIANTS.iter().copied().find(|variant| variant.code() == code)
            }
        }
    };
}

wire_code!(ResourceType, Topic, Group, Cluster, TransactionalId, DelegationToken, User);
wire_code!(PatternType, Literal, Prefixed);
wire_code!(
    Operation,
    All,
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
    CreateTokens,
    DescribeTokens,
    TwoPhaseCommit,
);
wire_code!(Permission, Deny, Allow);
