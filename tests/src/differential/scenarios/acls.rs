//! ACLs: made, filtered, deleted.

use anyhow::Result;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};
use kafka_protocol::protocol::StrBytes;

use crate::differential::Peer;

/// Codes on the wire.
pub(super) const ANY: i8 = 1;
pub(super) const TOPIC: i8 = 2;
pub(super) const GROUP: i8 = 3;
pub(super) const CLUSTER: i8 = 4;
pub(super) const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const MATCH: i8 = 2;
pub(super) const READ: i8 = 3;
const ALL: i8 = 2;
const IDEMPOTENT_WRITE: i8 = 12;
const DENY: i8 = 2;
pub(super) const ALLOW: i8 = 3;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Type, name, pattern; principal, host; operation, permission.
pub(super) type Binding<'a> = (i8, &'a str, i8, &'a str, &'a str, i8, i8);

fn creation((kind, name, pattern, principal, host, operation, permission): &Binding) -> AclCreation {
    AclCreation::default()
        .with_resource_type(*kind)
        .with_resource_name(text(name))
        .with_resource_pattern_type(*pattern)
        .with_principal(text(principal))
        .with_host(text(host))
        .with_operation(*operation)
        .with_permission_type(*permission)
}

pub(super) fn create(bindings: &[Binding]) -> CreateAclsRequest {
    CreateAclsRequest::default().with_creations(bindings.iter().map(creation).collect())
}

/// Type, name, pattern; principal, host; operation, permission.
pub(super) type Filter<'a> = (i8, Option<&'a str>, i8, Option<&'a str>, Option<&'a str>, i8, i8);

pub(super) fn describe((kind, name, pattern, principal, host, operation, permission): &Filter) -> DescribeAclsRequest {
    DescribeAclsRequest::default()
        .with_resource_type_filter(*kind)
        .with_resource_name_filter(name.map(text))
        .with_pattern_type_filter(*pattern)
        .with_principal_filter(principal.map(text))
        .with_host_filter(host.map(text))
        .with_operation(*operation)
        .with_permission_type(*permission)
}

pub(super) fn delete(filters: &[Filter]) -> DeleteAclsRequest {
    let filter = |(kind, name, pattern, principal, host, operation, permission): &Filter| {
        DeleteAclsFilter::default()
            .with_resource_type_filter(*kind)
            .with_resource_name_filter(name.map(text))
            .with_pattern_type_filter(*pattern)
            .with_principal_filter(principal.map(text))
            .with_host_filter(host.map(text))
            .with_operation(*operation)
            .with_permission_type(*permission)
    };
    DeleteAclsRequest::default().with_filters(filters.iter().map(filter).collect())
}

