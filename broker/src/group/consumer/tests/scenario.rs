//! What members ask and are told, step by step.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::stage::{Client, Stage, settle, stored};
use crate::group::consumer::assignor::Assignor;
use crate::group::consumer::heartbeat::Heartbeat;
use crate::group::consumer::member::MemberState;
use crate::group::consumer::records::ConsumerRecord;
use crate::group::consumer::{Phase, World, embedded};
use crate::group::member::{Identity, Join, Protocol, Sync};
use crate::group::{CONSUMER, ConsumerSettings, Settings};

fn sizes(clients: &[Client]) -> Vec<usize> {
    clients.iter().map(|client| client.owned.len()).collect()
}

fn code(stage: &mut Stage, beat: &Heartbeat) -> ResponseError {
    stage.beat(beat).expect_err("refused").code
}

fn settings(consumer: ConsumerSettings) -> Settings {
    Settings { consumer, ..Settings::default() }
}

fn classic(id: &str, topics: &[&str]) -> Join {
    let mut metadata = vec![0, 0];
    metadata.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        metadata.extend((topic.len() as i16).to_be_bytes());
        metadata.extend(topic.as_bytes());
    }
    metadata.extend((-1i32).to_be_bytes());
    Join {
        group: "g".into(),
        member: id.into(),
        instance: None,
        client_id: "old".into(),
        client_host: "/::1".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: CONSUMER.into(),
        protocols: vec![Protocol { name: "range".into(), metadata: metadata.into() }],
        id_first: false,
        may_skip_assignment: true,
    }
}

fn who(id: &str, generation: i32) -> Identity {
    Identity { group: "g".into(), generation, member: id.into(), instance: None }
}

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut stage = Stage::new(&[("t", 4)]);
    let mut first = Client::new("a", &["t"]);
    first.beat(&mut stage).expect("joined");
    assert_eq!((first.epoch, first.owned.len()), (1, 4));
    assert_eq!(stage.group.phase(), Phase::Stable);
    // Nothing new, nothing written, nothing told.
    let written = stage.log.len();
    let quiet = Heartbeat { rebalance_timeout_ms: -1, names: None, owned: None, ..first.request() };
    let beaten = stage.beat(&quiet).expect("alive");
    assert_eq!((beaten.epoch, beaten.assignment, stage.log.len()), (1, None, written));
}

#[test]
fn partitions_move_only_after_they_were_given_up() {
    let mut stage = Stage::new(&[("t", 4)]);
    let (mut a, mut b) = (Client::new("a", &["t"]), Client::new("b", &["t"]));
    a.beat(&mut stage).expect("joined");
    b.beat(&mut stage).expect("joined");
    assert_eq!((b.epoch, b.owned.len()), (2, 0));
    assert_eq!(stage.group.members["b"].current.state, MemberState::UnreleasedPartitions);
    assert_eq!(stage.group.phase(), Phase::Reconciling);
    // The first is told to give up two, and stays in its epoch until it has.
    let beaten = stage.beat(&a.request()).expect("alive");
    assert_eq!(beaten.epoch, 1);
    assert_eq!(stage.group.members["a"].current.state, MemberState::UnrevokedPartitions);
    let still = stage.beat(&a.request()).expect("alive");
    assert_eq!(still.epoch, 1);
    b.beat(&mut stage).expect("alive");
    assert_eq!(b.owned.len(), 0);
    a.take(&beaten);
    a.beat(&mut stage).expect("alive");
    assert_eq!((a.epoch, a.owned.len()), (2, 2));
    b.beat(&mut stage).expect("alive");
    assert_eq!((b.epoch, b.owned.len()), (2, 2));
    assert_eq!(stage.group.phase(), Phase::Stable);
}

