//! Where an issuer's keys come from: a file, or an endpoint that is asked over HTTP. Size and time are bounded.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::io::AsyncReadExt;

use super::jwk::{JwksError, KeySet};
use crate::limits;

#[derive(Debug, Error)]
pub enum FetchError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} holds no PEM certificate that can be used: {reason}")]
    Authority { path: PathBuf, reason: String },
    #[error("HTTPS cannot be set up: {0}")]
    Tls(String),
    #[error("{0} is not a URL")]
    Url(String),
    #[error("{url} cannot be fetched: {reason}")]
    Http { url: String, reason: String },
    #[error("what {place} holds cannot be used: {source}")]
    Unusable { place: String, source: JwksError },
}

/// A place that holds a JSON Web Key Set.
pub enum Source {
    File(PathBuf),
    Endpoint { url: Url, client: Client },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Endpoint { url, .. } => url.fmt(f),
        }
    }
}

/// Whether the text names an endpoint rather than a file.
pub fn is_url(place: &str) -> bool {
    place.starts_with("https://") || place.starts_with("http://")
}

/// What is wrong with an endpoint's address, if anything. Without TLS whoever sits in between could put in a key.
pub fn url_problem(place: &str) -> Option<String> {
    let url = match Url::parse(place) {
        Ok(url) => url,
        Err(error) => return Some(format!("is not a URL: {error}")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("holds a user name or password, which would show in logs".to_owned());
    }
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    (url.scheme() == "http" && !loopback)
        .then(|| format!("must begin with https://, since {host} is not loopback: keys would come unprotected"))
}

impl Source {
    /// `authorities`: PEM file with who signs the endpoint's certificate; the system's authorities when absent.
    pub fn of(place: &str, authorities: Option<&Path>) -> Result<Self, FetchError> {
        if !is_url(place) {
            return Ok(Self::File(PathBuf::from(place)));
        }
        let url = Url::parse(place).map_err(|error| FetchError::Url(format!("{place} ({error})")))?;
        let client = Client::builder()
            .use_preconfigured_tls(tls(authorities, url.scheme() == "https")?)
            .timeout(Duration::from_secs(limits::JWKS_SECONDS))
            // An issuer names its endpoint; a redirect could lead away from TLS.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| FetchError::Tls(error.to_string()))?;
        Ok(Self::Endpoint { url, client })
    }

    pub fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    pub async fn read(&self) -> Result<KeySet, FetchError> {
        let json = match self {
            Self::File(path) => read_file(path).await?,
            Self::Endpoint { url, client } => {
                get(client, url).await.map_err(|reason| FetchError::Http { url: url.to_string(), reason })?
            }
        };
        KeySet::parse(&json).map_err(|source| FetchError::Unusable { place: self.to_string(), source })
    }
}

/// One byte more than may be, so that what is too long shows.
async fn read_file(path: &Path) -> Result<Vec<u8>, FetchError> {
    let failed = |source| FetchError::Read { path: path.to_owned(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut json = Vec::new();
    file.take(limits::JWKS_BYTES as u64 + 1).read_to_end(&mut json).await.map_err(failed)?;
    Ok(json)
}

async fn get(client: &Client, url: &Url) -> Result<Vec<u8>, String> {
    let mut response = client.get(url.clone()).send().await.map_err(because)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("it answers {}", response.status()));
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(because)? {
        if body.len() + piece.len() > limits::JWKS_BYTES {
            return Err(JwksError::TooLong.to_string());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// The whole chain: the outermost error only says that a request failed.
fn because(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn tls(authorities: Option<&Path>, needed: bool) -> Result<ClientConfig, FetchError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = authorities {
        let unusable = |reason: String| FetchError::Authority { path: path.to_owned(), reason };
        let pem = std::fs::read(path).map_err(|source| FetchError::Read { path: path.to_owned(), source })?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unusable("there is none".to_owned()));
        }
    } else if needed {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(FetchError::Tls(
                "this machine has no certificate authorities; name some in ca_file".to_owned(),
            ));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| FetchError::Tls(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
