//! Every record arrives as it was, consumer groups go on where they were, and nothing is lost when MirrorMaker is killed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::protocol::StrBytes;
use lockgate_client::admin::TopicPartition;
use lockgate_tests::batch::now_ms;
use lockgate_tests::kcat::{Kcat, Shown};
use lockgate_tests::mirror::PATIENCE;
use lockgate_tests::operator::Operator;
use lockgate_tests::records::{Record, Sender, encode};
use lockgate_tests::requests::{
    PRODUCE, add_to_transaction, end_transaction, init_transactions, produce_request, produced, transactional_id,
};
use lockgate_tests::until;
use lockgate_tests::wire::{Connection, check};

use crate::stage::{Stage, count};

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 3;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// Of each codec, in each partition.
const RECORDS: usize = 60;
/// Records of a transaction.
const IN_TRANSACTION: usize = 5;
/// All that consumers of committed records see.
const ALL: usize = CODECS.len() * RECORDS * PARTITIONS as usize + IN_TRANSACTION;
/// The key type of transactional ids.
const TRANSACTION: i8 = 1;
const NOT_YET: [ResponseError; 3] =
    [ResponseError::CoordinatorLoadInProgress, ResponseError::CoordinatorNotAvailable, ResponseError::NotCoordinator];
/// A group in the midst of the topic, and one that has read everything.
const BEHIND: &str = "behind";
const CAUGHT_UP: &str = "caught-up";

/// Committed and aborted transactions, which leave gaps, then records with keys and headers in every codec.
fn fill(stage: &Stage) -> Result<()> {
    let mut connection = Connection::plain(stage.kafka.plaintext_address())?;
    for (round, commit) in [false, true, false].into_iter().enumerate() {
        transaction(&mut connection, &format!("tx-{round}"), commit)?;
    }
    for codec in CODECS {
        for partition in 0..PARTITIONS {
            let line = |i| format!("key-{}:{codec} {partition} {i}\n", i % 7);
            stage.from.produce(TOPIC, partition, codec, &(0..RECORDS).map(line).collect::<String>())?;
        }
    }
    Ok(())
}

fn transaction(connection: &mut Connection, id: &str, commit: bool) -> Result<()> {
    // Looking for the coordinator makes its topic, which takes a while.
    let key = StrBytes::from_string(id.to_owned());
    let wanted = FindCoordinatorRequest::default().with_key_type(TRANSACTION).with_coordinator_keys(vec![key]);
    let found = until(PATIENCE, "transactions are served", || {
        let found = connection.call(&wanted, 4).map(|answer| answer.coordinators[0].error_code);
        (!matches!(found, Ok(code) if code != 0)).then_some(found)
    });
    check(found??, "FindCoordinator")?;
    let (code, producer) = until(PATIENCE, "the coordinator is ready", || match init_transactions(connection, id) {
        Ok((code, _)) if NOT_YET.iter().any(|error| error.code() == code) => None,
        answer => Some(answer),
    })??;
    check(code, "InitProducerId")?;
    check(add_to_transaction(connection, id, producer, TOPIC)?, "AddPartitionsToTxn")?;
    let record = |i| Record {
        timestamp: now_ms(),
        key: None,
        value: Some(format!("{id} {i}").into()),
        headers: vec![("commit".into(), Some(commit.to_string().into()))],
    };
    let records: Vec<_> = (0..IN_TRANSACTION).map(record).collect();
    let (producer_id, producer_epoch) = producer;
    let sender = Sender { producer_id, producer_epoch, base_sequence: 0, transactional: true };
    let mut request = produce_request(TOPIC, 0, -1, encode(&records, sender));
    request.transactional_id = Some(transactional_id(id));
    check(produced(&connection.call(&request, PRODUCE)?)?.0, "Produce")?;
    check(end_transaction(connection, id, producer, commit)?, "EndTxn")
}

/// The records of each partition, in order, with everything but their offsets.
fn contents(records: &[Shown]) -> BTreeMap<i32, Vec<Shown>> {
    let mut contents: BTreeMap<i32, Vec<Shown>> = BTreeMap::new();
    for record in records {
        contents.entry(record.partition).or_default().push(Shown { offset: 0, ..record.clone() });
    }
    contents
}

fn committed(operator: &Operator, group: &str) -> Result<BTreeMap<i32, i64>> {
    let offsets = operator.wait(operator.admin().committed_offsets(group))?;
    offsets.into_iter().map(|(place, committed)| Ok((place.partition, committed?.offset))).collect()
}