#[test]
fn a_member_that_gives_nothing_up_is_put_out() {
    let mut stage = Stage::new(&[("t", 4)]);
    let (mut a, mut b) = (Client::new("a", &["t"]), Client::new("b", &["t"]));
    a.beat(&mut stage).expect("joined");
    b.beat(&mut stage).expect("joined");
    let stubborn = a.request();
    for _ in 0..3 {
        stage.beat(&stubborn).expect("alive");
        b.beat(&mut stage).expect("alive");
        stage.advance(Duration::from_secs(25));
    }
    assert_eq!(code(&mut stage, &stubborn), ResponseError::UnknownMemberId);
    b.beat(&mut stage).expect("alive");
    assert_eq!(b.owned.len(), 4);
}

#[test]
fn sessions_end_and_a_heartbeat_extends_them() {
    let mut stage = Stage::new(&[("t", 4)]);
    let mut clients = [Client::new("a", &["t"]), Client::new("b", &["t"])];
    settle(&mut stage, &mut clients);
    let [a, b] = &mut clients;
    stage.advance(Duration::from_secs(40));
    a.beat(&mut stage).expect("alive");
    stage.advance(Duration::from_secs(10));
    assert_eq!(code(&mut stage, &b.request()), ResponseError::UnknownMemberId);
    assert_eq!(stage.group.phase(), Phase::Assigning);
    a.beat(&mut stage).expect("alive");
    assert_eq!(a.owned.len(), 4);
    b.forget();
    settle(&mut stage, &mut clients);
    assert_eq!(sizes(&clients), [2, 2]);
}

#[test]
fn wrong_epochs_are_fenced_and_lost_answers_are_not() {
    let mut stage = Stage::new(&[("t", 4)]);
    let (mut a, mut b) = (Client::new("a", &["t"]), Client::new("b", &["t"]));
    // The answer to the join is lost: the same request again.
    stage.beat(&a.request()).expect("joined");
    a.beat(&mut stage).expect("joined again");
    b.beat(&mut stage).expect("joined");
    assert_eq!(code(&mut stage, &Heartbeat { epoch: 7, ..a.request() }), ResponseError::FencedMemberEpoch);
    a.beat(&mut stage).expect("told to revoke");
    let before = a.clone();
    a.beat(&mut stage).expect("revoked");
    assert_eq!((before.epoch, a.epoch), (1, 2));
    // With the epoch before and no more than it may have: the answer was lost.
    stage.beat(&before.request()).expect("not fenced");
    let mut more = before.request();
    more.owned = Some((0..4).map(|index| (stage.id("t"), index)).collect());
    assert_eq!(code(&mut stage, &more), ResponseError::FencedMemberEpoch);
    more.owned = None;
    assert_eq!(code(&mut stage, &more), ResponseError::FencedMemberEpoch);
    // Whoever lost everything may begin anew under its id.
    a.forget();
    a.beat(&mut stage).expect("joined");
    assert_eq!((a.epoch, a.owned.len()), (2, 2));
}

#[test]
fn requests_are_checked() {
    let mut stage = Stage::new(&[("t", 1)]);
    let good = Client::new("a", &["t"]).request();
    let invalid = [
        Heartbeat { member: "".into(), ..good.clone() },
        Heartbeat { group: "".into(), ..good.clone() },
        Heartbeat { instance: Some("".into()), ..good.clone() },
        Heartbeat { rack: Some("".into()), ..good.clone() },
        Heartbeat { rebalance_timeout_ms: -1, ..good.clone() },
        Heartbeat { owned: None, ..good.clone() },
        Heartbeat { names: None, ..good.clone() },
        Heartbeat { epoch: -2, ..good.clone() },
        Heartbeat { epoch: -3, ..good.clone() },
        Heartbeat { client_id: "x".repeat(1_001).into(), ..good.clone() },
    ];
    for beat in invalid {
        assert_eq!(code(&mut stage, &beat), ResponseError::InvalidRequest, "{beat:?}");
    }
    let sticky = Heartbeat { assignor: Some("sticky".into()), ..good.clone() };
    assert_eq!(code(&mut stage, &sticky), ResponseError::UnsupportedAssignor);
    for regex in ["(", "a)(b", "x{1000}{1000}{1000}"] {
        let beat = Heartbeat { regex: Some(regex.into()), ..good.clone() };
        assert_eq!(code(&mut stage, &beat), ResponseError::InvalidRegularExpression, "{regex}");
    }
    assert_eq!(code(&mut stage, &Heartbeat { epoch: 3, ..good.clone() }), ResponseError::UnknownMemberId);
    assert_eq!(code(&mut stage, &Heartbeat { epoch: -1, ..good.clone() }), ResponseError::UnknownMemberId);
    assert!(stage.log.is_empty());
    // Before version 1 the coordinator makes the id.
    let old = Heartbeat { member: "".into(), has_own_id: false, ..good };
    assert!(!stage.beat(&old).expect("joined").member.is_empty());
}

