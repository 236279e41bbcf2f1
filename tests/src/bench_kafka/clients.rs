//! The programs that put the load on: librdkafka's `rdkafka_performance` and the perf tool of Kafka's Java producer.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use super::stage::{Access, Stage};
use crate::program::installed;

/// What a client says of a run.
pub(super) struct Run {
    /// From the first record to the last acknowledgement.
    pub(super) seconds: f64,
    /// Of records after the warm-up (ms); only of a paced producer.
    pub(super) latency: Option<Latency>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Sends so many records with acks=all, at most 5 ms after they were made.
pub(super) fn librdkafka_produces(access: &Access, topic: &str, record: usize, count: usize) -> Result<Run> {
    let mut command = librdkafka(access)?;
    command.args(["-P", "-t", topic, "-s", &record.to_string(), "-c", &count.to_string(), "-a", "-1"]);
    command.args(["-X", "linger.ms=5", "-X", "queue.buffering.max.messages=1000000"]);
    let said = output(&mut command)?;
    let delivered = format!(" {count} delivered");
    let last = said.lines().rfind(|line| line.contains(&delivered) && line.contains(" 0 failed"));
    took(last.with_context(|| format!("not all of {count} records were delivered:\n{said}"))?)
}

/// One consumer in a group of its own reads so many records from the beginning.
pub(super) fn librdkafka_consumes(access: &Access, topic: &str, group: &str, count: usize) -> Result<Run> {
    let mut command = librdkafka(access)?;
    command.args(["-G", group, "-t", topic, "-c", &count.to_string(), "-X", "auto.offset.reset=earliest"]);
    let said = output(&mut command)?;
    let last = said.lines().rfind(|line| line.contains(" consumed in "));
    took(last.with_context(|| format!("nothing was consumed:\n{said}"))?)
}

fn librdkafka(access: &Access) -> Result<Command> {
    let mut command =
        Command::new(installed("conformance/crates/rdkafka-sys/librdkafka/examples/rdkafka_performance")?);
    command.args(["-b", &access.bootstrap, "-q"]);
    if let Some(ca) = &access.ca {
        command.args(["-X", "security.protocol=sasl_ssl", "-X", &format!("ssl.ca.location={}", ca.display())]);
        command.args(["-X", "sasl.mechanism=SCRAM-SHA-256"]);
        command.args(["-X", &format!("sasl.username={}", access.login.user)]);
        command.args(["-X", &format!("sasl.password={}", access.login.password)]);
    }
    Ok(command)
}

/// "… in 1234ms: …"
fn took(line: &str) -> Result<Run> {
    let millis = line.split_once(" in ").and_then(|(_, rest)| rest.split_once("ms:")).map(|(millis, _)| millis);
    let millis: f64 = millis.with_context(|| format!("no time in: {line}"))?.parse()?;
    Ok(Run { seconds: millis / 1e3, latency: None })
}

/// How fast a Java producer sends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    Unthrottled,
    /// Records a second.
    Paced(usize),
}

/// Kafka's own producer with its defaults sends so many records. The first tenth warms it up.
pub(super) fn java_produces(
    stage: &Stage,
    access: &Access,
    topic: &str,
    record: usize,
    count: usize,
    pace: Pace,
) -> Result<Run> {
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]).arg(java_tools()?);
    command.args(["org.apache.kafka.tools.ProducerPerformance", "--bootstrap-server", &access.bootstrap]);
    command.args(["--topic", topic, "--record-size", &record.to_string(), "--num-records", &count.to_string()]);
    command.args(["--warmup-records", &(count / 10).to_string()]);
    let records_per_second = match pace {
        Pace::Unthrottled => "-1".to_owned(),
        Pace::Paced(records) => records.to_string(),
    };
    command.args(["--throughput", &records_per_second]);
    if let Some(ca) = &access.ca {
        let login = format!(
            "security.protocol=SASL_SSL\nssl.truststore.type=PEM\nssl.truststore.location={}\nsasl.mechanism=SCRAM-SHA-256\n\
             sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{}\" \
             password=\"{}\";\n",
            ca.display(),
            access.login.user,
            access.login.password
        );
        let path = stage.folder().join("java.properties");
        std::fs::write(&path, login)?;
        command.arg("--command-config").arg(path);
    }
    let said = output(&mut command)?;
    steady(&said, pace).with_context(|| said.clone())
}

fn java_tools() -> Result<PathBuf> {
    Ok(installed("tools/lib")?.join("*"))
}

/// "90000 steady state records sent, 9998.1 records/sec (9.76 MB/sec), 0.52 ms avg latency, 12.00 ms max latency, 0 ms 50th,
/// 1 ms 95th, 3 ms 99th, 9 ms 99.9th."
fn steady(said: &str, pace: Pace) -> Result<Run> {
    let line = said.lines().rfind(|line| line.contains("99.9th")).context("no summary")?;
    let number = |after: &str, before: &str| -> Result<f64> {
        let part = line.split(", ").find_map(|part| part.strip_suffix(before)?.strip_prefix(after));
        Ok(part.with_context(|| format!("no{before} in: {line}"))?.parse()?)
    };
    let count: f64 = line.split(' ').next().context("no count")?.parse()?;
    let rate = line.split(", ").find_map(|part| part.split_once(" records/sec")).context("no rate")?.0;
    let latency = match pace {
        Pace::Unthrottled => None,
        Pace::Paced(_) => Some(Latency { p50: number("", " ms 50th")?, p99: number("", " ms 99th")? }),
    };
    Ok(Run { seconds: count / rate.parse::<f64>()?, latency })
}

fn output(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "{command:?} ended with {status}:\n{said}");
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_both_programs_are_read() -> Result<()> {
        let line = "% 1000 messages produced (1024000 bytes), 1000 delivered (offset 166, 0 failed) in 2500ms: 400 msgs/s and \
                    0.41 MB/s, 0 produce failures, 0 in queue, no compression";
        assert_eq!(took(line)?.seconds, 2.5);
        let said = "100000 records sent, 9990.0 records/sec (9.76 MB/sec), 1.77 ms avg latency, 279.00 ms max latency, 1 ms 50th, \
                    3 ms 95th, 30 ms 99th, 95 ms 99.9th.\n90000 steady state records sent, 10000.0 records/sec (9.77 MB/sec), \
                    0.52 ms avg latency, 12.00 ms max latency, 0 ms 50th, 1 ms 95th, 3 ms 99th, 9 ms 99.9th.\n";
        let run = steady(said, Pace::Paced(10_000))?;
        assert_eq!(run.seconds, 9.0);
        let latency = run.latency.context("it is paced")?;
        assert_eq!((latency.p50, latency.p99), (0.0, 3.0));
        Ok(())
    }
}
