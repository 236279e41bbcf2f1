//! Simulated time: what happens when, and what each effect leads to.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::super::{ControllerRef, Effect, Epoch, Event, Message, Now, ShardId, Timing};
use super::bucket::{Bucket, Record};
use super::checker::Checker;
use super::host::{Handle, Host, Item, WALL};
use super::mutation::Mutation;
use super::network::Steps;

/// A request to the bucket on its way.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Raise { shard: ShardId, expected: Epoch },
    Fence { shard: ShardId, epoch: Epoch },
    Replay { shard: ShardId, epoch: Epoch, end: usize },
    Put { shard: ShardId, epoch: Epoch, id: u64, records: Arc<Vec<Record>>, began: Now, attempts: u32 },
    Prove { shard: ShardId, epoch: Epoch, began: Now },
    ReadEpoch { shard: ShardId, request: u64 },
    List,
    Create(ControllerRef),
    Clock,
}

/// What a request came to.
#[derive(Clone, Debug)]
pub(super) enum Done {
    Event(Event),
    Opened { shard: ShardId, epoch: Epoch, end: usize },
    Put { shard: ShardId, epoch: Epoch, records: Arc<Vec<Record>>, began: Now, written: bool },
}

#[derive(Debug)]
pub(super) enum Payload {
    Item {
        host: usize,
        item: Item,
    },
    Arrive {
        host: usize,
        life: u64,
        op: Op,
    },
    /// The store tries again.
    Resend {
        host: usize,
        life: u64,
        op: Op,
    },
    Act(Act),
}

/// What the surroundings do.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Work,
    Kill(usize),
    Start(usize),
    Pause(usize),
    /// The machine sleeps, and its steady clock with it.
    Suspend(usize),
    Resume(usize),
    Cut {
        from: usize,
        to: usize,
    },
    Join {
        from: usize,
        to: usize,
    },
    WallJump(usize, i64),
    WallRight(usize),
    SteadyJump(usize, u64),
    /// The stream of catalog changes stops, and goes on.
    Stick(usize, bool),
    Slow(u64),
    Timeouts(u32),
    Drain(usize),
    Stop(usize),
    Heal,
}

/// How the surroundings are.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    /// Of a request to the bucket (ms).
    pub(super) bucket_ms: u64,
    /// Of replaying at the end of an opening (ms, from and to).
    pub(super) replay_ms: (u64, u64),
    /// In 1000.
    pub(super) loss: u32,
    /// Requests that take effect and seem to fail, in 1000.
    pub(super) timeouts: u32,
    /// Between two rounds of producing and reading (ms).
    pub(super) work_ms: u64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { bucket_ms: 30, replay_ms: (300, 1_200), loss: 0, timeouts: 0, work_ms: 20 }
    }
}

pub(super) struct World {
    pub(super) time: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Payload>,
    pub(super) random: StdRng,
    pub(super) hosts: Vec<Host>,
    pub(super) bucket: Bucket,
    pub(super) checker: Checker,
    pub(super) conditions: Conditions,
    pub(super) timing: Timing,
    pub(super) mutation: Option<Mutation>,
    pub(super) data_shards: u32,
    /// Cut ways, from and to; the bucket is the last.
    pub(super) cuts: Vec<Vec<bool>>,
    pub(super) records: Record,
    pub(super) failure: Option<String>,
    pub(super) trace: Option<Vec<String>>,
    pub(super) steps: u64,
}

impl World {
    pub(super) fn new(seed: u64, nodes: usize, data_shards: u32, mutation: Option<Mutation>) -> Self {
        let mut timing = Timing::default();
        assert_eq!(timing.check(), Ok(()));
        mutation.iter().for_each(|mutation| mutation.change(&mut timing));
        let mut world = Self {
            time: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            random: StdRng::seed_from_u64(seed),
            hosts: (0..nodes).map(|index| Host::new(index, 3)).collect(),
            bucket: Bucket::default(),
            checker: Checker::default(),
            conditions: Conditions::default(),
            timing,
            mutation,
            data_shards,
            cuts: vec![vec![false; nodes + 1]; nodes + 1],
            records: 0,
            failure: None,
            trace: None,
            steps: 0,
        };
        for host in 0..nodes {
            let after = world.random.random_range(0..300);
            world.act_in(after, Act::Start(host));
        }
        world.act_in(0, Act::Work);
        world
    }

