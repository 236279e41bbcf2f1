//! The shards that this broker has, or is getting: opening, serving under leases, giving up.
//!
//! A shard is served from the moment when a controller has confirmed its owner by a proof that is younger than the
//! opening: only then nobody else can have been confirmed, and whoever was has no lease any more.

use std::collections::BTreeMap;

use super::event::Effect;
use super::lease::Lease;
use super::message::{Action, CATALOG_SHARD, Claim, Epoch, Order, OrderId, ShardId, View};
use super::time::{Moment, Monotonic, Now, Patience};
use super::timing::Timing;

/// A handle that somebody else should have opened meanwhile is closed after this, whatever is known (ms).
const CLOSE_AFTER_MS: u64 = 15_000;

#[derive(Debug)]
enum Handle {
    Opening {
        settle_ms: u64,
        order: Option<OrderId>,
    },
    Open(Open),
    /// Not served any more, and to be closed when the next owner has it.
    Stopped {
        epoch: Epoch,
        since: Patience,
    },
}

#[derive(Debug)]
struct Open {
    epoch: Epoch,
    opened: Now,
    /// Nothing is acknowledged before.
    settled: Patience,
    recognised: bool,
    active: bool,
    stopping: bool,
    granted: Option<Lease>,
    proven: Option<Lease>,
    proof_asked: Option<Patience>,
    undurable_since: Option<Monotonic>,
}

impl Open {
    fn new(at: &Moment, epoch: Epoch, settle_ms: u64) -> Self {
        Self {
            epoch,
            opened: at.now,
            settled: at.patience + settle_ms,
            recognised: false,
            active: false,
            stopping: false,
            granted: None,
            proven: None,
            proof_asked: None,
            undurable_since: None,
        }
    }

    fn lease_left_ms(&self, now: Now) -> u64 {
        [self.granted, self.proven].into_iter().flatten().map(|lease| lease.remaining_ms(now)).max().unwrap_or(0)
    }
}

#[derive(Debug)]
pub(super) struct Owner {
    timing: Timing,
    handles: BTreeMap<ShardId, Handle>,
    /// The last order that was followed, by shard.
    followed: BTreeMap<ShardId, OrderId>,
    failed: BTreeMap<ShardId, OrderId>,
    /// Something changed that the controller should hear of at once.
    pub(super) news: bool,
}

impl Owner {
    pub(super) fn new(timing: Timing) -> Self {
        let (handles, followed, failed) = Default::default();
        Self { timing, handles, followed, failed, news: false }
    }

    /// Opens shard 0, to become controller.
    pub(super) fn open_catalog(&mut self, expected: Epoch, settle_ms: u64, effects: &mut Vec<Effect>) {
        self.open(CATALOG_SHARD, expected, settle_ms, None, effects);
    }

    fn open(
        &mut self,
        shard: ShardId,
        expected: Epoch,
        settle_ms: u64,
        order: Option<OrderId>,
        effects: &mut Vec<Effect>,
    ) {
        self.drop_handle(shard, effects);
        self.handles.insert(shard, Handle::Opening { settle_ms, order });
        effects.push(Effect::OpenShard { shard, expected });
    }

    /// Forgets a handle and closes it.
    fn drop_handle(&mut self, shard: ShardId, effects: &mut Vec<Effect>) {
        match self.handles.remove(&shard) {
            Some(Handle::Open(open)) => {
                self.news = true;
                if open.active {
                    effects.push(Effect::ShardLost { shard, epoch: open.epoch });
                }
                effects.push(Effect::CloseShard { shard, epoch: open.epoch });
            }
            Some(Handle::Stopped { epoch, .. }) => effects.push(Effect::CloseShard { shard, epoch }),
            Some(opening @ Handle::Opening { .. }) => {
                self.handles.insert(shard, opening);
            }
            None => {}
        }
    }

    /// Follows the controller's orders. `able`: whether shards may be opened here at all.
    pub(super) fn follow(&mut self, at: &Moment, orders: &[Order], able: bool, effects: &mut Vec<Effect>) {
        for order in orders {
            let newest = self.followed.get(&order.shard);
            if newest.is_some_and(|newest| *newest >= order.id) || order.shard == CATALOG_SHARD {
                continue;
            }
            // An opening ends by itself, and soon: the order comes again.
            if matches!(self.handles.get(&order.shard), Some(Handle::Opening { .. })) {
                continue;
            }
            self.followed.insert(order.shard, order.id);
            match order.action {
                Action::Own { expected, .. } if self.epoch(order.shard).is_some_and(|epoch| epoch > expected) => {}
                Action::Own { .. } if !able => {
                    self.failed.insert(order.shard, order.id);
                    self.news = true;
                }
                Action::Own { expected, settle_ms } => {
                    self.open(order.shard, expected, settle_ms, Some(order.id), effects);
                }
                Action::Release { epoch } => self.release(at, order.shard, epoch, effects),
            }
        }
    }

