//! Bearer tokens: JSON Web Tokens (RFC 7519) that one issuer signed, and the rules that make a principal of them.
//!
//! Nothing of a token is logged. Its claims count for nothing until the signature is verified, not even for the audit log.

mod fetch;
mod jwk;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

pub use fetch::{FetchError, is_url, url_problem};
pub use jwk::{Algorithm, Key, KeySet};
pub use keys::Keys;

use super::Principal;
use crate::clock::Clock;
use crate::config::OauthBearer;

/// What a token has to say besides being signed.
#[derive(Clone, Debug)]
pub struct Rules {
    pub issuer: String,
    /// One of these has to be among the token's audiences.
    pub audiences: Vec<String>,
    /// All of these have to be among the token's scopes.
    pub scopes: Vec<String>,
    pub principal_claim: String,
    pub scope_claim: String,
    /// How far clocks may be apart (milliseconds).
    pub skew_ms: i64,
}

/// A token that was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub principal: Principal,
    /// When the token ends, milliseconds since 1970; of a token that only the skew still lets in, when the skew ends.
    pub ends_ms: i64,
}

/// Why a token was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The principal's name, when the signature was good.
    pub claimed: Option<String>,
    /// For the audit log.
    pub reason: &'static str,
    /// All was well but the scopes.
    pub scope: bool,
}

impl From<&'static str> for Refused {
    fn from(reason: &'static str) -> Self {
        Self { claimed: None, reason, scope: false }
    }
}

/// A token taken apart; nothing of it is verified.
#[derive(Debug)]
pub struct Unverified<'a> {
    pub algorithm: Algorithm,
    pub key: Option<String>,
    signed: &'a str,
    claims: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl<'a> Unverified<'a> {
    /// Takes a token in the compact form (RFC 7515) apart. Never panics, whatever the text.
    pub fn parse(token: &'a str) -> Result<Self, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or("the token is not a signed JWT")?;
        let (header, claims) = signed.split_once('.').ok_or("the token is not a signed JWT")?;
        if claims.contains('.') {
            return Err("the token is not a signed JWT");
        }
        let header = BASE64_URL_SAFE_NO_PAD.decode(header).map_err(|_| "the token's header is not base64url")?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| "the token's header cannot be read")?;
        if header.crit.is_some() {
            return Err("the token has critical extensions, and none are known");
        }
        let algorithm = Algorithm::parse(&header.alg).ok_or("the token's algorithm is not one that is accepted")?;
        let signature =
            BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| "the token's signature is not base64url")?;
        Ok(Self { algorithm, key: header.kid, signed, claims, signature })
    }

    /// The claims, if one of the keys made the signature.
    pub fn claims(&self, keys: &[Key]) -> Result<Map<String, Value>, &'static str> {
        if !keys.iter().any(|key| key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature)) {
            return Err("the token's signature is not its issuer's");
        }
        let claims = BASE64_URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| "the token's claims are not base64url")?;
        serde_json::from_slice(&claims).map_err(|_| "the token's claims cannot be read")
    }
}

impl Rules {
    pub fn of(settings: &OauthBearer) -> Self {
        Self {
            issuer: settings.issuer.clone().unwrap_or_default(),
            audiences: settings.audiences.clone(),
            scopes: settings.scopes.clone(),
            principal_claim: settings.principal_claim.clone(),
            scope_claim: settings.scope_claim.clone(),
            skew_ms: settings.clock_skew_seconds.saturating_mul(1000).min(i64::MAX as u64) as i64,
        }
    }

    /// Judges the claims of a token whose signature is good.
    pub fn judge(&self, claims: &Map<String, Value>, now_ms: i64) -> Result<Verified, Refused> {
        let name = claims.get(&self.principal_claim).and_then(Value::as_str);
        let refused = |reason: &'static str| Refused { claimed: name.map(str::to_owned), reason, scope: false };
        let ends_ms = self.time(claims, now_ms).map_err(refused)?;
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(refused("the token is from another issuer"));
        }
        if !texts(claims.get("aud")).any(|audience| self.audiences.iter().any(|wanted| wanted == audience)) {
            return Err(refused("the token is for another audience"));
        }
        let name = name.ok_or_else(|| refused("the token does not have the claim that names the principal"))?;
        let principal = Principal::named(name).map_err(refused)?;
        let granted = |scope: &String| {
            texts(claims.get(&self.scope_claim)).any(|text| text.split(' ').any(|granted| granted == scope))
        };
        if !self.scopes.iter().all(granted) {
            return Err(Refused { scope: true, ..refused("the token does not have the scopes that are needed") });
        }
        Ok(Verified { principal, ends_ms })
    }

    /// When the token ends, if it is valid now.
    fn time(&self, claims: &Map<String, Value>, now_ms: i64) -> Result<i64, &'static str> {
        let latest_ms = now_ms.saturating_add(self.skew_ms);
        let ends_ms = instant(claims, "exp")?.ok_or("the token has no expiry")?;
        if now_ms >= ends_ms.saturating_add(self.skew_ms) {
            return Err("the token has expired");
        }
        if instant(claims, "nbf")?.is_some_and(|begins_ms| begins_ms > latest_ms) {
            return Err("the token is not valid yet");
        }
        if instant(claims, "iat")?.is_some_and(|issued_ms| issued_ms > latest_ms) {
            return Err("the token was issued in the future");
        }
        Ok(if ends_ms > now_ms { ends_ms } else { ends_ms.saturating_add(self.skew_ms) })
    }
}

/// A NumericDate, which may have a fraction, in milliseconds since 1970.
fn instant(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, &'static str> {
    match claims.get(name) {
        None => Ok(None),
        // Beyond what an i64 holds the conversion stays at its end.
        Some(value) => value
            .as_f64()
            .map(|seconds| Some((seconds * 1000.0) as i64))
            .ok_or("the token has a time that is no number"),
    }
}

/// One text, or the texts in a list.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let one = value.and_then(Value::as_str);
    let list = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(list)
}

/// Verifies tokens. One per broker.
pub struct TokenVerifier {
    pub rules: Rules,
    pub keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
}

impl TokenVerifier {
    /// From settings that name a key set.
    pub async fn open(settings: &OauthBearer, clock: Arc<dyn Clock>) -> Result<Arc<Self>, FetchError> {
        let place = settings.jwks.clone().unwrap_or_default();
        let source = fetch::Source::of(&place, settings.ca_file.as_deref())?;
        let (refresh, keep) =
            (Duration::from_secs(settings.refresh_seconds), Duration::from_secs(settings.keep_seconds));
        let keys = Arc::new(Keys::open(source, refresh, keep, clock.clone()).await?);
        Ok(Arc::new(Self { rules: Rules::of(settings), keys, clock }))
    }

    pub async fn verify(&self, token: &str) -> Result<Verified, Refused> {
        let token = Unverified::parse(token)?;
        let keys = self.keys.candidates(token.key.as_deref(), token.algorithm).await;
        if keys.is_empty() {
            return Err("no known key of the issuer fits the token".into());
        }
        self.rules.judge(&token.claims(&keys)?, self.clock.now_ms())
    }
}

#[cfg(test)]
pub(crate) mod tests;
