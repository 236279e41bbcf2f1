//! The controller's work while it is controller: registering brokers, confirming owners, giving orders, answering.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::assignment::{Assignment, Assignments, Phase};
use super::barrier::Barrier;
use super::event::Effect;
use super::members::{Arrival, Member, Members};
use super::message::{
    Action, Answer, BrokerId, BrokerView, CATALOG_SHARD, ControllerRef, Epoch, Heartbeat, Incarnation, Order, OrderId,
    ShardId, ShardView, View,
};
use super::time::{Moment, Now, Patience};
use super::timing::Timing;
use super::versions::Versions;

/// A read of an epoch that has not ended after this is done again (ms).
const READ_AGAIN_MS: u64 = 3_000;
/// Two proofs are never asked for within this (ms).
const PROOF_PAUSE_MS: u64 = 50;

#[derive(Debug)]
pub(super) struct Reign {
    pub(super) timing: Timing,
    pub(super) controller: ControllerRef,
    /// From then on, whoever is not registered has been silent for the failover time.
    pub(super) all_heard: Patience,
    /// From then on, shards are placed: others have had the time to register.
    place_at: Patience,
    /// From then on, versions are raised.
    raise_at: Patience,
    /// The first controller of a cluster has nobody to wait for.
    first: bool,
    pub(super) members: Members,
    pub(super) assignments: Assignments,
    barrier: Barrier,
    /// When the newest proof for shard 0 began.
    proof: Option<Now>,
    proof_asked: Option<Patience>,
    view: Arc<View>,
    /// The last view before this reign.
    before: Arc<View>,
    /// The controller before, when that view is its.
    predecessor: Option<Incarnation>,
    orders: u64,
    /// Brokers that are to be answered.
    pub(super) due: BTreeSet<Incarnation>,
    /// Whether anybody else was ever registered.
    pub(super) followed: bool,
}

impl Reign {
    /// `view`: the last that was seen; `predecessor`: the controller before, when there was one.
    pub(super) fn new(
        at: &Moment,
        timing: Timing,
        controller: ControllerRef,
        view: Arc<View>,
        predecessor: Option<&ControllerRef>,
        data_shards: u32,
    ) -> Self {
        let first = controller.epoch == 1;
        let all_heard = if first { at.patience } else { at.patience + timing.failover_ms };
        let place_at = at.patience + timing.heartbeat_ms;
        let raise_at = at.patience + timing.failover_ms;
        let named = predecessor.filter(|predecessor| predecessor.epoch == view.controller);
        let mut reign = Self {
            barrier: Barrier::new(at, timing.catalog_bound_ms, !first),
            timing,
            controller,
            all_heard,
            place_at,
            raise_at,
            first,
            members: Members::default(),
            assignments: Assignments::new(),
            proof: None,
            proof_asked: None,
            predecessor: named.map(|predecessor| predecessor.incarnation),
            before: view.clone(),
            view,
            orders: 0,
            due: BTreeSet::new(),
            followed: false,
        };
        reign.data_shards(data_shards);
        reign
    }

    pub(super) fn data_shards(&mut self, count: u32) {
        for shard in 1..=count {
            self.assignments.entry(shard).or_insert_with(|| Assignment::new(self.all_heard));
        }
    }

    pub(super) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Takes a broker's heartbeat; `skewed`: its wall clock is far from the cluster's.
    pub(super) fn heartbeat(&mut self, at: &Moment, heartbeat: Heartbeat, skewed: bool, effects: &mut Vec<Effect>) {
        let incarnation = heartbeat.broker.incarnation;
        let may_lease = at.patience >= self.all_heard;
        let arrival = self.members.heartbeat(at, heartbeat, skewed, may_lease, self.view.versions);
        if matches!(arrival, Arrival::Old) {
            return;
        }
        self.followed |= incarnation != self.controller.incarnation;
        if arrival == Arrival::Left {
            self.assignments.values_mut().for_each(|assignment| assignment.left(at, incarnation));
            return;
        }
        self.due.insert(incarnation);
        let unconfirmed =
            self.members.get(incarnation).is_some_and(|member| member.claims().iter().any(|claim| !claim.active));
        let recent = self.proof_asked.is_some_and(|asked| at.patience.since(asked) < PROOF_PAUSE_MS);
        if unconfirmed && !recent {
            // An opening is confirmed only by a proof that is younger.
            self.proof_asked = Some(at.patience);
            effects.push(Effect::ProveShard { shard: CATALOG_SHARD, epoch: self.controller.epoch });
        }
    }

