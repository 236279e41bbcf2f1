//! `lockgate_cluster`: the cluster that the provider is connected to.

use tonic::async_trait;

use super::{Found, Query};
use crate::session::Connection;
use crate::tfplugin::{Attribute, Schema, Type, Value};

/// The cluster.
pub struct ClusterQuery;

#[async_trait]
impl Query for ClusterQuery {
    const TYPE_NAME: &'static str = "lockgate_cluster";

    fn schema() -> Schema {
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

    fn subject(_config: &Value) -> String {
        "the cluster".to_owned()
    }

    async fn ask(connection: &Connection, _config: &Value) -> lockgate_client::Result<Option<Found>> {
        let cluster = connection.admin.cluster().await?;
        let brokers = cluster.brokers.into_iter().map(|broker| {
            Value::object([
                ("id", Value::from(broker.id)),
                ("host", Value::from(broker.host)),
                ("port", Value::from(broker.port)),
                ("rack", Value::from(broker.rack)),
            ])
        });
        let servers = connection.bootstrap_servers.iter().cloned().map(Value::from);
        Ok(Some(vec![
            ("id", Value::from(cluster.cluster_id)),
            ("controller_id", Value::from(Some(cluster.controller_id).filter(|id| *id >= 0))),
            ("brokers", Value::List(brokers.collect())),
            ("bootstrap_servers", Value::List(servers.collect())),
            ("ca_pem", Value::from(connection.ca_pem.clone())),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;
    use crate::fake::FakeCluster;

    #[tokio::test]
    async fn it_shows_the_cluster() {
        let state = read::<ClusterQuery>(&FakeCluster::default(), &[]).await.expect("the cluster answers");
        assert_eq!(state.attr("id"), &Value::from("cluster-1"));
        assert_eq!(state.attr("brokers").as_list().expect("a list")[0].attr("port"), &Value::from(9093));
        assert_eq!(state.attr("bootstrap_servers"), &Value::List(vec![Value::from("b1:9093")]));
    }
}
