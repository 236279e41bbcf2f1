//! Transactions: begun, extended, ended, fenced; and what is told of them.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    EndTxnRequest, InitProducerIdRequest, ListTransactionsRequest, ProduceRequest, ProducerId, TransactionalId,
    TxnOffsetCommitRequest,
};

use super::groups::{group_id, text};
use super::topics::make;
use crate::batch::Batch;
use crate::differential::Peer;
use crate::requests::{PRODUCE, fetch_request, produce_request, topic_name};
use crate::wire::Connection;

pub(super) fn transactional(name: &str) -> TransactionalId {
    TransactionalId(text(name))
}

/// Of a producer that is new, or that says what it had.
pub(super) fn init(name: &str, had: Option<Producer>) -> InitProducerIdRequest {
    let (id, epoch) = had.map_or((-1, -1), |had| (had.id, had.epoch));
    InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional(name)))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(epoch)
}

#[derive(Clone, Copy)]
pub(super) struct Producer {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

impl Producer {
    fn older(self) -> Self {
        Self { epoch: self.epoch - 1, ..self }
    }

    fn newer(self) -> Self {
        Self { epoch: self.epoch + 1, ..self }
    }

    fn stranger(self) -> Self {
        Self { id: self.id + 500_000, ..self }
    }
}

/// One transaction; alone in versions up to 3, in a list after that.
pub(super) fn add(
    name: &str,
    producer: Producer,
    topic: &str,
    partitions: &[i32],
    version: i16,
) -> AddPartitionsToTxnRequest {
    let topic = AddPartitionsToTxnTopic::default().with_name(topic_name(topic)).with_partitions(partitions.to_vec());
    if version <= 3 {
        return AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(transactional(name))
            .with_v3_and_below_producer_id(ProducerId(producer.id))
            .with_v3_and_below_producer_epoch(producer.epoch)
            .with_v3_and_below_topics(vec![topic]);
    }
    let transaction = AddPartitionsToTxnTransaction::default()
        .with_transactional_id(transactional(name))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_topics(vec![topic]);
    AddPartitionsToTxnRequest::default().with_transactions(vec![transaction])
}

pub(super) fn add_offsets(name: &str, producer: Producer, group: &str) -> AddOffsetsToTxnRequest {
    AddOffsetsToTxnRequest::default()
        .with_transactional_id(transactional(name))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_group_id(group_id(group))
}

pub(super) fn end(name: &str, producer: Producer, committed: bool) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(transactional(name))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_committed(committed)
}

pub(super) fn commit_offset(name: &str, producer: Producer, group: &str, topic: &str) -> TxnOffsetCommitRequest {
    let partition = TxnOffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(7)
        .with_committed_leader_epoch(-1)
        .with_committed_metadata(Some(text("note")));
    let topic = TxnOffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    TxnOffsetCommitRequest::default()
        .with_transactional_id(transactional(name))
        .with_group_id(group_id(group))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_generation_id(-1)
        .with_topics(vec![topic])
}

const TRANSACTIONAL: i16 = 0x10;

fn batch(producer: Producer, sequence: i32, value: &'static str) -> Bytes {
    let batch = Batch {
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        base_sequence: sequence,
        attributes: TRANSACTIONAL,
        timestamp: 1_700_000_000_000,
        ..Batch::of([value])
    };
    batch.encode().freeze()
}

pub(super) fn write(name: &str, producer: Producer, topic: &str, sequence: i32) -> ProduceRequest {
    produce_request(topic, 0, -1, batch(producer, sequence, "v")).with_transactional_id(Some(transactional(name)))
}

fn described(names: &[&str]) -> DescribeTransactionsRequest {
    DescribeTransactionsRequest::default()
        .with_transactional_ids(names.iter().map(|name| transactional(name)).collect())
}

/// Begins as a producer; asked again until a transaction before it is at its end.
pub(super) fn begin(peer: &mut Peer, admin: &mut Connection, name: &str, version: i16) -> Result<Producer> {
    let answer = peer.await_answer(admin, &init(name, None), version, |answer| answer.error_code != 51)?;
    crate::wire::check(answer.error_code, "InitProducerId")?;
    Ok(Producer { id: answer.producer_id.0, epoch: answer.producer_epoch })
}

