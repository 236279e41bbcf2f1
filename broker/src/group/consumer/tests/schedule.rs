//! Random schedules: members come, go, fall silent and lose answers, topics change, the log refuses, the broker restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::stage::{Client, Stage, settle, stored};
use crate::group::consumer::Phase;

const TOPICS: [&str; 3] = ["t", "u", "v"];
const STEPS: usize = 150;

#[test]
fn partitions_have_one_owner_and_restarts_change_nothing() {
    for seed in 0..200 {
        Run::new(seed).play();
    }
}

struct Run {
    seed: u64,
    random: StdRng,
    stage: Stage,
    clients: Vec<Client>,
    made: usize,
    /// The highest epoch of the group, and of each member under its id.
    epoch: i32,
    epochs: BTreeMap<std::sync::Arc<str>, i32>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let stage = Stage::new(&[("t", 4), ("u", 3)]);
        let random = StdRng::seed_from_u64(seed);
        Self { seed, random, stage, clients: Vec::new(), made: 0, epoch: 0, epochs: BTreeMap::new() }
    }

    fn play(&mut self) {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.come_to_rest();
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..8 if self.clients.len() < 5 => self.join(),
            8..12 => self.leave(),
            12..20 => self.stage.advance(Duration::from_secs(self.random.random_range(1..30))),
            20..23 => {
                let topic = TOPICS[self.random.random_range(0..TOPICS.len())];
                let partitions = self.stage.image.topic(topic).map_or(1, |topic| topic.partitions + 1);
                self.stage.topic(topic, partitions.min(9));
            }
            23..25 => self.stage.delete_topic(TOPICS[self.random.random_range(0..TOPICS.len())]),
            25..29 => self.stage.restart(),
            29..33 => self.stage.refusing = !self.stage.refusing,
            33..37 => self.subscribe(),
            _ => self.beat(),
        }
    }

    fn join(&mut self) {
        self.made += 1;
        let names: &[&str] = if self.random.random_bool(0.5) { &["t"] } else { &TOPICS };
        let mut client = Client::new(&format!("m{}", self.made), names);
        if self.random.random_bool(0.2) {
            client.regex = Some("[uv]".into());
        }
        if self.random.random_bool(0.3) {
            client.assignor = Some("range".into());
        }
        self.clients.push(client);
    }

    fn leave(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let client = self.clients.swap_remove(self.random.random_range(0..self.clients.len()));
        if self.random.random_bool(0.7) {
            // Whether it is heard or not, the client is gone.
            let _ = self.stage.beat(&client.leaving(-1));
        }
    }

    fn subscribe(&mut self) {
        let count = self.clients.len();
        if count > 0 {
            let client = &mut self.clients[self.random.random_range(0..count)];
            client.names = vec![TOPICS[self.random.random_range(0..TOPICS.len())].into()];
        }
    }

    fn beat(&mut self) {
        let count = self.clients.len();
        if count == 0 {
            return;
        }
        let client = &mut self.clients[self.random.random_range(0..count)];
        match self.stage.beat(&client.request()) {
            // The answer is lost.
            Ok(_) if self.random.random_bool(0.15) => {}
            Ok(beaten) => client.take(&beaten),
            Err(refused) => match refused.code {
                ResponseError::CoordinatorNotAvailable => {}
                ResponseError::FencedMemberEpoch | ResponseError::UnknownMemberId => client.forget(),
                other => panic!("seed {}: {other}", self.seed),
            },
        }
    }

    fn check(&mut self) {
        let (seed, group) = (self.seed, &self.stage.group);
        self.stage.check_log();
        assert_eq!(stored(&self.stage.compacted()), stored(group), "seed {seed}");
        assert!(group.epoch.epoch >= self.epoch, "seed {seed}: the group's epoch went back");
        assert!(group.target_epoch <= group.epoch.epoch, "seed {seed}");
        self.epoch = group.epoch.epoch;
        let mut owned = BTreeMap::new();
        for (id, member) in &group.members {
            let seen = self.epochs.entry(id.clone()).or_default();
            assert!(member.current.epoch >= *seen, "seed {seed}: an epoch of {id} went back");
            *seen = member.current.epoch;
            let current = &member.current;
            for partition in current.assigned.partitions().chain(current.revoking.partitions()) {
                let other = owned.insert(partition, id);
                assert_eq!(other, None, "seed {seed}: {partition:?} belongs to {id} too");
            }
        }
        self.epochs.retain(|id, _| group.members.contains_key(id));
        // What a client works on is its own by the coordinator's books, as long as it is a member.
        for client in &self.clients {
            if group.members.contains_key(&client.id) && client.epoch > 0 {
                for partition in client.owned.partitions() {
                    let owner = owned.get(&partition);
                    assert_eq!(owner, Some(&&client.id), "seed {seed}: {} works on {partition:?}", client.id);
                }
            }
        }
    }

    /// Left in peace, everybody gets their share, and every partition somebody.
    fn come_to_rest(&mut self) {
        self.stage.refusing = false;
        for _ in 0..3 {
            for client in &mut self.clients {
                if client.beat(&mut self.stage).is_err() {
                    client.forget();
                }
            }
            self.stage.advance(Duration::from_secs(20));
        }
        settle(&mut self.stage, &mut self.clients);
        self.check();
        let group = &self.stage.group;
        if self.clients.is_empty() {
            return assert_eq!(group.phase(), Phase::Empty, "seed {}", self.seed);
        }
        assert_eq!(group.phase(), Phase::Stable, "seed {}", self.seed);
        let topics = group.subscribed_topics().into_iter().filter_map(|name| self.stage.image.topic(name));
        let wanted: usize = topics.map(|topic| topic.partitions as usize).sum();
        let owned: usize = self.clients.iter().map(|client| client.owned.len()).sum();
        assert_eq!(owned, wanted, "seed {}", self.seed);
    }
}
