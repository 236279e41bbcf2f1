//! SASL as a state machine without sockets: the connection hands in what the client sent and sends what comes out.
//!
//! A failure says the same whether the user is unknown or the password wrong; the reason for the audit log is apart.

pub mod oauthbearer;
pub mod plain;
pub mod scram;

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::Principal;
use super::token::TokenVerifier;
use crate::catalog::{Catalog, ScramMechanism};
use crate::config::SaslMechanism;
use plain::PlainVerifier;
use scram::ScramExchange;

/// Iterations and octets of salt in credentials that the broker makes itself, and those that an unknown user seems to
/// have. Our command line and Kafka's tools choose as many iterations unless told otherwise, so an unknown user looks
/// like most known ones.
pub const DEFAULT_ITERATIONS: u32 = 4096;
pub const SALT_OCTETS: usize = 32;
/// Largest message of an exchange; RFC 4616 and RFC 5802 messages with names and nonces of sane lengths are far smaller.
const MAX_MESSAGE: usize = 16 * 1024;

/// What all exchanges of a broker share. One per broker.
pub struct Authenticator {
    catalog: Arc<Catalog>,
    plain: PlainVerifier,
    /// For OAUTHBEARER; none without an issuer.
    tokens: Option<Arc<TokenVerifier>>,
    /// From which unknown users get their salts, so that they look like known ones for as long as the broker runs.
    secret: [u8; 32],
}

/// What happens next in an exchange.
#[derive(Debug)]
pub enum Step {
    /// Send these bytes; the client has to answer.
    Continue(Bytes),
    /// Send these bytes; the client is who it claims to be, until then (milliseconds since 1970) if the credential ends.
    Done { principal: Principal, bytes: Bytes, ends_ms: Option<i64> },
    /// The client is refused and has to acknowledge these bytes before it hears so. To be audited now: it may just leave.
    Rejected { challenge: Bytes, failure: Failure },
    /// Say so and close the connection.
    Failed(Failure),
}

/// Why an exchange failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `SaslAuthenticationFailed` or `IllegalSaslState`.
    pub error: ResponseError,
    /// For the client. Tells nothing about which users exist.
    pub message: String,
    /// The name the client claimed, for the audit log.
    pub claimed: Option<String>,
    /// For the audit log only; none when it is there already.
    pub reason: Option<&'static str>,
}

impl Failure {
    fn malformed(mechanism: SaslMechanism, reason: &'static str) -> Self {
        Self {
            error: ResponseError::SaslAuthenticationFailed,
            message: format!(
                "Authentication failed: the {} message cannot be read: {reason}",
                mechanism_name(mechanism)
            ),
            claimed: None,
            reason: Some(reason),
        }
    }

    fn refused(mechanism: SaslMechanism, claimed: &str, reason: &'static str) -> Self {
        Self {
            error: ResponseError::SaslAuthenticationFailed,
            message: format!(
                "Authentication failed during authentication due to invalid credentials with SASL mechanism {}",
                mechanism_name(mechanism)
            ),
            claimed: Some(claimed.to_owned()),
            reason: Some(reason),
        }
    }

    fn out_of_order(reason: &'static str) -> Self {
        Self { error: ResponseError::IllegalSaslState, message: reason.to_owned(), claimed: None, reason: Some(reason) }
    }
}

/// As on the wire.
pub fn mechanism_name(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::Plain => "PLAIN",
        SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        SaslMechanism::OauthBearer => "OAUTHBEARER",
    }
}

enum State {
    /// No mechanism chosen.
    Start,
    Plain,
    Scram(Box<ScramExchange>),
    Bearer,
    /// Waits for the client to acknowledge that it is refused.
    Rejected(Failure),
    /// Succeeded or failed.
    Over,
}

impl State {
    fn scram(mechanism: ScramMechanism) -> Self {
        Self::Scram(Box::new(ScramExchange::new(mechanism)))
    }
}

/// One client's authentication. Authenticating again (KIP-368) takes a new session.
pub struct SaslSession {
    shared: Arc<Authenticator>,
    mechanisms: Arc<[SaslMechanism]>,
    state: State,
    chosen: Option<SaslMechanism>,
}

