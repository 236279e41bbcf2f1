//! Configs of topics, brokers and groups: shown and changed.

use anyhow::Result;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as IncrementalResource, AlterableConfig as IncrementalConfig,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::topics::make;
use crate::differential::Peer;

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const GROUP: i8 = 32;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn describe(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    let keys = keys.map(|keys| keys.iter().map(|key| text(key)).collect());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys);
    DescribeConfigsRequest::default().with_resources(vec![resource])
}

pub(super) fn shown(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let topic = peer.own("t");
    make(&mut admin, &topic, 1, &[("retention.ms", "1000"), ("cleanup.policy", "compact")])?;
    for version in 1..=4 {
        let keys: &[&str] = &["retention.ms", "cleanup.policy", "segment.bytes", "no.such"];
        peer.ask_once("some of a topic", &describe(TOPIC, &topic, Some(keys)), version)?;
        let with =
            describe(TOPIC, &topic, Some(keys)).with_include_synonyms(true).with_include_documentation(version >= 3);
        peer.ask_once("with synonyms", &with, version)?;
        peer.ask_once("unknown topic", &describe(TOPIC, &peer.own("nothing"), None), version)?;
        peer.ask_once("bad topic name", &describe(TOPIC, "a b", None), version)?;
        peer.ask_once("empty topic name", &describe(TOPIC, "", None), version)?;
        peer.ask_once("other broker", &describe(BROKER, "99", None), version)?;
        peer.ask_once("no broker id", &describe(BROKER, "one", None), version)?;
        peer.ask_once("some of a broker", &describe(BROKER, "1", Some(&["node.id", "log.retention.ms"])), version)?;
        peer.ask_once("all brokers", &describe(BROKER, "", None), version)?;
        peer.ask_once("unknown type", &describe(77, "x", None), version)?;
    }
    peer.ask_once("all of a topic", &describe(TOPIC, &topic, None), 4)?;
    peer.ask_once("no keys", &describe(TOPIC, &topic, Some(&[])), 4)?;
    let group: &[&str] = &["consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"];
    peer.ask_once("group", &describe(GROUP, &peer.own("g"), Some(group)), 4)?;
    peer.ask_once("group with synonyms", &describe(GROUP, "g", Some(group)).with_include_synonyms(true), 4)?;
    peer.ask_once("empty group name", &describe(GROUP, "", None), 4)?;
    let twice = DescribeConfigsRequest::default().with_resources(
        [describe(TOPIC, &topic, Some(&["retention.ms"])), describe(TOPIC, &topic, Some(&["retention.ms"]))]
            .into_iter()
            .flat_map(|request| request.resources)
            .collect(),
    );
    peer.ask_once("the same twice", &twice, 4)?;
    Ok(())
}

