//! A consumer group whose writes are durable at once, a catalog image and a clock to be changed, and simple clients.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;
use uuid::Uuid;

use crate::catalog::{CatalogRecord, Image, Topic, TopicName};
use crate::group::Settings;
use crate::group::consumer::assignment::Assignment;
use crate::group::consumer::member::Member;
use crate::group::consumer::records::{ConsumerRecord, GroupEpoch, Resolved};
use crate::group::consumer::{Beaten, ConsumerGroup, Heartbeat, Refused, World};
use crate::group::member::{Join, JoinRefused, Joined};
use crate::group::state::Now;

pub(super) struct Stage {
    pub(super) group: ConsumerGroup,
    pub(super) image: Image,
    pub(super) now: Now,
    /// What was written, oldest first.
    pub(super) log: Vec<ConsumerRecord>,
    /// While set, the log takes nothing.
    pub(super) refusing: bool,
    /// Topics that members may not describe.
    pub(super) hidden: Vec<String>,
}

/// Everything of a group that is stored.
#[derive(Debug, PartialEq)]
pub(super) struct Stored {
    epoch: GroupEpoch,
    target_epoch: i32,
    members: BTreeMap<Arc<str>, Member>,
    targets: BTreeMap<Arc<str>, Assignment>,
    regexes: BTreeMap<Arc<str>, Resolved>,
    statics: BTreeMap<Arc<str>, Arc<str>>,
    owners: BTreeMap<(Uuid, i32), Arc<str>>,
}

pub(super) fn stored(group: &ConsumerGroup) -> Stored {
    Stored {
        epoch: group.epoch,
        target_epoch: group.target_epoch,
        members: group.members.clone(),
        targets: group.targets.clone(),
        regexes: group.regexes.clone(),
        statics: group.statics.clone().into_iter().collect(),
        owners: group.owners.clone().into_iter().collect(),
    }
}

impl Stage {
    pub(super) fn new(topics: &[(&str, i32)]) -> Self {
        Self::with(Settings::default(), topics)
    }

    pub(super) fn with(settings: Settings, topics: &[(&str, i32)]) -> Self {
        let mut stage = Self {
            group: ConsumerGroup::new("g".into(), Arc::new(settings)),
            image: Image::default(),
            now: Now { at: Instant::now(), wall_ms: 1_000_000 },
            log: Vec::new(),
            refusing: false,
            hidden: Vec::new(),
        };
        for (name, partitions) in topics {
            stage.topic(name, *partitions);
        }
        stage
    }

    /// Makes a topic, or grows it.
    pub(super) fn topic(&mut self, name: &str, partitions: i32) {
        let id = self.image.topic(name).map_or_else(Uuid::new_v4, |topic| topic.id);
        let name = TopicName::parse(name).expect("a name");
        let topic = Topic { id, name, partitions, replication_factor: 1, configs: BTreeMap::new() };
        self.image.apply(&CatalogRecord::Topic(topic));
        self.image.version += 1;
    }

    pub(super) fn delete_topic(&mut self, name: &str) {
        if let Some(topic) = self.image.topic(name).cloned() {
            self.image.apply(&CatalogRecord::TopicDeleted { id: topic.id });
            self.image.version += 1;
        }
    }

    pub(super) fn id(&self, topic: &str) -> Uuid {
        self.image.topic(topic).expect("a topic").id
    }

    /// Time passes, and members whose time is up are put out.
    pub(super) fn advance(&mut self, by: Duration) {
        self.now.at += by;
        self.now.wall_ms += by.as_millis() as i64;
        self.group.forget_void_deadlines(self.now);
        let overdue = self.group.overdue(self.now);
        if overdue.is_empty() {
            return;
        }
        let image = self.image.clone();
        self.group.fence(&overdue, &image);
        if self.refusing {
            self.group.roll_back();
            self.group.postpone(&overdue, self.now);
        } else {
            self.write();
        }
    }

    pub(super) fn beat(&mut self, beat: &Heartbeat) -> Result<Beaten, Refused> {
        beat.check(&self.group.settings.consumer)?;
        let (image, hidden) = (self.image.clone(), self.hidden.clone());
        let world = World { image: &image, may_describe: &|topic| !hidden.iter().any(|name| name == topic) };
        let beaten = match beat.leaves() {
            true => self.group.leave(beat, &world),
            false => self.group.heartbeat(beat, &world, self.now),
        };
        self.conclude(beaten, ResponseError::CoordinatorNotAvailable.into())
    }

    pub(super) fn classic_join(&mut self, join: &Join) -> Result<Joined, JoinRefused> {
        let image = self.image.clone();
        let joined = self.group.classic_join(join, &World { image: &image, may_describe: &|_| true }, self.now);
        let refused = JoinRefused { code: ResponseError::CoordinatorNotAvailable, member: join.member.clone() };
        self.conclude(joined, refused)
    }

