//! What a user may set to name a cluster, where each value comes from, and which settings go together.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::profile::SaslMechanism;
use crate::secret::Secret;

/// Settings as given by flags, a provider block or a properties file; `None` means not set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Cluster URL; stands alone but for `bootstrap_servers` and `tls.server_name`.
    pub cluster: Option<String>,
    /// `host:port` of each server to try.
    pub bootstrap_servers: Option<Vec<String>>,
    /// `Some` switches TLS on, even when empty (then the CA must be named too).
    pub tls: Option<TlsSettings>,
    pub sasl: Option<SaslSettings>,
    /// Which of the admin credentials under the cluster URL to use.
    pub admin_user: AdminUser,
    /// Bound on reaching one server: TCP, TLS and SASL each.
    pub connect_timeout: Option<Duration>,
    /// Bound on one request.
    pub request_timeout: Option<Duration>,
}

/// Inline PEM and files exclude each other, per item.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsSettings {
    pub ca_pem: Option<String>,
    pub ca_file: Option<PathBuf>,
    pub client_cert_pem: Option<String>,
    pub client_cert_file: Option<PathBuf>,
    pub client_key_pem: Option<Secret>,
    pub client_key_file: Option<PathBuf>,
    /// Name that the server's certificate must carry, when it is not the host that is dialled.
    pub server_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct SaslSettings {
    /// SCRAM-SHA-512 when not set.
    pub mechanism: Option<SaslMechanism>,
    pub username: Option<String>,
    pub password: Option<Secret>,
}

/// An admin credential under the cluster URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdminUser {
    /// `admin/admin.json`, for people.
    #[default]
    Admin,
    /// `admin/terraform.json`, for the provider.
    Terraform,
}

impl AdminUser {
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Admin => "admin/admin.json",
            Self::Terraform => "admin/terraform.json",
        }
    }
}

impl TlsSettings {
    fn only_server_name(&self) -> bool {
        Self { server_name: None, ..self.clone() } == Self::default()
    }
}

impl Settings {
    /// Reads the `LOCKGATE_…` variables. Empty variables count as not set.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        let path = |name: &str| get(name).map(PathBuf::from);
        let tls = TlsSettings {
            ca_pem: get("LOCKGATE_TLS_CA_PEM"),
            ca_file: path("LOCKGATE_TLS_CA_FILE"),
            client_cert_pem: get("LOCKGATE_TLS_CLIENT_CERT_PEM"),
            client_cert_file: path("LOCKGATE_TLS_CLIENT_CERT_FILE"),
            client_key_pem: get("LOCKGATE_TLS_CLIENT_KEY_PEM").map(Secret::from),
            client_key_file: path("LOCKGATE_TLS_CLIENT_KEY_FILE"),
            server_name: get("LOCKGATE_TLS_SERVER_NAME"),
        };
        let mechanism = get("LOCKGATE_SASL_MECHANISM")
            .map(|text| {
                text.parse()
                    .map_err(|reason| Error::Settings(format!("The variable LOCKGATE_SASL_MECHANISM: {reason}.")))
            })
            .transpose()?;
        let sasl = SaslSettings {
            mechanism,
            username: get("LOCKGATE_SASL_USERNAME"),
            password: get("LOCKGATE_SASL_PASSWORD").map(Secret::from),
        };
        Ok(Self {
            cluster: get("LOCKGATE_CLUSTER"),
            bootstrap_servers: get("LOCKGATE_BOOTSTRAP_SERVERS").map(|list| split_servers(&list)),
            tls: (tls != TlsSettings::default()).then_some(tls),
            sasl: (sasl != SaslSettings::default()).then_some(sasl),
            ..Self::default()
        })
    }

    /// Fills what these settings leave open from `env`, group by group, so that a value never meets one from another
    /// source that was meant for another cluster:
    /// with `cluster` here, nothing else is taken; with explicit servers, TLS or SASL here, `cluster` is not taken; a TLS
    /// group comes from one place only, and so does SASL, but for a password that is missing for the same user.
    pub fn or(mut self, env: Settings) -> Result<Self> {
        self.check("the settings")?;
        if self.cluster.is_some() {
            return Ok(self);
        }
        if self.bootstrap_servers.is_none() && self.tls.is_none() && self.sasl.is_none() {
            env.check("the LOCKGATE_ environment variables")?;
            let Self { admin_user, connect_timeout, request_timeout, .. } = self;
            return Ok(Self { admin_user, connect_timeout, request_timeout, ..env });
        }
        self.bootstrap_servers = self.bootstrap_servers.or(env.bootstrap_servers);
        self.tls = self.tls.or(env.tls);
        self.sasl = match (self.sasl, env.sasl) {
            (Some(mut own), Some(env)) => {
                let same_user = env.username.is_none() || own.username.is_none() || env.username == own.username;
                if own.password.is_none() && same_user {
                    own.password = env.password;
                    own.username = own.username.or(env.username);
                    own.mechanism = own.mechanism.or(env.mechanism);
                }
                Some(own)
            }
            (own, env) => own.or(env),
        };
        Ok(self)
    }

    /// Whether nothing names a cluster.
    pub fn is_empty(&self) -> bool {
        self.cluster.is_none() && self.bootstrap_servers.is_none()
    }

    fn check(&self, source: &str) -> Result<()> {
        if self.cluster.is_none() {
            return Ok(());
        }
        let beside = if self.sasl.is_some() {
            "sasl"
        } else if self.tls.as_ref().is_some_and(|tls| !tls.only_server_name()) {
            "tls (other than server_name)"
        } else {
            return Ok(());
        };
        Err(Error::Settings(format!(
            "In {source}, cluster and {beside} exclude each other: the cluster URL brings its own CA and credential. Keep \
             cluster (bootstrap_servers and the TLS server name may stand beside it), or name bootstrap_servers, tls and \
             sasl instead."
        )))
    }
}

