//! librdkafka's own tests: one program in C and C++ that takes a test's name and writes a report in JSON.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::stage::{Setting, Stage, output_folder};
use super::{Outcome, Suite, process};
use crate::broker::binary;
use crate::program::{installed, workspace};

/// The version of Apache Kafka whose tests are chosen.
const KAFKA_VERSION: &str = "4.0.0";

/// Longest time for one test: the slowest that pass take half of it on two busy cores.
const LIMIT: Duration = Duration::from_secs(180);

/// Tests of the suite's scenario `noautocreate`.
const TOPICS_MADE: [&str; 4] = [
    "0045_subscribe_update_non_exist_and_partchange",
    "0045_subscribe_update_topic_remove",
    "0107_topic_recreate",
    "0111_delay_create_topics",
];

/// Tests that the suite leaves out when its clients have to authenticate, and those that then count on
/// `allow.everyone.if.no.acl.found`: here nobody may do anything until an ACL says so.
const PLAINTEXT: [&str; 7] = [
    "0052_msg_timestamps",
    "0077_compaction",
    "0081_admin.do_test_DescribeCluster",
    "0081_admin.do_test_DescribeConsumerGroups_with_authorized_ops",
    "0081_admin.do_test_DescribeTopics",
    "0115_producer_auth",
    "0119_consumer_auth",
];

/// Tests of which each subtest counts as a test: the first that fails would hide all that follow.
const DIVIDED: [&str; 1] = ["0081_admin"];

/// How the consumers of the suite form groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// Clients assign partitions among themselves.
    Classic,
    /// The broker assigns them (KIP-848).
    Consumer,
}

/// The built suite.
pub struct Librdkafka {
    folder: PathBuf,
    protocol: GroupProtocol,
}

#[derive(Deserialize)]
struct Report {
    tests: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    state: String,
    /// Seconds.
    duration: f64,
}

/// How much of a test is run. In quick mode many tests leave out subtests, and some of them every one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Quick,
    Full,
}

/// A test that passes in less than this (seconds) has not spoken to a broker.
const NOTHING: f64 = 0.005;

impl Librdkafka {
    /// With the protocol of KIP-848, only the tests whose consumers form groups are run.
    pub fn built(protocol: GroupProtocol) -> Result<Self> {
        let program = installed("conformance/crates/rdkafka-sys/librdkafka/tests/test-runner")?;
        let folder = program.parent().context("the program lies in a folder")?.to_owned();
        Ok(Self { folder, protocol })
    }

    /// The source of the tests whose names begin with the same number.
    fn source(&self, test: &str) -> Result<String> {
        let number = test.split('_').next().unwrap_or(test);
        for file in std::fs::read_dir(&self.folder)? {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(number) && (name.ends_with(".c") || name.ends_with(".cpp")) {
                return std::fs::read_to_string(&path).with_context(|| path.display().to_string());
            }
        }
        Ok(String::new())
    }

    /// The tests that a name in the suite's report stands for here.
    fn named(&self, test: String) -> Result<Vec<String>> {
        let source = self.source(&test)?;
        let groups = ["subscribe", "test_consumer_group_protocol"].iter().any(|word| source.contains(word));
        if self.protocol == GroupProtocol::Consumer && !groups {
            return Ok(Vec::new());
        }
        if DIVIDED.contains(&test.as_str()) {
            return Ok(subtests(&source).map(|part| format!("{test}.{part}")).collect());
        }
        Ok(vec![test])
    }

