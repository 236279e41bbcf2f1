//! One broker's part in the cluster: takes events, returns effects, and answers what may be served now.

use std::collections::VecDeque;
use std::sync::Arc;

use super::clock::ClusterClock;
use super::event::{Effect, Event};
use super::finder::Finder;
use super::lease::Lease;
use super::message::{BrokerId, CATALOG_SHARD, ControllerRef, Epoch, Identity, Message, ShardId, View};
use super::owner::Owner;
use super::reign::Reign;
use super::time::{Moment, Now, Patience, PatienceClock};
use super::timing::Timing;

/// The state machine of one broker process. It does nothing by itself: call [`handle`](Self::handle) for everything that
/// happens, and do what it returns. All of it is bounded by the number of brokers and shards.
#[derive(Debug)]
pub struct Node {
    pub(super) identity: Identity,
    pub(super) timing: Timing,
    pub(super) clock: ClusterClock,
    patience: PatienceClock,
    pub(super) finder: Finder,
    pub(super) owner: Owner,
    pub(super) reign: Option<Reign>,
    pub(super) view: Arc<View>,
    pub(super) id: Option<BrokerId>,
    /// Heartbeats that were sent, newest last, and when.
    pub(super) sent: VecDeque<(u64, Now)>,
    pub(super) sequence: u64,
    pub(super) heard: u64,
    pub(super) heartbeat_due: Patience,
    pub(super) broker_lease: Option<Lease>,
    pub(super) catalog_version: u64,
    data_shards: u32,
    pub(super) requests: u64,
    pub(super) store_clock_due: Patience,
    /// The wall clock was compared with the bucket's once.
    pub(super) clock_checked: bool,
    pub(super) refused: Option<(Arc<str>, Patience, bool)>,
    pub(super) draining: bool,
    pub(super) drained: bool,
    pub(super) stopped: bool,
}

impl Node {
    /// `data_shards`: how many the cluster has, as far as is known. `seed`: for jitter; differs between brokers.
    pub fn new(identity: Identity, timing: Timing, data_shards: u32, now: Now, seed: u64) -> Self {
        Self {
            clock: ClusterClock::new(now, timing.max_skew_ms),
            patience: PatienceClock::new(now.monotonic, timing.longest_gap_ms),
            finder: Finder::new(timing.clone(), identity.incarnation, seed),
            owner: Owner::new(timing.clone()),
            reign: None,
            view: Arc::default(),
            id: None,
            sent: VecDeque::new(),
            sequence: 0,
            heard: 0,
            heartbeat_due: Patience::default(),
            broker_lease: None,
            catalog_version: 0,
            data_shards,
            requests: 0,
            store_clock_due: Patience::default(),
            clock_checked: false,
            refused: None,
            draining: false,
            drained: false,
            stopped: false,
            identity,
            timing,
        }
    }

