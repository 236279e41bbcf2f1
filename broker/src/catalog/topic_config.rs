//! Topic configs under Kafka's names: type, default, valid values, documentation, and the typed settings of a log.

use std::collections::BTreeMap;

use crate::limits;
use crate::log::{Cleanup, Compression, LogConfig, TimestampType};

/// Kafka's types of a config value. The numbers are its wire codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
}

/// Where a value comes from. The numbers are Kafka's wire codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigSource {
    Topic = 1,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    Group = 8,
}

/// Which values are valid.
#[derive(Clone, Copy, Debug)]
pub enum Valid {
    Boolean,
    /// A whole number of the type, from and to, both included.
    Number(i64, i64),
    /// The same, or the third.
    NumberOr(i64, i64, i64),
    /// A fraction from 0 to 1.
    Ratio,
    OneOf(&'static [&'static str]),
    /// A list of these, which may be empty.
    ListOf(&'static [&'static str]),
    /// Empty, `*`, or a list of `partition:broker`.
    ThrottledReplicas,
}

/// One config of a topic.
#[derive(Clone, Copy, Debug)]
pub struct TopicConfig {
    pub name: &'static str,
    /// The broker config that holds the default for all topics; empty when there is none.
    pub broker_name: &'static str,
    pub kind: ConfigType,
    pub default: &'static str,
    pub valid: Valid,
    pub doc: &'static str,
}

const fn config(
    name: &'static str,
    broker_name: &'static str,
    kind: ConfigType,
    default: &'static str,
    valid: Valid,
    doc: &'static str,
) -> TopicConfig {
    TopicConfig { name, broker_name, kind, default, valid, doc }
}

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const LONG_MAX: &str = "9223372036854775807";
const THROTTLED: &str = "Kept for tools that move partitions between brokers; nothing is throttled here.";
const ONE_WRITER: &str = "Kept for tools; a record is durable by itself here, so it has no effect.";
const OWN_FLUSH: &str = "Kept for tools; flushes follow the acknowledgements that producers wait for.";
const GZIP_LEVEL: &str =
    "Level at which batches are compressed anew when `compression.type` is `gzip`; -1 is the codec's default.";
const LZ4_LEVEL: &str =
    "Kept for tools; batches are compressed anew with lz4's fast mode, which Kafka's default level means too.";
const ZSTD_LEVEL: &str = "Level at which batches are compressed anew when `compression.type` is `zstd`.";

