//! Users, quotas, and logging in.

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterUserScramCredentialsRequest, DescribeClientQuotasRequest,
    DescribeUserScramCredentialsRequest, MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::differential::Peer;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn upsert(name: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion::default()
        .with_name(text(name))
        .with_mechanism(mechanism)
        .with_iterations(iterations)
        .with_salt(Bytes::from_static(b"pepper and salt."))
        .with_salted_password(Bytes::from_static(b"a salted password, 32 bytes long"))
}

fn deletion(name: &str, mechanism: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion::default().with_name(text(name)).with_mechanism(mechanism)
}

pub(super) fn change(
    deletions: Vec<ScramCredentialDeletion>,
    upsertions: Vec<ScramCredentialUpsertion>,
) -> AlterUserScramCredentialsRequest {
    AlterUserScramCredentialsRequest::default().with_deletions(deletions).with_upsertions(upsertions)
}

pub(super) fn described(names: Option<&[&str]>) -> DescribeUserScramCredentialsRequest {
    let names = names.map(|names| names.iter().map(|name| UserName::default().with_name(text(name))).collect());
    DescribeUserScramCredentialsRequest::default().with_users(names)
}

pub(super) fn credentials(peer: &mut Peer) -> Result<()> {
    let (user, other) = (peer.own("u"), peer.own("o"));
    let cases = [
        ("made", change(vec![], vec![upsert(&user, 1, 4096), upsert(&user, 2, 8192)])),
        ("two users", change(vec![], vec![upsert(&other, 1, 4096), upsert(&user, 1, 5000)])),
        ("too few iterations", change(vec![], vec![upsert(&user, 1, 4095)])),
        ("too many iterations", change(vec![], vec![upsert(&user, 1, 16385)])),
        ("unknown mechanism", change(vec![], vec![upsert(&user, 9, 4096)])),
        ("no mechanism", change(vec![], vec![upsert(&user, 0, 4096)])),
        ("empty name", change(vec![], vec![upsert("", 1, 4096)])),
        ("twice", change(vec![], vec![upsert(&user, 1, 4096), upsert(&user, 1, 4097)])),
        ("made and deleted", change(vec![deletion(&user, 1)], vec![upsert(&user, 1, 4096)])),
        ("one made and one deleted", change(vec![deletion(&user, 1)], vec![upsert(&user, 2, 4096)])),
        ("good beside bad", change(vec![], vec![upsert(&user, 1, 4096), upsert(&other, 9, 4096)])),
        ("deleted: unknown user", change(vec![deletion(&peer.own("nobody"), 1)], vec![])),
        ("deleted: unknown mechanism", change(vec![deletion(&user, 9)], vec![])),
        ("deleted: empty name", change(vec![deletion("", 1)], vec![])),
        ("nothing", change(vec![], vec![])),
    ];
    for (step, request) in &cases {
        peer.ask_once(step, request, 0)?;
        peer.ask_once(&format!("described after {step}"), &described(Some(&[&user, &other])), 0)?;
    }
    peer.ask_once("described: unknown", &described(Some(&[&peer.own("nobody")])), 0)?;
    peer.ask_once("described: twice", &described(Some(&[&user, &user])), 0)?;
    peer.ask_once("described: empty name", &described(Some(&[""])), 0)?;
    let all = change(vec![deletion(&user, 1), deletion(&user, 2), deletion(&other, 1)], vec![]);
    peer.ask_once("deleted", &all, 0)?;
    peer.ask_once("deleted again", &all, 0)?;
    Ok(())
}

