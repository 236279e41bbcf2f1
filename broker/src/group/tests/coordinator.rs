//! The coordinator with its tasks, over a log in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::memory::{MemoryLog, Outcome, catalog};
use crate::catalog::{CatalogRecord, Image, Topic, TopicName};
use crate::clock::ManualClock;
use crate::group::limits::MAX_BYTES;
use crate::group::memory::Share;
use crate::group::{
    CONSUMER, Coordinator, GroupSeries, Identity, Join, Joined, OffsetValue, Protocol, Settings, State, Sync,
    TopicPartition,
};

/// A coordinator that runs.
struct Running {
    coordinator: Arc<Coordinator>,
    clock: Arc<ManualClock>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn on(log: &Arc<MemoryLog>) -> Self {
        let settings = Settings {
            initial_rebalance_delay: Duration::from_millis(20),
            min_session_timeout: Duration::from_millis(100),
            ..Settings::default()
        };
        let clock = Arc::new(ManualClock::at(1_000_000));
        let coordinator = Coordinator::new(settings, clock.clone(), log.clone(), catalog().await);
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&coordinator).run(stop.clone()));
        let running = Self { coordinator, clock, stop, task };
        running.loaded().await;
        running
    }

    /// Waits until every partition serves.
    async fn loaded(&self) {
        while self.coordinator.list().1.is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the coordinator stops in peace");
    }

    /// A stable group of one.
    async fn stable(&self) -> Joined {
        let joined = self.coordinator.join(join("")).await.expect("joined");
        self.sync(&joined).await.expect("assigned");
        joined
    }

    async fn sync(&self, joined: &Joined) -> Result<Bytes, ResponseError> {
        let sync = Sync {
            identity: who(&joined.member, joined.generation),
            protocol_type: None,
            protocol: None,
            assignments: vec![(Arc::clone(&joined.member), Bytes::from_static(b"all"))],
        };
        self.coordinator.sync(sync).await.map(|synced| synced.assignment)
    }

    async fn commit(&self, who: &Identity, offset: i64) -> Result<(), ResponseError> {
        let value = OffsetValue {
            offset,
            leader_epoch: 0,
            metadata: "m".into(),
            commit_timestamp: 1_000_000,
            expire_timestamp: None,
            topic_id: None,
        };
        self.coordinator.commit(who, vec![(partition(), value)]).await
    }

    fn committed(&self) -> Option<i64> {
        let offset = |offsets: &crate::group::Offsets| offsets.get("t", 0).map(|value| value.offset);
        self.coordinator.offsets("g", offset).expect("loaded")
    }
}

fn partition() -> TopicPartition {
    ("t".into(), 0)
}

fn join(member: &str) -> Join {
    Join {
        group: "g".into(),
        member: member.into(),
        instance: None,
        client_id: "client".into(),
        client_host: "/::1".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: CONSUMER.into(),
        protocols: vec![Protocol { name: "range".into(), metadata: Bytes::from_static(b"\0\0\0\0\0\0") }],
        id_first: false,
        may_skip_assignment: false,
    }
}

fn who(member: &str, generation: i32) -> Identity {
    Identity { group: "g".into(), generation, member: member.into(), instance: None }
}

#[tokio::test]
async fn groups_and_offsets_survive_a_restart() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    let joined = running.stable().await;
    running.commit(&who(&joined.member, 1), 42).await.expect("committed");
    assert_eq!(running.committed(), Some(42));
    running.stop().await;

    let running = Running::on(&log).await;
    assert_eq!(running.committed(), Some(42));
    assert_eq!(running.coordinator.heartbeat(&who(&joined.member, 1)), Ok(()));
    let described = running.coordinator.describe("g").expect("described");
    assert_eq!((described.state, &*described.protocol, described.members.len()), (State::Stable, "range", 1));
    assert_eq!(described.members[0].assignment, "all");
    assert_eq!(running.commit(&who(&joined.member, 1), 43).await, Ok(()));
    assert_eq!(running.coordinator.counts().members, 1);
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_served_before_it_is_loaded() {
    let log = MemoryLog::new();
    let coordinator = Coordinator::new(Settings::default(), Arc::new(ManualClock::at(0)), log, catalog().await);
    assert_eq!(coordinator.heartbeat(&who("m", 1)), Ok(()), "sessions do not run yet");
    assert_eq!(coordinator.describe("g"), Err(ResponseError::CoordinatorLoadInProgress));
    let refused = coordinator.join(join("")).await.expect_err("refused");
    assert_eq!(refused.code, ResponseError::CoordinatorLoadInProgress);
}

#[tokio::test]
async fn a_commit_is_shown_and_answered_only_when_durable() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    log.held.send_replace(true);
    let simple = who("", -1);
    let mut commit = Box::pin(running.commit(&simple, 7));
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut commit).await.is_err());
    assert_eq!(running.committed(), None);
    // The client goes away; what is written holds all the same.
    drop(commit);
    log.held.send_replace(false);
    while running.committed().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(running.committed(), Some(7));
    running.stop().await;
}

