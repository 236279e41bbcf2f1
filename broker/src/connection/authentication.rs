//! What a connection may say while it is not known whose it is: ApiVersions and SASL. That is at its beginning, and again
//! each time the client authenticates anew (KIP-368), which a session that ends makes it do.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::{Peer, versions};
use crate::auth::sasl::{Failure, SaslSession, Step, mechanism_name};
use crate::auth::{Principal, Session};
use crate::config::SaslMechanism;
use crate::limits;
use crate::protocol::api::{ProtocolError, Request};
use crate::protocol::{Response, encode};
use crate::service::Services;
use crate::store::Piece;

/// A failure is answered late, so that guessing takes time (Kafka's `connection.failed.authentication.delay.ms`).
const FAILURE_DELAY: Duration = Duration::from_millis(100);

/// Where a connection stands.
pub(super) struct Authentication {
    session: Option<Arc<Session>>,
    /// How the session was authenticated; none without SASL.
    mechanism: Option<SaslMechanism>,
    /// When the session ends, unless the client authenticates again.
    ends: Option<Instant>,
    /// The exchange that goes on. Beside a session, the client authenticates again.
    exchange: Option<Exchange>,
    /// When the client last began to authenticate again.
    began_again: Option<Instant>,
}

struct Exchange {
    sasl: SaslSession,
    /// After SaslHandshake version 0 the tokens come as bare frames.
    raw: bool,
    began: Instant,
}

/// The answer to one frame.
pub(super) struct Progress {
    pub(super) response: Response,
    pub(super) failed: bool,
}

impl From<Response> for Progress {
    fn from(response: Response) -> Self {
        Self { response, failed: false }
    }
}

/// What a token led to.
enum Outcome {
    /// More has to come.
    Continues(Bytes),
    /// The client is known, for this long.
    Done(Bytes, Option<Duration>),
    Failed(Failure),
}

impl Authentication {
    pub(super) fn new(peer: &Peer, services: &Services) -> Self {
        let nothing = Self { session: None, mechanism: None, ends: None, exchange: None, began_again: None };
        match &peer.sasl {
            Some(_) => Self { exchange: Exchange::begin(peer, services), ..nothing },
            None => Self { session: Some(session(peer, peer.principal.clone())), ..nothing },
        }
    }

    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    /// Whether the next frame belongs to an exchange.
    pub(super) fn goes_on(&self) -> bool {
        self.exchange.is_some()
    }

    /// Until when the exchange that goes on has to end.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let patience = Duration::from_secs(limits::AUTHENTICATION_SECONDS);
        self.exchange.as_ref().map(|exchange| exchange.began + patience)
    }

    /// Whether the session has ended: then the client may only authenticate again.
    pub(super) fn has_ended(&self) -> bool {
        self.ends.is_some_and(|ends| ends <= Instant::now())
    }

    /// Handles one frame of an exchange.
    pub(super) async fn advance(
        &mut self,
        frame: Bytes,
        peer: &Peer,
        services: &Services,
    ) -> Result<Progress, ProtocolError> {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.raw) {
            return Ok(self.raw_token(&frame, peer, services).await);
        }
        let request = Request::parse(frame)?;
        match request.api.key {
            ApiKey::ApiVersions => Ok(versions(&request)?.into()),
            ApiKey::SaslHandshake => self.handshake(&request, peer, services),
            ApiKey::SaslAuthenticate => self.token(&request, peer, services).await,
            key => Err(ProtocolError::NotAuthenticated(key)),
        }
    }

    /// Takes a SaslHandshake on a connection that has a session: the client authenticates again. Refused without SASL,
    /// and within a second of the last time.
    pub(super) fn begin_again(
        &mut self,
        request: &Request,
        peer: &Peer,
        services: &Services,
    ) -> Result<Progress, ProtocolError> {
        let recent = self.began_again.is_some_and(|began| began.elapsed() < limits::REAUTHENTICATION_INTERVAL);
        if peer.sasl.is_none() || recent {
            return Ok(already_done(request)?.into());
        }
        self.began_again = Some(Instant::now());
        self.exchange = Exchange::begin(peer, services);
        self.handshake(request, peer, services)
    }

    fn handshake(&mut self, request: &Request, peer: &Peer, services: &Services) -> Result<Progress, ProtocolError> {
        let Some(exchange) = &mut self.exchange else { return Ok(already_done(request)?.into()) };
        let wanted: SaslHandshakeRequest = request.decode()?;
        let offered = exchange.sasl.mechanisms().map(StrBytes::from_static_str).collect();
        let mut response = SaslHandshakeResponse::default().with_mechanisms(offered);
        let mut failed = false;
        match exchange.sasl.handshake(&wanted.mechanism) {
            Ok(()) => exchange.raw = request.version == 0,
            Err(error) => {
                services.authorizer.audit().authentication_failed(
                    None,
                    peer.host,
                    &peer.listener,
                    "mechanism is not offered",
                );
                response.error_code = error.code();
                failed = true;
            }
        }
        let response = encode(&response, request.version, request.correlation_id)?;
        Ok(Progress { response, failed })
    }

    async fn token(&mut self, request: &Request, peer: &Peer, services: &Services) -> Result<Progress, ProtocolError> {
        if self.exchange.is_none() {
            return Ok(already_done(request)?.into());
        }
        let message: SaslAuthenticateRequest = request.decode()?;
        let response = SaslAuthenticateResponse::default();
        let (response, failed) = match self.judge(&message.auth_bytes, peer, services).await {
            Outcome::Continues(bytes) => (response.with_auth_bytes(bytes), false),
            Outcome::Done(bytes, lifetime) => {
                // Version 0 has no place for it; such a client is cut when its session ends, as in Kafka.
                let lifetime = lifetime.filter(|_| request.version >= 1).map_or(0, |lifetime| lifetime.as_millis());
                (response.with_auth_bytes(bytes).with_session_lifetime_ms(lifetime as i64), false)
            }
            Outcome::Failed(failure) => {
                let message = Some(StrBytes::from_string(failure.message));
                (response.with_error_code(failure.error.code()).with_error_message(message), true)
            }
        };
        let response = encode(&response, request.version, request.correlation_id)?;
        Ok(Progress { response, failed })
    }

    /// A bare token; there is no way to tell an error but to close.
    async fn raw_token(&mut self, message: &[u8], peer: &Peer, services: &Services) -> Progress {
        match self.judge(message, peer, services).await {
            Outcome::Continues(bytes) | Outcome::Done(bytes, _) => bare(&bytes).into(),
            Outcome::Failed(_) => Progress { response: Response { parts: Vec::new() }, failed: true },
        }
    }

    /// Takes the client's next message, and makes a session once it is known.
    async fn judge(&mut self, message: &[u8], peer: &Peer, services: &Services) -> Outcome {
        let Some(exchange) = &mut self.exchange else { return Outcome::Continues(Bytes::new()) };
        let mechanism = exchange.sasl.mechanism();
        let step = match self.mechanism {
            Some(before) if mechanism.is_some_and(|now| now != before) => Step::Failed(other_mechanism(before)),
            _ => exchange.sasl.authenticate(message).await,
        };
        let failure = match step {
            Step::Continue(bytes) => return Outcome::Continues(bytes),
            Step::Rejected { challenge, failure } => {
                audit(&failure, peer, services);
                return Outcome::Continues(challenge);
            }
            Step::Done { principal, bytes, ends_ms } => match &self.session {
                Some(session) if session.principal != principal => other_principal(&session.principal, &principal),
                _ => {
                    let lifetime = lifetime(ends_ms, services);
                    // The session stays the same one when the client authenticates again.
                    self.session.get_or_insert_with(|| session(peer, principal));
                    self.mechanism = mechanism;
                    self.ends = lifetime.map(|lifetime| Instant::now() + lifetime);
                    self.exchange = None;
                    return Outcome::Done(bytes, lifetime);
                }
            },
            Step::Failed(failure) => failure,
        };
        audit(&failure, peer, services);
        tokio::time::sleep(FAILURE_DELAY).await;
        Outcome::Failed(failure)
    }
}

