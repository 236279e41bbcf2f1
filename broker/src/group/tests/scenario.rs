//! One group, step by step.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use crate::group::limits::{MAX_OFFSET_BYTES_PER_GROUP, MAX_OFFSETS_PER_GROUP, OFFSET_BYTES};
use crate::group::member::{Identity, Join, JoinResult, Joined, Protocol, Sync, SyncResult};
use crate::group::records::{GroupValue, OffsetValue};
use crate::group::state::{Change, Group, Now, State, Store};
use crate::group::{CONSUMER, Settings};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A group whose writes are durable at once, and a clock to be moved.
struct Scene {
    group: Group,
    now: Now,
    stored: Vec<GroupValue>,
}

impl Scene {
    fn new() -> Self {
        Self::with(Settings { initial_rebalance_delay: Duration::from_secs(3), ..Settings::default() })
    }

    fn with(settings: Settings) -> Self {
        let now = Now { at: Instant::now(), wall_ms: 1_000_000 };
        Self { group: Group::new("g".into(), Arc::new(settings), now), now, stored: Vec::new() }
    }

    fn advance(&mut self, by: Duration) {
        self.now.at += by;
        self.now.wall_ms += by.as_millis() as i64;
        self.group.on_time(self.now);
        self.write();
    }

    /// Lets time pass until the first members' delay is over.
    fn settle(&mut self) {
        while self.group.state == State::PreparingRebalance {
            self.advance(Duration::from_secs(1));
        }
    }

    fn write(&mut self) {
        while let Some(store) = self.group.to_store.pop() {
            let assignments = if let Store::Assignment { assignments, .. } = &store { Some(assignments) } else { None };
            self.stored.push(self.group.value(assignments));
            let number = self.group.appended(Change::Stored(store));
            self.group.durable(number, self.now);
        }
    }

    fn join(&mut self, join: Join) -> Receiver<JoinResult> {
        let receiver = self.group.join(join, self.now);
        self.write();
        receiver
    }

