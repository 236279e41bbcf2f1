//! A [`Profile`]: everything needed to open a connection, found and checked.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use krafka::auth::{AuthConfig, TlsConfig};

use crate::discovery::{self, read_file};
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::settings::{SaslSettings, Settings, TlsSettings};
use crate::url::ClusterUrl;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the servers are, whom they are trusted as, and who we are.
#[derive(Clone, Debug)]
pub struct Profile {
    servers: Vec<String>,
    tls: Option<Tls>,
    /// Tried in order; empty means no SASL.
    credentials: Vec<Credential>,
    cluster: Option<ClusterUrl>,
    cluster_id: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
}

#[derive(Clone, Debug)]
struct Tls {
    ca_pem: String,
    client: Option<(String, Secret)>,
    server_name: Option<String>,
}

/// A user with a password.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    pub(crate) mechanism: SaslMechanism,
    pub(crate) username: String,
    pub(crate) password: Secret,
}

/// SASL mechanisms that carry a name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl SaslMechanism {
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl fmt::Display for SaslMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SaslMechanism {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Plain, Self::ScramSha256, Self::ScramSha512]
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("{text:?} is not one of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512"))
    }
}

impl Profile {
    /// Fills `settings` from the process's environment, then finds and reads everything they name.
    pub async fn resolve(settings: Settings) -> Result<Self> {
        let env = Settings::from_env(|name| std::env::var(name).ok())?;
        Self::from_settings(settings.or(env)?).await
    }

    /// The same, from the settings alone.
    pub async fn from_settings(settings: Settings) -> Result<Self> {
        let connect_timeout = settings.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        let request_timeout = settings.request_timeout.unwrap_or(REQUEST_TIMEOUT).max(connect_timeout);
        let profile = match &settings.cluster {
            Some(url) => Self::from_cluster(url.parse()?, &settings).await?,
            None => Self::explicit(&settings).await?,
        };
        for server in &profile.servers {
            check_server(server)?;
        }
        Ok(Self { connect_timeout, request_timeout, ..profile })
    }

    async fn from_cluster(url: ClusterUrl, settings: &Settings) -> Result<Self> {
        let found = discovery::discover(&url, settings.admin_user).await?;
        let server_name = settings.tls.as_ref().and_then(|tls| tls.server_name.clone());
        Ok(Self {
            servers: settings.bootstrap_servers.clone().unwrap_or(found.bootstrap_servers),
            tls: Some(Tls { ca_pem: found.ca_pem, client: None, server_name }),
            credentials: found.credentials,
            cluster: Some(url),
            cluster_id: Some(found.cluster_id),
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
        })
    }

    async fn explicit(settings: &Settings) -> Result<Self> {
        let servers = settings.bootstrap_servers.clone().unwrap_or_default();
        if servers.is_empty() {
            return Err(Error::Settings(
                "No cluster is named: give a cluster URL (LOCKGATE_CLUSTER), or bootstrap servers \
                 (LOCKGATE_BOOTSTRAP_SERVERS) with TLS and SASL."
                    .to_owned(),
            ));
        }
        let tls = match &settings.tls {
            Some(tls) => Some(Tls::load(tls).await?),
            None => None,
        };
        let credentials = match &settings.sasl {
            Some(sasl) => vec![Credential::complete(sasl)?],
            None => Vec::new(),
        };
        Ok(Self {
            servers,
            tls,
            credentials,
            cluster: None,
            cluster_id: None,
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
        })
    }

    /// The addresses to try, in order.
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// The cluster id that the cluster URL promises.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    pub fn cluster(&self) -> Option<&ClusterUrl> {
        self.cluster.as_ref()
    }

    /// The CA that the servers' certificates are checked against.
    pub fn ca_pem(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.ca_pem.as_str())
    }

    /// The user that authenticates, if any.
    pub fn username(&self) -> Option<&str> {
        self.credentials.first().map(|credential| credential.username.as_str())
    }

    /// How many credentials there are to try (at least one attempt, without SASL too).
    pub(crate) fn attempts(&self) -> usize {
        self.credentials.len().max(1)
    }

    /// User and mechanism of the attempt.
    pub(crate) fn user(&self, attempt: usize) -> Option<(&str, &'static str)> {
        self.credentials.get(attempt).map(|credential| (credential.username.as_str(), credential.mechanism.name()))
    }

    /// krafka's form of the security settings of the attempt, for krafka's own producers and consumers too.
    pub fn security(&self, attempt: usize) -> AuthConfig {
        let tls = self.tls.as_ref().map(Tls::config);
        let Some(credential) = self.credentials.get(attempt) else {
            return tls.map_or_else(AuthConfig::plaintext, AuthConfig::ssl);
        };
        let (username, password) = (credential.username.as_str(), credential.password.expose());
        let sasl = match credential.mechanism {
            SaslMechanism::Plain => AuthConfig::sasl_plain(username, password),
            SaslMechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(username, password),
            SaslMechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(username, password),
        };
        match tls {
            Some(tls) => sasl.with_tls(tls),
            None => sasl,
        }
    }
}

