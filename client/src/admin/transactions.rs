//! Transactions: list, describe, who writes to a partition, and the end of a transaction that hangs (KIP-664).

use std::collections::BTreeMap;

use krafka::__private::protocol::{
    ApiKey, DescribeProducersPartitionResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeProducersTopicRequest, DescribeTransactionsRequest, DescribeTransactionsResponse, FindCoordinatorRequest,
    ListTransactionsRequest, ListTransactionsResponse, ProducerState, TransactionStateEntry, WritableTxnMarker,
    WritableTxnMarkerTopic, WriteTxnMarkersRequest, WriteTxnMarkersResponse, versions,
};
use krafka::error::ErrorCode;
use serde::Serialize;

use super::connection::{Admin, Api, Kind};
use super::groups::TopicPartitions;
use super::offsets::TopicPartition;
use crate::error::{BrokerError, Error, Result, answer};

/// Which transactions are asked for; what is empty or `None` asks for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// Kafka's names, such as `Ongoing`. One that the broker does not know is an error.
    pub states: Vec<String>,
    pub producer_ids: Vec<i64>,
    /// Open for longer than this many milliseconds.
    pub longer_than_ms: Option<i64>,
    /// A regular expression that the whole transactional id matches, in the broker's syntax.
    pub id_pattern: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TransactionListing {
    pub transactional_id: String,
    pub producer_id: i64,
    pub state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transaction {
    pub transactional_id: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub state: String,
    /// After which the coordinator aborts an open transaction, in milliseconds.
    pub timeout_ms: i32,
    /// Milliseconds since 1970; `None` when no transaction is open.
    pub started_ms: Option<i64>,
    /// What the open transaction has written to, as far as the user may see.
    pub topics: Vec<TopicPartitions>,
}

/// A producer that a partition remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionProducer {
    pub producer_id: i64,
    pub producer_epoch: i32,
    /// `None` when its last batch is not known.
    pub last_sequence: Option<i32>,
    /// Milliseconds since 1970.
    pub last_timestamp_ms: Option<i64>,
    /// Of the coordinator that wrote its last marker here; `None` before the first.
    pub coordinator_epoch: Option<i32>,
    /// The first offset of its open transaction.
    pub transaction_start: Option<i64>,
}

const LIST: Api = Api {
    key: ApiKey::ListTransactions,
    name: "ListTransactions",
    min: versions::LIST_TRANSACTIONS_MIN,
    max: versions::LIST_TRANSACTIONS_MAX,
    kind: Kind::Read,
};
/// The versions that brought the filters: an older broker would ignore what it cannot be told.
const LIST_BY_DURATION: i16 = 1;
const LIST_BY_PATTERN: i16 = 2;
const DESCRIBE: Api = Api {
    key: ApiKey::DescribeTransactions,
    name: "DescribeTransactions",
    min: versions::DESCRIBE_TRANSACTIONS_MIN,
    max: versions::DESCRIBE_TRANSACTIONS_MAX,
    kind: Kind::Read,
};
const PRODUCERS: Api = Api {
    key: ApiKey::DescribeProducers,
    name: "DescribeProducers",
    min: versions::DESCRIBE_PRODUCERS_MIN,
    max: versions::DESCRIBE_PRODUCERS_MAX,
    kind: Kind::Read,
};
const WRITE_MARKERS: Api = Api {
    key: ApiKey::WriteTxnMarkers,
    name: "WriteTxnMarkers",
    min: versions::WRITE_TXN_MARKERS_MIN,
    max: versions::WRITE_TXN_MARKERS_MAX,
    kind: Kind::Write,
};