#[test]
fn groups_have_a_largest_size() {
    let mut stage = Stage::with(settings(ConsumerSettings { max_size: 1, ..Default::default() }), &[("t", 1)]);
    let mut a = Client::new("a", &["t"]);
    a.beat(&mut stage).expect("joined");
    assert_eq!(code(&mut stage, &Client::new("b", &["t"]).request()), ResponseError::GroupMaxSizeReached);
    assert_eq!(stage.classic_join(&classic("", &["t"])).expect_err("full").code, ResponseError::GroupMaxSizeReached);
    a.beat(&mut stage).expect("alive");
}

#[test]
fn leaving_frees_partitions_at_once() {
    let mut stage = Stage::new(&[("t", 4)]);
    let mut clients = [Client::new("a", &["t"]), Client::new("b", &["t"])];
    settle(&mut stage, &mut clients);
    let beaten = stage.beat(&clients[1].leaving(-1)).expect("left");
    assert_eq!((beaten.epoch, beaten.assignment), (-1, None));
    clients[0].beat(&mut stage).expect("alive");
    assert_eq!(clients[0].owned.len(), 4);
    stage.beat(&clients[0].leaving(-1)).expect("left");
    assert_eq!(stage.group.phase(), Phase::Empty);
}

#[test]
fn static_members_keep_their_place() {
    let mut stage = Stage::new(&[("t", 4)]);
    let fixed = |id: &str| Client { instance: Some("i".into()), ..Client::new(id, &["t"]) };
    let mut clients = [fixed("a"), Client::new("b", &["t"])];
    settle(&mut stage, &mut clients);
    let had = clients[0].owned.clone();
    // Another one may not take the name while it is in use.
    assert_eq!(code(&mut stage, &fixed("c").request()), ResponseError::UnreleasedInstanceId);
    let epoch = stage.group.epoch.epoch;
    assert_eq!(stage.beat(&clients[0].leaving(-2)).expect("left").epoch, -2);
    clients[1].beat(&mut stage).expect("alive");
    assert_eq!(clients[1].owned.len(), 2);
    let mut back = fixed("c");
    back.beat(&mut stage).expect("joined");
    assert_eq!((&back.owned, back.epoch), (&had, epoch));
    assert_eq!(stage.group.epoch.epoch, epoch, "no rebalance");
    let fenced = Heartbeat { epoch: 1, ..clients[0].request() };
    assert_eq!(code(&mut stage, &fenced), ResponseError::FencedInstanceId);
    // One that does not come back is out when its session ends.
    stage.beat(&back.leaving(-2)).expect("left");
    for _ in 0..2 {
        stage.advance(Duration::from_secs(25));
        clients[1].beat(&mut stage).expect("alive");
    }
    assert_eq!(clients[1].owned.len(), 4);
    assert_eq!(code(&mut stage, &back.leaving(-1)), ResponseError::UnknownMemberId);
}

