//! Making, growing and deleting topics.

use std::time::Duration;

use anyhow::{Context, Result};
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::differential::Peer;
use crate::requests::{fetch, topic_name};
use crate::until;
use crate::wire::{Connection, check};

const TIMEOUT_MS: i32 = 15_000;
/// For records with old timestamps.
pub(super) const FOREVER: (&str, &str) = ("retention.ms", "-1");

pub(super) fn topic(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
}

/// Makes a topic without keeping the answer.
pub(in crate::differential) fn make(
    connection: &mut Connection,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<uuid::Uuid> {
    let configs = configs.iter().map(|(name, value)| config(name, Some(value))).collect();
    let answer = connection.call(&request(vec![topic(name, partitions, 1).with_configs(configs)]), 7)?;
    let made = answer.topics.first().context("no answer for the topic")?;
    check(made.error_code, "CreateTopics")?;
    // Kafka answers before its own broker has heard of the topic.
    let mut served = |index| fetch(connection, name, index, 0, 0).is_ok_and(|fetched| fetched.code == 0);
    until(Duration::from_secs(20), "the topic is served", || (0..partitions).all(&mut served).then_some(()))?;
    Ok(made.topic_id)
}

fn config(name: &str, value: Option<&str>) -> CreatableTopicConfig {
    CreatableTopicConfig::default()
        .with_name(StrBytes::from_string(name.to_owned()))
        .with_value(value.map(|value| StrBytes::from_string(value.to_owned())))
}

fn assigned(name: &str, partitions: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = partitions.iter().map(|(index, brokers)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*index)
            .with_broker_ids(brokers.iter().map(|id| BrokerId(*id)).collect())
    });
    topic(name, -1, -1).with_assignments(assignments.collect())
}

pub(super) fn request(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_timeout_ms(TIMEOUT_MS).with_topics(topics)
}

pub(super) fn create(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    for version in 2..=7 {
        let name = peer.own(&format!("v{version}"));
        let good = request(vec![topic(&name, 3, 1).with_configs(vec![config("retention.ms", Some("1000"))])]);
        if version >= 1 {
            peer.ask_once("only validated", &good.clone().with_validate_only(true), version)?;
        }
        peer.ask(&mut admin, "made", &good, version)?;
        peer.ask_once("made again", &good, version)?;
    }
    let long = "x".repeat(250);
    let cases: Vec<(&str, Vec<CreatableTopic>)> = vec![
        ("no partitions", vec![topic(&peer.own("a"), 0, 1)]),
        ("negative partitions", vec![topic(&peer.own("b"), -2, 1)]),
        ("no replicas", vec![topic(&peer.own("c"), 1, 0)]),
        ("too many replicas", vec![topic(&peer.own("d"), 1, 5)]),
        ("empty name", vec![topic("", 1, 1)]),
        ("dot", vec![topic(".", 1, 1)]),
        ("two dots", vec![topic("..", 1, 1)]),
        ("space", vec![topic("a b", 1, 1)]),
        ("long name", vec![topic(&long, 1, 1)]),
        ("unknown config", vec![topic(&peer.own("e"), 1, 1).with_configs(vec![config("no.such", Some("1"))])]),
        ("bad config", vec![topic(&peer.own("f"), 1, 1).with_configs(vec![config("retention.ms", Some("soon"))])]),
        (
            "config below its range",
            vec![topic(&peer.own("g"), 1, 1).with_configs(vec![config("segment.bytes", Some("1"))])],
        ),
        ("null config", vec![topic(&peer.own("h"), 1, 1).with_configs(vec![config("retention.ms", None)])]),
        ("bad policy", vec![topic(&peer.own("i"), 1, 1).with_configs(vec![config("cleanup.policy", Some("shred"))])]),
        ("the same twice", vec![topic(&peer.own("j"), 1, 1), topic(&peer.own("j"), 2, 1)]),
        ("defaults", vec![topic(&peer.own("k"), -1, -1)]),
        ("good beside bad", vec![topic(&peer.own("l"), 1, 1), topic("a b", 1, 1)]),
        ("colliding names", vec![topic(&peer.own("m.1"), 1, 1), topic(&peer.own("m_1"), 1, 1)]),
        ("assigned", vec![assigned(&peer.own("n"), &[(0, &[1]), (1, &[1])])]),
        ("assigned to a stranger", vec![assigned(&peer.own("o"), &[(0, &[9])])]),
        ("assigned with a gap", vec![assigned(&peer.own("p"), &[(0, &[1]), (2, &[1])])]),
        ("assigned twice", vec![assigned(&peer.own("q"), &[(0, &[1, 1])])]),
        ("assigned to nobody", vec![assigned(&peer.own("r"), &[(0, &[])])]),
        ("assigned unevenly", vec![assigned(&peer.own("s"), &[(0, &[1]), (1, &[1, 9])])]),
        ("assigned and counted", vec![assigned(&peer.own("t"), &[(0, &[1])]).with_num_partitions(1)]),
        ("internal name", vec![topic("__consumer_offsets", 1, 1)]),
        ("nothing", vec![]),
    ];
    for (step, topics) in cases {
        for version in [2, 5, 7] {
            peer.ask_once(step, &request(topics.clone()).with_validate_only(true), version)?;
        }
    }
    Ok(())
}

