//! The few requests that the tests speak themselves, without a client library.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, BrokerId, EndTxnRequest, FetchRequest, GroupId, InitProducerIdRequest,
    ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest, ProduceRequest, ProduceResponse, TopicName,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use crate::until;
use crate::wire::{Connection, check};

/// The newest version that names topics.
pub const PRODUCE: i16 = 11;
/// The newest version that names topics.
pub const FETCH: i16 = 12;

pub fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Asks as clients do: again, while a broker that has just started makes or reads the logs of its coordinators.
pub fn when_loaded<A>(mut ask: impl FnMut() -> Result<A>, code: impl Fn(&A) -> i16) -> Result<A> {
    let not_yet = [ResponseError::CoordinatorLoadInProgress, ResponseError::CoordinatorNotAvailable];
    until(Duration::from_secs(20), "the coordinator has read its log", || match ask() {
        Ok(answer) if not_yet.iter().any(|error| error.code() == code(&answer)) => None,
        answer => Some(answer),
    })?
}

/// A new producer id and its epoch.
pub fn init_producer_id(connection: &mut Connection) -> Result<(i64, i16)> {
    let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
    let answer = when_loaded(|| connection.call(&request, 4), |answer| answer.error_code)?;
    check(answer.error_code, "InitProducerId")?;
    Ok((answer.producer_id.0, answer.producer_epoch))
}

/// One batch for one partition.
pub fn produce_request(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(30_000).with_topic_data(vec![topic])
}

/// Error code and base offset of a produce answer for one partition.
pub fn produced(answer: &ProduceResponse) -> Result<(i16, i64)> {
    let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
    let partition = partition.context("a produce answer without a partition")?;
    Ok((partition.error_code, partition.base_offset))
}

/// Produces one batch with acks=all and returns its base offset.
pub fn produce(connection: &mut Connection, topic: &str, partition: i32, batch: Bytes) -> Result<i64> {
    let answer = connection.call(&produce_request(topic, partition, -1, batch), PRODUCE)?;
    let (code, offset) = produced(&answer)?;
    check(code, "Produce")?;
    Ok(offset)
}

/// What a fetch of one partition brings.
pub struct Fetched {
    pub code: i16,
    pub high_watermark: i64,
    pub last_stable: i64,
    pub log_start: i64,
    /// Aborted transactions: producer id and first offset. Only for readers of committed records.
    pub aborted: Vec<(i64, i64)>,
    /// Epoch and end offset from which the reader's log differs; -1 and -1 when it does not.
    pub diverging: (i32, i64),
    pub records: Bytes,
}

pub fn fetch_request(topic: &str, partition: i32, offset: i64, wait_ms: i32, max_bytes: i32) -> FetchRequest {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_current_leader_epoch(-1)
        .with_partition_max_bytes(max_bytes);
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(max_bytes)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![wanted])])
}

pub fn fetch(connection: &mut Connection, topic: &str, partition: i32, offset: i64, wait_ms: i32) -> Result<Fetched> {
    let request = fetch_request(topic, partition, offset, wait_ms, 8 << 20);
    fetch_with(connection, &request)
}

/// Sends a fetch of one partition.
pub fn fetch_with(connection: &mut Connection, request: &FetchRequest) -> Result<Fetched> {
    let answer = connection.call(request, FETCH)?;
    check(answer.error_code, "Fetch")?;
    let partition = answer.responses.first().and_then(|topic| topic.partitions.first());
    let partition = partition.context("a fetch answer without a partition")?;
    let aborted = partition.aborted_transactions.iter().flatten();
    Ok(Fetched {
        code: partition.error_code,
        high_watermark: partition.high_watermark,
        last_stable: partition.last_stable_offset,
        log_start: partition.log_start_offset,
        aborted: aborted.map(|aborted| (aborted.producer_id.0, aborted.first_offset)).collect(),
        diverging: (partition.diverging_epoch.epoch, partition.diverging_epoch.end_offset),
        records: partition.records.clone().unwrap_or_default(),
    })
}

/// Where the log of partition 0 starts.
pub fn log_start(connection: &mut Connection, topic: &str) -> Result<i64> {
    const EARLIEST: i64 = -2;
    let wanted = ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(EARLIEST);
    let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![wanted]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let answer = connection.call(&request, 6)?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    let partition = partition.context("a ListOffsets answer without a partition")?;
    check(partition.error_code, "ListOffsets")?;
    Ok(partition.offset)
}

/// Begins the life of a transactional producer: ends what an earlier one left. Returns error code, id and epoch.
pub fn init_transactions(connection: &mut Connection, id: &str) -> Result<(i16, (i64, i16))> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional_id(id)))
        .with_transaction_timeout_ms(60_000);
    let answer = connection.call(&request, 2)?;
    Ok((answer.error_code, (answer.producer_id.0, answer.producer_epoch)))
}

/// Takes partition 0 of the topic into the producer's transaction; returns the error code.
pub fn add_to_transaction(connection: &mut Connection, id: &str, producer: (i64, i16), topic: &str) -> Result<i16> {
    let topic = AddPartitionsToTxnTopic::default().with_name(topic_name(topic)).with_partitions(vec![0]);
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional_id(id))
        .with_v3_and_below_producer_id(producer.0.into())
        .with_v3_and_below_producer_epoch(producer.1)
        .with_v3_and_below_topics(vec![topic]);
    let answer = connection.call(&request, 3)?;
    let topic = answer.results_by_topic_v3_and_below.first();
    let partition = topic.and_then(|topic| topic.results_by_partition.first());
    Ok(partition.context("an answer without a partition")?.partition_error_code)
}

/// Returns the error code.
pub fn end_transaction(connection: &mut Connection, id: &str, producer: (i64, i16), commit: bool) -> Result<i16> {
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional_id(id))
        .with_producer_id(producer.0.into())
        .with_producer_epoch(producer.1)
        .with_committed(commit);
    Ok(connection.call(&request, 3)?.error_code)
}

pub fn transactional_id(id: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(id.to_owned()))
}

/// Commits an offset from outside a group's membership.
pub fn commit(connection: &mut Connection, group: &str, topic: &str, offset: i64) -> Result<()> {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(-1)
        .with_committed_metadata(Some(StrBytes::default()));
    let topic = OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let commit = || {
        let answer = connection.call(&request, 8)?;
        let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
        Ok(partition.context("a commit answer without a partition")?.error_code)
    };
    check(when_loaded(commit, |code| *code)?, "OffsetCommit")
}

/// The committed offset; -1 when there is none.
pub fn committed(connection: &mut Connection, group: &str, topic: &str) -> Result<i64> {
    let topic = OffsetFetchRequestTopic::default().with_name(topic_name(topic)).with_partition_indexes(vec![0]);
    let request = OffsetFetchRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
        .with_topics(Some(vec![topic]));
    let answer = when_loaded(|| connection.call(&request, 7), |answer| answer.error_code)?;
    check(answer.error_code, "OffsetFetch")?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    let partition = partition.context("an offset answer without a partition")?;
    ensure!(partition.error_code == 0, "OffsetFetch: error {}", partition.error_code);
    Ok(partition.committed_offset)
}