    pub(super) fn bucket_index(&self) -> usize {
        self.hosts.len()
    }

    pub(super) fn push(&mut self, after: u64, payload: Payload) {
        self.sequence += 1;
        self.queue.insert((self.time + after, self.sequence), payload);
    }

    pub(super) fn act_in(&mut self, after: u64, act: Act) {
        self.push(after, Payload::Act(act));
    }

    /// Forgets what the surroundings were going to do, besides producing and reading.
    pub(super) fn forget_acts(&mut self) {
        self.queue.retain(|_, payload| !matches!(payload, Payload::Act(act) if !matches!(act, Act::Work)));
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>7} {}", self.time, text()));
        }
    }

    pub(super) fn check(&mut self, outcome: Result<(), String>) {
        if let Err(what) = outcome
            && self.failure.is_none()
        {
            self.note(|| format!("VIOLATED: {what}"));
            self.failure = Some(what);
        }
    }

    /// Runs until `until` (ms), until something is violated, or until `done`.
    pub(super) fn run(&mut self, until: u64, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        while self.failure.is_none() {
            let Some((&(time, _), _)) = self.queue.first_key_value() else { return false };
            if time > until {
                self.time = until;
                return false;
            }
            let Some((_, payload)) = self.queue.pop_first() else { return false };
            let looked = self.time / 100 != time / 100;
            self.time = time;
            self.steps += 1;
            match payload {
                Payload::Item { host, item } => self.item(host, item),
                Payload::Arrive { host, life, op } => self.arrive(host, life, op),
                Payload::Resend { host, life, op } => match self.steps_of(host, life) {
                    Steps::Ended => {}
                    Steps::Wait => self.push(100, Payload::Resend { host, life, op }),
                    Steps::Run => self.request(host, op),
                },
                Payload::Act(act) => self.act(act),
            }
            if looked && done(self) {
                return true;
            }
        }
        false
    }

    pub(super) fn run_for(&mut self, ms: u64) {
        self.run(self.time + ms, |_| false);
    }

    fn item(&mut self, index: usize, item: Item) {
        let host = &mut self.hosts[index];
        if host.node.is_none() {
            return;
        }
        if host.paused {
            // Ticks are one timer.
            if !matches!(item, Item::Tick) || !host.inbox.iter().any(|item| matches!(item, Item::Tick)) {
                host.inbox.push_back(item);
            }
            return;
        }
        self.deliver(index, item);
    }

    fn deliver(&mut self, index: usize, item: Item) {
        match item {
            Item::Tick => {
                self.push(100, Payload::Item { host: index, item: Item::Tick });
                self.event(index, Event::Tick);
            }
            Item::Message { from, message } => self.event(index, Event::Received { from, message }),
            Item::Done { life, done } if life == self.hosts[index].life => self.done(index, done),
            Item::Done { .. } => {}
        }
    }

    pub(super) fn resume(&mut self, index: usize) {
        let time = self.time;
        self.hosts[index].resume_clock(time);
        self.hosts[index].paused = false;
        let inbox = std::mem::take(&mut self.hosts[index].inbox);
        inbox.into_iter().for_each(|item| self.deliver(index, item));
    }

    /// What the node sees of its clocks.
    pub(super) fn now(&self, index: usize) -> Now {
        let now = self.hosts[index].now(self.time);
        match self.mutation {
            // The wall clock is made to say what the steady one says.
            Some(Mutation::WallClockIgnored) => {
                Now { wall_ms: WALL - 1_000_000 + now.monotonic.as_millis() as i64, ..now }
            }
            _ => now,
        }
    }

    pub(super) fn event(&mut self, index: usize, event: Event) {
        let now = self.now(index);
        if !matches!(
            event,
            Event::Tick
                | Event::Proved { .. }
                | Event::Received { message: Message::Heartbeat(_) | Message::Answer(_), .. }
        ) {
            self.note(|| format!("{index} <- {event:?}"));
        }
        let Some(node) = &mut self.hosts[index].node else { return };
        let effects = node.handle(now, event);
        let believed = node.controller().map_or(0, |controller| controller.epoch);
        let checked = self.checker.believes(index, self.hosts[index].life, believed);
        self.check(checked);
        effects.into_iter().for_each(|effect| self.effect(index, effect));
    }

    fn effect(&mut self, index: usize, effect: Effect) {
        if !matches!(effect, Effect::ProveShard { .. } | Effect::Send { message: Message::Heartbeat(_), .. }) {
            self.note(|| format!("{index} -> {}", describe(&effect)));
        }
        match effect {
            Effect::Send { to, message } => self.send(index, &to, message),
            Effect::ListControllers => self.request(index, Op::List),
            Effect::CreateController(object) => self.request(index, Op::Create(object)),
            Effect::ReadEpoch { shard, request } => self.request(index, Op::ReadEpoch { shard, request }),
            Effect::OpenShard { shard, expected } => {
                self.hosts[index].opening.insert(shard, expected);
                self.request(index, Op::Raise { shard, expected });
            }
            Effect::ProveShard { shard, epoch } => {
                let began = self.now(index);
                self.request(index, Op::Prove { shard, epoch, began });
            }
            Effect::StopWrites { shard, epoch } => {
                if let Some(handle) = self.handle(index, shard, epoch) {
                    handle.stopping = true;
                    self.write(index, shard);
                }
            }
            Effect::CloseShard { shard, epoch } => {
                if self.handle(index, shard, epoch).is_some() {
                    self.hosts[index].handles.remove(&shard);
                }
            }
            Effect::ReadStoreClock => self.request(index, Op::Clock),
            Effect::ShardActive { shard, epoch } => self.activate(index, shard, epoch),
            Effect::ShardLost { shard, epoch } => {
                if let Some(handle) = self.handle(index, shard, epoch) {
                    handle.active = false;
                }
            }
            Effect::BecameController { epoch } => {
                let checked = self.checker.became_controller(index, epoch);
                self.check(checked);
            }
            Effect::CatalogSettled { version } => self.settled(version),
            Effect::Drained => self.hosts[index].drained = true,
            Effect::Refused { sentence, .. } => self.hosts[index].refused = Some(sentence),
            Effect::SteppedDown { .. } | Effect::ViewChanged | Effect::Registered { .. } => {}
        }
    }

    fn activate(&mut self, index: usize, shard: ShardId, epoch: Epoch) {
        self.checker.active(shard, epoch);
        let Some(handle) = self.handle(index, shard, epoch) else { return };
        handle.active = true;
        if shard == 0 {
            // The catalog is read.
            let version = handle.high_watermark as u64;
            self.apply(index, version);
            self.event(index, Event::CatalogCommitted { version });
        }
    }

    pub(super) fn handle(&mut self, index: usize, shard: ShardId, epoch: Epoch) -> Option<&mut Handle> {
        self.hosts[index].handles.get_mut(&shard).filter(|handle| handle.epoch == epoch)
    }
}

fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Send { to, message: Message::Answer(answer) } => format!(
            "{to}: answer {} by {} at {}: {:?} {:?} {:?}",
            answer.sequence,
            answer.controller.epoch,
            answer.proof_offset_ms,
            answer.standing,
            answer.granted,
            answer.orders
        ),
        Effect::Send { to, message } => format!("{to}: {message:?}"),
        effect => format!("{effect:?}"),
    }
}
