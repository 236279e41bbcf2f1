//! What lies under a cluster URL: bootstrap addresses and CA for everyone, admin credentials for operators.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::profile::{Credential, SaslMechanism};
use crate::secret::Secret;
use crate::settings::AdminUser;
use crate::url::ClusterUrl;

const PUBLIC_ROLE: &str = "clients, operators and brokers may read what is under public/; run as one of them";
const ADMIN_ROLE: &str = "only operators and brokers may read what is under admin/; run as one of them, or name the servers and your own user \
     with bootstrap_servers, tls and sasl";
const NOT_STARTED: &str =
    "the broker writes it at its first start; check the cluster URL, and that the broker has started once";

/// What `public/` and `admin/` say.
#[derive(Debug)]
pub(crate) struct Discovered {
    pub(crate) cluster_id: String,
    pub(crate) bootstrap_servers: Vec<String>,
    pub(crate) ca_pem: String,
    /// Current first, then next.
    pub(crate) credentials: Vec<Credential>,
}

#[derive(Deserialize)]
struct ClusterFile {
    cluster_id: String,
    bootstrap_servers: Vec<String>,
}

#[derive(Deserialize)]
struct AdminFile {
    username: String,
    mechanism: String,
    current: Password,
    #[serde(default)]
    next: Option<Password>,
}

#[derive(Deserialize)]
struct Password {
    password: Secret,
}

/// Reads what a client of the cluster needs.
pub(crate) async fn discover(url: &ClusterUrl, user: AdminUser) -> Result<Discovered> {
    let folder = url.folder();
    let (text, path) = read(folder, "public/cluster.json", "cluster description", PUBLIC_ROLE).await?;
    let cluster: ClusterFile = parse(&text, &path, "cluster description")?;
    if cluster.bootstrap_servers.is_empty() {
        // A first start writes the description before it knows its listeners.
        return Err(Error::FileMissing { what: "bootstrap address", path, hint: NOT_STARTED });
    }
    let (ca_pem, _) = read(folder, "public/ca.pem", "cluster CA", PUBLIC_ROLE).await?;
    let (text, path) = read(folder, user.file(), "admin credential", ADMIN_ROLE).await?;
    let admin: AdminFile = parse(&text, &path, "admin credential")?;
    let mechanism: SaslMechanism =
        admin.mechanism.parse().map_err(|reason| Error::FileInvalid { what: "admin credential", path, reason })?;
    let credentials = std::iter::once(admin.current)
        .chain(admin.next)
        .map(|Password { password }| Credential { mechanism, username: admin.username.clone(), password })
        .collect();
    Ok(Discovered { cluster_id: cluster.cluster_id, bootstrap_servers: cluster.bootstrap_servers, ca_pem, credentials })
}

async fn read(folder: &Path, name: &str, what: &'static str, who: &'static str) -> Result<(String, PathBuf)> {
    let path = folder.join(name);
    let text = read_file(&path, what, NOT_STARTED, who).await?;
    Ok((text, path))
}

/// Reads a file of text, with an error that says what it was for.
pub(crate) async fn read_file(
    path: &Path,
    what: &'static str,
    hint: &'static str,
    who: &'static str,
) -> Result<String> {
    tokio::fs::read_to_string(path).await.map_err(|error| {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Error::FileMissing { what, path, hint },
            io::ErrorKind::PermissionDenied => Error::FileDenied { what, path, who },
            _ => Error::FileInvalid { what, path, reason: error.to_string() },
        }
    })
}

/// serde_json quotes the offending text in some messages, so only its place is passed on.
fn parse<T: for<'de> Deserialize<'de>>(text: &str, path: &Path, what: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let kind = if error.is_data() { "a field is missing or of the wrong type" } else { "it is not JSON" };
        let reason = format!("{kind} (line {}, column {})", error.line(), error.column());
        Error::FileInvalid { what, path: path.to_owned(), reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> (tempfile::TempDir, ClusterUrl) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for folder in ["public", "admin"] {
            std::fs::create_dir(dir.path().join(folder)).expect("a folder");
        }
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
        write("public/cluster.json", r#"{"cluster_id":"abc","bootstrap_servers":["127.0.0.1:9093"]}"#);
        write("public/ca.pem", "CA");
        write(
            "admin/admin.json",
            r#"{"username":"admin","mechanism":"SCRAM-SHA-512","current":{"password":"one"},"next":{"password":"two"}}"#,
        );
        write(
            "admin/terraform.json",
            r#"{"username":"terraform","mechanism":"SCRAM-SHA-512","current":{"password":"tf"},"next":null}"#,
        );
        let url = ClusterUrl::File(dir.path().to_owned());
        (dir, url)
    }

    #[tokio::test]
    async fn current_is_tried_before_next() {
        let (_dir, url) = cluster();
        let found = discover(&url, AdminUser::Admin).await.expect("complete");
        assert_eq!(found.cluster_id, "abc");
        assert_eq!(found.bootstrap_servers, ["127.0.0.1:9093"]);
        let passwords: Vec<_> = found.credentials.iter().map(|c| c.password.expose()).collect();
        assert_eq!(passwords, ["one", "two"]);
        assert!(!format!("{found:?}").contains("\"one\""));
        let found = discover(&url, AdminUser::Terraform).await.expect("complete");
        assert_eq!((found.credentials.len(), found.credentials[0].username.as_str()), (1, "terraform"));
    }

    #[tokio::test]
    async fn what_is_missing_is_named_with_what_to_do() {
        let (dir, url) = cluster();
        std::fs::remove_file(dir.path().join("public/ca.pem")).expect("removed");
        let error = discover(&url, AdminUser::Admin).await.expect_err("no CA");
        assert!(error.is_transient());
        let text = error.to_string();
        assert!(text.contains("public/ca.pem") && text.contains("first start"), "{text}");
    }

    #[tokio::test]
    async fn a_first_start_under_way_is_waited_for() {
        let (dir, url) = cluster();
        let early = r#"{"cluster_id":"abc","bootstrap_servers":[]}"#;
        std::fs::write(dir.path().join("public/cluster.json"), early).expect("written");
        let error = discover(&url, AdminUser::Admin).await.expect_err("no addresses yet");
        assert!(error.is_transient());
        assert!(error.to_string().contains("no bootstrap address"), "{error}");
    }

    #[tokio::test]
    async fn a_broken_credential_never_shows_its_text() {
        let (dir, url) = cluster();
        std::fs::write(dir.path().join("admin/admin.json"), r#"{"username":"admin","current":"hunter2"}"#)
            .expect("written");
        let text = discover(&url, AdminUser::Admin).await.expect_err("broken").to_string();
        assert!(text.contains("admin/admin.json") && !text.contains("hunter2"), "{text}");
    }
}