impl Admin {
    /// The transactional ids that the user may describe and that pass the filter, by name.
    pub async fn list_transactions(&self, filter: &TransactionFilter) -> Result<Vec<TransactionListing>> {
        let request = ListTransactionsRequest {
            state_filters: filter.states.clone(),
            producer_id_filters: filter.producer_ids.clone(),
            duration_filter: filter.longer_than_ms.unwrap_or(-1),
            transactional_id_pattern: filter.id_pattern.clone(),
        };
        let min = match filter {
            TransactionFilter { id_pattern: Some(_), .. } => LIST_BY_PATTERN,
            TransactionFilter { longer_than_ms: Some(_), .. } => LIST_BY_DURATION,
            _ => LIST.min,
        };
        let response: ListTransactionsResponse = self.call(Api { min, ..LIST }, &request).await?;
        answer(response.error_code, None)?;
        if !response.unknown_state_filters.is_empty() {
            let unknown = response.unknown_state_filters.join(", ");
            return Err(Error::Settings(format!("The broker knows no transaction state {unknown}.")));
        }
        let listing = response.transaction_states.into_iter().map(|entry| TransactionListing {
            transactional_id: entry.transactional_id,
            producer_id: entry.producer_id,
            state: entry.transaction_state,
        });
        let mut transactions: Vec<TransactionListing> = listing.collect();
        transactions.sort_by(|a, b| a.transactional_id.cmp(&b.transactional_id));
        Ok(transactions)
    }

    /// The named transactional ids; one that does not exist is an error of its own ([`Error::is_not_found`]).
    pub async fn describe_transactions(&self, ids: &[&str]) -> Result<BTreeMap<String, Result<Transaction>>> {
        let request = |ids: &[&str]| DescribeTransactionsRequest {
            transactional_ids: ids.iter().map(|&id| id.to_owned()).collect(),
        };
        let response: DescribeTransactionsResponse = self.call(DESCRIBE, &request(ids)).await?;
        let mut transactions = BTreeMap::new();
        for entry in response.transaction_states {
            let id = entry.transactional_id.clone();
            let mut described = Ok(entry);
            if matches!(&described, Ok(entry) if entry.error_code == ErrorCode::NotCoordinator) {
                let first = |response: &DescribeTransactionsResponse| response.transaction_states.first().cloned();
                let code = |response: &DescribeTransactionsResponse| first(response).map(|entry| entry.error_code);
                let find = FindCoordinatorRequest::for_transaction(&id);
                let again = self.call_coordinator(&find, DESCRIBE, &request(&[&id]), code).await;
                described =
                    again.and_then(|response| first(&response).ok_or_else(|| missing(ErrorCode::NotCoordinator)));
            }
            transactions.insert(id, described.and_then(transaction));
        }
        Ok(transactions)
    }

    /// The producers that a partition remembers, those with an open transaction among them, by producer id.
    pub async fn describe_producers(&self, partition: &TopicPartition) -> Result<Vec<PartitionProducer>> {
        let topic = DescribeProducersTopicRequest {
            name: partition.topic.clone(),
            partition_indexes: vec![partition.partition],
        };
        let request = DescribeProducersRequest { topics: vec![topic] };
        let mut answered = only_partition(self.call(PRODUCERS, &request).await?)?;
        if answered.error_code == ErrorCode::NotLeaderForPartition {
            for address in self.leaders(std::slice::from_ref(partition)).await?.into_keys() {
                answered = only_partition(self.call_at(&address, PRODUCERS, &request).await?)?;
            }
        }
        answer(answered.error_code, answered.error_message)?;
        let mut producers: Vec<PartitionProducer> = answered.active_producers.into_iter().map(producer).collect();
        producers.sort_by_key(|producer| producer.producer_id);
        Ok(producers)
    }

    /// Writes an abort marker for a producer's open transaction into one partition, whatever its coordinator thinks of it.
    /// `producer` is one that [`Admin::describe_producers`] answered for that partition.
    pub async fn abort_transaction(&self, partition: &TopicPartition, producer: &PartitionProducer) -> Result<()> {
        let request = abort_request(partition, producer)?;
        let mut code = marker_code(self.call(WRITE_MARKERS, &request).await?);
        // Nothing was written there, so asking the leader is no second write.
        if code == ErrorCode::NotLeaderForPartition {
            for address in self.leaders(std::slice::from_ref(partition)).await?.into_keys() {
                code = marker_code(self.call_at(&address, WRITE_MARKERS, &request).await?);
            }
        }
        answer(code, None)
    }
}

fn abort_request(partition: &TopicPartition, producer: &PartitionProducer) -> Result<WriteTxnMarkersRequest> {
    let producer_epoch = i16::try_from(producer.producer_epoch)
        .map_err(|_| Error::Settings(format!("There is no producer epoch {}.", producer.producer_epoch)))?;
    let topic = WritableTxnMarkerTopic { name: partition.topic.clone(), partition_indexes: vec![partition.partition] };
    let marker = WritableTxnMarker {
        producer_id: producer.producer_id,
        producer_epoch,
        transaction_result: false,
        topics: vec![topic],
        // Kafka's own tool says 0 too where no coordinator has written yet.
        coordinator_epoch: producer.coordinator_epoch.unwrap_or(0),
        transaction_version: WritableTxnMarker::legacy_transaction_version(),
    };
    Ok(WriteTxnMarkersRequest { markers: vec![marker] })
}

