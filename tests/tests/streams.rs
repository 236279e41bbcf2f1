//! Kafka Streams with exactly_once_v2: the program is killed in the middle, and so is the broker, and every record is
//! counted once.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockgate_client::admin::{AclOperation, AclResourceType};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::Operator;
use lockgate_tests::program::installed;
use lockgate_tests::{longer, until};

const PREFIX: &str = "streams-";
const USER: &str = "streams-app";
const PASSWORD: &str = "correct horse battery staple";
const PATIENCE: Duration = Duration::from_secs(180);

/// A process that is killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(broker: &Broker, args: &[&str], output: &Path) -> Result<Self> {
        let folder = installed("streams")?;
        let classes = format!("{}:{}", folder.join("classes").display(), folder.join("lib/*").display());
        let output = std::fs::File::options().create(true).append(true).open(output)?;
        let child = Command::new("java")
            .args(["-Xmx384m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"])
            .args(["-cp", &classes, "Counting"])
            .args(args)
            .env("LG_BOOTSTRAP", broker.bootstrap())
            .env("LG_CA", broker.ca_path())
            .env("LG_USER", USER)
            .env("LG_PASSWORD", PASSWORD)
            .env("LG_PREFIX", PREFIX)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("java could not be started")?;
        Ok(Self(child))
    }

    fn succeeds(&mut self, what: &str) -> Result<()> {
        let status = until(PATIENCE * longer(1), what, || self.0.try_wait().ok().flatten())?;
        ensure!(status.success(), "{what}: {status}");
        Ok(())
    }
}

#[test]
fn every_record_is_counted_once_while_program_and_broker_are_killed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("output");
    let mut broker = Broker::start(&Options::default())?;
    count(&mut broker, folder.path(), &output).with_context(|| {
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        format!("{}\n{}", &text[text.ceil_char_boundary(text.len().saturating_sub(6000))..], broker.log_tail())
    })
}

fn count(broker: &mut Broker, folder: &Path, output: &Path) -> Result<()> {
    let operator = Operator::of(broker)?;
    operator.user(USER, PASSWORD)?;
    let topics = [
        AclOperation::Create,
        AclOperation::Delete,
        AclOperation::Describe,
        AclOperation::DescribeConfigs,
        AclOperation::Read,
        AclOperation::Write,
    ];
    operator.allow(USER, AclResourceType::Topic, PREFIX, &topics)?;
    operator.allow(USER, AclResourceType::Group, PREFIX, &[AclOperation::Read, AclOperation::Delete])?;
    let transactions = [AclOperation::Write, AclOperation::Describe];
    operator.allow(USER, AclResourceType::TransactionalId, PREFIX, &transactions)?;
    for topic in ["counted-in", "counted-out"] {
        operator.topic(&format!("{PREFIX}{topic}"), 2, &[])?;
    }
    let records = longer::<u32>(5000).to_string();
    let state = folder.join("state").display().to_string();
    let mut feeder = Process::start(broker, &["feed", &records], output)?;
    for round in 0..longer::<u32>(4) {
        let counting = Process::start(broker, &["run", &state], output)?;
        thread::sleep(Duration::from_secs(5));
        // Now the broker dies below it, now the program itself.
        if round % 2 == 0 {
            broker.kill()?;
            broker.start_again()?;
            thread::sleep(Duration::from_secs(3));
        }
        drop(counting);
    }
    feeder.succeeds("the records are written")?;
    let _counting = Process::start(broker, &["run", &state], output)?;
    Process::start(broker, &["check", &records], output)?.succeeds("each record is counted once")
}
