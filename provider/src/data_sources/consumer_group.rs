//! `lockgate_consumer_group`: a consumer group, who is in it, and how far behind it is.

use lockgate_client::admin::{GroupMember, Lag};
use tonic::async_trait;

use super::{Found, Query, text};
use crate::session::Connection;
use crate::tfplugin::{Attribute, Schema, Type, Value};

/// A consumer group.
pub struct ConsumerGroupQuery;

#[async_trait]
impl Query for ConsumerGroupQuery {
    const TYPE_NAME: &'static str = "lockgate_consumer_group";

    fn schema() -> Schema {
        let assigned = vec![
            Attribute::computed("topic", Type::String, "Name of the topic."),
            Attribute::computed("partitions", Type::List(Box::new(Type::Number)), "The partitions."),
        ];
        let member = vec![
            Attribute::computed("member_id", Type::String, "The id that the group gave the member."),
            Attribute::computed("instance_id", Type::String, "The id of a static member."),
            Attribute::computed("client_id", Type::String, "What the client calls itself."),
            Attribute::computed("host", Type::String, "Where the client is."),
            Attribute::computed_list("assignment", assigned, "What the member reads, by topic."),
        ];
        let offset = vec![
            Attribute::computed("topic", Type::String, "Name of the topic."),
            Attribute::computed("partition", Type::Number, "Index of the partition."),
            Attribute::computed(
                "offset",
                Type::Number,
                "The offset that the group committed: of the next record to read.",
            ),
            Attribute::computed("end_offset", Type::Number, "The partition's end. Null when it did not say."),
            Attribute::computed("lag", Type::Number, "Records between the two. Null when the end is."),
        ];
        Schema::new(
            "A consumer group as it is now.",
            vec![
                Attribute::required("group_id", Type::String, "Name of the group."),
                Attribute::computed("state", Type::String, "Such as `Stable`, or `Empty` without members."),
                Attribute::computed(
                    "group_type",
                    Type::String,
                    "`classic` or `consumer`: the protocol of its members.",
                ),
                Attribute::computed("protocol_type", Type::String, "`consumer` for consumers."),
                Attribute::computed("protocol", Type::String, "The assignor in use."),
                Attribute::computed_list("members", member, "The members."),
                Attribute::computed_list("offsets", offset, "What the group has committed, by topic and partition."),
            ],
        )
    }

    fn subject(config: &Value) -> String {
        format!("the consumer group {:?}", text(config, "group_id"))
    }

    async fn ask(connection: &Connection, config: &Value) -> lockgate_client::Result<Option<Found>> {
        let name = text(config, "group_id");
        let Some(group) = connection.admin.group(name).await? else { return Ok(None) };
        let lags = connection.admin.group_lag(name).await?;
        Ok(Some(vec![
            ("state", Value::from(group.state)),
            ("group_type", Value::from(group.group_type)),
            ("protocol_type", Value::from(group.protocol_type)),
            ("protocol", Value::from(group.protocol)),
            ("members", Value::List(group.members.into_iter().map(member).collect())),
            ("offsets", Value::List(lags.into_iter().map(offset).collect())),
        ]))
    }
}

fn member(member: GroupMember) -> Value {
    let assignment = member.assignment.into_iter().map(|assigned| {
        let partitions = assigned.partitions.into_iter().map(Value::from).collect();
        Value::object([("topic", Value::from(assigned.topic)), ("partitions", Value::List(partitions))])
    });
    Value::object([
        ("member_id", Value::from(member.member_id)),
        ("instance_id", Value::from(member.instance_id)),
        ("client_id", Value::from(member.client_id)),
        ("host", Value::from(member.host)),
        ("assignment", Value::List(assignment.collect())),
    ])
}

fn offset(lag: Lag) -> Value {
    Value::object([
        ("topic", Value::from(lag.partition.topic)),
        ("partition", Value::from(lag.partition.partition)),
        ("offset", Value::from(lag.committed)),
        ("end_offset", Value::from(lag.end)),
        ("lag", Value::from(lag.lag)),
    ])
}

#[cfg(test)]
mod tests {
    use lockgate_client::admin::{Group, TopicPartition, TopicPartitions};

    use super::super::tests::read;
    use super::*;
    use crate::fake::FakeCluster;

    #[tokio::test]
    async fn it_shows_members_and_lag() {
        let cluster = FakeCluster::default();
        let group = Group {
            group: "app".to_owned(),
            state: "Stable".to_owned(),
            protocol_type: "consumer".to_owned(),
            group_type: "classic",
            protocol: "range".to_owned(),
            members: vec![GroupMember {
                member_id: "m-1".to_owned(),
                instance_id: None,
                client_id: "app-1".to_owned(),
                host: "/10.0.0.1".to_owned(),
                assignment: vec![TopicPartitions { topic: "orders".to_owned(), partitions: vec![0, 1] }],
            }],
        };
        let partition = TopicPartition { topic: "orders".to_owned(), partition: 1 };
        let lag = Lag { partition, committed: 5, end: Some(7), lag: Some(2) };
        cluster.contents().groups.insert("app".to_owned(), (group, vec![lag]));
        let state = read::<ConsumerGroupQuery>(&cluster, &[("group_id", "app".into())]).await.expect("found");
        assert_eq!((state.attr("state"), state.attr("protocol")), (&"Stable".into(), &"range".into()));
        let member = &state.attr("members").as_list().expect("a list")[0];
        let assigned = &member.attr("assignment").as_list().expect("a list")[0];
        assert_eq!(assigned.attr("partitions"), &Value::List(vec![0.into(), 1.into()]));
        assert_eq!(state.attr("offsets").as_list().expect("a list")[0].attr("lag"), &Value::from(2));
        let error = read::<ConsumerGroupQuery>(&cluster, &[("group_id", "no".into())]).await.expect_err("none");
        assert!(error.summary.contains("Could not find"), "{}", error.summary);
    }
}