impl Exchange {
    /// None on a listener without SASL.
    fn begin(peer: &Peer, services: &Services) -> Option<Self> {
        let mechanisms = peer.sasl.as_ref()?;
        let sasl = services.authenticator.session(Arc::clone(mechanisms));
        Some(Self { sasl, raw: false, began: Instant::now() })
    }
}

/// The answer to SASL requests of a connection that needs none, or is done with it.
pub(super) fn already_done(request: &Request) -> Result<Response, ProtocolError> {
    let error = ResponseError::IllegalSaslState;
    let message = StrBytes::from_static_str("this connection needs no (further) authentication");
    match request.api.key {
        ApiKey::SaslHandshake => {
            let response = SaslHandshakeResponse::default().with_error_code(error.code());
            encode(&response, request.version, request.correlation_id)
        }
        _ => {
            let response =
                SaslAuthenticateResponse::default().with_error_code(error.code()).with_error_message(Some(message));
            encode(&response, request.version, request.correlation_id)
        }
    }
}

/// How long a session may last: until its credential ends, and no longer than the operator wants.
fn lifetime(ends_ms: Option<i64>, services: &Services) -> Option<Duration> {
    let left = |ends_ms: i64| ends_ms.saturating_sub(services.clock.now_ms()).max(1) as u64;
    let most = Some(services.config.connections_max_reauth_ms).filter(|most| *most > 0);
    let shortest = ends_ms.map(left).into_iter().chain(most).min();
    shortest.map(|ms| Duration::from_millis(ms).min(limits::SESSION))
}

fn other_mechanism(before: SaslMechanism) -> Failure {
    Failure {
        error: ResponseError::SaslAuthenticationFailed,
        message: format!(
            "Authentication failed: a connection that was authenticated with SASL mechanism {0} can authenticate again \
             only with {0}",
            mechanism_name(before)
        ),
        claimed: None,
        reason: Some("another SASL mechanism than before on the same connection"),
    }
}

fn other_principal(before: &Principal, now: &Principal) -> Failure {
    Failure {
        error: ResponseError::SaslAuthenticationFailed,
        message: format!("Authentication failed: the principal of a connection cannot change from {before} to {now}"),
        claimed: Some(now.name().to_owned()),
        reason: Some("another principal than before on the same connection"),
    }
}

fn session(peer: &Peer, principal: Principal) -> Arc<Session> {
    Arc::new(Session { principal, host: peer.host, listener: Arc::clone(&peer.listener) })
}

fn bare(token: &[u8]) -> Response {
    let mut frame = BytesMut::with_capacity(4 + token.len());
    frame.put_u32(token.len() as u32);
    frame.put_slice(token);
    Response { parts: vec![Piece::Memory(frame.freeze())] }
}

fn audit(failure: &Failure, peer: &Peer, services: &Services) {
    let Some(reason) = failure.reason else { return };
    services.authorizer.audit().authentication_failed(failure.claimed.as_deref(), peer.host, &peer.listener, reason);
}