/// Waits until what was decided is carried out.
fn settle(peer: &mut Peer, admin: &mut Connection, name: &str) -> Result<()> {
    let done = ["Empty", "CompleteCommit", "CompleteAbort"];
    peer.await_answer(admin, &described(&[name]), 0, |answer| {
        answer.transaction_states.first().is_some_and(|one| done.contains(&one.transaction_state.as_str()))
    })
    .map(drop)
}

/// A transaction in every version of its requests.
pub(super) fn lives(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (topic, group) = (peer.own("t"), peer.own("g"));
    make(&mut admin, &topic, 2, &[super::topics::FOREVER])?;
    for version in 0..=5 {
        let name = peer.own(&format!("x{version}"));
        peer.ask(&mut admin, "begun", &init(&name, None), version)?;
        let producer = begin(peer, &mut admin, &name, version)?;
        peer.ask(&mut admin, "described when new", &described(&[&name]), 0)?;
        // Versions from 4 on are for brokers among each other.
        let adding = version.min(3);
        peer.ask(&mut admin, "partitions added", &add(&name, producer, &topic, &[0], adding), adding)?;
        peer.ask(&mut admin, "partitions added again", &add(&name, producer, &topic, &[0, 1], adding), adding)?;
        peer.ask(&mut admin, "unknown partition added", &add(&name, producer, &topic, &[0, 9], adding), adding)?;
        peer.ask(&mut admin, "unknown topic added", &add(&name, producer, "nothing", &[0], adding), adding)?;
        let offsets = version.min(4);
        peer.ask(&mut admin, "offsets added", &add_offsets(&name, producer, &group), offsets)?;
        peer.ask(&mut admin, "offsets committed", &commit_offset(&name, producer, &group, &topic), version)?;
        peer.ask(&mut admin, "written", &write(&name, producer, &topic, 0), PRODUCE)?;
        peer.ask(&mut admin, "described", &described(&[&name]), 0)?;
        peer.ask(&mut admin, "ended", &end(&name, producer, version % 2 == 0), version)?;
        settle(peer, &mut admin, &name)?;
        peer.ask(&mut admin, "described when over", &described(&[&name]), 0)?;
        peer.ask(&mut admin, "ended again", &end(&name, producer, version % 2 == 0), version)?;
        peer.ask(&mut admin, "ended otherwise", &end(&name, producer, version % 2 != 0), version)?;
    }
    Ok(())
}

/// Requests of producers that are out of date or unknown, and in the wrong moment.
pub(super) fn refused(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (topic, group, name) = (peer.own("t"), peer.own("g"), peer.own("x"));
    make(&mut admin, &topic, 2, &[super::topics::FOREVER])?;
    for version in [1, 4] {
        peer.ask_once("begun: empty id", &init("", None), version)?;
        peer.ask_once("begun: no timeout", &init(&name, None).with_transaction_timeout_ms(0), version)?;
        peer.ask_once("begun: long timeout", &init(&name, None).with_transaction_timeout_ms(i32::MAX), version)?;
        let idempotent = InitProducerIdRequest::default().with_transaction_timeout_ms(0);
        peer.ask_once("begun without an id", &idempotent, version)?;
    }
    let half = init(&name, None).with_producer_id(ProducerId(5));
    peer.ask_once("begun with half of what it had", &half, 4)?;
    let first = begin(peer, &mut admin, &name, 4)?;
    let producer = begin(peer, &mut admin, &name, 4)?;
    peer.note("the epoch is raised", producer.epoch - first.epoch);
    for version in [1, 3, 4] {
        let adding = version.min(3);
        for (step, who) in [("older", producer.older()), ("newer", producer.newer()), ("stranger", producer.stranger())]
        {
            peer.ask(
                &mut admin,
                &format!("partitions added by {step}"),
                &add(&name, who, &topic, &[0], adding),
                adding,
            )?;
            peer.ask(&mut admin, &format!("offsets added by {step}"), &add_offsets(&name, who, &group), version)?;
            peer.ask(&mut admin, &format!("ended by {step}"), &end(&name, who, true), version)?;
        }
        peer.ask(&mut admin, "ended when nothing was begun", &end(&name, producer, true), version)?;
        peer.ask(&mut admin, "aborted when nothing was begun", &end(&name, producer, false), version)?;
        let nobody = peer.own("nobody");
        peer.ask(&mut admin, "partitions added by nobody", &add(&nobody, producer, &topic, &[0], adding), adding)?;
        peer.ask(&mut admin, "offsets added by nobody", &add_offsets(&nobody, producer, &group), version)?;
        peer.ask(&mut admin, "ended by nobody", &end(&nobody, producer, true), version)?;
        peer.ask(&mut admin, "partitions added without an id", &add("", producer, &topic, &[0], adding), adding)?;
    }
    peer.ask(&mut admin, "written without a partition", &write(&name, producer, &topic, 0), PRODUCE)?;
    let nameless = produce_request(&topic, 0, -1, batch(producer, 0, "v"));
    peer.ask(&mut admin, "written without a transactional id", &nameless, PRODUCE)?;
    peer.ask(&mut admin, "offsets committed without a group", &commit_offset(&name, producer, &group, &topic), 3)?;
    for (step, had) in [("its own", producer), ("an older", producer.older()), ("a stranger's", producer.stranger())] {
        peer.ask(&mut admin, &format!("begun with {step}"), &init(&name, Some(had)), 4)?;
    }
    let last = begin(peer, &mut admin, &name, 4)?;
    peer.ask(&mut admin, "offsets added to no group", &add_offsets(&name, last, ""), 3)?;
    Ok(())
}

