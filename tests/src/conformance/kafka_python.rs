//! kafka-python's integration tests, as its source distribution has them, under pytest.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::stage::{Stage, output_folder};
use super::{Outcome, Suite, process};
use crate::program::{installed, workspace};

/// The version of Apache Kafka whose tests are chosen, and that the clients take the broker for.
const KAFKA_VERSION: &str = "4.1.0";

/// Longest time for one test.
const LIMIT: Duration = Duration::from_secs(120);

/// The unpacked suite, and a Python that can run it.
pub struct KafkaPython {
    folder: PathBuf,
    python: PathBuf,
}

impl KafkaPython {
    pub fn built() -> Result<Self> {
        Ok(Self { folder: installed("conformance/kafka-python")?, python: installed("conformance/venv/bin/python")? })
    }

    fn pytest(&self, stage: Option<&Stage>) -> Result<Command> {
        let mut command = Command::new(&self.python);
        command
            .args(["-m", "pytest", "-p", "no:cacheprovider", "-p", "lockgate_plugin", "-q"])
            .current_dir(&self.folder)
            .env("PYTHONPATH", format!("{}:.", workspace().join("tests/conformance/kafka-python").display()))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("KAFKA_VERSION", KAFKA_VERSION)
            .env_remove("KAFKA_URI")
            // Where Apache Kafka would be; the fixtures only look whether the folder is there.
            .env("KAFKA_ROOT", &self.folder)
            .env("LG_USER", stage.map_or("", |stage| &stage.user.user))
            .env("LG_PASSWORD", stage.map_or("", |stage| &stage.user.password));
        if let Some(stage) = stage {
            let folder = stage.broker.data().join("public");
            std::fs::copy(stage.broker.ca_path(), folder.join("ca-cert"))?;
            command
                .env("LG_PORT", stage.broker.address().port().to_string())
                .env("LG_TLS_PORT", stage.tls_port.to_string())
                .env("LG_CA_FOLDER", folder);
        }
        Ok(command)
    }
}

impl Suite for KafkaPython {
    fn name(&self) -> &'static str {
        "kafka-python"
    }

    fn tests(&self) -> Result<Vec<String>> {
        let output = output_folder(self.name())?.join("tests.log");
        let mut command = self.pytest(None)?;
        command.args(["--collect-only", "test/integration"]);
        let ended = process::run(&mut command, Duration::from_secs(60), &output)?;
        let names = ended.output.lines().filter_map(|line| line.strip_prefix("test/integration/")).map(str::to_owned);
        let tests: Vec<String> = names.collect();
        ensure!(!tests.is_empty(), "pytest finds no tests\n{}", ended.output);
        Ok(tests)
    }

    fn run(&self, test: &str, stage: &Stage) -> Result<Outcome> {
        let output = output_folder(self.name())?.join(format!("{}.log", test.replace(['/', ':', '[', ']'], "_")));
        let mut command = self.pytest(Some(stage))?;
        command.args(["-rs", "--tb=short"]).arg(format!("test/integration/{test}"));
        let ended = process::run(&mut command, LIMIT, &output)?;
        if ended.status.is_none() {
            return Ok(Outcome::Failed(format!("not done after {} s", LIMIT.as_secs())));
        }
        verdict(&ended.output).with_context(|| ended.output.clone())
    }
}

/// What the end of pytest's output says of the one test that ran.
fn verdict(output: &str) -> Result<Outcome> {
    let last = output.lines().rfind(|line| line.contains(" in ")).context("pytest does not say how it ended")?;
    if last.contains("failed") || last.contains("error") {
        let why = output.lines().rfind(|line| line.starts_with("E  ")).unwrap_or("it says nothing");
        return Ok(Outcome::Failed(why.trim_start_matches('E').trim().to_owned()));
    }
    if last.contains("skipped") {
        let why = output.lines().find_map(|line| line.strip_prefix("SKIPPED ")).unwrap_or("");
        return Ok(Outcome::Skipped(why.to_owned()));
    }
    ensure!(last.contains("passed"), "{last:?} names no outcome");
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_output_is_the_verdict() {
        assert_eq!(verdict(".\n1 passed in 0.3s").unwrap(), Outcome::Passed);
        let failed = "E   AssertionError: no\nFAILED test\n1 failed in 2s";
        assert_eq!(verdict(failed).unwrap(), Outcome::Failed("AssertionError: no".to_owned()));
        let skipped = "SKIPPED [1] x.py:3: too old\n1 skipped in 1s";
        assert_eq!(verdict(skipped).unwrap(), Outcome::Skipped("[1] x.py:3: too old".to_owned()));
        assert!(verdict("no tests ran in 1s").is_err());
        assert!(verdict("").is_err());
    }
}