pub(super) fn growth(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsRequest {
    let assignments = assignments.map(|all| {
        let assignment = |brokers: &&[i32]| {
            CreatePartitionsAssignment::default().with_broker_ids(brokers.iter().map(|id| BrokerId(*id)).collect())
        };
        all.iter().map(assignment).collect()
    });
    let topic =
        CreatePartitionsTopic::default().with_name(topic_name(name)).with_count(count).with_assignments(assignments);
    CreatePartitionsRequest::default().with_timeout_ms(TIMEOUT_MS).with_topics(vec![topic])
}

pub(super) fn grow(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let name = peer.own("t");
    peer.ask(&mut admin, "made", &request(vec![topic(&name, 2, 1)]), 7)?;
    for version in 0..=3 {
        let more = 3 + i32::from(version);
        peer.ask_once("only validated", &growth(&name, more, None).with_validate_only(true), version)?;
        peer.ask_once("grown", &growth(&name, more, None), version)?;
        peer.ask_once("as before", &growth(&name, more, None), version)?;
        peer.ask_once("fewer", &growth(&name, 1, None), version)?;
        peer.ask_once("none", &growth(&name, 0, None), version)?;
        peer.ask_once("unknown topic", &growth(&peer.own("nothing"), 3, None), version)?;
    }
    peer.ask_once("assigned", &growth(&name, 7, Some(&[&[1]])), 3)?;
    peer.ask_once("assigned to a stranger", &growth(&name, 8, Some(&[&[9]])), 3)?;
    peer.ask_once("too few assignments", &growth(&name, 9, Some(&[&[1]])), 3)?;
    peer.ask_once("assigned to nobody", &growth(&name, 8, Some(&[&[]])), 3)?;
    let mut twice = growth(&name, 9, None);
    twice.topics.extend(growth(&name, 10, None).topics);
    peer.ask_once("the same twice", &twice, 3)?;
    let topics = Some(vec![MetadataRequestTopic::default().with_name(Some(topic_name(&name)))]);
    peer.ask_once("metadata", &MetadataRequest::default().with_topics(topics), 12)?;
    Ok(())
}

pub(super) fn deletion(names: &[&str]) -> DeleteTopicsRequest {
    let names = names.iter().map(|name| topic_name(name));
    DeleteTopicsRequest::default().with_timeout_ms(TIMEOUT_MS).with_topic_names(names.collect())
}

pub(super) fn deletion_of(states: &[(Option<&str>, uuid::Uuid)]) -> DeleteTopicsRequest {
    let states = states.iter().map(|(name, id)| {
        let name: Option<TopicName> = name.map(topic_name);
        DeleteTopicState::default().with_name(name).with_topic_id(*id)
    });
    DeleteTopicsRequest::default().with_timeout_ms(TIMEOUT_MS).with_topics(states.collect())
}

pub(super) fn delete(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (nil, unknown) = (uuid::Uuid::nil(), uuid::Uuid::from_u128(7));
    let name = peer.own("t");
    for version in 1..=5 {
        peer.ask(&mut admin, "made", &request(vec![topic(&name, 1, 1)]), 7)?;
        peer.ask_once("deleted beside unknown", &deletion(&[&name, &peer.own("nothing")]), version)?;
        peer.ask_once("deleted again", &deletion(&[&name]), version)?;
        peer.ask_once("bad name", &deletion(&["a b"]), version)?;
        peer.ask_once("nothing", &deletion(&[]), version)?;
    }
    let made = peer.ask(&mut admin, "made", &request(vec![topic(&name, 1, 1)]), 7)?;
    let id = made.topics.first().map_or(nil, |topic| topic.topic_id);
    peer.ask_once("by name and id", &deletion_of(&[(Some(&name), id)]), 6)?;
    peer.ask_once("by neither", &deletion_of(&[(None, nil)]), 6)?;
    peer.ask_once("by unknown id", &deletion_of(&[(None, unknown)]), 6)?;
    peer.ask_once("twice by name", &deletion_of(&[(Some(&name), nil), (Some(&name), nil)]), 6)?;
    peer.ask_once("by name and by its id", &deletion_of(&[(Some(&name), nil), (None, id)]), 6)?;
    peer.ask_once("by id", &deletion_of(&[(None, id)]), 6)?;
    Ok(())
}
