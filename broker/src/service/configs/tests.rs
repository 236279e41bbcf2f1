use super::*;

fn topic(configs: &[(&str, &str)]) -> Topic {
    Topic {
        id: uuid::Uuid::from_u128(1),
        name: TopicName::parse("orders").expect("a valid name"),
        partitions: 1,
        replication_factor: 1,
        configs: map(configs),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn alteration(resource_type: i8, name: &'static str, edits: &[(&str, Edit)], replace: bool) -> Alteration {
    Alteration {
        resource_type,
        resource_name: StrBytes::from_static_str(name),
        edits: Ok(edits.iter().map(|(name, edit)| (name.to_string(), edit.clone())).collect()),
        replace,
    }
}

fn set(value: &str) -> Edit {
    Edit::Set(value.to_owned())
}

/// Decides on an alteration of a topic with these configs.
fn of_topic(
    configs: &[(&str, &str)],
    edits: &[(&str, Edit)],
    replace: bool,
) -> Result<Vec<CatalogRecord>, ConfigsError> {
    let mut image = Image::default();
    image.apply(&CatalogRecord::Topic(topic(configs)));
    decide(&image, &Config::default(), &alteration(TOPIC, "orders", edits, replace))
}

#[test]
fn single_edits_leave_the_rest_alone_and_a_replacement_does_not() {
    let before = [("retention.ms", "1"), ("segment.ms", "2")];
    let edits = [("retention.ms", set("5"))];
    let after = CatalogRecord::Topic(topic(&[("retention.ms", "5"), ("segment.ms", "2")]));
    assert_eq!(of_topic(&before, &edits, false), Ok(vec![after]));
    assert_eq!(of_topic(&before, &edits, true), Ok(vec![CatalogRecord::Topic(topic(&[("retention.ms", "5")]))]));
    let deleted = CatalogRecord::Topic(topic(&[("segment.ms", "2")]));
    assert_eq!(of_topic(&before, &[("retention.ms", Edit::Delete)], false), Ok(vec![deleted]));
    assert_eq!(of_topic(&before, &[("retention.ms", set("1"))], false), Ok(vec![]), "nothing changes");
}

#[test]
fn lists_grow_and_shrink_from_the_value_in_effect() {
    let append = [("cleanup.policy", Edit::Append("compact,delete".to_owned()))];
    let both = CatalogRecord::Topic(topic(&[("cleanup.policy", "delete,compact")]));
    assert_eq!(of_topic(&[], &append, false), Ok(vec![both]));
    let subtract = [("cleanup.policy", Edit::Subtract("delete".to_owned()))];
    let compact = CatalogRecord::Topic(topic(&[("cleanup.policy", "compact")]));
    assert_eq!(of_topic(&[("cleanup.policy", "delete,compact")], &subtract, false), Ok(vec![compact]));
    let nothing = CatalogRecord::Topic(topic(&[("cleanup.policy", "")]));
    assert_eq!(of_topic(&[], &subtract, false), Ok(vec![nothing]), "records are kept for good");
}

#[test]
fn refused_edits_say_why() {
    for (edits, error, message) in [
        (vec![("no.such", set("1"))], ResponseError::InvalidConfig, "Unknown topic config name: no.such"),
        (vec![("retention.ms", set("-9"))], ResponseError::InvalidConfig, "Value must be at least -1"),
        (vec![("retention.ms", Edit::Append("1".to_owned()))], ResponseError::InvalidConfig, "append is not allowed"),
        (
            vec![("retention.ms", set("1")), ("retention.ms", set("2"))],
            ResponseError::InvalidRequest,
            "duplicate config keys",
        ),
        (
            vec![("min.compaction.lag.ms", set("9")), ("max.compaction.lag.ms", set("5"))],
            ResponseError::InvalidConfig,
            "conflict",
        ),
    ] {
        let refused = of_topic(&[], &edits, false).expect_err("the edit was accepted");
        assert_eq!(refused.0, error, "{}", refused.1);
        assert!(refused.1.contains(message), "{}", refused.1);
    }
}

#[test]
fn broker_wide_defaults_change_and_fixed_configs_do_not() {
    let mut image = Image::default();
    let record = |name: &str, value: Option<&str>| CatalogRecord::BrokerConfig {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    image.apply(&record("log.roll.ms", Some("7")));
    let decide = |name: &'static str, edits: &[(&str, Edit)], replace| {
        decide(&image, &Config::default(), &alteration(BROKER, name, edits, replace))
    };
    let edits = [("log.retention.ms", set("5"))];
    assert_eq!(decide("", &edits, false), Ok(vec![record("log.retention.ms", Some("5"))]));
    let replaced = vec![record("log.roll.ms", None), record("log.retention.ms", Some("5"))];
    assert_eq!(decide("", &edits, true), Ok(replaced));
    assert_eq!(decide("1", &edits, false).expect_err("they hold for all").0, ResponseError::InvalidRequest);
    let refused = |name| decide("", &[(name, set("5"))], false).expect_err("it cannot change").0;
    assert_eq!(refused("node.id"), ResponseError::InvalidRequest);
    assert_eq!(refused("no.such"), ResponseError::InvalidConfig);
}

#[test]
fn a_resource_that_is_named_twice_is_refused_both_times() {
    let mut alterations =
        [alteration(TOPIC, "a", &[], false), alteration(TOPIC, "b", &[], false), alteration(TOPIC, "a", &[], false)];
    refuse_repeated(&mut alterations);
    let refused: Vec<_> = alterations.iter().map(|alteration| alteration.edits.is_err()).collect();
    assert_eq!(refused, [true, false, true]);
}

#[test]
fn a_group_has_configs_before_it_has_members() {
    let of_group = |image: &Image, edits: &[(&str, Edit)], replace| {
        decide(image, &Config::default(), &alteration(GROUP, "payments", edits, replace))
    };
    let record = |name: &str, value: Option<&str>| CatalogRecord::GroupConfig {
        group: "payments".to_owned(),
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    const SESSION: &str = "consumer.session.timeout.ms";
    const INTERVAL: &str = "consumer.heartbeat.interval.ms";
    let mut image = Image::default();
    let made = of_group(&image, &[(SESSION, set("60000"))], false).expect("a valid change");
    assert_eq!(made, [record(SESSION, Some("60000"))]);
    made.iter().for_each(|record| image.apply(record));
    let edits = [(INTERVAL, set("50000"))];
    assert_eq!(of_group(&image, &edits, false), Ok(vec![record(INTERVAL, Some("50000"))]));
    let error = of_group(&image, &edits, true).expect_err("the session's own timeout goes with the replacement");
    assert!(error.0 == ResponseError::InvalidConfig && error.1.contains("must be greater than"), "{error:?}");
    let removed = of_group(&image, &[(SESSION, Edit::Delete)], false);
    assert_eq!(removed, Ok(vec![record(SESSION, None)]));
    let unknown = of_group(&image, &[("share.session.timeout.ms", set("1"))], false).expect_err("not a config here");
    assert_eq!(unknown.0, ResponseError::InvalidConfig);
}
