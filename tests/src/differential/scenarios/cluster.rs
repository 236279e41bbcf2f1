//! What a broker says of itself and of its topics.

use anyhow::Result;
use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, DescribeClusterRequest, DescribeLogDirsRequest, DescribeTopicPartitionsRequest,
    ElectLeadersRequest, FindCoordinatorRequest, ListConfigResourcesRequest, MetadataRequest,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::topics::make;
use crate::differential::Peer;
use crate::differential::peer::is_closed;
use crate::requests::topic_name;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Topics by name, and by id.
pub(super) fn metadata_of(names: &[&str], ids: &[Uuid]) -> MetadataRequest {
    let names = names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))));
    let ids = ids.iter().map(|id| MetadataRequestTopic::default().with_name(None).with_topic_id(*id));
    MetadataRequest::default().with_topics(Some(names.chain(ids).collect())).with_allow_auto_topic_creation(false)
}

pub(super) fn metadata(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let topic = peer.own("t");
    let id = make(&mut admin, &topic, 2, &[])?;
    for version in 0..=13 {
        let creating = |request: MetadataRequest| request.with_allow_auto_topic_creation(version < 4);
        peer.ask_once("a topic", &creating(metadata_of(&[&topic], &[])), version)?;
        peer.ask_once("twice", &creating(metadata_of(&[&topic, &topic], &[])), version)?;
        peer.ask_once("unknown beside known", &creating(metadata_of(&[&topic, &peer.own("nothing")], &[])), version)?;
        peer.ask_once("bad name", &creating(metadata_of(&["a b"], &[])), version)?;
        peer.ask_once("empty name", &creating(metadata_of(&[""], &[])), version)?;
        if version >= 1 {
            peer.ask_once("no topic", &creating(metadata_of(&[], &[])), version)?;
        }
        if version >= 4 {
            peer.ask_once(
                "to be made",
                &metadata_of(&[&peer.own("new")], &[]).with_allow_auto_topic_creation(true),
                version,
            )?;
        }
        if version >= 8 {
            let operations = metadata_of(&[&topic], &[]).with_include_topic_authorized_operations(true);
            peer.ask_once("a topic with operations", &operations, version)?;
        }
        if (8..=10).contains(&version) {
            let operations = metadata_of(&[], &[]).with_include_cluster_authorized_operations(true);
            peer.ask_once("the cluster with operations", &operations, version)?;
        }
        if version >= 12 {
            peer.ask_once("by id", &metadata_of(&[], &[id]), version)?;
            peer.ask_once("by unknown id", &metadata_of(&[], &[Uuid::from_u128(9)]), version)?;
            peer.ask_once("by id and name", &metadata_of(&[&topic], &[id]), version)?;
        }
    }
    Ok(())
}

pub(super) fn described(peer: &mut Peer) -> Result<()> {
    for version in 0..=2 {
        peer.ask_once("cluster", &DescribeClusterRequest::default(), version)?;
        let operations = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        peer.ask_once("cluster with operations", &operations, version)?;
        if version >= 1 {
            for endpoint in [0, 2, 7] {
                let request = DescribeClusterRequest::default().with_endpoint_type(endpoint);
                peer.ask_once(&format!("cluster of endpoint type {endpoint}"), &request, version)?;
            }
        }
        if version >= 2 {
            let request = DescribeClusterRequest::default().with_include_fenced_brokers(true);
            peer.ask_once("cluster with fenced brokers", &request, version)?;
        }
    }
    let config_resources = |types: &[i8]| ListConfigResourcesRequest::default().with_resource_types(types.to_vec());
    peer.ask_once("config resources", &config_resources(&[]), 0)?;
    for types in [&[16][..], &[4], &[8], &[2, 4], &[4, 4]] {
        peer.ask_once(&format!("config resources of {types:?}"), &config_resources(types).clone(), 1)?;
    }
    Ok(())
}

pub(super) fn partitions(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (topic, other) = (peer.own("a"), peer.own("b"));
    make(&mut admin, &topic, 3, &[])?;
    make(&mut admin, &other, 2, &[])?;
    let ask = |names: &[&str], limit: i32, cursor: Option<(&str, i32)>| {
        let topics = names.iter().map(|name| TopicRequest::default().with_name(topic_name(name)));
        let cursor = cursor.map(|(name, partition)| {
            Cursor::default().with_topic_name(topic_name(name)).with_partition_index(partition)
        });
        DescribeTopicPartitionsRequest::default()
            .with_topics(topics.collect())
            .with_response_partition_limit(limit)
            .with_cursor(cursor)
    };
    let both = [topic.as_str(), other.as_str()];
    peer.ask_once("both", &ask(&both, 2000, None), 0)?;
    peer.ask_once("unordered", &ask(&[&other, &topic], 2000, None), 0)?;
    peer.ask_once("unknown", &ask(&[&topic, &peer.own("nothing")], 2000, None), 0)?;
    peer.ask_once("bad name", &ask(&["a b"], 2000, None), 0)?;
    peer.ask_once("first page", &ask(&both, 2, None), 0)?;
    peer.ask_once("second page", &ask(&both, 2, Some((&topic, 2))), 0)?;
    peer.ask_once("third page", &ask(&both, 2, Some((&other, 1))), 0)?;
    peer.ask_once("no limit", &ask(&both, 0, None), 0)?;
    peer.ask_once("negative limit", &ask(&both, -1, None), 0)?;
    peer.ask_once("cursor past the end", &ask(&both, 5, Some((&other, 9))), 0)?;
    peer.ask_once("cursor at no topic", &ask(&both, 5, Some((&peer.own("aa"), 0))), 0)?;
    peer.ask_once("negative cursor", &ask(&both, 5, Some((&topic, -1))), 0)?;
    let elect = |kind: i8, partitions: Option<&[i32]>, name: &str| {
        let topics = partitions.map(|partitions| {
            vec![TopicPartitions::default().with_topic(topic_name(name)).with_partitions(partitions.to_vec())]
        });
        ElectLeadersRequest::default().with_election_type(kind).with_topic_partitions(topics).with_timeout_ms(5000)
    };
    for version in 0..=2 {
        peer.ask_once("elected", &elect(0, Some(&[0, 1]), &topic), version)?;
        peer.ask_once("elected: unknown partition", &elect(0, Some(&[9]), &topic), version)?;
        peer.ask_once("elected: unknown topic", &elect(0, Some(&[0]), "nothing"), version)?;
        if version >= 1 {
            peer.ask_once("elected uncleanly", &elect(1, Some(&[0]), &topic), version)?;
            peer.ask_once("elected: unknown type", &elect(7, Some(&[0]), &topic), version)?;
        }
    }
    log_dirs(peer, &topic)
}

