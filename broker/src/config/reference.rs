//! The reference of all settings, rendered for `docs/configuration.md`. Tests fail when it and the structs drift apart.

use std::fmt::Write;

use toml::Value;

use super::Config;
use crate::catalog::topic_config::TOPIC_CONFIGS;

/// One setting's explanation. Its default comes from the structs.
struct Setting {
    key: &'static str,
    doc: &'static str,
}

const fn setting(key: &'static str, doc: &'static str) -> Setting {
    Setting { key, doc }
}

const GENERAL: &[Setting] = &[
    setting("data", "Data folder: partitions, and what the cluster URL `file://<data>` serves."),
    setting("node_id", "Id of this broker in Metadata."),
    setting(
        "durability",
        "When a record counts as stored: `fsync` (on stable storage) or `page-cache` (handed to the kernel, as Apache \
         Kafka does by default; a power loss may take the last seconds).",
    ),
    setting("reserve_bytes", "Client records are refused when the data volume has less free space than this (bytes)."),
    setting("auto_create_topics", "Metadata and produce requests make unknown topics."),
    setting("default_partitions", "Partitions of a topic whose creator does not say."),
    setting("super_users", "Principals that every ACL decision lets through."),
    setting(
        "connections_max_reauth_ms",
        "A client with SASL has to authenticate again on its connection within this time (milliseconds; Kafka's \
         `connections.max.reauth.ms`), or the connection is closed. 0 is never; a token's own end counts in any case.",
    ),
    setting(
        "maintenance_interval_ms",
        "How often partitions are looked at for retention and compaction (milliseconds). Kafka's \
         `log.retention.check.interval.ms` and `log.cleaner.backoff.ms`.",
    ),
];

const LISTENER: &[Setting] = &[
    setting("name", "Name of the listener in logs, metrics and messages; each only once."),
    setting("bind", "Address and port to listen on. Port 0 lets the system choose."),
    setting(
        "advertised",
        "`host:port` that clients of this listener are told to connect to; the bound address when absent. Required \
         when `bind` is 0.0.0.0 or [::].",
    ),
    setting("protocol", "`SASL_SSL`, `SSL`, `SASL_PLAINTEXT` or `PLAINTEXT`."),
    setting(
        "mechanisms",
        "SASL mechanisms: `SCRAM-SHA-512`, `SCRAM-SHA-256`, `PLAIN`, `OAUTHBEARER`. On `SASL_PLAINTEXT`, `PLAIN` is \
         offered only when it is named here; `OAUTHBEARER` always has to be named, and needs `[oauthbearer]`.",
    ),
    setting(
        "client_certificates",
        "`none`, `optional` or `required`. Needs TLS and `client_ca_file`. With SASL the certificate opens the door and \
         SASL says who comes in.",
    ),
    setting(
        "client_ca_file",
        "PEM file with the authorities that sign client certificates. Never the cluster's own authority.",
    ),
    setting(
        "principal_mapping_rules",
        "Rules that make a principal from a certificate's subject, in the form of Kafka's \
         `ssl.principal.mapping.rules`. On listeners with SASL the principal is SASL's, and these are not used.",
    ),
    setting("connection_creation_rate", "Connections that this listener takes per second; more wait. 0 for no bound."),
    setting(
        "certificate_file",
        "PEM file with a certificate chain of your own PKI; the broker makes its own when absent.",
    ),
    setting("key_file", "PEM file with the private key of `certificate_file`."),
];

const OAUTHBEARER: &[Setting] = &[
    setting(
        "jwks",
        "Where the issuer's JSON Web Key Set is: an `https://` URL (`http://` on loopback only), or a file.",
    ),
    setting(
        "ca_file",
        "PEM file with the authorities that sign the certificate of the URL's host; the system's authorities when absent.",
    ),
    setting("issuer", "What a token's `iss` has to be, exactly."),
    setting("audiences", "One of these has to be in a token's `aud`."),
    setting("scopes", "All of these have to be in a token's scope claim."),
    setting("principal_claim", "The claim whose value becomes the principal `User:<value>`."),
    setting("scope_claim", "The claim with the scopes: one text with spaces, or a list."),
    setting("clock_skew_seconds", "How far the issuer's clock and the broker's may be apart (seconds)."),
    setting("refresh_seconds", "How often the key set is read again (seconds). A file is looked at every few seconds."),
    setting(
        "keep_seconds",
        "How long the known keys serve while the key set cannot be read (seconds). Then no token is accepted.",
    ),
];

