//! Finding the controller, and becoming it when nobody hears it any more.
//!
//! The newest object under `controller/` names the controller. A broker that has heard nothing of it for the failover
//! time asks its peers; only when none hears it either, it opens shard 0 with the next epoch. Two that both try do no
//! harm: the epoch is expected, so one fails.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::event::Effect;
use super::message::{Address, CATALOG_SHARD, ControllerRef, Epoch, Incarnation, Message, View};
use super::time::{Moment, Patience};
use super::timing::Timing;

/// The bucket's answers are waited for that much longer than those of peers (ms).
const BUCKET_MS: u64 = 5_000;
/// An opening of shard 0 that nobody has announced is given this long, before it counts as given up (ms).
const UNANNOUNCED_MS: u64 = 6_000;
/// Without the word of most peers, patience is longer by this factor, and doubles with every reign that nobody followed.
const LONELY_FACTOR: u64 = 2;
const MOST_DOUBLINGS: u32 = 3;

/// What is being found out before taking over.
#[derive(Debug)]
struct Inquiry {
    round: u64,
    until: Patience,
    /// By peer: whether it answered. One that hears the controller ends the inquiry.
    peers: BTreeMap<Address, bool>,
    listed: bool,
    epoch_request: u64,
    epoch: Option<Epoch>,
}

#[derive(Debug)]
enum Step {
    Following,
    Asking(Inquiry),
    Opening,
    Creating { object: ControllerRef, retry: Patience },
    Reigning,
}

#[derive(Debug)]
pub(super) struct Finder {
    timing: Timing,
    own: Incarnation,
    random: StdRng,
    /// The newest controller that is known of.
    pub(super) known: Option<ControllerRef>,
    /// Addresses of earlier controllers: the peers to ask while no view is known.
    earlier: Vec<Address>,
    /// When the known controller became known, or last answered.
    quiet_since: Patience,
    /// When it last answered.
    heard: Option<Patience>,
    step: Step,
    not_before: Patience,
    next_list: Patience,
    /// The bucket has been looked at once.
    looked: bool,
    /// An epoch of shard 0 without an object, and since when it was seen.
    unannounced: Option<(Epoch, Patience)>,
    rounds: u64,
    doublings: u32,
}

impl Finder {
    pub(super) fn new(timing: Timing, own: Incarnation, seed: u64) -> Self {
        Self {
            timing,
            own,
            random: StdRng::seed_from_u64(seed),
            known: None,
            earlier: Vec::new(),
            quiet_since: Patience::default(),
            heard: None,
            step: Step::Following,
            not_before: Patience::default(),
            next_list: Patience::default(),
            looked: false,
            unannounced: None,
            rounds: 0,
            doublings: 0,
        }
    }

    fn known_epoch(&self) -> Epoch {
        self.known.as_ref().map_or(0, |known| known.epoch)
    }

    /// Takes note of a controller. Whether it is newer than the one that was known.
    pub(super) fn learn(&mut self, at: &Moment, controller: &ControllerRef) -> bool {
        let newer = controller.epoch > self.known_epoch();
        if newer {
            self.known = Some(controller.clone());
            self.quiet_since = at.patience;
            self.heard = None;
            self.unannounced = None;
            if matches!(self.step, Step::Asking(_)) {
                self.step = Step::Following;
            }
        }
        newer
    }

    /// The known controller has answered, and proven itself lately.
    pub(super) fn heard(&mut self, at: &Moment) {
        self.quiet_since = at.patience;
        self.heard = Some(at.patience);
        if matches!(self.step, Step::Asking(_)) {
            self.step = Step::Following;
        }
    }

    /// Whether a peer should leave this controller, or a newer one, alone.
    pub(super) fn hears(&self, at: &Moment, controller: Epoch) -> bool {
        // Half of it: otherwise the first who misses a dead controller is told that the others still heard it.
        let limit = self.timing.failover_ms / 2;
        let recently = self.heard.is_some_and(|heard| at.patience.since(heard) < limit);
        recently && self.known_epoch() >= controller
    }

