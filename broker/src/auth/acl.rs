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

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};

    use super::*;

    const PRINCIPALS: [&str; 4] = ["User:alice", "User:bob", "User:carol", EVERYONE];
    const HOSTS: [&str; 3] = ["10.0.0.1", "10.0.0.2", WILDCARD];
    const NAMES: [&str; 7] = ["a", "ab", "abc", "b", "é", "éa", WILDCARD];

    fn binding(random: &mut StdRng) -> AclBinding {
        let pattern_type = *PatternType::VARIANTS.choose(random).expect("not empty");
        let names = if pattern_type == PatternType::Literal { &NAMES[..] } else { &NAMES[..6] };
        AclBinding {
            resource_type: [ResourceType::Topic, ResourceType::Group][random.random_range(0..2)],
            pattern_type,
            resource_name: (*names.choose(random).expect("not empty")).to_owned(),
            principal: (*PRINCIPALS.choose(random).expect("not empty")).to_owned(),
            host: (*HOSTS.choose(random).expect("not empty")).to_owned(),
            operation: *Operation::VARIANTS.choose(random).expect("not empty"),
            permission: if random.random_bool(0.3) { Permission::Deny } else { Permission::Allow },
        }
    }

    /// The rules as Kafka documents them, said as slowly as possible.
    struct Model<'a> {
        acls: &'a [AclBinding],
        principal: &'a str,
        host: &'a str,
    }

    impl Model<'_> {
        fn about(&self, resource: ResourceType) -> Vec<&AclBinding> {
            let meant = |acl: &&AclBinding| {
                acl.resource_type == resource
                    && (acl.principal == self.principal || acl.principal == "User:*")
                    && (acl.host == self.host || acl.host == "*")
            };
            self.acls.iter().filter(meant).collect()
        }

        fn covers(acl: &AclBinding, name: &str) -> bool {
            match acl.pattern_type {
                PatternType::Literal => acl.resource_name == name || acl.resource_name == "*",
                PatternType::Prefixed => name.starts_with(&acl.resource_name),
            }
        }

        fn allows(&self, operation: Operation, resource: ResourceType, name: &str) -> bool {
            use Operation::*;
            let acls: Vec<_> = self.about(resource).into_iter().filter(|acl| Self::covers(acl, name)).collect();
            let enough: &[Operation] = match operation {
                Describe => &[Read, Write, Delete, Alter, Describe, All],
                DescribeConfigs => &[AlterConfigs, DescribeConfigs, All],
                operation => &[operation, All],
            };
            let denied =
                acls.iter().any(|acl| acl.permission == Permission::Deny && [operation, All].contains(&acl.operation));
            let allowed = acls.iter().any(|acl| acl.permission == Permission::Allow && enough.contains(&acl.operation));
            allowed && !denied
        }

        fn allows_any(&self, operation: Operation, resource: ResourceType) -> bool {
            let acls = self.about(resource);
            let acls: Vec<_> =
                acls.into_iter().filter(|acl| [operation, Operation::All].contains(&acl.operation)).collect();
            let denied: Vec<_> = acls.iter().filter(|acl| acl.permission == Permission::Deny).collect();
            let everything = |acl: &AclBinding| acl.pattern_type == PatternType::Literal && acl.resource_name == "*";
            let dominated = |allow: &AclBinding| {
                denied.iter().any(|deny| match (deny.pattern_type, allow.pattern_type) {
                    _ if everything(deny) => true,
                    (PatternType::Prefixed, _) if everything(allow) => false,
                    (PatternType::Prefixed, _) => allow.resource_name.starts_with(&deny.resource_name),
                    (PatternType::Literal, PatternType::Literal) => allow.resource_name == deny.resource_name,
                    (PatternType::Literal, PatternType::Prefixed) => false,
                })
            };
            acls.iter().any(|acl| acl.permission == Permission::Allow && !dominated(acl))
        }
    }

    #[test]
    fn decisions_agree_with_the_rules_spelled_out() {
        let mut allowed = 0;
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let count = random.random_range(0..25);
            let acls: Vec<_> = (0..count).map(|_| binding(&mut random)).collect();
            let index = AclIndex::new(&acls);
            for principal in ["User:alice", "User:bob", "User:dave"] {
                for host in ["10.0.0.1", "10.0.0.3"] {
                    let model = Model { acls: &acls, principal, host };
                    let address: IpAddr = host.parse().expect("an address");
                    for operation in Operation::VARIANTS.iter().copied() {
                        for resource in [ResourceType::Topic, ResourceType::Group] {
                            let any = index.allows_any(principal, address, operation, resource);
                            assert_eq!(any, model.allows_any(operation, resource), "seed {seed}: any {operation:?}");
                            for name in ["a", "ab", "abcd", "b", "éab", "zz"] {
                                let decided = index.allows(principal, address, operation, resource, name);
                                let expected = model.allows(operation, resource, name);
                                assert_eq!(
                                    decided, expected,
                                    "seed {seed}: {principal} {operation:?} {name}: {acls:#?}"
                                );
                                allowed += usize::from(decided);
                            }
                        }
                    }
                }
            }
        }
        assert!(allowed > 3_000, "the comparison must see both answers, and allowed only {allowed} times");
    }

    fn acl(principal: &str, host: &str, operation: Operation, permission: Permission) -> AclBinding {
        AclBinding {
            resource_type: ResourceType::Topic,
            pattern_type: PatternType::Literal,
            resource_name: "orders".to_owned(),
            principal: principal.to_owned(),
            host: host.to_owned(),
            operation,
            permission,
        }
    }

    #[test]
    fn without_an_acl_nothing_is_allowed() {
        let index = AclIndex::default();
        let host = IpAddr::from([10, 0, 0, 1]);
        for operation in Operation::VARIANTS.iter().copied() {
            assert!(!index.allows("User:alice", host, operation, ResourceType::Topic, "orders"));
            assert!(!index.allows_any("User:alice", host, operation, ResourceType::Topic));
        }
    }

    #[test]
    fn a_client_on_a_mapped_ipv6_address_is_the_ipv4_host() {
        let index = AclIndex::new(&[acl("User:alice", "10.0.0.1", Operation::Read, Permission::Allow)]);
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("an address");
        assert!(index.allows("User:alice", mapped, Operation::Read, ResourceType::Topic, "orders"));
    }

    #[test]
    fn denying_describe_hides_what_reading_would_show() {
        let acls = [
            acl("User:alice", "*", Operation::Read, Permission::Allow),
            acl("User:*", "*", Operation::Describe, Permission::Deny),
        ];
        let index = AclIndex::new(&acls);
        let host = IpAddr::from([10, 0, 0, 1]);
        assert!(index.allows("User:alice", host, Operation::Read, ResourceType::Topic, "orders"));
        assert!(!index.allows("User:alice", host, Operation::Describe, ResourceType::Topic, "orders"));
    }

    #[test]
    fn a_user_named_star_is_not_everyone() {
        let index = AclIndex::new(&[acl("User:alice", "*", Operation::Read, Permission::Allow)]);
        let host = IpAddr::from([10, 0, 0, 1]);
        assert!(!index.allows("User:*", host, Operation::Read, ResourceType::Topic, "orders"));
    }
}
