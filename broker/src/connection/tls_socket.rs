//! TLS on a socket, as a byte stream: what is received is decrypted where it lies.
//!
//! `tokio-rustls` makes rustls copy what it receives into a buffer of its own, 4 KiB at a time, which cost more than the
//! cipher. Rustls's unbuffered interface works on our buffers instead: one system call takes up to 256 KiB from the socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus};
use rustls::{ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Thousands of connections may be idle, so buffers are small until a read has filled one.
const BUFFER_SMALL: usize = 4 << 10;
const BUFFER_LARGE: usize = 256 << 10;
/// Most of a handshake that is kept, as in rustls's own buffers: who takes part in it is not known yet.
const BUFFER_HANDSHAKE: usize = 64 << 10;
/// Plaintext that is encrypted before the socket is given it.
const WRITE_PIECE: usize = 64 << 10;

/// The server's side of a TLS connection.
pub struct TlsSocket<S> {
    socket: S,
    tls: UnbufferedServerConnection,
    received: Received,
    /// Decrypted, and more than the reader had room for.
    left: Vec<u8>,
    unsent: Unsent,
}

/// Bytes from the socket: `buffer[start..end]` is not processed yet.
struct Received {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The buffer may grow to this size.
    largest: usize,
}

/// Bytes for the socket: `buffer[start..end]` is not sent yet.
#[derive(Default)]
struct Unsent {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// What goes out when the connection is ready for it.
enum Outgoing<'a> {
    Nothing,
    Data(&'a [u8]),
    CloseNotify,
}

/// What came of looking at the connection once.
enum Step {
    /// Something was done; look again.
    Again,
    /// More has to be received before there is anything to do.
    Receive,
    /// [`Outgoing`] is encrypted.
    Encrypted,
    /// The peer sends no more; told once.
    PeerClosed,
    /// Both sides have said that they send no more.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsSocket<S> {
    /// Shakes hands. When the client is at fault it has been sent an alert, and the socket is given back; errors of kind
    /// `InvalidData` are those of TLS, others the socket's.
    pub async fn accept(config: Arc<ServerConfig>, socket: S) -> Result<Self, (io::Error, S)> {
        let tls = match UnbufferedServerConnection::new(config) {
            Ok(tls) => tls,
            Err(error) => return Err((io::Error::other(error), socket)),
        };
        let received = Received { buffer: vec![0; BUFFER_SMALL], start: 0, end: 0, largest: BUFFER_HANDSHAKE };
        let mut accepted = Self { socket, tls, received, left: Vec::new(), unsent: Unsent::default() };
        match accepted.shake_hands().await {
            Ok(()) => Ok(accepted),
            Err(error) => {
                // The alert, if the error is one that the client is told; it may be gone already.
                _ = accepted.shutdown().await;
                Err((error, accepted.socket))
            }
        }
    }

    async fn shake_hands(&mut self) -> io::Result<()> {
        while self.tls.is_handshaking() {
            if let Step::Receive = self.step(None, &Outgoing::Nothing)? {
                self.flush().await?;
                if std::future::poll_fn(|context| self.received.poll_fill(&mut self.socket, context)).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        self.received.largest = BUFFER_LARGE;
        // TLS 1.2 ends with the server's words. Those of TLS 1.3, tickets, go with the first read: nobody may be listening yet.
        if self.tls.protocol_version() == Some(ProtocolVersion::TLSv1_2) {
            while let Step::Again = self.step(None, &Outgoing::Nothing)? {}
            self.flush().await?;
        }
        Ok(())
    }

    /// The client's certificates, its own first.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    /// After an error of the client's: sends the alert that tells it, as far as the socket takes it at once.
    fn say_why(&mut self, context: &mut Context<'_>) {
        while let Ok(Step::Again) = self.step(None, &Outgoing::Nothing) {}
        let _ = self.unsent.poll_send(&mut self.socket, context);
    }

    /// Looks at the connection once. Decrypted bytes go to `out`, and what does not fit to `left`.
    fn step(&mut self, out: Option<&mut ReadBuf<'_>>, outgoing: &Outgoing<'_>) -> io::Result<Step> {
        let Self { tls, received, left, unsent, .. } = self;
        let UnbufferedStatus { mut discard, state } =
            tls.process_tls_records(&mut received.buffer[received.start..received.end]);
        let step = match state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            ConnectionState::ReadTraffic(mut traffic) => {
                let mut out = out;
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                    discard += record.discard;
                    let room = out.as_ref().map_or(0, |out| out.remaining()).min(record.payload.len());
                    let (fits, rest) = record.payload.split_at(room);
                    if let Some(out) = out.as_mut() {
                        out.put_slice(fits);
                    }
                    left.extend_from_slice(rest);
                }
                Step::Again
            }
            ConnectionState::EncodeTlsData(mut data) => {
                unsent.extend(|buffer| match data.encode(buffer) {
                    Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                        Err(Some(required_size))
                    }
                    encoded => encoded.map_err(|_| None),
                })?;
                Step::Again
            }
            ConnectionState::TransmitTlsData(transmit) => {
                // It is in `unsent`, which leaves in order.
                transmit.done();
                Step::Again
            }
            ConnectionState::WriteTraffic(mut traffic) => {
                let size = |encrypted: Result<usize, EncryptError>| match encrypted {
                    Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                        Err(Some(required_size))
                    }
                    encrypted => encrypted.map_err(|_| None),
                };
                match outgoing {
                    Outgoing::Nothing => Step::Receive,
                    Outgoing::Data(data) => {
                        unsent.extend(|buffer| size(traffic.encrypt(data, buffer)))?;
                        Step::Encrypted
                    }
                    Outgoing::CloseNotify => {
                        unsent.extend(|buffer| size(traffic.queue_close_notify(buffer)))?;
                        Step::Encrypted
                    }
                }
            }
            ConnectionState::BlockedHandshake => Step::Receive,
            ConnectionState::PeerClosed => Step::PeerClosed,
            ConnectionState::Closed => Step::Closed,
            // Early data is not offered, nor is there any other state.
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a state that TLS cannot be in")),
        };
        received.start += discard;
        Ok(step)
    }
}