    pub(super) fn listed(&mut self, at: &Moment, objects: &[ControllerRef]) -> bool {
        self.looked = true;
        let own = self.own;
        let earlier = objects.iter().filter(|object| object.incarnation != own);
        self.earlier = earlier.map(|object| object.address.clone()).collect();
        let newer = objects.iter().max_by_key(|object| object.epoch).is_some_and(|newest| self.learn(at, newest));
        if let Step::Asking(inquiry) = &mut self.step {
            inquiry.listed = true;
        }
        newer
    }

    pub(super) fn epoch_read(&mut self, request: u64, epoch: Option<Epoch>) {
        if let Step::Asking(inquiry) = &mut self.step
            && inquiry.epoch_request == request
        {
            inquiry.epoch = epoch;
        }
    }

    /// A peer's answer.
    pub(super) fn peer(&mut self, at: &Moment, from: &Address, round: u64, heard: bool) {
        let Step::Asking(inquiry) = &mut self.step else { return };
        if inquiry.round != round {
            return;
        }
        if heard {
            let pause = self.timing.failover_ms / 2;
            self.not_before = at.patience + pause + self.random.random_range(0..=pause);
            self.step = Step::Following;
        } else if let Some(answered) = inquiry.peers.get_mut(from) {
            *answered = true;
        }
    }

    /// Looks for the controller, asks, decides. `may_reign`: whether this broker can be controller at all. Returns the
    /// epoch to expect when shard 0 is to be opened now.
    pub(super) fn tick(
        &mut self,
        at: &Moment,
        may_reign: bool,
        view: &View,
        own_address: &Address,
        request: &mut u64,
        effects: &mut Vec<Effect>,
    ) -> Option<Epoch> {
        self.look(at, effects);
        match &mut self.step {
            Step::Following => {
                if may_reign && self.is_due(at, own_address) {
                    self.ask(at, view, own_address, request, effects);
                }
                None
            }
            Step::Asking(inquiry) => {
                let bucket = inquiry.listed && inquiry.epoch.is_some();
                let peers = inquiry.peers.values().all(|answered| *answered) || at.patience >= inquiry.until;
                // A slow bucket is waited for, but not without end.
                if !(bucket && peers) && at.patience < inquiry.until + BUCKET_MS {
                    return None;
                }
                self.decide(at, may_reign, own_address)
            }
            Step::Creating { object, retry } => {
                if at.patience >= *retry {
                    *retry = at.patience + self.timing.list_interval_ms;
                    effects.push(Effect::CreateController(object.clone()));
                }
                None
            }
            Step::Opening | Step::Reigning => None,
        }
    }

    /// Lists the controller objects while no controller is heard.
    fn look(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        let quiet = self.known.is_none() || at.patience.since(self.quiet_since) > self.timing.failover_ms / 4;
        if quiet && at.patience >= self.next_list && !matches!(self.step, Step::Reigning | Step::Creating { .. }) {
            self.list(at, effects);
        }
    }

    fn list(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        let interval = self.timing.list_interval_ms;
        self.next_list = at.patience + interval + self.random.random_range(0..=interval / 4);
        effects.push(Effect::ListControllers);
    }

    /// Something said that the known controller is not the one any more.
    pub(super) fn look_now(&mut self, at: &Moment) {
        self.next_list = self.next_list.min(at.patience + self.timing.list_interval_ms / 5);
    }

    /// Whether there is no controller, or it was an earlier life of this broker.
    fn is_surely_gone(&self, own_address: &Address) -> bool {
        let own = self.own;
        self.known.as_ref().is_none_or(|known| known.address == *own_address && known.incarnation != own)
    }

    fn is_due(&self, at: &Moment, own_address: &Address) -> bool {
        let silent = at.patience.since(self.quiet_since) >= self.timing.failover_ms << self.doublings;
        self.looked && at.patience >= self.not_before && (silent || self.is_surely_gone(own_address))
    }