    /// Runs what is called `test`, and others whose name begins so, unless they need no broker (`-L`); of `test.part`,
    /// only that subtest.
    fn start(
        &self,
        test: &str,
        length: Length,
        conf: &Path,
        stage: Option<&Stage>,
    ) -> Result<(process::Ended, Option<Report>)> {
        let folder = output_folder(self.name())?;
        let report = folder.join(format!("{test}.json"));
        let _ = std::fs::remove_file(&report);
        let (whole, part) = whole_and_part(test);
        let mut command = Command::new("./test-runner");
        command
            .args(["-p1", "-L", "-V", KAFKA_VERSION])
            .current_dir(&self.folder)
            .env("LD_LIBRARY_PATH", "../src:../src-cpp")
            .env("TESTS", whole)
            .env("TEST_REPORT", &report)
            .env("RDKAFKA_TEST_CONF", conf)
            .env_remove("CI")
            .env_remove("SUBTESTS")
            .env_remove("TEST_CONSUMER_GROUP_PROTOCOL");
        if let Some(part) = part {
            command.env("SUBTESTS", format!("{part}:"));
        }
        if self.protocol == GroupProtocol::Consumer {
            command.env("TEST_CONSUMER_GROUP_PROTOCOL", "consumer");
        }
        if let Some(stage) = stage {
            // Some tests call the tools of Apache Kafka; ours stand in for them.
            command
                .env("KAFKA_PATH", workspace().join("tests/conformance/librdkafka"))
                .env("BROKERS", stage.broker.bootstrap())
                .env("LG_LOCKGATE", binary("lockgate")?)
                .env("LOCKGATE_CLUSTER", format!("file://{}", stage.broker.data().display()))
                .env("LOCKGATE_BOOTSTRAP_SERVERS", stage.broker.bootstrap());
        }
        if self.setting(test) == Setting::TopicsMadeFirst {
            command.args(["-s", "noautocreate"]);
        }
        if length == Length::Quick {
            command.arg("-Q");
        }
        let ended = process::run(&mut command, LIMIT, &folder.join(format!("{test}.log")))?;
        let text = std::fs::read_to_string(&report).unwrap_or_default();
        Ok((ended, serde_json::from_str(&text).ok()))
    }

    fn once(&self, test: &str, length: Length, conf: &Path, stage: &Stage) -> Result<Outcome> {
        let (ended, report) = self.start(test, length, conf, Some(stage))?;
        if ended.status.is_none() {
            return Ok(Outcome::Failed(format!("not done after {} s", LIMIT.as_secs())));
        }
        let (whole, part) = whole_and_part(test);
        let entry = report.as_ref().and_then(|report| report.tests.get(whole));
        let ran = part.is_none_or(|part| ended.output.contains(&format!("[ {part}:")));
        Ok(match entry.map(|entry| (entry.state.as_str(), entry)) {
            Some(("PASSED", _)) if !ran => Outcome::Skipped("does nothing".to_owned()),
            Some(("PASSED", entry)) if entry.duration < NOTHING => Outcome::Skipped("does nothing".to_owned()),
            Some(("PASSED", _)) => Outcome::Passed,
            Some(("SKIPPED", _)) => Outcome::Skipped(excuse(&ended.output)),
            _ => Outcome::Failed(complaint(&ended.output)),
        })
    }
}

impl Suite for Librdkafka {
    fn name(&self) -> &'static str {
        match self.protocol {
            GroupProtocol::Classic => "librdkafka",
            GroupProtocol::Consumer => "librdkafka-consumer-protocol",
        }
    }

    fn tests(&self) -> Result<Vec<String>> {
        let conf = tempfile::NamedTempFile::new()?;
        let name = format!("no-such-test-{}", std::process::id());
        let (ended, report) = self.start(&name, Length::Quick, conf.path(), None)?;
        let report = report.with_context(|| format!("test-runner names no tests\n{}", ended.output))?;
        let names = report.tests.into_keys().filter(|name| name != "<MAIN>");
        Ok(names.map(|name| self.named(name)).collect::<Result<Vec<_>>>()?.concat())
    }

    fn run(&self, test: &str, stage: &Stage) -> Result<Outcome> {
        let conf = output_folder(self.name())?.join(format!("{test}.conf"));
        std::fs::write(&conf, properties(test, stage))?;
        match self.once(test, Length::Quick, &conf, stage)? {
            Outcome::Skipped(_) => self.once(test, Length::Full, &conf, stage),
            outcome => Ok(outcome),
        }
    }

    fn setting(&self, test: &str) -> Setting {
        match test {
            test if TOPICS_MADE.contains(&test) => Setting::TopicsMadeFirst,
            test if PLAINTEXT.contains(&test) => Setting::AnonymousByAcl,
            "0142_reauthentication" => Setting::Reauthentication,
            _ => Setting::TopicsOnDemand,
        }
    }
}