pub(super) fn filters(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let [user, other, third] = ["u", "o", "x"].map(|name| format!("User:{}", peer.own(name)));
    let (name, longer) = (peer.own("t"), peer.own("t-longer"));
    let good: [Binding; 6] = [
        (TOPIC, &name, LITERAL, &user, "*", READ, ALLOW),
        (TOPIC, &name, PREFIXED, &user, "10.0.0.1", READ, ALLOW),
        (TOPIC, "*", LITERAL, &user, "*", READ, DENY),
        (GROUP, &name, LITERAL, &user, "*", READ, ALLOW),
        (CLUSTER, "kafka-cluster", LITERAL, &user, "*", IDEMPOTENT_WRITE, ALLOW),
        (TOPIC, &longer, LITERAL, &other, "*", ALL, ALLOW),
    ];
    for version in 1..=3 {
        peer.ask(&mut admin, "made", &create(&good), version)?;
    }
    let bad: [(&str, Binding); 14] = [
        ("any type", (ANY, "x", LITERAL, &third, "*", READ, ALLOW)),
        ("unknown type", (77, "x", LITERAL, &third, "*", READ, ALLOW)),
        ("empty name", (TOPIC, "", LITERAL, &third, "*", READ, ALLOW)),
        ("match pattern", (TOPIC, "x", MATCH, &third, "*", READ, ALLOW)),
        ("any pattern", (TOPIC, "x", ANY, &third, "*", READ, ALLOW)),
        ("any operation", (TOPIC, "x", LITERAL, &third, "*", ANY, ALLOW)),
        ("unknown operation", (TOPIC, "x", LITERAL, &third, "*", 77, ALLOW)),
        ("operation of another type", (TOPIC, "x", LITERAL, &third, "*", IDEMPOTENT_WRITE, ALLOW)),
        ("any permission", (TOPIC, "x", LITERAL, &third, "*", READ, ANY)),
        ("principal without a type", (TOPIC, "x", LITERAL, "somebody", "*", READ, ALLOW)),
        ("empty principal", (TOPIC, "x", LITERAL, "", "*", READ, ALLOW)),
        ("empty host", (TOPIC, "x", LITERAL, &third, "", READ, ALLOW)),
        ("other cluster", (CLUSTER, "mine", LITERAL, &third, "*", READ, ALLOW)),
        ("bad topic name", (TOPIC, "a b", LITERAL, &third, "*", READ, ALLOW)),
    ];
    for (step, binding) in &bad {
        peer.ask_once(step, &create(&[*binding]), 3)?;
    }
    peer.ask_once("good beside bad", &create(&[good[0], bad[0].1]), 3)?;
    peer.ask(&mut admin, "nothing made", &create(&[]), 3)?;
    let mine = Some(user.as_str());
    let cases: [(&str, Filter); 19] = [
        ("all of a user", (ANY, None, ANY, mine, None, ANY, ANY)),
        ("a type", (TOPIC, None, ANY, mine, None, ANY, ANY)),
        ("a name", (TOPIC, Some(&name), ANY, mine, None, ANY, ANY)),
        ("a literal name", (TOPIC, Some(&name), LITERAL, mine, None, ANY, ANY)),
        ("a prefix", (TOPIC, Some(&name), PREFIXED, mine, None, ANY, ANY)),
        ("what matches", (TOPIC, Some(&longer), MATCH, mine, None, ANY, ANY)),
        ("what matches for all", (TOPIC, Some(&longer), MATCH, None, None, ALL, ANY)),
        ("the wildcard", (TOPIC, Some("*"), LITERAL, mine, None, ANY, ANY)),
        ("an operation", (ANY, None, ANY, mine, None, READ, ANY)),
        ("the operation all", (ANY, None, ANY, Some(&other), None, ALL, ANY)),
        ("a permission", (ANY, None, ANY, mine, None, ANY, DENY)),
        ("a host", (ANY, None, ANY, mine, Some("10.0.0.1"), ANY, ANY)),
        ("the host wildcard", (ANY, None, ANY, mine, Some("*"), ANY, ANY)),
        ("nothing", (TOPIC, Some("nothing"), LITERAL, mine, None, ANY, ANY)),
        ("unknown type filter", (0, None, ANY, mine, None, ANY, ANY)),
        ("unknown pattern filter", (TOPIC, None, 0, mine, None, ANY, ANY)),
        ("unknown operation filter", (TOPIC, None, ANY, mine, None, 0, ANY)),
        ("unknown permission filter", (TOPIC, None, ANY, mine, None, ANY, 0)),
        ("empty name filter", (TOPIC, Some(""), LITERAL, mine, None, ANY, ANY)),
    ];
    for (step, filter) in &cases {
        for version in 1..=3 {
            peer.ask_once(step, &describe(filter), version)?;
        }
    }
    let no_match: Filter = (TOPIC, Some("nothing"), LITERAL, mine, None, ANY, ANY);
    for version in 1..=3 {
        peer.ask(&mut admin, "deleted: none", &delete(&[no_match]), version)?;
    }
    peer.ask_once("deleted: unknown type", &delete(&[cases[14].1]), 3)?;
    peer.ask(&mut admin, "deleted: two filters", &delete(&[cases[2].1, cases[10].1]), 2)?;
    peer.ask(&mut admin, "deleted: the rest", &delete(&[cases[0].1]), 3)?;
    peer.ask(&mut admin, "deleted: the other's", &delete(&[(ANY, None, ANY, Some(&other), None, ANY, ANY)]), 1)?;
    peer.ask(&mut admin, "deleted: the third's", &delete(&[(ANY, None, ANY, Some(&third), None, ANY, ANY)]), 3)?;
    peer.ask(&mut admin, "deleted: again", &delete(&[cases[0].1]), 3)?;
    Ok(())
}
