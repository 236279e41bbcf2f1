//! Who has one shard, as the controller knows it.

use std::collections::BTreeMap;

use super::members::{Member, Members};
use super::message::{Epoch, Incarnation, OrderId, ShardId};
use super::time::{Moment, Patience};
use super::timing::Timing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// This controller is new, and nobody has claimed the shard yet.
    Unknown,
    /// Nobody has it. `clean`: the epoch at which its last owner said that it serves no more.
    Free {
        clean: Option<Epoch>,
        avoid: Option<Incarnation>,
    },
    /// Somebody was told to open it.
    Ordered {
        to: Incarnation,
        order: OrderId,
        expected: Epoch,
        settle_ms: u64,
        clean: Option<Epoch>,
        since: Patience,
    },
    Held {
        by: Incarnation,
        epoch: Epoch,
    },
    /// Its owner was told to stop.
    Releasing {
        by: Incarnation,
        epoch: Epoch,
        order: OrderId,
    },
}

#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) phase: Phase,
    /// The writer epoch, read from the manifest during this reign, or learnt from somebody who opened the shard.
    /// `None` after anything that may have raised it unseen.
    pub(super) epoch: Option<Epoch>,
    /// The reading that is under way.
    pub(super) reading: Option<(u64, Patience)>,
    /// The last owner that was confirmed, when it has not said that it stopped.
    leased: Option<(Incarnation, Epoch)>,
    /// Before this, an owner that is not active yet is not confirmed: another may still have a lease.
    free_at: Patience,
    /// When it last began to be moved for balance or for a stalled store.
    pub(super) moved: Option<Patience>,
}

impl Assignment {
    /// `free_at`: when all leases are over that earlier controllers may have given.
    pub(super) fn new(free_at: Patience) -> Self {
        Self { phase: Phase::Unknown, epoch: None, reading: None, leased: None, free_at, moved: None }
    }

    /// Who has it, or is to have it.
    pub(super) fn holder(&self) -> Option<Incarnation> {
        match self.phase {
            Phase::Ordered { to: holder, .. }
            | Phase::Held { by: holder, .. }
            | Phase::Releasing { by: holder, .. } => Some(holder),
            Phase::Unknown | Phase::Free { .. } => None,
        }
    }

    /// The epoch was read. `predecessors`: the epoch at which the controller before had it, if it had.
    pub(super) fn epoch_read(&mut self, at: &Moment, epoch: Epoch, predecessors: Option<Epoch>) {
        let epoch = self.epoch.map_or(epoch, |known| known.max(epoch));
        self.epoch = Some(epoch);
        if self.phase != Phase::Unknown {
            return;
        }
        if epoch == 0 {
            // Never opened: nobody has any lease.
            self.free_at = at.patience;
            self.phase = Phase::Free { clean: Some(0), avoid: None };
        } else if predecessors == Some(epoch) {
            // It was the last to open the shard, and what it proved by itself is over when the next has settled.
            self.free_at = at.patience;
            self.phase = Phase::Free { clean: None, avoid: None };
        }
    }

    /// Looks at what brokers say about it.
    pub(super) fn observe(&mut self, at: &Moment, shard: ShardId, members: &Members, timing: &Timing) {
        self.notice_claims(shard, members);
        self.notice_release(at, shard, members);
        self.phase = match self.phase {
            Phase::Unknown if at.patience >= self.free_at && self.epoch.is_some() => {
                Phase::Free { clean: None, avoid: None }
            }
            Phase::Held { by, .. }
                if members.get(by).is_none_or(|member| !member.hears()) && at.patience >= self.free_at =>
            {
                Phase::Free { clean: None, avoid: None }
            }
            Phase::Releasing { by, .. } if at.patience >= self.free_at => Phase::Free { clean: None, avoid: Some(by) },
            Phase::Ordered { to, order, clean, since, .. } => {
                let failed = members.get(to).is_none_or(|to| to.heartbeat.failed_orders.contains(&(shard, order)));
                if failed || at.patience.since(since) >= timing.order_timeout_ms {
                    // The opening may have used an epoch up.
                    self.epoch = None;
                    self.reading = None;
                    Phase::Free { clean, avoid: Some(to) }
                } else {
                    self.phase
                }
            }
            phase => phase,
        };
    }

    /// The highest epoch wins: whoever has it has fenced the others.
    fn notice_claims(&mut self, shard: ShardId, members: &Members) {
        let Some(known) = self.epoch else { return };
        // Who cannot be told anything cannot be confirmed either.
        let claims = members.iter().filter(|(_, member)| member.hears()).flat_map(|(incarnation, member)| {
            member.claims().iter().filter(|claim| claim.shard == shard).map(move |claim| (claim.epoch, incarnation))
        });
        let Some((epoch, by)) = claims.max() else { return };
        let accepted = match self.phase {
            Phase::Unknown | Phase::Free { .. } => epoch >= known,
            Phase::Ordered { expected, .. } => epoch > expected,
            Phase::Held { epoch: held, .. } | Phase::Releasing { epoch: held, .. } => epoch > held,
        };
        if accepted {
            self.epoch = Some(epoch.max(known));
            self.phase = Phase::Held { by, epoch };
        }
    }

    /// A broker that does not list a shard any more does not serve it.
    fn notice_release(&mut self, at: &Moment, shard: ShardId, members: &Members) {
        let gone = |by: Incarnation, epoch: Epoch| members.get(by).is_some_and(|member| !claims(member, shard, epoch));
        if self.leased.is_some_and(|(by, epoch)| gone(by, epoch)) {
            self.leased = None;
            self.free_at = at.patience;
        }
        if let Phase::Held { by, epoch } | Phase::Releasing { by, epoch, .. } = self.phase
            && gone(by, epoch)
        {
            let moving = matches!(self.phase, Phase::Releasing { .. });
            self.phase = Phase::Free { clean: Some(epoch), avoid: moving.then_some(by) };
        }
    }

    /// A broker has stopped, and said so.
    pub(super) fn left(&mut self, at: &Moment, broker: Incarnation) {
        if self.leased.is_some_and(|(by, _)| by == broker) {
            self.leased = None;
            self.free_at = at.patience;
        }
        match self.phase {
            Phase::Held { by, epoch } | Phase::Releasing { by, epoch, .. } if by == broker => {
                self.phase = Phase::Free { clean: Some(epoch), avoid: None };
            }
            _ => {}
        }
    }

    /// Whether its owner may be confirmed now. `active`: a controller has done so before.
    pub(super) fn is_grantable(&self, at: &Moment, by: Incarnation, epoch: Epoch, active: bool) -> bool {
        let held = self.phase == Phase::Held { by, epoch } && self.epoch == Some(epoch);
        held && (active || self.leased == Some((by, epoch)) || at.patience >= self.free_at)
    }

    /// Notes that an owner is being confirmed; `until`: when nothing that it was told can hold any more.
    pub(super) fn grant(&mut self, by: Incarnation, epoch: Epoch, until: Patience) {
        self.leased = Some((by, epoch));
        self.free_at = until;
    }
}

fn claims(member: &Member, shard: ShardId, epoch: Epoch) -> bool {
    member.claims().iter().any(|claim| claim.shard == shard && claim.epoch == epoch)
}

/// All data shards.
pub(super) type Assignments = BTreeMap<ShardId, Assignment>;
