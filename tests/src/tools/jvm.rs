//! One JVM that runs the command line tools of Apache Kafka one after the other.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use crate::program::installed;

/// Longest run of one tool: twice the time after which Kafka's admin client gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a tool printed, and its exit status.
#[derive(Clone, Debug, Deserialize)]
pub struct Run {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// Killed when dropped.
pub(super) struct Jvm {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<String>,
    complaints: tempfile::NamedTempFile,
}

impl Jvm {
    pub(super) fn start() -> Result<Self> {
        let folder = installed("tools")?;
        let classes = format!("{}:{}", folder.join("classes").display(), folder.join("lib/*").display());
        let complaints = tempfile::NamedTempFile::new()?;
        let mut child = Command::new("java")
            .args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "--add-opens=java.base/java.lang=ALL-UNNAMED"])
            // Kafka's scripts let warnings through, with addresses and times in them; what the tools themselves log is
            // part of what they say.
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-Dorg.slf4j.simpleLogger.showThreadName=false"])
            .args(
                ["org.apache.kafka.tools", "org.apache.kafka.clients.producer.internals.ErrorLoggingCallback"]
                    .map(|logger| format!("-Dorg.slf4j.simpleLogger.log.{logger}=error")),
            )
            .args(["-cp", &classes, "Tools"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(complaints.path())?)
            .spawn()
            .context("java could not be started")?;
        let requests = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let (send, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, requests, answers, complaints })
    }

    /// Runs the `main` of a class.
    pub(super) fn run(&mut self, class: &str, arguments: &[String], input: &str) -> Result<Run> {
        writeln!(self.requests, "{}", json!({"class": class, "arguments": arguments, "in": input}))?;
        let answer = self.answers.recv_timeout(PATIENCE).with_context(|| {
            let complaints = std::fs::read_to_string(self.complaints.path()).unwrap_or_default();
            format!("{class} {arguments:?} does not end\n{complaints}")
        })?;
        serde_json::from_str(&answer).with_context(|| answer.clone())
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
