//! A member of a consumer group: what it asked for, and how far it has come towards its target.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::assignment::Assignment;
use crate::group::member::{Protocol, milliseconds, protocol_bytes};

/// The epoch with which a member leaves.
pub(super) const LEAVE: i32 = -1;
/// The epoch with which a static member leaves for a while: its place is kept for its session.
pub(super) const LEAVE_FOR_A_WHILE: i32 = -2;

/// What a member has told of itself, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Profile {
    pub(in crate::group) instance: Option<Arc<str>>,
    pub(in crate::group) rack: Option<Arc<str>>,
    pub(in crate::group) client_id: Arc<str>,
    pub(in crate::group) client_host: Arc<str>,
    pub(in crate::group) names: BTreeSet<Arc<str>>,
    /// Never an empty one: that is how members say that they have none.
    pub(in crate::group) regex: Option<Arc<str>>,
    /// -1 when it was never said.
    pub(in crate::group) rebalance_timeout_ms: i32,
    pub(in crate::group) assignor: Option<Arc<str>>,
    /// Set for members that use the classic protocol.
    pub(in crate::group) classic: Option<ClassicProfile>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct ClassicProfile {
    pub(in crate::group) session_timeout_ms: i32,
    pub(in crate::group) protocols: Vec<Protocol>,
}

impl Profile {
    pub(super) fn rebalance_timeout(&self) -> Duration {
        milliseconds(self.rebalance_timeout_ms)
    }

    /// What it takes in memory and in its record, about (bytes).
    pub(super) fn bytes(&self) -> usize {
        let options = [&self.instance, &self.rack, &self.regex, &self.assignor];
        let options: usize = options.into_iter().flatten().map(|text| text.len()).sum();
        let classic = self.classic.as_ref().map_or(0, |classic| protocol_bytes(&classic.protocols));
        let names: usize = self.names.iter().map(|name| name.len()).sum();
        self.client_id.len() + self.client_host.len() + options + names + classic
    }
}

/// Where a member is on its way. The numbers are Kafka's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::group) enum MemberState {
    /// Has what its target says, as of its epoch.
    #[default]
    Stable = 1,
    /// Has to give up partitions, and to say so.
    UnrevokedPartitions = 2,
    /// Waits for partitions that others still have.
    UnreleasedPartitions = 3,
    /// Written by a newer version.
    Unknown = 127,
}

impl MemberState {
    pub(super) fn from_number(number: i8) -> Self {
        match number {
            1 => Self::Stable,
            2 => Self::UnrevokedPartitions,
            3 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}

/// What a member has, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Current {
    pub(in crate::group) epoch: i32,
    /// The epoch before, with which the member may still ask: an answer can get lost.
    pub(in crate::group) previous_epoch: i32,
    pub(in crate::group) state: MemberState,
    pub(in crate::group) assigned: Assignment,
    /// Still the member's, until it no longer reports them.
    pub(in crate::group) revoking: Assignment,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Member {
    pub(in crate::group) profile: Profile,
    pub(in crate::group) current: Current,
}

impl Member {
    pub(super) fn is_classic(&self) -> bool {
        self.profile.classic.is_some()
    }

    pub(super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == epoch
    }
}

/// When a member is out unless it acts; not stored, so a restart starts them again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deadlines {
    pub(super) session: Option<Instant>,
    /// To give up partitions, or it is out; holds for this epoch.
    pub(super) revocation: Option<(i32, Instant)>,
    /// For a classic member, to join again.
    pub(super) join: Option<Instant>,
    /// For a classic member, to ask for its assignment.
    pub(super) sync: Option<Instant>,
}

impl Deadlines {
    pub(super) fn next(&self) -> Option<Instant> {
        let revocation = self.revocation.map(|(_, at)| at);
        [self.session, revocation, self.join, self.sync].into_iter().flatten().min()
    }
}