    fn sync(&mut self, joined: &Joined, assignments: &[(&Arc<str>, &'static str)]) -> Receiver<SyncResult> {
        let assignments =
            assignments.iter().map(|(id, text)| (Arc::clone(id), Bytes::from_static(text.as_bytes()))).collect();
        let sync = Sync {
            identity: who(&joined.member, joined.generation),
            protocol_type: Some(CONSUMER.into()),
            protocol: joined.protocol.clone(),
            assignments,
        };
        let receiver = self.group.sync(sync, self.now);
        self.write();
        receiver
    }

    fn heartbeat(&mut self, member: &Arc<str>, generation: i32) -> Result<(), ResponseError> {
        self.group.heartbeat(&who(member, generation), self.now)
    }

    fn leave(&mut self, member: &str, instance: Option<&Arc<str>>) -> Result<(), ResponseError> {
        let result = self.group.leave(member, instance);
        self.group.members_left(self.now);
        self.write();
        result
    }

    /// A stable group of this many members, the leader first.
    fn stable(&mut self, count: usize) -> Vec<Joined> {
        let waiting: Vec<_> = (0..count).map(|_| self.join(member(""))).collect();
        self.settle();
        let joined: Vec<_> = waiting.into_iter().map(answered).collect();
        self.finish(&joined);
        joined
    }

    /// Everybody asks for their assignment, the leader last.
    fn finish(&mut self, joined: &[Joined]) {
        let leader = Arc::clone(&joined[0].leader);
        let everybody: Vec<_> = joined.iter().map(|joined| (&joined.member, "share")).collect();
        let followers = joined.iter().filter(|joined| joined.member != leader);
        let mut waiting: Vec<_> = followers.map(|joined| self.sync(joined, &[])).collect();
        let leading = joined.iter().find(|joined| joined.member == leader).expect("the leader has joined");
        waiting.push(self.sync(leading, &everybody));
        for mut receiver in waiting {
            assert_eq!(ready(&mut receiver).expect("an answer").expect("assigned").assignment, "share");
        }
        assert_eq!(self.group.state, State::Stable);
    }
}

fn member(id: &str) -> Join {
    Join {
        group: "g".into(),
        member: id.into(),
        instance: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: CONSUMER.into(),
        protocols: vec![offer("range", "meta")],
        id_first: false,
        may_skip_assignment: false,
    }
}

fn fixed(instance: &str) -> Join {
    Join { instance: Some(instance.into()), ..member("") }
}

fn offer(name: &str, metadata: &'static str) -> Protocol {
    Protocol { name: name.into(), metadata: Bytes::from_static(metadata.as_bytes()) }
}

fn who(member: &Arc<str>, generation: i32) -> Identity {
    Identity { group: "g".into(), generation, member: Arc::clone(member), instance: None }
}

fn ready<T>(receiver: &mut Receiver<T>) -> Option<T> {
    match receiver.try_recv() {
        Ok(answer) => Some(answer),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Closed) => panic!("the waiting request was forgotten"),
    }
}

fn answered(mut receiver: Receiver<JoinResult>) -> Joined {
    ready(&mut receiver).expect("an answer").expect("joined")
}

fn refused(mut receiver: Receiver<JoinResult>) -> (ResponseError, Arc<str>) {
    let refused = ready(&mut receiver).expect("an answer").expect_err("refused");
    (refused.code, refused.member)
}

#[test]
fn first_members_wait_for_others() {
    let mut scene = Scene::new();
    let mut first = scene.join(member(""));
    scene.advance(Duration::from_secs(2));
    let mut second = scene.join(member(""));
    scene.advance(Duration::from_secs(2));
    // The second one extended the delay.
    assert!(ready(&mut first).is_none());
    scene.advance(Duration::from_secs(3));
    let first = ready(&mut first).expect("an answer").expect("joined");
    let second = ready(&mut second).expect("an answer").expect("joined");
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!((&first.leader, &second.leader), (&first.member, &first.member));
    assert_eq!((first.members.len(), second.members.len()), (2, 0));
    assert_eq!(first.protocol.as_deref(), Some("range"));
    scene.finish(&[first, second]);
    let stored = scene.stored.last().expect("stored");
    assert_eq!((stored.generation, stored.members.len()), (1, 2));
    assert!(stored.members.iter().all(|member| member.assignment == "share" && member.subscription == "meta"));
}

#[test]
fn the_initial_delay_ends_with_the_rebalance_timeout() {
    let mut scene = Scene::new();
    let mut first = scene.join(Join { rebalance_timeout: Duration::from_secs(7), ..member("") });
    for _ in 0..6 {
        scene.advance(Duration::from_secs(1));
        drop(scene.join(Join { rebalance_timeout: Duration::from_secs(7), ..member("") }));
        assert!(ready(&mut first).is_none());
    }
    // Somebody joined just now, but the time is up.
    scene.advance(Duration::from_secs(1));
    assert_eq!(answered(first).members.len(), 7);
}

#[test]
fn clients_come_back_with_their_id() {
    let mut scene = Scene::new();
    let (code, id) = refused(scene.join(Join { id_first: true, ..member("") }));
    assert_eq!(code, ResponseError::MemberIdRequired);
    assert!(id.starts_with("client-"));
    assert_eq!(scene.group.state, State::Empty);
    let waiting = scene.join(member(&id));
    scene.advance(Duration::from_secs(3));
    assert_eq!(answered(waiting).member, id);
    // An id that nobody handed out is nobody's.
    assert_eq!(refused(scene.join(member("stranger"))).0, ResponseError::UnknownMemberId);
    // One that is not used in time is forgotten.
    let (_, late) = refused(scene.join(Join { id_first: true, ..member("") }));
    scene.advance(SESSION);
    assert_eq!(refused(scene.join(member(&late))).0, ResponseError::UnknownMemberId);
}

#[test]
fn a_third_member_makes_the_others_join_again() {
    let mut scene = Scene::new();
    let joined = scene.stable(2);
    let (leader, follower) = (&joined[0], &joined[1]);
    let mut third = scene.join(member(""));
    assert_eq!(scene.group.state, State::PreparingRebalance);
    for member in [leader, follower] {
        assert_eq!(scene.heartbeat(&member.member, 1), Err(ResponseError::RebalanceInProgress));
        let mut sync = scene.sync(member, &[]);
        assert_eq!(ready(&mut sync).expect("an answer"), Err(ResponseError::RebalanceInProgress));
    }
    let again = scene.join(member(&follower.member));
    assert!(ready(&mut third).is_none());
    let leading = answered(scene.join(member(&leader.member)));
    let (again, third) = (answered(again), answered(third));
    assert_eq!((leading.generation, again.generation, third.generation), (2, 2, 2));
    assert_eq!(leading.members.len(), 3);
    assert_eq!(scene.heartbeat(&third.member, 2), Ok(()));
    assert_eq!(scene.heartbeat(&third.member, 1), Err(ResponseError::IllegalGeneration));
    scene.finish(&[leading, again, third]);
}

#[test]
fn who_does_not_join_again_in_time_is_out() {
    let mut scene = Scene::new();
    let joined = scene.stable(2);
    let third = scene.join(member(""));
    let mut again = scene.join(member(&joined[0].member));
    // The silent one keeps its session alive and still does not join.
    for _ in 0..11 {
        scene.advance(Duration::from_secs(5));
        assert_eq!(scene.heartbeat(&joined[1].member, 1), Err(ResponseError::RebalanceInProgress));
        assert!(ready(&mut again).is_none());
    }
    scene.advance(Duration::from_secs(5));
    assert_eq!(answered(again).members.len(), 2);
    assert_eq!(answered(third).generation, 2);
    assert_eq!(scene.heartbeat(&joined[1].member, 1), Err(ResponseError::UnknownMemberId));
}

#[test]
fn leaving_rebalances_and_the_last_one_leaves_an_empty_group() {
    let mut scene = Scene::new();
    let joined = scene.stable(2);
    assert_eq!(scene.leave(&joined[0].member, None), Ok(()));
    assert_eq!(scene.heartbeat(&joined[1].member, 1), Err(ResponseError::RebalanceInProgress));
    let again = answered(scene.join(member(&joined[1].member)));
    assert_eq!((again.generation, &again.leader), (2, &joined[1].member));
    assert_eq!(scene.leave(&joined[1].member, None), Ok(()));
    assert_eq!((scene.group.state, scene.group.generation), (State::Empty, 3));
    let stored = scene.stored.last().expect("the empty group is stored");
    assert_eq!((stored.generation, stored.members.len(), &stored.leader), (3, 0, &None));
    assert_eq!(scene.leave(&joined[1].member, None), Err(ResponseError::UnknownMemberId));
    // Generations go on counting.
    let next = scene.join(member(""));
    scene.advance(Duration::from_secs(3));
    assert_eq!(answered(next).generation, 4);
}

#[test]
fn a_session_ends_without_heartbeats() {
    let mut scene = Scene::new();
    let joined = scene.stable(2);
    scene.advance(Duration::from_secs(6));
    assert_eq!(scene.heartbeat(&joined[1].member, 1), Ok(()));
    scene.advance(Duration::from_secs(6));
    assert_eq!(scene.heartbeat(&joined[0].member, 1), Err(ResponseError::UnknownMemberId));
    assert_eq!(scene.heartbeat(&joined[1].member, 1), Err(ResponseError::RebalanceInProgress));
    assert_eq!(answered(scene.join(member(&joined[1].member))).generation, 2);
}

#[test]
fn a_client_that_went_away_while_joining_is_removed_by_its_session() {
    let mut scene = Scene::new();
    let first = scene.join(member(""));
    drop(scene.join(member("")));
    scene.advance(Duration::from_secs(3));
    scene.advance(Duration::from_secs(3));
    let first = answered(first);
    assert_eq!(first.members.len(), 2);
    scene.advance(Duration::from_secs(8));
    assert_eq!(scene.heartbeat(&first.member, 1), Ok(()));
    scene.advance(Duration::from_secs(2));
    assert_eq!(scene.group.members.len(), 1);
    assert_eq!(answered(scene.join(member(&first.member))).members.len(), 1);
}

#[test]
fn a_leader_that_fails_before_its_assignment_is_replaced() {
    let mut scene = Scene::new();
    let waiting: Vec<_> = (0..2).map(|_| scene.join(member(""))).collect();
    scene.settle();
    let joined: Vec<_> = waiting.into_iter().map(answered).collect();
    let mut sync = scene.sync(&joined[1], &[]);
    assert!(ready(&mut sync).is_none());
    scene.advance(SESSION);
    assert_eq!(ready(&mut sync).expect("an answer"), Err(ResponseError::RebalanceInProgress));
    let again = answered(scene.join(member(&joined[1].member)));
    assert_eq!((again.generation, &again.leader, again.members.len()), (2, &joined[1].member, 1));
    scene.finish(&[again]);
}

#[test]
fn members_that_never_ask_for_their_assignment_are_removed() {
    let mut scene = Scene::new();
    let waiting: Vec<_> = (0..2).map(|_| scene.join(member(""))).collect();
    scene.settle();
    let joined: Vec<_> = waiting.into_iter().map(answered).collect();
    let mut sync = scene.sync(&joined[0], &[(&joined[0].member, "all")]);
    assert!(ready(&mut sync).expect("an answer").is_ok());
    for _ in 0..12 {
        scene.advance(Duration::from_secs(5));
        for member in &joined {
            let _ = scene.heartbeat(&member.member, 1);
        }
    }
    assert_eq!(scene.heartbeat(&joined[1].member, 1), Err(ResponseError::UnknownMemberId));
    assert_eq!(scene.heartbeat(&joined[0].member, 1), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn only_a_change_or_the_leader_rebalances() {
    let mut scene = Scene::new();
    let joined = scene.stable(2);
    let same = answered(scene.join(member(&joined[1].member)));
    assert_eq!((same.generation, scene.group.state), (1, State::Stable));
    let changed = Join { protocols: vec![offer("range", "other")], ..member(&joined[1].member) };
    let _waiting = scene.join(changed);
    assert_eq!(scene.group.state, State::PreparingRebalance);
    let _ = answered(scene.join(member(&joined[0].member)));
    assert_eq!(scene.group.generation, 2);
    // A lost answer is said again, to the leader with the members.
    let repeated = answered(scene.join(member(&joined[0].member)));
    assert_eq!((repeated.generation, repeated.members.len()), (2, 2));
    let _leader_again = scene.join(Join { protocols: vec![offer("range", "new")], ..member(&joined[0].member) });
    assert_eq!(scene.group.state, State::PreparingRebalance);
}

#[test]
fn the_protocol_is_chosen_by_votes_among_common_ones() {
    let mut scene = Scene::new();
    let offers = [vec!["a", "b", "c"], vec!["b", "a"], vec!["x", "b", "a"]];
    let waiting: Vec<_> = offers
        .into_iter()
        .map(|names| {
            let protocols = names.into_iter().map(|name| offer(name, "m")).collect();
            scene.join(Join { protocols, ..member("") })
        })
        .collect();
    scene.settle();
    for receiver in waiting {
        assert_eq!(answered(receiver).protocol.as_deref(), Some("b"));
    }
    let stranger = Join { protocols: vec![offer("c", "m")], ..member("") };
    assert_eq!(refused(scene.join(stranger)).0, ResponseError::InconsistentGroupProtocol);
    let connect = Join { protocol_type: "connect".into(), ..member("") };
    assert_eq!(refused(scene.join(connect)).0, ResponseError::InconsistentGroupProtocol);
    let nothing = Join { protocols: Vec::new(), ..member("") };
    assert_eq!(refused(Scene::new().join(nothing)).0, ResponseError::InconsistentGroupProtocol);
}

#[test]
fn a_full_group_takes_nobody() {
    let mut scene = Scene::with(Settings { max_size: 2, ..Settings::default() });
    let joined = scene.stable(2);
    assert_eq!(refused(scene.join(member(""))).0, ResponseError::GroupMaxSizeReached);
    assert_eq!(scene.heartbeat(&joined[0].member, 1), Ok(()));
}

/// A stable group of two static members; the first leads.
fn static_scene() -> (Scene, Joined, Joined) {
    let mut scene = Scene::new();
    let (first, second) = (scene.join(fixed("one")), scene.join(fixed("two")));
    scene.settle();
    let (first, second) = (answered(first), answered(second));
    scene.finish(&[first.clone(), second.clone()]);
    (scene, first, second)
}

#[test]
fn a_restarted_static_member_takes_its_place_without_a_rebalance() {
    let (mut scene, first, second) = static_scene();
    let back = answered(scene.join(fixed("two")));
    assert_ne!(back.member, second.member);
    assert_eq!((back.generation, scene.group.state), (1, State::Stable));
    assert_eq!(scene.heartbeat(&first.member, 1), Ok(()));
    let stored = scene.stored.last().expect("stored");
    assert!(stored.members.iter().any(|member| member.id == back.member && member.assignment == "share"));
    let mut sync = scene.sync(&back, &[]);
    assert_eq!(ready(&mut sync).expect("an answer").expect("assigned").assignment, "share");
    // The one before is fenced.
    let old = Identity { instance: Some("two".into()), ..who(&second.member, 1) };
    assert_eq!(scene.group.heartbeat(&old, scene.now), Err(ResponseError::FencedInstanceId));
    let old_join = Join { instance: Some("two".into()), ..member(&second.member) };
    assert_eq!(refused(scene.join(old_join)).0, ResponseError::FencedInstanceId);
}

#[test]
fn a_restarted_static_leader_does_not_share_out_again() {
    let (mut scene, first, _) = static_scene();
    // Older clients are told of the leader before, so that they do not think that they lead.
    let old_client = answered(scene.join(fixed("one")));
    assert_eq!((&old_client.leader, old_client.members.len()), (&first.member, 0));
    let new_client = answered(scene.join(Join { may_skip_assignment: true, ..fixed("one") }));
    assert_eq!((&new_client.leader, new_client.skip_assignment), (&new_client.member, true));
    assert_eq!(new_client.members.len(), 2);
}

#[test]
fn static_members_keep_their_place_for_their_session_and_can_be_removed_by_name() {
    let (mut scene, first, second) = static_scene();
    let instance: Arc<str> = "two".into();
    assert_eq!(scene.leave("", Some(&"nobody".into())), Err(ResponseError::UnknownMemberId));
    assert_eq!(scene.leave(&first.member, Some(&instance)), Err(ResponseError::FencedInstanceId));
    assert_eq!(scene.leave("", Some(&instance)), Ok(()));
    assert_eq!(scene.heartbeat(&second.member, 1), Err(ResponseError::UnknownMemberId));
    assert_eq!(answered(scene.join(Join { member: Arc::clone(&first.member), ..fixed("one") })).generation, 2);
}

#[test]
fn a_static_member_that_returns_during_the_join_phase_fences_its_waiting_self() {
    let mut scene = Scene::new();
    let waiting = scene.join(fixed("one"));
    let back = scene.join(fixed("one"));
    assert_eq!(refused(waiting).0, ResponseError::FencedInstanceId);
    scene.settle();
    assert_eq!(answered(back).members.len(), 1);
}

#[test]
fn a_failed_write_of_assignments_starts_over() {
    let mut scene = Scene::new();
    let waiting = scene.join(member(""));
    scene.settle();
    let joined = answered(waiting);
    let sync = Sync {
        identity: who(&joined.member, 1),
        protocol_type: None,
        protocol: None,
        assignments: vec![(Arc::clone(&joined.member), Bytes::from_static(b"all"))],
    };
    let mut receiver = scene.group.sync(sync, scene.now);
    let store = scene.group.to_store.pop().expect("something to write");
    Change::Stored(store).failed(&mut scene.group, ResponseError::CoordinatorNotAvailable, scene.now);
    assert_eq!(ready(&mut receiver).expect("an answer"), Err(ResponseError::CoordinatorNotAvailable));
    assert_eq!(scene.group.state, State::PreparingRebalance);
}

#[test]
fn syncs_of_another_generation_or_protocol_are_refused() {
    let mut scene = Scene::new();
    let joined = scene.stable(1).remove(0);
    let mut wrong = |sync: Sync| {
        let mut receiver = scene.group.sync(sync, scene.now);
        ready(&mut receiver).expect("an answer").expect_err("refused")
    };
    let sync = |generation, protocol: &str| Sync {
        identity: who(&joined.member, generation),
        protocol_type: None,
        protocol: Some(protocol.into()),
        assignments: Vec::new(),
    };
    assert_eq!(wrong(sync(2, "range")), ResponseError::IllegalGeneration);
    assert_eq!(wrong(sync(1, "sticky")), ResponseError::InconsistentGroupProtocol);
    let stranger = Sync { identity: who(&"stranger".into(), 1), ..sync(1, "range") };
    assert_eq!(wrong(stranger), ResponseError::UnknownMemberId);
}

#[test]
fn commits_are_for_members_of_this_generation_or_for_empty_groups() {
    let mut scene = Scene::new();
    let simple = who(&"".into(), -1);
    assert_eq!(scene.group.check_commit(&simple, scene.now), Ok(()));
    let joined = scene.stable(1).remove(0);
    let now = scene.now;
    assert_eq!(scene.group.check_commit(&simple, now), Err(ResponseError::UnknownMemberId));
    assert_eq!(scene.group.check_commit(&who(&joined.member, 1), now), Ok(()));
    assert_eq!(scene.group.check_commit(&who(&joined.member, 0), now), Err(ResponseError::IllegalGeneration));
    assert_eq!(scene.group.check_commit(&who(&"x".into(), 1), now), Err(ResponseError::UnknownMemberId));
    let again = scene.join(member(&joined.member));
    assert_eq!(answered(again).generation, 2);
    assert_eq!(scene.group.check_commit(&who(&joined.member, 2), now), Err(ResponseError::RebalanceInProgress));
}

#[test]
fn a_stored_group_resumes_with_its_sessions_started_again() {
    let (scene, first, second) = static_scene();
    let value = scene.stored.last().expect("stored").clone();
    let mut resumed = Scene::new();
    resumed.group = Group::stored("g".into(), value.clone(), Arc::new(Settings::default()), resumed.now);
    assert_eq!(resumed.group.state, State::Stable);
    assert_eq!(resumed.group.value(None), value);
    assert_eq!(resumed.heartbeat(&first.member, 1), Ok(()));
    let mut sync = resumed.sync(&second, &[]);
    assert_eq!(ready(&mut sync).expect("an answer").expect("assigned").assignment, "share");
    resumed.advance(SESSION);
    assert!(resumed.group.members.is_empty());
    assert_eq!((resumed.group.state, resumed.group.generation), (State::Empty, 2));
}

fn committed(commit_timestamp: i64, expire_timestamp: Option<i64>) -> OffsetValue {
    OffsetValue { offset: 5, leader_epoch: -1, metadata: "".into(), commit_timestamp, expire_timestamp, topic_id: None }
}

/// Topics whose offsets expire so many milliseconds from now.
fn expired(scene: &Scene, ms: i64) -> Vec<String> {
    let now = Now { at: scene.now.at, wall_ms: scene.now.wall_ms + ms };
    scene.group.expired_offsets(now).into_iter().map(|(topic, _)| topic.to_string()).collect()
}

/// A consumer's subscription to one topic.
const SUBSCRIBED_TO_T: &str = "\0\0\0\0\0\x01\0\x01t\0\0\0\0";

#[test]
fn offsets_expire_when_the_group_has_been_empty_for_long() {
    let mut scene = Scene::new();
    let joined = scene.stable(1).remove(0);
    let now_ms = scene.now.wall_ms;
    let offsets = [("t", committed(now_ms, None)), ("own", committed(now_ms, Some(now_ms + 1)))];
    scene.group.offsets.apply(offsets.map(|(topic, value)| ((topic.into(), 0), value)).into());
    let week = scene.group.settings.offsets_retention_ms;
    assert!(expired(&scene, 2 * week).is_empty(), "the metadata cannot be read: keep");
    scene.advance(Duration::from_secs(1));
    assert_eq!(scene.leave(&joined.member, None), Ok(()));
    assert_eq!(expired(&scene, 0), ["own"]);
    assert_eq!(expired(&scene, week - 1), ["own"]);
    assert_eq!(expired(&scene, week), ["own", "t"]);
    // Kafka counts from when the group became empty, also for what tools commit later.
    let later = committed(scene.now.wall_ms + week / 2, None);
    scene.group.offsets.apply(vec![(("later".into(), 0), later)]);
    assert_eq!(expired(&scene, week), ["later", "own", "t"]);
}

#[test]
fn offsets_of_simple_consumers_expire_by_their_commit() {
    let mut scene = Scene::new();
    let (now_ms, week) = (scene.now.wall_ms, scene.group.settings.offsets_retention_ms);
    let offsets =
        [("a", committed(now_ms - 10, None)), ("b", committed(now_ms, None)), ("c", committed(0, Some(now_ms + 5)))];
    scene.group.offsets.apply(offsets.map(|(topic, value)| ((topic.into(), 0), value)).into());
    assert!(expired(&scene, 4).is_empty());
    assert_eq!(expired(&scene, 5), ["c"]);
    assert_eq!(expired(&scene, week - 10), ["a", "c"]);
    assert_eq!(expired(&scene, week), ["a", "b", "c"]);
    // What is on its way anew must not be taken away behind its back.
    scene.group.appended(Change::Committed(vec![(("a".into(), 0), committed(now_ms + week, None))]));
    assert_eq!(expired(&scene, week), ["b", "c"]);
}

#[test]
fn offsets_of_a_stable_group_expire_where_nobody_subscribes_any_more() {
    let mut scene = Scene::new();
    let subscribed = Join { protocols: vec![offer("range", SUBSCRIBED_TO_T)], ..member("") };
    let waiting = scene.join(subscribed);
    scene.settle();
    let joined = answered(waiting);
    let (now_ms, week) = (scene.now.wall_ms, scene.group.settings.offsets_retention_ms);
    let offsets =
        [("t", committed(now_ms, None)), ("old", committed(now_ms, None)), ("own", committed(now_ms, Some(now_ms)))];
    scene.group.offsets.apply(offsets.map(|(topic, value)| ((topic.into(), 0), value)).into());
    assert!(expired(&scene, 2 * week).is_empty(), "nothing expires during a rebalance");
    scene.finish(&[joined]);
    assert_eq!(expired(&scene, week - 1), ["own"]);
    assert_eq!(expired(&scene, week), ["old", "own"]);
}

#[test]
fn a_stored_group_that_does_not_say_since_when_counts_from_the_commits() {
    let stored = GroupValue {
        protocol_type: CONSUMER.into(),
        generation: 3,
        protocol: None,
        leader: None,
        state_timestamp: -1,
        members: Vec::new(),
    };
    let mut scene = Scene::new();
    scene.group = Group::stored("g".into(), stored.clone(), Arc::new(Settings::default()), scene.now);
    assert_eq!(scene.group.value(None), stored);
    let (now_ms, week) = (scene.now.wall_ms, scene.group.settings.offsets_retention_ms);
    scene.group.offsets.apply(vec![(("t".into(), 0), committed(now_ms - 10, None))]);
    assert!(expired(&scene, week - 11).is_empty());
    assert_eq!(expired(&scene, week - 10), ["t"]);
}

#[test]
fn what_is_subscribed_to_is_every_members_and_perhaps_everything() {
    let mut scene = Scene::new();
    assert!(!scene.group.subscribed().contains("t"));
    let waiting = scene.join(Join { protocols: vec![offer("range", SUBSCRIBED_TO_T)], ..member("") });
    scene.settle();
    scene.finish(&[answered(waiting)]);
    assert!(scene.group.subscribed().contains("t") && !scene.group.subscribed().contains("other"));
    let _unreadable = scene.join(member(""));
    assert!(scene.group.subscribed().contains("other"));
}

#[test]
fn committed_offsets_of_a_group_have_a_bound_in_number_and_bytes() {
    let scene = Scene::new();
    let many = |count: usize, note: usize| -> Vec<_> {
        let value = OffsetValue { metadata: "x".repeat(note).into(), ..committed(0, None) };
        (0..count as i32).map(|index| (("t".into(), index), value.clone())).collect()
    };
    assert!(scene.group.has_room_for(&many(MAX_OFFSETS_PER_GROUP, 0)));
    assert!(!scene.group.has_room_for(&many(MAX_OFFSETS_PER_GROUP + 1, 0)));
    let large = MAX_OFFSET_BYTES_PER_GROUP / (OFFSET_BYTES + 4_096);
    assert!(scene.group.has_room_for(&many(large, 4_096)));
    assert!(!scene.group.has_room_for(&many(large + 1, 4_096)));
    let mut full = Scene::new();
    full.group.offsets.apply(many(large, 4_096));
    assert!(full.group.has_room_for(&many(large, 4_096)), "the same partitions again");
    assert!(!full.group.has_room_for(&many(large + 1, 4_096)));
    let all: Vec<_> = many(large, 0).into_iter().map(|(partition, _)| partition).collect();
    full.group.offsets.remove(&all);
    assert_eq!(full.group.offsets.bytes(), 0);
}