    fn release(&mut self, at: &Moment, shard: ShardId, epoch: Epoch, effects: &mut Vec<Effect>) {
        match self.handles.get_mut(&shard) {
            Some(Handle::Open(open)) if open.epoch <= epoch && open.active => {
                let told = std::mem::replace(&mut open.stopping, true);
                if !told {
                    effects.push(Effect::StopWrites { shard, epoch: open.epoch });
                }
            }
            Some(Handle::Open(open)) if open.epoch <= epoch => {
                let epoch = open.epoch;
                self.handles.insert(shard, Handle::Stopped { epoch, since: at.patience });
                self.news = true;
            }
            _ => {}
        }
    }

    /// Stops writing to shard 0, to hand it on.
    pub(super) fn release_catalog(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        self.release(at, CATALOG_SHARD, Epoch::MAX, effects);
    }

    /// Takes an opened handle; closes one that nobody waits for. Whether it was wanted.
    pub(super) fn opened(&mut self, at: &Moment, shard: ShardId, epoch: Epoch, effects: &mut Vec<Effect>) -> bool {
        match self.handles.get(&shard) {
            Some(&Handle::Opening { settle_ms, .. }) => {
                self.handles.insert(shard, Handle::Open(Open::new(at, epoch, settle_ms)));
                self.news = true;
                true
            }
            _ => {
                effects.push(Effect::CloseShard { shard, epoch });
                false
            }
        }
    }

    pub(super) fn open_failed(&mut self, shard: ShardId) {
        if let Some(&Handle::Opening { order, .. }) = self.handles.get(&shard) {
            self.handles.remove(&shard);
            self.failed.extend(order.map(|order| (shard, order)));
            self.news = true;
        }
    }

    /// A handle failed. Whether it was the one that is open.
    pub(super) fn lost(&mut self, shard: ShardId, epoch: Epoch, effects: &mut Vec<Effect>) -> bool {
        let current = self.epoch(shard) == Some(epoch);
        let stopped =
            matches!(self.handles.get(&shard), Some(Handle::Stopped { epoch: stopped, .. }) if *stopped == epoch);
        if current || stopped {
            self.drop_handle(shard, effects);
        }
        current
    }

    /// The own proof of a handle: nobody had opened the shard when it began.
    pub(super) fn proved(&mut self, at: &Moment, shard: ShardId, epoch: Epoch, began: Now) {
        let lease = Lease::new(began, self.timing.proven_lease_ms);
        if let Some(open) = self.open_mut(shard, epoch) {
            open.proven = Lease::longer(open.proven, lease, at.now);
        }
    }

    pub(super) fn writes_stopped(&mut self, at: &Moment, shard: ShardId, epoch: Epoch, effects: &mut Vec<Effect>) {
        if self.open_mut(shard, epoch).is_some_and(|open| open.stopping) {
            effects.push(Effect::ShardLost { shard, epoch });
            self.handles.insert(shard, Handle::Stopped { epoch, since: at.patience });
            self.news = true;
        }
    }

    pub(super) fn undurable(&mut self, shard: ShardId, epoch: Epoch, since: Option<Monotonic>) {
        if let Some(open) = self.open_mut(shard, epoch) {
            open.undurable_since = since;
        }
    }

    /// A controller's confirmation. `proof`: when its proof for shard 0 began, on the own clock; `from`: from when the
    /// lease counts, and for how long.
    pub(super) fn granted(&mut self, at: &Moment, granted: &[(ShardId, Epoch)], proof: Now, from: Now, lease_ms: u64) {
        for (shard, epoch) in granted {
            if let Some(open) = self.open_mut(*shard, *epoch) {
                open.granted = Lease::longer(open.granted, Lease::new(from, lease_ms), at.now);
                open.recognised |= proof.monotonic > open.opened.monotonic;
            }
        }
    }

    /// The controller object exists: shard 0 needs nobody else's word.
    pub(super) fn recognise_catalog(&mut self) {
        if let Some(Handle::Open(open)) = self.handles.get_mut(&CATALOG_SHARD) {
            open.recognised = true;
        }
    }

