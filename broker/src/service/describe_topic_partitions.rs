//! DescribeTopicPartitions: topics by name, a page at a time (KIP-966).

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition as PartitionResponse,
    DescribeTopicPartitionsResponseTopic as TopicResponse,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName as WireName,
};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services, topics};
use crate::auth::{Access, Authorized, Refusal};
use crate::catalog::acl::{Operation, ResourceType};
use crate::catalog::{Image, Topic, TopicName};
use crate::limits;

impl Service for DescribeTopicPartitionsRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> DescribeTopicPartitionsResponse {
        let (request, denied, access) = request.into_parts();
        let cursor = request.cursor.as_ref().map(|cursor| (&**cursor.topic_name, cursor.partition_index));
        let mut named: BTreeSet<&str> = request.topics.iter().map(|topic| &**topic.name).collect();
        let mut denied: BTreeSet<&str> = denied.iter().map(|name| &***name).collect();
        let all = named.is_empty() && denied.is_empty();
        if let Some((topic, partition)) = cursor {
            // Kafka says so of the request as a whole, at each of its topics.
            if partition < 0 || !(all || named.contains(topic) || denied.contains(topic)) {
                let names = named.iter().chain(&denied);
                let refused = names.map(|name| failed(name, ResponseError::InvalidRequest)).collect();
                return DescribeTopicPartitionsResponse::default().with_topics(refused);
            }
            named.retain(|name| *name >= topic);
            denied.retain(|name| *name >= topic);
        }
        let limit = request.response_partition_limit.clamp(1, limits::PARTITIONS_PER_PAGE);
        let page = if all {
            let sees = |name: &&str| access.sees(Operation::Describe, ResourceType::Topic, name);
            let names = access.image().topics.keys().map(TopicName::as_str);
            let from = cursor.map_or("", |(topic, _)| topic);
            page(access.image(), names.filter(|name| *name >= from).filter(sees), cursor, limit)
        } else {
            page(access.image(), named.into_iter(), cursor, limit)
        };
        let shown = page.topics.into_iter().map(|shown| match shown {
            Ok((topic, partitions)) => describe(services, &access, &topic, partitions),
            Err((name, error)) => failed(name, error)
                .with_topic_authorized_operations(access.authorized_operations(ResourceType::Topic, name)),
        });
        let refused = denied.into_iter().map(|name| failed(name, ResponseError::TopicAuthorizationFailed));
        let next = page
            .next
            .map(|(topic, partition)| Cursor::default().with_topic_name(wire(topic)).with_partition_index(partition));
        DescribeTopicPartitionsResponse::default().with_topics(shown.chain(refused).collect()).with_next_cursor(next)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> DescribeTopicPartitionsResponse {
        let topics = request.topics.iter().map(|topic| failed(&topic.name, refusal.0));
        DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
    }
}

/// A topic with the partitions to show, or the name of one that is not shown and why.
type Found<'a> = Result<(Arc<Topic>, Range<i32>), (&'a str, ResponseError)>;

/// What goes into one answer, and where the next one begins.
struct Page<'a> {
    topics: Vec<Found<'a>>,
    next: Option<(&'a str, i32)>,
}

/// Fills a page with `limit` partitions of topics whose names come in order, beginning at the cursor.
fn page<'a>(image: &Image, names: impl Iterator<Item = &'a str>, cursor: Option<(&str, i32)>, limit: i32) -> Page<'a> {
    let mut left = limit;
    let mut topics = Vec::new();
    for name in names {
        if left == 0 {
            return Page { topics, next: Some((name, 0)) };
        }
        let Some(topic) = image.topic(name) else {
            let error = match TopicName::parse(name) {
                Ok(_) => ResponseError::UnknownTopicOrPartition,
                Err(_) => ResponseError::InvalidTopicException,
            };
            topics.push(Err((name, error)));
            continue;
        };
        let start = cursor.filter(|(at, _)| *at == name).map_or(0, |(_, partition)| partition);
        let end = topic.partitions.min(start.saturating_add(left));
        topics.push(Ok((topic.clone(), start..end)));
        if end < topic.partitions {
            return Page { topics, next: Some((name, end)) };
        }
        left -= (end - start).max(0);
    }
    Page { topics, next: None }
}

