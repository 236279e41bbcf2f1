//! Kafka's command line tools on the broker and on Apache Kafka. `make tools` runs every scenario.

use anyhow::{Context, Result, ensure};
use lockgate_tests::differential::Pair;
use lockgate_tests::program::workspace;
use lockgate_tests::tools::scenarios::{ALL, SHORT};
use lockgate_tests::tools::{compare, reasons};

#[test]
fn tools_print_what_they_print_with_apache_kafka_but_for_what_is_listed() -> Result<()> {
    let scenarios: Vec<_> = ALL.iter().filter(|scenario| SHORT.contains(&scenario.name)).collect();
    ensure!(scenarios.len() == SHORT.len(), "a scenario has another name");
    let pair = Pair::start()?;
    let report = compare(&pair, &scenarios).with_context(|| pair.log_tails())?;
    report.check()?;
    ensure!(report.fields > 200, "only {} lines were compared", report.fields);
    Ok(())
}

#[test]
fn users_are_told_of_every_difference() -> Result<()> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let page = words(&std::fs::read_to_string(workspace().join("docs/compatibility.md"))?);
    let untold: Vec<_> = reasons()?.into_iter().filter(|reason| !page.contains(&words(reason))).collect();
    ensure!(untold.is_empty(), "docs/compatibility.md does not say:\n{}", untold.join("\n"));
    Ok(())
}
