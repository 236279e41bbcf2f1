//! The consumer-group coordinator: who is in which group, who reads what, and how far they have read.
//!
//! A group is a state machine ([`state`], [`rebalance`], [`session`], [`offsets`]) behind one short lock. Its records
//! go to a partition of `__consumer_offsets` while the lock is held, so the log's order is the order of decisions;
//! they take effect and are answered when they are durable. When a partition's handle fails, its groups are given up
//! (clients find the coordinator again) and loaded from the log.

mod coordinator;
pub mod limits;
mod log;
mod member;
mod offsets;
mod queries;
mod rebalance;
mod records;
mod run;
mod session;
mod shard;
mod state;
#[cfg(test)]
mod tests;
mod timers;

use std::time::Duration;

pub use coordinator::Coordinator;
pub use log::{OFFSETS_TOPIC, OffsetsLog, TopicLog, WhenDurable, ensure_offsets_topic, offsets_config};
pub use member::{
    Identity, Join, JoinRefused, JoinResult, Joined, JoinedMember, Protocol, Sync, SyncResult, Synced, milliseconds,
};
pub use offsets::{Offsets, TopicPartition};
pub use queries::{Counts, Description, Listed, MemberDescription};
#[cfg(fuzzing)]
pub use records::fuzz as fuzz_records;
pub use records::{OffsetValue, partition_of};
pub use state::State;

/// The protocol type of consumers, whose metadata the coordinator can read.
pub const CONSUMER: &str = "consumer";
/// Kafka's `offsets.topic.num.partitions`.
pub const DEFAULT_PARTITIONS: i32 = 50;

/// The coordinator's settings, each with the name and default of Kafka's.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `group.initial.rebalance.delay.ms`: the first members of an empty group wait this long for others.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout: Duration,
    /// `group.max.size`: members of one group.
    pub max_size: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub retention_check: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_secs(3),
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(1_800),
            max_size: limits::DEFAULT_MAX_SIZE,
            offsets_retention_ms: 7 * 24 * 3_600 * 1_000,
            retention_check: Duration::from_secs(600),
        }
    }
}
