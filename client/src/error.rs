//! Everything that can go wrong between a user's settings and a broker's answer. Each text says what was tried, where it
//! stopped and what to do; the command line and the provider print it as it is. No text carries a secret.

use std::path::PathBuf;
use std::time::Duration;

use krafka::KrafkaError;
use krafka::error::ErrorCode;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What stopped a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The settings contradict each other or lack something.
    #[error("{0}")]
    Settings(String),
    #[error("The cluster URL {url:?} cannot be used: {reason}.")]
    ClusterUrl { url: String, reason: String },
    #[error("There is no {what} at {}: {hint}.", path.display())]
    FileMissing { what: &'static str, path: PathBuf, hint: &'static str },
    #[error("Permission denied reading the {what} at {}: {who}.", path.display())]
    FileDenied { what: &'static str, path: PathBuf, who: &'static str },
    #[error("The {what} at {} cannot be used: {reason}.", path.display())]
    FileInvalid { what: &'static str, path: PathBuf, reason: String },
    /// No server took a connection; one line of causes.
    #[error(
        "No server could be reached; tried {}. Check the addresses, that the broker runs, and the firewall.",
        join(tried)
    )]
    Unreachable { tried: Vec<(String, String)> },
    #[error("The TLS handshake with {server} failed: {reason}. {hint}")]
    Tls { server: String, reason: String, hint: &'static str },
    #[error(
        "{server} refused to authenticate the user {user:?} with {mechanism}: {reason}. Check the user name, the password \
         and the mechanism."
    )]
    Authentication { server: String, user: String, mechanism: &'static str, reason: String },
    /// The broker did not answer in time; a change may or may not have been made.
    #[error("{server} did not answer {what} within {}.", human(*after))]
    Timeout { what: String, server: String, after: Duration },
    /// The connection broke while a request was under way.
    #[error("The connection to {server} broke during {what}: {reason}.")]
    Connection { what: String, server: String, reason: String },
    #[error("{server} does not offer the request {what} in a version that this client speaks.")]
    Unsupported { what: String, server: String },
    /// The broker answered something that makes no sense.
    #[error("The answer of {server} to {what} cannot be understood: {reason}.")]
    Answer { what: String, server: String, reason: String },
    /// Producing or consuming cannot go on.
    #[error("Stopped while {what}: {reason}.")]
    Failed { what: String, reason: String },
    /// The broker answered with an error.
    #[error("{0}")]
    Broker(#[from] BrokerError),
}

impl Error {
    /// The broker's error code, when a broker answered.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker(error) => Some(error.code),
            _ => None,
        }
    }

    /// No ACL allows it.
    pub fn is_denied(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ErrorCode::TopicAuthorizationFailed
                    | ErrorCode::GroupAuthorizationFailed
                    | ErrorCode::ClusterAuthorizationFailed
                    | ErrorCode::TransactionalIdAuthorizationFailed
            )
        )
    }

    /// The thing named does not exist, and the broker said so in as many words.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::ResourceNotFound
                    | ErrorCode::GroupIdNotFound
                    | ErrorCode::TransactionalIdNotFound
            )
        )
    }

    /// Waiting may help: the cluster is starting, moving, or out of reach for now.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::FileMissing { .. } | Self::Unreachable { .. } | Self::Timeout { .. } | Self::Connection { .. } => {
                true
            }
            Self::Broker(error) => error.code.is_retriable() && !self.is_not_found(),
            _ => false,
        }
    }
}

/// An error that the broker answered, with its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerError {
    pub code: ErrorCode,
    /// The broker's own words, when it sent any.
    pub message: Option<String>,
}

impl std::error::Error for BrokerError {}

impl std::fmt::Display for BrokerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = code_name(self.code);
        match (&self.message, advice(self.code)) {
            (Some(message), Some(advice)) => write!(f, "{name}: {}. {advice}", message.trim_end_matches('.')),
            (Some(message), None) => write!(f, "{name}: {}.", message.trim_end_matches('.')),
            (None, Some(advice)) => write!(f, "{name}. {advice}"),
            (None, None) => write!(f, "The broker answered {name}."),
        }
    }
}

