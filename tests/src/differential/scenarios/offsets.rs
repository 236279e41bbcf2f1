//! Offsets of groups: committed, fetched, deleted.

use anyhow::Result;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest};

use super::groups::{alone, deletion, group_id, leave, text};
use super::topics::make;
use crate::differential::Peer;
use crate::requests::topic_name;

pub(super) fn commit(group: &str, topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(-1)
        .with_committed_metadata(Some(text("note")));
    let topic = OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// In the form of the version: one group, or several from version 8.
pub(super) fn fetch(group: &str, topics: Option<&[(&str, &[i32])]>, version: i16) -> OffsetFetchRequest {
    if version < 8 {
        let topic = |(name, partitions): &(&str, &[i32])| {
            OffsetFetchRequestTopic::default().with_name(topic_name(name)).with_partition_indexes(partitions.to_vec())
        };
        let topics = topics.map(|topics| topics.iter().map(topic).collect());
        return OffsetFetchRequest::default().with_group_id(group_id(group)).with_topics(topics);
    }
    let topic = |(name, partitions): &(&str, &[i32])| {
        OffsetFetchRequestTopics::default().with_name(topic_name(name)).with_partition_indexes(partitions.to_vec())
    };
    let topics = topics.map(|topics| topics.iter().map(topic).collect());
    let group =
        OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_member_epoch(-1).with_topics(topics);
    OffsetFetchRequest::default().with_groups(vec![group])
}

pub(super) fn committed(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (group, topic) = (peer.own("g"), peer.own("t"));
    make(&mut admin, &topic, 3, &[])?;
    let long = "n".repeat(5000);
    for version in 2..=9 {
        let good = commit(&group, &topic, 0, 10 + i64::from(version));
        peer.ask_once("committed", &good, version)?;
        peer.ask_once("unknown partition", &commit(&group, &topic, 9, 1), version)?;
        peer.ask_once("unknown topic", &commit(&group, "nothing", 0, 1), version)?;
        peer.ask_once("bad topic name", &commit(&group, "a b", 0, 1), version)?;
        peer.ask_once("no group", &commit("", &topic, 0, 1), version)?;
        peer.ask_once("negative offset", &commit(&group, &topic, 1, -5), version)?;
        let mut noted = commit(&group, &topic, 2, 1);
        noted.topics[0].partitions[0].committed_metadata = Some(text(&long));
        peer.ask_once("long note", &noted, version)?;
        noted.topics[0].partitions[0].committed_metadata = None;
        peer.ask_once("no note", &noted, version)?;
        let of_member = good.clone().with_member_id(text("stranger")).with_generation_id_or_member_epoch(1);
        peer.ask_once("of a stranger", &of_member, version)?;
        peer.ask_once("of a generation alone", &good.clone().with_generation_id_or_member_epoch(3), version)?;
        peer.ask_once("nothing", &good.with_topics(vec![]), version)?;
    }
    for version in 1..=9 {
        let wanted: &[(&str, &[i32])] = &[(&topic, &[0, 1, 9]), ("nothing", &[0])];
        peer.ask_once("fetched", &fetch(&group, Some(wanted), version), version)?;
        peer.ask_once("fetched: unknown group", &fetch(&peer.own("nothing"), Some(wanted), version), version)?;
        peer.ask_once("fetched: no group", &fetch("", Some(wanted), version), version)?;
        peer.ask_once("fetched: no topics", &fetch(&group, Some(&[]), version), version)?;
        if version >= 2 {
            peer.ask_once("fetched: all", &fetch(&group, None, version), version)?;
        }
        if version >= 7 {
            peer.ask_once("fetched: stable", &fetch(&group, None, version).with_require_stable(true), version)?;
        }
        if version >= 8 {
            let mut two = fetch(&group, None, version);
            two.groups.extend(fetch(&peer.own("nothing"), None, version).groups);
            peer.ask_once("fetched: two groups", &two, version)?;
        }
    }
    let mut of_stranger = fetch(&group, None, 9);
    of_stranger.groups[0].member_id = Some(text("stranger"));
    of_stranger.groups[0].member_epoch = 1;
    peer.ask_once("fetched by a stranger", &of_stranger, 9)?;
    peer.ask_once("group deleted", &deletion(&[&group]), 2)?;
    peer.ask_once("fetched after the end", &fetch(&group, None, 7), 7)?;
    Ok(())
}

/// Of a group with a member: only it may commit, and its topics keep their offsets.
pub(super) fn of_members(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (group, topic) = (peer.own("g"), peer.own("t"));
    make(&mut admin, &topic, 2, &[])?;
    let (id, generation) = alone(&mut admin, &group)?;
    for version in [2, 7, 9] {
        let of = |member: &str, generation: i32| {
            commit(&group, &topic, 0, 5).with_member_id(text(member)).with_generation_id_or_member_epoch(generation)
        };
        peer.ask(&mut admin, "of the member", &of(&id, generation), version)?;
        peer.ask(&mut admin, "of an old generation", &of(&id, generation - 1), version)?;
        peer.ask(&mut admin, "of the next generation", &of(&id, generation + 1), version)?;
        peer.ask(&mut admin, "of a stranger", &of("stranger", generation), version)?;
        peer.ask(&mut admin, "of nobody", &of("", -1), version)?;
    }
    let delete = |group: &str, topic: &str, partitions: &[i32]| {
        let partitions = partitions
            .iter()
            .map(|index| OffsetDeleteRequestPartition::default().with_partition_index(*index))
            .collect();
        let topic = OffsetDeleteRequestTopic::default().with_name(topic_name(topic)).with_partitions(partitions);
        OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(vec![topic])
    };
    peer.ask(&mut admin, "deleted while there is a member", &delete(&group, &topic, &[0]), 0)?;
    peer.ask(&mut admin, "left", &leave(&group, &id, 5), 5)?;
    peer.ask(&mut admin, "deleted: unknown group", &delete(&peer.own("nothing"), &topic, &[0]), 0)?;
    peer.ask(&mut admin, "deleted: no group", &delete("", &topic, &[0]), 0)?;
    peer.ask(&mut admin, "deleted: unknown topic", &delete(&group, "nothing", &[0]), 0)?;
    peer.ask(&mut admin, "deleted: unknown partition", &delete(&group, &topic, &[9]), 0)?;
    peer.ask(&mut admin, "deleted", &delete(&group, &topic, &[0, 1]), 0)?;
    peer.ask(&mut admin, "fetched when deleted", &fetch(&group, None, 7), 7)?;
    peer.ask(&mut admin, "group deleted", &deletion(&[&group]), 2)?;
    Ok(())
}
