//! Transactions with clients that others wrote, and exactly-once while the broker is killed again and again.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use kafka_protocol::messages::{EndTxnRequest, InitProducerIdRequest, ProduceRequest, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use lockgate_client::admin::{AclOperation, AclResourceType};
use lockgate_tests::batch::Batch;
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::longer;
use lockgate_tests::operator::Operator;
use lockgate_tests::program::{Surroundings, installed, run, workspace};
use lockgate_tests::requests::{produce_request, produced, when_loaded};
use lockgate_tests::wire::{Connection, Login, check};
use rand::Rng;

const PREFIX: &str = "txn-";

fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn start(topics: &[&str]) -> Result<(Broker, Surroundings)> {
    let broker = Broker::start(&Options::default())?;
    let operator = Operator::of(&broker)?;
    let login = Login { user: "txn-app".to_owned(), password: "correct horse battery staple".to_owned() };
    operator.user(&login.user, &login.password)?;
    let all = [AclOperation::Read, AclOperation::Write, AclOperation::Describe];
    operator.allow(&login.user, AclResourceType::Topic, PREFIX, &all)?;
    operator.allow(&login.user, AclResourceType::Group, PREFIX, &[AclOperation::Read])?;
    let write = [AclOperation::Write, AclOperation::Describe];
    operator.allow(&login.user, AclResourceType::TransactionalId, PREFIX, &write)?;
    for topic in topics {
        operator.topic(&format!("{PREFIX}{topic}"), 3, &[])?;
    }
    let surroundings = Surroundings::of(&broker, login, "SCRAM-SHA-512", PREFIX);
    Ok((broker, surroundings))
}

fn program() -> Result<Vec<PathBuf>> {
    let program = workspace().join("tests/clients/python/transactions_client.py");
    Ok(vec![installed("venv/bin/python")?, program])
}

#[test]
fn clients_commit_abort_fence_and_time_out() -> Result<()> {
    let _turn = one_at_a_time();
    let topics = ["plain", "fenced", "timeout", "offsets-in", "offsets-out", "kafka-python"];
    let (broker, surroundings) = start(&topics)?;
    let scenarios = ["commit_and_abort", "fencing", "timeout", "offsets", "kafka_python"];
    run(&program()?, &scenarios, &surroundings).map(drop).map_err(|error| error.context(broker.log_tail()))
}

/// Nothing may overtake the first batch of a transaction, which waits for the coordinator.
#[test]
fn batches_sent_at_once_begin_a_transaction_in_their_order() -> Result<()> {
    const PIPELINED: i32 = 5;
    const TRANSACTIONAL: i16 = 0x10;
    // The first version whose clients leave it to the broker to add partitions.
    const PRODUCE: i16 = 12;
    let broker = Broker::start(&Options { plaintext: true, ..Options::default() })?;
    Operator::of(&broker)?.topic("txn-pipelined", 1, &[])?;
    let mut connection = Connection::plain(broker.plaintext_address())?;
    let id = TransactionalId(StrBytes::from_static_str("txn-pipelined"));
    let init = InitProducerIdRequest::default().with_transaction_timeout_ms(60_000);
    let init = init.with_transactional_id(Some(id.clone()));
    let producer = when_loaded(|| connection.call(&init, 5), |answer| answer.error_code)?;
    check(producer.error_code, "InitProducerId")?;
    let (mut producer_id, mut epoch) = (producer.producer_id, producer.producer_epoch);
    for transaction in 0..20 {
        let mut sent = Vec::new();
        for sequence in 0..PIPELINED {
            let batch = Batch {
                producer_id: producer_id.0,
                producer_epoch: epoch,
                base_sequence: sequence,
                attributes: TRANSACTIONAL,
                ..Batch::of([format!("{transaction}-{sequence}")])
            };
            let request = produce_request("txn-pipelined", 0, -1, batch.encode().freeze());
            sent.push(connection.send(&request.with_transactional_id(Some(id.clone())), PRODUCE)?);
        }
        let mut offsets = Vec::new();
        for correlation in sent {
            let (code, offset) = produced(&connection.answer::<ProduceRequest>(PRODUCE, correlation)?)?;
            check(code, &format!("Produce in transaction {transaction}"))?;
            offsets.push(offset);
        }
        ensure!(offsets.is_sorted_by(|one, next| one < next), "{offsets:?}");
        let end = EndTxnRequest::default()
            .with_transactional_id(id.clone())
            .with_producer_id(producer_id)
            .with_producer_epoch(epoch)
            .with_committed(true);
        let ended = connection.call(&end, 5)?;
        check(ended.error_code, "EndTxn")?;
        (producer_id, epoch) = (ended.producer_id, ended.producer_epoch);
    }
    Ok(())
}

#[test]
fn every_input_comes_out_exactly_once_while_the_broker_is_killed() -> Result<()> {
    let _turn = one_at_a_time();
    let (mut broker, surroundings) = start(&["eos-in", "eos-out"])?;
    let command = program()?;
    let client = thread::spawn(move || run(&command, &["exactly_once"], &surroundings).map(drop));
    let mut kills: u32 = 0;
    while !client.is_finished() && kills < longer::<u32>(8) {
        thread::sleep(Duration::from_millis(rand::rng().random_range(1000..3500)));
        broker.kill()?;
        broker.start_again()?;
        kills += 1;
    }
    let played = client.join().map_err(|_| anyhow!("the client's thread panicked"))?;
    played.map_err(|error| error.context(broker.log_tail()))?;
    ensure!(kills >= 4, "the broker was killed {kills} times only: the test tests little");
    println!("{kills} kills");
    Ok(())
}
