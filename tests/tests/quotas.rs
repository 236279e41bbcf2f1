//! Quotas, end to end: a foreign client is held to its rate without a timeout, and who goes beyond is told and muted.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{CreateTopicsRequest, MetadataRequest, ProduceRequest};
use lockgate_client::admin::{AclOperation, AclResourceType, QuotaAlteration, QuotaEntity, QuotaName};
use lockgate_tests::batch::Batch;
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::{Operator, admin_login};
use lockgate_tests::program::{Surroundings, installed, run, workspace};
use lockgate_tests::requests::{FETCH, PRODUCE, fetch_request, produce_request, produced, topic_name};
use lockgate_tests::wire::{Connection, Login, tls_config};

const MIB: f64 = 1_048_576.0;
/// The client id of bare connections; the operator's own is another.
const CLIENT: &str = "lockgate-tests";

fn named(name: &str) -> Option<QuotaName> {
    Some(QuotaName::Named(name.to_owned()))
}

fn user(name: &str) -> QuotaEntity {
    QuotaEntity { user: named(name), ..QuotaEntity::default() }
}

fn client() -> QuotaEntity {
    QuotaEntity { client_id: named(CLIENT), ..QuotaEntity::default() }
}

fn set(operator: &Operator, entity: QuotaEntity, key: &str, rate: Option<f64>) -> Result<()> {
    let changes = BTreeMap::from([(key.to_owned(), rate)]);
    for (_, result) in operator.wait(operator.admin().alter_quotas(&[QuotaAlteration { entity, changes }], false))? {
        result?;
    }
    Ok(())
}

fn login(broker: &Broker) -> Result<Connection> {
    Connection::login(broker.address(), tls_config(&broker.ca_path())?, &admin_login(broker)?)
}