/// The one partition's code; an answer without it says nothing was done.
fn marker_code(response: WriteTxnMarkersResponse) -> ErrorCode {
    let topics = response.markers.into_iter().flat_map(|marker| marker.topics);
    let mut partitions = topics.flat_map(|topic| topic.partitions);
    partitions.next().map_or(ErrorCode::UnknownTopicOrPartition, |partition| partition.error_code)
}

fn only_partition(response: DescribeProducersResponse) -> Result<DescribeProducersPartitionResponse> {
    let mut partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
    partitions.next().ok_or_else(|| missing(ErrorCode::UnknownTopicOrPartition))
}

fn missing(code: ErrorCode) -> Error {
    BrokerError { code, message: None }.into()
}

fn transaction(entry: TransactionStateEntry) -> Result<Transaction> {
    answer(entry.error_code, None)?;
    let topics = entry.topics.into_iter();
    Ok(Transaction {
        transactional_id: entry.transactional_id,
        producer_id: entry.producer_id,
        producer_epoch: entry.producer_epoch,
        state: entry.transaction_state,
        timeout_ms: entry.transaction_timeout_ms,
        started_ms: Some(entry.transaction_start_time_ms).filter(|millis| *millis >= 0),
        topics: topics.map(|topic| TopicPartitions { topic: topic.topic, partitions: topic.partitions }).collect(),
    })
}

fn producer(state: ProducerState) -> PartitionProducer {
    PartitionProducer {
        producer_id: state.producer_id,
        producer_epoch: state.producer_epoch,
        last_sequence: Some(state.last_sequence).filter(|sequence| *sequence >= 0),
        last_timestamp_ms: Some(state.last_timestamp).filter(|millis| *millis >= 0),
        coordinator_epoch: Some(state.coordinator_epoch).filter(|epoch| *epoch >= 0),
        transaction_start: Some(state.current_txn_start_offset).filter(|offset| *offset >= 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(coordinator_epoch: i32, current_txn_start_offset: i64) -> ProducerState {
        ProducerState {
            producer_id: 7,
            producer_epoch: 3,
            last_sequence: -1,
            last_timestamp: 12,
            coordinator_epoch,
            current_txn_start_offset,
        }
    }

    #[test]
    fn what_is_not_known_is_none() {
        let known = producer(state(4, 0));
        assert_eq!((known.coordinator_epoch, known.transaction_start), (Some(4), Some(0)));
        let unknown = producer(state(-1, -1));
        assert_eq!((unknown.coordinator_epoch, unknown.transaction_start, unknown.last_sequence), (None, None, None));
    }

    #[test]
    fn an_abort_repeats_what_the_partition_said() {
        let partition = TopicPartition { topic: "orders".to_owned(), partition: 2 };
        for (said, sent) in [(9, 9), (-1, 0)] {
            let request = abort_request(&partition, &producer(state(said, 5))).expect("a request");
            let marker = &request.markers[0];
            assert_eq!((marker.producer_id, marker.producer_epoch, marker.coordinator_epoch), (7, 3, sent));
            assert!(!marker.transaction_result, "an abort");
            assert_eq!((marker.topics[0].name.as_str(), &marker.topics[0].partition_indexes[..]), ("orders", &[2][..]));
        }
    }

    #[test]
    fn an_epoch_that_no_producer_has_is_refused() {
        let partition = TopicPartition { topic: "orders".to_owned(), partition: 0 };
        let wrong = PartitionProducer { producer_epoch: 1 << 16, ..producer(state(0, 0)) };
        assert!(matches!(abort_request(&partition, &wrong), Err(Error::Settings(_))));
    }

    #[test]
    fn an_answer_without_the_partition_is_no_success() {
        assert_eq!(marker_code(WriteTxnMarkersResponse { markers: Vec::new() }), ErrorCode::UnknownTopicOrPartition);
    }
}
