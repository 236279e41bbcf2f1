//! One listener: accepts, admits, secures, and hands connections over.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kafka_protocol::protocol::StrBytes;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::Connections;
use crate::auth::Principal;
use crate::auth::quota::Pace;
use crate::auth::sasl;
use crate::clock::Clock;
use crate::config::{Listener, SaslMechanism, SecurityProtocol};
use crate::connection::{self, Budget, Peer, TlsSocket};
use crate::limits;
use crate::service::Services;
use crate::tls::{ServerTls, TlsSettings};
use crate::trust::Trust;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// After a failed accept (no file descriptors left, say), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A peer that vanished is noticed within a few minutes.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A listener with its socket.
pub(super) struct Bound {
    pub(super) name: Arc<str>,
    pub(super) address: SocketAddr,
    pub(super) advertised: (StrBytes, i32),
    socket: TcpListener,
    settings: Listener,
}

/// Binds every listener, or says which one cannot be bound.
pub(super) fn bind_all(listeners: &[Listener]) -> anyhow::Result<Vec<Bound>> {
    listeners.iter().map(|listener| bind(listener).with_context(|| failure(listener))).collect()
}

fn failure(listener: &Listener) -> String {
    format!("listener `{}` cannot be bound to {}", listener.name, listener.bind)
}

fn bind(listener: &Listener) -> anyhow::Result<Bound> {
    let socket = Socket::new(Domain::for_address(listener.bind), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listener.bind.into())?;
    socket.listen(BACKLOG)?;
    let socket = TcpListener::from_std(socket.into())?;
    let address = socket.local_addr()?;
    Ok(Bound {
        name: listener.name.as_str().into(),
        address,
        advertised: advertised(listener, address),
        socket,
        settings: listener.clone(),
    })
}

/// What clients of a listener are told to connect to. Without a setting the bound address; the unspecified address is
/// of no use to clients, so this machine's name stands for it.
fn advertised(listener: &Listener, bound: SocketAddr) -> (StrBytes, i32) {
    let (host, port) = match listener.advertised.as_deref().and_then(|text| text.rsplit_once(':')) {
        Some((host, port)) => (host.trim_matches(['[', ']']).to_owned(), port.parse().unwrap_or(0)),
        None if bound.ip().is_unspecified() => (machine_name(), 0),
        None => (bound.ip().to_string(), 0),
    };
    let port = if port == 0 { bound.port() } else { port };
    (StrBytes::from_string(host), i32::from(port))
}

