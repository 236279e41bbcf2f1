//! Fetch sessions (KIP-227): a consumer names its partitions once, then only what changes.

use std::time::Duration;

use indexmap::IndexMap;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::protocol::StrBytes;
use parking_lot::Mutex;
use rand::Rng;
use std::collections::{HashMap, HashSet};
use tokio::time::Instant;
use uuid::Uuid;

use crate::auth::Principal;
use crate::limits;
use crate::store::Offset;

/// A session that was not used for this long may be evicted for another one (Kafka's value).
const MIN_EVICTION_AGE: Duration = Duration::from_secs(120);
/// Epoch of a request that wants no session, or to end one.
const FINAL_EPOCH: i32 = -1;

/// A partition as a client names it: by topic name, or by id from version 13 on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) name: StrBytes,
    pub(super) id: Uuid,
    pub(super) index: i32,
}

/// What the client wants of a partition, and what it was last told.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) offset: Offset,
    pub(super) max_bytes: i32,
    pub(super) current_epoch: i32,
    pub(super) last_fetched_epoch: i32,
    told: Option<(Offset, Offset)>,
}

impl Wanted {
    fn new(partition: &FetchPartition) -> Self {
        Self {
            offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            current_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
            told: None,
        }
    }
}

struct Session {
    principal: Principal,
    next_epoch: i32,
    partitions: IndexMap<Key, Wanted>,
    /// Where the next fetch starts, so that no partition starves.
    start: usize,
    used: Instant,
}

/// The partitions of one fetch, in the order in which they are to be read.
pub(super) struct Plan {
    pub(super) partitions: Vec<(Key, Wanted)>,
    pub(super) session_id: i32,
    /// Leave out partitions that have nothing new.
    pub(super) incremental: bool,
    position: usize,
}

/// All sessions of this broker.
#[derive(Default)]
pub struct FetchSessions {
    sessions: Mutex<HashMap<i32, Session>>,
}

impl FetchSessions {
    /// Works out what a request wants.
    pub(super) fn plan(&self, request: &FetchRequest, principal: &Principal) -> Result<Plan, ResponseError> {
        let mut sessions = self.sessions.lock();
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == FINAL_EPOCH || epoch == 0 {
            if sessions.get(&id).is_some_and(|session| session.principal == *principal) {
                sessions.remove(&id);
            }
            let partitions = named(request);
            let session_id = if epoch == 0 { open(&mut sessions, principal, &partitions) } else { 0 };
            return Ok(Plan {
                partitions: partitions.into_iter().collect(),
                session_id,
                incremental: false,
                position: 0,
            });
        }
        let session = sessions
            .get_mut(&id)
            .filter(|session| session.principal == *principal)
            .ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.next_epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        session.next_epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.used = Instant::now();
        session.update(request);
        let position = session.start.min(session.partitions.len());
        let (before, from) = session.partitions.as_slice().split_at(position);
        let in_order = from.iter().chain(before.iter());
        let partitions = in_order.map(|(key, wanted)| (key.clone(), wanted.clone())).collect();
        Ok(Plan { partitions, session_id: id, incremental: true, position })
    }

    /// Remembers what a session was told of each partition of its plan, and where to start next.
    pub(super) fn told(&self, plan: &Plan, told: &[Option<(Offset, Offset)>], last_with_data: Option<usize>) {
        if plan.session_id == 0 {
            return;
        }
        let mut sessions = self.sessions.lock();
        let Some(session) = sessions.get_mut(&plan.session_id) else { return };
        for ((key, _), told) in plan.partitions.iter().zip(told) {
            if let Some(wanted) = session.partitions.get_mut(key) {
                wanted.told = *told;
            }
        }
        if let Some(at) = last_with_data {
            session.start = (plan.position + at + 1) % session.partitions.len().max(1);
        }
    }

    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Plan {
    /// Whether an incremental answer may leave this partition out.
    pub(super) fn unchanged(&self, at: usize, high_watermark: Offset, log_start: Offset) -> bool {
        self.incremental && self.partitions[at].1.told == Some((high_watermark, log_start))
    }
}

impl Session {
    fn update(&mut self, request: &FetchRequest) {
        let forgotten: HashSet<Key> = request
            .forgotten_topics_data
            .iter()
            .flat_map(|topic| {
                let key = |index: &i32| Key { name: topic.topic.0.clone(), id: topic.topic_id, index: *index };
                topic.partitions.iter().map(key)
            })
            .collect();
        if !forgotten.is_empty() {
            self.partitions.retain(|key, _| !forgotten.contains(key));
        }
        for (key, mut wanted) in named(request) {
            if self.partitions.len() >= limits::PARTITIONS_PER_FETCH && !self.partitions.contains_key(&key) {
                continue;
            }
            if let Some(known) = self.partitions.get(&key) {
                wanted.told = known.told;
            }
            self.partitions.insert(key, wanted);
        }
    }
}

fn named(request: &FetchRequest) -> IndexMap<Key, Wanted> {
    let mut partitions = IndexMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = Key { name: detach(&topic.topic.0), id: topic.topic_id, index: partition.partition };
            partitions.insert(key, Wanted::new(partition));
        }
    }
    partitions
}

/// A copy that does not keep the whole request frame in memory for as long as the session lives.
fn detach(name: &StrBytes) -> StrBytes {
    StrBytes::from_string(name.to_string())
}

/// Starts a session when there is room (or an old one to evict); 0 means none.
fn open(sessions: &mut HashMap<i32, Session>, principal: &Principal, partitions: &IndexMap<Key, Wanted>) -> i32 {
    if partitions.is_empty() || partitions.len() > limits::PARTITIONS_PER_FETCH {
        return 0;
    }
    let now = Instant::now();
    if sessions.len() >= limits::FETCH_SESSIONS {
        let oldest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(id, session)| (*id, session.used));
        match oldest {
            Some((id, used)) if now.duration_since(used) >= MIN_EVICTION_AGE => sessions.remove(&id),
            _ => return 0,
        };
    }
    let mut random = rand::rng();
    let id = loop {
        let id = random.random_range(1..i32::MAX);
        if !sessions.contains_key(&id) {
            break id;
        }
    };
    let session =
        Session { principal: principal.clone(), next_epoch: 1, partitions: partitions.clone(), start: 0, used: now };
    sessions.insert(id, session);
    id
}
