//! A small issuer of tokens: signs them, publishes its keys over HTTP or HTTPS, hands tokens to clients, and changes its
//! keys when a test says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// Whom the tokens are from, and for whom.
pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "lockgate";
pub const SCOPE: &str = "kafka";

struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: String) -> Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let octets = EcdsaKeyPair::generate_pkcs8(algorithm, &random).ok().context("no key could be made")?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, octets.as_ref(), &random).ok().context("the key is bad")?;
        Ok(Self { id, pair })
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "x": base64(x), "y": base64(y)})
    }

    fn sign(&self, claims: &Value) -> Result<String> {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.id});
        let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).ok().context("not signed")?;
        Ok(format!("{signed}.{}", base64(signature)))
    }
}

fn base64(octets: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(octets)
}

/// Seconds since 1970.
#[allow(clippy::disallowed_methods, reason = "tokens are judged by the real time")]
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

struct State {
    key: Key,
    /// Of the tokens that clients fetch (seconds).
    lifetime: i64,
    down: bool,
    handed_out: usize,
    made: usize,
}

/// An issuer at work, on a port of its own.
pub struct Issuer {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    pub fn start() -> Result<Self> {
        Self::listen(None)
    }

    /// An issuer that speaks HTTPS, and the authority that vouches for it (PEM).
    pub fn start_with_tls() -> Result<(Self, String)> {
        let mut authority = rcgen::CertificateParams::new(Vec::new())?;
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate()?;
        let pem = authority.self_signed(&key)?.pem();
        let signer = rcgen::Issuer::from_params(&authority, &key);
        let server_key = rcgen::KeyPair::generate()?;
        let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&server_key, &signer)?;
        let private = PrivateKeyDer::try_from(server_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![server.der().clone()], private)?;
        Ok((Self::listen(Some(Arc::new(config)))?, pem))
    }

    fn listen(tls: Option<Arc<ServerConfig>>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let key = Key::new("key-0".to_owned())?;
        let state = Arc::new(Mutex::new(State { key, lifetime: 300, down: false, handed_out: 0, made: 1 }));
        let shared = state.clone();
        let scheme = if tls.is_some() { "https" } else { "http" };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away, or does not trust the certificate, is its own problem.
                let _ = serve(stream, tls.clone(), &shared);
            }
        });
        Ok(Self { address, scheme, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn keys_url(&self) -> String {
        format!("{}://{}/keys", self.scheme, self.address)
    }

    /// Where clients get a token for `app`, by POST.
    pub fn token_url(&self) -> String {
        format!("{}://{}/token", self.scheme, self.address)
    }

    /// The claims of a good token.
    pub fn claims(&self, lifetime: i64) -> Value {
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "app", "scope": format!("openid {SCOPE}"),
            "iat": now(), "exp": now() + lifetime,
        })
    }

    pub fn sign(&self, claims: &Value) -> Result<String> {
        self.state().key.sign(claims)
    }

    /// A token with one claim changed.
    pub fn with(&self, name: &str, value: Value) -> Result<String> {
        let mut claims = self.claims(300);
        claims[name] = value;
        self.sign(&claims)
    }

    /// A new key takes the old one's place at once.
    pub fn rotate(&self) -> Result<()> {
        let mut state = self.state();
        state.key = Key::new(format!("key-{}", state.made))?;
        state.made += 1;
        Ok(())
    }

    /// Answers every request with an error from now on, or no longer.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    /// Seconds that tokens live which clients fetch.
    pub fn set_lifetime(&self, seconds: i64) {
        self.state().lifetime = seconds;
    }

    /// Tokens that clients fetched.
    pub fn handed_out(&self) -> usize {
        self.state().handed_out
    }

    /// Another issuer's token, whose key has the name of this one's.
    pub fn forged(&self) -> Result<String> {
        Key::new(self.state().key.id.clone())?.sign(&self.claims(300))
    }

    /// The tables of a broker's config that make it take these tokens.
    pub fn settings(&self) -> Vec<String> {
        vec![
            "[oauthbearer]".to_owned(),
            format!("jwks = {:?}", self.keys_url()),
            format!("issuer = {ISSUER:?}\naudiences = [{AUDIENCE:?}]\nscopes = [{SCOPE:?}]"),
            "clock_skew_seconds = 0".to_owned(),
        ]
    }
}

fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, state: &Mutex<State>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    match tls {
        Some(config) => answer(StreamOwned::new(ServerConnection::new(config)?, stream), state),
        None => answer(stream, state),
    }
}

fn answer(stream: impl Read + Write, state: &Mutex<State>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).context("no path")?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    ensure!(length < 65536, "a body of {length} bytes");
    reader.read_exact(&mut vec![0; length])?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, body) = match path.as_str() {
        _ if state.down => ("503 Service Unavailable", json!({"error": "down"})),
        "/keys" => ("200 OK", json!({"keys": [state.key.jwk()]})),
        "/token" => {
            state.handed_out += 1;
            let lifetime = state.lifetime;
            let claims = json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": "app", "scope": SCOPE, "iat": now(), "exp": now() + lifetime,
            });
            let token = state.key.sign(&claims)?;
            ("200 OK", json!({"access_token": token, "token_type": "Bearer", "expires_in": lifetime}))
        }
        _ => ("404 Not Found", json!({})),
    };
    let body = body.to_string();
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()?;
    Ok(())
}