/// Every topic config, by name.
pub static TOPIC_CONFIGS: &[TopicConfig] = {
    use ConfigType::*;
    use Valid::{ListOf, Number, NumberOr, OneOf, Ratio, ThrottledReplicas};
    &[
        config(
            "cleanup.policy",
            "log.cleanup.policy",
            List,
            "delete",
            ListOf(&["compact", "delete"]),
            "What happens to old records: `delete` drops them by time and size, `compact` keeps the newest of each key; \
             both may be set. Empty: they are kept for good.",
        ),
        config("compression.gzip.level", "compression.gzip.level", Int, "-1", NumberOr(1, 9, -1), GZIP_LEVEL),
        config("compression.lz4.level", "compression.lz4.level", Int, "9", Number(1, 17), LZ4_LEVEL),
        config(
            "compression.type",
            "compression.type",
            String,
            "producer",
            OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
            "Codec of stored batches; `producer` keeps them as they came.",
        ),
        config("compression.zstd.level", "compression.zstd.level", Int, "3", Number(-131_072, 22), ZSTD_LEVEL),
        config(
            "delete.retention.ms",
            "log.cleaner.delete.retention.ms",
            Long,
            "86400000",
            Number(0, LONG),
            "How long a compacted topic keeps tombstones, so that slow readers see the deletion.",
        ),
        config(
            "file.delete.delay.ms",
            "log.segment.delete.delay.ms",
            Long,
            "60000",
            Number(0, LONG),
            "Kept for tools; files that are still read from stay readable without a delay.",
        ),
        config("flush.messages", "log.flush.interval.messages", Long, LONG_MAX, Number(1, LONG), OWN_FLUSH),
        config("flush.ms", "log.flush.interval.ms", Long, LONG_MAX, Number(0, LONG), OWN_FLUSH),
        config("follower.replication.throttled.replicas", "", List, "", ThrottledReplicas, THROTTLED),
        config(
            "index.interval.bytes",
            "log.index.interval.bytes",
            Int,
            "4096",
            Number(0, INT),
            "Kept for tools; the broker chooses the density of its indexes.",
        ),
        config("leader.replication.throttled.replicas", "", List, "", ThrottledReplicas, THROTTLED),
        config(
            "max.compaction.lag.ms",
            "log.cleaner.max.compaction.lag.ms",
            Long,
            LONG_MAX,
            Number(1, LONG),
            "A record of a compacted topic is compacted at the latest after this time.",
        ),
        config(
            "max.message.bytes",
            "message.max.bytes",
            Int,
            "1048588",
            Number(0, INT),
            "Largest record batch, as it arrives (bytes).",
        ),
        config(
            "message.timestamp.after.max.ms",
            "log.message.timestamp.after.max.ms",
            Long,
            "3600000",
            Number(0, LONG),
            "How far a record's own timestamp may be ahead of the broker's clock.",
        ),
        config(
            "message.timestamp.before.max.ms",
            "log.message.timestamp.before.max.ms",
            Long,
            LONG_MAX,
            Number(0, LONG),
            "How far a record's own timestamp may be behind the broker's clock.",
        ),
        config(
            "message.timestamp.type",
            "log.message.timestamp.type",
            String,
            "CreateTime",
            OneOf(&["CreateTime", "LogAppendTime"]),
            "Whose clock stamps records: the producer's or the broker's.",
        ),
        config(
            "min.cleanable.dirty.ratio",
            "log.cleaner.min.cleanable.ratio",
            Double,
            "0.5",
            Ratio,
            "Share of a compacted log that must be new before it is compacted.",
        ),
        config(
            "min.compaction.lag.ms",
            "log.cleaner.min.compaction.lag.ms",
            Long,
            "0",
            Number(0, LONG),
            "A record of a compacted topic stays as it is for at least this time.",
        ),
        config("min.insync.replicas", "min.insync.replicas", Int, "1", Number(1, INT), ONE_WRITER),
        config(
            "preallocate",
            "log.preallocate",
            Boolean,
            "false",
            Valid::Boolean,
            "Kept for tools; segment files grow as they are written.",
        ),
        config(
            "retention.bytes",
            "log.retention.bytes",
            Long,
            "-1",
            Number(-1, LONG),
            "Largest size of a partition before its oldest segments are deleted; -1 means without limit.",
        ),
        config(
            "retention.ms",
            "log.retention.ms",
            Long,
            "604800000",
            Number(-1, LONG),
            "How long records are kept; -1 means forever.",
        ),
        config(
            "segment.bytes",
            "log.segment.bytes",
            Int,
            "1073741824",
            // Kafka's bound (KIP-1030): smaller segments mean a file for every batch.
            Number(1 << 20, INT),
            "Size at which a segment is closed and the next one begins.",
        ),
        config(
            "segment.index.bytes",
            "log.index.size.max.bytes",
            Int,
            "10485760",
            Number(4, INT),
            "Kept for tools; the broker sizes its indexes itself.",
        ),
        config(
            "segment.jitter.ms",
            "log.roll.jitter.ms",
            Long,
            "0",
            Number(0, LONG),
            "Segments are closed up to this much earlier than `segment.ms`, each partition's by its own share.",
        ),
        config(
            "segment.ms",
            "log.roll.ms",
            Long,
            "604800000",
            Number(1, LONG),
            "Age at which a segment is closed even when it is small.",
        ),
        config(
            "unclean.leader.election.enable",
            "unclean.leader.election.enable",
            Boolean,
            "false",
            Valid::Boolean,
            ONE_WRITER,
        ),
    ]
};

/// The config with this name.
pub fn find(name: &str) -> Option<&'static TopicConfig> {
    TOPIC_CONFIGS.iter().find(|config| config.name == name)
}

/// The config whose default for all topics is the broker config with this name.
pub fn find_by_broker_name(name: &str) -> Option<&'static TopicConfig> {
    TOPIC_CONFIGS.iter().find(|config| !name.is_empty() && config.broker_name == name)
}

