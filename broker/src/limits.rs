//! Every bound that is not a setting, each with its reason. Those that an operator may move are in
//! [`crate::config::Limits`].

use std::time::Duration;

/// Largest request before a connection is authenticated (bytes). ApiVersions and SASL exchanges are a few hundred
/// bytes; anyone who reaches the port may make the broker hold this much.
pub const FRAME_BEFORE_AUTHENTICATION: usize = 64 << 10;

/// Array elements and tagged fields in one request. An element takes up to some hundred bytes once decoded but may be
/// two on the wire, so the size of the request alone bounds memory badly. Kafka's guidance ends at 200,000 partitions
/// for a whole cluster; a request names each at most once.
pub const REQUEST_ELEMENTS: usize = 250_000;

/// Partitions opened or made at the same time while one request or the start waits for them.
pub const PARTITIONS_OPENED_AT_ONCE: usize = 64;

/// Partitions in one fetch session.
pub const PARTITIONS_PER_FETCH: usize = 100_000;

/// Partitions in one answer to DescribeTopicPartitions; the client asks again for the rest (Kafka's
/// `max.request.partition.size.limit`).
pub const PARTITIONS_PER_PAGE: i32 = 2_000;

/// Fetch sessions kept (Kafka's `max.incremental.fetch.session.cache.slots`).
pub const FETCH_SESSIONS: usize = 1_000;

/// Memory of all fetch sessions (bytes): a thousand consumers of a thousand partitions each, and more than any broker
/// of the size that Kafka's guidance allows has.
pub const FETCH_SESSION_BYTES: usize = 128 << 20;

/// Bytes of records in one fetch response, whatever the client asks for: they are held open until sent.
pub const FETCH_BYTES: usize = 128 << 20;

/// Longest a fetch may wait for records (milliseconds). Clients give half a second to a few seconds.
pub const FETCH_WAIT_MS: i32 = 300_000;

/// Longest a produce request may wait for durability (milliseconds). Clients give 30 s.
pub const PRODUCE_TIMEOUT_MS: i32 = 300_000;

/// Refused records that the answer to one produce request names. Clients put at most some thousand records into a batch;
/// one of a few bytes, well compressed, may hold millions, and a client takes those that are not named for good ones that
/// it may send again.
pub const RECORD_ERRORS: usize = 10_000;

/// Produce requests of one connection that may wait for durability at the same time; clients send five.
pub const PIPELINED_REQUESTS: usize = 64;

/// Time for a TLS handshake, and from then on for authentication (seconds).
pub const AUTHENTICATION_SECONDS: u64 = 15;

/// Time for a client whose TLS handshake failed to read why and to close (seconds).
pub const PARTING_SECONDS: u64 = 1;

/// Time for the rest of a request whose first bytes have come (seconds), and for a client to take an answer.
pub const TRANSFER_SECONDS: u64 = 60;

/// Time for a request to get going (seconds); what has come buys more at [`TRANSFER_BYTES_PER_SECOND`], up to
/// [`TRANSFER_SECONDS`].
pub const TRANSFER_START_SECONDS: u64 = 10;

/// Slowest transfer of a request (bytes per second): memory is not held for a trickle.
pub const TRANSFER_BYTES_PER_SECOND: u64 = 32 << 10;

/// First size of a connection's receive buffer (bytes); most requests fit, and thousands of connections may be idle.
pub const RECEIVE_BUFFER_SMALL: usize = 4 << 10;

/// Size that a busy connection's receive buffer grows by (bytes): large pieces, few system calls.
pub const RECEIVE_BUFFER_LARGE: usize = 1 << 20;

/// Bytes of plaintext read from a file at once for a TLS connection.
pub const TLS_CHUNK: usize = 256 << 10;

/// Largest value of the setting `limits.request_bytes`: a frame's length is an `i32` on the wire (bytes).
pub const REQUEST_BYTES_CEILING: usize = 1 << 30;

/// Partitions of one topic. Each costs open files and memory; Kafka's guidance for a whole broker is 4,000.
pub const PARTITIONS_PER_TOPIC: i32 = 10_000;

