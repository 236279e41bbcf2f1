//! `lockgate_quota`.

use anyhow::{Result, ensure};
use lockgate_client::admin::{QuotaAlteration, QuotaEntity, QuotaName};
use lockgate_tests::operator::Operator;

use crate::stage::{Stage, map, only};

fn named(name: &str) -> Option<QuotaName> {
    Some(QuotaName::Named(name.to_owned()))
}

fn pair() -> QuotaEntity {
    QuotaEntity { user: Some(QuotaName::Default), client_id: named("reports, daily"), ip: None }
}

fn alice() -> QuotaEntity {
    QuotaEntity { user: named("alice"), ..QuotaEntity::default() }
}

fn address() -> QuotaEntity {
    QuotaEntity { ip: named("10.0.0.7"), ..QuotaEntity::default() }
}

fn alter(operator: &Operator, entity: QuotaEntity, changes: &[(&str, Option<f64>)]) -> Result<()> {
    let alteration = QuotaAlteration { entity, changes: map(changes) };
    only(operator.wait(operator.admin().alter_quotas(&[alteration], false))?)
}

fn rates(operator: &Operator, entity: &QuotaEntity) -> Result<Vec<(String, f64)>> {
    let found = operator.wait(operator.admin().list_quotas(entity, true))?;
    Ok(found.into_iter().flat_map(|quota| quota.values).collect())
}

fn quotas(of_pair: &str) -> String {
    format!(
        r#"
resource "lockgate_quota" "pair" {{
  user      = "<default>"
  client_id = "reports, daily"
  {of_pair}
}}

resource "lockgate_quota" "alice" {{
  user               = "alice"
  request_percentage = 12.1
}}

resource "lockgate_quota" "address" {{
  ip                       = "10.0.0.7"
  connection_creation_rate = 5
}}
"#
    )
}

#[test]
fn quotas_are_made_imported_changed_watched_and_removed() -> Result<()> {
    let stage = Stage::new()?;
    let operator = &stage.operator;
    stage.applies(
        &quotas("producer_byte_rate = 1000\n  consumer_byte_rate = 2000"),
        "3 added, 0 changed, 0 destroyed",
    )?;
    stage.imports("lockgate_quota.pair", "user=<default>,client-id=reports%2C daily")?;
    stage.imports("lockgate_quota.alice", "user=alice")?;
    stage.imports("lockgate_quota.address", "ip=10.0.0.7")?;
    stage.plans_nothing()?;
    stage.finds_no_drift()?;
    stage.run(&["state", "rm", "lockgate_quota.alice"])?.succeeded()?;
    stage.run(&["import", "lockgate_quota.alice", "alice"])?.says("is not the id of a quota")?;
    stage.run(&["import", "lockgate_quota.alice", "user=alice"])?.succeeded()?;

    // In place, with a rate that is taken out removed, and one of somebody else left.
    alter(operator, pair(), &[("controller_mutation_rate", Some(7.0))])?;
    let second = quotas("producer_byte_rate = 1500\n  request_percentage = 0.5");
    stage.applies(&second, "0 added, 1 changed, 0 destroyed")?;
    let foreign = ("controller_mutation_rate".to_owned(), 7.0);
    let own = [("producer_byte_rate".to_owned(), 1500.0), ("request_percentage".to_owned(), 0.5)];
    ensure!(rates(operator, &pair())? == [&[foreign.clone()][..], &own].concat());
    alter(operator, pair(), &[("consumer_byte_rate", Some(9.0))])?;
    stage.plans_nothing()?;

    alter(operator, alice(), &[("request_percentage", Some(3.25))])?;
    alter(operator, address(), &[("connection_creation_rate", Some(6.0))])?;
    let said = stage.drifts("0 to add, 3 to change, 0 to destroy", "each rate", |operator| {
        alter(operator, pair(), &[("producer_byte_rate", None), ("request_percentage", Some(0.75))])
    })?;
    for change in ["= 3.25 -> 12.1", "= 6 -> 5", "+ producer_byte_rate = 1500", "= 0.75 -> 0.5"] {
        said.says(change)?;
    }
    stage.drifts("1 to add, 0 to change, 0 to destroy", "removed by somebody else", |operator| {
        alter(operator, alice(), &[("request_percentage", None)])
    })?;
    stage
        .replaces(&second, &[("\"alice\"\n", "\"bob\"\n"), ("reports, daily", "reports"), ("10.0.0.7", "<default>")])?;

    stage.destroys(3)?;
    ensure!(rates(operator, &pair())? == [("consumer_byte_rate".to_owned(), 9.0), foreign]);
    ensure!(rates(operator, &alice())?.is_empty() && rates(operator, &address())?.is_empty());
    Ok(())
}
