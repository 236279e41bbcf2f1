//! `provider.tf`: the cluster that was exported, named for the provider as it was named here, without its secrets.

use std::path::Path;

use lockgate_client::{Settings, TlsSettings};

use super::super::failure::{Failure, Outcome};
use super::hcl::{Block, Expression};

pub(super) const FILE: &str = "provider.tf";

const HEAD: &str = r#"# Written by lockgate export terraform. The one file that names the cluster.

terraform {
  required_version = ">= 1.11"

  required_providers {
    lockgate = {
      source = "lockgate/lockgate"
    }
  }
}

"#;

const PASSWORD: &str = "# The password comes from the environment: LOCKGATE_SASL_PASSWORD.\n";
const PEM: &str = "# CA and client certificate come from the environment: LOCKGATE_TLS_CA_PEM, LOCKGATE_TLS_CLIENT_CERT_PEM and\n\
                   # LOCKGATE_TLS_CLIENT_KEY_PEM.\n";

pub(super) fn file(settings: &Settings) -> Outcome<String> {
    let mut comments = String::new();
    let mut attributes = Vec::new();
    let mut attribute = |name: &str, value| attributes.push((name.to_owned(), value));
    if let Some(url) = &settings.cluster {
        attribute("cluster", Expression::Text(url.clone()));
    }
    if let Some(servers) = &settings.bootstrap_servers {
        attribute("bootstrap_servers", Expression::Texts(servers.clone()));
    }
    if let Some(tls) = &settings.tls {
        match tls_object(tls)? {
            Some(object) => attribute("tls", object),
            None => comments.push_str(PEM),
        }
    }
    if let Some(sasl) = &settings.sasl {
        let mechanism = sasl.mechanism.map(|mechanism| ("mechanism", mechanism.name().to_owned()));
        let username = sasl.username.clone().map(|username| ("username", username));
        attribute("sasl", object(mechanism.into_iter().chain(username)));
        comments.push_str(PASSWORD);
    }
    let block = Block { head: "provider \"lockgate\"".to_owned(), attributes };
    Ok(format!("{HEAD}{comments}{block}"))
}

/// The files of a connection, or `None` where text stands in for one: a key is a secret, and what belongs together comes
/// from one place.
fn tls_object(tls: &TlsSettings) -> Outcome<Option<Expression>> {
    if tls.ca_pem.is_some() || tls.client_cert_pem.is_some() || tls.client_key_pem.is_some() {
        return Ok(None);
    }
    let mut attributes = Vec::new();
    for (name, file) in [
        ("ca_file", &tls.ca_file),
        ("client_cert_file", &tls.client_cert_file),
        ("client_key_file", &tls.client_key_file),
    ] {
        if let Some(file) = file {
            attributes.push((name, absolute(file)?));
        }
    }
    attributes.extend(tls.server_name.clone().map(|name| ("server_name", name)));
    Ok(Some(object(attributes)))
}

/// Terraform runs in another folder.
fn absolute(file: &Path) -> Outcome<String> {
    let path = std::path::absolute(file)?;
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Failure::Text(format!("The path {} is not UTF-8, so no Terraform file can name it.", path.display()))
    })
}

fn object(attributes: impl IntoIterator<Item = (&'static str, String)>) -> Expression {
    let attributes = attributes.into_iter().map(|(name, text)| (name.to_owned(), Expression::Text(text)));
    Expression::Object(attributes.collect())
}

#[cfg(test)]
mod tests {
    use lockgate_client::{SaslMechanism, SaslSettings};

    use super::*;

    fn block(settings: &Settings) -> String {
        let file = file(settings).expect("a file");
        file.strip_prefix(HEAD).expect("the head").to_owned()
    }

    #[test]
    fn a_cluster_url_stands_alone() {
        let settings = Settings { cluster: Some("file:///data".into()), ..Settings::default() };
        assert_eq!(block(&settings), "provider \"lockgate\" {\n  cluster = \"file:///data\"\n}\n");
    }

    #[test]
    fn servers_come_with_files_and_user_and_without_the_password() {
        let tls = TlsSettings { ca_file: Some("/ca.pem".into()), ..TlsSettings::default() };
        let sasl = SaslSettings {
            mechanism: Some(SaslMechanism::ScramSha256),
            username: Some("alice".into()),
            password: Some("hunter2".into()),
        };
        let servers = Some(vec!["b1:9093".into(), "b2:9093".into()]);
        let settings = Settings { bootstrap_servers: servers, tls: Some(tls), sasl: Some(sasl), ..Settings::default() };
        let wanted = r#"# The password comes from the environment: LOCKGATE_SASL_PASSWORD.
provider "lockgate" {
  bootstrap_servers = ["b1:9093", "b2:9093"]

  tls = {
    ca_file = "/ca.pem"
  }

  sasl = {
    mechanism = "SCRAM-SHA-256"
    username  = "alice"
  }
}
"#;
        assert_eq!(block(&settings), wanted);
    }

    #[test]
    fn text_of_certificates_and_keys_stays_in_the_environment() {
        let tls = TlsSettings {
            ca_file: Some("/ca.pem".into()),
            client_key_pem: Some("hunter2".into()),
            ..TlsSettings::default()
        };
        let servers = Some(vec!["b1:9093".into()]);
        let block = block(&Settings { bootstrap_servers: servers, tls: Some(tls), ..Settings::default() });
        assert!(block.contains("LOCKGATE_TLS_CLIENT_KEY_PEM") && !block.contains("hunter2"), "{block}");
        assert!(!block.contains("tls = "), "{block}");
    }
}