/// Partitions of the broker, internal ones included. Each costs memory and one open file at least; Kafka's guidance is
/// 4,000 for a broker and 200,000 for a cluster.
pub const PARTITIONS_PER_BROKER: i64 = 200_000;

/// Files that a partition has open: its active segment, and some of its closed ones while they are read.
pub const FILES_PER_PARTITION: u64 = 2;

/// Largest compressed batch that an async worker checks itself (bytes): well under a millisecond for honest data, and a
/// dishonest one ends at the bound on what a batch may decompress to.
pub const DECOMPRESSED_ON_WORKER: usize = 32 << 10;

/// Longest host name in DNS (characters).
pub const HOST_NAME: usize = 253;

/// Longest config value (bytes). The catalog is held in memory; only lists of throttled replicas get long at all.
pub const CONFIG_VALUE: usize = 32 << 10;

/// Conversations on the operations listener at once. Monitoring needs a handful.
pub const HTTP_CONNECTIONS: usize = 64;

/// Time for a request's headers, or a TLS handshake, on the operations listener (seconds).
pub const HTTP_HEADER_SECONDS: u64 = 10;

/// Time for a whole conversation on the operations listener (seconds): longer than the usual scrape interval, so that
/// a connection can be kept for the next one.
pub const HTTP_CONNECTION_SECONDS: u64 = 120;

/// Bytes of a request's head on the operations listener. A token and what proxies add fit; hyper wants 8 KiB at least.
pub const HTTP_HEADER_BYTES: usize = 16 << 10;

/// Headers of a request on the operations listener.
pub const HTTP_HEADERS: usize = 64;

/// Pause after accepting a connection failed, as it does when file descriptors run out.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Largest response that is made in memory (bytes). The metadata of 100,000 partitions takes about 10 MiB.
pub const RESPONSE_BYTES: usize = 256 << 20;

/// Longest that one request makes its connection wait for a quota (milliseconds): Kafka's ten whole windows of a second,
/// and well below the 30 s after which clients give up.
pub const THROTTLE_MS: i32 = 10_000;

/// The same for processor time, as Kafka bounds it: one window (milliseconds).
pub const REQUEST_THROTTLE_MS: i32 = 1_000;

/// Deepest debt with a quota, in seconds of its rate: one enormous request does not lock a user out for hours.
pub const QUOTA_DEBT_SECONDS: f64 = 60.0;

/// Users, client ids and addresses whose use is counted against a quota at once (about 40 bytes each).
pub const QUOTA_BUCKETS: usize = 100_000;

/// Entities that may have quotas. They are all in memory, and as many as there may be users.
pub const QUOTA_ENTITIES: usize = 200_000;

/// Longest name in a quota's entity (bytes), as SASL bounds user names.
pub const QUOTA_NAME: usize = 1_024;

/// Longest JSON Web Key Set (bytes). Those of large public issuers are below 20 KiB.
pub const JWKS_BYTES: usize = 256 << 10;

/// Keys in one set; a token that names no key is tried with each that fits. Issuers publish two to ten.
pub const JWKS_KEYS: usize = 100;

/// Time to fetch a key set (seconds). A client may wait for it, and has [`AUTHENTICATION_SECONDS`] in all.
pub const JWKS_SECONDS: u64 = 5;

/// A key that is not known makes us ask the issuer at most this often (milliseconds), since strangers can name any.
pub const JWKS_PAUSE_MS: u64 = 5_000;

/// After a key set could not be read, the next attempt is this much later.
pub const JWKS_RETRY: Duration = Duration::from_secs(10);

/// A file with keys is read this often: it is small, and who takes a key out of it wants it gone.
pub const JWKS_FILE_INTERVAL: Duration = Duration::from_secs(5);

/// Largest allowance for the issuer's clock (seconds): tokens live for minutes to an hour.
pub const CLOCK_SKEW_SECONDS: u64 = 300;

/// Longest session that ends at all (ten years): what a token may claim beyond that would overflow timers.
pub const SESSION: Duration = Duration::from_secs(3650 * 86_400);

/// A connection may begin to authenticate again at most this often, as in Kafka: it costs hashing.
pub const REAUTHENTICATION_INTERVAL: Duration = Duration::from_secs(1);
