//! `lockgate_topic`: one topic by its name.

use tonic::async_trait;

use super::{Found, Query, text};
use crate::cluster::described_topic;
use crate::resources::topic_state::observed_config;
use crate::session::Connection;
use crate::tfplugin::{Attribute, Schema, Type, Value};

/// A topic.
pub struct TopicQuery;

#[async_trait]
impl Query for TopicQuery {
    const TYPE_NAME: &'static str = "lockgate_topic";

    fn schema() -> Schema {
        Schema::new(
            "A topic by its name.",
            vec![
                Attribute::required("name", Type::String, "Name of the topic."),
                Attribute::computed("topic_id", Type::String, "The id that the cluster gave the topic."),
                Attribute::computed("internal", Type::Bool, "Whether it is one of the cluster's own."),
                Attribute::computed("partitions", Type::Number, "Number of partitions."),
                Attribute::computed("replication_factor", Type::Number, "Number of replicas of each partition."),
                Attribute::computed("config", Type::string_map(), "What is set on the topic itself, by Kafka's names."),
                Attribute::computed(
                    "effective_config",
                    Type::string_map(),
                    "What holds for the topic, the broker's defaults included. Without sensitive values.",
                ),
            ],
        )
    }

    fn subject(config: &Value) -> String {
        format!("the topic {:?}", text(config, "name"))
    }

    async fn ask(connection: &Connection, config: &Value) -> lockgate_client::Result<Option<Found>> {
        let found = described_topic(&*connection.admin, text(config, "name")).await?;
        Ok(found.map(|(info, entries)| {
            let effective = entries.iter().filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?.into())));
            let set = observed_config(&Value::Null, &entries, true);
            vec![
                ("topic_id", Value::from(info.id)),
                ("internal", Value::from(info.internal)),
                ("partitions", Value::from(info.partitions)),
                ("replication_factor", Value::from(info.replication_factor)),
                ("config", if set.is_null() { Value::object::<String>([]) } else { set }),
                ("effective_config", Value::Map(effective.collect())),
            ]
        }))
    }
}

#[cfg(test)]
mod tests {
    use lockgate_client::admin::NewTopic;

    use super::super::tests::read;
    use super::*;
    use crate::cluster::Admin;
    use crate::fake::FakeCluster;

    #[tokio::test]
    async fn it_tells_what_is_set_from_what_holds() {
        let cluster = FakeCluster::default();
        let configs = [("cleanup.policy".to_owned(), "compact".to_owned())].into();
        let topic = NewTopic { name: "orders".to_owned(), partitions: Some(3), configs, ..NewTopic::default() };
        cluster.create_topic(&topic, false).await.expect("made");
        let state = read::<TopicQuery>(&cluster, &[("name", "orders".into())]).await.expect("found");
        assert_eq!((state.attr("partitions"), state.attr("internal")), (&Value::from(3), &Value::from(false)));
        assert_eq!(state.attr("config"), &Value::object([("cleanup.policy", "compact".into())]));
        let effective = [("cleanup.policy", "compact".into()), ("retention.ms", "604800000".into())];
        assert_eq!(state.attr("effective_config"), &Value::object(effective));
    }
}
