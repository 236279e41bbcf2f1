//! The process around the protocol: handshake, socket, connections, and the end.

use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::handshake::{self, HandshakeError, Invitation};
use super::plugin_services::PluginServices;
use super::proto::health::health_server::HealthServer;
use super::proto::plugin::grpc_broker_server::GrpcBrokerServer;
use super::proto::plugin::grpc_controller_server::GrpcControllerServer;
use super::proto::plugin::grpc_stdio_server::GrpcStdioServer;
use super::proto::tfplugin6::provider_server::ProviderServer;
use super::server::GrpcProvider;
use super::tls::{Identity, TlsError};
use super::{Provider, logging};

/// The largest message in either direction. gRPC's own 4 MiB is less than the state of a large resource, or a schema, may
/// take; Terraform itself stops at 64 MiB.
const MESSAGE_LIMIT: usize = 256 * 1024 * 1024;

/// How long a peer may take for its TLS handshake.
const TLS_PATIENCE: Duration = Duration::from_secs(10);

/// How long calls in flight may go on once the end was asked for. The host kills the process after two seconds.
const STOP_PATIENCE: Duration = Duration::from_millis(1500);

/// How often the process looks whether Terraform is still there.
const PARENT_CHECK: Duration = Duration::from_secs(2);

/// Why the plugin could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Handshake(#[from] HandshakeFailure),
    #[error("could not listen on a socket for Terraform in {}: {source}", dir.display())]
    Socket { dir: PathBuf, source: io::Error },
    #[error("could not talk to Terraform: {0}")]
    Io(#[from] io::Error),
    #[error("serving Terraform failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Terraform's invitation was missing or could not be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct HandshakeFailure(#[from] HandshakeFault);

#[derive(Debug, thiserror::Error)]
enum HandshakeFault {
    #[error(transparent)]
    Invitation(#[from] HandshakeError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Serves Terraform until it says that it is done, or is gone.
pub async fn serve(provider: impl Provider) -> Result<(), ServeError> {
    let invitation = Invitation::read(|key| std::env::var(key).ok()).map_err(|e| HandshakeFailure(e.into()))?;
    logging::start();
    let identity = Identity::for_client(&invitation.client_certificate_pem).map_err(|e| HandshakeFailure(e.into()))?;

    let parent = invitation.socket_dir.map_or_else(std::env::temp_dir, PathBuf::from);
    let socket_error = |source| ServeError::Socket { dir: parent.clone(), source };
    // The folder is private to this user, and goes away with its socket when this function returns.
    let folder = tempfile::Builder::new().prefix("lockgate-").tempdir_in(&parent).map_err(socket_error)?;
    let path = folder.path().join("plugin.sock");
    let listener = UnixListener::bind(&path).map_err(socket_error)?;

    let stop = CancellationToken::new();
    watch_for_the_end(stop.clone())?;
    {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{}", handshake::line(&path, &identity.certificate))?;
        stdout.flush()?;
    }
    serve_on(listener, &identity, provider, stop).await
}

/// Serves on a socket until `stop`.
pub(super) async fn serve_on(
    listener: UnixListener,
    identity: &Identity,
    provider: impl Provider,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let (connections, accepted) = mpsc::channel(1);
    let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
    tokio::spawn(accept(listener, acceptor, connections, stop.clone()));

    let services = PluginServices { stop: stop.clone() };
    let provider = ProviderServer::new(GrpcProvider::new(provider))
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let server = tonic::transport::Server::builder()
        .add_service(provider)
        .add_service(GrpcStdioServer::new(services.clone()))
        .add_service(GrpcBrokerServer::new(services.clone()))
        .add_service(GrpcControllerServer::new(services.clone()))
        .add_service(HealthServer::new(services))
        .serve_with_incoming_shutdown(ReceiverStream::new(accepted), stop.clone().cancelled_owned());
    tokio::select! {
        served = server => served.map_err(ServeError::from),
        () = async { stop.cancelled().await; tokio::time::sleep(STOP_PATIENCE).await } => Ok(()),
    }
}

/// Takes connections and hands on those that pass TLS, each in a task of its own that its handshake timeout bounds.
async fn accept(
    listener: UnixListener,
    acceptor: TlsAcceptor,
    connections: mpsc::Sender<io::Result<PluginStream>>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "could not accept a connection from Terraform");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (acceptor, connections) = (acceptor.clone(), connections.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(TLS_PATIENCE, acceptor.accept(stream)).await {
                // A closed channel means that the server has ended, and the connection with it.
                Ok(Ok(stream)) => drop(connections.send(Ok(PluginStream(stream))).await),
                Ok(Err(error)) => tracing::error!(%error, "refused a connection to the plugin's socket"),
                Err(_) => tracing::error!("a connection to the plugin's socket did not finish its TLS handshake"),
            }
        });
    }
}

/// Ends the plugin on SIGTERM or when Terraform is gone. SIGINT is left to Terraform, which gets it too and then asks its
/// plugins to stop.
fn watch_for_the_end(stop: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let parent = std::os::unix::process::parent_id();
    let mut look = tokio::time::interval(PARENT_CHECK);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => stop.cancel(),
                _ = look.tick() => if std::os::unix::process::parent_id() != parent { stop.cancel() },
                () = stop.cancelled() => return,
            }
        }
    });
    Ok(())
}

/// A connection that passed mutual TLS.
struct PluginStream(TlsStream<UnixStream>);

impl Connected for PluginStream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for PluginStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for PluginStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
