//! How long things last in a cluster, and which of them must be shorter than which others.

use thiserror::Error;

/// Durations in milliseconds. [`Timing::default`] is what the figures in the tests are measured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats.
    pub heartbeat_ms: u64,
    /// Silence after which a broker, or the controller, counts as gone.
    pub failover_ms: u64,
    /// Of what a controller's answer grants, counted from the controller's own proof, or from the heartbeat when that
    /// is older.
    pub granted_lease_ms: u64,
    /// Of what an owner proves by itself at the bucket, counted from when the request began.
    pub proven_lease_ms: u64,
    /// What a new owner waits after opening before it acknowledges anything, unless the owner before said that it has
    /// stopped. The one before may have proven its ownership just before it lost it.
    pub settle_ms: u64,
    /// Between two proofs, where proofs are needed.
    pub proof_interval_ms: u64,
    /// How long peers have for saying whether they hear the controller.
    pub ask_ms: u64,
    /// A longer gap between two events means that the process did not run.
    pub longest_gap_ms: u64,
    /// Between two looks at the controller objects while no controller is heard.
    pub list_interval_ms: u64,
    /// A catalog change is answered after this, whoever has applied it.
    pub catalog_bound_ms: u64,
    /// A shard with a write that waits longer to be durable is moved.
    pub undurable_limit_ms: u64,
    /// An order to open that was neither followed nor refused is given to another broker.
    pub order_timeout_ms: u64,
    /// How long a broker has to be registered before shards are moved to it.
    pub join_delay_ms: u64,
    /// A shard is not moved again for balance or for a stalled store within this.
    pub move_pause_ms: u64,
    /// How far a clock may be from another, or jump (ms).
    pub max_skew_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_ms: 500,
            failover_ms: 6_000,
            granted_lease_ms: 4_500,
            proven_lease_ms: 1_400,
            settle_ms: 1_500,
            proof_interval_ms: 400,
            ask_ms: 600,
            longest_gap_ms: 500,
            list_interval_ms: 1_000,
            catalog_bound_ms: 5_000,
            undurable_limit_ms: 10_000,
            order_timeout_ms: 20_000,
            join_delay_ms: 3_000,
            move_pause_ms: 30_000,
            max_skew_ms: 60_000,
        }
    }
}

/// Durations that would let a broker serve what it no longer owns.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UnsafeTiming {
    #[error("a granted lease must be over before the failover time and before a catalog change is answered unseen")]
    GrantedLease,
    #[error("a proven lease must be over before a new owner has settled")]
    ProvenLease,
    #[error("gaps that count in full must be shorter than the failover time by far (a quarter)")]
    Gap,
}

impl Timing {
    /// Errors when the durations do not fit together.
    pub fn check(&self) -> Result<(), UnsafeTiming> {
        if self.granted_lease_ms >= self.failover_ms || self.granted_lease_ms >= self.catalog_bound_ms {
            return Err(UnsafeTiming::GrantedLease);
        }
        if self.proven_lease_ms >= self.settle_ms {
            return Err(UnsafeTiming::ProvenLease);
        }
        match self.longest_gap_ms.saturating_mul(4) < self.failover_ms {
            true => Ok(()),
            false => Err(UnsafeTiming::Gap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_unsafe_is_refused() {
        let good = Timing::default();
        assert_eq!(good.check(), Ok(()));
        let long = Timing { granted_lease_ms: 6_000, ..good.clone() };
        assert_eq!(long.check(), Err(UnsafeTiming::GrantedLease));
        assert_eq!(Timing { settle_ms: 1_400, ..good.clone() }.check(), Err(UnsafeTiming::ProvenLease));
        assert_eq!(Timing { longest_gap_ms: u64::MAX, ..good }.check(), Err(UnsafeTiming::Gap));
    }
}