#[test]
fn a_static_member_whose_return_is_refused_is_still_waited_for() {
    let mut stage = Stage::new(&[("t", 4)]);
    let mut clients = [Client { instance: Some("i".into()), ..Client::new("a", &["t"]) }];
    settle(&mut stage, &mut clients);
    stage.beat(&clients[0].leaving(-2)).expect("left");
    stage.refusing = true;
    let back = Client { instance: Some("i".into()), ..Client::new("a", &["t"]) };
    assert_eq!(code(&mut stage, &back.request()), ResponseError::CoordinatorNotAvailable);
    stage.refusing = false;
    stage.advance(Duration::from_secs(50));
    assert_eq!(stage.group.phase(), Phase::Empty, "its session ended");
}

#[test]
fn a_timer_that_is_set_is_compared_with_what_changed() {
    let mut stage = Stage::new(&[("t", 4)]);
    let mut clients = [Client::new("a", &["t"]), Client::new("b", &["t"])];
    settle(&mut stage, &mut clients);
    let first = stage.group.next_deadline(false).expect("sessions run");
    assert_eq!(stage.group.next_deadline(true), None, "nothing changed since");
    stage.advance(Duration::from_secs(5));
    clients[1].beat(&mut stage).expect("alive");
    assert_eq!(stage.group.next_deadline(true), Some(first + Duration::from_secs(5)));
    assert_eq!(stage.group.next_deadline(false), Some(first), "the other one's");
}

#[test]
fn topics_that_change_are_shared_out_anew() {
    let mut stage = Stage::new(&[("t", 2)]);
    let mut clients = [Client::new("a", &["t", "later"]), Client::new("b", &["t", "later"])];
    settle(&mut stage, &mut clients);
    assert_eq!(sizes(&clients), [1, 1]);
    stage.topic("t", 6);
    settle(&mut stage, &mut clients);
    assert_eq!(sizes(&clients), [3, 3]);
    stage.topic("later", 2);
    settle(&mut stage, &mut clients);
    assert_eq!(sizes(&clients), [4, 4]);
    stage.delete_topic("t");
    settle(&mut stage, &mut clients);
    assert_eq!(sizes(&clients), [1, 1]);
    // What nobody subscribes to is no reason.
    let written = stage.log.len();
    stage.topic("other", 1);
    settle(&mut stage, &mut clients);
    assert_eq!(stage.log.len(), written);
}

#[test]
fn expressions_stand_for_whole_names_that_may_be_seen() {
    let mut stage = Stage::new(&[("orders", 1), ("orders-2", 2), ("my-orders", 4), ("orders-secret", 8)]);
    stage.hidden = vec!["orders-secret".to_owned()];
    let mut clients = [Client { regex: Some("orders.*".into()), ..Client::new("a", &[]) }];
    settle(&mut stage, &mut clients);
    assert_eq!(sizes(&clients), [3]);
    // A new topic is found, though not at once.
    stage.topic("orders-3", 1);
    settle(&mut stage, &mut clients);
    assert_eq!(sizes(&clients), [3]);
    stage.advance(Duration::from_secs(10));
    settle(&mut stage, &mut clients);
    assert_eq!(sizes(&clients), [4]);
    // ACLs are looked at again after the interval.
    stage.hidden.clear();
    for _ in 0..20 {
        stage.advance(Duration::from_secs(30));
        settle(&mut stage, &mut clients);
    }
    assert_eq!(sizes(&clients), [12]);
    // Names come on top; an empty expression takes the subscription back.
    clients[0].names = vec!["my-orders".into()];
    settle(&mut stage, &mut clients);
    assert_eq!(sizes(&clients), [16]);
    clients[0].regex = Some("".into());
    settle(&mut stage, &mut clients);
    assert_eq!(sizes(&clients), [4]);
    assert!(stage.group.regexes.is_empty());
}