    /// Shard 0 was still owned at `began`.
    pub(super) fn proved(&mut self, began: Now) {
        if self.proof.is_none_or(|proof| began.monotonic > proof.monotonic) {
            self.proof = Some(began);
        }
        let waits = |(incarnation, member): (Incarnation, &Member)| {
            let own = incarnation == self.controller.incarnation;
            (own || member.claims().iter().any(|claim| !claim.active)).then_some(incarnation)
        };
        self.due.extend(self.members.iter().filter_map(waits));
    }

    pub(super) fn epoch_read(&mut self, at: &Moment, request: u64, epoch: Option<Epoch>) {
        for (shard, assignment) in &mut self.assignments {
            if assignment.reading.is_some_and(|(reading, _)| reading == request) {
                // A failure is tried again only after a while: the store may be asking for rest.
                let Some(epoch) = epoch else { return };
                assignment.reading = None;
                let before = self.before.shards.get(shard);
                let before = before.filter(|before| Some(before.incarnation) == self.predecessor);
                assignment.epoch_read(at, epoch, before.map(|before| before.epoch));
            }
        }
    }

    pub(super) fn committed(&mut self, at: &Moment, version: u64) {
        self.barrier.committed(at, version);
    }

    /// Decides what is to be decided now. Orders go out with the answers that become due.
    pub(super) fn tick(&mut self, at: &Moment, requests: &mut u64, effects: &mut Vec<Effect>) {
        // One that is too old stays so, even when the wall clock is set back afterwards.
        let limit = i64::try_from(self.timing.failover_ms).unwrap_or(i64::MAX);
        self.proof = self.proof.filter(|proof| at.now.longest_since(*proof) < limit);
        self.members.expire(at, &self.timing);
        for (shard, assignment) in &mut self.assignments {
            assignment.observe(at, *shard, &self.members, &self.timing);
            let reading = assignment.reading.is_some_and(|(_, since)| at.patience.since(since) < READ_AGAIN_MS);
            if assignment.epoch.is_none() && !reading {
                *requests += 1;
                assignment.reading = Some((*requests, at.patience));
                effects.push(Effect::ReadEpoch { shard: *shard, request: *requests });
            }
        }
        if self.is_proven(at) && at.patience >= self.place_at {
            self.place_free(at);
            self.plan_moves(at);
        }
        let leased = self.members.iter().filter(|(_, member)| member.leased_until > at.patience);
        let applied = leased.map(|(_, member)| member.heartbeat.catalog_version);
        effects.extend(self.barrier.settle(at, applied).map(|version| Effect::CatalogSettled { version }));
        self.renew_view(at, effects);
    }

    /// Whether this controller knows that it was one not long ago. One that does not leaves things as they are.
    fn is_proven(&self, at: &Moment) -> bool {
        let limit = i64::try_from(self.timing.failover_ms).unwrap_or(i64::MAX);
        // The wall clock tells, too, when the machine slept and its steady clock with it.
        self.proof.is_some_and(|proof| at.now.longest_since(proof) < limit)
    }

    /// Whether its answers still prolong leases.
    pub(super) fn is_fresh(&self, at: &Moment) -> bool {
        let limit = i64::try_from(self.timing.granted_lease_ms).unwrap_or(i64::MAX);
        self.proof.is_some_and(|proof| at.now.longest_since(proof) < limit)
    }

    pub(super) fn next_order(&mut self) -> OrderId {
        self.orders += 1;
        OrderId { controller: self.controller.epoch, number: self.orders }
    }

    fn renew_view(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        let mut brokers: BTreeMap<_, _> =
            self.members.registered().map(|(id, member)| (id, broker_view(member))).collect();
        let supported: Vec<Versions> =
            self.members.registered().map(|(_, member)| member.heartbeat.broker.versions).collect();
        let versions = match at.patience >= self.raise_at {
            true => self.view.versions.raised(&supported),
            false => self.view.versions,
        };
        let shards =
            self.assignments.iter().filter_map(|(shard, assignment)| Some((*shard, self.served(*shard, assignment)?)));
        let mut shards: BTreeMap<_, _> = shards.collect();
        if at.patience < self.all_heard {
            self.add_unheard(&mut brokers, &mut shards);
        }
        let own = self.members.get(self.controller.incarnation).and_then(Member::id);
        let same = self.view.controller == self.controller.epoch
            && self.view.brokers == brokers
            && self.view.shards == shards
            && self.view.versions == versions
            && self.view.controller_id == own;
        if same {
            return;
        }
        let version = if self.view.controller == self.controller.epoch { self.view.version + 1 } else { 1 };
        let controller = self.controller.epoch;
        self.view = Arc::new(View { controller, version, controller_id: own, brokers, shards, versions });
        effects.push(Effect::ViewChanged);
        self.due.extend(self.members.iter().map(|(incarnation, _)| incarnation));
    }

