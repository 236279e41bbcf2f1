//! What a node makes of other brokers' messages.

use super::event::Effect;
use super::lease::Lease;
use super::message::{Address, Answer, Heartbeat, Message, Standing};
use super::node::Node;
use super::time::Moment;

impl Node {
    pub(super) fn receive(&mut self, at: &Moment, from: Address, message: Message, effects: &mut Vec<Effect>) {
        match message {
            Message::Heartbeat(heartbeat) => self.take_heartbeat(at, from, *heartbeat, effects),
            Message::Answer(answer) => self.take_answer(at, *answer, effects),
            Message::Newest(newest) => {
                if newest.is_some_and(|newest| self.finder.learn(at, &newest)) {
                    self.heartbeat_due = at.patience;
                } else if self.finder.known.as_ref().is_some_and(|known| known.address == from) {
                    self.finder.look_now(at);
                }
            }
            Message::Ask { round, controller } => {
                let heard = match &self.reign {
                    Some(reign) => reign.is_fresh(at),
                    None => self.finder.hears(at, controller),
                };
                let message = Message::Heard { round, heard, newest: self.finder.known.clone() };
                effects.push(Effect::Send { to: from, message });
            }
            Message::Heard { round, heard, newest } => {
                self.finder.peer(at, &from, round, heard);
                if newest.is_some_and(|newest| self.finder.learn(at, &newest)) {
                    self.heartbeat_due = at.patience;
                }
            }
            Message::Resign { controller } => {
                if self.is_able() && self.finder.resigned(controller) {
                    // The one before has stopped, and said so: nothing to wait for.
                    self.owner.open_catalog(controller, 0, effects);
                }
            }
        }
    }

    fn take_heartbeat(&mut self, at: &Moment, from: Address, heartbeat: Heartbeat, effects: &mut Vec<Effect>) {
        let Some(reign) = &mut self.reign else {
            let message = Message::Newest(self.finder.known.clone());
            effects.push(Effect::Send { to: from, message });
            return;
        };
        let apart = heartbeat.wall_ms.abs_diff(at.now.wall_ms);
        let skewed = apart > self.timing.max_skew_ms;
        if heartbeat.clock_trusted && !skewed {
            // Refused only when it is too far ahead, and those are skewed.
            let _ = self.clock.observe(at.now, heartbeat.wall_ms);
        }
        reign.heartbeat(at, heartbeat, skewed, effects);
    }

    pub(super) fn take_answer(&mut self, at: &Moment, answer: Answer, effects: &mut Vec<Effect>) {
        let known = self.finder.known.as_ref().map_or(0, |known| known.epoch);
        if answer.to != self.identity.incarnation || answer.controller.epoch < known {
            return;
        }
        let own = answer.controller.incarnation == self.identity.incarnation;
        if own && self.reign.as_ref().is_none_or(|reign| reign.controller.epoch != answer.controller.epoch) {
            return;
        }
        self.finder.learn(at, &answer.controller);
        let first = self.view.controller < answer.controller.epoch;
        if answer.view.is_newer_than(&self.view) {
            self.view = answer.view.clone();
            effects.push(Effect::ViewChanged);
        }
        // One that is too far ahead is not followed; the skew shows in the metric of the broker that is ahead.
        let _ = self.clock.observe(at.now, answer.cluster_ms);
        self.take_leases(at, &answer, own);
        self.take_standing(at, &answer.standing, effects);
        let able = self.is_able();
        self.owner.follow(at, &answer.orders, able, effects);
        if first {
            // Shows the new controller that its answers arrive.
            self.heartbeat_due = at.patience;
        }
    }

    /// Everything that is dated by the heartbeat that was answered.
    fn take_leases(&mut self, at: &Moment, answer: &Answer, own: bool) {
        let Some((_, sent)) = self.sent.iter().find(|(sequence, _)| *sequence == answer.sequence).copied() else {
            return;
        };
        self.heard = self.heard.max(answer.sequence);
        let proof = sent.offset(answer.proof_offset_ms);
        let age = at.now.longest_since(proof);
        if age < i64::try_from(self.timing.granted_lease_ms).unwrap_or(i64::MAX) {
            self.finder.heard(at);
        }
        // A new controller reassigns its predecessor's own shards at once: those live by their own proofs.
        let lease_ms = if own { self.timing.proven_lease_ms } else { self.timing.granted_lease_ms };
        self.owner.granted(at, &answer.granted, proof, answer.lease_from(sent), lease_ms);
        if let Standing::Registered(_) = answer.standing {
            let from = sent.offset(answer.proof_offset_ms.min(answer.catalog_offset_ms).min(0));
            self.broker_lease = Lease::longer(self.broker_lease, Lease::new(from, lease_ms), at.now);
            if !own {
                self.finder.registered();
            }
        }
    }

    fn take_standing(&mut self, at: &Moment, standing: &Standing, effects: &mut Vec<Effect>) {
        match standing {
            Standing::Registered(id) => {
                self.refused = None;
                if self.id != Some(*id) {
                    self.id = Some(*id);
                    effects.push(Effect::Registered { id: *id });
                }
            }
            Standing::Waiting => {}
            Standing::Refused(sentence) => {
                let (since, said_lasting) = match &self.refused {
                    Some((_, since, said)) => (*since, *said),
                    None => (at.patience, false),
                };
                let lasting = at.patience.since(since) > 2 * self.timing.failover_ms;
                if self.refused.is_none() || (lasting && !said_lasting) {
                    effects.push(Effect::Refused { sentence: sentence.clone(), lasting });
                }
                self.refused = Some((sentence.clone(), since, lasting || said_lasting));
            }
        }
    }
}
