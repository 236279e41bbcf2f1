//! The managed resources, one file each.

pub(crate) mod acl;
pub(crate) mod acl_id;
pub(crate) mod quota;
pub(crate) mod quota_id;
pub(crate) mod topic;
mod topic_plan;
pub(crate) mod topic_state;
mod user;

pub use acl::AclResource;
pub use quota::QuotaResource;
pub use topic::TopicResource;
pub use user::UserResource;

use lockgate_client::{Error, ErrorCode};

use crate::cluster::ReadError;
use crate::session::{Access, Connection, Session};
use crate::tfplugin::{Applied, AttributePath, Diagnostic, Diagnostics, Private, ReadOutcome, Value};

/// Where the private part of a state keeps the id of the cluster that the resource is in.
const CLUSTER_ID: &str = "cluster_id";

/// A resource's cluster must not change under it: the topic of the same name elsewhere is another topic, and "not found
/// there" does not mean "gone".
fn check_cluster(connection: &Connection, private: &Private) -> Result<(), Diagnostic> {
    let actual = &connection.cluster.cluster_id;
    match private.get(CLUSTER_ID) {
        Some(expected) if expected != actual => Err(Diagnostic::error(
            "The provider is connected to another cluster",
            format!(
                "This resource is in the cluster {expected}, and the provider is connected to the cluster {actual} at {}. \
                 Point the provider back at its cluster. If the cluster was really replaced, remove the resource from the \
                 state (terraform state rm, or a removed block with destroy = false) and create or import it again.",
                connection.bootstrap_servers.join(", ")
            ),
        )),
        _ => Ok(()),
    }
}

/// Remembers which cluster a resource is in.
fn in_cluster(connection: &Connection, mut private: Private) -> Private {
    private.set(CLUSTER_ID, connection.cluster.cluster_id.clone());
    private
}

/// The connection for a read, or the outcome of a read that cannot ask anyone.
async fn connection_for_read(
    session: &Session,
    state: &Value,
    private: &Private,
) -> Result<Connection, Box<ReadOutcome>> {
    let unchanged = |diagnostics: Diagnostics| {
        Box::new(ReadOutcome { state: Some(state.clone()), private: private.clone(), diagnostics })
    };
    match session.for_plan().await {
        Access::Ready(connection) => match check_cluster(&connection, private) {
            Ok(()) => Ok(connection),
            Err(other_cluster) => Err(unchanged(other_cluster.into())),
        },
        Access::Unknown => Err(unchanged(session.report_unknown().map(Diagnostics::from).unwrap_or_default())),
        Access::Failed(error) => {
            Err(unchanged(session.report_failure(&error).map(Diagnostics::from).unwrap_or_default()))
        }
    }
}

/// The connection for a change, or why there is none.
async fn connection_for_apply(session: &Session, what: &str, private: &Private) -> Result<Connection, Diagnostic> {
    let connection = session.for_apply().await.map_err(|error| session.failure_of(what, &error))?;
    check_cluster(&connection, private)?;
    Ok(connection)
}

/// A change that was not made.
fn failed(state: Option<Value>, private: Private, error: Diagnostic) -> Applied {
    Applied { state, private, diagnostics: error.into() }
}

/// A broker's refusal, with the attribute that the error code speaks of.
fn refusal(what: &str, error: &Error) -> Diagnostic {
    let diagnostic = Diagnostic::error(format!("Could not {what}"), error.to_string());
    let attribute = match error.code() {
        Some(ErrorCode::InvalidPartitions) => "partitions",
        Some(ErrorCode::InvalidReplicationFactor) => "replication_factor",
        Some(ErrorCode::InvalidConfig) => "config",
        Some(ErrorCode::InvalidTopic) => "name",
        _ => return diagnostic,
    };
    diagnostic.at(AttributePath::root(attribute))
}

/// What a failed read says. Nothing when another read has said it for all that share the failure: the operation fails anyway.
fn unreadable(what: &str, error: &ReadError) -> Diagnostics {
    match error {
        ReadError::One(error) if error.is_denied() => {
            let detail = format!("{error} What else this user may not see is left as it is, and not named here.");
            Diagnostic::error(format!("Could not read {what}"), detail).into()
        }
        ReadError::One(error) => refusal(&format!("read {what}"), error).into(),
        ReadError::Shared { what, error } => {
            let detail = format!("{error} Nothing that is in it was refreshed.");
            Diagnostic::error(format!("Could not read {what}"), detail).into()
        }
        ReadError::Told => Diagnostics::new(),
    }
}

/// The error for a value outside an enum: names every value that is allowed.
fn not_one_of(attribute: &str, found: &str, allowed: &[&str]) -> Diagnostic {
    let detail = format!("{attribute} is {found:?}, and must be one of: {}.", allowed.join(", "));
    Diagnostic::error(format!("Invalid {attribute}"), detail)
}
