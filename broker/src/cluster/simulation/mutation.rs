//! Ways to break the rules, to see that the checker notices.

use super::super::{Message, Timing};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    /// Shards are opened whatever their epoch is.
    NoExpectedEpoch,
    /// Leases that a controller grants outlive the failover time.
    LongLease,
    /// A new owner acknowledges at once, whatever the one before may have proven.
    NoSettling,
    /// Proofs count from when they ended.
    ProofDatedLate,
    /// Answers do not say how old the controller's proof is.
    ProofUndated,
    /// A process that was paused takes the others for silent.
    PausesCount,
    /// Leases go by the steady clock alone.
    WallClockIgnored,
    /// A failed write is acknowledged.
    FailureAcknowledged,
    /// What peers say about the controller is not listened to.
    PeersIgnored,
    /// Whoever lags in the catalog has a lease like everybody.
    LaggardsTrusted,
}

impl Mutation {
    pub(super) const ALL: [Self; 10] = [
        Self::NoExpectedEpoch,
        Self::LongLease,
        Self::NoSettling,
        Self::ProofDatedLate,
        Self::ProofUndated,
        Self::PausesCount,
        Self::WallClockIgnored,
        Self::FailureAcknowledged,
        Self::PeersIgnored,
        Self::LaggardsTrusted,
    ];

    pub(super) fn change(self, timing: &mut Timing) {
        match self {
            Self::LongLease => timing.granted_lease_ms = 20_000,
            Self::NoSettling => timing.settle_ms = 0,
            Self::PausesCount => timing.longest_gap_ms = u64::MAX,
            _ => {}
        }
    }

    pub(super) fn distort(self, message: &mut Message) {
        match (self, message) {
            (Self::ProofUndated, Message::Answer(answer)) => answer.proof_offset_ms = 0,
            (Self::LaggardsTrusted, Message::Answer(answer)) => answer.catalog_offset_ms = 0,
            (Self::PeersIgnored, Message::Heard { heard, .. }) => *heard = false,
            _ => {}
        }
    }
}
