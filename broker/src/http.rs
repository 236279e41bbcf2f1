//! The listener for operations: `/metrics`, `/healthz`, `/readyz`. Plain HTTP on loopback; HTTPS and a bearer token for
//! `/metrics` otherwise. Every part of a conversation is bounded in time and size.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits;
use crate::metrics;
use crate::tls::ServerTls;

/// What the listener tells.
pub struct Operations {
    /// All metrics as text. Called on a thread that may block.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Why the broker does not serve its share, if so.
    pub not_ready: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// File with the token that `/metrics` wants. Read at every request, so that a new token needs no restart.
    pub token_file: Option<PathBuf>,
}

impl Operations {
    /// Whether the token file can be used; to be asked at start.
    pub fn check_token(&self) -> io::Result<()> {
        let Some(path) = &self.token_file else { return Ok(()) };
        let token = std::fs::read(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        match token.trim_ascii().is_empty() {
            true => Err(io::Error::other(format!("{} holds no token", path.display()))),
            false => Ok(()),
        }
    }

    async fn allowed(&self, request: &Request<Incoming>) -> io::Result<bool> {
        let Some(path) = &self.token_file else { return Ok(true) };
        let token = tokio::fs::read(path).await?;
        let token = token.trim_ascii();
        let given = request.headers().get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        // An emptied file must not open the door.
        Ok(!token.is_empty() && bool::from(token.ct_eq(given)))
    }
}

/// A bound listener for operations.
pub struct Http {
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    operations: Arc<Operations>,
}

impl Http {
    pub async fn bind(address: SocketAddr, tls: Option<Arc<ServerTls>>, operations: Operations) -> io::Result<Self> {
        operations.check_token()?;
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, tls, operations: Arc::new(operations) })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut open: VecDeque<CancellationToken> = VecDeque::new();
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the operations listener cannot accept");
                    tokio::time::sleep(limits::ACCEPT_RETRY).await;
                    continue;
                }
            };
            // The oldest makes room: a health check is over in no time, and who only holds connections open must not
            // be able to crowd it out.
            open.retain(|place| !place.is_cancelled());
            if open.len() >= limits::HTTP_CONNECTIONS
                && let Some(oldest) = open.pop_front()
            {
                oldest.cancel();
            }
            let place = CancellationToken::new();
            open.push_back(place.clone());
            let (tls, operations, stop) = (self.tls.clone(), Arc::clone(&self.operations), stop.clone());
            connections.spawn(async move {
                let patience = Duration::from_secs(limits::HTTP_CONNECTION_SECONDS);
                let conversation = timeout(patience, connection(stream, tls, operations, stop));
                if let Some(Err(_)) = place.run_until_cancelled(conversation).await {
                    tracing::debug!("a connection to the operations listener took too long");
                }
                place.cancel();
            });
        }
        connections.close();
        connections.wait().await;
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<Arc<ServerTls>>,
    operations: Arc<Operations>,
    stop: CancellationToken,
) {
    let Some(tls) = tls else { return converse(stream, operations, stop).await };
    let patience = Duration::from_secs(limits::HTTP_HEADER_SECONDS);
    match timeout(patience, TlsAcceptor::from(tls.config()).accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, operations, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS failed on the operations listener"),
        Err(_) => tracing::debug!("TLS took too long on the operations listener"),
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, operations: Arc<Operations>, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let operations = Arc::clone(&operations);
        async move { Ok::<_, Infallible>(answer(&operations, request).await) }
    });
    let conversation = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(limits::HTTP_HEADER_SECONDS))
        .max_buf_size(limits::HTTP_HEADER_BYTES)
        .max_headers(limits::HTTP_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut conversation = std::pin::pin!(conversation);
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = stop.cancelled() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a conversation on the operations listener failed");
    }
}

async fn answer(operations: &Arc<Operations>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here\n");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match (operations.not_ready)() {
            None => text(StatusCode::OK, "ready\n"),
            Some(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        },
        "/metrics" => match operations.allowed(&request).await {
            Ok(true) => metrics_text(operations).await,
            Ok(false) => {
                let mut refused = text(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong\n");
                refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                refused
            }
            Err(error) => {
                tracing::error!(%error, "http.token_file cannot be read, so /metrics is refused");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the token file cannot be read\n")
            }
        },
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    }
}

