//! Configs of single consumer groups under Kafka's names. They hold for members of the consumer protocol (KIP-848), who
//! are told their times by the broker; the settings file has the defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Image;
use super::topic_config::{ConfigType, TopicConfig, Valid};
use crate::config::Groups;

const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";
const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";

const INT: i64 = i32::MAX as i64;

/// Every group config, by name.
pub static GROUP_CONFIGS: &[TopicConfig] = &[
    TopicConfig {
        name: HEARTBEAT_INTERVAL,
        broker_name: "group.consumer.heartbeat.interval.ms",
        kind: ConfigType::Int,
        default: "5000",
        valid: Valid::Number(1, INT),
        doc: "How often members are told to send heartbeats; below `consumer.session.timeout.ms`.",
    },
    TopicConfig {
        name: SESSION_TIMEOUT,
        broker_name: "group.consumer.session.timeout.ms",
        kind: ConfigType::Int,
        default: "45000",
        valid: Valid::Number(1, INT),
        doc: "A member without a heartbeat for this long is taken out of the group.",
    },
];

/// Finds a config by its name.
pub fn find(name: &str) -> Option<&'static TopicConfig> {
    GROUP_CONFIGS.iter().find(|config| config.name == name)
}

/// What the settings file says, under the group configs' names; only what is not Kafka's default.
pub fn from_file(settings: &Groups) -> BTreeMap<String, String> {
    let set = [
        (HEARTBEAT_INTERVAL, settings.consumer_heartbeat_interval_ms),
        (SESSION_TIMEOUT, settings.consumer_session_timeout_ms),
    ];
    let own = |(name, value): (&str, u64)| (name.to_owned(), value.to_string());
    let changed = |(name, value): &(&str, u64)| find(name).is_some_and(|config| config.default != value.to_string());
    set.into_iter().filter(changed).map(own).collect()
}

/// The times that hold for members of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTimes {
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
}

impl GroupTimes {
    /// A group's own times, where it has them, instead of these.
    pub fn of(self, group: &str, image: &Image) -> Self {
        match image.group_configs.get(group) {
            Some(configs) => self.with(configs),
            None => self,
        }
    }

    fn with(self, configs: &BTreeMap<String, String>) -> Self {
        let own = |name: &str| configs.get(name).and_then(|value| value.trim().parse().ok()).map(Duration::from_millis);
        Self {
            session_timeout: own(SESSION_TIMEOUT).unwrap_or(self.session_timeout),
            heartbeat_interval: own(HEARTBEAT_INTERVAL).unwrap_or(self.heartbeat_interval),
        }
    }
}

/// What is wrong with a group's configs taken together, each of which is valid by itself.
pub fn validate_together(configs: &BTreeMap<String, String>, settings: &Groups) -> Result<(), String> {
    let defaults = GroupTimes {
        session_timeout: Duration::from_millis(settings.consumer_session_timeout_ms),
        heartbeat_interval: Duration::from_millis(settings.consumer_heartbeat_interval_ms),
    };
    let times = defaults.with(configs);
    let session = times.session_timeout.as_millis() as u64;
    let (min, max) = (settings.min_session_timeout_ms, settings.max_session_timeout_ms);
    if configs.contains_key(SESSION_TIMEOUT) && !(min..=max).contains(&session) {
        return Err(format!("{SESSION_TIMEOUT} must be from {min} to {max}, but it is {session}"));
    }
    if times.heartbeat_interval >= times.session_timeout {
        let interval = times.heartbeat_interval.as_millis();
        return Err(format!("{SESSION_TIMEOUT} ({session}) must be greater than {HEARTBEAT_INTERVAL} ({interval})"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CatalogRecord;

    fn configs(session: &str, interval: &str) -> BTreeMap<String, String> {
        let set = [(SESSION_TIMEOUT, session), (HEARTBEAT_INTERVAL, interval)];
        let set = set.into_iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn times_must_fit_each_other_and_the_settings() {
        let settings = Groups::default();
        for good in [("6000", ""), ("", "44999"), ("1800000", "1799999"), ("50000", "15000")] {
            assert_eq!(validate_together(&configs(good.0, good.1), &settings), Ok(()), "{good:?}");
        }
        for (bad, said) in [
            (("5999", "1000"), "from 6000 to 1800000, but it is 5999"),
            (("1800001", ""), "from 6000 to 1800000"),
            (("", "45000"), "must be greater than"),
            (("10000", "10000"), "must be greater than"),
        ] {
            let error = validate_together(&configs(bad.0, bad.1), &settings).expect_err("they do not fit");
            assert!(error.contains(said), "{bad:?}: {error}");
        }
    }

    #[test]
    fn a_group_with_configs_has_its_own_times() {
        let mut image = Image::default();
        let record = |value: Option<&str>| CatalogRecord::GroupConfig {
            group: "payments".to_owned(),
            name: SESSION_TIMEOUT.to_owned(),
            value: value.map(str::to_owned),
        };
        let seconds = Duration::from_secs;
        let times = GroupTimes { session_timeout: seconds(45), heartbeat_interval: seconds(5) };
        image.apply(&record(Some("60000")));
        assert_eq!(times.of("payments", &image).session_timeout, seconds(60));
        assert_eq!(times.of("payments", &image).heartbeat_interval, seconds(5));
        assert_eq!(times.of("orders", &image), times);
        let mut again = Image::default();
        image.snapshot().iter().for_each(|record| again.apply(record));
        assert_eq!(again.group_configs, image.group_configs);
        image.apply(&record(None));
        assert!(image.group_configs.is_empty());
    }

    #[test]
    fn the_settings_file_is_a_source_of_its_own() {
        assert!(from_file(&Groups::default()).is_empty());
        let settings = Groups { consumer_session_timeout_ms: 30_000, ..Groups::default() };
        assert_eq!(from_file(&settings), configs("30000", ""));
    }
}
