//! Groups of the consumer protocol (KIP-848).

use anyhow::Result;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DescribeGroupsRequest};
use uuid::Uuid;

use super::groups::{alone, deletion, group_id, join, leave, text};
use super::offsets::{commit, fetch};
use super::topics::make;
use crate::differential::Peer;
use crate::requests::topic_name;

/// What comes after the first.
fn beat(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(None)
}

/// What a member says when it joins.
pub(super) fn enter(group: &str, member: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    beat(group, member, 0)
        .with_rebalance_timeout_ms(30_000)
        .with_subscribed_topic_names(Some(topics.iter().map(|topic| topic_name(topic)).collect()))
        .with_topic_partitions(Some(vec![]))
}

fn owning(request: ConsumerGroupHeartbeatRequest, topic: Uuid, partitions: &[i32]) -> ConsumerGroupHeartbeatRequest {
    let owned = TopicPartitions::default().with_topic_id(topic).with_partitions(partitions.to_vec());
    request.with_topic_partitions(Some(vec![owned]))
}

fn described(groups: &[&str]) -> ConsumerGroupDescribeRequest {
    ConsumerGroupDescribeRequest::default().with_group_ids(groups.iter().map(|group| group_id(group)).collect())
}

const MEMBER: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// One member's life.
pub(super) fn lives(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let topic = peer.own("t");
    let id = make(&mut admin, &topic, 2, &[])?;
    peer.settle()?;
    for version in 0..=1 {
        let group = peer.own(&format!("g{version}"));
        let mut named = |peer: &mut Peer, step: &str, request: &ConsumerGroupHeartbeatRequest| {
            peer.ask(&mut admin, step, request, version)
        };
        let asked = if version == 0 { "" } else { MEMBER };
        let entered = named(peer, "entered", &enter(&group, asked, &[&topic]))?;
        let member = entered.member_id.as_ref().map_or(asked.to_owned(), |id| id.to_string());
        let member = if member.is_empty() { asked.to_owned() } else { member };
        let epoch = entered.member_epoch;
        named(peer, "quiet", &owning(beat(&group, &member, epoch), id, &[0, 1]))?;
        named(peer, "epoch too new", &beat(&group, &member, epoch + 7))?;
        named(peer, "stranger", &beat(&group, "BBBBBBBBBBBBBBBBBBBBBB", epoch))?;
        named(peer, "unknown group", &beat(&peer.own("nothing"), &member, epoch))?;
        named(peer, "quiet again", &beat(&group, &member, epoch))?;
        for described_version in 0..=1 {
            let mut connection = peer.admin()?;
            peer.ask(&mut connection, "described", &described(&[&group]), described_version)?;
        }
        peer.ask_once(
            "described as a classic group",
            &DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]),
            5,
        )?;
        peer.ask_once(
            "described as a classic group",
            &DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]),
            6,
        )?;
        peer.ask_once("a classic member", &join(&group, "", 3), 3)?;
        let of = |member: &str, epoch: i32| {
            commit(&group, &topic, 0, 3).with_member_id(text(member)).with_generation_id_or_member_epoch(epoch)
        };
        for commit_version in [8, 9] {
            peer.ask_once("committed", &of(&member, epoch), commit_version)?;
            peer.ask_once("committed in a wrong epoch", &of(&member, epoch + 7), commit_version)?;
            peer.ask_once("committed by a stranger", &of("stranger", epoch), commit_version)?;
            peer.ask_once("committed by nobody", &of("", -1), commit_version)?;
        }
        let mut fetched = fetch(&group, None, 9);
        fetched.groups[0].member_id = Some(text(&member));
        fetched.groups[0].member_epoch = epoch;
        peer.ask_once("offsets fetched", &fetched, 9)?;
        fetched.groups[0].member_epoch = epoch + 7;
        peer.ask_once("offsets fetched in a wrong epoch", &fetched, 9)?;
        peer.ask_once("deleted while there is a member", &deletion(&[&group]), 2)?;
        let mut connection = peer.admin()?;
        peer.ask(&mut connection, "left", &beat(&group, &member, -1), version)?;
        peer.ask(&mut connection, "left again", &beat(&group, &member, -1), version)?;
        peer.ask(&mut connection, "described when empty", &described(&[&group]), version)?;
        peer.ask(&mut connection, "deleted", &deletion(&[&group]), 2)?;
    }
    Ok(())
}

