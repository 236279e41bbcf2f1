//! The consumer group protocol (KIP-848) with librdkafka: members, expressions, static members, a killed broker, and groups
//! with members of both protocols.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use lockgate_client::admin::{AclOperation, AclResourceType};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::Operator;
use lockgate_tests::program::{Surroundings, installed, run, workspace};
use lockgate_tests::until;
use lockgate_tests::wire::Login;

const PREFIX: &str = "kip848-";
/// How long a group may take to come to rest on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rebalances are about time; two tests at once on two cores would wait for each other.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

struct Stage {
    broker: Broker,
    operator: Operator,
    surroundings: Surroundings,
}

impl Stage {
    fn set(topics: &[(&str, i32)]) -> Result<Self> {
        let groups = ["consumer_heartbeat_interval_ms = 300", "consumer_session_timeout_ms = 20000"];
        let options = Options { groups: groups.map(str::to_owned).to_vec(), ..Options::default() };
        let broker = Broker::start(&options)?;
        let operator = Operator::of(&broker)?;
        let login = Login { user: "kip848-app".to_owned(), password: "correct horse battery staple".to_owned() };
        operator.user(&login.user, &login.password)?;
        let topic = [AclOperation::Read, AclOperation::Write, AclOperation::Describe];
        operator.allow(&login.user, AclResourceType::Topic, PREFIX, &topic)?;
        operator.allow(&login.user, AclResourceType::Group, PREFIX, &[AclOperation::Read, AclOperation::Delete])?;
        for (name, partitions) in topics {
            operator.topic(name, *partitions, &[])?;
        }
        let surroundings = Surroundings::of(&broker, login, "SCRAM-SHA-512", PREFIX);
        Ok(Self { broker, operator, surroundings })
    }

    /// Runs a scenario, and `meanwhile` beside it.
    fn play(&mut self, scenario: &str, meanwhile: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let program = workspace().join("tests/clients/python/consumer_group_client.py");
        let command: Vec<PathBuf> = vec![installed("venv/bin/python")?, program];
        let (scenario, surroundings) = (scenario.to_owned(), self.surroundings.clone());
        let client = thread::spawn(move || run(&command, &[&scenario], &surroundings).map(drop));
        let beside = meanwhile(self);
        let played = client.join().map_err(|_| anyhow!("the client's thread panicked"))?;
        played.and(beside).with_context(|| self.broker.log_tail())?;
        ensure!(self.broker.is_running(), "the broker is gone");
        Ok(())
    }

    /// Waits until the metrics show a stable group with this many members.
    fn wait_stable(&self, members: usize) -> Result<()> {
        let count = format!("lockgate_members {members}");
        until(PATIENCE, "the group is stable", || {
            let metrics = self.broker.metrics().ok()?;
            let stable = metrics.lines().any(|line| line == "lockgate_groups{state=\"Stable\"} 1");
            (stable && metrics.lines().any(|line| line == count)).then_some(())
        })
    }
}

#[test]
fn members_share_out_commit_and_resume() -> Result<()> {
    let _turn = one_at_a_time();
    Stage::set(&[("kip848-new", 4)])?.play("group", |_| Ok(()))
}

#[test]
fn an_expression_finds_later_topics_and_no_hidden_ones() -> Result<()> {
    let _turn = one_at_a_time();
    let mut stage = Stage::set(&[("kip848-re-1", 1), ("hidden-re-9", 5)])?;
    stage.play("regex", |stage| {
        stage.wait_stable(1)?;
        thread::sleep(Duration::from_secs(2));
        stage.operator.topic("kip848-re-2", 2, &[]).map(drop)
    })
}

#[test]
fn a_static_member_comes_back_to_its_partitions() -> Result<()> {
    let _turn = one_at_a_time();
    Stage::set(&[("kip848-static", 4)])?.play("static_member", |_| Ok(()))
}

#[test]
fn a_killed_broker_fences_nobody() -> Result<()> {
    let _turn = one_at_a_time();
    let mut stage = Stage::set(&[("kip848-survives", 4)])?;
    stage.play("survives", |stage| {
        stage.wait_stable(2)?;
        thread::sleep(Duration::from_secs(3));
        stage.broker.kill()?;
        stage.broker.start_again()?;
        Operator::of(&stage.broker)?.topic("kip848-back", 1, &[]).map(drop)
    })
}

#[test]
fn classic_members_stay_while_others_have_moved_on() -> Result<()> {
    let _turn = one_at_a_time();
    Stage::set(&[("kip848-mixed", 4)])?.play("upgrade", |_| Ok(()))
}