/// Turns a code and message of a response into a result.
pub(crate) fn answer(code: ErrorCode, message: Option<String>) -> Result<()> {
    if code.is_ok() {
        return Ok(());
    }
    let message = message.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Err(Error::Broker(BrokerError { code, message }))
}

/// Kafka's name of a code, such as `TOPIC_ALREADY_EXISTS`.
pub fn code_name(code: ErrorCode) -> String {
    let special = match code {
        ErrorCode::NotLeaderForPartition => "NOT_LEADER_OR_FOLLOWER",
        ErrorCode::InvalidTopic => "INVALID_TOPIC_EXCEPTION",
        ErrorCode::KafkaStorageException => "KAFKA_STORAGE_ERROR",
        _ => "",
    };
    if !special.is_empty() {
        return special.to_owned();
    }
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() && !name.ends_with('(') {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// What to do about a code, where the code alone leaves people guessing.
fn advice(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::TransactionalIdAuthorizationFailed => {
            "The user is known but no ACL allows this; ask an admin for one (lockgate acl create)."
        }
        ErrorCode::SecurityDisabled => "The broker has no authorizer, so it keeps no ACLs.",
        ErrorCode::GroupIdNotFound => "There is no such group.",
        ErrorCode::TransactionalIdNotFound => "There is no such transactional id, or it has expired.",
        ErrorCode::NonEmptyGroup => "The group still has members; stop its consumers first.",
        ErrorCode::UnknownTopicOrPartition => "There is no such topic or partition, or the user may not see it.",
        ErrorCode::NotController | ErrorCode::NotCoordinator | ErrorCode::NotLeaderForPartition => {
            "This cluster answers the request at another of its brokers; add that broker's address to the bootstrap servers."
        }
        _ => return None,
    })
}

/// Gives a krafka error its place: which server, which request, which user.
pub(crate) struct Place<'a> {
    pub(crate) server: &'a str,
    pub(crate) what: &'a str,
    pub(crate) user: Option<(&'a str, &'static str)>,
    pub(crate) timeout: Duration,
}

impl Place<'_> {
    pub(crate) fn error(&self, error: &KrafkaError) -> Error {
        let server = self.server.to_owned();
        let what = self.what.to_owned();
        match error {
            KrafkaError::Auth { message, source: None } if self.user.is_some() => {
                let (user, mechanism) = self.user.unwrap_or(("", ""));
                let mut reason = message.trim_end_matches(['.', ' ', '-']);
                for prefix in
                    ["SASL authentication failed: ", "SASL authentication step failed: ", "SASL handshake failed: "]
                {
                    reason = reason.trim_start_matches(prefix);
                }
                let reason = reason.trim_start_matches("SaslAuthenticationFailed - ");
                Error::Authentication { server, user: user.to_owned(), mechanism, reason: reason.to_owned() }
            }
            KrafkaError::Auth { message, .. } => tls_error(server, message),
            KrafkaError::Network(io) if io.to_string().contains("alert") => tls_error(server, &io.to_string()),
            KrafkaError::Network(io) => Error::Connection { what, server, reason: io.to_string() },
            KrafkaError::Timeout { .. } => Error::Timeout { what, server, after: self.timeout },
            // krafka's text here is its own advice to programmers; the broker's code says it better.
            KrafkaError::Broker { code, .. } => {
                Error::Broker(BrokerError { code: *code, message: Some(format!("refused while {what}")) })
            }
            KrafkaError::UnknownTopic { topic } => Error::Broker(BrokerError {
                code: ErrorCode::UnknownTopicOrPartition,
                message: Some(format!("the topic {topic}")),
            }),
            KrafkaError::Config { message } => Error::Settings(format!("{message}.")),
            KrafkaError::Protocol { message, .. } => Error::Answer { what, server, reason: message.clone() },
            other => Error::Failed { what, reason: other.to_string() },
        }
    }
}