async fn metrics_text(operations: &Arc<Operations>) -> Response<Full<Bytes>> {
    let operations = Arc::clone(operations);
    match tokio::task::spawn_blocking(move || (operations.metrics)()).await {
        Ok(body) => {
            let mut response = Response::new(Full::from(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
            response
        }
        Err(error) => {
            tracing::error!(%error, "metrics could not be gathered");
            text(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be gathered\n")
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Running {
        address: SocketAddr,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start(token_file: Option<PathBuf>, not_ready: Option<&'static str>) -> Running {
        let operations = Operations {
            metrics: Box::new(|| "lockgate_up 1\n# EOF\n".to_owned()),
            not_ready: Box::new(move || not_ready.map(str::to_owned)),
            token_file,
        };
        let http = Http::bind(SocketAddr::from(([127, 0, 0, 1], 0)), None, operations).await.expect("a free port");
        let (address, stop) = (http.address().expect("bound"), CancellationToken::new());
        let task = tokio::spawn(http.run(stop.clone()));
        Running { address, stop, task }
    }

    impl Running {
        /// Sends a request and returns everything that comes back.
        async fn ask(&self, request: &str) -> String {
            let mut stream = TcpStream::connect(self.address).await.expect("the listener accepts");
            stream.write_all(request.as_bytes()).await.expect("the request is taken");
            let mut answer = Vec::new();
            // A reset behind the answer is as good as an end.
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8(answer).expect("answers are text")
        }

        async fn get(&self, path: &str, headers: &str) -> String {
            self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")).await
        }
    }

    #[tokio::test]
    async fn health_readiness_and_metrics() {
        let running = start(None, Some("partitions are being opened")).await;
        assert!(running.get("/healthz", "").await.starts_with("HTTP/1.1 200"));
        let ready = running.get("/readyz", "").await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("partitions are being opened"), "{ready}");
        let metrics = running.get("/metrics", "").await;
        assert!(metrics.contains("openmetrics-text") && metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(running.get("/secret", "").await.starts_with("HTTP/1.1 404"));
        let post =
            running.ask("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405"), "{post}");
        assert!(start(None, None).await.get("/readyz", "").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn metrics_want_the_token_of_the_moment() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        writeln!(file, "first").expect("written");
        let running = start(Some(file.path().to_owned()), None).await;
        for headers in ["", "Authorization: Bearer wrong\r\n", "Authorization: first\r\n", "Authorization: Bearer \r\n"]
        {
            assert!(running.get("/metrics", headers).await.starts_with("HTTP/1.1 401"), "{headers} was let in");
        }
        assert!(running.get("/metrics", "Authorization: Bearer first\r\n").await.starts_with("HTTP/1.1 200"));
        assert!(running.get("/healthz", "").await.starts_with("HTTP/1.1 200"), "health needs no token");
        std::fs::write(file.path(), "second").expect("written");
        assert!(running.get("/metrics", "Authorization: Bearer first\r\n").await.starts_with("HTTP/1.1 401"));
        assert!(running.get("/metrics", "Authorization: Bearer second\r\n").await.starts_with("HTTP/1.1 200"));
        std::fs::write(file.path(), "").expect("written");
        assert!(running.get("/metrics", "Authorization: Bearer \r\n").await.starts_with("HTTP/1.1 401"));
    }

    #[tokio::test]
    async fn an_empty_token_file_is_refused_at_start() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let token_file = Some(file.path().to_owned());
        let operations = Operations { metrics: Box::new(String::new), not_ready: Box::new(|| None), token_file };
        let bound = Http::bind(SocketAddr::from(([127, 0, 0, 1], 0)), None, operations).await;
        assert!(bound.err().is_some_and(|error| error.to_string().contains("holds no token")));
    }

    #[tokio::test]
    async fn connections_that_are_only_held_open_crowd_nobody_out() {
        let running = start(None, None).await;
        let mut held = Vec::new();
        for _ in 0..3 * limits::HTTP_CONNECTIONS {
            held.push(TcpStream::connect(running.address).await.expect("the listener accepts"));
        }
        for _ in 0..10 {
            assert!(running.get("/healthz", "").await.starts_with("HTTP/1.1 200"));
        }
        let last = held.last_mut().expect("many");
        last.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the newest are still open");
        assert!(last.read(&mut [0; 64]).await.is_ok_and(|count| count > 0));
    }

    #[tokio::test]
    async fn large_headers_are_refused_and_a_stop_ends_everything() {
        let running = start(None, None).await;
        let large = format!("X: {}\r\n", "x".repeat(2 * limits::HTTP_HEADER_BYTES));
        let refused = running.get("/healthz", &large).await;
        assert!(!refused.starts_with("HTTP/1.1 200"), "{refused}");
        // An idle connection that is kept alive does not hold up the stop.
        let mut idle = TcpStream::connect(running.address).await.expect("the listener accepts");
        idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the request is taken");
        let _ = idle.read(&mut [0; 64]).await.expect("an answer");
        running.stop.cancel();
        timeout(Duration::from_secs(5), running.task).await.expect("the listener ends").expect("without a panic");
    }
}