/// Commits a group's offset in the midst of each partition on Kafka. Returns the offsets.
fn commit_midway(stage: &Stage, source: &[Shown]) -> Result<BTreeMap<i32, i64>> {
    let middle = |partition| {
        let own: Vec<_> = source.iter().filter(|record| record.partition == partition).collect();
        (partition, own[own.len() / 2].offset)
    };
    let middle: BTreeMap<i32, i64> = (0..PARTITIONS).map(middle).collect();
    let place = |partition| TopicPartition { topic: TOPIC.into(), partition };
    let offsets = middle.iter().map(|(&partition, &offset)| (place(partition), offset)).collect();
    let answers = stage.at_kafka.wait(stage.at_kafka.admin().commit_offsets(BEHIND, &offsets))?;
    answers.into_values().collect::<Result<(), _>>()?;
    Ok(middle)
}

/// What a reader sees, once it is as many records as that.
fn read(kcat: &Kcat, wanted: usize) -> Option<Vec<Shown>> {
    kcat.read(TOPIC).ok().filter(|found| found.len() >= wanted)
}

#[test]
fn records_and_groups_move_and_nothing_is_lost() -> Result<()> {
    let stage = Stage::set()?;
    stage.at_kafka.topic(TOPIC, PARTITIONS, &[])?;
    stage.at_lockgate.topic(TOPIC, PARTITIONS, &[])?;
    fill(&stage)?;
    stage.admit_at_kafka(stage.folder()?.path())?;
    stage.admit_at_lockgate()?;
    let source = stage.from.read(TOPIC)?;
    ensure!(source.len() == ALL, "{} records instead of {ALL} are on Kafka", source.len());
    let middle = commit_midway(&stage, &source)?;
    ensure!(stage.from.read_as(CAUGHT_UP, TOPIC)?.len() == ALL, "a group does not get everything on Kafka");

    let mut mirror = stage.mirror()?;
    let target = stage.until(&mut mirror, "the records are copied", || read(&stage.to, ALL))?;
    ensure!(contents(&target) == contents(&source), "the records are others than on Kafka");

    let all = contents(&target);
    let ends: BTreeMap<i32, i64> = all.iter().map(|(&partition, records)| (partition, records.len() as i64)).collect();
    let caught_up = stage.until(&mut mirror, "the offsets of who has read everything are exact", || {
        committed(&stage.at_lockgate, CAUGHT_UP).ok().filter(|committed| *committed == ends).map(drop)
    });
    caught_up.with_context(|| format!("{:?} of {ends:?}", committed(&stage.at_lockgate, CAUGHT_UP)))?;
    // MirrorMaker keeps few places that lie far back, and none for some partitions: there a group begins at the start.
    let translated = committed(&stage.at_lockgate, BEHIND)?;

    // Who was behind misses nothing, and gets once more only what follows the translated offset.
    let resumed = contents(&stage.to.read_as(BEHIND, TOPIC)?);
    for (partition, all) in &all {
        let (place, middle) = (translated.get(partition).copied().unwrap_or(0), middle[partition]);
        let done = source.iter().filter(|record| record.partition == *partition && record.offset < middle).count();
        ensure!((0..=done as i64).contains(&place), "{place} in {partition}, where {done} records had been read");
        ensure!(resumed[partition] == all[place as usize..], "the group does not go on at {place} in {partition}");
    }
    let again = stage.to.read_as(CAUGHT_UP, TOPIC)?;
    ensure!(again.is_empty(), "a group that had read everything gets {again:?}");

    // MirrorMaker is killed, and goes on.
    drop(mirror);
    let late: Vec<String> = (0..PARTITIONS).map(|partition| format!("late {partition}")).collect();
    for (partition, value) in (0..).zip(&late) {
        stage.from.produce(TOPIC, partition, "zstd", &format!("key:{value}\n"))?;
    }
    let mut mirror = stage.mirror()?;
    let target = stage.until(&mut mirror, "what is new is copied", || {
        let target = stage.to.read(TOPIC).ok()?;
        late.iter().all(|value| count(&target, value) > 0).then_some(target)
    })?;
    for record in &source {
        ensure!(count(&target, record.value()) > 0, "{record:?} is lost");
    }
    let news = stage.to.read_as(CAUGHT_UP, TOPIC)?;
    ensure!(late.iter().all(|value| count(&news, value) > 0), "{news:?}");
    mirror.stop()?;
    stage.refused_nothing()
}