/// Whether a topic may have this value; the message is Kafka's.
pub fn validate(name: &str, value: &str) -> Result<(), String> {
    let config = find(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    check_value(name, config.kind, config.valid, value)
}

/// Whether these configs of one topic go together, each valid by itself.
pub fn validate_together(configs: &BTreeMap<String, String>, defaults: &TopicDefaults) -> Result<(), String> {
    let min: i64 = number(configs, defaults, "min.compaction.lag.ms");
    let max: i64 = number(configs, defaults, "max.compaction.lag.ms");
    if min > max {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        ));
    }
    Ok(())
}

/// Checks a value of a topic or broker config.
pub fn check_value(name: &str, kind: ConfigType, valid: Valid, value: &str) -> Result<(), String> {
    let text = value.trim();
    if value.len() > limits::CONFIG_VALUE {
        return Err(format!("Invalid value for configuration {name}: longer than {} bytes", limits::CONFIG_VALUE));
    }
    let invalid = |why: &str| Err(format!("Invalid value {value} for configuration {name}: {why}"));
    match valid {
        Valid::Boolean if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") => Ok(()),
        Valid::Boolean => invalid("Expected value to be either true or false"),
        Valid::Number(min, max) => match text.parse::<i64>() {
            Ok(number) if type_holds(kind, number) && number < min => invalid(&format!("Value must be at least {min}")),
            Ok(number) if type_holds(kind, number) && number > max => {
                invalid(&format!("Value must be no more than {max}"))
            }
            Ok(number) if type_holds(kind, number) => Ok(()),
            _ => invalid(&format!("Not a number of type {}", type_name(kind))),
        },
        Valid::NumberOr(min, max, other) => match text.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) || number == other => Ok(()),
            Ok(_) => invalid(&format!("Value must be between {min} and {max} or equal to {other}")),
            Err(_) => invalid(&format!("Not a number of type {}", type_name(kind))),
        },
        Valid::Ratio => match text.parse::<f64>() {
            Ok(number) if (0.0..=1.0).contains(&number) => Ok(()),
            Ok(number) if number > 1.0 => invalid("Value must be no more than 1"),
            Ok(number) if number < 0.0 => invalid("Value must be at least 0"),
            _ => invalid("Not a number of type DOUBLE"),
        },
        Valid::OneOf(allowed) if allowed.contains(&text) => Ok(()),
        Valid::OneOf(allowed) => invalid(&format!("String must be one of: {}", allowed.join(", "))),
        Valid::ListOf(allowed) => {
            let items: Vec<_> = items(text).collect();
            if let Some(item) = items.iter().find(|item| !allowed.contains(item)) {
                let message = format!("String must be one of: {}", allowed.join(", "));
                return Err(format!("Invalid value {item} for configuration {name}: {message}"));
            }
            Ok(())
        }
        Valid::ThrottledReplicas => {
            let pair = |item: &str| {
                item.split_once(':').is_some_and(|(partition, broker)| {
                    partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
                })
            };
            if text.is_empty() || text == "*" || items(text).all(pair) {
                Ok(())
            } else {
                invalid("Must be the literal '*' or a list of replicas in the form [partitionId]:[brokerId]")
            }
        }
    }
}

fn type_holds(kind: ConfigType, number: i64) -> bool {
    match kind {
        ConfigType::Int => i32::try_from(number).is_ok(),
        ConfigType::Short => i16::try_from(number).is_ok(),
        _ => true,
    }
}

fn type_name(kind: ConfigType) -> &'static str {
    match kind {
        ConfigType::Boolean => "BOOLEAN",
        ConfigType::String => "STRING",
        ConfigType::Int => "INT",
        ConfigType::Short => "SHORT",
        ConfigType::Long => "LONG",
        ConfigType::Double => "DOUBLE",
        ConfigType::List => "LIST",
    }
}

/// A value without the spaces around it, or around its items.
pub fn normal(kind: ConfigType, value: &str) -> String {
    match kind {
        ConfigType::List => items(value).collect::<Vec<_>>().join(","),
        _ => value.trim().to_owned(),
    }
}

/// The items of a list value.
pub fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Defaults that hold for all topics of this broker, under the topic configs' names.
#[derive(Clone, Copy, Debug)]
pub struct TopicDefaults<'a> {
    /// From the settings file.
    pub file: &'a BTreeMap<String, String>,
    /// Set through the API, under the broker configs' names; they win.
    pub dynamic: &'a BTreeMap<String, String>,
}

