//! The decision: an index of the catalog's ACLs, and what Kafka's rules make of it.
//!
//! Every ACL of one resource pattern and one principal becomes two bit masks per host, what is denied and what is
//! allowed, so that a decision is a handful of look-ups and no allocation. The index is built once per set of ACLs.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::catalog::acl::{AclBinding, Operation, PatternType, Permission, ResourceType};

/// Resource name and host that stand for all of them.
pub const WILDCARD: &str = "*";
/// Principal of an ACL that is meant for everyone.
pub const EVERYONE: &str = "User:*";

/// Operations as bits, by wire code.
#[derive(Clone, Copy, Debug, Default)]
struct Grants {
    allowed: u32,
    denied: u32,
}

const fn bit(operation: Operation) -> u32 {
    1 << operation as u32
}

/// The operations of which one in an allow entry suffices. Kafka: reading, writing, deleting and altering imply
/// describing; altering configs implies describing them.
const fn satisfied_by(operation: Operation) -> u32 {
    let implied = match operation {
        Operation::Describe => {
            bit(Operation::Read) | bit(Operation::Write) | bit(Operation::Delete) | bit(Operation::Alter)
        }
        Operation::DescribeConfigs => bit(Operation::AlterConfigs),
        _ => 0,
    };
    implied | bit(operation) | bit(Operation::All)
}

impl Grants {
    fn add(&mut self, operation: Operation, permission: Permission) {
        match permission {
            Permission::Allow => self.allowed |= bit(operation),
            Permission::Deny => self.denied |= bit(operation),
        }
    }

    fn merge(&mut self, other: Grants) {
        self.allowed |= other.allowed;
        self.denied |= other.denied;
    }

    fn denies(self, operation: Operation) -> bool {
        self.denied & (bit(operation) | bit(Operation::All)) != 0
    }

    fn decide(self, operation: Operation) -> bool {
        !self.denies(operation) && self.allowed & satisfied_by(operation) != 0
    }
}

/// What one principal was granted or denied on one pattern.
#[derive(Debug, Default)]
struct Hosts {
    any: Grants,
    one: Vec<(IpAddr, Grants)>,
}

impl Hosts {
    fn add(&mut self, host: Option<IpAddr>, operation: Operation, permission: Permission) {
        let Some(host) = host else { return self.any.add(operation, permission) };
        match self.one.iter_mut().find(|(known, _)| *known == host) {
            Some((_, grants)) => grants.add(operation, permission),
            None => {
                let mut grants = Grants::default();
                grants.add(operation, permission);
                self.one.push((host, grants));
            }
        }
    }

    fn at(&self, host: IpAddr) -> Grants {
        let mut grants = self.any;
        self.one.iter().filter(|(known, _)| *known == host).for_each(|(_, more)| grants.merge(*more));
        grants
    }
}

/// The ACLs of one resource pattern.
#[derive(Debug, Default)]
struct Pattern {
    everyone: Hosts,
    principals: HashMap<Box<str>, Hosts>,
}

impl Pattern {
    fn of(&self, principal: &str, host: IpAddr) -> Grants {
        let mut grants = self.everyone.at(host);
        if let Some(hosts) = self.principals.get(principal) {
            grants.merge(hosts.at(host));
        }
        grants
    }
}

#[derive(Debug, Default)]
struct Resources {
    wildcard: Pattern,
    literal: HashMap<Box<str>, Pattern>,
    prefixed: HashMap<Box<str>, Pattern>,
    /// The different lengths of the prefixes, ascending: one look-up each.
    prefix_lengths: BTreeSet<usize>,
}

impl Resources {
    fn pattern(&mut self, pattern_type: PatternType, name: &str) -> &mut Pattern {
        match pattern_type {
            PatternType::Literal if name == WILDCARD => &mut self.wildcard,
            PatternType::Literal => self.literal.entry(name.into()).or_default(),
            PatternType::Prefixed => {
                self.prefix_lengths.insert(name.len());
                self.prefixed.entry(name.into()).or_default()
            }
        }
    }

    /// Every prefixed pattern that covers the name.
    fn prefixes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Pattern> {
        let lengths = self.prefix_lengths.iter().take_while(|length| **length <= name.len());
        lengths.filter_map(|length| self.prefixed.get(name.get(..*length)?))
    }

    fn of(&self, principal: &str, host: IpAddr, name: &str) -> Grants {
        let mut grants = self.wildcard.of(principal, host);
        if let Some(pattern) = self.literal.get(name) {
            grants.merge(pattern.of(principal, host));
        }
        self.prefixes(name).for_each(|pattern| grants.merge(pattern.of(principal, host)));
        grants
    }
}

/// All ACLs, arranged for decisions.
#[derive(Debug, Default)]
pub struct AclIndex {
    types: [Resources; ResourceType::VARIANTS.len()],
}

fn slot(resource: ResourceType) -> usize {
    resource as usize - ResourceType::VARIANTS[0] as usize
}

impl AclIndex {
    pub fn new<'a>(bindings: impl IntoIterator<Item = &'a AclBinding>) -> Self {
        let mut index = Self::default();
        for binding in bindings {
            index.add(binding);
        }
        index
    }

    fn add(&mut self, binding: &AclBinding) {
        let host = match binding.host.as_str() {
            WILDCARD => None,
            host => match host.parse::<IpAddr>() {
                Ok(host) => Some(host.to_canonical()),
                // A host that is no address matches nobody; such an ACL cannot be created.
                Err(_) => return,
            },
        };
        let pattern =
            self.types[slot(binding.resource_type)].pattern(binding.pattern_type, binding.resource_name.as_str());
        let hosts = match binding.principal.as_str() {
            EVERYONE => &mut pattern.everyone,
            principal => pattern.principals.entry(principal.into()).or_default(),
        };
        hosts.add(host, binding.operation, binding.permission);
    }

    /// Whether the ACLs let `principal` (with its type, `User:name`) do this from `host`. Without one, they do not.
    pub fn allows(
        &self,
        principal: &str,
        host: IpAddr,
        operation: Operation,
        resource: ResourceType,
        name: &str,
    ) -> bool {
        self.types[slot(resource)].of(principal, host.to_canonical(), name).decide(operation)
    }

    /// Whether some resource of the type may exist on which this is allowed (Kafka's authorizeByResourceType): an
    /// allow entry that no deny entry covers completely. Implied operations do not count here, as in Kafka.
    pub fn allows_any(&self, principal: &str, host: IpAddr, operation: Operation, resource: ResourceType) -> bool {
        let host = host.to_canonical();
        let resources = &self.types[slot(resource)];
        let wanted = bit(operation) | bit(Operation::All);
        let allows = |pattern: &Pattern| pattern.of(principal, host).allowed & wanted != 0;
        let denies = |pattern: &Pattern| pattern.of(principal, host).denies(operation);
        if denies(&resources.wildcard) {
            return false;
        }
        if allows(&resources.wildcard) {
            return true;
        }
        let covered = |name: &str| resources.prefixes(name).any(denies);
        resources.literal.iter().any(|(name, pattern)| allows(pattern) && !denies(pattern) && !covered(name))
            || resources.prefixed.iter().any(|(name, pattern)| allows(pattern) && !covered(name))
    }
}