/// Kinds of an incremental change, as on the wire.
pub(super) const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) fn change(kind: i8, name: &str, edits: &[(&str, i8, Option<&str>)]) -> IncrementalAlterConfigsRequest {
    let edit = |(name, operation, value): &(&str, i8, Option<&str>)| {
        IncrementalConfig::default().with_name(text(name)).with_config_operation(*operation).with_value(value.map(text))
    };
    let resource = IncrementalResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(edits.iter().map(edit).collect());
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

pub(super) fn replace(kind: i8, name: &str, values: &[(&str, Option<&str>)]) -> AlterConfigsRequest {
    let value = |(name, value): &(&str, Option<&str>)| {
        AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(values.iter().map(value).collect());
    AlterConfigsRequest::default().with_resources(vec![resource])
}

type Edits<'a> = &'a [(&'a str, i8, Option<&'a str>)];

pub(super) fn changed(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let topic = peer.own("t");
    make(&mut admin, &topic, 1, &[("retention.ms", "1000")])?;
    let keys: &[&str] = &["retention.ms", "cleanup.policy", "max.message.bytes"];
    let cases: [(&str, Edits); 22] = [
        ("set", &[("retention.ms", SET, Some("2000"))]),
        ("set to what it is", &[("retention.ms", SET, Some("2000"))]),
        ("append", &[("cleanup.policy", APPEND, Some("compact"))]),
        ("append again", &[("cleanup.policy", APPEND, Some("compact"))]),
        ("subtract", &[("cleanup.policy", SUBTRACT, Some("delete"))]),
        ("subtract what is not there", &[("cleanup.policy", SUBTRACT, Some("delete"))]),
        ("subtract the last", &[("cleanup.policy", SUBTRACT, Some("compact"))]),
        ("delete", &[("retention.ms", DELETE, None)]),
        ("delete again", &[("retention.ms", DELETE, None)]),
        ("delete with a value", &[("cleanup.policy", DELETE, Some("x"))]),
        ("append to a number", &[("retention.ms", APPEND, Some("1"))]),
        ("set to null", &[("retention.ms", SET, None)]),
        ("set to nothing", &[("retention.ms", SET, Some(""))]),
        ("with spaces", &[("retention.ms", SET, Some(" 3000 "))]),
        ("unknown name", &[("no.such", SET, Some("1"))]),
        ("delete unknown name", &[("no.such", DELETE, None)]),
        ("bad number", &[("retention.ms", SET, Some("soon"))]),
        ("below its range", &[("max.message.bytes", SET, Some("-1"))]),
        ("unknown operation", &[("retention.ms", 9, Some("1"))]),
        ("twice in one", &[("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))]),
        ("good beside bad", &[("retention.ms", SET, Some("5")), ("no.such", SET, Some("2"))]),
        ("contradiction", &[("min.compaction.lag.ms", SET, Some("9")), ("max.compaction.lag.ms", SET, Some("5"))]),
    ];
    for (step, edits) in cases {
        for version in 0..=1 {
            let request = change(TOPIC, &topic, edits);
            peer.ask_once(&format!("{step}, validated"), &request.clone().with_validate_only(true), version)?;
            peer.ask_once(step, &request, version)?;
        }
        peer.ask_once(&format!("after {step}"), &describe(TOPIC, &topic, Some(keys)), 4)?;
    }
    let set: Edits = &[("retention.ms", SET, Some("1"))];
    peer.ask_once("unknown topic", &change(TOPIC, &peer.own("nothing"), set), 1)?;
    peer.ask_once("empty topic name", &change(TOPIC, "", set), 1)?;
    peer.ask_once("bad topic name", &change(TOPIC, "a b", set), 1)?;
    peer.ask_once("unknown type", &change(77, "x", set), 1)?;
    peer.ask_once("no edits", &change(TOPIC, &topic, &[]), 1)?;
    let mut twice = change(TOPIC, &topic, set);
    twice.resources.extend(change(TOPIC, &topic, set).resources);
    peer.ask_once("the same resource twice", &twice, 1)?;
    for version in 0..=2 {
        let some: &[(&str, Option<&str>)] = &[("max.message.bytes", Some("2000"))];
        peer.ask_once("replaced", &replace(TOPIC, &topic, some), version)?;
        peer.ask_once("after the replacement", &describe(TOPIC, &topic, Some(keys)), 4)?;
        peer.ask_once("replaced by null", &replace(TOPIC, &topic, &[("retention.ms", None)]), version)?;
        peer.ask_once("replaced by unknown", &replace(TOPIC, &topic, &[("no.such", Some("1"))]), version)?;
        peer.ask_once("replaced for nobody", &replace(TOPIC, &peer.own("nothing"), some), version)?;
    }
    Ok(())
}

pub(super) fn of_brokers(peer: &mut Peer) -> Result<()> {
    let own = "log.cleaner.delete.retention.ms";
    let cases: [(&str, Edits); 6] = [
        ("set", &[(own, SET, Some("90000000"))]),
        ("fixed", &[("node.id", SET, Some("7"))]),
        ("unknown name", &[("no.such", SET, Some("1"))]),
        ("bad number", &[(own, SET, Some("soon"))]),
        ("deleted", &[(own, DELETE, None)]),
        ("deleted again", &[(own, DELETE, None)]),
    ];
    for (step, edits) in cases {
        peer.ask_once(step, &change(BROKER, "", edits), 1)?;
        peer.ask_once(&format!("after {step}"), &describe(BROKER, "1", Some(&[own])).with_include_synonyms(true), 4)?;
    }
    let edits: Edits = &[(own, SET, Some("90000000"))];
    peer.ask_once("no broker id", &change(BROKER, "one", edits), 1)?;
    peer.ask_once("negative broker id", &change(BROKER, "-3", edits), 1)?;
    Ok(())
}

pub(super) fn of_groups(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let group = peer.own("g");
    let (session, interval) = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms");
    let cases: [(&str, Edits); 8] = [
        ("set", &[(session, SET, Some("50000"))]),
        ("set the other", &[(interval, SET, Some("6000"))]),
        ("interval above the session", &[(interval, SET, Some("60000"))]),
        ("unknown name", &[("no.such", SET, Some("1"))]),
        ("bad number", &[(session, SET, Some("soon"))]),
        ("zero", &[(session, SET, Some("0"))]),
        ("deleted", &[(session, DELETE, None), (interval, DELETE, None)]),
        ("deleted again", &[(session, DELETE, None)]),
    ];
    for (step, edits) in cases {
        peer.ask_once(step, &change(GROUP, &group, edits), 1)?;
        peer.ask_once(&format!("after {step}"), &describe(GROUP, &group, Some(&[session, interval])), 4)?;
    }
    peer.ask_once("empty name", &change(GROUP, "", &[(session, SET, Some("50000"))]), 1)?;
    peer.ask(&mut admin, "made", &change(GROUP, &group, &[(session, SET, Some("50000"))]), 1)?;
    let listed = ListConfigResourcesRequest::default().with_resource_types(vec![GROUP]);
    peer.ask_once("listed", &listed, 1)?;
    for unknown in [0, 1, 64] {
        let request = ListConfigResourcesRequest::default().with_resource_types(vec![unknown]);
        peer.ask_once(&format!("list of type {unknown}"), &request, 1)?;
    }
    peer.ask_once("forgotten", &change(GROUP, &group, &[(session, DELETE, None)]), 1)?;
    Ok(())
}
