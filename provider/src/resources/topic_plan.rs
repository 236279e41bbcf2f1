//! What a plan of a topic may not do, judged without asking anyone.

use lockgate_client::{Error, ErrorCode};

use crate::tfplugin::{AttributePath, Diagnostic, Diagnostics, Planned, Value};

/// Kafka's bound on a topic's name, which becomes a folder's name with a partition number behind it.
const LONGEST_NAME: usize = 249;

/// What the schema alone cannot judge about an update.
pub(super) fn judge(planned: &Planned) -> Diagnostics {
    if planned.creates() {
        return Diagnostics::new();
    }
    let mut diagnostics = Diagnostics::new();
    let (prior, state) = (&planned.prior, &planned.state);
    let name = prior.attr("name").as_str().unwrap_or_default();
    if !planned.requires_replace.is_empty() {
        if let Some(refused) = protection(prior, "replace it, as another name would") {
            diagnostics.push(refused.at(AttributePath::root("name")));
        }
        return diagnostics;
    }
    if let (Some(now), Some(wanted)) = (prior.attr("partitions").as_i64(), state.attr("partitions").as_i64())
        && wanted < now
    {
        diagnostics.push(fewer_partitions(name, now, wanted));
    }
    let factor = |value: &Value| value.attr("replication_factor").as_i64();
    if let (Some(now), Some(wanted)) = (factor(prior), factor(state))
        && wanted != now
    {
        let detail = format!(
            "Topic {name:?} has replication factor {now}, and a change to {wanted} would have to move its replicas, which \
             the provider does not do. Keep {now}; or reassign the partitions with Kafka's tools first, and then set {wanted}."
        );
        let refused = Diagnostic::error("The replication factor cannot be changed in place", detail);
        diagnostics.push(refused.at(AttributePath::root("replication_factor")));
    }
    diagnostics
}

pub(super) fn fewer_partitions(name: &str, now: i64, wanted: i64) -> Diagnostic {
    let detail = format!(
        "Topic {name:?} has {now} partitions, and {wanted} are fewer. Kafka cannot take partitions away, because their records \
         would be lost. Keep at least {now}, or make a new topic with {wanted} partitions and copy the records."
    );
    Diagnostic::error("A topic cannot have fewer partitions than before", detail).at(AttributePath::root("partitions"))
}

pub(super) fn protection(prior: &Value, act: &str) -> Option<Diagnostic> {
    if prior.attr("deletion_protection").as_bool() == Some(false) {
        return None;
    }
    let name = prior.attr("name").as_str().unwrap_or_default();
    let detail = format!(
        "Topic {name:?} has deletion_protection on, so nothing may {act}: its records would be lost. If that is what you want, \
         set deletion_protection = false, apply, and then remove it. To keep the topic and only stop managing it, use a \
         removed block with lifecycle {{ destroy = false }}."
    );
    Some(Diagnostic::error("The topic is protected from deletion", detail))
}

pub(super) fn exists_already(name: &str) -> Diagnostic {
    let detail = format!(
        "A topic {name:?} exists already. To manage it here, import it (terraform import ADDRESS {name}), or set \
         adopt_existing = true. Otherwise choose another name."
    );
    Diagnostic::error("The topic exists already", detail).at(AttributePath::root("name"))
}

/// Why a text is no topic name. The rules are Kafka's.
pub(super) fn name_problem(name: &str) -> Option<String> {
    let odd = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')));
    if name.is_empty() {
        Some("A topic name must not be empty.".to_owned())
    } else if name == "." || name == ".." {
        Some(format!("A topic cannot be called {name:?}."))
    } else if name.len() > LONGEST_NAME {
        Some(format!("A topic name has at most {LONGEST_NAME} characters, and this one has {}.", name.len()))
    } else {
        odd.map(|c| format!("{name:?} contains {c:?}. A topic name has only letters, digits, '.', '_' and '-'."))
    }
}

/// Errors that another apply would get as well: the configuration is what is wrong.
pub(super) fn is_about_the_configuration(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::InvalidConfig
                | ErrorCode::InvalidPartitions
                | ErrorCode::InvalidReplicationFactor
                | ErrorCode::InvalidTopic
                | ErrorCode::PolicyViolation
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(partitions: i64, factor: i64) -> Value {
        Value::object([
            ("name", Value::from("orders")),
            ("partitions", Value::from(partitions)),
            ("replication_factor", Value::from(factor)),
            ("deletion_protection", Value::from(true)),
        ])
    }

    fn judged(prior: Value, state: Value, replaces: bool) -> Vec<String> {
        let requires_replace = if replaces { vec![AttributePath::root("name")] } else { Vec::new() };
        let planned = Planned { prior, config: state.clone(), state, requires_replace };
        judge(&planned).iter().map(|d| d.path.clone().expect("a path").to_string()).collect()
    }

    #[test]
    fn partitions_grow_and_never_shrink() {
        assert!(judged(topic(3, 1), topic(6, 1), false).is_empty());
        assert_eq!(judged(topic(3, 1), topic(2, 1), false), ["partitions"]);
        assert!(judged(Value::Null, topic(2, 1), false).is_empty());
    }

    #[test]
    fn the_replication_factor_stays() {
        assert_eq!(judged(topic(3, 1), topic(3, 3), false), ["replication_factor"]);
    }

    #[test]
    fn a_protected_topic_is_not_replaced() {
        assert_eq!(judged(topic(3, 1), topic(3, 1), true), ["name"]);
        let mut open = topic(3, 1);
        open.set_attr("deletion_protection", Value::from(false));
        // The protection that counts is the one that was applied, not the one that is planned.
        assert!(judged(open, topic(3, 1), true).is_empty());
    }

    #[test]
    fn a_state_without_protection_is_protected() {
        assert!(protection(&Value::object([("name", Value::from("t"))]), "destroy it").is_some());
        let open = Value::object([("deletion_protection", Value::from(false))]);
        assert!(protection(&open, "destroy it").is_none());
    }

    #[test]
    fn names_follow_kafkas_rules() {
        for good in ["a", "a.b_c-D9", "...", &"x".repeat(249)] {
            assert_eq!(name_problem(good), None, "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "grüße", &"x".repeat(250)] {
            assert!(name_problem(bad).is_some(), "{bad}");
        }
    }
}
