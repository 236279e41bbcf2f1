//! Results as those of Apache Kafka's own tests of its assignors, worked out from them case by case.

use super::*;

/// Topic by number.
fn topic(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn partitions(topics: &[(u128, &[i32])]) -> Assignment {
    topics.iter().flat_map(|(number, indexes)| indexes.iter().map(|index| (topic(*number), *index))).collect()
}

type Member<'a> = (&'a str, Option<&'a str>, &'a [u128], &'a [(u128, &'a [i32])]);

fn spec(topics: &[(u128, i32)], members: &[Member]) -> Spec {
    let member = |(id, instance, topics, owned): &Member| {
        let spec = MemberSpec {
            instance: instance.map(Arc::from),
            topics: topics.iter().map(|number| topic(*number)).collect(),
            owned: partitions(owned),
        };
        (Arc::from(*id), spec)
    };
    Spec {
        members: members.iter().map(member).collect(),
        topics: topics.iter().map(|(number, count)| (topic(*number), *count)).collect(),
    }
}

/// Member → topic (as a number) → partitions.
type Expected<'a> = &'a [(&'a str, &'a [(u128, &'a [i32])])];

#[track_caller]
fn check(assignor: Assignor, spec: &Spec, expected: Expected<'_>) {
    let expected: BTreeMap<Arc<str>, Assignment> =
        expected.iter().map(|(id, owned)| (Arc::from(*id), partitions(owned))).collect();
    assert_eq!(assignor.assign(spec), expected);
}

#[test]
fn names_are_kafkas() {
    for assignor in Assignor::ALL {
        assert_eq!(Assignor::parse(assignor.name()), Some(assignor));
    }
    assert_eq!(Assignor::parse("sticky"), None);
}

#[test]
fn nobody_gets_nothing() {
    for assignor in Assignor::ALL {
        check(assignor, &Spec::default(), &[]);
        let idle = spec(&[], &[("A", None, &[], &[])]);
        check(assignor, &idle, &[("A", &[])]);
    }
}

#[test]
fn range_gives_ranges_of_every_topic() {
    let both = spec(&[(1, 3), (3, 2)], &[("A", None, &[1, 3], &[]), ("B", None, &[1, 3], &[])]);
    check(Assignor::Range, &both, &[("A", &[(1, &[0, 1]), (3, &[0])]), ("B", &[(1, &[2]), (3, &[1])])]);
}

#[test]
fn range_with_different_subscriptions() {
    let members: &[Member] = &[("A", None, &[1, 2], &[]), ("B", None, &[3], &[]), ("C", None, &[2, 3], &[])];
    let expected: Expected<'_> =
        &[("A", &[(1, &[0, 1, 2]), (2, &[0, 1])]), ("B", &[(3, &[0])]), ("C", &[(2, &[2]), (3, &[1])])];
    check(Assignor::Range, &spec(&[(1, 3), (2, 3), (3, 2)], members), expected);
}

#[test]
fn range_with_more_members_than_partitions() {
    let members: &[Member] = &[("A", None, &[1, 3], &[]), ("B", None, &[1, 3], &[]), ("C", None, &[1, 3], &[])];
    let expected: Expected<'_> = &[("A", &[(1, &[0]), (3, &[0])]), ("B", &[(1, &[1]), (3, &[1])]), ("C", &[(1, &[2])])];
    check(Assignor::Range, &spec(&[(1, 3), (3, 2)], members), expected);
}

#[test]
fn range_puts_static_members_first_and_keeps_their_ranges() {
    let before: &[Member] = &[("A", Some("i1"), &[1], &[]), ("B", None, &[1], &[]), ("C", Some("i0"), &[1], &[])];
    check(
        Assignor::Range,
        &spec(&[(1, 5)], before),
        &[("A", &[(1, &[2, 3])]), ("B", &[(1, &[4])]), ("C", &[(1, &[0, 1])])],
    );
    let after: &[Member] = &[("Z", Some("i1"), &[1], &[]), ("B", None, &[1], &[]), ("C", Some("i0"), &[1], &[])];
    check(
        Assignor::Range,
        &spec(&[(1, 5)], after),
        &[("Z", &[(1, &[2, 3])]), ("B", &[(1, &[4])]), ("C", &[(1, &[0, 1])])],
    );
}

#[test]
fn uniform_fills_members_in_turn() {
    let both = spec(&[(1, 3), (3, 2)], &[("A", None, &[1, 3], &[]), ("B", None, &[1, 3], &[])]);
    check(Assignor::Uniform, &both, &[("A", &[(1, &[0, 1, 2])]), ("B", &[(3, &[0, 1])])]);
    let scarce = spec(&[(3, 2)], &[("A", None, &[3], &[]), ("B", None, &[3], &[]), ("C", None, &[3], &[])]);
    check(Assignor::Uniform, &scarce, &[("A", &[(3, &[0])]), ("B", &[(3, &[1])]), ("C", &[])]);
}

#[test]
fn uniform_moves_no_more_than_it_has_to() {
    // A third member comes: the others keep what their quota allows.
    let owned: &[Member] = &[
        ("A", None, &[1, 2], &[(1, &[0, 1]), (2, &[0])]),
        ("B", None, &[1, 2], &[(1, &[2]), (2, &[1, 2])]),
        ("C", None, &[1, 2], &[]),
    ];
    check(
        Assignor::Uniform,
        &spec(&[(1, 3), (2, 3)], owned),
        &[("A", &[(1, &[0, 1])]), ("B", &[(1, &[2]), (2, &[1])]), ("C", &[(2, &[0, 2])])],
    );
    // A member has gone: its partitions go to the others.
    let left: &[Member] =
        &[("A", None, &[1, 2], &[(1, &[0]), (2, &[0])]), ("B", None, &[1, 2], &[(1, &[1]), (2, &[1])])];
    check(
        Assignor::Uniform,
        &spec(&[(1, 3), (2, 3)], left),
        &[("A", &[(1, &[0, 2]), (2, &[0])]), ("B", &[(1, &[1]), (2, &[1, 2])])],
    );
}

/// Whatever the newcomer's id: a partition that is alone stays where it is.
#[test]
fn uniform_leaves_the_odd_partition_to_its_owner() {
    let alone = spec(&[(1, 1)], &[("A", None, &[1], &[]), ("B", None, &[1], &[(1, &[0])])]);
    check(Assignor::Uniform, &alone, &[("A", &[]), ("B", &[(1, &[0])])]);
    let three = spec(&[(1, 3)], &[("A", None, &[1], &[]), ("B", None, &[1], &[(1, &[0, 1, 2])])]);
    check(Assignor::Uniform, &three, &[("A", &[(1, &[2])]), ("B", &[(1, &[0, 1])])]);
}

#[test]
fn uniform_takes_back_topics_that_nobody_wants_any_more() {
    let members: &[Member] =
        &[("A", None, &[2], &[(1, &[0, 2]), (2, &[0])]), ("B", None, &[2], &[(1, &[1]), (2, &[1])])];
    let expected: Expected<'_> = &[("A", &[(2, &[0])]), ("B", &[(2, &[1])])];
    check(Assignor::Uniform, &spec(&[(2, 2)], members), expected);
}

#[test]
fn uniform_with_different_subscriptions() {
    let members: &[Member] = &[("A", None, &[1, 3], &[]), ("B", None, &[3], &[])];
    let expected: Expected<'_> = &[("A", &[(1, &[0, 1, 2]), (3, &[4])]), ("B", &[(3, &[0, 1, 2, 3, 5])])];
    check(Assignor::Uniform, &spec(&[(1, 3), (3, 6)], members), expected);
    let members: &[Member] = &[("A", None, &[3], &[]), ("B", None, &[3], &[]), ("C", None, &[1], &[])];
    let expected: Expected<'_> = &[("A", &[(3, &[0])]), ("B", &[]), ("C", &[(1, &[0, 1])])];
    check(Assignor::Uniform, &spec(&[(3, 1), (1, 2)], members), expected);
}

#[test]
fn uniform_balances_what_was_unbalanced() {
    let members: &[Member] = &[
        ("A", None, &[1], &[(1, &[0, 1, 2])]),
        ("B", None, &[1, 2], &[(1, &[3]), (2, &[0])]),
        ("C", None, &[1, 2, 3], &[(1, &[4, 5]), (2, &[1, 2, 3]), (3, &[0, 1, 2, 3])]),
    ];
    let expected: Expected<'_> = &[
        ("A", &[(1, &[0, 1, 2, 5])]),
        ("B", &[(1, &[3]), (2, &[0, 1, 2, 3])]),
        ("C", &[(1, &[4]), (3, &[0, 1, 2, 3])]),
    ];
    check(Assignor::Uniform, &spec(&[(1, 6), (2, 4), (3, 4)], members), expected);
}

/// Whatever members want and have: everything that is wanted is given once, and only to who wants it.
#[test]
fn every_assignment_is_complete() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let topics: BTreeMap<Uuid, i32> =
            (0..random.random_range(1..6)).map(|number| (topic(number), random.random_range(1..9))).collect();
        let mut free: Vec<_> = topics.iter().flat_map(|(id, count)| (0..*count).map(|index| (*id, index))).collect();
        let mut members = BTreeMap::new();
        for number in 0..random.random_range(1..7) {
            let wanted: BTreeSet<_> = topics.keys().copied().filter(|_| random.random_bool(0.7)).collect();
            let take = random.random_range(0..=free.len());
            let owned = free.split_off(free.len() - take).into_iter().collect();
            members.insert(Arc::from(format!("m{number}")), MemberSpec { instance: None, topics: wanted, owned });
        }
        let spec = Spec { members, topics };
        for assignor in Assignor::ALL {
            let assigned = assignor.assign(&spec);
            let mut given: Vec<_> = assigned.values().flat_map(Assignment::partitions).collect();
            given.sort();
            let wanted: BTreeSet<_> = spec.members.values().flat_map(|member| member.topics.iter().copied()).collect();
            let every: Vec<_> = wanted.iter().flat_map(|id| (0..spec.topics[id]).map(|index| (*id, index))).collect();
            assert_eq!(given, every, "{assignor:?}, seed {seed}");
            for (id, assignment) in &assigned {
                assert!(assignment.topics().all(|(topic, _)| spec.members[id].topics.contains(&topic)), "seed {seed}");
            }
            let sizes = assigned.values().map(Assignment::len);
            if assignor == Assignor::Uniform && spec.is_homogeneous() {
                let (least, most) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
                assert!(most - least <= 1, "seed {seed}: {least} to {most}");
            }
        }
    }
}
