//! `lockgate_cluster`: the cluster that the provider is connected to.

use tonic::async_trait;

use crate::session::{Access, Session};
use crate::tfplugin::{Attribute, DataSource, Diagnostic, Schema, Type, Value};

/// The cluster.
pub struct ClusterDataSource {
    session: Session,
}

impl ClusterDataSource {
    pub fn new(session: Session) -> Self {
        Self { session }
    }
}

#[async_trait]
impl DataSource for ClusterDataSource {
    fn type_name(&self) -> &'static str {
        "lockgate_cluster"
    }

    fn schema(&self) -> Schema {
        let broker = vec![
            Attribute::computed("id", Type::Number, "The broker's id, a whole number."),
            Attribute::computed("host", Type::String, "The host that the broker advertises: a name or an address."),
            Attribute::computed("port", Type::Number, "The port that the broker advertises."),
            Attribute::computed("rack", Type::String, "The broker's rack or zone. Null when it has none."),
        ];
        Schema::new(
            "The cluster that the provider is connected to.",
            vec![
                Attribute::computed("id", Type::String, "The id of the cluster, which stays the same for its life."),
                Attribute::computed(
                    "controller_id",
                    Type::Number,
                    "The id of the broker that is the controller. Null when the brokers name none.",
                ),
                Attribute::computed_list(
                    "brokers",
                    broker,
                    "The brokers, in the order in which the cluster names them.",
                ),
                Attribute::computed(
                    "bootstrap_servers",
                    Type::string_list(),
                    "The addresses that the provider was given or found, for clients to begin with, each as `host:port`.",
                ),
                Attribute::computed(
                    "ca_pem",
                    Type::String,
                    "The CA that the brokers' certificates are checked against, as PEM text. Null without TLS.",
                ),
            ],
        )
    }

    async fn read(&self, _config: Value) -> Result<Value, Diagnostic> {
        let connection = match self.session.for_plan().await {
            Access::Ready(connection) => connection,
            Access::Unknown => {
                let detail = "The lockgate provider block depends on something that is known only after apply, so the cluster \
                              cannot be read during the plan. Give the data source a depends_on that names what makes the \
                              cluster; it is then read during the apply.";
                return Err(Diagnostic::error("The cluster is not known yet", detail));
            }
            Access::Failed(error) => {
                return Err(self.session.failure_of("read the cluster", &error));
            }
        };
        let cluster = connection.admin.cluster().await;
        let cluster = cluster.map_err(|e| Diagnostic::error("Could not read the cluster", e.to_string()))?;
        let brokers = cluster.brokers.into_iter().map(|broker| {
            Value::object([
                ("id", Value::from(broker.id)),
                ("host", Value::from(broker.host)),
                ("port", Value::from(broker.port)),
                ("rack", Value::from(broker.rack)),
            ])
        });
        let servers = connection.bootstrap_servers.into_iter().map(Value::from);
        Ok(Value::object([
            ("id", Value::from(cluster.cluster_id)),
            ("controller_id", Value::from(Some(cluster.controller_id).filter(|id| *id >= 0))),
            ("brokers", Value::List(brokers.collect())),
            ("bootstrap_servers", Value::List(servers.collect())),
            ("ca_pem", Value::from(connection.ca_pem)),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeCluster;

    #[tokio::test]
    async fn it_shows_the_cluster() {
        let source = ClusterDataSource::new(FakeCluster::default().session().await);
        let state = source.read(Value::Null).await.expect("the cluster answers");
        assert_eq!(state.attr("id"), &Value::from("cluster-1"));
        assert_eq!(state.attr("brokers").as_list().expect("a list")[0].attr("port"), &Value::from(9093));
        assert_eq!(state.attr("bootstrap_servers"), &Value::List(vec![Value::from("b1:9093")]));
    }

    #[tokio::test]
    async fn without_a_known_cluster_it_says_depends_on() {
        let session = Session::default();
        session.configure_later().await;
        let error = ClusterDataSource::new(session).read(Value::Null).await.expect_err("not known");
        assert!(error.detail.contains("depends_on"));
    }
}