impl Authenticator {
    pub fn new(catalog: Arc<Catalog>, tokens: Option<Arc<TokenVerifier>>) -> Arc<Self> {
        Arc::new(Self { catalog, plain: PlainVerifier::new(), tokens, secret: rand::random() })
    }

    /// Who verifies tokens, if an issuer is configured.
    pub fn tokens(&self) -> Option<&Arc<TokenVerifier>> {
        self.tokens.as_ref()
    }

    /// `mechanisms` as the listener offers them; see [`offered`].
    pub fn session(self: &Arc<Self>, mechanisms: Arc<[SaslMechanism]>) -> SaslSession {
        SaslSession { shared: self.clone(), mechanisms, state: State::Start, chosen: None }
    }
}

/// What a listener offers. PLAIN shows the password to whoever listens in, so without TLS it is offered only when the
/// listener names its mechanisms itself (`by_name`) instead of taking the defaults.
pub fn offered(mechanisms: &[SaslMechanism], tls: bool, by_name: bool) -> Arc<[SaslMechanism]> {
    mechanisms.iter().copied().filter(|mechanism| *mechanism != SaslMechanism::Plain || tls || by_name).collect()
}

impl SaslSession {
    /// Names of the mechanisms that the listener offers.
    pub fn mechanisms(&self) -> impl Iterator<Item = &'static str> {
        self.mechanisms.iter().map(|mechanism| mechanism_name(*mechanism))
    }

    /// What the client chose.
    pub fn mechanism(&self) -> Option<SaslMechanism> {
        self.chosen
    }

    /// Chooses the mechanism. Refused with `UnsupportedSaslMechanism`, or `IllegalSaslState` within an exchange.
    pub fn handshake(&mut self, mechanism: &str) -> Result<(), ResponseError> {
        if !matches!(self.state, State::Start) {
            return Err(ResponseError::IllegalSaslState);
        }
        let chosen = self.mechanisms.iter().copied().find(|offered| mechanism_name(*offered) == mechanism);
        let chosen = chosen.ok_or(ResponseError::UnsupportedSaslMechanism)?;
        self.chosen = Some(chosen);
        self.state = match chosen {
            SaslMechanism::Plain => State::Plain,
            SaslMechanism::ScramSha256 => State::scram(ScramMechanism::Sha256),
            SaslMechanism::ScramSha512 => State::scram(ScramMechanism::Sha512),
            SaslMechanism::OauthBearer => State::Bearer,
        };
        Ok(())
    }

    /// Takes the client's next message. Checking a PLAIN password for the first time takes milliseconds on a blocking
    /// thread, and a token that names an unknown key may wait for the issuer; everything else is immediate.
    pub async fn authenticate(&mut self, message: &[u8]) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over);
        if message.len() > MAX_MESSAGE {
            return Step::Failed(Failure::out_of_order("the message is longer than any SASL mechanism needs"));
        }
        match state {
            State::Start => Step::Failed(Failure::out_of_order("SaslHandshake has to choose a mechanism first")),
            State::Over => Step::Failed(Failure::out_of_order("the authentication is over")),
            State::Plain => self.shared.plain.authenticate(&self.shared.catalog.image().users, message).await,
            State::Bearer => {
                let Some(tokens) = &self.shared.tokens else {
                    return Step::Failed(Failure::out_of_order("no issuer of tokens is configured"));
                };
                let step = oauthbearer::authenticate(tokens, message).await;
                if let Step::Rejected { failure, .. } = &step {
                    self.state = State::Rejected(Failure { reason: None, ..failure.clone() });
                }
                step
            }
            State::Rejected(failure) => Step::Failed(failure),
            State::Scram(exchange) => {
                let users = self.shared.catalog.image().users.clone();
                let (step, next) = exchange.advance(&users, &self.shared.secret, message);
                self.state = next.map_or(State::Over, |next| State::Scram(Box::new(next)));
                step
            }
        }
    }
}

#[cfg(test)]
mod tests;