impl<'a> TopicDefaults<'a> {
    /// Every value that a topic without its own could have, the one that counts first.
    pub fn all(&self, config: &TopicConfig) -> impl Iterator<Item = (ConfigSource, &'a str)> + use<'a> {
        let dynamic = self.dynamic.get(config.broker_name).filter(|_| !config.broker_name.is_empty());
        let set = |source, value: Option<&'a String>| value.map(|value| (source, value.as_str()));
        let dynamic = set(ConfigSource::DynamicDefaultBroker, dynamic);
        let file = set(ConfigSource::StaticBroker, self.file.get(config.name));
        [dynamic, file, Some((ConfigSource::Default, config.default))].into_iter().flatten()
    }

    /// The value of a topic without its own.
    pub fn first(&self, config: &TopicConfig) -> &'a str {
        self.all(config).next().map_or(config.default, |(_, value)| value)
    }
}

/// The value that a topic has for one config.
#[derive(Clone, Copy, Debug)]
pub struct Effective<'a> {
    pub config: &'static TopicConfig,
    pub value: &'a str,
    pub source: ConfigSource,
}

impl<'a> Effective<'a> {
    fn of(config: &'static TopicConfig, configs: &'a BTreeMap<String, String>, defaults: &TopicDefaults<'a>) -> Self {
        let own = configs.get(config.name).map(|value| (ConfigSource::Topic, value.as_str()));
        let default = (ConfigSource::Default, config.default);
        let (source, value) = own.or_else(|| defaults.all(config).next()).unwrap_or(default);
        Self { config, value, source }
    }
}

/// The values that a topic with these own configs has.
pub fn effective<'a>(
    configs: &'a BTreeMap<String, String>,
    defaults: &TopicDefaults<'a>,
) -> impl Iterator<Item = Effective<'a>> {
    TOPIC_CONFIGS.iter().map(move |config| Effective::of(config, configs, defaults))
}

fn value_of<'a>(configs: &'a BTreeMap<String, String>, defaults: &TopicDefaults<'a>, name: &str) -> &'a str {
    let config = find(name).expect("the names asked for here are in the table");
    Effective::of(config, configs, defaults).value.trim()
}

/// Falls back to the table's default when a value that is stored was valid once and is not any more.
fn number<T: std::str::FromStr>(configs: &BTreeMap<String, String>, defaults: &TopicDefaults, name: &str) -> T {
    let value = value_of(configs, defaults, name).parse().ok();
    let default = || find(name).and_then(|config| config.default.parse().ok());
    value.or_else(default).expect("defaults of the table are valid")
}

