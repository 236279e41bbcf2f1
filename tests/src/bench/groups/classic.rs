//! Members with the classic protocol: the first of each group leads, and shares out the partitions.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponse;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use super::members::{Sharing, ask_all};
use super::{INITIAL_DELAY, Protocol, Topic};
use crate::requests::topic_name;
use crate::wire::{Connection, check};

const JOIN: i16 = 9;
const SYNC: i16 = 5;
const HEARTBEAT: i16 = 4;
const TYPE: StrBytes = StrBytes::from_static_str("consumer");
const ASSIGNOR: StrBytes = StrBytes::from_static_str("range");

pub(super) struct Classic {
    connections: Vec<Connection>,
    sharing: Sharing,
    topic: Topic,
    ids: Vec<StrBytes>,
    generation: i32,
}

impl Protocol for Classic {
    const NAME: &'static str = "classic";
    /// What clients do by default.
    const INTERVAL: Duration = Duration::from_secs(3);

    fn join(connections: Vec<Connection>, sharing: Sharing, topic: &Topic) -> Result<Self> {
        let mut group = Self { connections, sharing, topic: topic.clone(), ids: Vec::new(), generation: 0 };
        let request = |place| join_request(&group.topic, sharing, place, StrBytes::default());
        let answers = ask_all(&mut group.connections, JOIN, request)?;
        group.ids = answers.into_iter().map(new_id).collect::<Result<_>>()?;
        let request = |place: usize| join_request(&group.topic, sharing, place, group.ids[place].clone());
        let joined = ask_all(&mut group.connections, JOIN, request)?;
        group.sync(&joined)?;
        Ok(group)
    }

    fn waits(sharing: Sharing) -> Duration {
        match sharing {
            // Once more, since members have come during the first wait.
            Sharing::One => 2 * INITIAL_DELAY,
            Sharing::Each => INITIAL_DELAY,
        }
    }

    fn add(&mut self, mut connection: Connection) -> Result<()> {
        let place = self.ids.len();
        let request = |id| join_request(&self.topic, self.sharing, place, id);
        self.ids.push(new_id(connection.call(&request(StrBytes::default()), JOIN)?)?);
        let asked = connection.send(&request(self.ids[place].clone()), JOIN)?;
        // The others hear of it with their heartbeats.
        let in_progress = ResponseError::RebalanceInProgress.code();
        while !self.heartbeats()?.iter().all(|code| *code == in_progress) {}
        let request = |place: usize| join_request(&self.topic, self.sharing, place, self.ids[place].clone());
        let mut joined = ask_all(&mut self.connections, JOIN, request)?;
        joined.push(connection.answer::<JoinGroupRequest>(JOIN, asked)?);
        self.connections.push(connection);
        self.sync(&joined)
    }

    fn beat(&mut self) -> Result<()> {
        self.heartbeats()?.into_iter().try_for_each(|code| check(code, "Heartbeat"))
    }
}

impl Classic {
    /// The error codes that the members' heartbeats are answered with.
    fn heartbeats(&mut self) -> Result<Vec<i16>> {
        let (ids, sharing, generation) = (&self.ids, self.sharing, self.generation);
        let answers = ask_all(&mut self.connections, HEARTBEAT, |place| {
            HeartbeatRequest::default()
                .with_group_id(sharing.group(place))
                .with_generation_id(generation)
                .with_member_id(ids[place].clone())
        })?;
        Ok(answers.into_iter().map(|answer| answer.error_code).collect())
    }

    /// Leaders share out, and everybody takes what is given.
    fn sync(&mut self, joined: &[JoinGroupResponse]) -> Result<()> {
        joined.iter().try_for_each(|answer| check(answer.error_code, "JoinGroup"))?;
        self.generation = joined.first().context("no member")?.generation_id;
        let same = joined.iter().all(|answer| answer.generation_id == self.generation);
        ensure!(same, "the members are not in the same generation");
        let (topic, sharing) = (&self.topic, self.sharing);
        let answers = ask_all(&mut self.connections, SYNC, |place| {
            let joined = &joined[place];
            SyncGroupRequest::default()
                .with_group_id(sharing.group(place))
                .with_generation_id(joined.generation_id)
                .with_member_id(joined.member_id.clone())
                .with_protocol_type(Some(TYPE))
                .with_protocol_name(Some(ASSIGNOR))
                .with_assignments(assignments(topic, joined))
        })?;
        let mut shared_out = 0;
        for answer in answers {
            check(answer.error_code, "SyncGroup")?;
            let mut bytes = answer.assignment;
            let version = bytes.try_get_i16().context("a member without an assignment")?;
            let assignment = ConsumerProtocolAssignment::decode(&mut bytes, version)?;
            shared_out += assignment.assigned_partitions.iter().map(|topic| topic.partitions.len()).sum::<usize>();
        }
        let groups = if sharing == Sharing::One { 1 } else { joined.len() };
        let partitions = groups * self.topic.partitions as usize;
        ensure!(shared_out == partitions, "{shared_out} of {partitions} partitions have come to their members");
        Ok(())
    }
}

/// The id that a new member has to come back with.
fn new_id(answer: JoinGroupResponse) -> Result<StrBytes> {
    let code = answer.error_code;
    ensure!(code == ResponseError::MemberIdRequired.code(), "JoinGroup without an id is answered with {code}");
    Ok(answer.member_id)
}

fn join_request(topic: &Topic, sharing: Sharing, place: usize, id: StrBytes) -> JoinGroupRequest {
    let topics = vec![StrBytes::from_string(topic.name.clone())];
    let subscription = ConsumerProtocolSubscription::default().with_topics(topics);
    let mut metadata = BytesMut::new();
    metadata.put_i16(1);
    subscription.encode(&mut metadata, 1).expect("a subscription has version 1");
    let protocol = JoinGroupRequestProtocol::default().with_name(ASSIGNOR).with_metadata(metadata.freeze());
    JoinGroupRequest::default()
        .with_group_id(sharing.group(place))
        .with_member_id(id)
        .with_session_timeout_ms(45_000)
        .with_rebalance_timeout_ms(300_000)
        .with_protocol_type(TYPE)
        .with_protocols(vec![protocol])
}

/// Only a leader is told who the members are.
fn assignments(topic: &Topic, joined: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
    let members = joined.members.len();
    let assignment = |place: usize| {
        let partitions = (0..topic.partitions).filter(|index| *index as usize % members == place).collect();
        let topic = TopicPartition::default().with_topic(topic_name(&topic.name)).with_partitions(partitions);
        let mut bytes = BytesMut::new();
        bytes.put_i16(1);
        let assignment = ConsumerProtocolAssignment::default().with_assigned_partitions(vec![topic]);
        assignment.encode(&mut bytes, 1).expect("an assignment has version 1");
        Bytes::from(bytes)
    };
    let members = joined.members.iter().enumerate();
    let of = |(place, member): (usize, &kafka_protocol::messages::join_group_response::JoinGroupResponseMember)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(assignment(place))
    };
    members.map(of).collect()
}
