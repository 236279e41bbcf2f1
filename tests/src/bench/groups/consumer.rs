//! Members with the consumer protocol (KIP-848): they say what they have, and take what the coordinator gives.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::members::{Sharing, ask_all};
use super::{Protocol, Topic};
use crate::requests::topic_name;
use crate::wire::{Connection, check};

const HEARTBEAT: i16 = 1;
/// Heartbeats of each member until a group that does not come to rest is given up.
const PATIENCE: usize = 100;

pub(super) struct Consumer {
    connections: Vec<Connection>,
    sharing: Sharing,
    topic: Topic,
    members: Vec<Member>,
}

struct Member {
    id: StrBytes,
    /// 0 until it has joined.
    epoch: i32,
    owned: Vec<i32>,
    /// What it has is new, and the coordinator does not know yet that it came.
    has_to_report: bool,
}

impl Member {
    fn new() -> Self {
        let id = StrBytes::from_string(Uuid::new_v4().to_string());
        Self { id, epoch: 0, owned: Vec::new(), has_to_report: false }
    }

    /// The first heartbeat says everything, a later one only what has changed.
    fn request(&self, topic: &Topic) -> ConsumerGroupHeartbeatRequest {
        let owned = match self.owned.is_empty() {
            true => Vec::new(),
            false => {
                vec![TopicPartitions::default().with_topic_id(topic.id).with_partitions(self.owned.clone())]
            }
        };
        let joins = self.epoch == 0;
        ConsumerGroupHeartbeatRequest::default()
            .with_member_id(self.id.clone())
            .with_member_epoch(self.epoch)
            .with_rebalance_timeout_ms(if joins { 300_000 } else { -1 })
            .with_subscribed_topic_names(joins.then(|| vec![topic_name(&topic.name)]))
            .with_topic_partitions((joins || self.has_to_report).then_some(owned))
    }

    /// Takes the answer; says whether anything has changed.
    fn take(&mut self, answer: ConsumerGroupHeartbeatResponse) -> Result<bool> {
        check(answer.error_code, answer.error_message.as_deref().unwrap_or("ConsumerGroupHeartbeat"))?;
        let moved = std::mem::replace(&mut self.epoch, answer.member_epoch) != answer.member_epoch;
        let reported = std::mem::take(&mut self.has_to_report);
        if let Some(assignment) = answer.assignment {
            let owned = assignment.topic_partitions.into_iter().flat_map(|topic| topic.partitions).collect();
            self.has_to_report = std::mem::replace(&mut self.owned, owned) != self.owned;
        }
        Ok(moved || reported || self.has_to_report)
    }
}

impl Protocol for Consumer {
    const NAME: &'static str = "consumer";
    /// What the broker tells members by default.
    const INTERVAL: Duration = Duration::from_secs(5);

    fn join(connections: Vec<Connection>, sharing: Sharing, topic: &Topic) -> Result<Self> {
        let members = connections.iter().map(|_| Member::new()).collect();
        let mut group = Self { connections, sharing, topic: topic.clone(), members };
        group.settle()?;
        Ok(group)
    }

    fn add(&mut self, connection: Connection) -> Result<()> {
        self.connections.push(connection);
        self.members.push(Member::new());
        self.settle()
    }

    fn beat(&mut self) -> Result<()> {
        ensure!(!self.round()?, "the group does not rest");
        Ok(())
    }
}

impl Consumer {
    /// A heartbeat of every member; says whether anything has changed.
    fn round(&mut self) -> Result<bool> {
        let (members, topic, sharing) = (&self.members, &self.topic, self.sharing);
        let answers = ask_all(&mut self.connections, HEARTBEAT, |place| {
            members[place].request(topic).with_group_id(sharing.group(place))
        })?;
        let mut changed = false;
        for (member, answer) in self.members.iter_mut().zip(answers) {
            changed |= member.take(answer)?;
        }
        Ok(changed)
    }

    /// Heartbeats until everybody has what is theirs.
    fn settle(&mut self) -> Result<()> {
        let mut rounds = 0;
        while self.round()? {
            rounds += 1;
            ensure!(rounds < PATIENCE, "the group does not come to rest within {PATIENCE} heartbeats of each member");
        }
        let all = |members: &[Member]| -> Result<()> {
            let owned: Vec<i32> = members.iter().flat_map(|member| member.owned.iter().copied()).collect();
            let different = owned.iter().collect::<HashSet<_>>().len();
            let partitions = self.topic.partitions as usize;
            let is_right = owned.len() == partitions && different == partitions;
            ensure!(is_right, "{} partitions are given, {different} different ones, of {partitions}", owned.len());
            Ok(())
        };
        match self.sharing {
            Sharing::One => all(&self.members),
            Sharing::Each => self.members.chunks(1).try_for_each(all),
        }
    }
}
