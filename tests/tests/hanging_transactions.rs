//! An operator finds a transaction that nobody ends and ends it, with the command line alone.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use lockgate_client::admin::{AclOperation, AclResourceType};
use lockgate_tests::broker::{Broker, Options, binary};
use lockgate_tests::operator::Operator;
use lockgate_tests::program::{Surroundings, installed, run, workspace};
use lockgate_tests::wire::Login;
use serde_json::Value;

const PREFIX: &str = "txn-";
const TOPIC: &str = "txn-hanging";
const ID: &str = "txn-left";

struct Scene {
    broker: Broker,
    surroundings: Surroundings,
}

impl Scene {
    fn set() -> Result<Self> {
        let broker = Broker::start(&Options::default())?;
        let operator = Operator::of(&broker)?;
        let login = Login { user: "txn-app".to_owned(), password: "correct horse battery staple".to_owned() };
        operator.user(&login.user, &login.password)?;
        let all = [AclOperation::Read, AclOperation::Write, AclOperation::Describe];
        operator.allow(&login.user, AclResourceType::Topic, PREFIX, &all)?;
        operator.allow(&login.user, AclResourceType::Group, PREFIX, &[AclOperation::Read])?;
        operator.allow(&login.user, AclResourceType::TransactionalId, PREFIX, &all[1..])?;
        for topic in [TOPIC, "txn-aiokafka"] {
            operator.topic(topic, 1, &[])?;
        }
        let surroundings = Surroundings::of(&broker, login, "SCRAM-SHA-512", PREFIX);
        Ok(Self { broker, surroundings })
    }

    fn play(&self, scenarios: &[&str]) -> Result<()> {
        let program: PathBuf = workspace().join("tests/clients/python/open_transactions_client.py");
        run(&[installed("venv/bin/python")?, program], scenarios, &self.surroundings)
            .map(drop)
            .map_err(|error| error.context(self.broker.log_tail()))
    }

    /// `lockgate transaction …`, as the cluster's admin.
    fn command(&self, args: &[&str]) -> Result<Output> {
        Command::new(binary("lockgate")?)
            .args(["--json", "--cluster", &format!("file://{}", self.broker.data().display())])
            .args(["--bootstrap-servers", &self.broker.bootstrap(), "transaction"])
            .args(args)
            .output()
            .context("lockgate could not be started")
    }

    fn answer(&self, args: &[&str]) -> Result<Value> {
        let output = self.command(args)?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{args:?}: {complaint}\n{}", self.broker.log_tail());
        serde_json::from_slice(&output.stdout).with_context(|| format!("{args:?}"))
    }

    fn listed(&self, filter: &[&str]) -> Result<usize> {
        let args = [&["list"][..], filter].concat();
        self.answer(&args)?.as_array().map(Vec::len).context("a list")
    }
}

#[test]
fn an_operator_ends_a_transaction_that_hangs() -> Result<()> {
    let scene = Scene::set()?;
    scene.play(&["leave_open", "held_up"])?;

    for found in [&["--state", "Ongoing"][..], &["--id", "txn-l.*"], &["--longer-than", "1"]] {
        ensure!(scene.listed(found)? == 1, "{found:?} leaves out the open transaction");
    }
    for other in [&["--state", "CompleteAbort"][..], &["--id", "txn"], &["--longer-than", "3600000"]] {
        ensure!(scene.listed(other)? == 0, "{other:?} does not filter");
    }
    let described = scene.answer(&["describe", ID])?;
    ensure!(described[0]["state"] == "Ongoing" && described[0]["timeout_ms"] == 600_000, "{described}");
    ensure!(described[0]["topics"][0]["topic"] == TOPIC, "{described}");

    let place = [TOPIC, "--partition", "0"];
    let open = scene.answer(&[&["producers"][..], &place, &["--open"]].concat())?;
    ensure!(open.as_array().is_some_and(|open| open.len() == 1), "{open}");
    ensure!(open[0]["transaction_start"] == 0 && open[0]["producer_id"] == described[0]["producer_id"], "{open}");

    let aborted = scene.answer(&[&["abort"][..], &place, &["--start-offset", "0", "--yes"]].concat())?;
    ensure!(aborted["producer_id"] == open[0]["producer_id"], "{aborted}");
    scene.play(&["freed"])?;
    let open = scene.answer(&[&["producers"][..], &place, &["--open"]].concat())?;
    ensure!(open == Value::Array(Vec::new()), "{open}");
    Ok(())
}

#[test]
fn what_is_not_there_is_said() -> Result<()> {
    let scene = Scene::set()?;
    for (args, words) in [
        (&["describe", "txn-nobody"][..], "TRANSACTIONAL_ID_NOT_FOUND"),
        (&["list", "--state", "Sleeping"], "Sleeping"),
        (&["list", "--id", "("], "INVALID_REGULAR_EXPRESSION"),
        (&["producers", "txn-nothing", "--partition", "0"], "UNKNOWN_TOPIC_OR_PARTITION"),
        (&["abort", TOPIC, "--partition", "0", "--start-offset", "0", "--yes"], "No such transaction is open"),
    ] {
        let output = scene.command(args)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && said.contains(words), "{args:?}: {} {said}", output.status);
    }
    Ok(())
}

#[test]
fn aiokafka_commits_and_aborts() -> Result<()> {
    Scene::set()?.play(&["aiokafka_transactions"])
}
