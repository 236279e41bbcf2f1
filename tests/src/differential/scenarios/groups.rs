//! Groups of the classic protocol: joined, synchronized, left; described, listed, deleted.

use anyhow::{Context, Result};
use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::differential::Peer;
use crate::wire::Connection;

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

/// With one protocol, `range`, whose metadata is no subscription.
pub(super) fn join(group: &str, member: &str, version: i16) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(Bytes::from_static(b"m"));
    let request = JoinGroupRequest::default()
        .with_group_id(group_id(group))
        .with_session_timeout_ms(30_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    if version >= 1 { request.with_rebalance_timeout_ms(10_000) } else { request }
}

pub(super) fn sync(group: &str, member: &str, generation: i32, assigned: &[&str]) -> SyncGroupRequest {
    let assigned = assigned.iter().map(|member| {
        SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(Bytes::from_static(b"all"))
    });
    SyncGroupRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(generation)
        .with_member_id(text(member))
        .with_assignments(assigned.collect())
}

/// Version 5 names the protocol too.
fn named(request: SyncGroupRequest, version: i16) -> SyncGroupRequest {
    if version < 5 {
        return request;
    }
    request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")))
}

pub(super) fn heartbeat(group: &str, member: &str, generation: i32) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id(generation)
        .with_member_id(text(member))
}

pub(super) fn leave(group: &str, member: &str, version: i16) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group_id(group));
    if version < 3 {
        return request.with_member_id(text(member));
    }
    request.with_members(vec![MemberIdentity::default().with_member_id(text(member))])
}

/// Joins as the only member and takes everything; returns the member and the generation.
pub(super) fn alone(connection: &mut Connection, group: &str) -> Result<(String, i32)> {
    let joined = connection.call(&join(group, "", 3), 3)?;
    crate::wire::check(joined.error_code, "JoinGroup")?;
    let member = joined.member_id.to_string();
    let synced = connection.call(&sync(group, &member, joined.generation_id, &[&member]), 3)?;
    crate::wire::check(synced.error_code, "SyncGroup")?;
    Ok((member, joined.generation_id))
}

fn described(groups: &[&str]) -> DescribeGroupsRequest {
    DescribeGroupsRequest::default().with_groups(groups.iter().map(|group| group_id(group)).collect())
}

pub(super) fn deletion(groups: &[&str]) -> DeleteGroupsRequest {
    DeleteGroupsRequest::default().with_groups_names(groups.iter().map(|group| group_id(group)).collect())
}

/// One member's life, in every version.
pub(super) fn lives(peer: &mut Peer) -> Result<()> {
    for version in 0..=9 {
        let mut member = peer.admin()?;
        let group = peer.own(&format!("g{version}"));
        let joined = peer.ask(&mut member, "joined", &join(&group, "", version), version)?;
        let mut id = joined.member_id.to_string();
        let mut generation = joined.generation_id;
        if version >= 4 {
            let again = peer.ask(&mut member, "joined with the id", &join(&group, &id, version), version)?;
            (id, generation) = (again.member_id.to_string(), again.generation_id);
        }
        let (sync_version, beat_version, leave_version) = (version.min(5), version.min(4), version.min(5));
        let before = heartbeat(&group, &id, generation);
        peer.ask(&mut member, "heartbeat before the assignment", &before, beat_version)?;
        let early = named(sync(&group, &id, generation + 1, &[]), sync_version);
        peer.ask(&mut member, "synchronized a generation early", &early, sync_version)?;
        let request = named(sync(&group, &id, generation, &[&id]), sync_version);
        peer.ask(&mut member, "synchronized", &request, sync_version)?;
        peer.ask(&mut member, "synchronized again", &request, sync_version)?;
        peer.ask(&mut member, "heartbeat", &heartbeat(&group, &id, generation), beat_version)?;
        peer.ask(&mut member, "heartbeat: old generation", &heartbeat(&group, &id, generation - 1), beat_version)?;
        peer.ask(&mut member, "heartbeat: stranger", &heartbeat(&group, "stranger", generation), beat_version)?;
        peer.ask(&mut member, "heartbeat: no member", &heartbeat(&group, "", generation), beat_version)?;
        peer.ask(&mut member, "heartbeat: no group", &heartbeat("", &id, generation), beat_version)?;
        peer.ask(&mut member, "heartbeat: unknown group", &heartbeat("nothing", &id, generation), beat_version)?;
        for described_version in 0..=6 {
            peer.ask(&mut member, "described", &described(&[&group]), described_version)?;
        }
        peer.ask(&mut member, "deleted while there is a member", &deletion(&[&group]), 2)?;
        peer.ask(&mut member, "stranger left", &leave(&group, "stranger", leave_version), leave_version)?;
        peer.ask(&mut member, "left", &leave(&group, &id, leave_version), leave_version)?;
        peer.ask(&mut member, "left again", &leave(&group, &id, leave_version), leave_version)?;
        peer.ask(&mut member, "heartbeat after the end", &heartbeat(&group, &id, generation), beat_version)?;
        peer.ask(&mut member, "described when empty", &described(&[&group]), 5)?;
        peer.ask(&mut member, "deleted", &deletion(&[&group]), version.min(2))?;
        peer.ask(&mut member, "deleted again", &deletion(&[&group]), version.min(2))?;
    }
    Ok(())
}

