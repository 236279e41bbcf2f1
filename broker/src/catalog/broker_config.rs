//! Broker configs under Kafka's names: what the settings file fixed, for tools that look. The configs that can change
//! while the broker runs are the defaults of topics; see [`super::topic_config`].

use super::topic_config::ConfigType;
use crate::config::{Config, Listener, SaslMechanism, SecurityProtocol};

/// A config that only the settings file can change.
#[derive(Clone, Debug)]
pub struct FixedConfig {
    pub name: &'static str,
    pub kind: ConfigType,
    pub value: String,
    /// The value without a settings file.
    pub default: String,
    pub doc: &'static str,
}

type Read = fn(&Config) -> String;

/// Name, type, how to read it from the settings, documentation.
const FIXED: &[(&str, ConfigType, Read, &str)] = &[
    (
        "advertised.listeners",
        ConfigType::List,
        |config| listeners(config, |listener| listener.advertised.clone().unwrap_or_else(|| listener.bind.to_string())),
        "What clients of each listener are told to connect to (setting `listeners.advertised`).",
    ),
    (
        "auto.create.topics.enable",
        ConfigType::Boolean,
        |config| config.auto_create_topics.to_string(),
        "Whether metadata and produce requests make unknown topics (setting `auto_create_topics`).",
    ),
    (
        "connections.max.idle.ms",
        ConfigType::Long,
        |config| config.limits.idle_seconds.saturating_mul(1000).to_string(),
        "A connection without a request for this long is closed (setting `limits.idle_seconds`).",
    ),
    (
        "connections.max.reauth.ms",
        ConfigType::Long,
        |config| config.connections_max_reauth_ms.to_string(),
        "Clients with SASL have to authenticate again after this long (setting `connections_max_reauth_ms`).",
    ),
    (
        "default.replication.factor",
        ConfigType::Int,
        |_| "1".to_owned(),
        "Replication factor of a topic whose creator does not say.",
    ),
    ("delete.topic.enable", ConfigType::Boolean, |_| "true".to_owned(), "Topics can be deleted."),
    (
        "listener.security.protocol.map",
        ConfigType::String,
        |config| joined(config.listeners.iter().map(|one| format!("{}:{}", one.name, protocol(one.protocol)))),
        "What protects each listener (setting `listeners.protocol`).",
    ),
    (
        "listeners",
        ConfigType::List,
        |config| listeners(config, |listener| listener.bind.to_string()),
        "Addresses that the broker listens on (setting `listeners.bind`).",
    ),
    (
        "log.cleaner.backoff.ms",
        ConfigType::Long,
        |config| config.maintenance_interval_ms.to_string(),
        "How often partitions are looked at for compaction (setting `maintenance_interval_ms`).",
    ),
    ("log.dirs", ConfigType::String, |config| config.data.display().to_string(), "Data folder (setting `data`)."),
    (
        "log.retention.check.interval.ms",
        ConfigType::Long,
        |config| config.maintenance_interval_ms.to_string(),
        "How often partitions are looked at for retention (setting `maintenance_interval_ms`).",
    ),
    (
        "max.connections",
        ConfigType::Int,
        |config| config.limits.connections.to_string(),
        "Connections in total (setting `limits.connections`).",
    ),
    (
        "max.connections.per.ip",
        ConfigType::Int,
        |config| config.limits.connections_per_address.to_string(),
        "Connections from one address (setting `limits.connections_per_address`).",
    ),
    ("node.id", ConfigType::Int, |config| config.node_id.to_string(), "Id of this broker (setting `node_id`)."),
    (
        "num.partitions",
        ConfigType::Int,
        |config| config.default_partitions.to_string(),
        "Partitions of a topic whose creator does not say (setting `default_partitions`).",
    ),
    (
        "queued.max.request.bytes",
        ConfigType::Long,
        |config| config.limits.in_flight_bytes.to_string(),
        "Requests held in memory at once (setting `limits.in_flight_bytes`).",
    ),
    (
        "sasl.enabled.mechanisms",
        ConfigType::List,
        mechanisms,
        "SASL mechanisms of all listeners (setting `listeners.mechanisms`).",
    ),
    (
        "socket.request.max.bytes",
        ConfigType::Int,
        |config| config.limits.request_bytes.to_string(),
        "Largest request after authentication (setting `limits.request_bytes`).",
    ),
    (
        "super.users",
        ConfigType::String,
        |config| config.super_users.join(";"),
        "Principals that need no ACL (setting `super_users`).",
    ),
];

/// Every fixed config of a broker with these settings, by name.
pub fn fixed(config: &Config) -> impl Iterator<Item = FixedConfig> {
    let defaults = Config::default();
    FIXED.iter().map(move |(name, kind, read, doc)| FixedConfig {
        name,
        kind: *kind,
        value: read(config),
        default: read(&defaults),
        doc,
    })
}

/// Whether a broker config exists that only the settings file can change.
pub fn is_fixed(name: &str) -> bool {
    FIXED.iter().any(|(known, ..)| *known == name)
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

fn listeners(config: &Config, address: fn(&Listener) -> String) -> String {
    joined(config.listeners.iter().map(|listener| format!("{}://{}", listener.name, address(listener))))
}

fn protocol(protocol: SecurityProtocol) -> &'static str {
    match protocol {
        SecurityProtocol::SaslSsl => "SASL_SSL",
        SecurityProtocol::Ssl => "SSL",
        SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
        SecurityProtocol::Plaintext => "PLAINTEXT",
    }
}

fn mechanisms(config: &Config) -> String {
    let offered = |mechanism: SaslMechanism| {
        config.listeners.iter().any(|listener| listener.protocol.sasl() && listener.mechanisms.contains(&mechanism))
    };
    let all = [
        (SaslMechanism::ScramSha512, "SCRAM-SHA-512"),
        (SaslMechanism::ScramSha256, "SCRAM-SHA-256"),
        (SaslMechanism::Plain, "PLAIN"),
        (SaslMechanism::OauthBearer, "OAUTHBEARER"),
    ];
    joined(all.into_iter().filter(|(mechanism, _)| offered(*mechanism)).map(|(_, name)| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_show_under_kafkas_names() {
        let mut config = Config { node_id: 7, ..Config::default() };
        config.listeners[0].advertised = Some("broker.example.com:9093".to_owned());
        let find = |name: &str| fixed(&config).find(|fixed| fixed.name == name).expect("a fixed config");
        assert_eq!((find("node.id").value, find("node.id").default), ("7".to_owned(), "1".to_owned()));
        assert_eq!(find("listeners").value, "clients://127.0.0.1:9093");
        assert_eq!(find("advertised.listeners").value, "clients://broker.example.com:9093");
        assert_eq!(find("listener.security.protocol.map").value, "clients:SASL_SSL");
        assert_eq!(find("sasl.enabled.mechanisms").value, "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN");
        assert!(is_fixed("super.users") && !is_fixed("log.retention.ms"));
        assert!(FIXED.is_sorted_by_key(|(name, ..)| *name));
    }
}
