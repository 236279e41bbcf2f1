//! The broker's settings: one TOML file, environment overrides, defaults. Plain data.

mod load;
pub mod reference;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use load::{ConfigError, load};
pub use validate::host_and_port;

/// Everything an operator can set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Data folder: partitions, and what the cluster URL `file://<data>` serves.
    pub data: PathBuf,
    /// Id of this broker in Metadata.
    pub node_id: i32,
    /// When a record counts as stored.
    pub durability: Durability,
    /// Client records are refused when the data volume has less free space than this (bytes).
    pub reserve_bytes: u64,
    /// Metadata and produce requests make unknown topics.
    pub auto_create_topics: bool,
    /// Partitions of a topic whose creator does not say.
    pub default_partitions: i32,
    /// Principals that every ACL decision lets through, such as `User:admin`.
    pub super_users: Vec<String>,
    /// Clients with SASL have to authenticate again after this long (milliseconds); 0 is never.
    pub connections_max_reauth_ms: u64,
    /// How often every partition is looked at for retention and compaction (milliseconds).
    pub maintenance_interval_ms: u64,
    pub listeners: Vec<Listener>,
    pub oauthbearer: OauthBearer,
    pub http: Http,
    pub log: LogOutput,
    pub limits: Limits,
    pub groups: Groups,
    pub transactions: Transactions,
    /// Defaults of topic configs, under Kafka's names (`retention.ms`).
    pub topic_defaults: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Acknowledged means on stable storage.
    Fsync,
    /// Acknowledged means in the page cache, as Apache Kafka does by default.
    PageCache,
}

/// Kafka's names for what protects a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecurityProtocol {
    #[serde(rename = "SASL_SSL")]
    SaslSsl,
    #[serde(rename = "SSL")]
    Ssl,
    #[serde(rename = "SASL_PLAINTEXT")]
    SaslPlaintext,
    #[serde(rename = "PLAINTEXT")]
    Plaintext,
}

impl SecurityProtocol {
    pub fn tls(self) -> bool {
        matches!(self, Self::SaslSsl | Self::Ssl)
    }

    pub fn sasl(self) -> bool {
        matches!(self, Self::SaslSsl | Self::SaslPlaintext)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaslMechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    None,
    Optional,
    Required,
}

/// One address that clients connect to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    pub name: String,
    pub bind: SocketAddr,
    /// `host:port` that Metadata tells clients of this listener; the bound address when absent.
    pub advertised: Option<String>,
    pub protocol: SecurityProtocol,
    pub mechanisms: Vec<SaslMechanism>,
    pub client_certificates: ClientCertificates,
    /// PEM file with the authorities that sign client certificates. Never the cluster's own authority.
    pub client_ca_file: Option<PathBuf>,
    /// Rules that make a principal from a certificate's subject, in Kafka's `ssl.principal.mapping.rules` form.
    pub principal_mapping_rules: Vec<String>,
    /// Connections that this listener takes per second; 0 for no bound.
    pub connection_creation_rate: u32,
    /// PEM files of an own PKI; the broker's own certificate when absent.
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

/// Who issues the tokens that OAUTHBEARER takes, and what they have to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OauthBearer {
    /// The issuer's JSON Web Key Set: an `https://` URL, or a file.
    pub jwks: Option<String>,
    /// PEM file with the authorities that sign the certificate of the URL's host; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// What `iss` has to be.
    pub issuer: Option<String>,
    /// One of these has to be in `aud`.
    pub audiences: Vec<String>,
    /// All of these have to be in the scope claim.
    pub scopes: Vec<String>,
    pub principal_claim: String,
    pub scope_claim: String,
    /// How far the issuer's clock may be apart from ours (seconds).
    pub clock_skew_seconds: u64,
    /// How often the key set is read again (seconds).
    pub refresh_seconds: u64,
    /// How long keys serve that cannot be read again (seconds).
    pub keep_seconds: u64,
}

