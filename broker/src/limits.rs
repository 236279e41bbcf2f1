//! Every bound that is not a setting, each with its reason. Those that an operator may move are in
//! [`crate::config::Limits`].

/// Largest request before a connection is authenticated (bytes). ApiVersions and SASL exchanges are a few hundred
/// bytes; anyone who reaches the port may make the broker hold this much.
pub const FRAME_BEFORE_AUTHENTICATION: usize = 64 << 10;

/// Array elements and tagged fields in one request. An element takes up to some hundred bytes once decoded but may be
/// two on the wire, so the size of the request alone bounds memory badly. Kafka's guidance ends at 200,000 partitions
/// for a whole cluster; a request names each at most once.
pub const REQUEST_ELEMENTS: usize = 250_000;
