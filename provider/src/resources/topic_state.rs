//! A topic's configuration and state: what to change, and what to show of what is there.

use std::collections::BTreeMap;

use lockgate_client::admin::{ConfigChange, ConfigEntry, ConfigSource};

use crate::cluster::TopicInfo;
use crate::tfplugin::{Applied, Diagnostic, Diagnostics, Private, Value};

/// Where the private part of a state keeps the replication factor that the cluster reports, when it differs from the one
/// that was asked for: a cluster whose durability does not come from replicas takes any factor and shows one replica.
const REPORTED_REPLICATION: &str = "reported_replication_factor";

/// The keys that a `config` sets. A key that is null is one that is left out.
pub(super) fn settings(config: &Value) -> BTreeMap<String, String> {
    let entries = config.as_map().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// What takes a topic from one `config` to another. Keys in neither stay as they are.
pub(super) fn config_changes(prior: &Value, planned: &Value) -> Vec<(String, ConfigChange)> {
    let (prior, planned) = (settings(prior), settings(planned));
    let set = planned.iter().filter(|(key, value)| prior.get(*key) != Some(value));
    let set = set.map(|(key, value)| (key.clone(), ConfigChange::Set(value.clone())));
    let reset = prior.keys().filter(|key| !planned.contains_key(*key));
    let reset = reset.map(|key| (key.clone(), ConfigChange::Delete));
    set.chain(reset).collect()
}

/// The state of a topic that was just made.
pub(super) fn complete(mut state: Value, info: &TopicInfo, mut private: Private) -> Applied {
    state.set_attr("topic_id", Value::from(info.id.clone()));
    if state.attr("partitions").is_unknown() {
        state.set_attr("partitions", Value::from(info.partitions));
    }
    match state.attr("replication_factor").as_i64() {
        None => state.set_attr("replication_factor", Value::from(info.replication_factor)),
        Some(wanted) if wanted != info.replication_factor => {
            private.set(REPORTED_REPLICATION, info.replication_factor.to_string());
        }
        Some(_) => {}
    }
    Applied { state: Some(state), private, diagnostics: Diagnostics::new() }
}

pub(super) fn recreated(name: &str, state: &Value, info: &TopicInfo) -> Diagnostics {
    match (state.attr("topic_id").as_str(), &info.id) {
        (Some(known), Some(now)) if known != now => {
            let detail = format!(
                "Its id was {known} and is {now}: somebody deleted it and made it again, so its earlier records are gone. The \
                 state follows the new topic."
            );
            Diagnostic::warning(format!("Topic {name:?} was made anew outside of Terraform"), detail).into()
        }
        _ => Diagnostics::new(),
    }
}

/// The state as the cluster shows it.
pub(super) fn observed(mut state: Value, info: &TopicInfo, entries: &[ConfigEntry], private: &mut Private) -> Value {
    let imported = state.attr("partitions").is_null() && state.attr("topic_id").is_null();
    let config = observed_config(state.attr("config"), entries, imported);
    state.set_attr("config", config);
    state.set_attr("topic_id", Value::from(info.id.clone()));
    state.set_attr("partitions", Value::from(info.partitions));
    let reported = info.replication_factor.to_string();
    if private.get(REPORTED_REPLICATION) != Some(reported.as_str()) {
        state.set_attr("replication_factor", Value::from(info.replication_factor));
    }
    state
}

/// The keys that the state names, as they are now. What others set, and what the broker sets by default, is not ours to
/// show; only an import takes everything that is set on the topic.
pub(crate) fn observed_config(known: &Value, entries: &[ConfigEntry], imported: bool) -> Value {
    if imported {
        let own = entries.iter().filter(|e| e.source == ConfigSource::Topic && !e.read_only);
        let own = own.filter_map(|e| Some((e.name.clone(), Value::from(e.value.clone()?))));
        let own: BTreeMap<_, _> = own.collect();
        return if own.is_empty() { Value::Null } else { Value::Map(own) };
    }
    let Some(known) = known.as_map() else { return known.clone() };
    let entry = |key: &str| entries.iter().find(|e| e.name == key);
    let now = known.iter().filter_map(|(key, value)| {
        let Some(entry) = entry(key) else { return value.is_null().then(|| (key.clone(), Value::Null)) };
        match &entry.value {
            // The value holds, wherever it comes from.
            Some(now) if value.as_str().is_some_and(|known| same(known, now)) => Some((key.clone(), value.clone())),
            // A sensitive value is never told, so drift in it cannot be seen.
            None if entry.sensitive => Some((key.clone(), value.clone())),
            _ if value.is_null() => Some((key.clone(), Value::Null)),
            Some(now) if entry.source == ConfigSource::Topic => Some((key.clone(), Value::from(now.as_str()))),
            _ => None,
        }
    });
    Value::Map(now.collect())
}

/// Whether two values mean the same: brokers leave out the spaces around a value and around the items of a list.
fn same(known: &str, now: &str) -> bool {
    known.split(',').map(str::trim).eq(now.split(',').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(entries: &[(&str, &str)]) -> Value {
        Value::object(entries.iter().map(|(key, value)| (*key, Value::from(*value))))
    }

    fn entry(name: &str, value: Option<&str>, source: ConfigSource) -> ConfigEntry {
        ConfigEntry {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            source,
            read_only: false,
            sensitive: value.is_none(),
            synonyms: Vec::new(),
            documentation: None,
        }
    }

    #[test]
    fn only_what_differs_is_changed_and_what_is_taken_out_is_reset() {
        let prior = config(&[("same", "1"), ("other", "1"), ("gone", "1")]);
        let planned = config(&[("same", "1"), ("other", "2"), ("new", "1")]);
        let set = |key: &str, value: &str| (key.to_owned(), ConfigChange::Set(value.to_owned()));
        let expected = vec![set("new", "1"), set("other", "2"), ("gone".to_owned(), ConfigChange::Delete)];
        assert_eq!(config_changes(&prior, &planned), expected);
        assert_eq!(config_changes(&prior, &Value::Null).len(), 3);
        assert!(config_changes(&Value::Null, &Value::object([("off", Value::Null)])).is_empty());
    }

    #[test]
    fn drift_shows_in_our_keys_only() {
        let known = config(&[
            ("kept", "1"),
            ("spaced", " a, b"),
            ("changed", "1"),
            ("reset", "1"),
            ("inherited", "5"),
            ("secret", "s"),
        ]);
        let entries = [
            entry("kept", Some("1"), ConfigSource::Topic),
            entry("spaced", Some("a,b"), ConfigSource::Topic),
            entry("changed", Some("2"), ConfigSource::Topic),
            entry("reset", Some("9"), ConfigSource::Default),
            // Equal to what we asked for: no difference, wherever the value comes from.
            entry("inherited", Some("5"), ConfigSource::Default),
            entry("secret", None, ConfigSource::Topic),
            entry("foreign", Some("7"), ConfigSource::Topic),
        ];
        let expected =
            config(&[("kept", "1"), ("spaced", " a, b"), ("changed", "2"), ("inherited", "5"), ("secret", "s")]);
        assert_eq!(observed_config(&known, &entries, false), expected);
        assert!(observed_config(&Value::Null, &entries, false).is_null());
    }

    #[test]
    fn an_import_takes_what_is_set_on_the_topic() {
        let entries =
            [entry("own", Some("1"), ConfigSource::Topic), entry("inherited", Some("5"), ConfigSource::Default)];
        assert_eq!(observed_config(&Value::Null, &entries, true), config(&[("own", "1")]));
        assert!(observed_config(&Value::Null, &entries[1..], true).is_null(), "nothing set is no config at all");
    }
}
