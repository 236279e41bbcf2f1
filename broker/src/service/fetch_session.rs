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
    /// What it takes in memory, about.
    bytes: usize,
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
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<i32, Session>,
    /// What all of them take in memory, about.
    bytes: usize,
}

impl FetchSessions {
    /// Works out what a request wants.
    pub(super) fn plan(&self, request: &FetchRequest, principal: &Principal) -> Result<Plan, ResponseError> {
        let mut sessions = self.sessions.lock();
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == FINAL_EPOCH || epoch == 0 {
            sessions.end(id, principal);
            let partitions = named(request);
            let session_id = if epoch == 0 { sessions.open(principal, &partitions) } else { 0 };
            return Ok(Plan {
                partitions: partitions.into_iter().collect(),
                session_id,
                incremental: false,
                position: 0,
            });
        }
        let Sessions { by_id, bytes } = &mut *sessions;
        let session = by_id
            .get_mut(&id)
            .filter(|session| session.principal == *principal)
            .ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.next_epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        session.next_epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.used = Instant::now();
        session.update(request);
        *bytes = *bytes - session.bytes + session.take_stock();
        if *bytes > limits::FETCH_SESSION_BYTES {
            // The client goes on without a session, or with a new one when there is room.
            sessions.end(id, principal);
            return Err(ResponseError::FetchSessionIdNotFound);
        }
        let session = sessions.by_id.get(&id).ok_or(ResponseError::FetchSessionIdNotFound)?;
        let position = session.start.min(session.partitions.len());
        let (before, from) = session.partitions.as_slice().split_at(position);
        let in_order = from.iter().chain(before.iter());
        let partitions = in_order.map(|(key, wanted)| (key.clone(), wanted.clone())).collect();
        Ok(Plan { partitions, session_id: id, incremental: true, position })
    }

    /// A request that is put off: a session that was there goes on, and none is begun. Returns its id.
    pub(super) fn pass(&self, request: &FetchRequest, principal: &Principal) -> Result<i32, ResponseError> {
        if matches!(request.session_epoch, FINAL_EPOCH | 0) {
            self.sessions.lock().end(request.session_id, principal);
            return Ok(0);
        }
        Ok(self.plan(request, principal)?.session_id)
    }

    /// The answer to this plan is put off: a session that it began ends again. Returns the id to be told.
    pub(super) fn withhold(&self, plan: &Plan, principal: &Principal) -> i32 {
        if plan.incremental {
            return plan.session_id;
        }
        self.sessions.lock().end(plan.session_id, principal);
        0
    }

    /// Remembers what a session was told of each partition of its plan, and where to start next.
    pub(super) fn told(&self, plan: &Plan, told: &[Option<(Offset, Offset)>], last_with_data: Option<usize>) {
        if plan.session_id == 0 {
            return;
        }
        let mut sessions = self.sessions.lock();
        let Some(session) = sessions.by_id.get_mut(&plan.session_id) else { return };
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
        self.sessions.lock().by_id.len()
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
    /// Counts anew what the session takes.
    fn take_stock(&mut self) -> usize {
        self.bytes = bytes_of(&self.partitions);
        self.bytes
    }

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

/// About what partitions take: their entries in the map, and their names.
fn bytes_of(partitions: &IndexMap<Key, Wanted>) -> usize {
    let entry = size_of::<(Key, Wanted)>() + 2 * size_of::<usize>();
    partitions.keys().map(|key| entry + key.name.len()).sum()
}

impl Sessions {
    fn end(&mut self, id: i32, principal: &Principal) {
        if self.by_id.get(&id).is_some_and(|session| session.principal == *principal) {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.by_id.remove(&id) {
            self.bytes -= session.bytes;
        }
    }

    /// Starts a session when there is room (or an old one to evict); 0 means none.
    fn open(&mut self, principal: &Principal, partitions: &IndexMap<Key, Wanted>) -> i32 {
        let bytes = bytes_of(partitions);
        if partitions.is_empty() || partitions.len() > limits::PARTITIONS_PER_FETCH {
            return 0;
        }
        let now = Instant::now();
        while self.by_id.len() >= limits::FETCH_SESSIONS || self.bytes + bytes > limits::FETCH_SESSION_BYTES {
            let oldest = self.by_id.iter().min_by_key(|(_, session)| session.used);
            match oldest.map(|(id, session)| (*id, session.used)) {
                Some((id, used)) if now.duration_since(used) >= MIN_EVICTION_AGE => self.remove(id),
                _ => return 0,
            }
        }
        let mut random = rand::rng();
        let id = loop {
            let id = random.random_range(1..i32::MAX);
            if !self.by_id.contains_key(&id) {
                break id;
            }
        };
        let (principal, partitions) = (principal.clone(), partitions.clone());
        let session = Session { bytes, principal, next_epoch: 1, partitions, start: 0, used: now };
        self.bytes += bytes;
        self.by_id.insert(id, session);
        id
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::fetch_request::FetchTopic;

    use super::*;

    fn request(partitions: i32, name: &str) -> FetchRequest {
        let partitions = (0..partitions).map(|index| FetchPartition::default().with_partition(index)).collect();
        let name = kafka_protocol::messages::TopicName(StrBytes::from_string(name.to_owned()));
        let topic = FetchTopic::default().with_topic(name).with_partitions(partitions);
        FetchRequest::default().with_session_id(0).with_session_epoch(0).with_topics(vec![topic])
    }

    #[test]
    fn sessions_are_bounded_in_bytes() {
        let sessions = FetchSessions::default();
        let alice = Principal::user("alice");
        let large = request(50_000, "a-topic-with-many-partitions");
        let opened = |request: &FetchRequest| sessions.plan(request, &alice).map_or(0, |plan| plan.session_id);
        let ids: Vec<i32> = (0..50).map(|_| opened(&large)).take_while(|id| *id != 0).collect();
        assert!(!ids.is_empty() && ids.len() < 50, "{} sessions", ids.len());
        assert!(sessions.sessions.lock().bytes <= limits::FETCH_SESSION_BYTES);
        let more = request(50_000, "another").with_session_id(ids[0]).with_session_epoch(1);
        assert_eq!(sessions.plan(&more, &alice).err(), Some(ResponseError::FetchSessionIdNotFound));
        let end = |id| large.clone().with_session_id(id).with_session_epoch(FINAL_EPOCH);
        ids.iter().for_each(|id| drop(sessions.plan(&end(*id), &alice)));
        assert_eq!((sessions.len(), sessions.sessions.lock().bytes), (0, 0));
    }

    #[test]
    fn a_request_that_is_put_off_begins_no_session_and_goes_on_with_one() {
        let sessions = FetchSessions::default();
        let alice = Principal::user("alice");
        assert_eq!(sessions.pass(&request(1, "t"), &alice), Ok(0));
        assert!(sessions.is_empty());
        let plan = sessions.plan(&request(1, "t"), &alice).unwrap_or_else(|error| panic!("{error}"));
        let next = FetchRequest::default().with_session_id(plan.session_id).with_session_epoch(1);
        assert_eq!(sessions.pass(&next, &alice), Ok(plan.session_id));
        assert_eq!(sessions.pass(&next, &alice), Err(ResponseError::InvalidFetchSessionEpoch));
        let began = sessions.plan(&request(1, "t"), &alice).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((sessions.withhold(&began, &alice), sessions.len()), (0, 1));
    }
}
