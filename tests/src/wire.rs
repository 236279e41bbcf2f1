//! A client of bare frames: one blocking connection, with or without TLS and a login. It sends what a test gives it,
//! right or wrong.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, RequestHeader, ResponseHeader, SaslAuthenticateRequest,
    SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::scram::Exchange;

/// Bound on every read and write, so that a silent broker fails a test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A user's name and password.
#[derive(Clone, Debug)]
pub struct Login {
    pub user: String,
    pub password: String,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One connection to a broker.
pub struct Connection {
    stream: Stream,
    correlation: i32,
}

/// TLS settings that trust one authority.
pub fn tls_config(ca: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).with_context(|| ca.display().to_string())? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl Connection {
    pub fn plain(address: SocketAddr) -> Result<Self> {
        Ok(Self { stream: Stream::Plain(tcp(address)?), correlation: 0 })
    }

    pub fn tls(address: SocketAddr, config: Arc<ClientConfig>) -> Result<Self> {
        let client = ClientConnection::new(config, ServerName::try_from("localhost")?)?;
        let mut stream = StreamOwned::new(client, tcp(address)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream: Stream::Tls(Box::new(stream)), correlation: 0 })
    }

    /// TLS and SCRAM-SHA-256.
    pub fn login(address: SocketAddr, config: Arc<ClientConfig>, login: &Login) -> Result<Self> {
        let mut connection = Self::tls(address, config)?;
        connection.authenticate(login)?;
        Ok(connection)
    }

    pub fn authenticate(&mut self, login: &Login) -> Result<()> {
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("SCRAM-SHA-256"));
        let answer = self.call(&handshake, 1)?;
        check(answer.error_code, "SaslHandshake")?;
        let (mut exchange, first) = Exchange::begin(&login.user, &login.password);
        let challenge = self.sasl(first)?;
        let proof = exchange.prove(&challenge)?;
        exchange.finish(&self.sasl(proof)?)
    }

    fn sasl(&mut self, message: String) -> Result<String> {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
        let answer = self.call(&request, 2)?;
        check(answer.error_code, answer.error_message.as_deref().unwrap_or("SaslAuthenticate"))?;
        Ok(String::from_utf8(answer.auth_bytes.to_vec())?)
    }

    /// Sends a request and waits for its answer.
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        let correlation = self.send(request, version)?;
        self.answer::<R>(version, correlation)
    }

    /// Sends a request without waiting; returns its correlation id.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<i32> {
        self.correlation += 1;
        let frame = frame(request, version, self.correlation)?;
        self.send_raw(&frame)?;
        Ok(self.correlation)
    }

    /// Waits for the answer to the request with that correlation id, which must be the next one.
    pub fn answer<R: Request>(&mut self, version: i16, correlation: i32) -> Result<R::Response> {
        let mut frame = self.read_frame()?;
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version))?;
        ensure!(header.correlation_id == correlation, "answer {} instead of {correlation}", header.correlation_id);
        let response = R::Response::decode(&mut frame, version)?;
        ensure!(!frame.has_remaining(), "{} bytes follow the answer", frame.remaining());
        Ok(response)
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// The next frame without its length.
    pub fn read_frame(&mut self) -> Result<Bytes> {
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).context("a negative length")?;
        ensure!(length <= 256 << 20, "a frame of {length} bytes");
        let mut frame = vec![0; length];
        self.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.read_exact(buffer),
            Stream::Tls(stream) => stream.read_exact(buffer),
        }
    }

    /// Bound on the next reads.
    pub fn set_patience(&self, limit: Duration) -> io::Result<()> {
        self.socket().set_read_timeout(Some(limit))
    }

    pub fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => &stream.sock,
        }
    }

    /// Every API that the broker offers, with its lowest and highest version.
    pub fn api_versions(&mut self) -> Result<Vec<(i16, i16, i16)>> {
        let answer: ApiVersionsResponse = self.call(&ApiVersionsRequest::default(), 0)?;
        check(answer.error_code, "ApiVersions")?;
        Ok(answer.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version)).collect())
    }
}

fn tcp(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A request as it goes over the wire, with its length.
pub fn frame<R: Request>(request: &R, version: i16, correlation: i32) -> Result<BytesMut> {
    let mut buffer = BytesMut::new();
    buffer.put_i32(0);
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str("lockgate-tests")));
    header.encode(&mut buffer, R::header_version(version))?;
    request.encode(&mut buffer, version)?;
    let length = i32::try_from(buffer.len() - 4)?;
    buffer[..4].copy_from_slice(&length.to_be_bytes());
    Ok(buffer)
}

/// Fails with the error's name.
pub fn check(code: i16, what: &str) -> Result<()> {
    match ResponseError::try_from_code(code) {
        None => Ok(()),
        Some(error) => bail!("{what}: {error:?} ({code})"),
    }
}
