//! The command line tools of Apache Kafka against Apache Kafka and Lockgate, and what they print compared line by line.

mod jvm;
mod names;
mod output;
pub mod scenarios;
mod stage;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::differential::differences::Differences;
use crate::differential::{Access, Difference, Pair, Report};
use crate::program::workspace;
use jvm::Jvm;
pub use stage::Stage;
use stage::Step;

/// Command lines about one subject, in their order.
pub struct Scenario {
    /// Also what topics, groups and users of the scenario begin with.
    pub name: &'static str,
    pub play: fn(&mut Stage<'_>) -> Result<()>,
}

/// The list of differences that are meant: `SCENARIO/COMMAND LINE out LINE -> LINE`, and `err` and `status` likewise.
fn list_path() -> PathBuf {
    workspace().join("tests/tools/differences.txt")
}

/// Why the two may differ, one sentence for each reason.
pub fn reasons() -> Result<Vec<String>> {
    Ok(Differences::read(&list_path())?.reasons().into_iter().map(str::to_owned).collect())
}

/// Plays scenarios with both brokers, one after the other, and compares.
pub fn compare(pair: &Pair, scenarios: &[&Scenario]) -> Result<Report> {
    let mut list = Differences::read(&list_path())?;
    let mut report = Report::default();
    let mut jvm = Jvm::start()?;
    let (kafka, lockgate) = (pair.kafka_access(), pair.lockgate_access()?);
    for scenario in scenarios {
        let mut play = |name: &str, access: &Access| {
            let mut stage = Stage::new(scenario.name, access, &mut jvm)?;
            (scenario.play)(&mut stage).with_context(|| format!("{} with {name}", scenario.name))?;
            Ok::<_, anyhow::Error>(stage.into_steps())
        };
        let (kafka, lockgate) = (play("Kafka", &kafka)?, play("Lockgate", &lockgate)?);
        report.steps += kafka.len();
        report.fields += kafka.iter().flat_map(|step| &step.printed).map(|(_, lines)| lines.len()).sum::<usize>();
        for difference in differences(scenario.name, &kafka, &lockgate)? {
            match list.reason(&difference).map(str::to_owned) {
                Some(reason) => report.meant.push((difference, reason)),
                None => report.unlisted.push(difference),
            }
        }
    }
    let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name).collect();
    let all = scenarios.len() == scenarios::ALL.len();
    report.unneeded = list.unneeded(&names, all).into_iter().map(str::to_owned).collect();
    Ok(report)
}

fn differences(scenario: &str, kafka: &[Step], lockgate: &[Step]) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    ensure!(kafka.len() == lockgate.len(), "{scenario} went different ways");
    for (one, other) in kafka.iter().zip(lockgate) {
        ensure!(one.command == other.command, "{scenario}: {} and {}", one.command, other.command);
        for ((field, one_lines), (_, other_lines)) in one.printed.iter().zip(&other.printed) {
            for (kafka, lockgate) in output::differing(one_lines, other_lines) {
                let step = format!("{scenario}/{}", one.command);
                found.push(Difference { step, field: (*field).to_owned(), kafka, lockgate });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_and_a_status_that_differ_are_told() {
        let step = |status: &str, out: &str| Step {
            command: "kafka-topics --list".to_owned(),
            printed: [
                ("status", vec![status.to_owned()]),
                ("out", out.lines().map(str::to_owned).collect()),
                ("err", Vec::new()),
            ],
        };
        let found = differences("s", &[step("0", "a\nb")], &[step("1", "a")]).expect("the same steps");
        let told: Vec<_> = found.iter().map(Difference::to_string).collect();
        assert_eq!(told, ["s/kafka-topics --list status 0 -> 1", "s/kafka-topics --list out b -> (absent)"]);
        assert!(differences("s", &[step("0", "")], &[]).is_err());
    }
}
