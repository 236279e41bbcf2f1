//! `lockgate_topics`: the topics that fit a filter.

use regex::Regex;
use tonic::async_trait;

use super::{Found, Query, text};
use crate::session::Connection;
use crate::tfplugin::{Attribute, AttributePath, Diagnostic, Diagnostics, Schema, Type, Value};

/// Topics.
pub struct TopicsQuery;

#[async_trait]
impl Query for TopicsQuery {
    const TYPE_NAME: &'static str = "lockgate_topics";

    fn schema() -> Schema {
        let topic = vec![
            Attribute::computed("name", Type::String, "Name of the topic."),
            Attribute::computed("topic_id", Type::String, "The id that the cluster gave the topic."),
            Attribute::computed("internal", Type::Bool, "Whether it is one of the cluster's own."),
            Attribute::computed("partitions", Type::Number, "Number of partitions."),
            Attribute::computed("replication_factor", Type::Number, "Number of replicas of each partition."),
        ];
        Schema::new(
            "The topics that fit a filter, of those that the provider's user may describe: Kafka leaves out the others \
             without a word.",
            vec![
                Attribute::optional("name_prefix", Type::String, "What the name begins with."),
                Attribute::optional(
                    "name_regex",
                    Type::String,
                    "A regular expression that fits somewhere in the name; `^` and `$` tie it to the ends.",
                ),
                Attribute::optional(
                    "internal",
                    Type::Bool,
                    "`true` for the cluster's own topics only, `false` for the others only; both when left out.",
                ),
                Attribute::computed("names", Type::string_list(), "The names, in order."),
                Attribute::computed_list("topics", topic, "The topics, by name."),
            ],
        )
    }

    fn validate(config: &Value) -> Diagnostics {
        let Some(Err(error)) = config.attr("name_regex").as_str().map(Regex::new) else { return Diagnostics::new() };
        let detail = format!("name_regex is not a regular expression: {error}");
        Diagnostic::error("Invalid name_regex", detail).at(AttributePath::root("name_regex")).into()
    }

    fn subject(_config: &Value) -> String {
        "the topics".to_owned()
    }

    async fn ask(connection: &Connection, config: &Value) -> lockgate_client::Result<Option<Found>> {
        let regex = Regex::new(text(config, "name_regex"));
        let regex = regex.map_err(|error| lockgate_client::Error::Settings(format!("name_regex: {error}")))?;
        let (prefix, internal) = (text(config, "name_prefix"), config.attr("internal").as_bool());
        let mut topics = connection.admin.topics().await?;
        topics.retain(|name, info| {
            name.starts_with(prefix) && regex.is_match(name) && internal.is_none_or(|wanted| wanted == info.internal)
        });
        let names = topics.keys().map(|name| Value::from(name.as_str())).collect();
        let topics = topics.into_iter().map(|(name, info)| {
            Value::object([
                ("name", Value::from(name)),
                ("topic_id", Value::from(info.id)),
                ("internal", Value::from(info.internal)),
                ("partitions", Value::from(info.partitions)),
                ("replication_factor", Value::from(info.replication_factor)),
            ])
        });
        Ok(Some(vec![("names", Value::List(names)), ("topics", Value::List(topics.collect()))]))
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
    async fn all_parts_of_the_filter_hold_together() {
        let cluster = FakeCluster::default();
        for name in ["orders-eu", "orders-us", "old-orders-eu", "__orders"] {
            cluster
                .create_topic(&NewTopic { name: name.to_owned(), ..NewTopic::default() }, false)
                .await
                .expect("made");
        }
        let names = async |filter: &[(&str, Value)]| {
            let state = read::<TopicsQuery>(&cluster, filter).await.expect("read");
            let names = state.attr("names").as_list().expect("a list").to_vec();
            assert_eq!(state.attr("topics").as_list().expect("a list").len(), names.len());
            names.iter().map(|name| name.as_str().expect("a name").to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&[]).await, "__orders old-orders-eu orders-eu orders-us");
        assert_eq!(names(&[("internal", false.into())]).await, "old-orders-eu orders-eu orders-us");
        assert_eq!(names(&[("internal", true.into())]).await, "__orders");
        assert_eq!(names(&[("name_prefix", "orders-".into())]).await, "orders-eu orders-us");
        assert_eq!(names(&[("name_regex", "eu$".into())]).await, "old-orders-eu orders-eu");
        assert_eq!(names(&[("name_regex", "eu$".into()), ("name_prefix", "or".into())]).await, "orders-eu");
    }

    #[test]
    fn a_bad_regex_is_refused() {
        let bad = Value::object([("name_regex", "(".into())]);
        assert_eq!(TopicsQuery::validate(&bad).iter().count(), 1);
        assert!(TopicsQuery::validate(&Value::object([("name_regex", Value::Unknown)])).is_empty());
    }
}
