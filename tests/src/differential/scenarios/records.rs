//! Records: produced, fetched, found by offset, time and epoch, deleted.

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{
    BrokerId, DeleteRecordsRequest, FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
};

use super::topics::{FOREVER, make};
use crate::batch::{Batch, seal};
use crate::differential::Peer;
use crate::requests::{fetch_request, init_producer_id, produce, produce_request, topic_name};

fn batch(values: &[&'static str]) -> Bytes {
    Batch { timestamp: 1_700_000_000_000, ..Batch::of(values.iter().copied()) }.encode().freeze()
}

fn damaged(change: impl Fn(&mut BytesMut)) -> Bytes {
    let mut bytes = BytesMut::from(&batch(&["a", "b"])[..]);
    change(&mut bytes);
    bytes.freeze()
}

fn sealed(change: impl Fn(&mut BytesMut)) -> Bytes {
    damaged(|bytes| {
        change(bytes);
        seal(bytes);
    })
}

pub(super) fn produced(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let topic = peer.own("t");
    make(&mut admin, &topic, 2, &[("max.message.bytes", "500"), FOREVER])?;
    let large = Batch::of([vec![b'x'; 600]]).encode().freeze();
    let two = [&batch(&["a"])[..], &batch(&["b"])[..]].concat();
    let cases: [(&str, &str, i32, i16, Bytes); 18] = [
        ("good", &topic, 0, -1, batch(&["a", "b"])),
        ("acks 1", &topic, 0, 1, batch(&["a"])),
        ("acks 2", &topic, 0, 2, batch(&["a"])),
        ("acks -2", &topic, 0, -2, batch(&["a"])),
        ("unknown topic", "nothing", 0, -1, batch(&["a"])),
        ("bad topic name", "a b", 0, -1, batch(&["a"])),
        ("unknown partition", &topic, 9, -1, batch(&["a"])),
        ("negative partition", &topic, -1, -1, batch(&["a"])),
        ("too large", &topic, 0, -1, large),
        ("two batches", &topic, 0, -1, two.into()),
        ("no batch", &topic, 0, -1, Bytes::new()),
        ("wrong CRC", &topic, 0, -1, damaged(|bytes| bytes[30] ^= 1)),
        ("magic 1", &topic, 0, -1, damaged(|bytes| bytes[16] = 1)),
        ("magic 3", &topic, 0, -1, damaged(|bytes| bytes[16] = 3)),
        ("unknown codec", &topic, 0, -1, sealed(|bytes| bytes[22] |= 7)),
        ("wrong count", &topic, 0, -1, sealed(|bytes| bytes[60] = 9)),
        ("wrong last offset", &topic, 0, -1, sealed(|bytes| bytes[26] = 9)),
        ("a control batch", &topic, 0, -1, sealed(|bytes| bytes[22] |= 0x20)),
    ];
    for (step, topic, partition, acks, batch) in cases {
        for version in 3..=12 {
            let request = produce_request(topic, partition, acks, batch.clone());
            peer.ask_once(step, &request, version)?;
        }
    }
    let (id, epoch) = init_producer_id(&mut admin)?;
    let idempotent = |sequence, epoch| {
        let batch = Batch { producer_id: id, producer_epoch: epoch, base_sequence: sequence, ..Batch::of(["a", "b"]) };
        produce_request(&topic, 1, -1, batch.encode().freeze())
    };
    for (step, sequence, epoch) in [
        ("sequence 0", 0, epoch),
        ("sequence 0 again", 0, epoch),
        ("sequence 2", 2, epoch),
        ("sequence 0 once more", 0, epoch),
        ("a gap", 9, epoch),
        ("epoch 1, not from 0", 4, epoch + 1),
        ("epoch 1", 0, epoch + 1),
        ("epoch 0 after it", 4, epoch),
        ("negative epoch", 4, -1),
        ("negative sequence", -1, epoch + 1),
    ] {
        peer.ask_once(step, &idempotent(sequence, epoch), 11)?;
    }
    Ok(())
}

pub(super) fn fetched(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let topic = peer.own("t");
    make(&mut admin, &topic, 2, &[FOREVER])?;
    for value in ["a", "b", "c"] {
        produce(&mut admin, &topic, 0, batch(&[value, "x"]))?;
    }
    for version in 4..=12 {
        for (step, topic, partition, offset) in [
            ("from 0", topic.as_str(), 0, 0),
            ("inside a batch", &topic, 0, 3),
            ("at the end", &topic, 0, 6),
            ("beyond the end", &topic, 0, 7),
            ("negative offset", &topic, 0, -1),
            ("empty partition", &topic, 1, 0),
            ("unknown partition", &topic, 5, 0),
            ("unknown topic", "nothing", 0, 0),
        ] {
            let request = fetch_request(topic, partition, offset, 0, 1 << 20).with_max_bytes(1 << 20);
            peer.ask_once(step, &request, version)?;
        }
        peer.ask_once("one byte", &fetch_request(&topic, 0, 0, 0, 1), version)?;
        peer.ask_once("no bytes", &fetch_request(&topic, 0, 0, 0, 0), version)?;
    }
    for (step, epoch) in [("current epoch too new", 99), ("epoch unknown", -1)] {
        let mut request = fetch_request(&topic, 0, 0, 0, 1 << 20);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        peer.ask_once(step, &request, 12)?;
    }
    Ok(())
}

/// Fetch sessions (KIP-227).
pub(super) fn sessions(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let topic = peer.own("t");
    make(&mut admin, &topic, 2, &[FOREVER])?;
    produce(&mut admin, &topic, 0, batch(&["a"]))?;
    let request = |session: i32, epoch: i32, partitions: &[i32]| {
        let wanted = partitions.iter().map(|index| {
            FetchPartition::default()
                .with_partition(*index)
                .with_current_leader_epoch(-1)
                .with_partition_max_bytes(1 << 20)
        });
        let topics = vec![FetchTopic::default().with_topic(topic_name(&topic)).with_partitions(wanted.collect())];
        FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_bytes(1 << 20)
            .with_session_id(session)
            .with_session_epoch(epoch)
            .with_topics(if partitions.is_empty() { Vec::new() } else { topics })
    };
    for version in [7, 11, 12] {
        let opened = peer.ask(&mut admin, "opened", &request(0, 0, &[0, 1]), version)?;
        let session = opened.session_id;
        peer.ask(&mut admin, "next", &request(session, 1, &[]), version)?;
        produce(&mut admin, &topic, 1, batch(&["b"]))?;
        peer.ask(&mut admin, "with something new", &request(session, 2, &[]), version)?;
        peer.ask(&mut admin, "wrong epoch", &request(session, 9, &[]), version)?;
        peer.ask_once("unknown session", &request(session ^ 0x5555, 1, &[]), version)?;
        let mut without = request(session, 3, &[]);
        without.forgotten_topics_data =
            vec![ForgottenTopic::default().with_topic(topic_name(&topic)).with_partitions(vec![0])];
        peer.ask(&mut admin, "one forgotten", &without, version)?;
        peer.ask(&mut admin, "closed", &request(session, -1, &[]), version)?;
        peer.ask(&mut admin, "after the end", &request(session, 1, &[]), version)?;
    }
    Ok(())
}

pub(super) fn found(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let topic = peer.own("t");
    make(&mut admin, &topic, 2, &[FOREVER])?;
    for (value, after) in [("a", 0), ("b", 10), ("c", 20)] {
        let batch = Batch { timestamp: 1_700_000_000_000 + after, ..Batch::of([value]) };
        produce(&mut admin, &topic, 0, batch.encode().freeze())?;
    }
    let list = |topic: &str, partition: i32, timestamp: i64, epoch: i32| {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(timestamp)
            .with_current_leader_epoch(epoch);
        let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
    };
    for version in 1..=10 {
        for (step, partition, timestamp) in [
            ("latest", 0, -1),
            ("earliest", 0, -2),
            ("the largest time", 0, -3),
            ("earliest local", 0, -4),
            ("latest tiered", 0, -5),
            ("earliest pending upload", 0, -6),
            ("unknown special time", 0, -9),
            ("a time", 0, 1_700_000_000_005),
            ("an exact time", 0, 1_700_000_000_010),
            ("before all", 0, 0),
            ("after all", 0, 1_800_000_000_000),
            ("latest of nothing", 1, -1),
            ("the largest time of nothing", 1, -3),
            ("a time of nothing", 1, 5),
            ("unknown partition", 7, -1),
        ] {
            peer.ask_once(step, &list(&topic, partition, timestamp, -1), version)?;
        }
        peer.ask_once("unknown topic", &list("nothing", 0, -1, -1), version)?;
    }
    peer.ask_once("epoch too new", &list(&topic, 0, -1, 99), 7)?;
    let mut twice = list(&topic, 0, -1, -1);
    twice.topics.extend(list(&topic, 0, -2, -1).topics);
    peer.ask_once("the same twice", &twice, 7)?;
    let ends = |topic: &str, partition: i32, current: i32, epoch: i32| {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(current)
            .with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
    };
    for version in 2..=4 {
        peer.ask_once("end of an epoch to come", &ends(&topic, 0, -1, 99), version)?;
        peer.ask_once("end of epoch -1", &ends(&topic, 0, -1, -1), version)?;
        peer.ask_once("end, current too new", &ends(&topic, 0, 99, 0), version)?;
        peer.ask_once("end, unknown partition", &ends(&topic, 7, -1, 0), version)?;
        peer.ask_once("end, unknown topic", &ends("nothing", 0, -1, 0), version)?;
    }
    Ok(())
}

pub(super) fn deleted(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (topic, compacted) = (peer.own("t"), peer.own("compacted"));
    make(&mut admin, &topic, 2, &[FOREVER])?;
    make(&mut admin, &compacted, 1, &[("cleanup.policy", "compact")])?;
    for value in ["a", "b", "c", "d", "e", "f"] {
        produce(&mut admin, &topic, 0, batch(&[value]))?;
    }
    let request = |topic: &str, partition: i32, offset: i64| {
        let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_timeout_ms(10_000).with_topics(vec![topic])
    };
    for version in 0..=2 {
        for (step, topic, partition, offset) in [
            ("up to an offset", topic.as_str(), 0, 1 + i64::from(version)),
            ("below the start", &topic, 0, 0),
            ("beyond the end", &topic, 0, 99),
            ("negative offset", &topic, 0, -2),
            ("unknown partition", &topic, 7, 1),
            ("unknown topic", "nothing", 0, 1),
            ("of a compacted topic", &compacted, 0, 0),
        ] {
            peer.ask_once(step, &request(topic, partition, offset), version)?;
        }
    }
    peer.ask_once("fetch below the start", &fetch_request(&topic, 0, 0, 0, 1000), 11)?;
    peer.ask_once("up to the end", &request(&topic, 0, -1), 2)?;
    peer.ask_once("fetch at the end", &fetch_request(&topic, 0, 6, 0, 1000), 11)?;
    Ok(())
}
