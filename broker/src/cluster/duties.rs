//! What a node does by itself, after every event: heartbeats, answers, opening, giving up.

use super::event::Effect;
use super::message::{CATALOG_SHARD, Heartbeat, Message};
use super::node::Node;
use super::time::Moment;

/// Between two looks at the bucket's clock (ms): while the own cannot be trusted, and otherwise.
const CLOCK_DOUBT_MS: u64 = 5_000;
const CLOCK_CHECK_MS: u64 = 600_000;
/// Heartbeats whose answer may still come.
const MOST_SENT: usize = 64;

impl Node {
    pub(super) fn go_on(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        if self.stopped {
            return;
        }
        self.mind_the_clock(at, effects);
        self.find_controller(at, effects);
        // What is decided here about this broker itself takes effect at once; three rounds let it all come to rest.
        for _ in 0..3 {
            if let Some(reign) = &mut self.reign {
                reign.tick(at, &mut self.requests, effects);
                self.view = reign.view().clone();
            }
            self.send_answers(at, effects);
            self.owner.tick(at, &self.view, effects);
            if !std::mem::take(&mut self.owner.news) && at.patience < self.heartbeat_due {
                break;
            }
            self.send_heartbeat(at, effects);
        }
        self.drain(at, effects);
    }

    /// A broker whose wall clock is wrong gives its shards up: what it wrote would be dated wrongly.
    fn mind_the_clock(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        let trusted = self.clock.is_trusted();
        if !trusted {
            self.abdicate(at, effects);
        }
        let doubted = !trusted || !self.clock_checked;
        let latest = at.patience + CLOCK_DOUBT_MS;
        if doubted && self.store_clock_due > latest {
            self.store_clock_due = at.patience;
        }
        if at.patience >= self.store_clock_due {
            self.store_clock_due = at.patience + if doubted { CLOCK_DOUBT_MS } else { CLOCK_CHECK_MS };
            effects.push(Effect::ReadStoreClock);
        }
    }

    /// Whether shards may be opened here.
    pub(super) fn is_able(&self) -> bool {
        self.is_clock_trusted() && !self.draining && !self.stopped
    }

    fn find_controller(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        let able = self.is_able() && self.owner.epoch(CATALOG_SHARD).is_none();
        let address = &self.identity.address;
        let open = self.finder.tick(at, able, &self.view, address, &mut self.requests, effects);
        if let Some(expected) = open {
            let settle_ms = if expected == 0 { 0 } else { self.timing.settle_ms };
            self.owner.open_catalog(expected, settle_ms, effects);
        }
    }

    pub(super) fn send_heartbeat(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        self.heartbeat_due = at.patience + self.timing.heartbeat_ms;
        let Some(controller) = self.finder.known.clone() else { return };
        self.sequence += 1;
        self.sent.push_back((self.sequence, at.now));
        if self.sent.len() > MOST_SENT {
            self.sent.pop_front();
        }
        let heartbeat = Heartbeat {
            broker: self.identity.clone(),
            id: self.id,
            sequence: self.sequence,
            heard: self.heard,
            controller: controller.epoch,
            wall_ms: at.now.wall_ms,
            clock_trusted: self.is_clock_trusted(),
            draining: self.draining,
            leaving: self.stopped,
            catalog_version: self.catalog_version,
            shards: self.owner.claims(at),
            failed_orders: self.owner.failed_orders(),
        };
        match &mut self.reign {
            Some(reign) => reign.heartbeat(at, heartbeat, false, effects),
            // A restarted broker finds its own earlier life's object, at its own address.
            None if controller.address == self.identity.address => {}
            None => {
                let message = Message::Heartbeat(Box::new(heartbeat));
                effects.push(Effect::Send { to: controller.address, message });
            }
        }
    }

    fn send_answers(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        let cluster_ms = self.clock.now_ms(at.now);
        while let Some(reign) = &mut self.reign
            && let Some(to) = reign.due.pop_first()
        {
            let Some(answer) = reign.answer(at, to, cluster_ms) else { continue };
            let address = reign.members.get(to).map(|member| member.heartbeat.broker.address.clone());
            if to == self.identity.incarnation {
                self.take_answer(at, answer, effects);
            } else if let Some(to) = address {
                effects.push(Effect::Send { to, message: Message::Answer(Box::new(answer)) });
            }
        }
    }

    /// Hands over what is left, the catalog last.
    fn drain(&mut self, at: &Moment, effects: &mut Vec<Effect>) {
        if !self.draining || self.drained {
            return;
        }
        if let Some(reign) = &self.reign {
            let others = reign.successor(at).is_some();
            let rid = reign.has_handed_over() && self.owner.claims(at).is_empty();
            if others && rid && self.owner.active(CATALOG_SHARD).is_some() {
                self.owner.release_catalog(at, effects);
            }
            if others {
                return;
            }
            // Nobody is there to take anything.
        } else if !self.owner.is_idle() {
            return;
        }
        self.drained = true;
        effects.push(Effect::Drained);
    }
}