/// The typed settings of a topic's partitions: its own configs, then the broker's defaults, then Kafka's.
pub fn log_config(configs: &BTreeMap<String, String>, defaults: &TopicDefaults, internal: bool) -> LogConfig {
    let text = |name| value_of(configs, defaults, name);
    let long = |name| number::<i64>(configs, defaults, name);
    let size = |name| number::<i64>(configs, defaults, name).max(0) as u64;
    let (compression, compression_level) = match text("compression.type") {
        "uncompressed" => (Compression::Uncompressed, None),
        "gzip" => {
            (Compression::Gzip, Some(number(configs, defaults, "compression.gzip.level")).filter(|level| *level > 0))
        }
        "snappy" => (Compression::Snappy, None),
        "lz4" => (Compression::Lz4, None),
        "zstd" => (Compression::Zstd, Some(number(configs, defaults, "compression.zstd.level"))),
        _ => (Compression::Producer, None),
    };
    let policies: Vec<_> = items(text("cleanup.policy")).collect();
    LogConfig {
        cleanup: Cleanup { delete: policies.contains(&"delete"), compact: policies.contains(&"compact") },
        compression,
        compression_level,
        delete_retention_ms: long("delete.retention.ms"),
        max_compaction_lag_ms: long("max.compaction.lag.ms"),
        max_message_bytes: size("max.message.bytes") as usize,
        min_cleanable_dirty_ratio: number(configs, defaults, "min.cleanable.dirty.ratio"),
        min_compaction_lag_ms: long("min.compaction.lag.ms"),
        retention_bytes: long("retention.bytes"),
        retention_ms: long("retention.ms"),
        segment_bytes: size("segment.bytes"),
        segment_jitter_ms: long("segment.jitter.ms"),
        segment_ms: long("segment.ms"),
        timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
        timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
        timestamp_type: match text("message.timestamp.type") {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        },
        internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(TOPIC_CONFIGS.is_sorted_by_key(|config| config.name));
        for config in TOPIC_CONFIGS {
            assert_eq!(validate(config.name, config.default), Ok(()));
        }
    }

    #[test]
    fn without_configs_a_log_has_kafkas_defaults() {
        let none = BTreeMap::new();
        let defaults = TopicDefaults { file: &none, dynamic: &none };
        assert_eq!(log_config(&none, &defaults, false), LogConfig::default());
    }

    #[test]
    fn own_configs_win_over_dynamic_defaults_and_those_over_the_file() {
        let file = map(&[("retention.ms", "1"), ("segment.ms", "2"), ("retention.bytes", "3")]);
        let dynamic = map(&[("log.retention.ms", "10"), ("log.roll.ms", "20")]);
        let defaults = TopicDefaults { file: &file, dynamic: &dynamic };
        let config = log_config(&map(&[("retention.ms", "100"), ("cleanup.policy", "compact")]), &defaults, true);
        assert_eq!((config.retention_ms, config.segment_ms, config.retention_bytes), (100, 20, 3));
        assert_eq!(config.cleanup, Cleanup { delete: false, compact: true });
        let kept = log_config(&map(&[("cleanup.policy", "")]), &defaults, false);
        assert_eq!(kept.cleanup, Cleanup { delete: false, compact: false });
        assert!(config.internal);
    }

    #[test]
    fn values_are_refused_in_kafkas_words() {
        for (name, value, message) in [
            ("no.such", "1", "Unknown topic config name: no.such"),
            ("retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"),
            ("retention.ms", "soon", "Invalid value soon for configuration retention.ms: Not a number of type LONG"),
            (
                "segment.bytes",
                "3000000000",
                "Invalid value 3000000000 for configuration segment.bytes: Not a number of type INT",
            ),
            (
                "compression.gzip.level",
                "10",
                "Invalid value 10 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
            ),
            (
                "compression.gzip.level",
                "0",
                "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
            ),
            (
                "preallocate",
                "yes",
                "Invalid value yes for configuration preallocate: Expected value to be either true or false",
            ),
            (
                "cleanup.policy",
                "delete,burn",
                "Invalid value burn for configuration cleanup.policy: String must be one of: compact, delete",
            ),
            (
                "min.cleanable.dirty.ratio",
                "1.5",
                "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
            ),
            (
                "min.cleanable.dirty.ratio",
                "NaN",
                "Invalid value NaN for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE",
            ),
        ] {
            assert_eq!(validate(name, value), Err(message.to_owned()));
        }
        for (name, value) in
            [("cleanup.policy", "compact, delete"), ("leader.replication.throttled.replicas", "0:1,1:2")]
        {
            assert_eq!(validate(name, value), Ok(()));
        }
        assert!(validate("leader.replication.throttled.replicas", "0-1").is_err());
    }

    #[test]
    fn the_level_is_that_of_the_topics_codec() {
        let none = BTreeMap::new();
        let defaults = TopicDefaults { file: &none, dynamic: &none };
        let levels =
            [("compression.gzip.level", "7"), ("compression.zstd.level", "19"), ("compression.lz4.level", "5")];
        for (codec, level) in [("gzip", Some(7)), ("zstd", Some(19)), ("lz4", None), ("producer", None)] {
            let configs = map(&[&levels[..], &[("compression.type", codec)]].concat());
            assert_eq!(log_config(&configs, &defaults, false).compression_level, level, "{codec}");
        }
        let gzip = map(&[("compression.type", "gzip")]);
        assert_eq!(log_config(&gzip, &defaults, false).compression_level, None);
    }

    #[test]
    fn lags_must_not_cross() {
        let none = BTreeMap::new();
        let defaults = TopicDefaults { file: &none, dynamic: &none };
        let crossed = map(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]);
        assert!(validate_together(&crossed, &defaults).is_err_and(|message| message.contains("(10)")));
        assert_eq!(validate_together(&map(&[("min.compaction.lag.ms", "10")]), &defaults), Ok(()));
    }
}
