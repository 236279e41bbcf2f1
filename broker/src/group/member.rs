//! A member of a group, and what it asks and is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::records::MemberValue;

/// A way of sharing out partitions that a member offers, with what it wants said to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub name: Arc<str>,
    pub metadata: Bytes,
}

/// A request to join.
#[derive(Clone, Debug)]
pub struct Join {
    pub group: Arc<str>,
    /// Empty for a member that has no id yet.
    pub member: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    pub protocol_type: Arc<str>,
    pub protocols: Vec<Protocol>,
    /// The client is sent back with its member id first, so that a lost answer leaves no member behind (version 4 on).
    pub id_first: bool,
    /// The client understands that a leader may skip the assignment (version 9 on).
    pub may_skip_assignment: bool,
}

/// The answer to a join: the member is part of this generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub leader: Arc<str>,
    pub member: Arc<str>,
    pub skip_assignment: bool,
    /// Everybody, for the leader; empty for the others.
    pub members: Vec<JoinedMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub id: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub metadata: Bytes,
}

/// A join that did not happen, and the member id to go on with (may be empty).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRefused {
    pub code: ResponseError,
    pub member: Arc<str>,
}

pub type JoinResult = Result<Joined, JoinRefused>;

/// A request for one's assignment; the leader's carries everybody's.
#[derive(Clone, Debug)]
pub struct Sync {
    pub identity: Identity,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// Who a member says it is, in which group and generation.
#[derive(Clone, Debug)]
pub struct Identity {
    pub group: Arc<str>,
    pub generation: i32,
    pub member: Arc<str>,
    pub instance: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub assignment: Bytes,
}

pub type SyncResult = Result<Synced, ResponseError>;

/// A member as its group sees it. The two senders are the requests that wait; a client that went away leaves a sender
/// that nobody listens to, and its session ends the membership.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Arc<str>,
    pub(super) instance: Option<Arc<str>>,
    pub(super) client_id: Arc<str>,
    pub(super) client_host: Arc<str>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// Has not seen its first generation yet.
    pub(super) is_new: bool,
    pub(super) joining: Option<oneshot::Sender<JoinResult>>,
    pub(super) syncing: Option<oneshot::Sender<SyncResult>>,
    /// When the session ends; `None` while a request of the member waits past its session.
    pub(super) deadline: Option<Instant>,
}

impl Member {
    pub(super) fn new(id: Arc<str>, join: Join, reply: oneshot::Sender<JoinResult>) -> Self {
        Self {
            id,
            instance: join.instance,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            is_new: true,
            joining: Some(reply),
            syncing: None,
            deadline: None,
        }
    }

    /// A member as it was stored, with its session started again.
    pub(super) fn stored(value: MemberValue, protocol: Option<&Arc<str>>, now: Instant) -> Self {
        let session_timeout = milliseconds(value.session_timeout_ms);
        Self {
            id: value.id,
            instance: value.instance_id,
            client_id: value.client_id,
            client_host: value.client_host,
            session_timeout,
            rebalance_timeout: milliseconds(value.rebalance_timeout_ms),
            protocols: protocol
                .map(|name| Protocol { name: Arc::clone(name), metadata: value.subscription })
                .into_iter()
                .collect(),
            assignment: value.assignment,
            is_new: false,
            joining: None,
            syncing: None,
            deadline: Some(now + session_timeout),
        }
    }

    pub(super) fn value(&self, protocol: &str, assignment: Bytes) -> MemberValue {
        MemberValue {
            id: Arc::clone(&self.id),
            instance_id: self.instance.clone(),
            client_id: Arc::clone(&self.client_id),
            client_host: Arc::clone(&self.client_host),
            rebalance_timeout_ms: to_ms(self.rebalance_timeout),
            session_timeout_ms: to_ms(self.session_timeout),
            subscription: self.metadata(protocol),
            assignment,
        }
    }

    /// Takes what a repeated join says. An earlier join that still waits is given up: its client asked again.
    pub(super) fn update(&mut self, join: Join, reply: Option<oneshot::Sender<JoinResult>>) {
        self.client_id = join.client_id;
        self.client_host = join.client_host;
        self.session_timeout = join.session_timeout;
        self.rebalance_timeout = join.rebalance_timeout;
        self.protocols = join.protocols;
        self.joining = reply;
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let offered = self.protocols.iter().find(|offered| &*offered.name == protocol);
        offered.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }

    pub(super) fn offers(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|offered| &*offered.name == protocol)
    }

    /// Restarts the session.
    pub(super) fn heard(&mut self, now: Instant) {
        self.deadline = Some(now + self.session_timeout);
    }

    /// Answers a waiting join, if there is one.
    pub(super) fn answer_join(&mut self, result: JoinResult) {
        if let Some(reply) = self.joining.take() {
            // The client may have gone.
            let _ = reply.send(result);
        }
    }

    /// Answers a waiting sync, and says whether there was one.
    pub(super) fn answer_sync(&mut self, result: SyncResult) -> bool {
        let Some(reply) = self.syncing.take() else { return false };
        let _ = reply.send(result);
        true
    }

    /// Answers whatever waits with an error.
    pub(super) fn refuse(&mut self, code: ResponseError, member: Arc<str>) {
        self.answer_join(Err(JoinRefused { code, member }));
        self.answer_sync(Err(code));
    }

    /// What it takes in its group's record, about, and in memory besides a fixed size (bytes).
    pub(super) fn bytes(&self) -> usize {
        let instance = self.instance.as_ref().map_or(0, |instance| instance.len());
        let names = self.id.len() + instance + self.client_id.len() + self.client_host.len();
        names + protocol_bytes(&self.protocols) + self.assignment.len()
    }
}

/// What offers take in memory, about (bytes).
pub(super) fn protocol_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
}

/// A fresh member id: the static or client name, and what makes it unique.
pub(super) fn new_member_id(join: &Join) -> Arc<str> {
    format!("{}-{}", join.instance.as_deref().unwrap_or(&join.client_id), Uuid::new_v4()).into()
}

/// A duration from the wire; negative ones are none at all.
pub fn milliseconds(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

pub(super) fn to_ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