fn tls_error(server: String, message: &str) -> Error {
    let reason = message.trim_start_matches("TLS handshake failed: ").trim_end_matches('.').to_owned();
    let hint = if reason.contains("UnknownIssuer") || reason.contains("BadSignature") {
        "The server's certificate is not signed by the CA in use: check the CA file, and that the address belongs to this cluster."
    } else if reason.contains("not valid for name") || reason.contains("NotValidForName") {
        "The server's certificate is for another name: dial that name, or set the TLS server name."
    } else if reason.contains("xpired") {
        "The certificate has expired: renew it, and check this machine's clock."
    } else if reason.contains("CertificateRequired") || reason.contains("alert: HandshakeFailure") {
        "The server may ask for a client certificate: set client certificate and key."
    } else if reason.contains("BadCertificate") || reason.contains("UnknownCA") || reason.contains("CertificateUnknown")
    {
        "The server does not accept the client certificate."
    } else if reason.contains("corrupt message") || reason.contains("InvalidContentType") {
        "The server does not speak TLS on this port: check the port, or switch TLS off."
    } else {
        "Check that the port is a TLS listener and that the CA and certificates are this cluster's."
    };
    Error::Tls { server, reason, hint }
}

fn join(tried: &[(String, String)]) -> String {
    tried.iter().map(|(server, cause)| format!("{server} ({cause})")).collect::<Vec<_>>().join(", ")
}

fn human(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'a>() -> Place<'a> {
        Place {
            server: "b1:9093",
            what: "Metadata",
            user: Some(("alice", "SCRAM-SHA-512")),
            timeout: Duration::from_secs(3),
        }
    }

    #[test]
    fn codes_have_kafkas_names() {
        for (code, name) in [
            (ErrorCode::TopicAlreadyExists, "TOPIC_ALREADY_EXISTS"),
            (ErrorCode::UnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PARTITION"),
            (ErrorCode::NotLeaderForPartition, "NOT_LEADER_OR_FOLLOWER"),
        ] {
            assert_eq!(code_name(code), name);
        }
    }

    #[test]
    fn the_brokers_words_and_the_advice_are_both_there() {
        let error =
            answer(ErrorCode::ClusterAuthorizationFailed, Some("Not allowed to Create.".into())).expect_err("error");
        let text = error.to_string();
        assert!(text.starts_with("CLUSTER_AUTHORIZATION_FAILED: Not allowed to Create. The user is known"), "{text}");
    }

    #[test]
    fn an_authentication_failure_names_server_user_and_mechanism() {
        let text =
            place().error(&KrafkaError::auth("SASL authentication failed: SaslAuthenticationFailed - ")).to_string();
        for part in ["b1:9093", "alice", "SCRAM-SHA-512", "password"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn tls_failures_say_what_to_do() {
        for (cause, hint) in [
            ("invalid peer certificate: UnknownIssuer", "not signed by the CA"),
            ("invalid peer certificate: certificate not valid for name \"x\"", "set the TLS server name"),
            ("received corrupt message of type InvalidContentType", "does not speak TLS"),
        ] {
            let io = std::io::Error::other(cause);
            let error = place().error(&KrafkaError::auth_with_source(format!("TLS handshake failed: {cause}"), io));
            assert!(matches!(error, Error::Tls { .. }), "{error:?}");
            assert!(error.to_string().contains(hint), "{error}");
        }
    }

    #[test]
    fn unreachable_lists_each_server_with_its_cause() {
        let tried =
            vec![("a:1".to_owned(), "connection refused".to_owned()), ("b:2".to_owned(), "timed out".to_owned())];
        let text = Error::Unreachable { tried }.to_string();
        assert!(text.contains("a:1 (connection refused), b:2 (timed out)"), "{text}");
    }

    #[test]
    fn only_what_waiting_can_heal_is_transient() {
        let broker = |code| Error::Broker(BrokerError { code, message: None });
        assert!(broker(ErrorCode::CoordinatorLoadInProgress).is_transient());
        assert!(!broker(ErrorCode::UnknownTopicOrPartition).is_transient());
        assert!(broker(ErrorCode::UnknownTopicOrPartition).is_not_found());
        assert!(!broker(ErrorCode::TopicAuthorizationFailed).is_transient());
    }
}
