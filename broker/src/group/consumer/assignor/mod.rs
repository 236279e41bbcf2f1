//! How partitions are shared out among the members of a consumer group: Apache Kafka's server-side assignors.

mod range;
#[cfg(test)]
mod tests;
mod uniform;
mod uniform_mixed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::assignment::Assignment;

/// A server-side assignor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Balanced over all topics, and sticky.
    Uniform,
    /// Every topic in ranges, so that topics with as many partitions are co-partitioned.
    Range,
}

impl Assignor {
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// By name, or by the name of Kafka's Java class, which `group.consumer.assignors` may hold too.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "uniform" | "org.apache.kafka.coordinator.group.assignor.UniformAssignor" => Some(Self::Uniform),
            "range" | "org.apache.kafka.coordinator.group.assignor.RangeAssignor" => Some(Self::Range),
            _ => None,
        }
    }

    /// Shares out anew. Every member of the spec gets an entry.
    pub(super) fn assign(self, spec: &Spec) -> BTreeMap<Arc<str>, Assignment> {
        match self {
            Assignor::Range => range::assign(spec),
            Assignor::Uniform if spec.is_homogeneous() => uniform::assign(spec),
            Assignor::Uniform => uniform_mixed::assign(spec),
        }
    }
}

/// What an assignor has to know.
#[derive(Debug, Default)]
pub(super) struct Spec {
    pub(super) members: BTreeMap<Arc<str>, MemberSpec>,
    /// Partitions of every topic that somebody subscribes to.
    pub(super) topics: BTreeMap<Uuid, i32>,
}

#[derive(Debug, Default)]
pub(super) struct MemberSpec {
    pub(super) instance: Option<Arc<str>>,
    /// Existing topics only.
    pub(super) topics: BTreeSet<Uuid>,
    /// The target assignment so far.
    pub(super) owned: Assignment,
}

impl Spec {
    /// Whether everybody subscribes to the same topics.
    fn is_homogeneous(&self) -> bool {
        let mut members = self.members.values();
        let first = members.next();
        first.is_none_or(|first| members.all(|member| member.topics == first.topics))
    }

    fn partitions(&self, topic: Uuid) -> i32 {
        self.topics.get(&topic).copied().unwrap_or(0)
    }
}