    /// Takes an event, at the time that it is now, and returns what is to be done, in order.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        let at = self.patience.advance(now);
        self.clock.now_ms(now);
        self.owner.end_leases(now);
        self.broker_lease = self.broker_lease.filter(|lease| lease.holds(now));
        if !self.stopped {
            self.take(&at, event, &mut effects);
            self.go_on(&at, &mut effects);
        } else if let Event::Opened { shard, epoch } = event {
            effects.push(Effect::CloseShard { shard, epoch });
        }
        effects
    }

    fn take(&mut self, at: &Moment, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Tick => {}
            Event::Received { from, message } => self.receive(at, from, message, effects),
            Event::ControllersListed(objects) => {
                if self.finder.listed(at, &objects) {
                    self.heartbeat_due = at.patience;
                }
            }
            Event::ControllerCreated { object } => self.object_is_there(at, &object, effects),
            // The listing and the creation are tried again in time.
            Event::ListControllersFailed | Event::CreateControllerFailed { .. } => {}
            Event::EpochRead { request, epoch } => {
                self.finder.epoch_read(request, epoch);
                if let Some(reign) = &mut self.reign {
                    reign.epoch_read(at, request, epoch);
                }
            }
            Event::CatalogApplied { version } => {
                self.catalog_version = self.catalog_version.max(version);
                self.heartbeat_due = at.patience;
            }
            Event::CatalogCommitted { version } => {
                if let Some(reign) = &mut self.reign {
                    reign.committed(at, version);
                }
            }
            Event::DataShards { count } => {
                self.data_shards = self.data_shards.max(count);
                if let Some(reign) = &mut self.reign {
                    reign.data_shards(self.data_shards);
                }
            }
            Event::StoreClock { wall_ms } => {
                if let Some(store_ms) = wall_ms {
                    self.clock.compare_with_store(at.now, store_ms);
                    self.clock_checked = true;
                }
            }
            Event::Drain => {
                self.draining = true;
                self.heartbeat_due = at.patience;
            }
            Event::Stop => self.stop(at, effects),
            Event::Opened { .. }
            | Event::OpenFailed { .. }
            | Event::ShardFailed { .. }
            | Event::Proved { .. }
            | Event::WritesStopped { .. }
            | Event::Undurable { .. } => self.take_shard(at, event, effects),
        }
    }

    fn take_shard(&mut self, at: &Moment, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Opened { shard, epoch } => {
                let wanted = self.owner.opened(at, shard, epoch, effects);
                if wanted && shard == CATALOG_SHARD {
                    let (id, incarnation) = (self.id, self.identity.incarnation);
                    let address = self.identity.address.clone();
                    self.finder.opened(at, ControllerRef { epoch, id, incarnation, address });
                }
            }
            Event::OpenFailed { shard } => {
                self.owner.open_failed(shard);
                if shard == CATALOG_SHARD {
                    self.finder.open_failed(at);
                }
            }
            Event::ShardFailed { shard, epoch } => {
                let was_open = self.owner.lost(shard, epoch, effects);
                if was_open && shard == CATALOG_SHARD {
                    self.step_down(at, effects);
                }
            }
            Event::Proved { shard, epoch, began } => {
                self.owner.proved(at, shard, epoch, began);
                if let Some(reign) = self.reign.as_mut().filter(|reign| reign.controller.epoch == epoch)
                    && shard == CATALOG_SHARD
                {
                    reign.proved(began);
                    self.heartbeat_due = at.patience;
                }
            }
            Event::WritesStopped { shard, epoch } => {
                self.owner.writes_stopped(at, shard, epoch, effects);
                if shard == CATALOG_SHARD {
                    self.resign(at, epoch, effects);
                }
            }
            Event::Undurable { shard, epoch, since } => self.owner.undurable(shard, epoch, since),
            _ => {}
        }
    }

    /// A controller object was created or found.
    fn object_is_there(&mut self, at: &Moment, object: &ControllerRef, effects: &mut Vec<Effect>) {
        let predecessor = self.finder.known.clone();
        let wanted = self.finder.is_creating();
        if self.finder.created(at, object) {
            self.owner.recognise_catalog();
            let (timing, view) = (self.timing.clone(), self.view.clone());
            let reign = Reign::new(at, timing, object.clone(), view, predecessor.as_ref(), self.data_shards);
            self.reign = Some(reign);
            self.heartbeat_due = at.patience;
            effects.push(Effect::BecameController { epoch: object.epoch });
            let others = self.view.brokers.values().filter(|broker| broker.address != object.address);
            effects.extend(others.map(|broker| Effect::Send {
                to: broker.address.clone(),
                message: Message::Newest(Some(object.clone())),
            }));
        } else if wanted && self.owner.epoch(CATALOG_SHARD) == Some(object.epoch) {
            // Another broker's name under the epoch that is ours: give way.
            self.owner.lost(CATALOG_SHARD, object.epoch, effects);
            self.step_down(at, effects);
        }
    }

    /// Shard 0 is not ours any more.
    pub(super) fn step_down(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        let reign = self.reign.take();
        self.finder.deposed(at, reign.as_ref().is_none_or(|reign| reign.followed));
        if let Some(reign) = reign {
            effects.push(Effect::SteppedDown { epoch: reign.controller.epoch });
        }
    }

    /// Shard 0 has been stopped in order: names the next controller.
    fn resign(&mut self, at: &Moment, epoch: Epoch, effects: &mut Vec<Effect>) {
        self.call_successor(at, epoch, effects);
        self.step_down(at, effects);
    }

    fn call_successor(&self, at: &Moment, epoch: Epoch, effects: &mut Vec<Effect>) {
        let Some(reign) = &self.reign else { return };
        let successor = reign.successor(at).and_then(|successor| reign.members.get(successor));
        if let Some(successor) = successor.filter(|_| reign.controller.epoch == epoch) {
            let to = successor.heartbeat.broker.address.clone();
            effects.push(Effect::Send { to, message: Message::Resign { controller: epoch } });
        }
    }

    fn stop(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        self.draining = true;
        self.abdicate(at, effects);
        self.stopped = true;
        self.send_heartbeat(at, effects);
    }

    /// Gives every shard up at once, shard 0 too.
    pub(super) fn abdicate(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        let reigned = self.owner.epoch(CATALOG_SHARD);
        self.owner.give_up(effects);
        if let Some(epoch) = reigned {
            self.call_successor(at, epoch, effects);
            self.step_down(at, effects);
        }
    }

    /// The cluster as it was last heard of: what Metadata shows.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The id that this broker has, once it was registered.
    pub fn id(&self) -> Option<BrokerId> {
        self.id
    }

    /// The newest controller that is known of.
    pub fn controller(&self) -> Option<&ControllerRef> {
        self.finder.known.as_ref()
    }

    /// The epoch in which this broker is the controller, when it believes to be.
    pub fn reigning(&self) -> Option<Epoch> {
        self.reign.as_ref().map(|reign| reign.controller.epoch)
    }

    /// The epoch in which this broker serves a shard: what is appended through that handle may be acknowledged, once it
    /// is durable and the handle has not failed.
    pub fn active(&self, shard: ShardId) -> Option<Epoch> {
        self.owner.active(shard)
    }

    /// Whether reads of a shard may be answered now. To be asked after the request arrived.
    pub fn may_read(&self, shard: ShardId, now: Now) -> bool {
        self.read_lease(shard, now).is_some()
    }

    /// The lease under which reads of a shard are answered. A copy may be asked until the next effect.
    pub fn read_lease(&self, shard: ShardId, now: Now) -> Option<Lease> {
        self.owner.lease(shard, now).filter(|_| !self.stopped)
    }

    /// Whether the catalog that this broker has applied can be relied on: without, new authentications are refused.
    pub fn has_lease(&self, now: Now) -> bool {
        self.broker_lease.is_some_and(|lease| lease.holds(now)) && !self.stopped
    }

    /// The same, to be asked without the node until the next effect.
    pub fn catalog_lease(&self) -> Option<Lease> {
        self.broker_lease.filter(|_| !self.stopped)
    }

    /// The cluster's time (ms since 1970).
    pub fn cluster_ms(&mut self, now: Now) -> i64 {
        self.clock.now_ms(now)
    }

    /// How far the cluster's time is ahead of the own wall clock (ms).
    pub fn skew_ms(&self, now: Now) -> i64 {
        self.clock.skew_ms(now)
    }

    /// Whether the own wall clock can be worked with; if not, this broker has no shards.
    pub fn is_clock_trusted(&self) -> bool {
        self.clock_checked && self.clock.is_trusted()
    }
}