impl Received {
    /// Reads more, behind what is there. 0 when the peer has closed its side.
    fn poll_fill(
        &mut self,
        socket: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            if self.end >= self.largest {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a TLS message without an end")));
            }
            self.buffer.resize(self.largest, 0);
        }
        let mut fresh = ReadBuf::new(&mut self.buffer[self.end..]);
        ready!(Pin::new(socket).poll_read(context, &mut fresh))?;
        let count = fresh.filled().len();
        self.end += count;
        if self.end == self.buffer.len() && self.end < self.largest {
            self.buffer.resize(self.largest, 0);
        }
        Poll::Ready(Ok(count))
    }
}

impl Unsent {
    /// Adds what `write` puts into a buffer; it says how much that was, or how much room it needs.
    fn extend(&mut self, mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) -> io::Result<()> {
        let written = match write(&mut self.buffer[self.end..]) {
            Err(Some(required)) => {
                self.buffer.resize(self.end + required, 0);
                write(&mut self.buffer[self.end..])
            }
            written => written,
        };
        self.end += written.map_err(|_| io::Error::other("the connection's keys are used up"))?;
        Ok(())
    }

    /// Sends all of it.
    fn poll_send(&mut self, socket: &mut (impl AsyncWrite + Unpin), context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.start < self.end {
            match ready!(Pin::new(&mut *socket).poll_write(context, &self.buffer[self.start..self.end]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.start += count,
            }
        }
        (self.start, self.end) = (0, 0);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsSocket<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.left.is_empty() {
            let count = this.left.len().min(out.remaining());
            out.put_slice(&this.left[..count]);
            match count == this.left.len() {
                true => this.left = Vec::new(),
                false => drop(this.left.drain(..count)),
            }
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        while out.remaining() > 0 {
            let step = match this.step(Some(out), &Outgoing::Nothing) {
                Ok(step) => step,
                Err(error) => {
                    this.say_why(context);
                    return Poll::Ready(Err(error));
                }
            };
            match step {
                Step::Again | Step::Encrypted => {}
                Step::PeerClosed | Step::Closed => break,
                Step::Receive if out.filled().len() > before => break,
                Step::Receive => {
                    // What the connection itself has to say (new keys, say) holds up no reading; nor does a peer that
                    // takes nothing any more, for what it has sent is there.
                    let _ = this.unsent.poll_send(&mut this.socket, context);
                    if ready!(this.received.poll_fill(&mut this.socket, context))? == 0 {
                        break;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.unsent.poll_send(&mut this.socket, context))?;
        let piece = &bytes[..bytes.len().min(WRITE_PIECE)];
        loop {
            match this.step(None, &Outgoing::Data(piece))? {
                Step::Encrypted => break,
                // The peer may close its side and still take answers.
                Step::Again | Step::PeerClosed => {}
                Step::Receive | Step::Closed => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            }
        }
        if let Poll::Ready(sent) = this.unsent.poll_send(&mut this.socket, context) {
            sent?;
        }
        Poll::Ready(Ok(piece.len()))
    }

    /// Afterwards a connection that says nothing keeps little memory for it.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.unsent.poll_send(&mut this.socket, context))?;
        if this.unsent.buffer.len() > BUFFER_SMALL {
            this.unsent.buffer = Vec::new();
        }
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // After an error there is an alert to be sent, and then the error again.
        while let Ok(Step::Again | Step::PeerClosed) = this.step(None, &Outgoing::CloseNotify) {}
        ready!(this.unsent.poll_send(&mut this.socket, context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
    use tokio::io::{AsyncReadExt, DuplexStream, duplex, split};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::*;

    struct Ends {
        server: Arc<ServerConfig>,
        client: Arc<ClientConfig>,
    }

    fn ends(version: &'static SupportedProtocolVersion) -> Ends {
        let made = rcgen::generate_simple_self_signed(["broker.example.com".to_owned()]).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("it is a certificate");
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .expect("a version we have")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key);
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version we have")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ends { server: Arc::new(server.expect("they belong together")), client: Arc::new(client) }
    }

    impl Ends {
        /// Connected over a pipe that takes `pipe` bytes at a time.
        async fn connected(&self, pipe: usize) -> (TlsSocket<DuplexStream>, TlsStream<DuplexStream>) {
            let (near, far) = duplex(pipe);
            let name = ServerName::try_from("broker.example.com").expect("a name");
            let connector = TlsConnector::from(self.client.clone());
            let (accepted, connected) =
                tokio::join!(TlsSocket::accept(self.server.clone(), near), connector.connect(name, far));
            (accepted.map_err(|(error, _)| error).expect("they agree"), connected.expect("they agree"))
        }
    }

    /// Bytes that are not the same anywhere.
    fn data(size: usize) -> Vec<u8> {
        (0..size as u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).take(size).collect()
    }

    #[tokio::test]
    async fn what_is_sent_arrives_both_ways_at_once_however_it_is_cut() {
        for version in [&version::TLS13, &version::TLS12] {
            for pipe in [7, 1000, 100_000] {
                let (server, client) = ends(version).connected(pipe).await;
                let sent = data(400_000);
                let ((mut server_in, mut server_out), (mut client_in, mut client_out)) = (split(server), split(client));
                let mut arrived = [Vec::new(), Vec::new()];
                let [at_server, at_client] = &mut arrived;
                let (a, b, c, d) = tokio::join!(
                    async {
                        // Pieces of every size, so that records are cut wherever they can be.
                        let mut piece = [0; 5000];
                        for size in (1..5000).cycle() {
                            match server_in.read(&mut piece[..size]).await? {
                                0 => break,
                                count => at_server.extend_from_slice(&piece[..count]),
                            }
                        }
                        io::Result::Ok(())
                    },
                    async {
                        server_out.write_all(&sent).await?;
                        server_out.shutdown().await
                    },
                    client_in.read_to_end(at_client),
                    async {
                        client_out.write_all(&sent).await?;
                        client_out.shutdown().await
                    },
                );
                for outcome in [a, b, c.map(drop), d] {
                    outcome.expect("nothing is wrong with the pipe");
                }
                assert!(arrived.iter().all(|arrived| *arrived == sent), "pipe {pipe}");
            }
        }
    }

    #[tokio::test]
    async fn new_keys_are_taken_up_and_answered() {
        let (mut server, mut client) = ends(&version::TLS13).connected(1000).await;
        for round in 0..3u8 {
            client.get_mut().1.refresh_traffic_keys().expect("it may");
            client.write_all(&[round]).await.expect("written");
            client.flush().await.expect("sent");
            assert_eq!(server.read_u8().await.expect("read"), round);
            server.write_all(&[round]).await.expect("written");
            server.flush().await.expect("sent");
            assert_eq!(client.read_u8().await.expect("read"), round);
        }
    }

    #[tokio::test]
    async fn what_was_sent_with_the_last_words_of_the_handshake_is_read() {
        let (near, far) = duplex(100_000);
        let ends = ends(&version::TLS13);
        let name = ServerName::try_from("broker.example.com").expect("a name");
        let client = tokio::spawn(async move {
            let mut client = TlsConnector::from(ends.client).connect(name, far).await.expect("they agree");
            client.write_all(&data(50_000)).await.expect("written");
            client.shutdown().await.expect("closed");
            client
        });
        // The server comes to the end of the handshake when all of it has arrived.
        let server = tokio::spawn(TlsSocket::accept(ends.server, near));
        let _client = client.await.expect("it ends");
        let mut server = server.await.expect("it ends").map_err(|(error, _)| error).expect("they agree");
        let mut arrived = Vec::new();
        server.read_to_end(&mut arrived).await.expect("read");
        assert_eq!(arrived, data(50_000));
    }

    #[tokio::test]
    async fn who_speaks_no_tls_is_told_with_an_alert() {
        let (near, mut far) = duplex(100_000);
        far.write_all(b"GET / HTTP/1.1\r\nHost: broker.example.com\r\n\r\n").await.expect("written");
        let refused = TlsSocket::accept(ends(&version::TLS13).server, near).await;
        let (error, socket) = refused.err().expect("it is refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(socket);
        let mut told = Vec::new();
        far.read_to_end(&mut told).await.expect("read");
        assert_eq!(told.first(), Some(&21), "an alert: {told:?}");
    }

    #[tokio::test]
    async fn a_handshake_without_an_end_is_refused() {
        let (near, mut far) = duplex(100_000);
        let endless = tokio::spawn(async move {
            // A hello of 16 MiB, in records as they should be.
            let mut record = vec![22, 3, 1, 0x40, 0];
            record.resize(5 + 0x4000, 0);
            record[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
            while far.write_all(&record).await.is_ok() {}
        });
        let refused = TlsSocket::accept(ends(&version::TLS13).server, near).await;
        assert_eq!(refused.err().expect("it is refused").0.kind(), io::ErrorKind::InvalidData);
        endless.await.expect("it ends");
    }

    #[tokio::test]
    async fn a_client_that_goes_away_in_the_handshake_or_amid_a_record_is_no_error_of_tls() {
        let (near, far) = duplex(1000);
        drop(far);
        let refused = TlsSocket::accept(ends(&version::TLS13).server, near).await;
        assert_eq!(refused.err().expect("nobody is there").0.kind(), io::ErrorKind::UnexpectedEof);

        let (mut server, client) = ends(&version::TLS13).connected(1000).await;
        let (mut raw, _) = client.into_inner();
        raw.write_all(&[23, 3, 3, 1, 0, 1, 2, 3]).await.expect("written");
        drop(raw);
        assert_eq!(server.read(&mut [0; 10]).await.expect("the end"), 0);
    }

    #[tokio::test]
    async fn a_damaged_record_ends_the_connection() {
        let (mut server, client) = ends(&version::TLS13).connected(1000).await;
        let (mut raw, _) = client.into_inner();
        raw.write_all(&[23, 3, 3, 0, 30]).await.expect("written");
        raw.write_all(&[1; 30]).await.expect("written");
        assert_eq!(server.read(&mut [0; 10]).await.expect_err("it is damaged").kind(), io::ErrorKind::InvalidData);
        drop(server);
        let mut told = Vec::new();
        raw.read_to_end(&mut told).await.expect("read");
        // An alert is encrypted, and so looks like data: two bytes, their kind and 16 bytes of the cipher.
        assert!(told.len() >= 24 && told[told.len() - 24..].starts_with(&[23, 3, 3, 0, 19]), "{told:?}");
    }
}
