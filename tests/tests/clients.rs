//! Clients that others wrote, each over TLS and SCRAM: what they produce, consume, commit, rebalance and administer, and
//! that the broker stores their batches as they came.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockgate_client::admin::{AclOperation, AclResourceType};
use lockgate_tests::broker::{Broker, Options, free_ports};
use lockgate_tests::operator::{Operator, admin_login};
use lockgate_tests::program::{Surroundings, installed, java_client, run, workspace};
use lockgate_tests::proxy::Proxy;
use lockgate_tests::segments::stored_batches;
use lockgate_tests::wire::Login;
use uuid::Uuid;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// How often the proxy cuts all connections.
const CUT_PERIOD: Duration = Duration::from_millis(300);

/// Rebalances are about time; two clients at once on two cores would wait for each other.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A client program and what it can do.
struct Client {
    name: &'static str,
    command: Vec<PathBuf>,
    codecs: &'static [&'static str],
    mechanism: &'static str,
}

/// One broker with topics for one client, and a user with just the ACLs it needs.
struct Stage {
    broker: Broker,
    proxy: Proxy,
    prefix: String,
    user: Login,
    codec_topics: Vec<Uuid>,
}

impl Stage {
    fn set(name: &str) -> Result<Self> {
        let [proxy_port] = free_ports();
        let broker = Broker::start(&Options { cut_advertised: Some(proxy_port), ..Options::default() })?;
        let proxy = Proxy::start(proxy_port, broker.cut_address(), CUT_PERIOD)?;
        let operator = Operator::of(&broker)?;
        let prefix = format!("{name}-");
        let user = Login { user: format!("{name}-app"), password: "correct horse battery staple".to_owned() };
        operator.user(&user.user, &user.password)?;
        operator.allow(
            &user.user,
            AclResourceType::Topic,
            &prefix,
            &[AclOperation::Read, AclOperation::Write, AclOperation::Describe],
        )?;
        operator.allow(&user.user, AclResourceType::Group, &prefix, &[AclOperation::Read])?;
        let mut codec_topics = Vec::new();
        for codec in CODECS {
            codec_topics.push(operator.topic(&format!("{prefix}codec-{codec}"), 1, &[])?);
        }
        operator.topic(&format!("{prefix}group"), 4, &[])?;
        operator.topic(&format!("{prefix}idempotent"), 1, &[])?;
        Ok(Self { broker, proxy, prefix, user, codec_topics })
    }

    fn surroundings(&self, client: &Client, login: &Login) -> Surroundings {
        Surroundings {
            bootstrap: self.broker.bootstrap(),
            cut: self.proxy.bootstrap(),
            ca: self.broker.ca_path(),
            login: login.clone(),
            mechanism: client.mechanism,
            prefix: self.prefix.clone(),
        }
    }

    /// Every batch in the codec's topic is stored with that codec: the broker did not touch it.
    fn check_stored_codecs(&self, client: &Client) -> Result<()> {
        for (number, codec) in CODECS.iter().enumerate().filter(|(_, codec)| client.codecs.contains(codec)) {
            let batches = stored_batches(self.broker.data(), self.codec_topics[number], 0)?;
            ensure!(!batches.is_empty(), "no batch of {codec} is stored");
            let records: i32 = batches.iter().map(|batch| batch.count).sum();
            ensure!(records == 200, "{records} records of {codec} are stored");
            for batch in batches {
                ensure!(
                    usize::try_from(batch.codec()) == Ok(number),
                    "a batch of {codec} is stored with codec {}",
                    batch.codec()
                );
            }
        }
        Ok(())
    }
}

fn judge(client: &Client) -> Result<()> {
    let _turn = one_at_a_time();
    let mut stage = Stage::set(client.name)?;
    put_through(client, &mut stage).with_context(|| stage.broker.log_tail())
}

fn put_through(client: &Client, stage: &mut Stage) -> Result<()> {
    let admin = admin_login(&stage.broker)?;
    run(&client.command, &["admin"], &stage.surroundings(client, &admin))?;
    let app = stage.surroundings(client, &stage.user);
    run(&client.command, &["codecs", "group"], &app)?;
    stage.check_stored_codecs(client)?;
    stage.proxy.set_cutting(true);
    run(&client.command, &["idempotent"], &app)?;
    ensure!(stage.proxy.cuts() >= 3, "only {} connections were cut: nothing was tried", stage.proxy.cuts());
    ensure!(stage.broker.is_running(), "the broker is gone");
    let status = stage.broker.stop()?;
    ensure!(status.success(), "the broker stopped with {status}");
    Ok(())
}

fn python(name: &'static str, program: &str, mechanism: &'static str) -> Result<Client> {
    let command = vec![installed("venv/bin/python")?, workspace().join("tests/clients/python").join(program)];
    Ok(Client { name, command, codecs: &CODECS, mechanism })
}

#[test]
fn kcat() -> Result<()> {
    judge(&python("kcat", "kcat_client.py", "SCRAM-SHA-256")?)
}

#[test]
fn confluent_kafka() -> Result<()> {
    judge(&python("confluent", "confluent_client.py", "SCRAM-SHA-512")?)
}

#[test]
fn kafka_python() -> Result<()> {
    judge(&python("kafka-python", "kafka_python_client.py", "SCRAM-SHA-256")?)
}

#[test]
fn aiokafka() -> Result<()> {
    judge(&python("aiokafka", "aiokafka_client.py", "SCRAM-SHA-512")?)
}

fn java(version: &str, mechanism: &'static str) -> Result<Client> {
    Ok(Client { name: "java", command: java_client(version)?, codecs: &CODECS, mechanism })
}

#[test]
fn java_4_4() -> Result<()> {
    judge(&java("4.4.0", "SCRAM-SHA-512")?)
}

#[test]
fn java_3_9() -> Result<()> {
    judge(&java("3.9.1", "SCRAM-SHA-256")?)
}

#[test]
fn java_2_8() -> Result<()> {
    judge(&java("2.8.2", "SCRAM-SHA-512")?)
}

#[test]
fn kafkajs() -> Result<()> {
    let command = vec![PathBuf::from("node"), installed("node/kafkajs_client.js")?];
    judge(&Client { name: "kafkajs", command, codecs: &CODECS, mechanism: "SCRAM-SHA-512" })
}

#[test]
fn sarama() -> Result<()> {
    let command = vec![installed("sarama_client")?];
    judge(&Client { name: "sarama", command, codecs: &["none", "gzip", "snappy", "lz4"], mechanism: "SCRAM-SHA-256" })
}

#[test]
fn krafka() -> Result<()> {
    let command =
        vec![lockgate_tests::broker::binary("krafka-client").context("the krafka client is part of this crate")?];
    judge(&Client { name: "krafka", command, codecs: &CODECS, mechanism: "SCRAM-SHA-512" })
}
