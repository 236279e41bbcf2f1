//! Names that exist only when valid.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a topic name is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidTopicName {
    #[error("a topic name is not empty")]
    Empty,
    #[error("topic name {0:?} is not allowed")]
    Dots(String),
    #[error("topic name is {0} characters long, at most {max} are allowed", max = TopicName::MAX_LEN)]
    TooLong(usize),
    #[error("topic name {0:?} may hold only ASCII letters, digits, '.', '_' and '-'")]
    Character(String),
}

/// A topic's name: 1 to 249 of `[a-zA-Z0-9._-]`, neither `.` nor `..` (Kafka's rule).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

impl TopicName {
    pub const MAX_LEN: usize = 249;

    pub fn parse(name: &str) -> Result<Self, InvalidTopicName> {
        if name.is_empty() {
            return Err(InvalidTopicName::Empty);
        }
        if name == "." || name == ".." {
            return Err(InvalidTopicName::Dots(name.to_owned()));
        }
        if name.len() > Self::MAX_LEN {
            return Err(InvalidTopicName::TooLong(name.len()));
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
            return Err(InvalidTopicName::Character(name.to_owned()));
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Kafka's metrics fold `.` and `_` together, so two names that differ only there are refused.
    pub fn collision_key(&self) -> String {
        self.0.replace('.', "_")
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TopicName {
    type Error = InvalidTopicName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::parse(&name)
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> Self {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kafka_names_parse() {
        for good in ["a", "orders.v1_x-2", &"x".repeat(249)] {
            assert_eq!(TopicName::parse(good).expect("a valid name").as_str(), good);
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert!(TopicName::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