impl Tls {
    async fn load(settings: &TlsSettings) -> Result<Self> {
        let ca = pem("CA", settings.ca_pem.as_deref(), settings.ca_file.as_deref()).await?.ok_or_else(|| {
            Error::Settings(
                "TLS needs the CA that signed the servers' certificates: set the CA file or its PEM text.".to_owned(),
            )
        })?;
        let cert = pem("client certificate", settings.client_cert_pem.as_deref(), settings.client_cert_file.as_deref())
            .await?;
        let inline = settings.client_key_pem.as_ref().map(Secret::expose);
        let key = pem("client key", inline, settings.client_key_file.as_deref()).await?;
        let client = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, Secret::new(key))),
            (None, None) => None,
            (Some(_), None) => {
                return Err(Error::Settings("The client certificate has no client key beside it.".into()));
            }
            (None, Some(_)) => {
                return Err(Error::Settings("The client key has no client certificate beside it.".into()));
            }
        };
        Ok(Self { ca_pem: ca, client, server_name: settings.server_name.clone() })
    }

    fn config(&self) -> TlsConfig {
        let mut config = TlsConfig::new().with_ca_cert_pem(self.ca_pem.as_bytes());
        if let Some((cert, key)) = &self.client {
            config = config.with_client_cert_pem(cert.as_bytes(), key.expose().as_bytes().to_vec());
        }
        if let Some(name) = &self.server_name {
            config = config.with_sni_hostname(name);
        }
        config
    }
}

impl Credential {
    fn complete(sasl: &SaslSettings) -> Result<Self> {
        let missing =
            |what: &str| Error::Settings(format!("SASL needs a {what} (LOCKGATE_SASL_{}).", what.to_uppercase()));
        Ok(Self {
            mechanism: sasl.mechanism.unwrap_or(SaslMechanism::ScramSha512),
            username: sasl.username.clone().ok_or_else(|| missing("username"))?,
            password: sasl.password.clone().ok_or_else(|| missing("password"))?,
        })
    }
}

/// Inline text or a file's, checked to look like PEM.
async fn pem(what: &'static str, inline: Option<&str>, file: Option<&Path>) -> Result<Option<String>> {
    let text = match (inline, file) {
        (Some(_), Some(_)) => {
            return Err(Error::Settings(format!("The {what} is given both as text and as a file; keep one.")));
        }
        (None, None) => return Ok(None),
        (Some(text), None) => text.to_owned(),
        (None, Some(path)) => {
            read_file(path, what, "check the path", "this user may not read the file; change its owner or mode").await?
        }
    };
    if !text.contains("-----BEGIN ") {
        return Err(match file {
            Some(path) => {
                Error::FileInvalid { what, path: path.to_owned(), reason: "it holds no PEM block".to_owned() }
            }
            None => Error::Settings(format!("The {what} is not PEM text (it has no -----BEGIN line).")),
        });
    }
    Ok(Some(text))
}

fn check_server(server: &str) -> Result<()> {
    let port = server.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(port)) if port > 0 => Ok(()),
        _ => Err(Error::Settings(format!("The bootstrap server {server:?} must be written as host:port."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { bootstrap_servers: Some(vec!["b1:9093".into()]), ..Settings::default() }
    }

    async fn refused(settings: Settings) -> String {
        Profile::from_settings(settings).await.expect_err("refused").to_string()
    }

    #[tokio::test]
    async fn nothing_named_says_what_to_give() {
        assert!(refused(Settings::default()).await.contains("LOCKGATE_CLUSTER"));
    }

    #[tokio::test]
    async fn tls_without_a_ca_is_refused() {
        let text = refused(Settings { tls: Some(TlsSettings::default()), ..settings() }).await;
        assert!(text.contains("CA"), "{text}");
    }

    #[tokio::test]
    async fn a_missing_ca_file_is_named() {
        let tls = TlsSettings { ca_file: Some("/nowhere/ca.pem".into()), ..TlsSettings::default() };
        let text = refused(Settings { tls: Some(tls), ..settings() }).await;
        assert!(text.contains("/nowhere/ca.pem"), "{text}");
    }

    #[tokio::test]
    async fn servers_need_a_port() {
        let text = refused(Settings { bootstrap_servers: Some(vec!["b1".into()]), ..Settings::default() }).await;
        assert!(text.contains("host:port"), "{text}");
    }

    #[tokio::test]
    async fn sasl_needs_a_password_and_debug_hides_it() {
        let sasl = SaslSettings { username: Some("alice".into()), ..SaslSettings::default() };
        let text = refused(Settings { sasl: Some(sasl.clone()), ..settings() }).await;
        assert!(text.contains("LOCKGATE_SASL_PASSWORD"), "{text}");
        let sasl = SaslSettings { password: Some("hunter2".into()), ..sasl };
        let profile = Profile::from_settings(Settings { sasl: Some(sasl), ..settings() }).await.expect("complete");
        assert_eq!(profile.username(), Some("alice"));
        assert!(!format!("{profile:?}{:?}", profile.security(0)).contains("hunter2"));
    }
}
