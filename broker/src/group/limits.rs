//! Every bound of the group coordinator, with its reason.

/// Groups in memory. Clients name groups freely, so the map needs an end.
pub const MAX_GROUPS: usize = 200_000;
/// Length of a group id, instance id, protocol type or protocol name (bytes). Records and older responses carry these
/// with a 16-bit length, and a member id is an instance or client id with a UUID behind it.
pub const MAX_NAME_BYTES: usize = 1_000;
/// Protocols (assignors) that one member offers; real clients send one to five.
pub const MAX_PROTOCOLS: usize = 64;
/// Names, subscriptions and assignments of all members of a group, which one record has to hold (bytes).
pub const MAX_GROUP_BYTES: usize = 8 << 20;
/// `max.message.bytes` of the offsets topic: one record of [`MAX_GROUP_BYTES`] and what frames it.
pub const MAX_BATCH_BYTES: usize = 10 << 20;
/// Records of one batch when many are written at once (bytes, before framing).
pub const BATCH_BYTES: usize = 512 << 10;
/// Partitions with a committed offset in one group.
pub const MAX_OFFSETS_PER_GROUP: usize = 500_000;
/// Committed offsets of one group with their metadata (bytes): the largest group with a short note on each partition.
pub const MAX_OFFSET_BYTES_PER_GROUP: usize = 128 << 20;
/// What an offset takes in memory besides its metadata, about (bytes).
pub const OFFSET_BYTES: usize = 128;
/// What a member takes in memory besides its names, subscriptions and assignment, about (bytes).
pub const MEMBER_BYTES: usize = 512;
/// Members and offsets of all groups (bytes): a hundred thousand members with 4 KiB each and some million offsets. More
/// is refused, so that clients cannot take the memory that all others need.
pub const MAX_BYTES: usize = 1 << 30;
/// Series of single groups in the metrics: about 2 MiB of text, which a scrape takes in its stride.
pub const MAX_GROUP_SERIES: usize = 20_000;
/// `offset.metadata.max.bytes`, Kafka's default.
pub const MAX_OFFSET_METADATA_BYTES: usize = 4_096;
/// Length of a subscription by regular expression (bytes): thousands of topic names, and still quick to compile.
pub const MAX_REGEX_BYTES: usize = 32 << 10;
/// A compiled regular expression in memory (bytes); repetitions can make a short one large.
pub const MAX_REGEX_PROGRAM_BYTES: usize = 1 << 20;
/// Changed topics make a group resolve its expressions again no more often than this (milliseconds), as in Kafka.
pub const REGEX_REFRESH_PAUSE_MS: i64 = 10_000;
/// Letters of an unknown assignor's name that an error repeats.
pub const MAX_ASSIGNOR_LETTERS: usize = 100;
/// Members whose time is up and that the log did not let go are tried again after this.
pub const FENCE_RETRY: std::time::Duration = std::time::Duration::from_secs(1);
/// Members of one group: Kafka's `group.max.size`, which has no bound by default.
pub const DEFAULT_MAX_SIZE: usize = 10_000;