/// Joins that are refused, and what groups need not be asked.
pub(super) fn refused(peer: &mut Peer) -> Result<()> {
    let group = peer.own("g");
    for version in [0, 3, 5, 9] {
        let good = join(&group, "", version);
        for (step, request) in [
            ("no group", join("", "", version)),
            ("a member nobody knows", join(&group, "stranger", version)),
            ("session too short", good.clone().with_session_timeout_ms(10)),
            ("session too long", good.clone().with_session_timeout_ms(i32::MAX)),
            ("no protocols", good.clone().with_protocols(vec![])),
            ("no protocol type", good.clone().with_protocol_type(text(""))),
        ] {
            peer.ask_once(step, &request, version)?;
        }
    }
    let mut member = peer.admin()?;
    let (id, generation) = alone(&mut member, &group)?;
    let other = JoinGroupRequestProtocol::default().with_name(text("other")).with_metadata(Bytes::from_static(b"m"));
    peer.ask_once("other protocol", &join(&group, "", 3).with_protocols(vec![other]), 3)?;
    peer.ask_once("other protocol type", &join(&group, "", 3).with_protocol_type(text("connect")), 3)?;
    let wrong = sync(&group, &id, generation, &[]).with_protocol_type(Some(text("connect")));
    peer.ask_once("synchronized with another type", &wrong.clone().with_protocol_name(Some(text("range"))), 5)?;
    let wrong = wrong.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("other")));
    peer.ask_once("synchronized with another protocol", &wrong, 5)?;
    peer.ask_once("synchronized as a stranger", &sync(&group, "stranger", generation, &[]), 3)?;
    peer.ask_once("synchronized in no group", &sync("nothing", &id, generation, &[]), 3)?;
    peer.ask_once("synchronized in an empty group", &sync("", &id, generation, &[]), 3)?;
    peer.ask_once("left no group", &leave("nothing", &id, 2), 2)?;
    peer.ask_once("left an empty group", &leave("", &id, 2), 2)?;
    peer.ask_once("described: nothing", &described(&[&peer.own("nothing")]), 5)?;
    peer.ask_once("described: nothing", &described(&[&peer.own("nothing")]), 6)?;
    peer.ask_once("described: no name", &described(&[""]), 5)?;
    peer.ask_once("described: twice", &described(&[&group, &group]), 5)?;
    let operations = described(&[&group]).with_include_authorized_operations(true);
    peer.ask_once("described with operations", &operations, 5)?;
    peer.ask_once("deleted: no name", &deletion(&[""]), 2)?;
    peer.ask_once("deleted: twice", &deletion(&["nothing", "nothing"]), 2)?;
    peer.ask(&mut member, "left", &leave(&group, &id, 5), 5)?;
    peer.ask(&mut member, "deleted", &deletion(&[&group]), 2)?;
    Ok(())
}

fn of_instance(request: JoinGroupRequest, instance: &str) -> JoinGroupRequest {
    request.with_group_instance_id(Some(text(instance)))
}

