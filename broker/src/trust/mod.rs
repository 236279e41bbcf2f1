//! The cluster's root of trust under the data folder, made at the first start and read at every one:
//!
//! | file | holds |
//! | --- | --- |
//! | `public/cluster.json` | cluster id and bootstrap addresses |
//! | `public/ca.pem` | what clients trust |
//! | `private/ca.pem` | the authority's key with its certificate |
//! | `admin/admin.json`, `admin/terraform.json` | credentials of the first two users |
//! | `admin/client.properties` | a client config that works as it is |
//!
//! Everything is created only if absent and appears complete, so a first start that was interrupted goes on where it
//! stopped.

mod authority;
mod files;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::Rng;
use rand::distr::Alphanumeric;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::auth::sasl::DEFAULT_ITERATIONS;
use crate::catalog::{Catalog, CatalogError, CatalogRecord, ChangeError, ScramCredential, ScramMechanism};
use crate::clock::Clock;
use authority::Authority;
pub use authority::{CERTIFICATE_LIFE, Issued};
use files::{Access, Files};

const CLUSTER: &str = "public/cluster.json";
const CA_BUNDLE: &str = "public/ca.pem";
const AUTHORITY: &str = "private/ca.pem";
const CLIENT_PROPERTIES: &str = "admin/client.properties";
/// The users made at the first start: one for emergencies, one for automation.
const FIRST_USERS: [&str; 2] = ["admin", "terraform"];
const PASSWORD_CHARACTERS: usize = 32;

#[derive(Debug, Error)]
pub enum TrustError {
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} is damaged: {reason}; restore it from a backup")]
    Damaged { path: PathBuf, reason: String },
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("the first users cannot be stored: {0}")]
    Catalog(CatalogError),
}

impl TrustError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

/// `public/cluster.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cluster {
    cluster_id: String,
    #[serde(default)]
    bootstrap_servers: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Password {
    password: String,
}

/// `admin/<user>.json`. While a password is changed, `next` is the one that comes; clients try both.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AdminCredential {
    username: String,
    mechanism: ScramMechanism,
    current: Password,
    #[serde(default)]
    next: Option<Password>,
}

/// What was found or made.
pub struct Trust {
    files: Files,
    clock: Arc<dyn Clock>,
    cluster_id: String,
    authority: Authority,
    first_users: Vec<AdminCredential>,
    names: BTreeSet<String>,
    created: bool,
}

/// Reads the layout under `data`, and makes what is missing. `names` are the hosts, without ports, that clients reach
/// this broker by, beside the local ones.
pub fn ensure(data: &Path, names: &[String], clock: Arc<dyn Clock>) -> Result<Trust, TrustError> {
    ensure_in(Files::new(data), names, clock)
}

fn ensure_in(files: Files, names: &[String], clock: Arc<dyn Clock>) -> Result<Trust, TrustError> {
    files.folder("", Access::Public)?;
    files.folder("public", Access::Public)?;
    files.folder("admin", Access::Secret)?;
    files.folder("private", Access::Secret)?;
    // The client config is written last, when the addresses are known: without it, no first start got to its end.
    let created = files.read(CLIENT_PROPERTIES, Access::Secret)?.is_none();
    let cluster = ensure_cluster(&files)?;
    let authority = ensure_authority(&files, &cluster.cluster_id, clock.now_ms())?;
    let first_users = FIRST_USERS.iter().map(|user| ensure_user(&files, user)).collect::<Result<_, _>>()?;
    let names = certificate_names(names);
    Ok(Trust { files, clock, cluster_id: cluster.cluster_id, authority, first_users, names, created })
}

fn ensure_cluster(files: &Files) -> Result<Cluster, TrustError> {
    if let Some(found) = files.read(CLUSTER, Access::Public)? {
        return parse_json(files, CLUSTER, &found);
    }
    let cluster = Cluster { cluster_id: new_cluster_id(), bootstrap_servers: Vec::new() };
    parse_json(files, CLUSTER, &files.create(CLUSTER, Access::Public, &to_json(&cluster))?)
}

/// Kafka's form of a cluster id: a random UUID as 22 characters. Like Kafka's it never begins with a dash, which command lines
/// would take for an option.
fn new_cluster_id() -> String {
    loop {
        let id = BASE64_URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes());
        if !id.starts_with('-') {
            return id;
        }
    }
}

fn ensure_authority(files: &Files, cluster_id: &str, now_ms: i64) -> Result<Authority, TrustError> {
    let pem = match files.read(AUTHORITY, Access::Secret)? {
        Some(found) => found,
        None => files.create(AUTHORITY, Access::Secret, &Authority::generate(cluster_id, now_ms)?)?,
    };
    let authority =
        Authority::read(&pem).map_err(|reason| TrustError::Damaged { path: files.path(AUTHORITY), reason })?;
    let bundle = files.read(CA_BUNDLE, Access::Public)?.unwrap_or_default();
    // A bundle may hold more than one authority while one replaces the other.
    let mut trusted = CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok);
    if !trusted.any(|certificate| certificate == *authority.certificate()) {
        files.replace(CA_BUNDLE, Access::Public, &pem_of(authority.certificate()))?;
    }
    Ok(authority)
}

