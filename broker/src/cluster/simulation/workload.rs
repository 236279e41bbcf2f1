//! What the bucket does with requests, what processes do with its answers, and producers and readers.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::Rng as _;

use super::super::{Epoch, Event, ShardId};
use super::host::{Handle, Item, WALL};
use super::mutation::Mutation;
use super::world::{Done, Op, Payload, World};

/// A write that does not get through is tried this often, once a second.
const PUT_ATTEMPTS: u32 = 12;

impl World {
    /// A request has arrived. `None` when its sender goes on with a next step.
    pub(super) fn apply_op(&mut self, index: usize, life: u64, op: &Op) -> Option<Done> {
        match op {
            Op::Raise { shard, expected } => {
                let expected = (self.mutation != Some(Mutation::NoExpectedEpoch)).then_some(*expected);
                let epoch = self.bucket.shard(*shard).raise(expected);
                self.next_step(index, life, *shard, epoch.map(|epoch| Op::Fence { shard: *shard, epoch }), 0)
            }
            Op::Fence { shard, epoch } => {
                let end = self.bucket.shard(*shard).fence(*epoch);
                let (least, most) = self.conditions.replay_ms;
                let replay = self.random.random_range(least..=most);
                let next = end.map(|end| Op::Replay { shard: *shard, epoch: *epoch, end });
                self.next_step(index, life, *shard, next, replay)
            }
            Op::Replay { shard, epoch, end } => Some(Done::Opened { shard: *shard, epoch: *epoch, end: *end }),
            Op::Put { shard, epoch, id, records, began, .. } => {
                let written = self.bucket.shard(*shard).put(*epoch, *id, records);
                Some(Done::Put { shard: *shard, epoch: *epoch, records: records.clone(), began: *began, written })
            }
            Op::Prove { shard, epoch, began } => {
                let (shard, epoch) = (*shard, *epoch);
                Some(Done::Event(match self.bucket.shard(shard).epoch == epoch {
                    true => Event::Proved { shard, epoch, began: *began },
                    false => Event::ShardFailed { shard, epoch },
                }))
            }
            Op::ReadEpoch { shard, request } => {
                let epoch = Some(self.bucket.shard(*shard).epoch);
                Some(Done::Event(Event::EpochRead { request: *request, epoch }))
            }
            Op::List => Some(Done::Event(Event::ControllersListed(self.bucket.list_controllers()))),
            Op::Create(object) => {
                let object = self.bucket.create_controller(object.clone());
                Some(Done::Event(Event::ControllerCreated { object }))
            }
            Op::Clock => Some(Done::Event(Event::StoreClock { wall_ms: Some(WALL + self.time as i64) })),
        }
    }

    fn next_step(&mut self, index: usize, life: u64, shard: ShardId, next: Option<Op>, after: u64) -> Option<Done> {
        let Some(op) = next else { return Some(Done::Event(Event::OpenFailed { shard })) };
        let after = after + 2 * self.conditions.bucket_ms;
        self.push(after, Payload::Arrive { host: index, life, op });
        None
    }

    pub(super) fn done(&mut self, index: usize, done: Done) {
        match done {
            Done::Event(Event::Proved { shard, epoch, .. }) if self.mutation == Some(Mutation::ProofDatedLate) => {
                let began = self.now(index);
                self.event(index, Event::Proved { shard, epoch, began });
            }
            Done::Event(event) => self.event(index, event),
            Done::Opened { shard, epoch, end } => {
                let expected = self.hosts[index].opening.get(&shard).copied();
                let checked = self.checker.opened(index, shard, epoch, expected);
                self.check(checked);
                let handle = Handle {
                    epoch,
                    high_watermark: end,
                    queue: VecDeque::new(),
                    in_flight: false,
                    stopping: false,
                    active: false,
                };
                self.hosts[index].handles.insert(shard, handle);
                self.event(index, Event::Opened { shard, epoch });
            }
            Done::Put { shard, epoch, records, began, written } => {
                self.put_done(index, shard, epoch, &records, written);
                if written {
                    let began = if self.mutation == Some(Mutation::ProofDatedLate) { self.now(index) } else { began };
                    self.event(index, Event::Undurable { shard, epoch, since: None });
                    self.event(index, Event::Proved { shard, epoch, began });
                } else {
                    self.event(index, Event::ShardFailed { shard, epoch });
                }
            }
        }
    }

