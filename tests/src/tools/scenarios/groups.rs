//! `kafka-consumer-groups` and `kafka-groups`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerProtocolAssignment, ConsumerProtocolSubscription, GroupId, JoinGroupRequest,
    SyncGroupRequest,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::records::write;
use crate::requests::{commit, topic_name};
use crate::tools::Stage;
use crate::wire::{Connection, check};

/// Version of the consumers' own messages inside JoinGroup and SyncGroup.
const CONSUMER_VERSION: i16 = 1;
/// Between two heartbeats.
const BEAT: Duration = Duration::from_secs(2);

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn versioned(message: &impl Encodable) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(CONSUMER_VERSION);
    message.encode(&mut bytes, CONSUMER_VERSION)?;
    Ok(bytes.freeze())
}

/// Joins a group of the classic protocol as its only member, with partition 0 of a topic.
fn join(connection: &mut Connection, group: &str, topic: &str) -> Result<()> {
    let subscription = ConsumerProtocolSubscription::default().with_topics(vec![text(topic)]);
    let protocol =
        JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(versioned(&subscription)?);
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_session_timeout_ms(300_000)
        .with_rebalance_timeout_ms(300_000)
        .with_protocol_type(text("consumer"))
        .with_group_instance_id(Some(text("member-1")))
        .with_protocols(vec![protocol]);
    let joined = connection.call(&request, 5)?;
    check(joined.error_code, "JoinGroup")?;
    let partitions = TopicPartition::default().with_topic(topic_name(topic)).with_partitions(vec![0]);
    let assignment = ConsumerProtocolAssignment::default().with_assigned_partitions(vec![partitions]);
    let assigned = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(versioned(&assignment)?);
    let request = SyncGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id)
        .with_group_instance_id(Some(text("member-1")))
        .with_assignments(vec![assigned]);
    check(connection.call(&request, 3)?.error_code, "SyncGroup")
}

/// The only member of a group of the consumer protocol (KIP-848). It beats until it is dropped: the broker sets how long a
/// silent member stays.
struct Member {
    stop: Arc<AtomicBool>,
    beating: Option<JoinHandle<()>>,
}

impl Member {
    /// Joins, and owns what it is given.
    fn enter(mut connection: Connection, group: &str, topic: &str) -> Result<Self> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        let beat = move |epoch: i32| {
            ConsumerGroupHeartbeatRequest::default()
                .with_group_id(GroupId(text(&group)))
                .with_member_id(text("AAAAAAAAAAAAAAAAAAAAAA"))
                .with_member_epoch(epoch)
                .with_rebalance_timeout_ms(300_000)
                .with_subscribed_topic_names(Some(vec![topic_name(&topic)]))
        };
        let entered = connection.call(&beat(0).with_topic_partitions(Some(Vec::new())), 1)?;
        check(entered.error_code, "ConsumerGroupHeartbeat")?;
        let assignment = entered.assignment.context("no assignment")?;
        let owned = assignment.topic_partitions.into_iter().map(|assigned| {
            TopicPartitions::default().with_topic_id(assigned.topic_id).with_partitions(assigned.partitions)
        });
        let owning = beat(entered.member_epoch).with_topic_partitions(Some(owned.collect()));
        check(connection.call(&owning, 1)?.error_code, "ConsumerGroupHeartbeat")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let beating = thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) && connection.call(&owning, 1).is_ok() {
                thread::park_timeout(BEAT);
            }
        });
        Ok(Self { stop, beating: Some(beating) })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(beating) = self.beating.take() {
            beating.thread().unpark();
            let _ = beating.join();
        }
    }
}

/// A topic with records, and a group that has read some of them.
fn prepare(stage: &mut Stage<'_>, group: &str) -> Result<Connection> {
    // Records of 2023 would be beyond their retention.
    stage.run(&[
        "kafka-topics --create --topic @t --partitions 2 --config retention.ms=-1",
        "kafka-topics --create --topic @other --config retention.ms=-1",
    ])?;
    let mut admin = stage.admin()?;
    write(&mut admin, &stage.own("t"), 0, 10)?;
    write(&mut admin, &stage.own("t"), 1, 4)?;
    write(&mut admin, &stage.own("other"), 0, 3)?;
    let group = stage.own(group);
    commit(&mut admin, &group, &stage.own("t"), 6)?;
    commit(&mut admin, &group, &stage.own("other"), 3)?;
    Ok(admin)
}

