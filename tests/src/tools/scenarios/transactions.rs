//! `kafka-transactions`. What is not there is not asked for: Kafka's client would wait for it for a minute.

use std::time::Duration;

use anyhow::Result;
use kafka_protocol::messages::{DescribeTransactionsRequest, InitProducerIdRequest};

use crate::batch::Batch;
use crate::requests::{
    PRODUCE, add_to_transaction, end_transaction, produce_request, produced, transactional_id, when_loaded,
};
use crate::tools::Stage;
use crate::until;
use crate::wire::{Connection, check};

const TRANSACTIONAL: i16 = 0x10;
/// The longest that brokers take: a transaction must not end on its own while tools look at it.
const TIMEOUT_MS: i32 = 900_000;

/// Begins a transaction that has written one record.
fn begin(connection: &mut Connection, id: &str, topic: &str) -> Result<(i64, i16)> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional_id(id)))
        .with_transaction_timeout_ms(TIMEOUT_MS);
    let answer = when_loaded(|| connection.call(&request, 4), |answer| answer.error_code)?;
    check(answer.error_code, "InitProducerId")?;
    let producer = (answer.producer_id.0, answer.producer_epoch);
    check(add_to_transaction(connection, id, producer, topic)?, "AddPartitionsToTxn")?;
    let batch = Batch {
        producer_id: producer.0,
        producer_epoch: producer.1,
        base_sequence: 0,
        attributes: TRANSACTIONAL,
        ..Batch::of(["a record"])
    };
    let request =
        produce_request(topic, 0, -1, batch.encode().freeze()).with_transactional_id(Some(transactional_id(id)));
    check(produced(&connection.call(&request, PRODUCE)?)?.0, "Produce")?;
    Ok(producer)
}

/// Waits until what was decided is written to the partitions.
fn await_end(connection: &mut Connection, id: &str) -> Result<()> {
    let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional_id(id)]);
    until(Duration::from_secs(30), "the transaction is at its end", || {
        let answer = connection.call(&request, 0).ok()?;
        answer.transaction_states.first()?.transaction_state.starts_with("Complete").then_some(())
    })
}

pub(super) fn watched(stage: &mut Stage<'_>) -> Result<()> {
    stage.run(&["kafka-topics --create --topic @t --partitions 2", "kafka-transactions list"])?;
    let mut admin = stage.admin()?;
    let topic = stage.own("t");
    let done = stage.own("done");
    let producer = begin(&mut admin, &done, &topic)?;
    check(end_transaction(&mut admin, &done, producer, true)?, "EndTxn")?;
    await_end(&mut admin, &done)?;
    begin(&mut admin, &stage.own("open"), &topic)?;
    stage.run_unordered(&[
        "kafka-transactions list --transactional-id-pattern @.*",
        "kafka-transactions list --transactional-id-pattern @op.*",
        "kafka-transactions list --transactional-id-pattern @none.*",
        "kafka-transactions list --duration-filter 3600000",
        "kafka-transactions describe --transactional-id @open",
        "kafka-transactions describe --transactional-id @done",
        "kafka-transactions describe --transactional-id @none",
        "kafka-transactions describe-producers --topic @t --partition 0",
        "kafka-transactions describe-producers --topic @t --partition 0 --broker-id 1",
        "kafka-transactions describe-producers --topic @t --partition 1",
        "kafka-transactions find-hanging --broker-id 1",
        "kafka-transactions find-hanging --topic @t",
        "kafka-transactions find-hanging --topic @t --partition 0",
        "kafka-transactions find-hanging",
        "kafka-transactions abort --topic @t --partition 0 --start-offset 0",
        "kafka-transactions abort --topic @t --partition 0 --start-offset 2",
        "kafka-transactions describe-producers --topic @t --partition 0",
        "kafka-get-offsets --topic @t --partitions 0",
        "kafka-transactions describe --transactional-id @open",
        "kafka-transactions forceTerminateTransaction --transactionalId @open",
        "kafka-transactions forceTerminateTransaction --transactionalId @none",
        "kafka-transactions list --transactional-id-pattern @open",
    ])
}
