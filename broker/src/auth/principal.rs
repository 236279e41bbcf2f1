//! Who somebody is, once that is known.

use std::fmt;
use std::sync::Arc;

/// Longest name that a principal can get from outside (octets); SASL's names are no longer either.
const MAX_NAME: usize = 1024;

/// `User:name`. Anonymous connections are `User:ANONYMOUS`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    pub fn user(name: &str) -> Self {
        Self(format!("User:{name}").into())
    }

    /// From a name that somebody else chose, such as a token's issuer. Refused are names that mean something else in ACLs
    /// and logs: nobody, everybody, and what cannot be printed.
    pub fn named(name: &str) -> Result<Self, &'static str> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err("the principal's name is empty or too long");
        }
        if name.chars().any(char::is_control) {
            return Err("the principal's name has control characters");
        }
        match name {
            "*" | "ANONYMOUS" => Err("the principal's name is one that has a meaning of its own"),
            _ => Ok(Self::user(name)),
        }
    }

    /// From text with its type, as in configs and ACLs: `User:name`. Without a type, a user's name.
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((kind, name)) if kind == "User" && !name.is_empty() => Self(text.into()),
            _ => Self::user(text),
        }
    }

    pub fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    /// With the type, as in ACLs: `User:name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the type.
    pub fn name(&self) -> &str {
        self.0.split_once(':').map_or(&*self.0, |(_, name)| name)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