const HTTP: &[Setting] = &[
    setting("enabled", "Serve `/metrics`, `/healthz` and `/readyz`."),
    setting("bind", "Address and port to listen on. Beyond loopback, `tls` and `token_file` are required."),
    setting("tls", "Serve HTTPS with the broker's certificate."),
    setting("token_file", "File with the bearer token that `/metrics` wants."),
];

const LOG: &[Setting] = &[
    setting("format", "`text` or `json`, to standard error."),
    setting("level", "`error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,lockgate::group=debug`."),
];

const GROUPS: &[Setting] = &[
    setting(
        "initial_rebalance_delay_ms",
        "The first members of an empty consumer group wait this long for others (milliseconds).",
    ),
    setting("max_size", "Members of one group with the classic protocol."),
    setting("min_session_timeout_ms", "Shortest session timeout that a member may ask for (milliseconds)."),
    setting("max_session_timeout_ms", "Longest session timeout that a member may ask for (milliseconds)."),
    setting(
        "offsets_retention_minutes",
        "Offsets are forgotten after this long (minutes): counted from when their group became empty, or from the commit \
         where consumers assign partitions to themselves, where they no longer subscribe to the topic, and in groups with \
         the consumer protocol. Kafka's `offsets.retention.minutes`.",
    ),
    setting(
        "offsets_retention_check_interval_ms",
        "How often offsets and groups to be forgotten are looked for (milliseconds). Kafka's \
         `offsets.retention.check.interval.ms`.",
    ),
    setting(
        "consumer_session_timeout_ms",
        "A member with the consumer protocol is put out after this long without a heartbeat (milliseconds). Kafka's \
         `group.consumer.session.timeout.ms`.",
    ),
    setting(
        "consumer_heartbeat_interval_ms",
        "How often members with the consumer protocol are told to send heartbeats (milliseconds). Kafka's \
         `group.consumer.heartbeat.interval.ms`.",
    ),
    setting("consumer_max_size", "Members of one group with the consumer protocol. Kafka's `group.consumer.max.size`."),
    setting(
        "consumer_assignors",
        "Server-side assignors: `uniform` (balanced and sticky) and `range` (co-partitioned); the first one serves groups \
         that do not ask for another. Kafka's `group.consumer.assignors`, whose class names are taken too.",
    ),
    setting(
        "consumer_migration_policy",
        "Which way groups may change between the classic and the consumer protocol while they have members: \
         `bidirectional`, `upgrade`, `downgrade` or `disabled`. Kafka's `group.consumer.migration.policy`.",
    ),
    setting(
        "consumer_regex_refresh_interval_ms",
        "Subscriptions by regular expression are resolved again at least this often, and when topics change \
         (milliseconds). Kafka's `group.consumer.regex.refresh.interval.ms`.",
    ),
];

const TRANSACTIONS: &[Setting] = &[
    setting(
        "max_timeout_ms",
        "Longest transaction timeout that a producer may ask for (milliseconds). Kafka's `transaction.max.timeout.ms`.",
    ),
    setting(
        "id_expiration_ms",
        "A transactional id that nobody used for so long is forgotten (milliseconds). Kafka's \
         `transactional.id.expiration.ms`.",
    ),
];

const LIMITS: &[Setting] = &[
    setting("connections", "Connections in total."),
    setting("connections_per_address", "Connections from one IP address."),
    setting(
        "connection_creation_rate",
        "Connections that all listeners together take per second (Kafka's `max.connection.creation.rate`); more wait. 0 \
         for no bound.",
    ),
    setting("request_bytes", "Largest request after authentication (bytes). Before it, 64 KiB is the limit."),
    setting("in_flight_bytes", "Requests held in memory at once, over all connections (bytes)."),
    setting("idle_seconds", "A connection without a request for this long is closed (seconds)."),
    setting("stop_seconds", "Time for a graceful stop (seconds)."),
];