#[test]
fn most_members_decide_on_the_assignor() {
    let mut stage = Stage::new(&[("t", 3), ("u", 3)]);
    let member =
        |id: &str, assignor: Option<&str>| Client { assignor: assignor.map(Arc::from), ..Client::new(id, &["t", "u"]) };
    let mut clients = [member("a", Some("range")), member("b", Some("range")), member("c", Some("uniform"))];
    settle(&mut stage, &mut clients);
    assert_eq!(stage.group.preferred_assignor(), Assignor::Range);
    for client in &clients {
        assert_eq!(client.owned.topics().map(|(_, partitions)| partitions.len()).collect::<Vec<_>>(), [1, 1]);
    }
}

#[test]
fn a_log_that_takes_nothing_changes_nothing() {
    let mut stage = Stage::new(&[("t", 4)]);
    let mut clients = [Client::new("a", &["t"])];
    settle(&mut stage, &mut clients);
    let before = stored(&stage.group);
    stage.refusing = true;
    assert_eq!(code(&mut stage, &Client::new("b", &["t"]).request()), ResponseError::CoordinatorNotAvailable);
    assert_eq!(code(&mut stage, &clients[0].leaving(-1)), ResponseError::CoordinatorNotAvailable);
    assert_eq!(stored(&stage.group), before);
    clients[0].beat(&mut stage).expect("a heartbeat writes nothing");
    stage.advance(Duration::from_secs(50));
    assert_eq!(stored(&stage.group), before);
    stage.refusing = false;
    stage.advance(Duration::from_secs(1));
    assert_eq!(stage.group.phase(), Phase::Empty);
    assert_eq!(stage.group.next_deadline(false), None);
}

#[test]
fn offsets_want_the_members_epoch() {
    let mut stage = Stage::new(&[("t", 1)]);
    assert_eq!(stage.group.check_commit(&who("", -1)), Ok(()), "tools, while nobody is there");
    let mut a = Client::new("a", &["t"]);
    a.beat(&mut stage).expect("joined");
    assert_eq!(stage.group.check_commit(&who("", -1)), Err(ResponseError::UnknownMemberId));
    assert_eq!(stage.group.check_commit(&who("a", 1)), Ok(()));
    assert_eq!(stage.group.check_commit(&who("a", 0)), Err(ResponseError::StaleMemberEpoch));
    assert_eq!(stage.group.check_fetch(None, -1), Ok(()));
    assert_eq!(stage.group.check_fetch(Some("a"), 1), Ok(()));
    assert_eq!(stage.group.check_fetch(Some("a"), 2), Err(ResponseError::StaleMemberEpoch));
    assert_eq!(stage.group.check_fetch(Some("x"), 1), Err(ResponseError::UnknownMemberId));
    assert!(stage.group.uses_epochs("a") && !stage.group.uses_epochs("x"));
}

