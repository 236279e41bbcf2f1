//! Transactions with clients that others wrote, and exactly-once while the broker is killed again and again.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use lockgate_client::admin::{AclOperation, AclResourceType};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::Operator;
use lockgate_tests::program::{Surroundings, installed, run, workspace};
use lockgate_tests::wire::Login;
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
    let surroundings = Surroundings {
        bootstrap: broker.bootstrap(),
        cut: broker.bootstrap(),
        ca: broker.ca_path(),
        login,
        mechanism: "SCRAM-SHA-512",
        prefix: PREFIX.to_owned(),
    };
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

#[test]
fn every_input_comes_out_exactly_once_while_the_broker_is_killed() -> Result<()> {
    let _turn = one_at_a_time();
    let (mut broker, surroundings) = start(&["eos-in", "eos-out"])?;
    let command = program()?;
    let client = thread::spawn(move || run(&command, &["exactly_once"], &surroundings).map(drop));
    let mut kills = 0;
    while !client.is_finished() && kills < 8 {
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
