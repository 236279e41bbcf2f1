//! What a connection may say before it is known whose it is: ApiVersions and SASL.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Peer;
use super::answer::versions;
use crate::auth::sasl::{Failure, SaslSession, Step};
use crate::auth::{Principal, Session};
use crate::protocol::api::{ProtocolError, Request};
use crate::protocol::{Response, encode};
use crate::service::Services;
use crate::store::Piece;

/// A failure is answered late, so that guessing takes time (Kafka's `connection.failed.authentication.delay.ms`).
const FAILURE_DELAY: Duration = Duration::from_millis(100);

/// Where a connection stands.
pub(super) enum Authentication {
    /// `raw`: after SaslHandshake version 0 the tokens come as bare frames.
    Sasl {
        exchange: SaslSession,
        raw: bool,
    },
    Done(Arc<Session>),
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

impl Authentication {
    pub(super) fn new(peer: &Peer, services: &Services) -> Self {
        match &peer.sasl {
            Some(mechanisms) => {
                Self::Sasl { exchange: services.authenticator.session(Arc::clone(mechanisms)), raw: false }
            }
            None => Self::Done(session(peer, peer.principal.clone())),
        }
    }

    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Done(session) => Some(session),
            Self::Sasl { .. } => None,
        }
    }

    /// Handles one frame of a connection that is not authenticated yet.
    pub(super) async fn advance(
        &mut self,
        frame: Bytes,
        peer: &Peer,
        services: &Services,
    ) -> Result<Progress, ProtocolError> {
        if matches!(self, Self::Sasl { raw: true, .. }) {
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

    fn handshake(&mut self, request: &Request, peer: &Peer, services: &Services) -> Result<Progress, ProtocolError> {
        let Self::Sasl { exchange, raw } = self else { return Ok(already_done(request)?.into()) };
        let wanted: SaslHandshakeRequest = request.decode()?;
        let offered = exchange.mechanisms().map(StrBytes::from_static_str).collect();
        let mut response = SaslHandshakeResponse::default().with_mechanisms(offered);
        let mut failed = false;
        match exchange.handshake(&wanted.mechanism) {
            Ok(()) => *raw = request.version == 0,
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
        let Self::Sasl { exchange, .. } = self else { return Ok(already_done(request)?.into()) };
        let message: SaslAuthenticateRequest = request.decode()?;
        let (response, failed) = match exchange.authenticate(&message.auth_bytes).await {
            Step::Continue(bytes) => (SaslAuthenticateResponse::default().with_auth_bytes(bytes), false),
            Step::Done { principal, bytes } => {
                *self = Self::Done(session(peer, principal));
                (SaslAuthenticateResponse::default().with_auth_bytes(bytes), false)
            }
            Step::Failed(failure) => {
                refused(&failure, peer, services).await;
                let response = SaslAuthenticateResponse::default()
                    .with_error_code(failure.error.code())
                    .with_error_message(Some(StrBytes::from_string(failure.message)));
                (response, true)
            }
        };
        let response = encode(&response, request.version, request.correlation_id)?;
        Ok(Progress { response, failed })
    }

    /// A bare token; there is no way to tell an error but to close.
    async fn raw_token(&mut self, message: &[u8], peer: &Peer, services: &Services) -> Progress {
        let Self::Sasl { exchange, .. } = self else { return Progress { response: bare(&[]), failed: true } };
        match exchange.authenticate(message).await {
            Step::Continue(bytes) => bare(&bytes).into(),
            Step::Done { principal, bytes } => {
                *self = Self::Done(session(peer, principal));
                bare(&bytes).into()
            }
            Step::Failed(failure) => {
                refused(&failure, peer, services).await;
                Progress { response: Response { parts: Vec::new() }, failed: true }
            }
        }
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

fn session(peer: &Peer, principal: Principal) -> Arc<Session> {
    Arc::new(Session { principal, host: peer.host, listener: Arc::clone(&peer.listener) })
}

fn bare(token: &[u8]) -> Response {
    let mut frame = BytesMut::with_capacity(4 + token.len());
    frame.put_u32(token.len() as u32);
    frame.put_slice(token);
    Response { parts: vec![Piece::Memory(frame.freeze())] }
}

async fn refused(failure: &Failure, peer: &Peer, services: &Services) {
    services.authorizer.audit().authentication_failed(
        failure.claimed.as_deref(),
        peer.host,
        &peer.listener,
        failure.reason,
    );
    tokio::time::sleep(FAILURE_DELAY).await;
}