/// What is told of transactions and producers while one is open, and after it was fenced.
pub(super) fn told(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (topic, name) = (peer.own("t"), peer.own("x"));
    make(&mut admin, &topic, 2, &[super::topics::FOREVER])?;
    let producer = begin(peer, &mut admin, &name, 4)?;
    peer.ask(&mut admin, "partition added", &add(&name, producer, &topic, &[0], 3), 3)?;
    for version in 4..=5 {
        for (step, partitions) in [("verified", &[0][..]), ("verified what was not added", &[1])] {
            let mut request = add(&name, producer, &topic, partitions, version);
            request.transactions[0].verify_only = true;
            peer.ask(&mut admin, step, &request, version)?;
        }
    }
    peer.ask(&mut admin, "written", &write(&name, producer, &topic, 0), PRODUCE)?;
    let producers = |topic: &str, partitions: &[i32]| {
        let topic = TopicRequest::default().with_name(topic_name(topic)).with_partition_indexes(partitions.to_vec());
        DescribeProducersRequest::default().with_topics(vec![topic])
    };
    peer.ask(&mut admin, "producers", &producers(&topic, &[0, 1]), 0)?;
    peer.ask(&mut admin, "producers: unknown partition", &producers(&topic, &[9]), 0)?;
    peer.ask(&mut admin, "producers: unknown topic", &producers("nothing", &[0]), 0)?;
    peer.ask(&mut admin, "described", &described(&[&name]), 0)?;
    peer.ask(&mut admin, "described: unknown", &described(&[&peer.own("nobody")]), 0)?;
    peer.ask(&mut admin, "described: empty id", &described(&[""]), 0)?;
    peer.ask(&mut admin, "described: twice", &described(&[&name, &name]), 0)?;
    let mut list = |peer: &mut Peer, step: &str, request: &ListTransactionsRequest, version: i16| {
        let answer = peer.call(&mut admin, request, version)?;
        let own = answer.transaction_states.iter().filter(|one| one.transactional_id.starts_with(&peer.own("")));
        let mut own: Vec<_> =
            own.map(|one| (one.transactional_id.to_string(), one.transaction_state.to_string())).collect();
        own.sort();
        let unknown: Vec<_> = answer.unknown_state_filters.iter().map(|state| state.to_string()).collect();
        peer.note(&format!("{step} v{version}"), (answer.error_code, own, unknown));
        Ok::<_, anyhow::Error>(())
    };
    let all = ListTransactionsRequest::default();
    for version in 0..=2 {
        list(peer, "all", &all, version)?;
        for state in ["Ongoing", "ongoing", "Empty", "Nonsense"] {
            list(peer, &format!("in state {state}"), &all.clone().with_state_filters(vec![text(state)]), version)?;
        }
        let ids = |id: i64| all.clone().with_producer_id_filters(vec![ProducerId(id)]);
        list(peer, "of the producer", &ids(producer.id), version)?;
        list(peer, "of a stranger", &ids(producer.id + 500_000), version)?;
        if version >= 1 {
            list(peer, "for long", &all.clone().with_duration_filter(3_600_000), version)?;
            list(peer, "for a moment", &all.clone().with_duration_filter(0), version)?;
        }
        if version >= 2 {
            for pattern in ["transactions-told-.*", "told", "((", ""] {
                let request = all.clone().with_transactional_id_pattern(Some(text(pattern)));
                list(peer, &format!("by the pattern {pattern:?}"), &request, version)?;
            }
        }
    }
    let next = begin(peer, &mut admin, &name, 4)?;
    peer.note("the epoch is raised", next.epoch > producer.epoch);
    peer.ask(&mut admin, "written by the fenced", &write(&name, producer, &topic, 1), PRODUCE)?;
    peer.ask(&mut admin, "partition added by the fenced", &add(&name, producer, &topic, &[0], 3), 3)?;
    peer.ask(&mut admin, "ended by the fenced", &end(&name, producer, true), 4)?;
    peer.ask(&mut admin, "described when fenced", &described(&[&name]), 0)?;
    Ok(())
}

