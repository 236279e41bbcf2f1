//! ElectLeaders: with one broker a partition is led by it, or is offline and has nobody else to lead it.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName as WireName};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::{Image, Topic};

/// What is elected: the first replica, or any that lives, at the risk of losing records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Election {
    Preferred,
    Unclean,
}

impl Service for ElectLeadersRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> ElectLeadersResponse {
        let (request, (), access) = request.into_parts();
        let election = match request.election_type {
            0 => Election::Preferred,
            1 => Election::Unclean,
            _ => return refused(&request, ResponseError::InvalidRequest, context.version),
        };
        let led = |topic: &Topic, index| services.partition(topic, index).is_ok();
        let results = match &request.topic_partitions {
            None => access.image().topics.values().map(|topic| all(topic, election, led)).collect(),
            Some(topics) => topics.iter().map(|topic| named(access.image(), topic, election, led)).collect(),
        };
        ElectLeadersResponse::default().with_replica_election_results(results)
    }

    fn refuse(refusal: Refusal, request: &Self, context: &Context) -> ElectLeadersResponse {
        refused(request, refusal.0, context.version)
    }
}

/// Version 0 has no place for an error of the whole request, so each partition has it in every version.
fn refused(request: &ElectLeadersRequest, error: ResponseError, version: i16) -> ElectLeadersResponse {
    let results = request.topic_partitions.iter().flatten().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| failed(*index, error, error.to_string()));
        result(topic.topic.clone(), partitions.collect())
    });
    let whole = if version == 0 { 0 } else { error.code() };
    ElectLeadersResponse::default().with_error_code(whole).with_replica_election_results(results.collect())
}

/// Every partition of a topic; those that need no election are left out, as in Kafka.
fn all(topic: &Topic, election: Election, led: impl Fn(&Topic, i32) -> bool) -> ReplicaElectionResult {
    let name = WireName(StrBytes::from_string(topic.name.as_str().to_owned()));
    let offline = (0..topic.partitions).filter(|index| !led(topic, *index));
    result(name, offline.map(|index| nobody(index, election)).collect())
}

fn named(
    image: &Image,
    asked: &TopicPartitions,
    election: Election,
    led: impl Fn(&Topic, i32) -> bool,
) -> ReplicaElectionResult {
    let name = &*asked.topic;
    let partitions = asked.partitions.iter().map(|&index| match image.topic(name) {
        None => failed(index, ResponseError::UnknownTopicOrPartition, format!("No such topic as {name}")),
        Some(topic) if !(0..topic.partitions).contains(&index) => {
            failed(index, ResponseError::UnknownTopicOrPartition, format!("No such partition as {name}-{index}"))
        }
        Some(topic) if led(topic, index) => {
            let error = ResponseError::ElectionNotNeeded;
            failed(index, error, error.to_string())
        }
        Some(_) => nobody(index, election),
    });
    result(asked.topic.clone(), partitions.collect())
}

/// An offline partition: its only replica is what is broken.
fn nobody(index: i32, election: Election) -> PartitionResult {
    let error = match election {
        Election::Preferred => ResponseError::PreferredLeaderNotAvailable,
        Election::Unclean => ResponseError::EligibleLeadersNotAvailable,
    };
    failed(index, error, "the partition is offline on its only broker, whose log says why".to_owned())
}

fn result(topic: WireName, partitions: Vec<PartitionResult>) -> ReplicaElectionResult {
    ReplicaElectionResult::default().with_topic(topic).with_partition_result(partitions)
}

fn failed(index: i32, error: ResponseError, message: String) -> PartitionResult {
    PartitionResult::default()
        .with_partition_id(index)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::catalog::{CatalogRecord, TopicName};

    #[test]
    fn partitions_are_led_or_offline_or_not_there() {
        let topic = Topic {
            id: uuid::Uuid::from_u128(1),
            name: TopicName::parse("orders").expect("a valid name"),
            partitions: 3,
            replication_factor: 1,
            configs: BTreeMap::new(),
        };
        let mut image = Image::default();
        image.apply(&CatalogRecord::Topic(topic.clone()));
        // Partition 1 is offline.
        let led = |_: &Topic, index| index != 1;
        let asked = |name| {
            let name = WireName(StrBytes::from_static_str(name));
            TopicPartitions::default().with_topic(name).with_partitions(vec![0, 1, 3, -1])
        };
        let codes = |result: ReplicaElectionResult| -> Vec<_> {
            result.partition_result.iter().map(|one| (one.partition_id, one.error_code)).collect()
        };
        let unknown = ResponseError::UnknownTopicOrPartition.code();
        let needless = ResponseError::ElectionNotNeeded.code();
        for (election, error) in [
            (Election::Preferred, ResponseError::PreferredLeaderNotAvailable),
            (Election::Unclean, ResponseError::EligibleLeadersNotAvailable),
        ] {
            let expected = [(0, needless), (1, error.code()), (3, unknown), (-1, unknown)];
            assert_eq!(codes(named(&image, &asked("orders"), election, led)), expected);
            assert_eq!(codes(all(&topic, election, led)), [(1, error.code())]);
        }
        let expected = [0, 1, 3, -1].map(|index| (index, unknown));
        assert_eq!(codes(named(&image, &asked("nothing"), Election::Preferred, led)), expected);
    }

    #[test]
    fn a_refusal_is_said_at_each_partition_too() {
        let topic = WireName(StrBytes::from_static_str("orders"));
        let topics = vec![TopicPartitions::default().with_topic(topic).with_partitions(vec![0, 4])];
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(topics));
        let error = ResponseError::ClusterAuthorizationFailed;
        for version in 0..=2 {
            let response = refused(&request, error, version);
            assert_eq!(response.error_code, if version == 0 { 0 } else { error.code() }, "version {version}");
            let results = &response.replica_election_results[0].partition_result;
            assert!(results.len() == 2 && results.iter().all(|one| one.error_code == error.code()));
            assert!(crate::protocol::encode(&response, version, 7).is_ok(), "version {version} cannot be sent");
        }
    }
}
