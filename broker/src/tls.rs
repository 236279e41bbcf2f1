//! TLS for listeners: certificates from files or from the cluster's authority, reread without dropping connections.
//!
//! A listener's [`ServerTls`] hands each new connection the newest `ServerConfig`; connections keep the one they
//! started with. Client certificates are checked against the listener's own authorities only, never the cluster's:
//! whoever gets hold of a broker's key must not become a client principal with it.

mod subject;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::auth::Principal;
use crate::auth::mapping::{InvalidRule, MappingRules};
use crate::clock::Clock;
use crate::config::{ClientCertificates, Listener};
use crate::trust::{Trust, TrustError};

pub use subject::rfc2253;

/// How often files and the own certificate's age are looked at.
const POLL: Duration = Duration::from_secs(3);
/// After a failure to renew the own certificate, the next attempt waits this long (milliseconds).
const RETRY_MS: i64 = 60_000;

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} cannot be used: {reason}")]
    Unusable { path: PathBuf, reason: String },
    #[error("certificate_file and key_file belong together: give both, or none for the broker's own certificate")]
    HalfPair,
    #[error("client certificates are asked for, but client_ca_file does not say who signs them")]
    NoClientAuthority,
    #[error("{0} holds the cluster's own authority, which signs brokers only: give clients an authority of their own")]
    ClusterAuthority(PathBuf),
    #[error(transparent)]
    Mapping(#[from] InvalidRule),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Where a listener's certificates come from.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Certificate chain and key as PEM files; the broker's own certificate when absent.
    pub files: Option<(PathBuf, PathBuf)>,
    /// Authorities of client certificates, and whether a client must have one.
    pub clients: Option<(PathBuf, bool)>,
    pub mapping: MappingRules,
}

impl TlsSettings {
    pub fn of(listener: &Listener) -> Result<Self, TlsError> {
        let files = match (&listener.certificate_file, &listener.key_file) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => return Err(TlsError::HalfPair),
        };
        let authority = || listener.client_ca_file.clone().ok_or(TlsError::NoClientAuthority);
        let clients = match listener.client_certificates {
            ClientCertificates::None => None,
            ClientCertificates::Optional => Some((authority()?, false)),
            ClientCertificates::Required => Some((authority()?, true)),
        };
        Ok(Self { files, clients, mapping: MappingRules::parse(&listener.principal_mapping_rules)? })
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = self.files.iter().flat_map(|(certificate, key)| [certificate, key]);
        files.chain(self.clients.iter().map(|(authorities, _)| authorities)).map(PathBuf::as_path)
    }
}

/// When the configuration in use has to be looked at again.
struct Freshness {
    files: Vec<Option<Version>>,
    /// For the own certificate.
    renew_at_ms: Option<i64>,
    expires_at_ms: i64,
}

/// TLS of one listener.
pub struct ServerTls {
    settings: TlsSettings,
    trust: Arc<Trust>,
    clock: Arc<dyn Clock>,
    current: ArcSwap<ServerConfig>,
    freshness: Mutex<Freshness>,
}

impl ServerTls {
    pub fn new(settings: TlsSettings, trust: Arc<Trust>, clock: Arc<dyn Clock>) -> Result<Arc<Self>, TlsError> {
        let files = versions(&settings);
        let Built { config, renew_at_ms, expires_at_ms } = build(&settings, &trust)?;
        let freshness = Mutex::new(Freshness { files, renew_at_ms, expires_at_ms });
        Ok(Arc::new(Self { settings, trust, clock, current: ArcSwap::new(config), freshness }))
    }

    /// For the next connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// When the certificate in use ends, milliseconds since 1970.
    pub fn expires_at_ms(&self) -> i64 {
        self.freshness.lock().expires_at_ms
    }

