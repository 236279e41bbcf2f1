//! Which shard goes where: what has no owner is placed at once, everything else moves one shard after the other.

use std::collections::BTreeSet;

use super::assignment::Phase;
use super::balance::{self, Candidate};
use super::message::{CATALOG_SHARD, Incarnation, ShardId};
use super::reign::Reign;
use super::time::Moment;

/// Planned moves under way at once. Each costs its shard about a second; more at once would only compete.
const MOVES_AT_ONCE: usize = 2;

impl Reign {
    /// Gives every shard without an owner to somebody.
    pub(super) fn place_free(&mut self, at: &Moment) {
        let shards: Vec<ShardId> = self.assignments.keys().copied().collect();
        for shard in shards {
            let Some(assignment) = self.assignments.get(&shard) else { continue };
            let (Phase::Free { clean, avoid }, Some(expected)) = (assignment.phase, assignment.epoch) else { continue };
            let Some(to) = balance::place(&self.candidates(at), avoid) else { continue };
            let settle_ms = if clean == Some(expected) { 0 } else { self.timing.settle_ms };
            let order = self.next_order();
            if let Some(assignment) = self.assignments.get_mut(&shard) {
                assignment.phase = Phase::Ordered { to, order, expected, settle_ms, clean, since: at.patience };
                self.due.insert(to);
            }
        }
    }

    fn candidates(&self, at: &Moment) -> Vec<Candidate> {
        let able = self.members.iter().filter(|(_, member)| member.is_able());
        let candidate = |(incarnation, member): (Incarnation, &super::members::Member)| {
            Some(Candidate {
                incarnation,
                id: member.id()?,
                zone: member.heartbeat.broker.zone.clone(),
                shards: self.shards_of(incarnation),
                settled: member.is_settled(at, &self.timing),
                shaky: member.is_shaky(at, &self.timing),
            })
        };
        able.filter_map(candidate).collect()
    }

    /// What a broker has or is to have; the controller has shard 0 too.
    fn shards_of(&self, broker: Incarnation) -> BTreeSet<ShardId> {
        let held = self.assignments.iter().filter(|(_, assignment)| assignment.holder() == Some(broker));
        let catalog = (broker == self.controller.incarnation).then_some(CATALOG_SHARD);
        held.map(|(shard, _)| *shard).chain(catalog).collect()
    }

    /// Starts the next planned move, when one is wanted: away from a broker that drains, from a store that stalls, or
    /// to even things out.
    pub(super) fn plan_moves(&mut self, at: &Moment) {
        let moving = self.assignments.values().filter(|assignment| is_moving(assignment.phase)).count();
        let candidates = self.candidates(at);
        if candidates.is_empty() || moving >= MOVES_AT_ONCE {
            return;
        }
        let next = self.next_drained(&candidates).or_else(|| {
            // A cluster that is still finding itself is left to do so.
            let quiet = moving == 0 && self.is_settled(at) && self.is_complete();
            quiet.then(|| self.next_stalled(at, &candidates).or_else(|| self.next_uneven(at, &candidates))).flatten()
        });
        if let Some(shard) = next {
            self.release(at, shard);
        }
    }

    fn is_complete(&self) -> bool {
        self.assignments.values().all(|assignment| matches!(assignment.phase, Phase::Held { .. }))
    }

    /// A shard of a broker that wants to be rid of it, one at a time for each broker.
    fn next_drained(&self, candidates: &[Candidate]) -> Option<ShardId> {
        let releasing = |broker| {
            let phases = self.assignments.values().map(|assignment| assignment.phase);
            phases.filter(|phase| matches!(phase, Phase::Releasing { by, .. } if *by == broker)).count() > 0
        };
        self.assignments.iter().find_map(|(shard, assignment)| {
            let Phase::Held { by, .. } = assignment.phase else { return None };
            let member = self.members.get(by)?;
            let heartbeat = &member.heartbeat;
            let unfit = heartbeat.draining || member.skewed;
            (unfit && !candidates.is_empty() && !releasing(by)).then_some(*shard)
        })
    }

    /// A shard with a write that does not become durable, when there is a broker whose writes do: otherwise it is the
    /// bucket that stalls, and a move would only add to it.
    fn next_stalled(&self, at: &Moment, candidates: &[Candidate]) -> Option<ShardId> {
        let limit = self.timing.undurable_limit_ms;
        let worst = |broker: Incarnation| {
            let member = self.members.get(broker);
            member.and_then(|member| member.claims().iter().map(|claim| claim.undurable_ms).max()).unwrap_or(0)
        };
        self.assignments.iter().find_map(|(shard, assignment)| {
            let Phase::Held { by, .. } = assignment.phase else { return None };
            let claim = self.members.get(by)?.claims().iter().find(|claim| claim.shard == *shard)?;
            let healthy = |other: &Candidate| other.incarnation != by && worst(other.incarnation) < limit / 4;
            let stalled = claim.undurable_ms > limit && !self.was_moved(at, *shard);
            (stalled && candidates.iter().any(healthy)).then_some(*shard)
        })
    }

    fn next_uneven(&self, at: &Moment, candidates: &[Candidate]) -> Option<ShardId> {
        let movable = |shard| shard != CATALOG_SHARD && !self.was_moved(at, shard);
        balance::improve(candidates, movable).map(|(shard, _)| shard)
    }

    fn was_moved(&self, at: &Moment, shard: ShardId) -> bool {
        let moved = self.assignments.get(&shard).and_then(|assignment| assignment.moved);
        moved.is_some_and(|moved| at.patience.since(moved) < self.timing.move_pause_ms)
    }

    /// Tells a shard's owner to stop; once it has, the shard is placed like any other that is free.
    fn release(&mut self, at: &Moment, shard: ShardId) {
        let order = self.next_order();
        if let Some(assignment) = self.assignments.get_mut(&shard)
            && let Phase::Held { by, epoch } = assignment.phase
        {
            assignment.phase = Phase::Releasing { by, epoch, order };
            assignment.moved = Some(at.patience);
            self.due.insert(by);
        }
    }

    /// The broker that should go on as controller when this one stops: the one with the least to do.
    pub(super) fn successor(&self, at: &Moment) -> Option<Incarnation> {
        let mut candidates = self.candidates(at);
        candidates.retain(|candidate| candidate.incarnation != self.controller.incarnation);
        balance::place(&candidates, None)
    }

    /// Whether everything that this broker had is served by others. An owner that is not confirmed yet would wait for
    /// long: the next controller does not know whether another has a lease.
    pub(super) fn has_handed_over(&self) -> bool {
        let shown = &self.view().shards;
        self.assignments
            .keys()
            .all(|shard| shown.get(shard).is_some_and(|owner| owner.incarnation != self.controller.incarnation))
    }
}

fn is_moving(phase: Phase) -> bool {
    matches!(phase, Phase::Releasing { .. } | Phase::Ordered { .. })
}
