//! The cluster URL: where the CA, the admin credentials and the broker addresses of a cluster are found.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::Error;

/// A parsed cluster URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterUrl {
    /// `file:///path`: the data folder of a broker on this machine.
    File(PathBuf),
}

impl ClusterUrl {
    /// The folder that `file://` names.
    pub fn folder(&self) -> &Path {
        match self {
            Self::File(path) => path,
        }
    }
}

impl FromStr for ClusterUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Error::ClusterUrl { url: text.to_owned(), reason: reason.to_owned() };
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(bad("it must start with a scheme, as in file:///var/lib/lockgate"));
        };
        match scheme {
            "file" if rest.contains(['?', '#']) => Err(bad("a file URL takes no query or fragment")),
            "file" => match rest.strip_prefix("localhost").unwrap_or(rest) {
                path if path.starts_with('/') => Ok(Self::File(PathBuf::from(percent_decode(path).map_err(bad)?))),
                _ => Err(bad("a file URL needs an absolute path, with three slashes: file:///var/lib/lockgate")),
            },
            "s3" | "az" | "gs" => Err(bad(
                "this build reads clusters from file:///path only; name the servers with bootstrap_servers, tls and sasl instead",
            )),
            other => Err(bad(&format!("the scheme {other:?} is unknown; file:// is known"))),
        }
    }
}

impl fmt::Display for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

/// Undoes `%20` and the like.
fn percent_decode(path: &str) -> Result<String, &'static str> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let byte = tail
            .get(..2)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .ok_or("a % must be followed by two hexadecimal digits")?;
        bytes.push(byte);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| "the path is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_urls_name_a_folder() {
        for (text, folder) in [
            ("file:///var/lib/lockgate", "/var/lib/lockgate"),
            ("file://localhost/var/lib/lockgate", "/var/lib/lockgate"),
            ("file:///a%20b", "/a b"),
        ] {
            assert_eq!(text.parse::<ClusterUrl>().expect(text).folder(), Path::new(folder));
        }
    }

    #[test]
    fn bad_urls_are_refused_with_a_reason() {
        for (text, reason) in [
            ("/var/lib/lockgate", "must start with a scheme"),
            ("file://relative/path", "absolute path"),
            ("file:///a?region=x", "no query"),
            ("file:///a%2", "hexadecimal"),
            ("s3://bucket/prefix", "file:///path only"),
            ("http://x", "unknown"),
        ] {
            let error = text.parse::<ClusterUrl>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.contains(text), "{error}");
        }
    }
}