    /// Brokers that have not come to this controller yet are shown as they were before: most are well, and clients
    /// should go on with them.
    fn add_unheard(&self, brokers: &mut BTreeMap<BrokerId, BrokerView>, shards: &mut BTreeMap<ShardId, ShardView>) {
        let gone = |broker: &BrokerView| {
            let known = |member: &Member| member.heartbeat.broker.address == broker.address;
            Some(broker.incarnation) == self.predecessor || self.members.iter().any(|(_, member)| known(member))
        };
        for (id, broker) in self.before.brokers.iter().filter(|(_, broker)| !gone(broker)) {
            brokers.entry(*id).or_insert_with(|| broker.clone());
        }
        for (shard, before) in &self.before.shards {
            let unclaimed = self.assignments.get(shard).is_some_and(|assignment| assignment.phase == Phase::Unknown);
            let owner = brokers.get(&before.owner).is_some_and(|owner| owner.incarnation == before.incarnation);
            if unclaimed && owner {
                shards.entry(*shard).or_insert(*before);
            }
        }
    }

    /// A shard is shown with an owner when that owner says that it serves it.
    fn served(&self, shard: ShardId, assignment: &Assignment) -> Option<ShardView> {
        let Phase::Held { by, epoch } = assignment.phase else { return None };
        let member = self.members.get(by)?;
        let serves = |claim: &super::message::Claim| claim.shard == shard && claim.epoch == epoch && claim.active;
        let owner = member.id()?;
        member.claims().iter().any(serves).then_some(ShardView { owner, incarnation: by, epoch })
    }

    /// What a broker is told now. Confirms what it has.
    pub(super) fn answer(&mut self, at: &Moment, to: Incarnation, cluster_ms: i64) -> Option<Answer> {
        let received = self.members.get(to)?.received;
        let until = received.patience + self.timing.failover_ms;
        let mut granted = Vec::new();
        let member = self.members.get(to)?;
        for claim in member.claims().iter().filter(|_| member.id().is_some() && member.hears()) {
            if let Some(assignment) = self.assignments.get_mut(&claim.shard)
                && assignment.is_grantable(at, to, claim.epoch, claim.active)
            {
                assignment.grant(to, claim.epoch, until);
                granted.push((claim.shard, claim.epoch));
            }
        }
        let orders = self.orders_for(to);
        let member = self.members.get_mut(to)?;
        if member.id().is_some() {
            member.leased_until = until;
        }
        Some(Answer {
            controller: self.controller.clone(),
            to,
            sequence: member.heartbeat.sequence,
            proof_offset_ms: self.proof.map_or(i64::MIN / 4, |proof| proof.minus(received.now)),
            catalog_offset_ms: self.barrier.offset_ms(at, member.heartbeat.catalog_version, &received),
            standing: member.standing.clone(),
            granted,
            orders,
            view: self.view.clone(),
            cluster_ms,
        })
    }

    fn orders_for(&mut self, to: Incarnation) -> Vec<Order> {
        let claims = self.members.get(to).map(|member| member.claims().to_vec()).unwrap_or_default();
        let mut orders = Vec::new();
        let mut strays = Vec::new();
        for (shard, assignment) in &self.assignments {
            let claim = claims.iter().find(|claim| claim.shard == *shard);
            match assignment.phase {
                Phase::Ordered { to: owner, order: id, expected, settle_ms, .. } if owner == to => {
                    orders.push(Order { id, shard: *shard, action: Action::Own { expected, settle_ms } });
                }
                Phase::Releasing { by, epoch, order: id } if by == to => {
                    orders.push(Order { id, shard: *shard, action: Action::Release { epoch } });
                }
                Phase::Held { by, .. } if by == to => {}
                Phase::Unknown => {}
                _ => strays.extend(claim.map(|claim| (*shard, claim.epoch))),
            }
        }
        for (shard, epoch) in strays {
            orders.push(Order { id: self.next_order(), shard, action: Action::Release { epoch } });
        }
        orders
    }

    /// Whether the planned upkeep of a settled cluster may go on.
    pub(super) fn is_settled(&self, at: &Moment) -> bool {
        self.first || at.patience >= self.all_heard
    }
}

fn broker_view(member: &Member) -> BrokerView {
    let broker = &member.heartbeat.broker;
    BrokerView { incarnation: broker.incarnation, address: broker.address.clone(), zone: broker.zone.clone() }
}
