//! Every bound that is not a setting, each with its reason. Those that an operator may move are in
//! [`crate::config::Limits`].

/// Largest request before a connection is authenticated (bytes). ApiVersions and SASL exchanges are a few hundred
/// bytes; anyone who reaches the port may make the broker hold this much.
pub const FRAME_BEFORE_AUTHENTICATION: usize = 64 << 10;

/// Array elements and tagged fields in one request. An element takes up to some hundred bytes once decoded but may be
/// two on the wire, so the size of the request alone bounds memory badly. Kafka's guidance ends at 200,000 partitions
/// for a whole cluster; a request names each at most once.
pub const REQUEST_ELEMENTS: usize = 250_000;

/// Largest value of the setting `limits.request_bytes`: a frame's length is an `i32` on the wire (bytes).
pub const REQUEST_BYTES_CEILING: usize = 1 << 30;

/// Partitions of one topic. Each costs open files and memory; Kafka's guidance for a whole broker is 4,000.
pub const PARTITIONS_PER_TOPIC: i32 = 10_000;

/// Longest host name in DNS (characters).
pub const HOST_NAME: usize = 253;