/// Heartbeats that are refused, and groups of the other protocol.
pub(super) fn refused(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (group, topic) = (peer.own("g"), peer.own("t"));
    let id = make(&mut admin, &topic, 2, &[])?;
    peer.settle()?;
    let good = enter(&group, MEMBER, &[&topic]);
    for version in 0..=1 {
        for (step, request) in [
            ("no group", enter("", MEMBER, &[&topic])),
            ("no topics", good.clone().with_subscribed_topic_names(None)),
            ("owning from the start", owning(good.clone(), id, &[0])),
            ("no owned partitions", good.clone().with_topic_partitions(None)),
            ("no timeout", good.clone().with_rebalance_timeout_ms(-1)),
            ("zero timeout", good.clone().with_rebalance_timeout_ms(0)),
            ("unknown assignor", good.clone().with_server_assignor(Some(text("mine")))),
            ("empty assignor", good.clone().with_server_assignor(Some(text("")))),
            ("empty instance", good.clone().with_instance_id(Some(text("")))),
            ("empty rack", good.clone().with_rack_id(Some(text("")))),
            ("epoch -2 without an instance", beat(&group, MEMBER, -2)),
            ("epoch -3", beat(&group, MEMBER, -3)),
            ("no member later", beat(&group, "", 3)),
        ] {
            peer.ask_once(step, &request, version)?;
        }
    }
    peer.ask_once("no member at first", &enter(&group, "", &[&topic]), 1)?;
    let by_pattern =
        |pattern: &str| good.clone().with_subscribed_topic_names(None).with_subscribed_topic_regex(Some(text(pattern)));
    peer.ask_once("bad pattern", &by_pattern("(("), 1)?;
    peer.ask_once("described: nothing", &described(&[&peer.own("nothing")]), 1)?;
    peer.ask_once("described: no name", &described(&[""]), 1)?;
    let classic = peer.own("classic");
    let (member, _) = alone(&mut admin, &classic)?;
    peer.ask_once("described: a classic group", &described(&[&classic]), 1)?;
    peer.ask_once("in a classic group", &enter(&classic, MEMBER, &[&topic]), 1)?;
    peer.ask(&mut admin, "left the classic group", &leave(&classic, &member, 5), 5)?;
    peer.ask(&mut admin, "in a classic group that is empty", &enter(&classic, MEMBER, &[&topic]), 1)?;
    peer.ask(&mut admin, "left", &beat(&classic, MEMBER, -1), 1)?;
    Ok(())
}

/// Static members of the protocol, and two who share.
pub(super) fn static_members(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (group, topic) = (peer.own("g"), peer.own("t"));
    make(&mut admin, &topic, 2, &[])?;
    peer.settle()?;
    let other = "BBBBBBBBBBBBBBBBBBBBBB";
    let with = |request: ConsumerGroupHeartbeatRequest| request.with_instance_id(Some(text("one")));
    let entered = peer.ask(&mut admin, "entered", &with(enter(&group, MEMBER, &[&topic])), 1)?;
    peer.ask(&mut admin, "another with its instance", &with(enter(&group, other, &[&topic])), 1)?;
    peer.ask(&mut admin, "away for a while", &with(beat(&group, MEMBER, -2)), 1)?;
    peer.ask(&mut admin, "described while away", &described(&[&group]), 1)?;
    peer.ask(&mut admin, "back with another id", &with(enter(&group, other, &[&topic])), 1)?;
    peer.ask(&mut admin, "the old id", &with(beat(&group, MEMBER, entered.member_epoch)), 1)?;
    peer.ask(&mut admin, "left", &with(beat(&group, other, -1)), 1)?;
    peer.ask(&mut admin, "described when empty", &described(&[&group]), 1)?;
    peer.ask(&mut admin, "deleted", &deletion(&[&group]), 2)?;
    Ok(())
}