/// `a:9092, b:9092` as a list.
pub fn split_servers(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|server| !server.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_env(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
            .expect("valid variables")
    }

    fn servers(list: &str) -> Settings {
        Settings { bootstrap_servers: Some(split_servers(list)), ..Settings::default() }
    }

    #[test]
    fn variables_fill_an_empty_block() {
        let merged = Settings::default().or(env(&[("LOCKGATE_CLUSTER", "file:///c")])).expect("no conflict");
        assert_eq!(merged.cluster.as_deref(), Some("file:///c"));
        let merged = Settings::default()
            .or(env(&[("LOCKGATE_BOOTSTRAP_SERVERS", "a:1, b:2"), ("LOCKGATE_TLS_CA_FILE", "/ca")]))
            .expect("no conflict");
        assert_eq!(merged.bootstrap_servers, Some(vec!["a:1".into(), "b:2".into()]));
        assert_eq!(merged.tls.expect("tls").ca_file, Some("/ca".into()));
    }

    #[test]
    fn a_given_cluster_takes_nothing_from_the_variables() {
        let given = Settings { cluster: Some("file:///given".into()), ..Settings::default() };
        let merged = given
            .clone()
            .or(env(&[
                ("LOCKGATE_BOOTSTRAP_SERVERS", "a:1"),
                ("LOCKGATE_SASL_PASSWORD", "x"),
                ("LOCKGATE_CLUSTER", "file:///e"),
            ]))
            .expect("no conflict");
        assert_eq!(merged, given);
    }

    #[test]
    fn given_servers_never_meet_a_cluster_from_the_variables() {
        let merged = servers("a:1").or(env(&[("LOCKGATE_CLUSTER", "file:///e")])).expect("no conflict");
        assert_eq!(merged.cluster, None);
    }

    #[test]
    fn a_password_comes_from_the_variable_for_the_same_user_only() {
        let given = |user: &str| Settings {
            sasl: Some(SaslSettings { username: Some(user.into()), ..SaslSettings::default() }),
            ..servers("a:1")
        };
        let variables = || env(&[("LOCKGATE_SASL_USERNAME", "alice"), ("LOCKGATE_SASL_PASSWORD", "secret")]);
        let alice = given("alice").or(variables()).expect("no conflict");
        assert_eq!(alice.sasl.expect("sasl").password, Some("secret".into()));
        let bob = given("bob").or(variables()).expect("no conflict");
        assert_eq!(bob.sasl.expect("sasl").password, None);
    }

    #[test]
    fn a_tls_group_comes_from_one_place() {
        let given = Settings {
            tls: Some(TlsSettings { ca_file: Some("/given".into()), ..TlsSettings::default() }),
            ..servers("a:1")
        };
        let merged = given.or(env(&[("LOCKGATE_TLS_SERVER_NAME", "other")])).expect("no conflict");
        assert_eq!(merged.tls.expect("tls").server_name, None);
    }

    #[test]
    fn a_cluster_excludes_sasl_and_a_ca_but_not_a_tunnel() {
        let refused = Settings {
            cluster: Some("file:///c".into()),
            sasl: Some(SaslSettings { username: Some("u".into()), ..SaslSettings::default() }),
            ..Settings::default()
        };
        let error = refused.or(Settings::default()).expect_err("conflict").to_string();
        assert!(error.contains("cluster and sasl exclude each other"), "{error}");
        let tunnel = Settings {
            cluster: Some("file:///c".into()),
            tls: Some(TlsSettings { server_name: Some("broker".into()), ..TlsSettings::default() }),
            ..servers("localhost:19092")
        };
        tunnel.or(Settings::default()).expect("a tunnel is allowed");
        let error = Settings::default()
            .or(env(&[("LOCKGATE_CLUSTER", "file:///c"), ("LOCKGATE_TLS_CA_FILE", "/ca")]))
            .expect_err("conflict")
            .to_string();
        assert!(error.contains("LOCKGATE_ environment variables"), "{error}");
    }

    #[test]
    fn debug_hides_secrets() {
        let settings = env(&[
            ("LOCKGATE_SASL_PASSWORD", "hunter2"),
            ("LOCKGATE_TLS_CLIENT_KEY_PEM", "hunter2"),
            ("LOCKGATE_BOOTSTRAP_SERVERS", "a:1"),
        ]);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn an_unknown_mechanism_names_the_known_ones() {
        let error = Settings::from_env(|name| (name == "LOCKGATE_SASL_MECHANISM").then(|| "GSSAPI".into()))
            .expect_err("refused")
            .to_string();
        assert!(error.contains("SCRAM-SHA-512") && error.contains("GSSAPI"), "{error}");
    }
}