fn machine_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Bound {
    pub(super) fn host(&self) -> &str {
        &self.advertised.0
    }

    /// TLS and SASL: what the first users' credentials are for.
    pub(super) fn is_secured(&self) -> bool {
        self.settings.protocol == SecurityProtocol::SaslSsl
    }

    /// `host:port`, as clients take it.
    pub(super) fn advertised_text(&self) -> String {
        let (host, port) = &self.advertised;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The listener's TLS; none on plaintext protocols.
    pub(super) fn tls(&self, trust: &Arc<Trust>, clock: Arc<dyn Clock>) -> anyhow::Result<Option<Arc<ServerTls>>> {
        if !self.settings.protocol.tls() {
            return Ok(None);
        }
        let settings = TlsSettings::of(&self.settings).with_context(|| format!("listener `{}`", self.name))?;
        let tls = ServerTls::new(settings, trust.clone(), clock);
        Ok(Some(tls.with_context(|| format!("listener `{}`", self.name))?))
    }

    pub(super) fn pace(&self, clock: Arc<dyn Clock>) -> Option<Arc<Pace>> {
        Pace::new(self.settings.connection_creation_rate, clock)
    }

    /// The SASL mechanisms that clients are offered.
    fn mechanisms(&self) -> Option<Arc<[SaslMechanism]>> {
        let tls = self.settings.protocol.tls();
        let by_name = self.settings.protocol == SecurityProtocol::SaslPlaintext;
        self.settings.protocol.sasl().then(|| sasl::offered(&self.settings.mechanisms, tls, by_name))
    }
}

/// A listener at work.
pub(super) struct Listening {
    pub(super) bound: Bound,
    /// The broker's and the listener's own.
    pub(super) paces: [Option<Arc<Pace>>; 2],
    pub(super) tls: Option<Arc<ServerTls>>,
    pub(super) services: Arc<Services>,
    pub(super) admitted: Connections,
    pub(super) budget: Arc<Budget>,
    pub(super) stop: CancellationToken,
    pub(super) connections: TaskTracker,
}

impl Listening {
    /// Accepts until cancelled.
    pub(super) async fn run(self) {
        let mechanisms = self.bound.mechanisms();
        let stop = self.stop.clone();
        while let Some(accepted) = stop.run_until_cancelled(self.bound.socket.accept()).await {
            match accepted {
                Ok((stream, address)) => {
                    for pace in self.paces.iter().flatten() {
                        if stop.run_until_cancelled(pace.wait()).await.is_none() {
                            return;
                        }
                    }
                    self.admit(stream, address, mechanisms.clone());
                }
                Err(error) => {
                    tracing::warn!(listener = &*self.bound.name, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr, sasl: Option<Arc<[SaslMechanism]>>) {
        let host = address.ip().to_canonical();
        let ticket = match self.admitted.admit(host) {
            Ok(ticket) => ticket,
            Err(reason) => {
                self.services.metrics.refused_connection(&self.bound.name);
                tracing::debug!(%host, listener = &*self.bound.name, %reason, "connection refused");
                return;
            }
        };
        if let Err(delay) = self.services.quotas.connect(host) {
            self.services.metrics.refused_connection(&self.bound.name);
            tracing::debug!(%host, listener = &*self.bound.name, ?delay, "connection refused: the address's quota is used up");
            let stop = self.stop.clone();
            self.connections.spawn(async move {
                // Held unserved and then closed, as Kafka does; it counts as a connection meanwhile.
                let _held = (ticket, stream);
                stop.run_until_cancelled(tokio::time::sleep(delay)).await;
            });
            return;
        }
        if let Err(error) = tune(&stream) {
            tracing::debug!(%host, %error, "connection lost");
            return;
        }
        let peer = Peer {
            host,
            listener: self.bound.name.clone(),
            advertised: self.bound.advertised.clone(),
            sasl,
            principal: Principal::anonymous(),
        };
        let (tls, services, budget, stop) =
            (self.tls.clone(), self.services.clone(), self.budget.clone(), self.stop.clone());
        self.connections.spawn(async move {
            let _ticket = ticket;
            match tls {
                None => connection::serve(stream, peer, services, budget, stop).await,
                Some(tls) => secure(stream, &tls, peer, services, budget, stop).await,
            }
        });
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))
}

/// Shakes hands, learns who the client is by its certificate, and serves it.
async fn secure(
    stream: TcpStream,
    tls: &ServerTls,
    mut peer: Peer,
    services: Arc<Services>,
    budget: Arc<Budget>,
    stop: CancellationToken,
) {
    let (host, listener) = (peer.host, peer.listener.clone());
    let refuse = |reason: &str| services.authorizer.audit().authentication_failed(None, host, &listener, reason);
    let patience = Duration::from_secs(limits::AUTHENTICATION_SECONDS);
    let stream = match timeout(patience, TlsSocket::accept(tls.config(), stream)).await {
        Ok(Ok(stream)) => stream,
        // A peer that just goes away (a port scan, a health probe) is nothing to audit.
        Ok(Err((error, _))) if error.kind() != io::ErrorKind::InvalidData => {
            tracing::debug!(%host, listener = &*listener, %error, "connection lost in the TLS handshake");
            return;
        }
        Ok(Err((error, stream))) => {
            refuse(&format!("TLS handshake: {error}"));
            return part(stream).await;
        }
        Err(_) => return refuse("the TLS handshake took too long"),
    };
    // With SASL the certificate opens the door, and SASL says who comes in.
    if peer.sasl.is_none() {
        match tls.principal(stream.peer_certificates()) {
            Some(principal) => peer.principal = principal,
            None => return refuse("no mapping rule fits the client certificate's subject"),
        }
    }
    connection::serve(stream, peer, services, budget, stop).await;
}

/// Closes so that the client reads the alert which says why: with something unread of what it has sent, the kernel would
/// reset the connection, and the client could only guess.
async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let parted = async {
        stream.shutdown().await?;
        let mut rest = stream.take(limits::FRAME_BEFORE_AUTHENTICATION as u64);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // The client may be gone already, or never go.
    let _ = timeout(Duration::from_secs(limits::PARTING_SECONDS), parted).await;
}