    /// A lease that is over stays over, even when the wall clock is set back afterwards.
    pub(super) fn end_leases(&mut self, now: Now) {
        for handle in self.handles.values_mut() {
            if let Handle::Open(open) = handle {
                open.granted = open.granted.filter(|lease| lease.holds(now));
                open.proven = open.proven.filter(|lease| lease.holds(now));
            }
        }
    }

    /// Activates what is due, and asks for proofs where leases run out.
    pub(super) fn tick(&mut self, at: &Moment, view: &View, effects: &mut Vec<Effect>) {
        let mut done = Vec::new();
        for (shard, handle) in &mut self.handles {
            match handle {
                Handle::Open(open) => {
                    self.news |= activate(at, *shard, open, effects);
                    ask_for_proof(at, *shard, open, &self.timing, effects);
                }
                Handle::Stopped { epoch, since } => {
                    let taken_over = view.shards.get(shard).is_some_and(|now| now.epoch > *epoch);
                    if taken_over || at.patience.since(*since) > CLOSE_AFTER_MS {
                        done.push(*shard);
                    }
                }
                Handle::Opening { .. } => {}
            }
        }
        done.into_iter().for_each(|shard| self.drop_handle(shard, effects));
    }

    /// Gives everything up at once.
    pub(super) fn give_up(&mut self, effects: &mut Vec<Effect>) {
        let shards: Vec<_> = self.handles.keys().copied().collect();
        shards.into_iter().for_each(|shard| self.drop_handle(shard, effects));
    }

    /// What the controller is told of this broker's shards.
    pub(super) fn claims(&self, at: &Moment) -> Vec<Claim> {
        let claim = |(shard, handle): (&ShardId, &Handle)| match handle {
            Handle::Open(open) if *shard != CATALOG_SHARD => Some(Claim {
                shard: *shard,
                epoch: open.epoch,
                active: open.active,
                undurable_ms: open.undurable_since.map_or(0, |since| at.now.monotonic.since(since)),
            }),
            _ => None,
        };
        self.handles.iter().filter_map(claim).collect()
    }

    pub(super) fn failed_orders(&self) -> Vec<(ShardId, OrderId)> {
        self.failed.iter().map(|(shard, order)| (*shard, *order)).collect()
    }

    /// Whether the shard is served: its epoch, when it is.
    pub(super) fn active(&self, shard: ShardId) -> Option<Epoch> {
        match self.handles.get(&shard) {
            Some(Handle::Open(open)) if open.active => Some(open.epoch),
            _ => None,
        }
    }

    /// The lease under which the shard may be read, when there is one.
    pub(super) fn lease(&self, shard: ShardId, now: Now) -> Option<Lease> {
        match self.handles.get(&shard) {
            Some(Handle::Open(open)) if open.active => {
                let leases = [open.granted, open.proven].into_iter().flatten();
                leases.filter(|lease| lease.holds(now)).max_by_key(|lease| lease.remaining_ms(now))
            }
            _ => None,
        }
    }

    /// The epoch of the open handle.
    pub(super) fn epoch(&self, shard: ShardId) -> Option<Epoch> {
        match self.handles.get(&shard) {
            Some(Handle::Open(open)) => Some(open.epoch),
            _ => None,
        }
    }

    /// Whether nothing is open or being opened, besides what waits to be closed.
    pub(super) fn is_idle(&self) -> bool {
        self.handles.values().all(|handle| matches!(handle, Handle::Stopped { .. }))
    }

    fn open_mut(&mut self, shard: ShardId, epoch: Epoch) -> Option<&mut Open> {
        match self.handles.get_mut(&shard) {
            Some(Handle::Open(open)) if open.epoch == epoch => Some(open),
            _ => None,
        }
    }
}

fn activate(at: &Moment, shard: ShardId, open: &mut Open, effects: &mut Vec<Effect>) -> bool {
    let due = open.recognised && !open.active && at.patience >= open.settled;
    if due {
        open.active = true;
        effects.push(Effect::ShardActive { shard, epoch: open.epoch });
    }
    due
}

/// The controller proves shard 0 all the time, since it vouches for others by it. Other shards are proven when no
/// controller prolongs their leases.
fn ask_for_proof(at: &Moment, shard: ShardId, open: &mut Open, timing: &Timing, effects: &mut Vec<Effect>) {
    let needed = match shard {
        CATALOG_SHARD => true,
        _ => open.active && open.lease_left_ms(at.now) < timing.proven_lease_ms / 2,
    };
    let recent = open.proof_asked.is_some_and(|asked| at.patience.since(asked) < timing.proof_interval_ms);
    if needed && !recent {
        open.proof_asked = Some(at.patience);
        effects.push(Effect::ProveShard { shard, epoch: open.epoch });
    }
}
