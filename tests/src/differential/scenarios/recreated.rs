//! Topics that are deleted and made anew: names that mean another topic than before.

use anyhow::Result;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{BrokerId, FetchRequest, ProduceRequest};
use uuid::Uuid;

use super::cluster::metadata_of;
use super::offsets::{commit, fetch};
use super::topics::{FOREVER, deletion, make};
use crate::batch::Batch;
use crate::differential::Peer;
use crate::requests::{fetch_request, produce};

fn fetch_by_id(topic: Uuid, offset: i64) -> FetchRequest {
    let wanted = FetchPartition::default()
        .with_partition(0)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(1 << 20);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic_id(topic).with_partitions(vec![wanted])])
}

fn produce_by_id(topic: Uuid) -> ProduceRequest {
    let batch = Batch { timestamp: 1_700_000_000_000, ..Batch::of(["v"]) }.encode().freeze();
    let data = PartitionProduceData::default().with_index(0).with_records(Some(batch));
    let topic = TopicProduceData::default().with_topic_id(topic).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic])
}

pub(super) fn ids(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (topic, group) = (peer.own("t"), peer.own("g"));
    let old = make(&mut admin, &topic, 2, &[FOREVER])?;
    let first = Batch { timestamp: 1_700_000_000_000, ..Batch::of(["old"]) };
    produce(&mut admin, &topic, 0, first.encode().freeze())?;
    for version in 13..=18 {
        peer.ask_once("fetched by id", &fetch_by_id(old, 0), version)?;
        peer.ask_once("fetched by unknown id", &fetch_by_id(Uuid::from_u128(9), 0), version)?;
        peer.ask_once("fetched by no id", &fetch_by_id(Uuid::nil(), 0), version)?;
    }
    peer.ask_once("produced by id", &produce_by_id(old), 13)?;
    peer.ask_once("produced by unknown id", &produce_by_id(Uuid::from_u128(9)), 13)?;
    peer.ask_once("produced by no id", &produce_by_id(Uuid::nil()), 13)?;
    peer.ask_once("committed", &commit(&group, &topic, 0, 1), 8)?;
    peer.ask_once("deleted", &deletion(&[&topic]), 5)?;
    peer.ask_once("metadata when deleted", &metadata_of(&[&topic], &[]), 12)?;
    peer.ask_once("metadata by id when deleted", &metadata_of(&[], &[old]), 12)?;
    peer.ask_once("fetched when deleted", &fetch_request(&topic, 0, 0, 0, 1000), 12)?;
    peer.ask_once("fetched by id when deleted", &fetch_by_id(old, 0), 13)?;
    peer.ask_once("produced by id when deleted", &produce_by_id(old), 13)?;
    peer.ask_once("offsets when deleted", &fetch(&group, None, 7), 7)?;
    let new = make(&mut admin, &topic, 1, &[FOREVER])?;
    peer.note("the id is another", old != new);
    peer.ask_once("metadata when new", &metadata_of(&[&topic], &[]), 12)?;
    peer.ask_once("metadata by old id", &metadata_of(&[], &[old]), 12)?;
    peer.ask_once("fetched when new", &fetch_request(&topic, 0, 0, 0, 1000), 12)?;
    peer.ask_once("fetched by the old id", &fetch_by_id(old, 0), 13)?;
    peer.ask_once("fetched by the new id", &fetch_by_id(new, 0), 13)?;
    peer.ask_once("produced by the old id", &produce_by_id(old), 13)?;
    peer.ask_once("produced by the new id", &produce_by_id(new), 13)?;
    Ok(())
}