/// What a reader of decided records gets, and one of all.
pub(super) fn read(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (topic, name) = (peer.own("t"), peer.own("x"));
    make(&mut admin, &topic, 1, &[super::topics::FOREVER])?;
    let producer = begin(peer, &mut admin, &name, 4)?;
    // From the transaction's own records on: the markers before it have the time of their moment.
    let reads = |peer: &mut Peer, when: &str, from: i64| {
        for version in [4, 7, 11, 12] {
            for offset in from..from + 3 {
                let all = fetch_request(&topic, 0, offset, 0, 1 << 20);
                peer.ask_once(&format!("all from {offset} {when}"), &all, version)?;
                let decided = all.with_isolation_level(1);
                peer.ask_once(&format!("decided from {offset} {when}"), &decided, version)?;
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    for (sequence, committed) in [(0, true), (1, false)] {
        let kind = if committed { "to be committed" } else { "to be aborted" };
        peer.ask(&mut admin, &format!("added {kind}"), &add(&name, producer, &topic, &[0], 3), 3)?;
        peer.ask(&mut admin, &format!("written {kind}"), &write(&name, producer, &topic, sequence), PRODUCE)?;
        reads(peer, &format!("before the end, {kind}"), 2 * i64::from(sequence))?;
        peer.ask(&mut admin, &format!("ended {kind}"), &end(&name, producer, committed), 4)?;
        settle(peer, &mut admin, &name)?;
        peer.await_answer(&mut admin, &fetch_request(&topic, 0, 0, 0, 1 << 20), 12, |answer| {
            answer.responses[0].partitions[0].last_stable_offset == 2 * i64::from(sequence) + 2
        })?;
        for version in [4, 11, 12] {
            let decided = fetch_request(&topic, 0, 2 * i64::from(sequence) + 2, 0, 1 << 20).with_isolation_level(1);
            peer.ask_once(&format!("decided at the end, {kind}"), &decided, version)?;
        }
    }
    // How much of the log an answer brings is the broker's own business.
    let (mut offset, mut aborted) = (0, BTreeSet::new());
    while offset < 4 {
        let decided = fetch_request(&topic, 0, offset, 1000, 1 << 20).with_isolation_level(1);
        let answer = admin.call(&decided, 12)?;
        let partition = &answer.responses[0].partitions[0];
        aborted.extend(partition.aborted_transactions.iter().flatten().map(|one| one.first_offset));
        let end = partition.records.as_ref().and_then(|records| end_of(records));
        offset = end.with_context(|| format!("no decided records at {offset}"))?;
    }
    peer.note("aborted", aborted);
    Ok(())
}

/// The offset behind the last whole batch.
fn end_of(records: &[u8]) -> Option<i64> {
    let (mut at, mut end) = (0, None);
    while let Some(head) = records.get(at..at + 27) {
        let number = |from: usize| i32::from_be_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
        let base = i64::from(number(0)) << 32 | i64::from(number(4) as u32);
        at += 12 + usize::try_from(number(8)).ok()?;
        end = Some(base + i64::from(number(23)) + 1);
    }
    end
}