/// Section in the file, and its settings.
const SECTIONS: &[(&str, &str, &[Setting])] = &[
    ("", "General", GENERAL),
    ("listeners", "Listeners: one `[[listeners]]` section for each", LISTENER),
    ("oauthbearer", "Tokens: `[oauthbearer]`, for listeners whose `mechanisms` name OAUTHBEARER", OAUTHBEARER),
    ("http", "Operations over HTTP: `[http]`", HTTP),
    ("log", "The broker's own log: `[log]`", LOG),
    ("limits", "Limits: `[limits]`", LIMITS),
    ("groups", "Consumer groups: `[groups]`", GROUPS),
    ("transactions", "Transactions: `[transactions]`", TRANSACTIONS),
];

const INTRODUCTION: &str = "# Configuration

<!-- Made from the code. `LOCKGATE_WRITE_DOCS=1 cargo test -p lockgate config::` writes it anew. -->

One TOML file. Every setting has a default, so an empty file is a valid one; [`lockgate.toml`](lockgate.toml) is a
commented example. `lockgate check-config` reads a file as the broker would and says what is wrong with it. An unknown
key is an error that names the nearest known one, and a broker with a wrong configuration ends with exit status 64
before it opens a port.

The environment overrides the file: `LOCKGATE_` and the key in capitals, with `__` between section and key. So
`LOCKGATE_DATA` is `data`, `LOCKGATE_LIMITS__CONNECTIONS` is `limits.connections`, `LOCKGATE_LISTENERS__0__BIND` is the
first listener's `bind` and `LOCKGATE_TOPIC_DEFAULTS__RETENTION_MS` is `retention.ms` in `topic_defaults`. Items of lists
are separated by commas.
";

const TOPIC_INTRODUCTION: &str = "
## Topic configs: `[topic_defaults]`

Configs of topics have Kafka's names. A topic's own value wins; then a broker-wide default that was set through the API
(under the name in the second column), then the value in `[topic_defaults]`, then the default below. Values are strings:

```toml
[topic_defaults]
\"retention.ms\" = \"86400000\"
```

";

/// The whole page.
pub fn markdown() -> String {
    let defaults = toml::Table::try_from(Config::default()).expect("settings are plain data that TOML can hold");
    let mut page = INTRODUCTION.to_owned();
    for (section, title, settings) in SECTIONS {
        let values = match defaults.get(*section) {
            Some(Value::Array(items)) => items.first().and_then(Value::as_table),
            Some(section) => section.as_table(),
            None => Some(&defaults),
        };
        let _ = write!(page, "\n## {title}\n\n| setting | default | meaning |\n| --- | --- | --- |\n");
        for setting in *settings {
            let default = values.and_then(|values| values.get(setting.key));
            let default = default.map(|value| format!("`{value}`")).unwrap_or_default();
            let _ = writeln!(page, "| `{}` | {default} | {} |", setting.key, setting.doc);
        }
    }
    page.push_str(TOPIC_INTRODUCTION);
    page.push_str("| config | broker-wide | default | meaning |\n| --- | --- | --- | --- |\n");
    for config in TOPIC_CONFIGS {
        let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
        let (broker, default) = (code(config.broker_name), code(config.default));
        let _ = writeln!(page, "| `{}` | {broker} | {default} | {} |", config.name, config.doc);
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::load::shape;

    #[test]
    fn every_setting_is_explained_and_every_explanation_has_a_setting() {
        let shape = shape();
        let mut known = BTreeSet::new();
        for (key, value) in &shape {
            match value {
                Value::Array(items) if items.first().is_some_and(Value::is_table) => {
                    known.extend(items[0].as_table().expect("checked").keys().map(|name| format!("{key}.{name}")));
                }
                Value::Table(inner) => known.extend(inner.keys().map(|name| format!("{key}.{name}"))),
                _ => drop(known.insert(format!(".{key}"))),
            }
        }
        let explained: BTreeSet<_> = SECTIONS
            .iter()
            .flat_map(|(section, _, settings)| settings.iter().map(move |setting| format!("{section}.{}", setting.key)))
            .collect();
        assert_eq!(explained, known);
    }

    #[test]
    fn the_page_in_docs_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        if std::env::var_os("LOCKGATE_WRITE_DOCS").is_some() {
            std::fs::write(&path, markdown()).expect("docs can be written");
        }
        let page = std::fs::read_to_string(&path).expect("docs/configuration.md exists");
        assert!(page == markdown(), "run LOCKGATE_WRITE_DOCS=1 cargo test -p lockgate config::");
    }
}
