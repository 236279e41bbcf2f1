//! Bounds of the transaction coordinator.

/// Bytes of a transactional id or of a topic's name (Kafka's topic names have at most 249).
pub const MAX_NAME_BYTES: usize = 1 << 10;
/// Partitions of one transaction: its record, with names of full length, still fits into a batch.
pub const MAX_PARTITIONS: usize = 10_000;
/// Transactional ids of this broker, some 300 bytes each without an open transaction.
pub const MAX_TRANSACTIONAL_IDS: usize = 200_000;
/// One record with [`MAX_PARTITIONS`] partitions.
pub const MAX_BATCH_BYTES: usize = 16 << 20;