/// Static members (KIP-345).
pub(super) fn static_members(peer: &mut Peer) -> Result<()> {
    let mut member = peer.admin()?;
    let group = peer.own("g");
    let joined = peer.ask(&mut member, "joined", &of_instance(join(&group, "", 5), "one"), 5)?;
    let (old, generation) = (joined.member_id.to_string(), joined.generation_id);
    let instance = Some(text("one"));
    let assigned = sync(&group, &old, generation, &[&old]).with_group_instance_id(instance.clone());
    peer.ask(&mut member, "synchronized", &assigned, 3)?;
    let replaced = peer.ask(&mut member, "came back", &of_instance(join(&group, "", 9), "one"), 9)?;
    let (new, generation) = (replaced.member_id.to_string(), replaced.generation_id);
    let beat = |id: &str| heartbeat(&group, id, generation).with_group_instance_id(instance.clone());
    peer.ask(&mut member, "heartbeat of the old", &beat(&old), 4)?;
    peer.ask(&mut member, "heartbeat of the new", &beat(&new), 4)?;
    let unknown = heartbeat(&group, &new, generation).with_group_instance_id(Some(text("two")));
    peer.ask(&mut member, "heartbeat of an unknown instance", &unknown, 4)?;
    peer.ask(&mut member, "old id joined", &of_instance(join(&group, &old, 9), "one"), 9)?;
    let again = sync(&group, &old, generation, &[]).with_group_instance_id(instance.clone());
    peer.ask(&mut member, "old id synchronized", &again, 3)?;
    peer.ask(&mut member, "described", &described(&[&group]), 5)?;
    let left = |id: &str, instance: &str| {
        let member = MemberIdentity::default().with_member_id(text(id)).with_group_instance_id(Some(text(instance)));
        LeaveGroupRequest::default().with_group_id(group_id(&group)).with_members(vec![member])
    };
    peer.ask(&mut member, "left: unknown instance", &left("", "two"), 5)?;
    peer.ask(&mut member, "left: old id", &left(&old, "one"), 5)?;
    peer.ask(&mut member, "left", &left("", "one"), 5)?;
    peer.ask(&mut member, "deleted", &deletion(&[&group]), 2)?;
    Ok(())
}

/// Only groups of this scenario are kept: others may be there too.
pub(super) fn listed(peer: &mut Peer) -> Result<()> {
    let mut member = peer.admin()?;
    let (busy, empty) = (peer.own("busy"), peer.own("empty"));
    let (id, _) = alone(&mut member, &busy)?;
    let (gone, _) = alone(&mut member, &empty)?;
    member.call(&leave(&empty, &gone, 3), 3).context("leaving")?;
    let all = ListGroupsRequest::default();
    let states = |states: &[&str]| all.clone().with_states_filter(states.iter().map(|state| text(state)).collect());
    let types = |types: &[&str]| all.clone().with_types_filter(types.iter().map(|kind| text(kind)).collect());
    let mut list = |peer: &mut Peer, step: &str, request: &ListGroupsRequest, version: i16| {
        let answer = peer.call(&mut member, request, version).with_context(|| format!("{step} v{version}"))?;
        let own = answer.groups.iter().filter(|group| group.group_id.starts_with(&peer.own("")));
        let told = |group: &kafka_protocol::messages::list_groups_response::ListedGroup| {
            let words = [&group.group_id.0, &group.protocol_type, &group.group_state, &group.group_type];
            words.map(|word| word.to_string())
        };
        let mut own: Vec<_> = own.map(told).collect();
        own.sort();
        peer.note(&format!("{step} v{version}"), (answer.error_code, own));
        Ok::<_, anyhow::Error>(())
    };
    for version in 0..=5 {
        list(peer, "all", &all, version)?;
        if version >= 4 {
            for state in ["Stable", "stable", "Empty", "Dead", "Nonsense", ""] {
                list(peer, &format!("in state {state:?}"), &states(&[state]), version)?;
            }
            list(peer, "in two states", &states(&["Stable", "Empty"]), version)?;
        }
        if version >= 5 {
            for kind in ["classic", "Classic", "consumer", "share", "nonsense", ""] {
                list(peer, &format!("of type {kind:?}"), &types(&[kind]), version)?;
            }
        }
    }
    member.call(&leave(&busy, &id, 3), 3)?;
    peer.ask(&mut member, "deleted", &deletion(&[&busy, &empty]), 2)?;
    Ok(())
}
