//! Committed offsets, end to end: the lag that the metrics tell, and a topic that takes another's name across a crash.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockgate_tests::batch::Batch;
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::{Operator, admin_login};
use lockgate_tests::requests::{commit, committed, produce};
use lockgate_tests::until;
use lockgate_tests::wire::{Connection, tls_config};

const PATIENCE: Duration = Duration::from_secs(60);

fn login(broker: &Broker) -> Result<Connection> {
    Connection::login(broker.address(), tls_config(&broker.ca_path())?, &admin_login(broker)?)
}

fn has_line(broker: &Broker, line: &str) -> Result<bool> {
    Ok(broker.metrics()?.lines().any(|found| found == line))
}

#[test]
fn the_lag_of_a_group_is_told_and_ends_with_the_group() -> Result<()> {
    let broker = Broker::start(&Options::default())?;
    let operator = Operator::of(&broker)?;
    operator.topic("lag", 1, &[])?;
    let mut connection = login(&broker)?;
    for value in ["a", "b", "c"] {
        produce(&mut connection, "lag", 0, Batch::of([value]).encode().freeze())?;
    }
    commit(&mut connection, "behind", "lag", 1)?;
    let lag = |records: i64| format!("lockgate_group_lag{{group=\"behind\",topic=\"lag\",partition=\"0\"}} {records}");
    ensure!(has_line(&broker, &lag(2))?, "two records are not read:\n{}", broker.metrics()?);
    ensure!(has_line(&broker, "lockgate_group_members{group=\"behind\"} 0")?, "nobody is in the group");
    ensure!(has_line(&broker, "lockgate_group_state{group=\"behind\",state=\"Empty\"} 1")?, "the group is empty");
    ensure!(has_line(&broker, "lockgate_group_series_omitted 0")?, "there is room for one group");
    produce(&mut connection, "lag", 0, Batch::of(["d"]).encode().freeze())?;
    ensure!(has_line(&broker, &lag(3))?, "three records are not read:\n{}", broker.metrics()?);
    commit(&mut connection, "behind", "lag", 4)?;
    ensure!(has_line(&broker, &lag(0))?, "everything is read:\n{}", broker.metrics()?);
    operator.wait(operator.admin().delete_groups(&["behind"]))?;
    until(PATIENCE, "the group's series are gone", || {
        let metrics = broker.metrics().ok()?;
        (!metrics.contains("group=\"behind\"")).then_some(())
    })
}

#[test]
fn a_new_topic_begins_without_offsets_wherever_the_broker_was_killed() -> Result<()> {
    let mut broker = Broker::start(&Options::default())?;
    for round in 0..5 {
        let operator = Operator::of(&broker)?;
        operator.topic("reborn", 1, &[])?;
        let mut connection = login(&broker)?;
        ensure!(committed(&mut connection, "reader", "reborn")? == -1, "round {round}: offsets of another topic");
        commit(&mut connection, "reader", "reborn", 7)?;
        ensure!(committed(&mut connection, "reader", "reborn")? == 7, "round {round}: what is committed is not there");
        for (_, deleted) in operator.wait(operator.admin().delete_topics(&["reborn"]))? {
            deleted?;
        }
        broker.kill()?;
        broker.start_again().context("after the kill")?;
    }
    Ok(())
}
