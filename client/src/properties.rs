//! Reads the `client.properties` of Java clients and the config files of librdkafka, as far as they say how to connect.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::settings::{SaslSettings, Settings, TlsSettings, split_servers};

/// Reads the file at `path`.
pub fn load(path: &Path) -> Result<Settings> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let (what, path) = ("properties file", path.to_owned());
        match error.kind() {
            std::io::ErrorKind::NotFound => Error::FileMissing { what, path, hint: "check the path" },
            std::io::ErrorKind::PermissionDenied => {
                Error::FileDenied { what, path, who: "this user may not read the file; change its owner or mode" }
            }
            _ => Error::FileInvalid { what, path, reason: error.to_string() },
        }
    })?;
    parse(&text).map_err(|reason| Error::FileInvalid { what: "properties file", path: path.to_owned(), reason })
}

/// Keys that say nothing about connecting (`acks`, `group.id`, …) are passed over.
fn parse(text: &str) -> Result<Settings, String> {
    let mut keys = pairs(text)?;
    if keys.take(&["enable.ssl.certificate.verification"]).is_some_and(|value| value.eq_ignore_ascii_case("false")) {
        return Err("enable.ssl.certificate.verification=false is not supported: servers are always verified".into());
    }
    let protocol = keys.take(&["security.protocol"]).unwrap_or_else(|| "PLAINTEXT".into()).to_ascii_uppercase();
    let (tls, sasl) = match protocol.as_str() {
        "PLAINTEXT" => (false, false),
        "SSL" => (true, false),
        "SASL_PLAINTEXT" => (false, true),
        "SASL_SSL" => (true, true),
        other => {
            return Err(format!("security.protocol={other} is not one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"));
        }
    };
    for store in ["ssl.truststore", "ssl.keystore"] {
        let kind = keys.take(&[&format!("{store}.type")]);
        let located = keys.take(&[&format!("{store}.location")]);
        if located.is_some() && !kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("PEM")) {
            return Err(format!(
                "{store}.location must be a PEM file, with {store}.type=PEM (Java key stores are not read)"
            ));
        }
        if let Some(path) = located {
            keys.0.insert(format!("{store}.pem.file"), path);
        }
    }
    // In a PEM key store key and certificate share one file.
    let key_store = keys.take(&["ssl.keystore.pem.file"]).map(PathBuf::from);
    let tls = tls.then(|| TlsSettings {
        ca_pem: keys.take(&["ssl.truststore.certificates", "ssl.ca.pem"]),
        ca_file: keys.take(&["ssl.truststore.pem.file", "ssl.ca.location"]).map(PathBuf::from),
        client_cert_pem: keys.take(&["ssl.keystore.certificate.chain", "ssl.certificate.pem"]),
        client_cert_file: keys.take(&["ssl.certificate.location"]).map(PathBuf::from).or(key_store.clone()),
        client_key_pem: keys.take(&["ssl.keystore.key", "ssl.key.pem"]).map(Secret::from),
        client_key_file: keys.take(&["ssl.key.location"]).map(PathBuf::from).or(key_store),
        server_name: None,
    });
    let jaas = keys.take(&["sasl.jaas.config"]);
    let option = |name: &str| jaas.as_deref().and_then(|jaas| jaas_option(jaas, name));
    let sasl = if sasl {
        let mechanism = keys
            .take(&["sasl.mechanism", "sasl.mechanisms"])
            .map(|text| text.parse().map_err(|reason| format!("sasl.mechanism: {reason}")))
            .transpose()?;
        let username = keys.take(&["sasl.username"]).or_else(|| option("username"));
        let password = keys.take(&["sasl.password"]).or_else(|| option("password")).map(Secret::from);
        Some(SaslSettings { mechanism, username, password })
    } else {
        None
    };
    let bootstrap_servers = keys.take(&["bootstrap.servers", "metadata.broker.list"]).map(|list| split_servers(&list));
    Ok(Settings { bootstrap_servers, tls, sasl, ..Settings::default() })
}

/// What is left to read.
struct Keys(BTreeMap<String, String>);

impl Keys {
    /// The first of the names that has a value.
    fn take(&mut self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.0.remove(*name)).filter(|value| !value.is_empty())
    }
}

/// `key=value` or `key: value` lines; `#` and `!` start a comment, a `\` at the end joins the next line.
fn pairs(text: &str) -> Result<Keys, String> {
    let mut pairs = BTreeMap::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut logical = line.trim_start().to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while logical.ends_with('\\') {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let (key, value) = logical
            .split_once(['=', ':'])
            .ok_or_else(|| format!("line {} is not of the form key=value", number + 1))?;
        pairs.insert(key.trim().to_owned(), value.trim().replace("\\n", "\n"));
    }
    Ok(Keys(pairs))
}

/// A quoted option of a JAAS line: `… required username="alice" password="x";`.
fn jaas_option(jaas: &str, name: &str) -> Option<String> {
    let start = jaas.match_indices(name).find_map(|(at, _)| {
        let own_word = jaas[..at].chars().next_back().is_none_or(|before| before.is_whitespace());
        let rest = jaas[at + name.len()..].trim_start().strip_prefix('=')?.trim_start();
        own_word.then_some(rest)
    })?;
    let quote = start.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let mut value = String::new();
    let mut letters = start.chars().skip(1);
    loop {
        match letters.next()? {
            '\\' => value.push(letters.next()?),
            letter if letter == quote => return Some(value),
            letter => value.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::SaslMechanism;

    #[test]
    fn java_properties_are_read() {
        let settings = parse(
            "# a comment\nbootstrap.servers=a:1, b:2\nsecurity.protocol=SASL_SSL\nssl.truststore.type=PEM\n\
             ssl.truststore.location=/ca.pem\nsasl.mechanism=SCRAM-SHA-512\n\
             sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n  \
             username=\"alice\" password=\"a\\\"b;c\";\nacks=all\n",
        )
        .expect("valid");
        assert_eq!(settings.bootstrap_servers, Some(vec!["a:1".into(), "b:2".into()]));
        assert_eq!(settings.tls.expect("tls").ca_file, Some("/ca.pem".into()));
        let sasl = settings.sasl.expect("sasl");
        assert_eq!(sasl.mechanism, Some(SaslMechanism::ScramSha512));
        assert_eq!(sasl.username.as_deref(), Some("alice"));
        assert_eq!(sasl.password.expect("password").expose(), "a\"b;c");
    }

    #[test]
    fn librdkafka_files_are_read() {
        let settings = parse(
            "metadata.broker.list=a:1\nsecurity.protocol=sasl_ssl\nssl.ca.location=/ca.pem\nsasl.mechanisms=PLAIN\n\
             sasl.username=u\nsasl.password=p=q\nssl.certificate.location=/c.pem\nssl.key.location=/k.pem\n",
        )
        .expect("valid");
        let tls = settings.tls.expect("tls");
        assert_eq!((tls.client_cert_file, tls.client_key_file), (Some("/c.pem".into()), Some("/k.pem".into())));
        assert_eq!(settings.sasl.expect("sasl").password.expect("password").expose(), "p=q");
    }

    #[test]
    fn what_is_unsafe_or_unreadable_is_refused() {
        for (text, reason) in [
            ("enable.ssl.certificate.verification=false", "always verified"),
            ("security.protocol=KERBEROS", "KERBEROS"),
            ("ssl.truststore.location=/x.jks", "PEM"),
            ("nonsense", "line 1"),
            ("security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI", "GSSAPI"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
