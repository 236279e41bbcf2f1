//! Flags that name a cluster, and the connection they lead to.

use std::path::PathBuf;

use clap::Args;
use lockgate_client::{Admin, Profile, SaslMechanism, SaslSettings, Settings, TlsSettings};

use super::failure::{Failure, Outcome};

/// How to reach a cluster: `--cluster`, or servers with TLS and SASL, or a properties file; else the LOCKGATE_ variables.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectionArgs {
    /// Cluster URL (file:///path): servers, CA and admin credential come from there [env: LOCKGATE_CLUSTER]
    #[arg(long, global = true, hide_short_help = true, value_name = "URL")]
    cluster: Option<String>,
    /// Servers to try, as host:port,host:port [env: LOCKGATE_BOOTSTRAP_SERVERS]
    #[arg(long, global = true, hide_short_help = true, value_name = "SERVERS")]
    bootstrap_servers: Option<String>,
    /// File of a Java or librdkafka client that says how to connect
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE", conflicts_with = "cluster")]
    properties: Option<PathBuf>,
    /// Use TLS (implied by the other TLS settings)
    #[arg(long, global = true, hide_short_help = true)]
    tls: bool,
    /// CA that signed the servers' certificates [env: LOCKGATE_TLS_CA_FILE]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    tls_ca_file: Option<PathBuf>,
    /// Client certificate [env: LOCKGATE_TLS_CLIENT_CERT_FILE]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    tls_client_cert_file: Option<PathBuf>,
    /// Key of the client certificate [env: LOCKGATE_TLS_CLIENT_KEY_FILE]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    tls_client_key_file: Option<PathBuf>,
    /// Name that the servers' certificates carry, when it is not the host dialled [env: LOCKGATE_TLS_SERVER_NAME]
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    tls_server_name: Option<String>,
    /// PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (the default) [env: LOCKGATE_SASL_MECHANISM]
    #[arg(long, global = true, hide_short_help = true, value_name = "MECHANISM")]
    sasl_mechanism: Option<SaslMechanism>,
    /// User to authenticate as [env: LOCKGATE_SASL_USERNAME]; the password comes from LOCKGATE_SASL_PASSWORD or a file
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    sasl_username: Option<String>,
    /// File that holds the password of the SASL user
    #[arg(long, global = true, hide_short_help = true, value_name = "FILE")]
    sasl_password_file: Option<PathBuf>,
}

impl ConnectionArgs {
    /// Some flag is there.
    pub(super) fn is_given(&self) -> bool {
        *self != Self::default()
    }

    /// Connects, so that what is wrong with the settings shows before anything is done.
    pub(super) async fn admin(&self) -> Outcome<Admin> {
        Ok(Admin::connect(Profile::from_settings(self.resolved()?).await?).await?)
    }

    /// The settings, with what flags and files leave open taken from the environment.
    pub(super) fn resolved(&self) -> Outcome<Settings> {
        Ok(self.settings()?.or(Settings::from_env(|name| std::env::var(name).ok())?)?)
    }

    fn settings(&self) -> Outcome<Settings> {
        let mut settings = match &self.properties {
            Some(path) => lockgate_client::properties::load(path)?,
            None => Settings::default(),
        };
        settings.cluster = self.cluster.clone();
        if let Some(list) = &self.bootstrap_servers {
            settings.bootstrap_servers = Some(lockgate_client::split_servers(list));
        }
        self.add_tls(&mut settings.tls);
        self.add_sasl(&mut settings.sasl)?;
        Ok(settings)
    }

    /// Flags win over the properties file, item by item.
    fn add_tls(&self, tls: &mut Option<TlsSettings>) {
        let given = self.tls_ca_file.is_some()
            || self.tls_client_cert_file.is_some()
            || self.tls_client_key_file.is_some()
            || self.tls_server_name.is_some();
        // With --tls alone the CA may still come from the environment, as a group.
        if !given && (tls.is_some() || !self.tls) {
            return;
        }
        if !given && ["LOCKGATE_TLS_CA_FILE", "LOCKGATE_TLS_CA_PEM"].iter().any(|name| std::env::var_os(name).is_some())
        {
            return;
        }
        let tls = tls.get_or_insert_default();
        if let Some(file) = &self.tls_ca_file {
            (tls.ca_file, tls.ca_pem) = (Some(file.clone()), None);
        }
        if let Some(file) = &self.tls_client_cert_file {
            (tls.client_cert_file, tls.client_cert_pem) = (Some(file.clone()), None);
        }
        if let Some(file) = &self.tls_client_key_file {
            (tls.client_key_file, tls.client_key_pem) = (Some(file.clone()), None);
        }
        if self.tls_server_name.is_some() {
            tls.server_name = self.tls_server_name.clone();
        }
    }

    fn add_sasl(&self, sasl: &mut Option<SaslSettings>) -> Outcome {
        if self.sasl_mechanism.is_none() && self.sasl_username.is_none() && self.sasl_password_file.is_none() {
            return Ok(());
        }
        let sasl = sasl.get_or_insert_default();
        sasl.mechanism = self.sasl_mechanism.or(sasl.mechanism);
        if let Some(username) = &self.sasl_username {
            // The file's password belongs to the file's user.
            if sasl.username.as_ref().is_some_and(|own| own != username) {
                sasl.password = None;
            }
            sasl.username = Some(username.clone());
        }
        if let Some(path) = &self.sasl_password_file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::File(format!("The password file {} cannot be read", path.display()), error)
            })?;
            sasl.password = Some(text.trim_end_matches(['\r', '\n']).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_properties_file() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("client.properties");
        std::fs::write(
            &file,
            "bootstrap.servers=file:1\nsecurity.protocol=SASL_SSL\nssl.ca.location=/file-ca\nsasl.username=alice\nsasl.password=x",
        )
        .expect("written");
        let args = ConnectionArgs {
            properties: Some(file),
            bootstrap_servers: Some("flag:1".into()),
            sasl_username: Some("bob".into()),
            ..ConnectionArgs::default()
        };
        let settings = args.settings().expect("valid");
        assert_eq!(settings.bootstrap_servers, Some(vec!["flag:1".into()]));
        assert_eq!(settings.tls.expect("tls").ca_file, Some("/file-ca".into()));
        let sasl = settings.sasl.expect("sasl");
        assert_eq!((sasl.username.as_deref(), sasl.password), (Some("bob"), None));
    }

    #[test]
    fn a_password_file_may_end_with_a_newline() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("password");
        std::fs::write(&file, "s3cret \n").expect("written");
        let args = ConnectionArgs {
            sasl_username: Some("bob".into()),
            sasl_password_file: Some(file),
            ..ConnectionArgs::default()
        };
        let sasl = args.settings().expect("valid").sasl.expect("sasl");
        assert_eq!(sasl.password.expect("password").expose(), "s3cret ");
    }
}