    fn put_done(&mut self, index: usize, shard: ShardId, epoch: Epoch, records: &[u64], written: bool) {
        let believed = written || self.mutation == Some(Mutation::FailureAcknowledged);
        let Some(handle) = self.handle(index, shard, epoch) else { return };
        handle.in_flight = false;
        let first = handle.high_watermark;
        if !believed {
            handle.active = false;
            handle.queue.clear();
            return;
        }
        handle.high_watermark += records.len();
        let (active, end, stopping) = (handle.active, handle.high_watermark, handle.stopping);
        if active {
            for (offset, record) in (first..).zip(records) {
                let checked = self.checker.acknowledged(self.time, &mut self.bucket, shard, offset, *record);
                self.check(checked);
            }
            if shard == 0 && end > first {
                self.apply(index, end as u64);
                self.event(index, Event::CatalogCommitted { version: end as u64 });
            }
        }
        let Some(handle) = self.handle(index, shard, epoch) else { return };
        if !handle.queue.is_empty() {
            self.write(index, shard);
        } else if stopping {
            self.event(index, Event::WritesStopped { shard, epoch });
        }
    }

    /// Puts what waits into the bucket, unless something is on the way.
    pub(super) fn write(&mut self, index: usize, shard: ShardId) {
        let began = self.now(index);
        self.records += 1;
        let id = self.records;
        let Some(handle) = self.hosts[index].handles.get_mut(&shard) else { return };
        if handle.in_flight {
            return;
        }
        handle.in_flight = true;
        let (epoch, records) = (handle.epoch, Arc::new(handle.queue.drain(..).collect::<Vec<_>>()));
        let since = Some(began.monotonic);
        self.request(index, Op::Put { shard, epoch, id, records, began, attempts: PUT_ATTEMPTS });
        self.event(index, Event::Undurable { shard, epoch, since });
    }

    pub(super) fn apply(&mut self, index: usize, version: u64) {
        if version > self.hosts[index].applied {
            self.hosts[index].applied = version;
            self.event(index, Event::CatalogApplied { version });
        }
    }

    /// One round of producers, readers, and followers of the catalog.
    pub(super) fn work(&mut self) {
        let shard = self.random.random_range(1..=self.data_shards);
        self.produce(shard);
        if self.random.random_range(0..50) == 0 {
            self.produce(0);
        }
        for shard in 0..=self.data_shards {
            let index = self.random.random_range(0..self.hosts.len());
            self.read(index, shard);
        }
        let (leader, follower) =
            (self.random.random_range(0..self.hosts.len()), self.random.random_range(0..self.hosts.len()));
        self.follow(leader, follower);
    }

    /// Whoever believes to own the shard may get the record.
    fn produce(&mut self, shard: ShardId) {
        let serving = |host: &mut super::host::Host| {
            host.is_running() && host.served(shard).is_some_and(|handle| !handle.stopping)
        };
        let owners: Vec<usize> = (0..self.hosts.len()).filter(|index| serving(&mut self.hosts[*index])).collect();
        if owners.is_empty() {
            return;
        }
        let index = owners[self.random.random_range(0..owners.len())];
        self.records += 1;
        let record = self.records;
        if let Some(handle) = self.hosts[index].served(shard) {
            handle.queue.push_back(record);
            self.write(index, shard);
        }
    }

    /// A reader asks a host, owner or not.
    pub(super) fn read(&mut self, index: usize, shard: ShardId) {
        if !self.hosts[index].is_running() {
            return;
        }
        let now = self.now(index);
        let host = &mut self.hosts[index];
        let applied = host.applied;
        let (may_read, has_lease) =
            host.node.as_ref().map_or((false, false), |node| (node.may_read(shard, now), node.has_lease(now)));
        if let Some(handle) = host.served(shard).filter(|_| may_read) {
            let (epoch, end) = (handle.epoch, handle.high_watermark);
            let checked = self.checker.read(self.time, index, shard, epoch, end);
            self.check(checked);
        }
        if has_lease {
            let checked = self.checker.relies_on_catalog(index, applied);
            self.check(checked);
        }
    }

    /// The stream of catalog changes.
    fn follow(&mut self, leader: usize, follower: usize) {
        let reachable = !self.hosts[follower].stuck && !self.cuts[leader][follower] && !self.cuts[follower][leader];
        if !reachable || !self.hosts[leader].is_running() || !self.hosts[follower].is_running() {
            return;
        }
        if let Some(catalog) = self.hosts[leader].served(0) {
            let version = catalog.high_watermark as u64;
            self.apply(follower, version);
        }
    }

    pub(super) fn settled(&mut self, version: u64) {
        self.checker.settled = self.checker.settled.max(version);
        for index in 0..self.hosts.len() {
            if self.hosts[index].is_running() {
                self.read(index, 0);
            }
        }
    }

    pub(super) fn start(&mut self, index: usize) {
        if self.hosts[index].node.is_some() {
            return;
        }
        let seed = self.random.random_range(0..u64::MAX);
        let (time, timing, shards) = (self.time, self.timing.clone(), self.data_shards);
        self.hosts[index].start(time, timing, shards, seed);
        self.push(1, Payload::Item { host: index, item: Item::Tick });
    }
}