/// The listener for operations: metrics and health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    pub enabled: bool,
    pub bind: SocketAddr,
    /// Serve HTTPS with the broker's certificate. Required, with a token, beyond loopback.
    pub tls: bool,
    /// File with the bearer token that `/metrics` wants.
    pub token_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogOutput {
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,lockgate::group=debug`.
    pub level: String,
}

/// Bounds that an operator may move. The fixed ones are in [`crate::limits`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub connections: usize,
    pub connections_per_address: usize,
    /// Connections that all listeners take per second (Kafka's `max.connection.creation.rate`); 0 for no bound.
    pub connection_creation_rate: u32,
    /// Largest request after authentication (bytes).
    pub request_bytes: usize,
    /// Requests held in memory at once, over all connections (bytes).
    pub in_flight_bytes: usize,
    /// A connection without a request for this long is closed (seconds).
    pub idle_seconds: u64,
    /// Time for a graceful stop (seconds).
    pub stop_seconds: u64,
}

/// Consumer groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Groups {
    /// The first members of an empty group wait this long for others (milliseconds).
    pub initial_rebalance_delay_ms: u64,
    /// Members of one classic group.
    pub max_size: usize,
    /// Session timeouts that members may ask for (milliseconds).
    pub min_session_timeout_ms: u64,
    pub max_session_timeout_ms: u64,
    /// Offsets of a group without members are forgotten after this long (minutes).
    pub offsets_retention_minutes: u64,
    /// How often it is looked for such offsets (milliseconds).
    pub offsets_retention_check_interval_ms: u64,
    /// A member of a consumer group is out after this long without a heartbeat (milliseconds).
    pub consumer_session_timeout_ms: u64,
    /// How often members of consumer groups are told to send heartbeats (milliseconds).
    pub consumer_heartbeat_interval_ms: u64,
    /// Members of one consumer group.
    pub consumer_max_size: usize,
    /// Server-side assignors, the default one first.
    pub consumer_assignors: Vec<String>,
    pub consumer_migration_policy: MigrationPolicy,
    /// Subscriptions by regular expression are resolved again at least this often (milliseconds).
    pub consumer_regex_refresh_interval_ms: u64,
}

/// Transactions of producers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transactions {
    /// Longest timeout that a producer may ask for (milliseconds).
    pub max_timeout_ms: i32,
    /// A transactional id that nobody used for so long is forgotten (milliseconds).
    pub id_expiration_ms: i64,
}

impl Default for Transactions {
    /// Apache Kafka's defaults.
    fn default() -> Self {
        Self { max_timeout_ms: 900_000, id_expiration_ms: 604_800_000 }
    }
}

/// Which way groups may change between the classic and the consumer protocol while they have members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MigrationPolicy {
    Bidirectional,
    Upgrade,
    Downgrade,
    Disabled,
}

impl Default for Groups {
    /// Apache Kafka's defaults.
    fn default() -> Self {
        Self {
            initial_rebalance_delay_ms: 3_000,
            max_size: 10_000,
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            offsets_retention_minutes: 10_080,
            offsets_retention_check_interval_ms: 600_000,
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
            consumer_max_size: 10_000,
            consumer_assignors: vec!["uniform".to_owned(), "range".to_owned()],
            consumer_migration_policy: MigrationPolicy::Bidirectional,
            consumer_regex_refresh_interval_ms: 600_000,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("/var/lib/lockgate"),
            node_id: 1,
            durability: Durability::Fsync,
            reserve_bytes: 256 << 20,
            auto_create_topics: false,
            default_partitions: 1,
            super_users: vec!["User:admin".to_owned(), "User:terraform".to_owned()],
            connections_max_reauth_ms: 0,
            maintenance_interval_ms: 15_000,
            listeners: vec![Listener::default()],
            oauthbearer: OauthBearer::default(),
            http: Http::default(),
            log: LogOutput::default(),
            limits: Limits::default(),
            groups: Groups::default(),
            transactions: Transactions::default(),
            topic_defaults: Default::default(),
        }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            name: "clients".to_owned(),
            bind: SocketAddr::from(([127, 0, 0, 1], 9093)),
            advertised: None,
            protocol: SecurityProtocol::SaslSsl,
            mechanisms: vec![SaslMechanism::ScramSha512, SaslMechanism::ScramSha256, SaslMechanism::Plain],
            client_certificates: ClientCertificates::None,
            client_ca_file: None,
            principal_mapping_rules: Vec::new(),
            connection_creation_rate: 0,
            certificate_file: None,
            key_file: None,
        }
    }
}

impl Listener {
    /// Without TLS, PLAIN shows passwords to the network: there it has to be named.
    fn default_mechanisms(&mut self, unnamed: bool) {
        if unnamed && !self.protocol.tls() {
            self.mechanisms.retain(|mechanism| *mechanism != SaslMechanism::Plain);
        }
    }
}

impl Default for OauthBearer {
    fn default() -> Self {
        Self {
            jwks: None,
            ca_file: None,
            issuer: None,
            audiences: Vec::new(),
            scopes: Vec::new(),
            principal_claim: "sub".to_owned(),
            scope_claim: "scope".to_owned(),
            clock_skew_seconds: 30,
            refresh_seconds: 3600,
            keep_seconds: 86_400,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { enabled: true, bind: SocketAddr::from(([127, 0, 0, 1], 9644)), tls: false, token_file: None }
    }
}

impl Default for LogOutput {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 10_000,
            connection_creation_rate: 0,
            request_bytes: 100 << 20,
            in_flight_bytes: 512 << 20,
            idle_seconds: 600,
            stop_seconds: 30,
        }
    }
}

#[cfg(test)]
mod tests;
