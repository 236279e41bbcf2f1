//! OAUTHBEARER (RFC 7628) as Kafka speaks it: a token in the first message, an error in JSON that the client has to
//! acknowledge with `\x01`, and extensions (KIP-342), which are read and not used.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::json;

use super::scram::unescape;
use super::{Failure, Step};
use crate::auth::token::{Refused, TokenVerifier};
use crate::config::SaslMechanism;

const SEPARATOR: char = '\u{1}';

/// The first message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientResponse<'a> {
    pub authzid: Option<String>,
    pub token: &'a str,
    /// Key and value, as the client gave them.
    pub extensions: Vec<(&'a str, &'a str)>,
}

/// Reads the initial client response: `n,a=<authzid>,\x01auth=Bearer <token>\x01key=value\x01\x01`. Never panics,
/// whatever the octets.
pub fn parse(message: &[u8]) -> Result<ClientResponse<'_>, &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "it is not UTF-8")?;
    let (header, rest) = text.split_once(SEPARATOR).ok_or("there is no separator after the header")?;
    let (flag, authzid) =
        header.strip_suffix(',').and_then(|header| header.split_once(',')).ok_or("the header is not n,,")?;
    match flag {
        "n" | "y" => {}
        flag if flag.starts_with("p=") => return Err("channel binding is not supported"),
        _ => return Err("the channel binding flag is not n, y or p"),
    }
    let authzid = match authzid.strip_prefix("a=") {
        Some(name) => Some(unescape(name)?),
        None if authzid.is_empty() => None,
        None => return Err("the authorization id has no a= before it"),
    };
    let pairs = rest.strip_suffix("\u{1}\u{1}").ok_or("the end is missing")?;
    let (mut token, mut extensions, mut keys) = (None, Vec::new(), BTreeSet::new());
    for pair in pairs.split(SEPARATOR) {
        let (key, value) = key_and_value(pair)?;
        if !keys.insert(key) {
            return Err("a key comes twice");
        }
        match key {
            "auth" => token = Some(bearer(value)?),
            _ => extensions.push((key, value)),
        }
    }
    Ok(ClientResponse { authzid, token: token.ok_or("the token is missing")?, extensions })
}

fn key_and_value(pair: &str) -> Result<(&str, &str), &'static str> {
    let (key, value) = pair.split_once('=').ok_or("a pair has no equals sign")?;
    let printable = |octet: u8| octet.is_ascii_graphic() || matches!(octet, b' ' | b'\t' | b'\r' | b'\n');
    if key.is_empty() || !key.bytes().all(|octet| octet.is_ascii_alphabetic()) {
        return Err("a key does not consist of letters");
    }
    match !value.is_empty() && value.bytes().all(printable) {
        true => Ok((key, value)),
        false => Err("a value is empty or has characters that are not allowed"),
    }
}

fn bearer(value: &str) -> Result<&str, &'static str> {
    let (scheme, token) = value.split_once(' ').ok_or("the token has no scheme before it")?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("the scheme is not Bearer");
    }
    let token = token.trim_start_matches(' ');
    let in_token = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    match !token.is_empty() && token.bytes().all(in_token) {
        true => Ok(token),
        false => Err("the token is empty or has characters that no JWT has"),
    }
}

/// Answers the first message.
pub(super) async fn authenticate(tokens: &TokenVerifier, message: &[u8]) -> Step {
    let mechanism = SaslMechanism::OauthBearer;
    let response = match parse(message) {
        Ok(response) => response,
        Err(reason) => return Step::Failed(Failure::malformed(mechanism, reason)),
    };
    match tokens.verify(response.token).await {
        Ok(verified) => match response.authzid {
            Some(authzid) if authzid != verified.principal.name() => Step::Failed(Failure::refused(
                mechanism,
                verified.principal.name(),
                "the authorization id is not the token's principal",
            )),
            _ => Step::Done { principal: verified.principal, bytes: Bytes::new(), ends_ms: Some(verified.ends_ms) },
        },
        Err(refused) => refuse(refused, &tokens.rules.scopes),
    }
}

/// RFC 7628, section 3.2.2: what is wrong goes out as a challenge, and only after the client has acknowledged it does the
/// exchange fail.
fn refuse(refused: Refused, scopes: &[String]) -> Step {
    let error = match refused.scope {
        true => json!({"status": "insufficient_scope", "scope": scopes.join(" ")}),
        false => json!({"status": "invalid_token"}),
    };
    let message = error.to_string();
    let challenge = Bytes::from(message.clone());
    let failure = Failure {
        message,
        ..Failure::refused(SaslMechanism::OauthBearer, refused.claimed.as_deref().unwrap_or_default(), refused.reason)
    };
    let claimed = refused.claimed;
    Step::Rejected { challenge, failure: Failure { claimed, ..failure } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_messages() {
        let parsed = parse(b"n,,\x01auth=Bearer a.b-c_d\x01\x01").expect("valid");
        assert_eq!(parsed, ClientResponse { authzid: None, token: "a.b-c_d", extensions: Vec::new() });
        let parsed = parse(b"y,a=x=2Cy=3D,\x01traceId=1 2=3\x01auth=BEARER  t\x01\x01").expect("valid");
        assert_eq!(parsed.authzid.as_deref(), Some("x,y="));
        assert_eq!((parsed.token, parsed.extensions), ("t", vec![("traceId", "1 2=3")]));
        let bad: [&[u8]; 24] = [
            b"",
            b"\x01",
            b"n,,",
            b"n,,\x01\x01",
            b"n,,\x01auth=Bearer t\x01",
            b"n,,auth=Bearer t\x01\x01",
            b"n\x01auth=Bearer t\x01\x01",
            b"n,\x01auth=Bearer t\x01\x01",
            b"n,,,\x01auth=Bearer t\x01\x01",
            b"x,,\x01auth=Bearer t\x01\x01",
            b"p=tls-unique,,\x01auth=Bearer t\x01\x01",
            b"n,a=,\x01auth=Bearer t\x01\x01",
            b"n,app,\x01auth=Bearer t\x01\x01",
            b"n,a=x=,\x01auth=Bearer t\x01\x01",
            b"n,,\x01auth=Basic t\x01\x01",
            b"n,,\x01auth=Bearer\x01\x01",
            b"n,,\x01auth=Bearer \x01\x01",
            b"n,,\x01auth=Bearer t t\x01\x01",
            b"n,,\x01auth=Bearer t,u\x01\x01",
            b"n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01",
            b"n,,\x01auth=Bearer t\x01k1=v\x01\x01",
            b"n,,\x01auth=Bearer t\x01k=\x01\x01",
            b"n,,\x01auth=Bearer t\x01k=\x7f\x01\x01",
            b"n,,\x01key=value\x01\x01",
        ];
        for message in bad {
            assert!(parse(message).is_err(), "{:?} was accepted", String::from_utf8_lossy(message));
        }
        assert!(parse(b"n,,\x01auth=Bearer \xff\x01\x01").is_err());
    }
}