    fn conclude<T, E>(&mut self, decided: Result<T, E>, refused: E) -> Result<T, E> {
        match decided {
            Ok(answer) if !self.refusing || self.group.to_write().next().is_none() => {
                self.write();
                Ok(answer)
            }
            other => {
                self.group.roll_back();
                self.check_log();
                other.and(Err(refused))
            }
        }
    }

    fn write(&mut self) {
        self.log.extend(self.group.to_write().cloned());
        self.group.appended();
        self.check_log();
    }

    /// The log adds up to the state.
    #[track_caller]
    pub(super) fn check_log(&self) {
        assert_eq!(stored(&self.reloaded()), stored(&self.group));
    }

    /// The group as a restart would load it, each record through its bytes.
    pub(super) fn reloaded(&self) -> ConsumerGroup {
        let settings = &self.group.settings;
        let mut group = ConsumerGroup::new("g".into(), settings.clone());
        for record in &self.log {
            let (key, value) = record.encode("g");
            let (_, record) = ConsumerRecord::decode(&key, value.as_ref()).expect("read").expect("a group's");
            group.apply(record);
        }
        group.loaded(settings).unwrap_or_else(|| ConsumerGroup::new("g".into(), settings.clone()))
    }

    /// The group as it is loaded after the log was compacted: of each key only the last record is left.
    pub(super) fn compacted(&self) -> ConsumerGroup {
        let mut last = BTreeMap::new();
        for (at, record) in self.log.iter().enumerate() {
            last.insert(record.encode("g").0, at);
        }
        let mut kept: Vec<_> = last.into_values().collect();
        kept.sort();
        let settings = &self.group.settings;
        let mut group = ConsumerGroup::new("g".into(), settings.clone());
        kept.into_iter().for_each(|at| drop(group.apply(self.log[at].clone())));
        group.loaded(settings).unwrap_or_else(|| ConsumerGroup::new("g".into(), settings.clone()))
    }

    pub(super) fn restart(&mut self) {
        self.group = self.reloaded();
        self.group.start_sessions(&self.image, self.now);
    }
}

/// A client that does what it is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    pub(super) id: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) epoch: i32,
    pub(super) names: Vec<Arc<str>>,
    pub(super) regex: Option<Arc<str>>,
    pub(super) assignor: Option<Arc<str>>,
    pub(super) owned: Assignment,
    /// What it was told last.
    pub(super) told: Assignment,
}

impl Client {
    pub(super) fn new(id: &str, names: &[&str]) -> Self {
        Self { id: id.into(), names: names.iter().map(|name| Arc::from(*name)).collect(), ..Self::default() }
    }

    /// A full request, as the Java client sends it when it joins and whenever something changed.
    pub(super) fn request(&self) -> Heartbeat {
        Heartbeat {
            group: "g".into(),
            member: self.id.clone(),
            epoch: self.epoch,
            instance: self.instance.clone(),
            rack: None,
            rebalance_timeout_ms: 60_000,
            client_id: "client".into(),
            client_host: "/::1".into(),
            names: Some(self.names.clone()),
            regex: self.regex.clone(),
            assignor: self.assignor.clone(),
            owned: Some(self.owned.partitions().collect()),
            has_own_id: true,
        }
    }

    pub(super) fn leaving(&self, epoch: i32) -> Heartbeat {
        Heartbeat { epoch, names: None, owned: None, ..self.request() }
    }

    /// Takes an answer in: what it no longer has is given up at once, what is new is taken.
    pub(super) fn take(&mut self, beaten: &Beaten) {
        self.epoch = beaten.epoch;
        if let Some(assignment) = &beaten.assignment {
            let partitions = assignment.iter().flat_map(|(topic, all)| all.iter().map(|index| (*topic, *index)));
            self.told = partitions.collect();
        }
        self.owned = self.told.clone();
    }

    pub(super) fn beat(&mut self, stage: &mut Stage) -> Result<(), ResponseError> {
        let beaten = stage.beat(&self.request()).map_err(|refused| refused.code)?;
        self.take(&beaten);
        Ok(())
    }

    /// Begins anew after it was fenced.
    pub(super) fn forget(&mut self) {
        (self.epoch, self.owned, self.told) = (0, Assignment::default(), Assignment::default());
    }
}

/// Beats in turn until nothing changes any more.
pub(super) fn settle(stage: &mut Stage, clients: &mut [Client]) {
    for _ in 0..20 {
        let before = stored(&stage.group);
        for client in &mut *clients {
            client.beat(stage).expect("a heartbeat");
        }
        if stored(&stage.group) == before {
            return;
        }
    }
    panic!("the group does not come to rest: {:?}", stored(&stage.group));
}
