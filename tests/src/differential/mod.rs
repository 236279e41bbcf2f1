//! The same requests to Apache Kafka and to Lockgate, and the answers compared field by field.

mod differences;
mod flatten;
mod peer;
pub mod scenarios;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::program::workspace;
use differences::Differences;
use flatten::Fields;
pub use peer::{Pair, Peer, check};

/// Requests about one subject, with the steps in their order.
pub struct Scenario {
    /// Also what topics, groups and users of the scenario begin with.
    pub name: &'static str,
    pub play: fn(&mut Peer) -> Result<()>,
}

/// What one peer answered in one step.
#[derive(Clone, Debug)]
pub struct Step {
    pub name: String,
    pub fields: Fields,
}

/// Where the two differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `SCENARIO/STEP`
    pub step: String,
    pub field: String,
    pub kafka: Option<String>,
    pub lockgate: Option<String>,
}

/// Of one run.
#[derive(Debug, Default)]
pub struct Report {
    pub steps: usize,
    pub fields: usize,
    /// Listed, with their reasons.
    pub meant: Vec<(Difference, String)>,
    pub unlisted: Vec<Difference>,
    /// Entries of the list that no difference needed.
    pub unneeded: Vec<String>,
}

/// The list of differences that are meant.
pub fn list_path() -> PathBuf {
    workspace().join("tests/differential/differences.txt")
}

/// Plays scenarios with both peers, one after the other, and compares.
pub fn compare(pair: &Pair, scenarios: &[&Scenario]) -> Result<Report> {
    let mut list = Differences::read(&list_path())?;
    let mut report = Report::default();
    for scenario in scenarios {
        let play = |mut peer: Peer| {
            (scenario.play)(&mut peer).with_context(|| format!("{} with {}", scenario.name, peer.name()))?;
            Ok::<_, anyhow::Error>(peer.into_steps())
        };
        let (kafka, lockgate) = (play(pair.kafka(scenario.name))?, play(pair.lockgate(scenario.name))?);
        report.steps += kafka.len();
        report.fields += kafka.iter().map(|step| step.fields.len()).sum::<usize>();
        for difference in differences(scenario.name, &kafka, &lockgate)? {
            match list.reason(&difference.step, &difference.field).map(str::to_owned) {
                Some(reason) => report.meant.push((difference, reason)),
                None => report.unlisted.push(difference),
            }
        }
    }
    let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name).collect();
    report.unneeded = list.unneeded(&names).into_iter().map(str::to_owned).collect();
    Ok(report)
}

fn differences(scenario: &str, kafka: &[Step], lockgate: &[Step]) -> Result<Vec<Difference>> {
    let names = |steps: &[Step]| steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>();
    if names(kafka) != names(lockgate) {
        bail!("{scenario} went different ways:\nKafka:    {:?}\nLockgate: {:?}", names(kafka), names(lockgate));
    }
    let mut found = Vec::new();
    for (one, other) in kafka.iter().zip(lockgate) {
        let fields = one.fields.keys().chain(other.fields.keys().filter(|field| !one.fields.contains_key(*field)));
        for field in fields {
            let (kafka, lockgate) = (one.fields.get(field).cloned(), other.fields.get(field).cloned());
            if kafka != lockgate {
                found.push(Difference {
                    step: format!("{scenario}/{}", one.name),
                    field: field.clone(),
                    kafka,
                    lockgate,
                });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, fields: &[(&str, &str)]) -> Step {
        let fields = fields.iter().map(|(field, value)| (field.to_string(), value.to_string())).collect();
        Step { name: name.to_owned(), fields }
    }

    #[test]
    fn what_differs_is_found_on_either_side() {
        let kafka = [step("a v1", &[("x", "1"), ("y", "2")])];
        let lockgate = [step("a v1", &[("x", "1"), ("y", "3"), ("z", "4")])];
        let found = differences("s", &kafka, &lockgate).expect("the same steps");
        let told: Vec<_> = found.iter().map(|one| (&*one.step, &*one.field, one.kafka.as_deref())).collect();
        assert_eq!(told, [("s/a v1", "y", Some("2")), ("s/a v1", "z", None)]);
        assert!(differences("s", &kafka, &[]).is_err());
    }
}