#[tokio::test]
async fn a_failed_log_loads_its_groups_again() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    let simple = who("", -1);
    running.commit(&simple, 1).await.expect("committed");
    // Whether this one is written is not known to the writer; the log decides.
    *log.outcome.lock() = Outcome::FailedButKept;
    assert_eq!(running.commit(&simple, 2).await, Err(ResponseError::NotCoordinator));
    *log.outcome.lock() = Outcome::Durable;
    tokio::time::sleep(Duration::from_millis(20)).await;
    running.loaded().await;
    assert_eq!(running.committed(), Some(2));
    *log.outcome.lock() = Outcome::NotLeader;
    assert_eq!(running.commit(&simple, 3).await, Err(ResponseError::NotCoordinator));
    *log.outcome.lock() = Outcome::Durable;
    tokio::time::sleep(Duration::from_millis(20)).await;
    running.loaded().await;
    assert_eq!(running.committed(), Some(2));
    assert_eq!(running.commit(&simple, 4).await, Ok(()));
    running.stop().await;
}

#[tokio::test]
async fn waiting_members_are_sent_away_when_their_log_fails_or_the_broker_stops() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    let joined = running.stable().await;
    let coordinator = Arc::clone(&running.coordinator);
    let waiting = tokio::spawn(async move { coordinator.join(join("")).await });
    while running.coordinator.describe("g").expect("described").state == State::Stable {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(joined);
    running.stop().await;
    let refused = waiting.await.expect("answered").expect_err("sent away");
    assert_eq!(refused.code, ResponseError::NotCoordinator);
}

#[tokio::test]
async fn sessions_end_by_the_timer() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    let short = Join { session_timeout: Duration::from_millis(100), ..join("") };
    let joined = running.coordinator.join(short).await.expect("joined");
    running.sync(&joined).await.expect("assigned");
    while running.coordinator.describe("g").expect("described").state != State::Empty {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(running.coordinator.heartbeat(&who(&joined.member, 1)), Err(ResponseError::UnknownMemberId));
    running.stop().await;
}

#[tokio::test]
async fn session_timeouts_and_names_have_bounds() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    let refused = async |join: Join| running.coordinator.join(join).await.expect_err("refused").code;
    let session = |ms| Join { session_timeout: Duration::from_millis(ms), ..join("") };
    assert_eq!(refused(session(99)).await, ResponseError::InvalidSessionTimeout);
    assert_eq!(refused(session(1_800_001)).await, ResponseError::InvalidSessionTimeout);
    assert_eq!(refused(Join { group: "".into(), ..join("") }).await, ResponseError::InvalidGroupId);
    assert_eq!(
        refused(Join { instance: Some("x".repeat(1_001).into()), ..join("") }).await,
        ResponseError::InvalidRequest
    );
    assert_eq!(refused(join("unknown")).await, ResponseError::UnknownMemberId);
    assert_eq!(running.coordinator.list().0, Vec::new(), "refused requests make no groups");
    running.stop().await;
}

#[tokio::test]
async fn deleted_groups_and_offsets_stay_deleted() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    let joined = running.stable().await;
    running.commit(&who(&joined.member, 1), 5).await.expect("committed");
    let id = "g".into();
    assert_eq!(running.coordinator.delete_group(&id).await, Err(ResponseError::NonEmptyGroup));
    let left = running.coordinator.leave(&id, &[(Arc::clone(&joined.member), None), ("x".into(), None)]);
    assert_eq!(left, Ok(vec![Ok(()), Err(ResponseError::UnknownMemberId)]));
    assert_eq!(running.coordinator.delete_offsets(&id, vec![partition()]).await, Ok(vec![Ok(())]));
    assert_eq!(running.committed(), None);
    running.commit(&who("", -1), 6).await.expect("committed");
    assert_eq!(running.coordinator.delete_group(&id).await, Ok(()));
    assert_eq!(running.coordinator.describe("g"), Err(ResponseError::GroupIdNotFound));
    assert_eq!(running.coordinator.delete_group(&id).await, Err(ResponseError::GroupIdNotFound));
    running.stop().await;

    let running = Running::on(&log).await;
    assert_eq!(running.committed(), None);
    assert_eq!(running.coordinator.list(), (Vec::new(), None));
    running.stop().await;
}

#[tokio::test]
async fn old_offsets_and_the_groups_around_them_go() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    running.commit(&who("", -1), 6).await.expect("committed");
    running.coordinator.expire_now();
    assert_eq!(running.committed(), Some(6));
    running.clock.advance(7 * 24 * 3_600 * 1_000);
    running.coordinator.expire_now();
    while running.committed().is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    running.coordinator.expire_now();
    assert_eq!(running.coordinator.list().0, Vec::new());
    running.stop().await;
    let running = Running::on(&log).await;
    assert_eq!(running.committed(), None);
    running.stop().await;
}

