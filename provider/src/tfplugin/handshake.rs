//! How Terraform starts a plugin: what it says in the environment, and the one line it expects on stdout.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// The major version of the plugin protocol spoken here.
pub(super) const PROTOCOL_VERSION: u32 = 6;

/// Terraform's proof that it, and not a person, started the program.
const COOKIE_KEY: &str = "TF_PLUGIN_MAGIC_COOKIE";
const COOKIE_VALUE: &str = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2";

/// Why the program cannot serve.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error(
        "This program is a Terraform plugin and is started by Terraform itself.\n\
         Name it in a configuration instead:\n\n  \
         terraform {{\n    required_providers {{\n      lockgate = {{ source = \"lockgate/lockgate\" }}\n    }}\n  }}\n\n\
         and run `terraform init`."
    )]
    RunByHand,
    #[error(
        "Terraform offers the plugin protocol versions {offered:?}, and this provider speaks version 6. \
         Use Terraform 1.1 or later."
    )]
    NoCommonVersion { offered: String },
    #[error(
        "Terraform gave no client certificate (PLUGIN_CLIENT_CERT), and this provider never serves without mutual TLS."
    )]
    NoClientCertificate,
}

/// What Terraform says when it starts the plugin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invitation {
    /// The certificate that the one client will show.
    pub(super) client_certificate_pem: String,
    /// Where the socket has to be, if Terraform minds.
    pub(super) socket_dir: Option<String>,
}

impl Invitation {
    /// Reads the environment through `var`.
    pub(super) fn read(var: impl Fn(&str) -> Option<String>) -> Result<Self, HandshakeError> {
        if var(COOKIE_KEY).as_deref() != Some(COOKIE_VALUE) {
            return Err(HandshakeError::RunByHand);
        }
        let offered = var("PLUGIN_PROTOCOL_VERSIONS").unwrap_or_default();
        if !offered.split(',').any(|version| version.trim().parse() == Ok(PROTOCOL_VERSION)) {
            return Err(HandshakeError::NoCommonVersion { offered });
        }
        let client_certificate_pem =
            var("PLUGIN_CLIENT_CERT").filter(|pem| !pem.is_empty()).ok_or(HandshakeError::NoClientCertificate)?;
        Ok(Self { client_certificate_pem, socket_dir: var("PLUGIN_UNIX_SOCKET_DIR").filter(|dir| !dir.is_empty()) })
    }
}

/// The line that tells Terraform where the plugin listens and which certificate it shows:
/// `1|6|unix|<socket>|grpc|<certificate>`, where 1 is the version of this line itself.
pub(super) fn line(socket: &Path, certificate_der: &[u8]) -> String {
    let certificate = STANDARD_NO_PAD.encode(certificate_der);
    format!("1|{PROTOCOL_VERSION}|unix|{}|grpc|{certificate}", socket.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(changes: &[(&str, Option<&str>)]) -> Result<Invitation, HandshakeError> {
        let usual =
            [(COOKIE_KEY, COOKIE_VALUE), ("PLUGIN_PROTOCOL_VERSIONS", "5,6"), ("PLUGIN_CLIENT_CERT", "-----BEGIN")];
        Invitation::read(|key| match changes.iter().find(|(k, _)| *k == key) {
            Some((_, value)) => value.map(str::to_owned),
            None => usual.iter().find(|(k, _)| *k == key).map(|(_, v)| (*v).to_owned()),
        })
    }

    #[test]
    fn terraforms_environment_is_an_invitation() {
        let invitation = invite(&[("PLUGIN_UNIX_SOCKET_DIR", Some("/run/tf"))]).expect("complete");
        assert_eq!(invitation.socket_dir.as_deref(), Some("/run/tf"));
        assert_eq!(invite(&[]).expect("complete").socket_dir, None);
    }

    #[test]
    fn a_person_gets_a_sentence() {
        for cookie in [None, Some("wrong")] {
            let refusal = invite(&[(COOKIE_KEY, cookie)]).expect_err("no cookie");
            assert_eq!(refusal, HandshakeError::RunByHand);
            assert!(refusal.to_string().contains("started by Terraform"));
        }
    }

    #[test]
    fn an_old_terraform_and_one_without_tls_are_refused() {
        let refusal = invite(&[("PLUGIN_PROTOCOL_VERSIONS", Some("4,5"))]).expect_err("no 6");
        assert_eq!(refusal, HandshakeError::NoCommonVersion { offered: "4,5".to_owned() });
        for certificate in [None, Some("")] {
            let refusal = invite(&[("PLUGIN_CLIENT_CERT", certificate)]).expect_err("no certificate");
            assert_eq!(refusal, HandshakeError::NoClientCertificate);
        }
    }

    #[test]
    fn the_line_has_six_fields_and_no_padding() {
        let line = line(Path::new("/tmp/s/plugin.sock"), &[1, 2, 3, 4]);
        assert_eq!(line, "1|6|unix|/tmp/s/plugin.sock|grpc|AQIDBA");
    }
}