fn ensure_user(files: &Files, user: &str) -> Result<AdminCredential, TrustError> {
    let name = format!("admin/{user}.json");
    if let Some(found) = files.read(&name, Access::Secret)? {
        return parse_json(files, &name, &found);
    }
    let password = rand::rng().sample_iter(Alphanumeric).take(PASSWORD_CHARACTERS).map(char::from).collect();
    let credential = AdminCredential {
        username: user.to_owned(),
        mechanism: ScramMechanism::Sha512,
        current: Password { password },
        next: None,
    };
    parse_json(files, &name, &files.create(&name, Access::Secret, &to_json(&credential))?)
}

/// Local names, this machine's name, and what the caller adds. Names that no certificate can carry are left out.
fn certificate_names(more: &[String]) -> BTreeSet<String> {
    let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let names = local.into_iter().chain(hostname).chain(more.iter().cloned());
    names
        .map(|name| name.trim().trim_start_matches('[').trim_end_matches(']').to_owned())
        .filter(|name| usable(name))
        .collect()
}

fn usable(name: &str) -> bool {
    match name.parse::<IpAddr>() {
        Ok(address) => !address.is_unspecified(),
        Err(_) => {
            !name.is_empty()
                && name.len() <= 253
                && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet))
        }
    }
}

impl Trust {
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Whether this is the first start, or goes on with one that was interrupted.
    pub fn created(&self) -> bool {
        self.created
    }

    /// The authority's own certificate.
    pub fn authority_certificate(&self) -> &CertificateDer<'static> {
        self.authority.certificate()
    }

    /// The client config for people, written by [`Self::publish_bootstrap`].
    pub fn client_properties(&self) -> PathBuf {
        self.files.path(CLIENT_PROPERTIES)
    }

    /// A new server certificate for this broker.
    pub fn issue(&self) -> Result<Issued, TrustError> {
        Ok(self.authority.issue(&self.names, self.clock.now_ms())?)
    }

    /// Puts the first users into the catalog where they are missing. A password that was changed since stays.
    pub async fn install_users(&self, catalog: &Catalog) -> Result<(), TrustError> {
        let image = catalog.image();
        let missing: Vec<_> =
            self.first_users.iter().filter(|user| !image.users.contains_key(&user.username)).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let derive = move || derive_credentials(&missing);
        let derived = tokio::task::spawn_blocking(derive)
            .await
            .map_err(|error| TrustError::Catalog(CatalogError::Log(error.to_string().into())))?;
        let installed = catalog.change::<(), Infallible>(|image| {
            let absent = |record: &CatalogRecord| {
                matches!(record, CatalogRecord::UserCredential { user, .. } if !image.users.contains_key(user))
            };
            Ok((derived.into_iter().filter(absent).collect(), ()))
        });
        installed.await.map_err(|error| match error {
            ChangeError::Catalog(error) => TrustError::Catalog(error),
            ChangeError::Refused(never) => match never {},
        })
    }

    /// Writes the addresses that clients start from (`host:port`), and a client config with them.
    pub fn publish_bootstrap(&self, addresses: &[String]) -> Result<(), TrustError> {
        let cluster = Cluster { cluster_id: self.cluster_id.clone(), bootstrap_servers: addresses.to_vec() };
        self.files.replace(CLUSTER, Access::Public, &to_json(&cluster))?;
        let Some(admin) = self.first_users.first() else { return Ok(()) };
        let properties = self.properties(admin, addresses);
        self.files.replace(CLIENT_PROPERTIES, Access::Secret, &properties)
    }

    /// librdkafka's names, which kcat and its relatives read (`kcat -F`).
    fn properties(&self, user: &AdminCredential, addresses: &[String]) -> String {
        let bundle = self.files.path(CA_BUNDLE);
        let bundle = std::path::absolute(&bundle).unwrap_or(bundle);
        format!(
            "bootstrap.servers={}\nsecurity.protocol=SASL_SSL\nssl.ca.location={}\nsasl.mechanism=SCRAM-SHA-512\n\
             sasl.username={}\nsasl.password={}\n",
            addresses.join(","),
            bundle.display(),
            user.username,
            user.current.password,
        )
    }
}

/// Both mechanisms, since clients differ, each on a thread of its own, since the start waits for them. The passwords
/// are random and long, so the iteration count protects nothing and is kept low.
fn derive_credentials(users: &[AdminCredential]) -> Vec<CatalogRecord> {
    let derive = |user: &AdminCredential, mechanism| CatalogRecord::UserCredential {
        user: user.username.clone(),
        mechanism,
        credential: ScramCredential::from_password(mechanism, &user.current.password, DEFAULT_ITERATIONS),
    };
    std::thread::scope(|scope| {
        let each = |user| [ScramMechanism::Sha256, ScramMechanism::Sha512].map(|mechanism| (user, mechanism));
        let work = |(user, mechanism)| scope.spawn(move || derive(user, mechanism));
        let running: Vec<_> = users.iter().flat_map(each).map(work).collect();
        running.into_iter().map(|thread| thread.join().expect("hashing does not panic")).collect()
    })
}

/// The error tells the place and not the text there: it may be a password.
fn parse_json<T: serde::de::DeserializeOwned>(files: &Files, name: &str, text: &str) -> Result<T, TrustError> {
    serde_json::from_str(text).map_err(|error| {
        let reason = format!("line {} column {} is not what belongs there", error.line(), error.column());
        TrustError::Damaged { path: files.path(name), reason }
    })
}

fn to_json<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain structs of strings always become JSON");
    text.push('\n');
    text
}

/// One certificate as PEM.
fn pem_of(certificate: &CertificateDer<'_>) -> String {
    let encoded = base64::prelude::BASE64_STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in encoded.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests;