#[tokio::test]
async fn a_deleted_topic_takes_its_offsets_along() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    running.commit(&who("", -1), 6).await.expect("committed");
    running.coordinator.topics_deleted(&["other"]);
    assert_eq!(running.committed(), Some(6));
    running.coordinator.topics_deleted(&["t"]);
    while running.committed().is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn groups_are_shown_whole_those_with_members_first_and_the_rest_is_counted() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    let image = topics(&["t"]);
    let joined = running.stable().await;
    running.commit(&who(&joined.member, 1), 5).await.expect("committed");
    let simple = |group: &str| Identity { group: group.into(), ..who("", -1) };
    running.commit(&simple("a"), 7).await.expect("committed");
    running.commit(&simple("b"), 8).await.expect("committed");
    let shown = |most| {
        let (groups, omitted) = running.coordinator.series(&image, most);
        let offset = |group: &GroupSeries| (group.group.to_string(), group.members, group.offsets[0].offset);
        (groups.iter().map(offset).collect::<Vec<_>>(), omitted)
    };
    let (g, a, b) = (("g".to_owned(), 1, 5), ("a".to_owned(), 0, 7), ("b".to_owned(), 0, 8));
    assert_eq!(shown(9), (vec![g.clone(), a.clone(), b], 0));
    assert_eq!(shown(8), (vec![g.clone(), a], 3));
    assert_eq!(shown(5), (vec![g], 6));
    assert_eq!(shown(2), (Vec::new(), 9));
    let (groups, _) = running.coordinator.series(&Image::default(), 9);
    assert!(groups.iter().all(|group| group.offsets.is_empty()), "there is no lag of a topic that is gone");
    running.stop().await;
}

#[tokio::test]
async fn what_all_groups_hold_is_counted_and_given_back() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    let held = || running.coordinator.held_bytes();
    assert_eq!(held(), 0);
    let joined = running.stable().await;
    let with_member = held();
    assert!(with_member > 500, "{with_member}");
    running.commit(&who(&joined.member, 1), 5).await.expect("committed");
    let with_offset = held();
    assert!(with_offset > with_member, "{with_offset}");
    running.commit(&who(&joined.member, 1), 6).await.expect("committed");
    assert_eq!(held(), with_offset, "a commit takes the place of the one before");
    let id = "g".into();
    running.coordinator.leave(&id, &[(joined.member, None)]).expect("left");
    assert_eq!(held(), with_offset - with_member);
    running.coordinator.delete_group(&id).await.expect("deleted");
    while held() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn when_all_groups_hold_too_much_nothing_grows_and_everything_goes_on() {
    let log = MemoryLog::new();
    let running = Running::on(&log).await;
    let joined = running.stable().await;
    let member = who(&joined.member, 1);
    running.commit(&member, 5).await.expect("committed");
    let mut others = Share::of(&running.coordinator.held);
    others.set(MAX_BYTES);
    assert_eq!(running.commit(&member, 6).await, Ok(()), "an offset that is there already");
    assert_eq!(running.coordinator.heartbeat(&member), Ok(()));
    let other = Identity { group: "other".into(), ..who("", -1) };
    assert_eq!(running.commit(&other, 1).await, Err(ResponseError::InvalidCommitOffsetSize));
    let refused = running.coordinator.join(join("")).await.expect_err("refused");
    assert_eq!(refused.code, ResponseError::GroupMaxSizeReached);
    let again = running.coordinator.join(Join { member: Arc::clone(&joined.member), ..join("") }).await;
    assert!(again.is_ok(), "who is a member stays one: {again:?}");
    drop(others);
    assert_eq!(running.commit(&other, 1).await, Ok(()));
    running.stop().await;
}

/// A catalog's image with these topics.
fn topics(names: &[&str]) -> Image {
    let mut image = Image::default();
    for name in names {
        let name = TopicName::parse(name).expect("a name");
        let topic =
            Topic { id: Uuid::new_v4(), name, partitions: 1, replication_factor: 1, configs: Default::default() };
        image.apply(&CatalogRecord::Topic(topic));
    }
    image
}

#[test]
fn offsets_belong_to_the_topic_that_they_were_committed_for() {
    let (image, id) = (topics(&["t"]), |image: &Image| image.topic("t").map(|topic| topic.id));
    let of = |topic_id| OffsetValue {
        offset: 1,
        leader_epoch: -1,
        metadata: "".into(),
        commit_timestamp: 0,
        expire_timestamp: None,
        topic_id,
    };
    assert!(of(id(&image)).is_current(&image, "t"));
    assert!(of(None).is_current(&image, "t"), "what does not say is believed");
    assert!(!of(id(&image)).is_current(&topics(&["t"]), "t"), "another topic of that name");
    assert!(!of(id(&image)).is_current(&Image::default(), "t"), "no topic of that name");
}