/// A test's name in the suite's report, and the one subtest of it that is meant.
fn whole_and_part(test: &str) -> (&str, Option<&str>) {
    test.split_once('.').map_or((test, None), |(whole, part)| (whole, Some(part)))
}

/// The functions in a test's source that begin a subtest.
fn subtests(source: &str) -> impl Iterator<Item = &str> {
    let functions = source.split("\nstatic void").skip(1);
    functions
        .map(str::trim_start)
        .filter(|function| function.split("\n}").next().is_some_and(|body| body.contains("SUB_TEST")))
        .filter_map(|function| function.split('(').next())
}

/// The suite's configuration file.
fn properties(test: &str, stage: &Stage) -> String {
    let mut lines = vec![
        "broker.address.family=v4".to_owned(),
        "test.timeout.multiplier=2".to_owned(),
        "test.topic.random=true".to_owned(),
    ];
    if PLAINTEXT.contains(&test) {
        lines.push(format!("bootstrap.servers=localhost:{}", stage.plain_port));
    } else {
        lines.extend([
            format!("bootstrap.servers={}", stage.broker.bootstrap()),
            "security.protocol=SASL_SSL".to_owned(),
            "sasl.mechanisms=SCRAM-SHA-512".to_owned(),
            format!("sasl.username={}", stage.user.user),
            format!("sasl.password={}", stage.user.password),
            format!("ssl.ca.location={}", stage.broker.ca_path().display()),
        ]);
    }
    lines.join("\n") + "\n"
}

/// The line in which the test says why it fails: the one below the place.
fn complaint(output: &str) -> String {
    let line = output.lines().skip_while(|line| !line.contains("\" failed at ")).nth(1).unwrap_or("it says nothing");
    line.trim_matches(|letter: char| letter == '#' || letter.is_whitespace()).to_owned()
}

/// What the suite says of a test that `-L` leaves out.
const LOCAL: &str = "Filtered due to negative test flags";

/// Why the suite left the test out; what it says of other tests stands before.
fn excuse(output: &str) -> String {
    let mut excuses = output.lines().filter_map(|line| line.split_once("SKIPPING TEST: "));
    // Another line may follow in the same one, after the escape that begins its colour.
    match excuses.next_back().and_then(|(_, excuse)| excuse.split('\u{1b}').next()) {
        Some(LOCAL) => "needs no broker".to_owned(),
        Some(excuse) => excuse.to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_stands_below_the_place() {
        let output = "...\n### Test \"0001\" failed at a.c:7:main() at Mon:\n### no leader\n###\n";
        assert_eq!(complaint(output), "no leader");
        assert_eq!(complaint("killed"), "it says nothing");
    }

    #[test]
    fn subtests_are_the_functions_that_begin_one() {
        let source = "\nstatic void do_a(int x) {\n  SUB_TEST(\"a\");\n}\n\nstatic void help(void) {\n}\n\n\
                      static void\ndo_b(void) {\n  SUB_TEST_QUICK();\n}\n";
        assert_eq!(subtests(source).collect::<Vec<_>>(), ["do_a", "do_b"]);
        assert_eq!(whole_and_part("0081_admin.do_a"), ("0081_admin", Some("do_a")));
        assert_eq!(whole_and_part("0011_produce_batch"), ("0011_produce_batch", None));
    }

    #[test]
    fn the_last_excuse_is_the_tests_own() {
        let output = "WARN: SKIPPING TEST: Filtered\n...\nWARN: SKIPPING TEST: no JMX\nSKIPPED\n";
        assert_eq!(excuse(output), "no JMX");
        assert_eq!(excuse("WARN: SKIPPING TEST: no JMX\u{1b}[0m\u{1b}[36m[0001 / 0.1s] 0001: duration\n"), "no JMX");
        assert_eq!(excuse(&format!("WARN: SKIPPING TEST: {LOCAL}")), "needs no broker");
        assert_eq!(excuse("SKIPPED"), "");
    }
}
