//! Typed settings of one partition, made from a topic's configs.

/// Who stamps records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// What happens to old records. Both may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleanup {
    pub delete: bool,
    pub compact: bool,
}

/// `compression.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Batches are kept as the producer made them.
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Every setting that the log looks at. Times in milliseconds, sizes in bytes; -1 means without limit.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    pub cleanup: Cleanup,
    pub compression: Compression,
    /// On the scale of its codec; `None` is the codec's default.
    pub compression_level: Option<i32>,
    pub delete_retention_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: usize,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub segment_bytes: u64,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub timestamp_before_max_ms: i64,
    pub timestamp_type: TimestampType,
    /// The broker's own topic: clients may not append, and it may use the free-space reserve.
    pub internal: bool,
}

impl Default for LogConfig {
    /// Apache Kafka's defaults.
    fn default() -> Self {
        Self {
            cleanup: Cleanup { delete: true, compact: false },
            compression: Compression::Producer,
            compression_level: None,
            delete_retention_ms: 86_400_000,
            max_compaction_lag_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            retention_bytes: -1,
            retention_ms: 604_800_000,
            segment_bytes: 1 << 30,
            segment_jitter_ms: 0,
            segment_ms: 604_800_000,
            timestamp_after_max_ms: 3_600_000,
            timestamp_before_max_ms: i64::MAX,
            timestamp_type: TimestampType::CreateTime,
            internal: false,
        }
    }
}
