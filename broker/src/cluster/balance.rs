//! Which broker gets a shard. Pure choices: as even as can be over brokers, then over zones, with as few moves as
//! possible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::message::{BrokerId, Incarnation, ShardId};

/// A broker that may be given shards.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) incarnation: Incarnation,
    pub(super) id: BrokerId,
    pub(super) zone: Arc<str>,
    /// What it has, or was ordered to have. Shard 0 counts.
    pub(super) shards: BTreeSet<ShardId>,
    /// Shards may be moved here to even things out; a broker that came a moment ago waits.
    pub(super) settled: bool,
    /// It has failed to open a shard not long ago: only when there is no other.
    pub(super) shaky: bool,
}

/// Number of shards by zone.
fn zone_loads(candidates: &[Candidate]) -> BTreeMap<&str, usize> {
    let mut loads = BTreeMap::new();
    for candidate in candidates {
        *loads.entry(&*candidate.zone).or_default() += candidate.shards.len();
    }
    loads
}

/// The broker for a shard that has no owner; `avoid` only when there is no other.
pub(super) fn place(candidates: &[Candidate], avoid: Option<Incarnation>) -> Option<Incarnation> {
    let zones = zone_loads(candidates);
    let rank = |candidate: &&Candidate| {
        let avoided = Some(candidate.incarnation) == avoid || candidate.shaky;
        (avoided, candidate.shards.len(), zones.get(&*candidate.zone).copied().unwrap_or(0), candidate.id)
    };
    candidates.iter().min_by_key(rank).map(|candidate| candidate.incarnation)
}

/// One move that makes it more even, when there is one: the shard, and to whom. Every such move lowers the sum of the
/// squared loads of the brokers or, at the same sum, that of the zones, so that a sequence of moves ends.
pub(super) fn improve(candidates: &[Candidate], movable: impl Fn(ShardId) -> bool) -> Option<(ShardId, Incarnation)> {
    let zones = zone_loads(candidates);
    let zone_load = |candidate: &Candidate| zones.get(&*candidate.zone).copied().unwrap_or(0);
    let mut best = None;
    for from in candidates {
        let Some(shard) = from.shards.iter().rev().copied().find(|shard| movable(*shard)) else { continue };
        for to in candidates.iter().filter(|to| to.settled) {
            let brokers = from.shards.len().saturating_sub(to.shards.len());
            let zones = if from.zone == to.zone { 0 } else { zone_load(from).saturating_sub(zone_load(to)) };
            let better = brokers >= 2 || (brokers == 1 && zones >= 2);
            let rank = (brokers, zones, -to.id);
            if better && best.is_none_or(|(best, _, _)| rank > best) {
                best = Some((rank, shard, to.incarnation));
            }
        }
    }
    best.map(|(_, shard, to)| (shard, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn brokers(spec: &[(&str, &[ShardId])]) -> Vec<Candidate> {
        let candidate = |(index, (zone, shards)): (usize, &(&str, &[ShardId]))| Candidate {
            incarnation: Incarnation(Uuid::from_u128(index as u128)),
            id: index as BrokerId,
            zone: Arc::from(*zone),
            shards: shards.iter().copied().collect(),
            settled: true,
            shaky: false,
        };
        spec.iter().enumerate().map(candidate).collect()
    }

    fn incarnation(index: u128) -> Incarnation {
        Incarnation(Uuid::from_u128(index))
    }

    #[test]
    fn the_least_loaded_broker_in_the_least_loaded_zone() {
        let cluster = brokers(&[("a", &[1]), ("a", &[]), ("b", &[])]);
        assert_eq!(place(&cluster, None), Some(incarnation(2)));
        assert_eq!(place(&cluster, Some(incarnation(2))), Some(incarnation(1)));
        assert_eq!(place(&cluster[..1], Some(incarnation(0))), Some(incarnation(0)));
        assert_eq!(place(&[], None), None);
    }

    #[test]
    fn what_is_even_stays() {
        assert_eq!(improve(&brokers(&[("a", &[1, 2]), ("b", &[3]), ("c", &[4])]), |_| true), None);
        assert_eq!(improve(&brokers(&[("a", &[1, 2]), ("b", &[])]), |_| false), None);
    }

    #[test]
    fn zones_are_evened_out_too() {
        let cluster = brokers(&[("a", &[1]), ("a", &[2]), ("b", &[]), ("b", &[])]);
        assert_eq!(improve(&cluster, |_| true), Some((1, incarnation(2))));
    }

    #[test]
    fn moves_come_to_an_end() {
        let mut cluster = brokers(&[("a", &[1, 2, 3, 4, 5, 6, 7]), ("a", &[8]), ("b", &[]), ("c", &[]), ("c", &[])]);
        let mut moves = 0;
        while let Some((shard, to)) = improve(&cluster, |_| true) {
            cluster.iter_mut().for_each(|broker| {
                broker.shards.remove(&shard);
                if broker.incarnation == to {
                    broker.shards.insert(shard);
                }
            });
            moves += 1;
            assert!(moves < 20, "it never ends");
        }
        let loads: Vec<_> = cluster.iter().map(|broker| broker.shards.len()).collect();
        assert!(loads.iter().all(|load| (1..=2).contains(load)), "{loads:?}");
    }
}