fn log_dirs(peer: &mut Peer, topic: &str) -> Result<()> {
    let of = |name: &str, partitions: &[i32]| {
        let topic = DescribableLogDirTopic::default().with_topic(topic_name(name)).with_partitions(partitions.to_vec());
        DescribeLogDirsRequest::default().with_topics(Some(vec![topic]))
    };
    for version in 1..=4 {
        peer.ask_once("log dirs of a topic", &of(topic, &[0, 2]), version)?;
        peer.ask_once("log dirs of unknown partitions", &of(topic, &[7]), version)?;
        peer.ask_once("log dirs of no topic", &of("nothing", &[0]), version)?;
        peer.ask_once("log dirs of nothing", &DescribeLogDirsRequest::default().with_topics(Some(vec![])), version)?;
    }
    Ok(())
}

pub(super) fn coordinators(peer: &mut Peer) -> Result<()> {
    let named = |kind: i8, key: &str| FindCoordinatorRequest::default().with_key_type(kind).with_key(text(key));
    let batched = |kind: i8, keys: &[&str]| {
        let keys = keys.iter().map(|key| text(key)).collect();
        FindCoordinatorRequest::default().with_key_type(kind).with_coordinator_keys(keys)
    };
    for version in 0..=6 {
        for (step, kind, key) in [
            ("group", 0, "g"),
            ("empty group", 0, ""),
            ("transaction", 1, "t"),
            ("share group", 2, "s"),
            ("unknown", 7, "x"),
        ] {
            match version {
                0 if kind > 0 => {}
                0..=3 => peer.ask_once(step, &named(kind, key), version)?,
                _ => peer.ask_once(step, &batched(kind, &[key]), version)?,
            }
        }
        if version >= 4 {
            peer.ask_once("several", &batched(0, &["a", "b", "a"]), version)?;
            peer.ask_once("none", &batched(0, &[]), version)?;
        }
    }
    Ok(())
}

/// What is served, and what happens to requests that are not.
pub(super) fn versions(peer: &mut Peer) -> Result<()> {
    for version in 0..=4 {
        let named = ApiVersionsRequest::default()
            .with_client_software_name(text("tests"))
            .with_client_software_version(text("1.0"));
        peer.ask_once("api versions", &if version >= 3 { named } else { ApiVersionsRequest::default() }, version)?;
    }
    peer.ask_once("nameless", &ApiVersionsRequest::default(), 3)?;
    let bad =
        ApiVersionsRequest::default().with_client_software_name(text("a b")).with_client_software_version(text("?"));
    peer.ask_once("badly named", &bad, 3)?;
    for (key, version) in [
        (ApiKey::ApiVersions as i16, 99),
        (ApiKey::Metadata as i16, 99),
        (ApiKey::Metadata as i16, -1),
        (ApiKey::Produce as i16, 0),
        (ApiKey::Produce as i16, 1),
        (ApiKey::Produce as i16, 2),
        (ApiKey::Fetch as i16, 3),
        (ApiKey::Fetch as i16, 99),
        (ApiKey::ListOffsets as i16, 0),
        (ApiKey::OffsetCommit as i16, 1),
        (ApiKey::OffsetFetch as i16, 0),
        (ApiKey::CreateTopics as i16, 1),
        (ApiKey::DescribeAcls as i16, 0),
        (ApiKey::WriteTxnMarkers as i16, 0),
        (ApiKey::SaslHandshake as i16, 7),
        (7777, 0),
        (-1, 0),
    ] {
        peer.count(key, version);
        let answered = unserved(peer, key, version)?;
        peer.note(&format!("key {key} in version {version}"), answered);
    }
    Ok(())
}

/// The error code behind the header of the answer to a request without a body; none when the connection is closed.
fn unserved(peer: &Peer, key: i16, version: i16) -> Result<Option<i16>> {
    let mut frame = BytesMut::new();
    frame.put_i32(11);
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(1);
    frame.put_i16(-1);
    // No tagged fields.
    frame.put_i8(0);
    let mut connection = peer.admin()?;
    connection.send_raw(&frame)?;
    match connection.read_frame() {
        Ok(answer) => Ok(answer.get(4..6).map(|code| i16::from_be_bytes([code[0], code[1]]))),
        Err(error) if is_closed(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