#[test]
fn classic_members_live_among_the_others() {
    let mut stage = Stage::new(&[("t", 4)]);
    let mut clients = [Client::new("a", &["t"])];
    settle(&mut stage, &mut clients);
    let asked = stage.classic_join(&Join { id_first: true, ..classic("", &["t"]) }).expect_err("an id first");
    assert_eq!(asked.code, ResponseError::MemberIdRequired);
    let join = classic(&asked.member, &["t"]);
    let joined = stage.classic_join(&join).expect("joined");
    assert_eq!((joined.generation, &*joined.leader, joined.members.len()), (2, "", 0));
    let id = joined.member.clone();
    let image = stage.image.clone();
    let sync = |generation| Sync {
        identity: who(&id, generation),
        protocol_type: Some(CONSUMER.into()),
        protocol: Some("range".into()),
        assignments: Vec::new(),
    };
    let has = |bytes: &Bytes| embedded::assignment(bytes).expect("an assignment").len();
    let synced = stage.group.classic_sync(&sync(2), &image, stage.now).expect("synced");
    assert_eq!(has(&synced.assignment), 0);
    assert_eq!(stage.group.classic_heartbeat(&who(&id, 2), stage.now), Ok(()), "waits for what the other gives up");
    settle(&mut stage, &mut clients);
    assert_eq!(sizes(&clients), [2]);
    // What it waited for is free: it is to join again.
    let rejoin = Err(ResponseError::RebalanceInProgress);
    assert_eq!(stage.group.classic_heartbeat(&who(&id, 2), stage.now), rejoin);
    assert_eq!(stage.classic_join(&join).expect("joined").generation, 2);
    let synced = stage.group.classic_sync(&sync(2), &image, stage.now).expect("synced");
    assert_eq!(has(&synced.assignment), 2);
    assert_eq!(stage.group.classic_heartbeat(&who(&id, 2), stage.now), Ok(()));
    assert_eq!(stage.group.classic_heartbeat(&who(&id, 1), stage.now), Err(ResponseError::IllegalGeneration));
    assert_eq!(stage.group.classic_heartbeat(&who("a", 2), stage.now), Err(ResponseError::UnknownMemberId));
    let odd = Sync { protocol: Some("other".into()), ..sync(2) };
    let inconsistent = Err(ResponseError::InconsistentGroupProtocol);
    assert_eq!(stage.group.classic_sync(&odd, &image, stage.now), inconsistent);
    let connect = Join { protocol_type: "connect".into(), ..classic("", &["t"]) };
    assert_eq!(stage.classic_join(&connect).expect_err("refused").code, ResponseError::InconsistentGroupProtocol);
    // The group moves on: it is told to, and is out when it does not follow.
    let mut third = Client::new("c", &["t"]);
    third.beat(&mut stage).expect("joined");
    for _ in 0..7 {
        assert_eq!(stage.group.classic_heartbeat(&who(&id, 2), stage.now), rejoin);
        clients[0].beat(&mut stage).expect("alive");
        third.beat(&mut stage).expect("alive");
        stage.advance(Duration::from_secs(9));
    }
    assert_eq!(stage.group.classic_heartbeat(&who(&id, 2), stage.now), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_group_without_its_last_new_member_is_to_become_classic() {
    let mut stage = Stage::new(&[("t", 4)]);
    let mut clients = [Client::new("a", &["t"])];
    settle(&mut stage, &mut clients);
    stage.classic_join(&classic("old", &["t"])).expect("joined");
    let a: Arc<str> = "a".into();
    assert!(stage.group.should_downgrade_without(std::slice::from_ref(&a)));
    assert!(!stage.group.should_downgrade_without(&["old".into()]));
    let classic = stage.group.to_classic(&[a], &stage.image, stage.now);
    assert_eq!((classic.members.len(), classic.generation, classic.protocol.as_deref()), (1, 2, Some("range")));
    // And back: members, epochs and partitions are as they were.
    let world = World { image: &stage.image, may_describe: &|_| true };
    let again = super::super::ConsumerGroup::from_classic(&classic, &world).expect("upgraded");
    assert_eq!((again.epoch.epoch, again.target_epoch, again.members.len()), (2, 2, 1));
    assert_eq!(again.members["old"].current.assigned, stage.group.members["old"].current.assigned);
    let written: Vec<ConsumerRecord> = again.to_write().cloned().collect();
    assert_eq!(written.len(), 5);
}

#[test]
fn a_group_that_was_compacted_is_the_same() {
    let mut stage = Stage::new(&[("t", 8)]);
    let mut clients = [Client::new("a", &["t"]), Client::new("b", &["t"]), Client::new("c", &["t"])];
    settle(&mut stage, &mut clients);
    stage.beat(&clients[0].leaving(-1)).expect("left");
    settle(&mut stage, &mut clients[1..]);
    assert_eq!(stored(&stage.compacted()), stored(&stage.group));
    let gone = stage.group.tombstones();
    stage.log.extend(gone);
    assert_eq!(stored(&stage.compacted()), stored(&Stage::new(&[]).group));
}