    /// Rereads the files, or makes a new own certificate. When that fails, what is in use stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let mut freshness = self.freshness.lock();
        // Before reading: a change that comes in between is then seen as a change.
        freshness.files = versions(&self.settings);
        match build(&self.settings, &self.trust) {
            Ok(Built { config, renew_at_ms, expires_at_ms }) => {
                freshness.renew_at_ms = renew_at_ms;
                freshness.expires_at_ms = expires_at_ms;
                self.current.store(config);
                Ok(())
            }
            Err(error) => {
                freshness.renew_at_ms = freshness.renew_at_ms.map(|_| self.clock.now_ms() + RETRY_MS);
                Err(error)
            }
        }
    }

    /// Like [`Self::reload`], but only when a file changed or the own certificate is two thirds through its life.
    /// Whether there was something to do.
    pub fn reload_if_stale(&self) -> Result<bool, TlsError> {
        let stale = {
            let freshness = self.freshness.lock();
            freshness.files != versions(&self.settings)
                || freshness.renew_at_ms.is_some_and(|renew_at_ms| self.clock.now_ms() >= renew_at_ms)
        };
        if stale {
            self.reload()?;
        }
        Ok(stale)
    }

    /// Keeps the certificates fresh until cancelled. Ends with the listener that owns it.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(POLL)).await.is_some() {
            let tls = self.clone();
            match tokio::task::spawn_blocking(move || tls.reload_if_stale()).await {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::info!("certificates were reread; new connections use them"),
                Ok(Err(error)) => tracing::error!(%error, "certificates cannot be reread; the ones in use stay"),
                Err(error) => tracing::error!(%error, "rereading certificates was interrupted; the ones in use stay"),
            }
        }
    }

    /// Who a client is by its certificate: the first certificate's subject through the mapping rules. `None` when no
    /// rule fits, and then the client is refused. A client without a certificate is anonymous.
    pub fn principal(&self, certificates: Option<&[CertificateDer<'_>]>) -> Option<Principal> {
        let Some(certificate) = certificates.and_then(<[_]>::first) else { return Some(Principal::anonymous()) };
        let subject = rfc2253(certificate)?;
        self.settings.mapping.apply(&subject).map(|name| Principal::user(&name))
    }
}

/// Tells whether a file is another one than before: an atomic replacement may keep the time of its source.
type Version = (SystemTime, u64, u64);

fn versions(settings: &TlsSettings) -> Vec<Option<Version>> {
    let version = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.ino(), found.len()))
    };
    settings.paths().map(version).collect()
}

/// A configuration, when to renew it, and when its certificate ends (milliseconds since 1970).
struct Built {
    config: Arc<ServerConfig>,
    renew_at_ms: Option<i64>,
    expires_at_ms: i64,
}

fn build(settings: &TlsSettings, trust: &Trust) -> Result<Built, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key, renew_at_ms) = match &settings.files {
        Some((certificate, key)) => (read_certificates(certificate)?, read_key(key)?, None),
        None => {
            let issued = trust.issue()?;
            (vec![issued.certificate], issued.key, Some(issued.renew_at_ms))
        }
    };
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &settings.clients {
        Some((authorities, required)) => {
            builder.with_client_cert_verifier(client_verifier(authorities, *required, trust, provider)?)
        }
        None => builder.with_no_client_auth(),
    };
    let expires_at_ms = chain.first().map_or(0, |certificate| expiry_ms(certificate));
    // This also checks that key and certificate belong together.
    let config = builder.with_single_cert(chain, key).map_err(|error| match &settings.files {
        Some((certificate, _)) => TlsError::Unusable { path: certificate.clone(), reason: error.to_string() },
        None => error.into(),
    })?;
    Ok(Built { config: Arc::new(config), renew_at_ms, expires_at_ms })
}

fn expiry_ms(certificate: &CertificateDer<'_>) -> i64 {
    use x509_parser::prelude::{FromDer, X509Certificate};
    X509Certificate::from_der(certificate).map_or(0, |(_, parsed)| parsed.validity().not_after.timestamp() * 1000)
}

fn client_verifier(
    path: &Path,
    required: bool,
    trust: &Trust,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unusable = |reason: String| TlsError::Unusable { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        if certificate == *trust.authority_certificate() {
            return Err(TlsError::ClusterAuthority(path.to_owned()));
        }
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|error| unusable(error.to_string()))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let unusable = |reason: String| TlsError::Unusable { path: path.to_owned(), reason };
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| unusable(format!("it is not PEM: {error}")))?;
    match certificates.is_empty() {
        true => Err(unusable("it holds no PEM certificate".to_owned())),
        false => Ok(certificates),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| TlsError::Unusable {
        path: path.to_owned(),
        reason: format!("it holds no PEM private key: {error}"),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
