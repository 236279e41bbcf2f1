//! Leader epochs as consumers use them (KIP-320): whoever read what a crash then took away learns from where on.

use anyhow::{Context, Result, ensure};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::{BrokerId, DeleteRecordsRequest, OffsetForLeaderEpochRequest};
use lockgate_tests::batch::{Batch, parse};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::{Operator, admin_login};
use lockgate_tests::requests::{Fetched, fetch_request, fetch_with, produce, topic_name};
use lockgate_tests::segments::segment_files;
use lockgate_tests::wire::{Connection, check, tls_config};

const TOPIC: &str = "epochs";
const NONE: (i32, i64) = (-1, -1);

fn connect(broker: &Broker) -> Result<Connection> {
    Connection::login(broker.address(), tls_config(&broker.ca_path())?, &admin_login(broker)?)
}

fn append(connection: &mut Connection, count: usize) -> Result<()> {
    for _ in 0..count {
        produce(connection, TOPIC, 0, Batch::of(["value"]).encode().freeze())?;
    }
    Ok(())
}

fn read(connection: &mut Connection, offset: i64, current: i32, last_fetched: i32) -> Result<Fetched> {
    let mut request = fetch_request(TOPIC, 0, offset, 0, 1 << 20);
    let partition = &mut request.topics[0].partitions[0];
    (partition.current_leader_epoch, partition.last_fetched_epoch) = (current, last_fetched);
    fetch_with(connection, &request)
}

/// The epoch of the batch that holds `offset`.
fn epoch_at(connection: &mut Connection, offset: i64) -> Result<i32> {
    let (batches, _) = parse(read(connection, offset, -1, -1)?.records);
    Ok(batches.first().with_context(|| format!("nothing at {offset}"))?.leader_epoch)
}

/// Error code, epoch and its end.
fn end_of(connection: &mut Connection, current: i32, epoch: i32) -> Result<(i16, (i32, i64))> {
    let wanted = OffsetForLeaderPartition::default().with_current_leader_epoch(current).with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default().with_topic(topic_name(TOPIC)).with_partitions(vec![wanted]);
    let request = OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let answer = connection.call(&request, 4)?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first()).context("no partition")?;
    Ok((partition.error_code, (partition.leader_epoch, partition.end_offset)))
}

fn delete_before(connection: &mut Connection, offset: i64) -> Result<()> {
    let wanted = DeleteRecordsPartition::default().with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![wanted]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let answer = connection.call(&request, 2)?;
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first()).context("no partition")?;
    check(partition.error_code, "DeleteRecords")
}

/// Asks with every epoch around what is known: `first` for offsets 0 to 2, `last` from 3 on, to 4.
fn ask(connection: &mut Connection, first: i32, last: i32) -> Result<()> {
    let code = |error: ResponseError| error.code();
    for (offset, current, last_fetched, wanted) in [
        (2, -1, first, Ok(NONE)),
        (3, -1, first, Ok(NONE)),
        (4, last, last, Ok(NONE)),
        (4, -1, first, Ok((first, 3))),
        (2, -1, last - 1, Ok((first, 3))),
        (2, -1, first - 1, Ok((first - 1, 0))),
        (2, -1, last + 1, Err(ResponseError::OffsetOutOfRange)),
        (2, last - 1, first, Err(ResponseError::FencedLeaderEpoch)),
        (2, last + 1, first, Err(ResponseError::UnknownLeaderEpoch)),
    ] {
        let fetched = read(connection, offset, current, last_fetched)?;
        let found = (fetched.code, fetched.diverging, fetched.records.is_empty());
        let wanted = match wanted {
            Ok(diverging) => (0, diverging, diverging != NONE),
            Err(error) => (code(error), NONE, true),
        };
        ensure!(found == wanted, "fetch of {offset} in {current}, {last_fetched}: {found:?} instead of {wanted:?}");
        let bounds = (fetched.high_watermark, fetched.log_start);
        ensure!(fetched.code != 0 || bounds == (5, 0), "fetch of {offset} tells {bounds:?}");
    }
    for (current, epoch, wanted) in [
        (-1, first - 1, (0, (first - 1, 0))),
        (-1, first, (0, (first, 3))),
        (-1, last - 1, (0, (first, 3))),
        (last, last, (0, (last, 5))),
        (-1, last + 1, (0, NONE)),
        (-1, -1, (0, NONE)),
        (last - 1, first, (code(ResponseError::FencedLeaderEpoch), NONE)),
        (last + 1, first, (code(ResponseError::UnknownLeaderEpoch), NONE)),
    ] {
        let found = end_of(connection, current, epoch)?;
        ensure!(found == wanted, "the end of {epoch}, asked in {current}, is {found:?} instead of {wanted:?}");
    }
    Ok(())
}

#[test]
fn readers_learn_where_their_log_differs() -> Result<()> {
    let mut broker = Broker::start(&Options::default())?;
    let topic = Operator::of(&broker)?.topic(TOPIC, 1, &[])?;
    append(&mut connect(&broker)?, 3)?;
    // The epoch between the two has no records.
    for _ in 0..2 {
        broker.kill()?;
        broker.start_again()?;
    }
    let mut connection = connect(&broker)?;
    append(&mut connection, 2)?;
    let (first, last) = (epoch_at(&mut connection, 0)?, epoch_at(&mut connection, 3)?);
    ensure!(last == first + 2, "the epochs are {first} and {last}");
    ask(&mut connection, first, last)?;

    // A crash takes the last record, which a reader has seen; another one gets its offset.
    broker.kill()?;
    let path = segment_files(broker.data(), topic, 0)?.pop().context("no segment file")?;
    let (_, whole) = parse(std::fs::read(&path)?.into());
    std::fs::OpenOptions::new().write(true).open(&path)?.set_len(whole as u64 - 1)?;
    broker.start_again()?;
    let mut connection = connect(&broker)?;
    append(&mut connection, 2)?;
    let fetched = read(&mut connection, 5, -1, last)?;
    ensure!(fetched.code == 0 && fetched.diverging == (last, 4), "{} {:?}", fetched.code, fetched.diverging);
    ensure!(fetched.records.is_empty(), "records follow that are of another log");
    ensure!(end_of(&mut connection, -1, last)? == (0, (last, 4)), "the old epoch has another end");

    // What is deleted cannot be compared, wherever it differed.
    delete_before(&mut connection, 2)?;
    let fetched = read(&mut connection, 1, -1, last - 1)?;
    let error = ResponseError::try_from_code(fetched.code);
    ensure!(error == Some(ResponseError::OffsetOutOfRange), "a fetch below the log start is {error:?}");
    ensure!(read(&mut connection, 2, -1, first)?.diverging == NONE, "the rest is as it was");
    ensure!(end_of(&mut connection, -1, first - 1)? == (0, (first - 1, 2)), "earlier epochs end at the log start");
    Ok(())
}