fn describe(services: &Services, access: &Access, topic: &Topic, partitions: Range<i32>) -> TopicResponse {
    let name = topic.name.as_str();
    TopicResponse::default()
        .with_name(Some(wire(name)))
        .with_topic_id(topic.id)
        .with_is_internal(topics::is_internal(name))
        .with_partitions(partitions.map(|index| partition(services, topic, index)).collect())
        .with_topic_authorized_operations(access.authorized_operations(ResourceType::Topic, name))
}

fn partition(services: &Services, topic: &Topic, index: i32) -> PartitionResponse {
    let node_id = BrokerId(services.config.node_id);
    // The in-sync replicas are all there are: no others are eligible to lead.
    let answer = PartitionResponse::default()
        .with_partition_index(index)
        .with_replica_nodes(vec![node_id])
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()));
    match services.partition(topic, index) {
        Ok(partition) => {
            answer.with_leader_id(node_id).with_leader_epoch(partition.leader_epoch()).with_isr_nodes(vec![node_id])
        }
        Err(_) => answer
            .with_error_code(ResponseError::LeaderNotAvailable.code())
            .with_leader_id(BrokerId(-1))
            .with_leader_epoch(-1)
            .with_offline_replicas(vec![node_id]),
    }
}

/// Without the id: it would tell that a topic exists.
fn failed(name: &str, error: ResponseError) -> TopicResponse {
    TopicResponse::default().with_name(Some(wire(name))).with_error_code(error.code())
}

fn wire(name: &str) -> WireName {
    WireName(StrBytes::from_string(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::catalog::CatalogRecord;

    /// Topics a, b, c with 3, 1 and 2 partitions.
    fn image() -> Image {
        let mut image = Image::default();
        for (id, name, partitions) in [(1, "a", 3), (2, "b", 1), (3, "c", 2)] {
            image.apply(&CatalogRecord::Topic(Topic {
                id: uuid::Uuid::from_u128(id),
                name: TopicName::parse(name).expect("a valid name"),
                partitions,
                replication_factor: 1,
                configs: BTreeMap::new(),
            }));
        }
        image
    }

    fn shown(page: &Page) -> Vec<(String, Range<i32>)> {
        let known = page.topics.iter().flatten();
        known.map(|(topic, partitions)| (topic.name.to_string(), partitions.clone())).collect()
    }

    #[test]
    fn pages_of_any_size_show_everything_once() {
        let image = image();
        for limit in 1..8 {
            let mut seen = Vec::new();
            let mut cursor: Option<(String, i32)> = None;
            for round in 0.. {
                assert!(round < 8, "pages of {limit} do not end");
                let at = cursor.as_ref().map(|(topic, partition)| (topic.as_str(), *partition));
                let from = at.map_or("", |(topic, _)| topic);
                let page = page(&image, ["a", "b", "c"].into_iter().filter(|name| *name >= from), at, limit);
                let rows = shown(&page);
                let rows: Vec<_> = rows
                    .into_iter()
                    .flat_map(|(topic, range)| range.map(move |index| (topic.clone(), index)))
                    .collect();
                assert!(rows.len() <= limit as usize, "{} partitions on a page of {limit}", rows.len());
                seen.extend(rows);
                let Some((topic, partition)) = page.next else { break };
                cursor = Some((topic.to_owned(), partition));
            }
            let expected = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0), ("c", 1)];
            assert_eq!(seen, expected.map(|(topic, index)| (topic.to_owned(), index)), "pages of {limit}");
        }
    }

    #[test]
    fn a_cursor_behind_the_last_partition_shows_none_and_goes_on() {
        let image = image();
        for partition in [1, 2, i32::MAX] {
            let page = page(&image, ["b", "c"].into_iter(), Some(("b", partition)), 10);
            assert_eq!(page.next, None);
            let rows = shown(&page);
            assert!(rows[0].1.is_empty(), "{rows:?}");
            assert_eq!(rows[1], ("c".to_owned(), 0..2));
        }
    }

    #[test]
    fn unknown_and_impossible_names_are_told_apart() {
        let page = page(&image(), ["a b", "d"].into_iter(), None, 1);
        let errors: Vec<_> = page.topics.iter().filter_map(|topic| topic.as_ref().err().copied()).collect();
        let expected = [("a b", ResponseError::InvalidTopicException), ("d", ResponseError::UnknownTopicOrPartition)];
        assert_eq!(errors, expected);
        assert_eq!(page.next, None);
    }
}
