//! The transaction coordinator: which producer owns a transactional id, what its transaction has written to, and how it
//! ended.
//!
//! A transactional id is a state machine ([`state`]) behind a lock of its own. Its records go to a partition of
//! `__transaction_state`; a state takes effect, and is answered, when its record is durable. Once an end is decided the
//! markers are written to every partition of the transaction ([`complete`]), again after a crash if need be, and only then
//! is it complete. When a partition's handle fails, its transactional ids are given up and loaded from the log.

mod complete;
mod coordinator;
pub mod limits;
mod queries;
mod records;
mod run;
mod shard;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use complete::MarkerWriter;
pub use coordinator::{Coordinator, NewIds};
#[cfg(fuzzing)]
pub use records::fuzz as fuzz_records;
pub use state::{EPOCH_PER_TRANSACTION, Partitions, Producer, Status, Transaction};

use crate::state_topic::StateTopic;

/// The topic's name is as everywhere in the Kafka world.
pub const STATE_TOPIC: StateTopic =
    StateTopic { name: "__transaction_state", max_batch_bytes: limits::MAX_BATCH_BYTES };
/// Kafka's `transaction.state.log.num.partitions`.
pub const DEFAULT_PARTITIONS: i32 = 50;

/// The coordinator's settings, each with the name and default of Kafka's.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `transaction.max.timeout.ms`: the longest timeout that a client may ask for.
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`
    pub expiration_ms: i64,
    /// How often open transactions are looked at for their timeout
    /// (`transaction.abort.timed.out.transaction.cleanup.interval.ms`, shorter here).
    pub timeout_check: Duration,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiration_check: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_timeout_ms: 900_000,
            expiration_ms: 7 * 24 * 3_600 * 1_000,
            timeout_check: Duration::from_secs(1),
            expiration_check: Duration::from_secs(3_600),
        }
    }
}