    fn ask(&mut self, at: &Moment, view: &View, own_address: &Address, request: &mut u64, effects: &mut Vec<Effect>) {
        self.rounds += 1;
        *request += 1;
        let controller = self.known.as_ref().map(|known| known.address.clone());
        let is_peer = |address: &&Address| *address != own_address && Some(*address) != controller.as_ref();
        let seen: Vec<&Address> = match view.brokers.is_empty() {
            true => self.earlier.iter().collect(),
            false => view.brokers.values().map(|broker| &broker.address).collect(),
        };
        let peers: BTreeMap<Address, bool> =
            seen.into_iter().filter(is_peer).map(|address| (address.clone(), false)).collect();
        for peer in peers.keys() {
            let message = Message::Ask { round: self.rounds, controller: self.known_epoch() };
            effects.push(Effect::Send { to: peer.clone(), message });
        }
        effects.push(Effect::ReadEpoch { shard: CATALOG_SHARD, request: *request });
        self.step = Step::Asking(Inquiry {
            round: self.rounds,
            until: at.patience + self.timing.ask_ms + self.random.random_range(0..=self.timing.ask_ms / 2),
            peers,
            listed: false,
            epoch_request: *request,
            epoch: None,
        });
        self.list(at, effects);
    }

    /// The inquiry is over: open shard 0, or wait.
    fn decide(&mut self, at: &Moment, may_reign: bool, own_address: &Address) -> Option<Epoch> {
        let Step::Asking(inquiry) = std::mem::replace(&mut self.step, Step::Following) else { return None };
        let interval = self.timing.list_interval_ms;
        self.not_before = at.patience + interval + self.random.random_range(0..=interval);
        let epoch = inquiry.epoch.filter(|_| inquiry.listed && may_reign)?;
        let reached = 1 + inquiry.peers.values().filter(|answered| **answered).count();
        let lonely = reached * 2 <= inquiry.peers.len() + 1;
        let factor = if lonely { LONELY_FACTOR } else { 1 };
        let silent = at.patience.since(self.quiet_since);
        let patient = silent < (self.timing.failover_ms * factor) << self.doublings;
        if patient && !self.is_surely_gone(own_address) {
            return None;
        }
        if !self.is_announced(at, epoch) {
            return None;
        }
        self.step = Step::Opening;
        Some(epoch)
    }

    /// Whether the last opening of shard 0 is the known controller's, or has been left without an object for long.
    fn is_announced(&mut self, at: &Moment, epoch: Epoch) -> bool {
        if epoch <= self.known_epoch() {
            return true;
        }
        match self.unannounced {
            Some((seen, since)) if seen == epoch => at.patience.since(since) >= UNANNOUNCED_MS,
            _ => {
                self.unannounced = Some((epoch, at.patience));
                false
            }
        }
    }

    /// The controller has stopped writing to shard 0, and wants this broker to go on. Whether to open it now.
    pub(super) fn resigned(&mut self, controller: Epoch) -> bool {
        let follow = self.known_epoch() == controller && matches!(self.step, Step::Following | Step::Asking(_));
        if follow {
            self.step = Step::Opening;
        }
        follow
    }

    /// Shard 0 is open here: announce it.
    pub(super) fn opened(&mut self, at: &Moment, object: ControllerRef) {
        if matches!(self.step, Step::Opening) {
            self.step = Step::Creating { object, retry: at.patience };
        }
    }

    pub(super) fn open_failed(&mut self, at: &Moment) {
        if matches!(self.step, Step::Opening) {
            let interval = self.timing.list_interval_ms;
            self.step = Step::Following;
            self.not_before = at.patience + interval + self.random.random_range(0..=interval);
            self.next_list = at.patience;
        }
    }

    /// An object is there. Returns it when it makes this broker the controller.
    pub(super) fn created(&mut self, at: &Moment, object: &ControllerRef) -> bool {
        let Step::Creating { object: wanted, .. } = &self.step else {
            self.learn(at, object);
            return false;
        };
        if wanted.epoch != object.epoch {
            return false;
        }
        let own = wanted.incarnation == object.incarnation;
        self.learn(at, object);
        self.step = if own { Step::Reigning } else { Step::Following };
        own
    }

    /// Shard 0 is not open here any more. `followed`: whether another broker was registered during the reign.
    pub(super) fn deposed(&mut self, at: &Moment, followed: bool) {
        if matches!(self.step, Step::Reigning) {
            self.doublings = if followed { 0 } else { (self.doublings + 1).min(MOST_DOUBLINGS) };
            self.quiet_since = at.patience;
            self.heard = None;
        }
        self.step = Step::Following;
        self.next_list = at.patience;
    }

    /// Registered with a controller: what went wrong before is over.
    pub(super) fn registered(&mut self) {
        self.doublings = 0;
    }

    pub(super) fn is_creating(&self) -> bool {
        matches!(self.step, Step::Creating { .. })
    }
}
