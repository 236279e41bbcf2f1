//! Suites that other projects wrote for their own clients, judged against lists of what is expected of each test.

pub mod expectations;
pub mod kafka_python;
pub mod librdkafka;
pub mod process;
pub mod stage;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::program::workspace;
use expectations::{Expectations, Expected};
use stage::{Setting, Stage};

/// What one run of one test said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// With the suite's own words.
    Failed(String),
    /// The suite itself found that the test does not apply.
    Skipped(String),
}

/// A foreign suite, built, with a name for each of its tests.
pub trait Suite {
    /// Also the name of its list and of the folder for its output.
    fn name(&self) -> &'static str;
    /// Every test there is, in the suite's order.
    fn tests(&self) -> Result<Vec<String>>;
    /// Runs one test against the broker; its output is kept in the folder `output`.
    fn run(&self, test: &str, stage: &Stage) -> Result<Outcome>;
    /// The broker that the test wants.
    fn setting(&self, _test: &str) -> Setting {
        Setting::TopicsOnDemand
    }
}

/// Which tests to run, and what to do with the outcome.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only tests whose name contains one of these; all when empty.
    pub patterns: Vec<String>,
    /// Write the outcomes into the list, instead of comparing only.
    pub write: bool,
}

/// How a suite's run differs from its list.
#[derive(Debug, Default)]
pub struct Summary {
    pub passed: usize,
    pub failed: usize,
    pub not_applicable: usize,
    /// Expected to pass, and did not; or in no list at all.
    pub broken: Vec<String>,
    /// Expected to fail, and passed.
    pub mended: Vec<String>,
}

/// Where the list of a suite is.
pub fn list_path(suite: &str) -> PathBuf {
    workspace().join("tests/conformance").join(format!("{suite}.txt"))
}

/// Runs the selected tests one after the other and compares each with the list, saying so line by line.
pub fn judge(suite: &dyn Suite, selection: &Selection) -> Result<Summary> {
    let path = list_path(suite.name());
    let list = Expectations::read(&path)?;
    let tests = suite.tests()?;
    let gone: Vec<&str> = list.names().filter(|name| !tests.iter().any(|test| test == name)).collect();
    ensure!(gone.is_empty(), "{} lists tests that the suite does not have: {gone:?}", path.display());
    let chosen = |test: &&String| {
        selection.patterns.is_empty() || selection.patterns.iter().any(|pattern| test.contains(pattern))
    };
    let mut stages = BTreeMap::new();
    let mut summary = Summary::default();
    for test in tests.iter().filter(chosen) {
        if matches!(list.get(test), Some(Expected::NotApplicable(_))) {
            summary.not_applicable += 1;
            continue;
        }
        let setting = suite.setting(test);
        let stage = match stages.entry(setting) {
            Entry::Occupied(stage) => stage.into_mut(),
            Entry::Vacant(place) => place.insert(Stage::set(setting)?),
        };
        let began = Instant::now();
        let outcome = suite.run(test, stage)?;
        let seconds = began.elapsed().as_secs();
        ensure!(stage.broker.is_running(), "the broker is gone after {test}\n{}", stage.broker.log_tail());
        summary.take(test, &outcome, list.get(test), seconds);
        if selection.write {
            // Read again, because it may be another run's turn to write.
            let mut now = Expectations::read(&path)?;
            now.learn(test, &outcome);
            now.write(&path)?;
        }
    }
    Ok(summary)
}

impl Summary {
    fn take(&mut self, test: &str, outcome: &Outcome, expected: Option<&Expected>, seconds: u64) {
        let (said, detail) = match outcome {
            Outcome::Passed => ("passed", String::new()),
            Outcome::Failed(why) => ("failed", format!(": {why}")),
            Outcome::Skipped(why) => ("skipped", format!(": {why}")),
        };
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.not_applicable += 1,
        }
        let remark = match (expected, outcome) {
            (Some(Expected::Passed), Outcome::Passed) => "",
            (Some(Expected::Failed(_)), Outcome::Failed(_)) => " (as listed)",
            (Some(Expected::Failed(_)), Outcome::Passed) => {
                self.mended.push(test.to_owned());
                " (listed as failed)"
            }
            (Some(_), _) => {
                self.broken.push(format!("{test} {said}{detail}"));
                " (not as listed)"
            }
            (None, _) => {
                self.broken.push(format!("{test} is in no list; it {said}{detail}"));
                " (not listed)"
            }
        };
        println!("{test} {said}{remark}, {seconds} s{detail}");
    }

    /// One line, the last of a run.
    pub fn line(&self, suite: &str) -> String {
        format!(
            "{suite}: {} passed, {} failed, {} not applicable; {} not as listed, {} listed as failed pass now",
            self.passed,
            self.failed,
            self.not_applicable,
            self.broken.len(),
            self.mended.len()
        )
    }
}
