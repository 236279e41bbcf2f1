//! The brokers that are registered with this controller, and their ids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::message::{BrokerId, Claim, Heartbeat, Identity, Incarnation, Standing};
use super::time::{Moment, Patience};
use super::timing::Timing;
use super::versions::ActiveVersions;

/// Brokers that are told why they are not registered are forgotten after this many failover times.
const MOST_BROKERS: usize = 1_000;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) heartbeat: Heartbeat,
    pub(super) standing: Standing,
    /// When its newest heartbeat arrived.
    pub(super) received: Moment,
    joined: Patience,
    first_sequence: u64,
    /// When it last showed that it hears this controller.
    heard: Patience,
    /// It has not shown so for the failover time.
    deaf: bool,
    /// Until when it may have a lease on the catalog.
    pub(super) leased_until: Patience,
    /// When an order to open a shard last failed there.
    failed: Option<Patience>,
    /// Its wall clock is so far from the cluster's that it gets no shards.
    pub(super) skewed: bool,
}

impl Member {
    pub(super) fn id(&self) -> Option<BrokerId> {
        match self.standing {
            Standing::Registered(id) => Some(id),
            Standing::Waiting | Standing::Refused(_) => None,
        }
    }

    pub(super) fn claims(&self) -> &[Claim] {
        &self.heartbeat.shards
    }

    /// Whether it has shown that answers reach it: one that is only heard cannot be given anything.
    pub(super) fn hears(&self) -> bool {
        self.heartbeat.heard >= self.first_sequence && !self.deaf
    }

    /// Whether it can be given shards.
    pub(super) fn is_able(&self) -> bool {
        let heartbeat = &self.heartbeat;
        let willing = heartbeat.clock_trusted && !heartbeat.draining && !heartbeat.leaving;
        self.id().is_some() && willing && !self.skewed && self.hears()
    }

    pub(super) fn is_settled(&self, at: &Moment, timing: &Timing) -> bool {
        at.patience.since(self.joined) >= timing.join_delay_ms && !self.is_shaky(at, timing)
    }

    /// Whether it has failed to open a shard not long ago: others come first.
    pub(super) fn is_shaky(&self, at: &Moment, timing: &Timing) -> bool {
        self.failed.is_some_and(|failed| at.patience.since(failed) < timing.move_pause_ms)
    }
}

#[derive(Debug, Default)]
pub(super) struct Members {
    by_incarnation: BTreeMap<Incarnation, Member>,
}

/// What a heartbeat did to the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It was overtaken by a newer one.
    Old,
    Known,
    New,
    Left,
}

impl Members {
    pub(super) fn get(&self, incarnation: Incarnation) -> Option<&Member> {
        self.by_incarnation.get(&incarnation)
    }

    pub(super) fn get_mut(&mut self, incarnation: Incarnation) -> Option<&mut Member> {
        self.by_incarnation.get_mut(&incarnation)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Incarnation, &Member)> {
        self.by_incarnation.iter().map(|(incarnation, member)| (*incarnation, member))
    }

    /// Those with an id.
    pub(super) fn registered(&self) -> impl Iterator<Item = (BrokerId, &Member)> {
        self.by_incarnation.values().filter_map(|member| Some((member.id()?, member)))
    }

    /// Takes a heartbeat. `may_lease`: whether ids that are not known to be free may be given out.
    pub(super) fn heartbeat(
        &mut self,
        at: &Moment,
        heartbeat: Heartbeat,
        skewed: bool,
        may_lease: bool,
        active: ActiveVersions,
    ) -> Arrival {
        let incarnation = heartbeat.broker.incarnation;
        let known = self.by_incarnation.get(&incarnation);
        if known.is_some_and(|known| known.heartbeat.sequence >= heartbeat.sequence) {
            return Arrival::Old;
        }
        if heartbeat.leaving {
            self.by_incarnation.remove(&incarnation);
            return Arrival::Left;
        }
        let new = known.is_none();
        if new && self.by_incarnation.len() >= MOST_BROKERS {
            return Arrival::Old;
        }
        self.supersede(&heartbeat.broker);
        let last_heard = self.get(incarnation).map_or(0, |member| member.heartbeat.heard);
        let hears = heartbeat.heard > last_heard || heartbeat.heard + 1 >= heartbeat.sequence;
        let standing = match self.get(incarnation) {
            Some(member) if member.deaf && !hears => Standing::Waiting,
            _ => self.standing(&heartbeat, may_lease, active),
        };
        let member = self.by_incarnation.entry(incarnation).or_insert_with(|| Member {
            standing: Standing::Waiting,
            received: *at,
            joined: at.patience,
            first_sequence: heartbeat.sequence,
            heard: at.patience,
            deaf: false,
            leased_until: at.patience,
            failed: None,
            skewed,
            heartbeat: heartbeat.clone(),
        });
        if heartbeat.failed_orders != member.heartbeat.failed_orders {
            member.failed = Some(at.patience);
        }
        if hears {
            (member.heard, member.deaf) = (at.patience, false);
        }
        (member.heartbeat, member.standing, member.received, member.skewed) = (heartbeat, standing, *at, skewed);
        if new { Arrival::New } else { Arrival::Known }
    }

    /// A broker that comes with the address of another is that other's next life: its id is free. Its shards are not,
    /// and it is not forgotten, until its leases are over: this may be the late message of an earlier life.
    fn supersede(&mut self, broker: &Identity) {
        for (incarnation, member) in &mut self.by_incarnation {
            if *incarnation != broker.incarnation && member.heartbeat.broker.address == broker.address {
                member.standing = Standing::Waiting;
            }
        }
    }

    fn standing(&self, heartbeat: &Heartbeat, may_lease: bool, active: ActiveVersions) -> Standing {
        let broker = &heartbeat.broker;
        if let Some(sentence) = active.refusal(&broker.versions) {
            return Standing::Refused(Arc::from(sentence));
        }
        if let Some(id) = self.get(broker.incarnation).and_then(Member::id) {
            return Standing::Registered(id);
        }
        let taken: BTreeMap<BrokerId, &Member> = self.registered().collect();
        if let Some(id) = heartbeat.id.filter(|id| *id >= 0 && !taken.contains_key(id)) {
            return Standing::Registered(id);
        }
        match broker.configured_id {
            _ if !may_lease => Standing::Waiting,
            Some(id) => match taken.get(&id) {
                None if id >= 0 => Standing::Registered(id),
                None => Standing::Refused(Arc::from(format!("broker id {id} is negative; configure one from 0 on"))),
                Some(holder) => Standing::Refused(Arc::from(format!(
                    "broker id {id} is in use by the broker at {}; configure another id, or none",
                    holder.heartbeat.broker.address
                ))),
            },
            None => {
                let taken: BTreeSet<BrokerId> = taken.keys().copied().collect();
                (0..=BrokerId::MAX).find(|id| !taken.contains(id)).map_or(Standing::Waiting, Standing::Registered)
            }
        }
    }

    /// Forgets who has been silent for the failover time. Who has been deaf as long keeps no id, but is remembered: it
    /// may have heard the last answers, and have leases.
    pub(super) fn expire(&mut self, at: &Moment, timing: &Timing) {
        self.by_incarnation.retain(|_, member| at.patience.since(member.received.patience) < timing.failover_ms);
        for member in self.by_incarnation.values_mut() {
            if at.patience.since(member.heard) >= timing.failover_ms {
                (member.deaf, member.standing) = (true, Standing::Waiting);
            }
        }
    }
}
