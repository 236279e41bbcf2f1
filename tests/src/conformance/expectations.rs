//! The list of a suite: one line for each test, sorted, so that a change shows as one line.
//!
//! `passed NAME`, `failed NAME: REASON` or `not-applicable NAME: REASON`. Lines are written by machine; the reasons, by
//! people, and kept.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::Outcome;

/// What is expected of a test, with the reason when it is not to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    Passed,
    Failed(String),
    NotApplicable(String),
}

/// A suite's list, by test name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations(BTreeMap<String, Expected>);

impl Expectations {
    /// The list in a file; an absent file is an empty list.
    pub fn read(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    pub fn parse(text: &str) -> Result<Self> {
        let mut list = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let (name, expected) = parse_line(line).with_context(|| format!("line {}", number + 1))?;
            ensure!(list.insert(name.clone(), expected).is_none(), "{name} is listed twice");
        }
        Ok(Self(list))
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.format()).with_context(|| path.display().to_string())
    }

    pub fn format(&self) -> String {
        let mut text = String::new();
        for (name, expected) in &self.0 {
            let written = match expected {
                Expected::Passed => writeln!(text, "passed {name}"),
                Expected::Failed(reason) => writeln!(text, "failed {name}: {reason}"),
                Expected::NotApplicable(reason) => writeln!(text, "not-applicable {name}: {reason}"),
            };
            written.expect("a String takes everything");
        }
        text
    }

    pub fn get(&self, name: &str) -> Option<&Expected> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn passed(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, expected)| **expected == Expected::Passed).map(|(name, _)| name.as_str())
    }

    /// Takes over what a run said; a reason that is there already stays.
    pub fn learn(&mut self, name: &str, outcome: &Outcome) {
        let expected = match (outcome, self.get(name)) {
            (Outcome::Passed, _) => Expected::Passed,
            (Outcome::Failed(_), Some(Expected::Failed(_))) => return,
            (Outcome::Failed(why), _) => Expected::Failed(one_line(why)),
            (Outcome::Skipped(why), _) => Expected::NotApplicable(one_line(why)),
        };
        self.0.insert(name.to_owned(), expected);
    }
}

fn parse_line(line: &str) -> Result<(String, Expected)> {
    let (verdict, rest) = line.split_once(' ').context("a line is `passed NAME` or `failed NAME: REASON`")?;
    if verdict == "passed" {
        return Ok((rest.to_owned(), Expected::Passed));
    }
    let (name, reason) = rest.split_once(": ").context("a test that is not to pass has a reason behind `: `")?;
    ensure!(!reason.trim().is_empty(), "{name} has an empty reason");
    let expected = match verdict {
        "failed" => Expected::Failed(reason.to_owned()),
        "not-applicable" => Expected::NotApplicable(reason.to_owned()),
        _ => bail!("{verdict:?} is none of passed, failed, not-applicable"),
    };
    Ok((name.to_owned(), expected))
}

fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() { "the suite gives no reason".to_owned() } else { words.chars().take(160).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "passed a\nfailed b: needs c: d\nnot-applicable e[x]: one broker\n";

    #[test]
    fn a_list_is_read_and_written_unchanged() {
        assert_eq!(Expectations::parse(LIST).unwrap().format(), LIST);
    }

    #[test]
    fn a_list_that_says_too_little_or_twice_is_refused() {
        for text in ["passed", "failed a", "failed a: ", "maybe a: b", "passed a\npassed a"] {
            assert!(Expectations::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn outcomes_are_learnt_and_reasons_kept() {
        let mut list = Expectations::parse(LIST).unwrap();
        list.learn("a", &Outcome::Failed("two\n lines".to_owned()));
        list.learn("b", &Outcome::Failed("other".to_owned()));
        list.learn("f", &Outcome::Skipped(String::new()));
        assert_eq!(list.get("a"), Some(&Expected::Failed("two lines".to_owned())));
        assert_eq!(list.get("b"), Some(&Expected::Failed("needs c: d".to_owned())));
        assert_eq!(list.get("f"), Some(&Expected::NotApplicable("the suite gives no reason".to_owned())));
        list.learn("b", &Outcome::Passed);
        assert_eq!(list.get("b"), Some(&Expected::Passed));
    }
}
