//! The consumer-group coordinator: who is in which group, who reads what, and how far they have read.
//!
//! A group is a state machine behind one short lock: a classic one ([`state`], [`rebalance`], [`session`]), in which the
//! members share out, or a consumer group ([`consumer`]), in which the coordinator does; both with [`offsets`]. Its records
//! go to a partition of `__consumer_offsets` while the lock is held, so the log's order is the order of decisions;
//! they take effect and are answered when they are durable. When a partition's handle fails, its groups are given up
//! (clients find the coordinator again) and loaded from the log.

mod consumer;
mod coordinator;
pub mod limits;
mod log;
mod member;
mod memory;
mod offsets;
mod queries;
mod rebalance;
mod records;
mod run;
mod series;
mod session;
mod shard;
mod state;
#[cfg(test)]
mod tests;
mod timers;
mod transactional;

use std::time::Duration;

pub use consumer::{
    Assignor, Beaten, ConsumerDescription, ConsumerMemberDescription, Heartbeat, NamedPartitions, Refused,
};
pub use coordinator::Coordinator;
pub use log::{OFFSETS, OFFSETS_TOPIC};
pub use member::{
    Identity, Join, JoinRefused, JoinResult, Joined, JoinedMember, Protocol, Sync, SyncResult, Synced, milliseconds,
};
pub use offsets::{Offsets, TopicPartition};
pub use queries::{Counts, Description, Kind, Listed, MemberDescription};
#[cfg(fuzzing)]
pub use records::fuzz as fuzz_records;
pub use records::{OffsetValue, partition_of};
pub use series::{CommittedOffset, GroupSeries};
pub use state::State;
pub use transactional::TransactionalCommit;

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
    /// `group.max.size`: members of one classic group.
    pub max_size: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub retention_check: Duration,
    pub consumer: ConsumerSettings,
}

/// Settings of groups with the consumer protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerSettings {
    /// `group.consumer.session.timeout.ms`
    pub session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `group.consumer.max.size`
    pub max_size: usize,
    /// `group.consumer.assignors`; the first one serves groups that do not ask for another.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.migration.policy`
    pub migration: Migration,
    /// `group.consumer.regex.refresh.interval.ms`
    pub regex_refresh: Duration,
}

/// Which way groups may change their protocol while they have members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Migration {
    #[default]
    Bidirectional,
    Upgrade,
    Downgrade,
    Disabled,
}

impl Migration {
    fn upgrades(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Upgrade)
    }

    fn downgrades(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Downgrade)
    }
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            max_size: limits::DEFAULT_MAX_SIZE,
            assignors: Assignor::ALL.to_vec(),
            migration: Migration::default(),
            regex_refresh: Duration::from_secs(600),
        }
    }
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
            consumer: ConsumerSettings::default(),
        }
    }
}
