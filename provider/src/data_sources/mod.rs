//! The data sources, one file each. Each is a [`Query`]; [`Reader`] asks it.

mod acls;
mod cluster;
mod consumer_group;
mod quotas;
mod topic;
mod topics;
mod users;

pub use acls::AclsQuery;
pub use cluster::ClusterQuery;
pub use consumer_group::ConsumerGroupQuery;
pub use quotas::QuotasQuery;
pub use topic::TopicQuery;
pub use topics::TopicsQuery;
pub use users::UsersQuery;

use std::marker::PhantomData;

use tonic::async_trait;

use crate::session::{Access, Connection, Session};
use crate::tfplugin::{DataSource, Diagnostic, Diagnostics, Schema, Value};

/// The attributes that a query fills in.
type Found = Vec<(&'static str, Value)>;

/// What a data source asks of a cluster.
#[async_trait]
pub trait Query: Send + Sync + 'static {
    const TYPE_NAME: &'static str;

    fn schema() -> Schema;

    /// Checks a configuration, in which anything may be unknown, without asking anyone.
    fn validate(_config: &Value) -> Diagnostics {
        Diagnostics::new()
    }

    /// What is read, for messages: `the topic "orders"`.
    fn subject(config: &Value) -> String;

    /// The computed attributes, or `None` when the broker says that there is no such thing.
    async fn ask(connection: &Connection, config: &Value) -> lockgate_client::Result<Option<Found>>;
}

/// The data source of a query.
pub struct Reader<Q> {
    session: Session,
    query: PhantomData<fn() -> Q>,
}

impl<Q> Reader<Q> {
    pub fn new(session: Session) -> Self {
        Self { session, query: PhantomData }
    }
}

#[async_trait]
impl<Q: Query> DataSource for Reader<Q> {
    fn type_name(&self) -> &'static str {
        Q::TYPE_NAME
    }

    fn schema(&self) -> Schema {
        Q::schema()
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        Q::validate(config)
    }

    async fn read(&self, config: Value) -> Result<Value, Diagnostic> {
        let subject = Q::subject(&config);
        let connection = match self.session.for_plan().await {
            Access::Ready(connection) => connection,
            Access::Unknown => {
                let detail = format!(
                    "The lockgate provider block depends on something that is known only after apply, so {subject} cannot be \
                     read during the plan. Give the data source a depends_on that names what makes the cluster; it is then \
                     read during the apply."
                );
                return Err(Diagnostic::error("The cluster is not known yet", detail));
            }
            Access::Failed(error) => return Err(self.session.failure_of(&format!("read {subject}"), &error)),
        };
        match Q::ask(&connection, &config).await {
            Ok(Some(found)) => {
                let mut state = config;
                for (attribute, value) in found {
                    state.set_attr(attribute, value);
                }
                Ok(state)
            }
            Ok(None) => {
                let detail = format!(
                    "The cluster {} has no such thing. If the same apply makes it, refer to the resource that does, or name \
                     it in a depends_on.",
                    connection.cluster.cluster_id
                );
                Err(Diagnostic::error(format!("Could not find {subject}"), detail))
            }
            Err(error) => Err(Diagnostic::error(format!("Could not read {subject}"), error.to_string())),
        }
    }
}

/// The text of an attribute that has to be set.
fn text<'a>(config: &'a Value, attribute: &str) -> &'a str {
    config.attr(attribute).as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeCluster;

    /// Reads with only these attributes set.
    pub(super) async fn read<Q: Query>(cluster: &FakeCluster, config: &[(&str, Value)]) -> Result<Value, Diagnostic> {
        let reader = Reader::<Q>::new(cluster.session().await);
        reader.read(Value::object(config.iter().cloned())).await
    }

    #[tokio::test]
    async fn without_a_known_cluster_it_says_depends_on() {
        let session = Session::default();
        session.configure_later().await;
        let error = Reader::<UsersQuery>::new(session).read(Value::Null).await.expect_err("not known");
        assert!(error.detail.contains("depends_on"));
    }

    #[tokio::test]
    async fn what_is_not_there_and_what_is_refused_are_two_errors() {
        let cluster = FakeCluster::default();
        let name = [("name", Value::from("orders"))];
        let error = read::<TopicQuery>(&cluster, &name).await.expect_err("not there");
        assert_eq!(error.summary, "Could not find the topic \"orders\"");
        cluster.contents().refusals.insert("topic", lockgate_client::ErrorCode::TopicAuthorizationFailed);
        let error = read::<TopicQuery>(&cluster, &name).await.expect_err("refused");
        assert_eq!(error.summary, "Could not read the topic \"orders\"");
    }
}