#[test]
fn one_mebibyte_a_second_is_kept_in_both_directions() -> Result<()> {
    let broker = Broker::start(&Options::default())?;
    let operator = Operator::of(&broker)?;
    let app = Login { user: "quota-app".to_owned(), password: "correct horse battery staple".to_owned() };
    operator.user(&app.user, &app.password)?;
    operator.topic("quota-full", 1, &[])?;
    operator.topic("quota-empty", 1, &[])?;
    let operations = [AclOperation::Read, AclOperation::Write, AclOperation::Describe];
    operator.allow(&app.user, AclResourceType::Topic, "quota-", &operations)?;
    operator.allow(&app.user, AclResourceType::Group, "quota-", &[AclOperation::Read])?;
    set(&operator, user(&app.user), "producer_byte_rate", Some(MIB))?;
    set(&operator, user(&app.user), "consumer_byte_rate", Some(MIB))?;
    let command: Vec<PathBuf> =
        vec![installed("venv/bin/python")?, workspace().join("tests/clients/python/quota_client.py")];
    let surroundings = |login: &Login| Surroundings::of(&broker, login.clone(), "SCRAM-SHA-512", "quota-");
    run(&command, &["fill"], &surroundings(&admin_login(&broker)?))?;
    let app = surroundings(&app);
    let rates = thread::scope(|scope| {
        let both = ["produce", "consume"].map(|name| scope.spawn(|| run(&command, &[name], &app)));
        both.map(|client| client.join().expect("the client's thread does not panic"))
    });
    for verdicts in rates {
        let verdict = verdicts?.into_iter().next().context("no verdict")?;
        let rate = verdict.detail["rate"].as_f64().context("no rate")?;
        println!("{}: {:.3} MiB/s", verdict.scenario, rate / MIB);
        ensure!((rate / MIB - 1.0).abs() < 0.1, "{} went at {rate} bytes a second", verdict.scenario);
    }
    let metrics = broker.metrics()?;
    for key in ["producer_byte_rate", "consumer_byte_rate"] {
        let name = format!("lockgate_throttled_requests_total{{quota=\"{key}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name)).context(name.clone())?;
        ensure!(count.parse::<f64>()? > 0.0, "{name}{count}");
    }
    Ok(())
}

/// Produces so many bytes; returns how long the connection is muted (ms).
fn throttle(connection: &mut Connection, bytes: usize) -> Result<i32> {
    let batch = Batch::of([Bytes::from(vec![7; bytes])]).encode().freeze();
    let answer = connection.call(&produce_request("limited", 0, -1, batch), PRODUCE)?;
    ensure!(produced(&answer)?.0 == 0, "{:?}", ResponseError::try_from_code(produced(&answer)?.0));
    Ok(answer.throttle_time_ms)
}

#[test]
fn who_goes_beyond_is_told_then_muted_and_a_change_counts_at_once() -> Result<()> {
    let broker = Broker::start(&Options::default())?;
    let operator = Operator::of(&broker)?;
    operator.topic("limited", 1, &[])?;
    let mut connection = login(&broker)?;
    ensure!(throttle(&mut connection, 400_000)? == 0, "muted without a quota");
    set(&operator, client(), "producer_byte_rate", Some(100_000.0))?;
    let listed = operator.wait(operator.admin().list_quotas(&client(), true))?;
    ensure!(listed.len() == 1 && listed[0].values.get("producer_byte_rate") == Some(&100_000.0), "{listed:?}");

    // Four requests at once: the answers to those behind the first come when its mute is over.
    let batch = Batch::of([Bytes::from(vec![7; 200_000])]).encode().freeze();
    let request = produce_request("limited", 0, -1, batch);
    let began = Instant::now();
    let sent = (0..3).map(|_| connection.send(&request, PRODUCE)).collect::<Result<Vec<_>>>()?;
    let mut waits = Vec::new();
    for id in sent {
        let answer = connection.answer::<ProduceRequest>(PRODUCE, id)?;
        waits.push((answer.throttle_time_ms, began.elapsed().as_millis() as i32));
    }
    ensure!((800..1200).contains(&waits[0].0) && waits[0].1 < 800, "{waits:?}: answered first, muted afterwards");
    ensure!(waits[1].1 >= waits[0].0 && waits[2].1 >= waits[0].0 + waits[1].0 - 100, "{waits:?}: not muted");
    ensure!((1500..2300).contains(&waits[2].0), "{waits:?}");

    set(&operator, client(), "producer_byte_rate", Some(100_000_000.0))?;
    ensure!(throttle(&mut connection, 200_000)? == 0, "the higher rate does not count");
    set(&operator, client(), "producer_byte_rate", None)?;

    set(&operator, client(), "consumer_byte_rate", Some(100_000.0))?;
    let read = fetch_request("limited", 0, 0, 500, 8 << 20);
    let mut other = login(&broker)?;
    let first = connection.call(&read, FETCH)?;
    let bytes = first.responses[0].partitions[0].records.as_ref().map_or(0, Bytes::len);
    ensure!(bytes > 300_000 && first.throttle_time_ms > 2000, "{bytes} bytes, {} ms", first.throttle_time_ms);
    let empty = other.call(&read, FETCH)?;
    ensure!(empty.responses.is_empty() && empty.throttle_time_ms > 1000, "a client in debt gets {empty:?}");
    set(&operator, client(), "consumer_byte_rate", None)?;
    let status = broker_stop(broker)?;
    ensure!(status, "the broker did not stop in order");
    Ok(())
}

fn broker_stop(mut broker: Broker) -> Result<bool> {
    Ok(broker.stop()?.success())
}

#[test]
fn requests_changes_of_topics_and_connections_have_rates_too() -> Result<()> {
    let mut broker = Broker::start(&Options { plaintext: true, ..Options::default() })?;
    let operator = Operator::of(&broker)?;
    let mut connection = login(&broker)?;
    set(&operator, client(), "request_percentage", Some(0.001))?;
    let mut throttled = 0;
    for _ in 0..3 {
        throttled = throttled.max(connection.call(&MetadataRequest::default(), 9)?.throttle_time_ms);
    }
    ensure!((1..=1000).contains(&throttled), "{throttled} ms for processor time");
    set(&operator, client(), "request_percentage", None)?;

    set(&operator, client(), "controller_mutation_rate", Some(1.0))?;
    let mut create = |name: &str, version| {
        let topic = CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(14);
        let topic = topic.with_replication_factor(1);
        let answer =
            connection.call(&CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000), version)?;
        anyhow::Ok((answer.topics[0].error_code, answer.throttle_time_ms))
    };
    ensure!(create("first", 7)? == (0, 0), "within the quota");
    let (code, wait) = create("second", 7)?;
    ensure!(
        code == ResponseError::ThrottlingQuotaExceeded.code() && (1000..=3000).contains(&wait),
        "{code}, {wait} ms"
    );
    let (code, wait) = create("third", 5)?;
    ensure!(code == 0 && wait > 3000, "an old version is only made to wait: {code}, {wait} ms");

    // The quota outlives a restart.
    let local = QuotaEntity { ip: named("127.0.0.1"), ..QuotaEntity::default() };
    set(&operator, local.clone(), "connection_creation_rate", Some(3.0))?;
    ensure!(broker.stop()?.success(), "the broker did not stop in order");
    broker.start_again()?;
    thread::sleep(Duration::from_millis(1100));
    let mut streams = Vec::new();
    for _ in 0..12 {
        let stream = TcpStream::connect(broker.plaintext_address())?;
        stream.set_read_timeout(Some(Duration::from_millis(1500)))?;
        streams.push(stream);
    }
    // Silence is an open connection, an end is a refused one.
    let ended = |stream: &mut TcpStream| matches!(stream.read(&mut [0; 1]), Ok(0));
    let refused = streams.iter_mut().rev().map(ended).filter(|ended| *ended).count();
    ensure!((8..=9).contains(&refused), "{refused} of 12 connections were refused at 3 per second");
    let metrics = broker.metrics()?;
    let count = format!("lockgate_throttled_requests_total{{quota=\"connection_creation_rate\"}} {refused}\n");
    ensure!(metrics.contains(&count), "{count} is not told");
    Ok(())
}
