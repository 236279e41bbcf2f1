//! The ways between hosts and to the bucket: delays, losses, cuts, and requests whose answer never comes.

use rand::Rng as _;

use super::super::{Event, Message};
use super::host::Item;
use super::world::{Done, Op, Payload, World};

/// Whether a process goes on with what it began.
pub(super) enum Steps {
    Run,
    Wait,
    Ended,
}

impl World {
    pub(super) fn send(&mut self, from: usize, to: &str, mut message: Message) {
        let Some(to) = self.hosts.iter().position(|host| *host.address == *to) else { return };
        self.mutation.iter().for_each(|mutation| mutation.distort(&mut message));
        let lost = self.random.random_range(0..1_000) < self.conditions.loss;
        if lost || self.cuts[from][to] {
            return;
        }
        let copies = if self.random.random_range(0..1_000) < self.conditions.loss { 2 } else { 1 };
        for _ in 0..copies {
            let late = if self.random.random_range(0..1_000) < self.conditions.loss { 500 } else { 5 };
            let after = 1 + self.random.random_range(0..=late);
            let item = Item::Message { from: self.hosts[from].address.clone(), message: message.clone() };
            self.push(after, Payload::Item { host: to, item });
        }
    }

    /// Half the way to the bucket, or back.
    fn half_way(&mut self) -> u64 {
        let half = self.conditions.bucket_ms / 2;
        half + self.random.random_range(0..=half)
    }

    pub(super) fn request(&mut self, index: usize, op: Op) {
        let after = self.half_way();
        let life = self.hosts[index].life;
        if self.cuts[index][self.bucket_index()] {
            self.unanswered(index, life, op);
        } else {
            self.push(after, Payload::Arrive { host: index, life, op });
        }
    }

    /// Whether a process can take the next step of something that takes several.
    pub(super) fn steps_of(&self, index: usize, life: u64) -> Steps {
        let host = &self.hosts[index];
        match host.node {
            Some(_) if host.life == life && host.paused => Steps::Wait,
            Some(_) if host.life == life => Steps::Run,
            _ => Steps::Ended,
        }
    }

    pub(super) fn arrive(&mut self, index: usize, life: u64, op: Op) {
        if matches!(op, Op::Fence { .. } | Op::Replay { .. }) {
            match self.steps_of(index, life) {
                Steps::Ended => return,
                Steps::Wait => return self.push(100, Payload::Arrive { host: index, life, op }),
                Steps::Run if self.cuts[index][self.bucket_index()] => return self.unanswered(index, life, op),
                Steps::Run => {}
            }
        }
        let answer = self.apply_op(index, life, &op);
        let unheard = self.cuts[self.bucket_index()][index];
        let seems_lost = self.random.random_range(0..1_000) < self.conditions.timeouts;
        match answer {
            // A step of an opening went on by itself.
            None => {}
            Some(_) if unheard || seems_lost => self.unanswered(index, life, op),
            Some(done) => {
                let after = self.half_way();
                self.push(after, Payload::Item { host: index, item: Item::Done { life, done } });
            }
        }
    }

    /// What a process makes of a request without an answer.
    fn unanswered(&mut self, index: usize, life: u64, op: Op) {
        let (after, event) = match op {
            Op::Raise { shard, .. } | Op::Fence { shard, .. } | Op::Replay { shard, .. } => {
                (5_000, Event::OpenFailed { shard })
            }
            Op::Put { shard, epoch, id, records, began, attempts } => {
                if attempts > 0 {
                    let op = Op::Put { shard, epoch, id, records, began, attempts: attempts - 1 };
                    self.push(1_000, Payload::Resend { host: index, life, op });
                    return;
                }
                let done = Done::Put { shard, epoch, records, began, written: false };
                self.push(1_000, Payload::Item { host: index, item: Item::Done { life, done } });
                return;
            }
            Op::Prove { .. } => return,
            Op::ReadEpoch { request, .. } => (3_000, Event::EpochRead { request, epoch: None }),
            Op::List => (3_000, Event::ListControllersFailed),
            Op::Create(object) => (3_000, Event::CreateControllerFailed { epoch: object.epoch }),
            Op::Clock => (3_000, Event::StoreClock { wall_ms: None }),
        };
        self.push(after, Payload::Item { host: index, item: Item::Done { life, done: Done::Event(event) } });
    }
}
