//! The broker beside Apache Kafka. `make differential` plays every scenario.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockgate_client::admin::{ScramMechanism, ScramUpsert};
use lockgate_tests::differential::scenarios::{ALL, SHORT};
use lockgate_tests::differential::{Pair, compare, reasons};
use lockgate_tests::operator::Operator;
use lockgate_tests::program::workspace;
use lockgate_tests::until;

#[test]
fn answers_are_as_apache_kafkas_but_for_what_is_listed() -> Result<()> {
    let scenarios: Vec<_> = ALL.iter().filter(|scenario| SHORT.contains(&scenario.name)).collect();
    ensure!(scenarios.len() == SHORT.len(), "a scenario has another name");
    let pair = Pair::start()?;
    let report = compare(&pair, &scenarios).with_context(|| pair.log_tails())?;
    report.check()?;
    ensure!(report.fields > 1000, "only {} fields were compared", report.fields);
    users_get_both_mechanisms(&Operator::plain(pair.kafka_address())?)
}

/// The CLI's and the provider's way of making a user works with Apache Kafka too.
fn users_get_both_mechanisms(operator: &Operator) -> Result<()> {
    let upsert = |mechanism| ScramUpsert {
        user: "both".to_owned(),
        mechanism,
        iterations: 4096,
        password: "correct horse battery staple".into(),
    };
    let upserts = [ScramMechanism::Sha256, ScramMechanism::Sha512].map(upsert).to_vec();
    for (_, result) in operator.wait(operator.admin().alter_users(upserts, &[]))? {
        result?;
    }
    until(Duration::from_secs(20), "the user has both", || {
        let described = operator.wait(operator.admin().describe_users(Some(&["both"]))).ok()?;
        let credentials = described.get("both")?.as_ref().ok()?;
        (credentials.len() == 2).then_some(())
    })
}

#[test]
fn users_are_told_of_every_difference() -> Result<()> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let page = words(&std::fs::read_to_string(workspace().join("docs/compatibility.md"))?);
    let untold: Vec<_> = reasons()?.into_iter().filter(|reason| !page.contains(&words(reason))).collect();
    ensure!(untold.is_empty(), "docs/compatibility.md does not say:\n{}", untold.join("\n"));
    Ok(())
}
