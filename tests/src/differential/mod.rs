//! The same requests to Apache Kafka and to Lockgate, and the answers compared field by field.

pub(crate) mod differences;
mod flatten;
mod pair;
mod peer;
pub mod scenarios;
pub(crate) mod settle;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::program::workspace;
use differences::Differences;
use flatten::Fields;
pub use pair::{Access, Client, Pair};
pub use peer::Peer;

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

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "(absent)".to_owned());
        write!(formatter, "{} {} {} -> {}", self.step, self.field, said(&self.kafka), said(&self.lockgate))
    }
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
    /// Versions that Lockgate serves and no scenario asked, when all were played.
    pub unasked: Vec<String>,
}

impl Report {
    /// Fails with what is not as listed.
    pub fn check(&self) -> Result<()> {
        let unneeded = self.unneeded.iter().map(|place| format!("listed, and no difference any more: {place}"));
        let unasked = self.unasked.iter().map(|version| format!("served, and not asked: {version}"));
        let lines: Vec<_> = self.unlisted.iter().map(Difference::to_string).chain(unneeded).chain(unasked).collect();
        ensure!(lines.is_empty(), "{} differences are not as listed:\n{}", lines.len(), lines.join("\n"));
        Ok(())
    }
}

/// The list of differences that are meant.
fn list_path() -> PathBuf {
    workspace().join("tests/differential/differences.txt")
}

/// Why the two may differ, one sentence for each reason.
pub fn reasons() -> Result<Vec<String>> {
    Ok(Differences::read(&list_path())?.reasons().into_iter().map(str::to_owned).collect())
}

/// Plays scenarios with both peers, one after the other, and compares.
pub fn compare(pair: &Pair, scenarios: &[&Scenario]) -> Result<Report> {
    let mut list = Differences::read(&list_path())?;
    let mut report = Report::default();
    let mut asked = BTreeSet::new();
    for scenario in scenarios {
        let play = |mut peer: Peer| {
            (scenario.play)(&mut peer).with_context(|| format!("{} with {}", scenario.name, peer.name()))?;
            Ok::<_, anyhow::Error>(peer.into_steps())
        };
        let ((kafka, _), (lockgate, now)) = (play(pair.kafka(scenario.name))?, play(pair.lockgate(scenario.name))?);
        asked.extend(now);
        report.steps += kafka.len();
        report.fields += kafka.iter().map(|step| flatten::count(&step.fields)).sum::<usize>();
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
    if all {
        report.unasked = unasked(pair, &asked)?;
    }
    Ok(report)
}

/// What Lockgate says that it serves, without what was asked.
fn unasked(pair: &Pair, asked: &BTreeSet<(i16, i16)>) -> Result<Vec<String>> {
    let served = pair.lockgate("versions").admin()?.api_versions()?;
    let served = served.into_iter().flat_map(|(key, min, max)| (min..=max).map(move |version| (key, version)));
    Ok(served.filter(|version| !asked.contains(version)).map(|(key, version)| format!("{key} v{version}")).collect())
}

fn differences(scenario: &str, kafka: &[Step], lockgate: &[Step]) -> Result<Vec<Difference>> {
    let names = |steps: &[Step]| steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>();
    if names(kafka) != names(lockgate) {
        bail!("{scenario} went different ways:\nKafka:    {:?}\nLockgate: {:?}", names(kafka), names(lockgate));
    }
    let pairs = kafka.iter().zip(lockgate);
    Ok(pairs.flat_map(|(one, other)| in_step(format!("{scenario}/{}", one.name), &one.fields, &other.fields)).collect())
}

/// A part that only one has, or that is a list or struct for only one, is told once and not field by field.
fn in_step(step: String, kafka: &Fields, lockgate: &Fields) -> Vec<Difference> {
    let difference = |field: &str, kafka: Option<String>, lockgate: Option<String>| Difference {
        step: step.clone(),
        field: field.to_owned(),
        kafka,
        lockgate,
    };
    let (closed, other) = (kafka.get(peer::CONNECTION), lockgate.get(peer::CONNECTION));
    if closed != other {
        let said = |fields: &Fields| fields.get(peer::CONNECTION).cloned().or_else(|| Some(codes(fields)));
        return vec![difference(peer::CONNECTION, said(kafka), said(lockgate))];
    }
    let mut found: Vec<Difference> = Vec::new();
    let all: BTreeSet<&String> = kafka.keys().chain(lockgate.keys()).collect();
    let mut whole: Vec<&str> = Vec::new();
    for field in all {
        let inside =
            |part: &&str| field.strip_prefix(*part).is_some_and(|rest| rest.starts_with('.') || rest.starts_with('['));
        if whole.iter().any(inside) {
            continue;
        }
        let (one, other) = (kafka.get(field), lockgate.get(field));
        if one == other || freer(field, kafka, lockgate) {
            continue;
        }
        whole.push(field);
        found.push(difference(field, one.cloned(), other.cloned()));
    }
    found
}

/// Messages are words: they may differ where the codes do, and Lockgate may explain an error that Kafka only names.
fn freer(field: &str, kafka: &Fields, lockgate: &Fields) -> bool {
    let Some(parent) = field.strip_suffix("error_message") else { return false };
    let code = |fields: &Fields| fields.get(&format!("{parent}error_code")).cloned();
    let (one, other) = (code(kafka), code(lockgate));
    one != other || (one.is_some_and(|code| code != "0") && kafka.get(field).is_some_and(|message| message == "None"))
}

/// What an answer says, in short.
fn codes(fields: &Fields) -> String {
    let codes = fields.iter().filter(|(field, _)| field.ends_with("error_code")).map(|(_, code)| code.as_str());
    let codes: BTreeSet<_> = codes.collect();
    format!("answered {}", codes.into_iter().collect::<Vec<_>>().join(" "))
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
        let told: Vec<_> = found.iter().map(Difference::to_string).collect();
        assert_eq!(told, ["s/a v1 y 2 -> 3", "s/a v1 z (absent) -> 4"]);
        assert!(differences("s", &kafka, &[]).is_err());
    }

    #[test]
    fn a_part_that_one_lacks_is_told_once() {
        let kafka = [step("a v1", &[("l", "list"), ("l[1]", "item"), ("l[1].x", "7"), ("l1", "0")])];
        let lockgate = [step("a v1", &[("l", "list"), ("l1", "0")])];
        let closed = [step("a v1", &[(peer::CONNECTION, "closed")])];
        let told = |one: &[Step], other: &[Step]| {
            let found = differences("s", one, other).expect("the same steps");
            found.iter().map(Difference::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(&kafka, &lockgate), ["s/a v1 l[1] item -> (absent)"]);
        let coded = [step("a v1", &[("error_code", "42")])];
        assert_eq!(told(&closed, &coded), ["s/a v1 connection closed -> answered 42"]);
    }

    #[test]
    fn a_message_more_is_no_difference_and_a_message_less_is_one() {
        let with = |code: &str, message: &str| [step("a v1", &[("r.error_code", code), ("r.error_message", message)])];
        let told = |one: &[Step], other: &[Step]| differences("s", one, other).expect("the same steps").len();
        assert_eq!(told(&with("3", "None"), &with("3", "<message>")), 0);
        assert_eq!(told(&with("3", "<message>"), &with("3", "None")), 1);
        assert_eq!(told(&with("0", "None"), &with("0", "<message>")), 1);
        assert_eq!(told(&with("3", "None"), &with("5", "<message>")), 1, "only the code");
    }
}