pub(super) fn described(stage: &mut Stage<'_>) -> Result<()> {
    let mut admin = prepare(stage, "empty")?;
    let topic = stage.own("t");
    let (classic, consumer) = (stage.own("classic"), stage.own("consumer"));
    join(&mut admin, &classic, &topic)?;
    let _member = Member::enter(stage.admin()?, &consumer, &topic)?;
    stage.run_unordered(&[
        "kafka-consumer-groups --list",
        "kafka-consumer-groups --list --state",
        "kafka-consumer-groups --list --state Empty",
        "kafka-consumer-groups --list --state stable,EMPTY",
        "kafka-consumer-groups --list --state Sleeping",
        "kafka-consumer-groups --list --type",
        "kafka-consumer-groups --list --type consumer",
        "kafka-consumer-groups --list --type classic --state Stable",
        "kafka-consumer-groups --list --type share",
        "kafka-consumer-groups --list --type odd",
        "kafka-groups --list",
        "kafka-groups --list --consumer",
        "kafka-groups --list --group-type classic",
        "kafka-groups --list --group-type consumer --protocol consumer",
        "kafka-groups --list --protocol connect",
        "kafka-groups --list --share",
        "kafka-groups --list --streams",
    ])?;
    for group in ["@empty", "@classic", "@consumer", "@none"] {
        for shown in [
            "",
            " --offsets",
            " --offsets --verbose",
            " --members",
            " --members --verbose",
            " --state",
            " --state --verbose",
        ] {
            stage.run_unordered(&[&format!("kafka-consumer-groups --describe --group {group}{shown}")])?;
        }
    }
    stage.run_unordered(&[
        "kafka-consumer-groups --describe --group @empty --group @classic --state",
        "kafka-consumer-groups --describe --all-groups --state",
        "kafka-consumer-groups --describe --all-groups",
        "kafka-consumer-groups --describe --group @empty --members --state",
        "kafka-consumer-groups --describe --group @empty --topic @t",
        "kafka-consumer-groups --delete --group @classic",
        "kafka-consumer-groups --delete --group @consumer",
        "kafka-consumer-groups --reset-offsets --group @classic --topic @t --to-earliest --execute",
        "kafka-consumer-groups --reset-offsets --group @consumer --topic @t --to-earliest --execute",
        "kafka-consumer-groups --delete-offsets --group @classic --topic @t",
        "kafka-consumer-groups --delete-offsets --group @consumer --topic @t",
    ])
}

pub(super) fn reset(stage: &mut Stage<'_>) -> Result<()> {
    prepare(stage, "g")?;
    let third = "2023-11-14T22:13:22.000";
    stage.file("plan.csv", "@t,0,2\n@t,1,3\n")?;
    stage.file("plans.csv", "@g,@t,0,3\n@g,@t,1,1\n")?;
    stage.file("bad.csv", "@t;0;2\n")?;
    for mode in [
        "--to-earliest",
        "--to-latest",
        "--to-current",
        "--to-offset 5",
        "--to-offset 500",
        "--to-offset -1",
        "--shift-by 2",
        "--shift-by -3",
        "--shift-by 1000",
        &format!("--to-datetime {third}"),
        "--to-datetime 2090-01-01T00:00:00.000",
        "--to-datetime yesterday",
        "--by-duration PT1S",
        "--by-duration P40000D",
        "--by-duration soon",
        "--from-file %/plan.csv",
        "--from-file %/plans.csv",
        "--from-file %/bad.csv",
        "--from-file %/none.csv",
        "",
    ] {
        stage.run_unordered(&[
            &format!("kafka-consumer-groups --reset-offsets --group @g --topic @t {mode} --execute").replace("  ", " "),
            "kafka-consumer-groups --describe --group @g",
        ])?;
    }
    stage.run_unordered(&[
        "kafka-consumer-groups --reset-offsets --group @g --topic @t --to-earliest",
        "kafka-consumer-groups --reset-offsets --group @g --topic @t --to-earliest --dry-run",
        "kafka-consumer-groups --reset-offsets --group @g --topic @t --to-earliest --export",
        "kafka-consumer-groups --reset-offsets --group @g --topic @t:1 --to-offset 1 --execute",
        "kafka-consumer-groups --reset-offsets --group @g --topic @t:7 --to-offset 1 --execute",
        "kafka-consumer-groups --reset-offsets --group @g --topic @t:0,1 --topic @other --to-latest --execute",
        "kafka-consumer-groups --reset-offsets --group @g --all-topics --to-earliest --execute",
        "kafka-consumer-groups --reset-offsets --group @new --topic @t --to-latest --execute",
        "kafka-consumer-groups --reset-offsets --group @new --all-topics --to-latest --export",
        "kafka-consumer-groups --reset-offsets --group @g --group @new --topic @t --to-offset 1 --execute",
        "kafka-consumer-groups --reset-offsets --group @g --topic @none --to-earliest --execute",
        "kafka-consumer-groups --reset-offsets --group @g --topic @t --to-earliest --to-latest --execute",
        "kafka-consumer-groups --reset-offsets --topic @t --to-earliest --execute",
        "kafka-consumer-groups --describe --group @g",
        "kafka-consumer-groups --describe --group @new",
    ])
}

pub(super) fn deleted(stage: &mut Stage<'_>) -> Result<()> {
    prepare(stage, "g")?;
    stage.run_unordered(&[
        "kafka-consumer-groups --delete-offsets --group @g --topic @t:1",
        "kafka-consumer-groups --delete-offsets --group @g --topic @t:0",
        "kafka-consumer-groups --describe --group @g",
        "kafka-consumer-groups --delete-offsets --group @g --topic @other --topic @t",
        "kafka-consumer-groups --delete-offsets --group @g --topic @t:7",
        "kafka-consumer-groups --delete-offsets --group @g --topic @none",
        "kafka-consumer-groups --delete-offsets --group @none --topic @t",
        "kafka-consumer-groups --describe --group @g",
        "kafka-consumer-groups --reset-offsets --group @h --topic @t --to-earliest --execute",
        "kafka-consumer-groups --reset-offsets --group @i --topic @t --to-earliest --execute",
        "kafka-consumer-groups --delete --group @h --group @none",
        "kafka-consumer-groups --delete --group @i",
        "kafka-consumer-groups --delete --group @i",
        "kafka-consumer-groups --delete",
        "kafka-consumer-groups --describe --group @i",
    ])
}