pub(super) type Entity<'a> = &'a [(&'a str, Option<&'a str>)];
pub(super) type Values<'a> = &'a [(&'a str, Option<f64>)];

pub(super) fn quota(entity: Entity, values: Values) -> AlterClientQuotasRequest {
    let part = |(kind, name): &(&str, Option<&str>)| {
        EntityData::default().with_entity_type(text(kind)).with_entity_name(name.map(text))
    };
    let value = |(key, value): &(&str, Option<f64>)| {
        OpData::default().with_key(text(key)).with_value(value.unwrap_or(0.0)).with_remove(value.is_none())
    };
    let entry = EntryData::default()
        .with_entity(entity.iter().map(part).collect())
        .with_ops(values.iter().map(value).collect());
    AlterClientQuotasRequest::default().with_entries(vec![entry])
}

pub(super) fn quotas(components: Components, strict: bool) -> DescribeClientQuotasRequest {
    let component = |(kind, how, name): &(&str, i8, Option<&str>)| {
        ComponentData::default().with_entity_type(text(kind)).with_match_type(*how).with_match(name.map(text))
    };
    DescribeClientQuotasRequest::default()
        .with_components(components.iter().map(component).collect())
        .with_strict(strict)
}

/// Entity type, how it matches, name.
type Components<'a> = &'a [(&'a str, i8, Option<&'a str>)];

/// How a component matches.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

pub(super) fn rates(peer: &mut Peer) -> Result<()> {
    let (user, client) = (peer.own("u"), peer.own("c"));
    let (user, client) = (Some(user.as_str()), Some(client.as_str()));
    let rate: Values = &[("producer_byte_rate", Some(1024.0)), ("request_percentage", Some(50.0))];
    let cases: [(&str, Entity, Values); 21] = [
        ("user", &[("user", user)], rate),
        ("client", &[("client-id", client)], rate),
        ("pair", &[("user", user), ("client-id", client)], rate),
        ("user and default client", &[("user", user), ("client-id", None)], rate),
        ("address", &[("ip", Some("10.0.0.7"))], &[("connection_creation_rate", Some(5.0))]),
        ("changed", &[("user", user)], &[("producer_byte_rate", Some(2048.0))]),
        ("one removed", &[("user", user)], &[("request_percentage", None)]),
        ("removed again", &[("user", user)], &[("request_percentage", None)]),
        ("no entity", &[], rate),
        ("unknown entity type", &[("group", user)], rate),
        ("user twice", &[("user", user), ("user", None)], rate),
        ("user and address", &[("user", user), ("ip", Some("10.0.0.7"))], rate),
        ("not an address", &[("ip", Some("nowhere at all"))], &[("connection_creation_rate", Some(5.0))]),
        ("address and byte rate", &[("ip", Some("10.0.0.7"))], rate),
        ("user and connection rate", &[("user", user)], &[("connection_creation_rate", Some(5.0))]),
        ("unknown key", &[("user", user)], &[("no_such_rate", Some(1.0))]),
        ("zero", &[("user", user)], &[("producer_byte_rate", Some(0.0))]),
        ("negative", &[("user", user)], &[("producer_byte_rate", Some(-1.0))]),
        ("a fraction of a byte", &[("user", user)], &[("producer_byte_rate", Some(1.5))]),
        ("a fraction of a percent", &[("user", user)], &[("request_percentage", Some(0.5))]),
        ("empty name", &[("user", Some(""))], rate),
    ];
    for (step, entity, values) in cases {
        let request = quota(entity, values);
        for version in 0..=1 {
            peer.ask_once(&format!("{step}, validated"), &request.clone().with_validate_only(true), version)?;
            peer.ask_once(step, &request, version)?;
        }
    }
    let filters: [(&str, Components, bool); 11] = [
        ("a user", &[("user", EXACT, user)], false),
        ("a user alone", &[("user", EXACT, user)], true),
        ("a client", &[("client-id", EXACT, client)], false),
        ("a pair", &[("user", EXACT, user), ("client-id", EXACT, client)], true),
        ("a user with the default client", &[("user", EXACT, user), ("client-id", DEFAULT, None)], true),
        ("a user with any client", &[("user", EXACT, user), ("client-id", SPECIFIED, None)], false),
        ("an address", &[("ip", EXACT, Some("10.0.0.7"))], false),
        ("unknown entity type", &[("group", EXACT, user)], false),
        ("user twice", &[("user", EXACT, user), ("user", DEFAULT, None)], false),
        ("unknown match type", &[("user", 7, user)], false),
        ("a user nobody knows", &[("user", EXACT, Some("nobody-knows"))], false),
    ];
    for (step, components, strict) in filters {
        for version in 0..=1 {
            peer.ask_once(&format!("described: {step}"), &quotas(components, strict), version)?;
        }
    }
    let gone: Values = &[("producer_byte_rate", None), ("request_percentage", None)];
    for (step, entity) in [
        ("user", &[("user", user)][..]),
        ("client", &[("client-id", client)]),
        ("pair", &[("user", user), ("client-id", client)]),
    ] {
        peer.ask_once(&format!("{step} forgotten"), &quota(entity, gone), 1)?;
    }
    peer.ask_once("address forgotten", &quota(&[("ip", Some("10.0.0.7"))], &[("connection_creation_rate", None)]), 1)?;
    peer.ask_once("default forgotten", &quota(&[("user", user), ("client-id", None)], gone), 1)?;
    // Kafka takes two parts of one type for the last of them.
    peer.ask_once("every user forgotten", &quota(&[("user", None)], gone), 1)?;
    peer.ask_once("described when all is gone", &quotas(&[("user", EXACT, user)], false), 1)?;
    Ok(())
}

/// A connection of its own for each step, because a failure ends it.
pub(super) fn logins(peer: &mut Peer) -> Result<()> {
    let handshake = |mechanism: &str| SaslHandshakeRequest::default().with_mechanism(text(mechanism));
    let say = |words: &str| SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(words.to_owned()));
    for version in 0..=1 {
        for mechanism in ["SCRAM-SHA-256", "scram-sha-256", "GSSAPI", ""] {
            let mut stranger = peer.stranger()?;
            peer.ask_in_vain(&mut stranger, &format!("handshake {mechanism:?}"), &handshake(mechanism), version)?;
        }
    }
    for version in 0..=2 {
        for (step, words) in [
            ("nonsense", "nonsense"),
            ("nothing", ""),
            ("unknown user", "n,,n=nobody,r=abcdefghijklmnop"),
            ("no nonce", "n,,n=nobody"),
            ("channel binding", "p=tls-unique,,n=nobody,r=abcdefghijklmnop"),
            ("another identity", "n,a=somebody,n=nobody,r=abcdefghijklmnop"),
        ] {
            let mut stranger = peer.stranger()?;
            peer.ask(&mut stranger, &format!("handshake before {step}"), &handshake("SCRAM-SHA-256"), 1)?;
            peer.ask_in_vain(&mut stranger, step, &say(words), version)?;
            peer.ask_in_vain(&mut stranger, &format!("after {step}"), &say("n,,n=again,r=abc"), version)?;
        }
    }
    let mut stranger = peer.stranger()?;
    peer.ask_in_vain(&mut stranger, "metadata before anything", &MetadataRequest::default(), 9)?;
    let mut stranger = peer.stranger()?;
    peer.ask_in_vain(&mut stranger, "authenticate without a handshake", &say("n,,n=nobody,r=abcdefghijklmnop"), 2)?;
    let mut admin = peer.admin()?;
    peer.ask_in_vain(&mut admin, "handshake where there is no SASL", &handshake("SCRAM-SHA-256"), 1)?;
    Ok(())
}
