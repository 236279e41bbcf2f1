//! DescribeLogDirs: the data folder, its volume, and what each partition takes of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName as WireName};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::Image;
use crate::store::PartitionId;

impl Service for DescribeLogDirsRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> DescribeLogDirsResponse {
        let (request, (), access) = request.into_parts();
        let topics = stored(access.image(), &services.logs.sizes(), request.topics.as_deref());
        let space = services.logs.space();
        let result = DescribeLogDirsResult::default()
            .with_log_dir(StrBytes::from_string(services.config.data.display().to_string()))
            .with_topics(topics)
            .with_total_bytes(bytes(space.total))
            .with_usable_bytes(bytes(space.free));
        DescribeLogDirsResponse::default().with_results(vec![result])
    }

    /// Versions before 3 cannot say why they show nothing.
    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> DescribeLogDirsResponse {
        DescribeLogDirsResponse::default().with_error_code(refusal.0.code())
    }
}

/// The partitions that are asked for (all without a list), as far as they are there and usable.
fn stored(
    image: &Image,
    sizes: &HashMap<PartitionId, u64>,
    asked: Option<&[DescribableLogDirTopic]>,
) -> Vec<DescribeLogDirsTopic> {
    let asked = asked.map(|topics| {
        let mut indexes: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
        for topic in topics {
            indexes.entry(&topic.topic).or_default().extend(&topic.partitions);
        }
        indexes
    });
    let mut described = Vec::new();
    for topic in image.topics.values() {
        let indexes: Vec<i32> = match &asked {
            None => (0..topic.partitions).collect(),
            Some(asked) => asked.get(topic.name.as_str()).into_iter().flatten().copied().collect(),
        };
        let partitions: Vec<_> = indexes
            .into_iter()
            .filter(|index| (0..topic.partitions).contains(index))
            .filter_map(|index| Some((index, *sizes.get(&PartitionId { topic: topic.id, index })?)))
            .map(|(index, size)| {
                DescribeLogDirsPartition::default().with_partition_index(index).with_partition_size(bytes(size))
            })
            .collect();
        if !partitions.is_empty() {
            let name = WireName(StrBytes::from_string(topic.name.as_str().to_owned()));
            described.push(DescribeLogDirsTopic::default().with_name(name).with_partitions(partitions));
        }
    }
    described
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::catalog::{CatalogRecord, Topic, TopicName};

    fn asked(topic: &'static str, partitions: &[i32]) -> DescribableLogDirTopic {
        let name = WireName(StrBytes::from_static_str(topic));
        DescribableLogDirTopic::default().with_topic(name).with_partitions(partitions.to_vec())
    }

    #[test]
    fn what_is_asked_for_and_there_is_shown_once() {
        let mut image = Image::default();
        for (id, name) in [(1, "orders"), (2, "payments")] {
            image.apply(&CatalogRecord::Topic(Topic {
                id: Uuid::from_u128(id),
                name: TopicName::parse(name).expect("a valid name"),
                partitions: 2,
                replication_factor: 1,
                configs: BTreeMap::new(),
            }));
        }
        let id = |topic, index| PartitionId { topic: Uuid::from_u128(topic), index };
        // Partition 1 of payments is offline, 7 belongs to no topic.
        let sizes = HashMap::from([(id(1, 0), 10), (id(1, 1), 11), (id(2, 0), 20), (id(7, 0), 70)]);
        let shown = |asked: Option<&[DescribableLogDirTopic]>| -> Vec<(String, i32, i64)> {
            let topics = stored(&image, &sizes, asked);
            let rows = topics.iter().flat_map(|topic| {
                let row =
                    |one: &DescribeLogDirsPartition| (topic.name.to_string(), one.partition_index, one.partition_size);
                topic.partitions.iter().map(row)
            });
            rows.collect()
        };
        let row = |name: &str, index, size| (name.to_owned(), index, size);
        assert_eq!(shown(None), [row("orders", 0, 10), row("orders", 1, 11), row("payments", 0, 20)]);
        let some =
            [asked("orders", &[1, 1, 5, -1]), asked("orders", &[1]), asked("payments", &[1]), asked("none", &[0])];
        assert_eq!(shown(Some(&some)), [row("orders", 1, 11)]);
        assert!(shown(Some(&[])).is_empty());
    }
}
