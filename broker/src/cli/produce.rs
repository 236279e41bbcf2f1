//! `lockgate produce`.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use krafka::producer::{Acks, DeliveryHandle, Producer, Record};
use krafka::{CloseOptions, Compression};
use lockgate_client::Admin;
use serde::Serialize;
use tokio::sync::mpsc;

use super::config::key_value;
use super::connection::ConnectionArgs;
use super::failure::{Failure, Failures, Outcome};
use super::input::{Lines, lines};
use super::output::Output;
use super::progress::Progress;

/// Records sent and not acknowledged yet; krafka bounds their bytes.
const IN_FLIGHT: usize = 100_000;
/// How long what is queued may take after Ctrl-C.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct ProduceArgs {
    topic: String,
    /// Read lines from this file and not from standard input
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What stands between key and value in a line; without it a line is all value
    #[arg(long, short = 'K', value_name = "TEXT")]
    key_separator: Option<String>,
    /// Header for every record, repeatable
    #[arg(long = "header", short = 'H', value_name = "KEY=VALUE", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// Write to this partition and not where the key belongs
    #[arg(long, short, value_name = "INDEX", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    #[command(flatten)]
    producer: ProducerArgs,
}

/// Settings of the producer, shared with the benchmark.
#[derive(Debug, Args)]
pub(super) struct ProducerArgs {
    /// Compression of record batches
    #[arg(long, short = 'z', value_enum, default_value_t = CompressionArg::None)]
    pub(super) compression: CompressionArg,
    /// What an acknowledgement means: all = stored, 1 = the leader has it, 0 = none is sent
    #[arg(long, value_enum, default_value_t = AcksArg::All)]
    pub(super) acks: AcksArg,
    /// How long a batch may wait for more records, in milliseconds
    #[arg(long, value_name = "MILLIS", default_value_t = 5)]
    pub(super) linger: u64,
    /// Size at which a batch is sent, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024)]
    pub(super) batch_size: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CompressionArg {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum AcksArg {
    All,
    #[value(name = "1")]
    One,
    #[value(name = "0")]
    Zero,
}

#[derive(Serialize)]
struct Produced {
    topic: String,
    records: u64,
    bytes: u64,
}

impl ProducerArgs {
    /// Duplicates after a reconnect are kept out wherever the broker acknowledges fully.
    pub(super) async fn build(&self, admin: &Admin) -> Outcome<Producer> {
        let compression = match self.compression {
            CompressionArg::None => Compression::None,
            CompressionArg::Gzip => Compression::Gzip,
            CompressionArg::Snappy => Compression::Snappy,
            CompressionArg::Lz4 => Compression::Lz4,
            CompressionArg::Zstd => Compression::Zstd,
        };
        let acks = match self.acks {
            AcksArg::All => Acks::All,
            AcksArg::One => Acks::Leader,
            AcksArg::Zero => Acks::None,
        };
        let builder = admin.kafka().await?.producer();
        let builder = builder.compression(compression).acks(acks).idempotent(self.acks == AcksArg::All);
        let builder =
            builder.linger(Duration::from_millis(self.linger)).batch_size(self.batch_size).metrics_push(false);
        builder.build().await.map_err(|error| admin.data_error("starting the producer", &error).into())
    }
}

pub(super) async fn run(args: ProduceArgs, connection: &ConnectionArgs, output: Output) -> Outcome {
    if args.key_separator.as_deref() == Some("") {
        return Err(Failure::Usage("the key separator must not be empty".to_owned()));
    }
    let (lines, size) = lines(args.file.as_deref())?;
    let admin = connection.admin().await?;
    require_topic(&admin, &args.topic).await?;
    let producer = args.producer.build(&admin).await?;
    // A person who types lines sees them; progress would get in between.
    let typing = args.file.is_none() && std::io::IsTerminal::is_terminal(&std::io::stdin());
    let progress = Progress::bytes(size, typing);
    let outcome = send_all(&args, lines, &producer, &admin, &progress).await;
    progress.finish();
    // Ends the connections; everything that was taken has its answer by now, or never gets one.
    let closed = producer.close_with(CloseOptions::new().timeout(CLOSE_TIMEOUT)).await;
    let (sent, outcome) = outcome;
    let line = format!("Wrote {} records to {}.", sent.records, sent.topic);
    if output.is_json() {
        output.done(&sent, &line)?;
    } else {
        eprintln!("{line}");
    }
    outcome?;
    closed.map_err(|error| admin.data_error("closing the producer", &error).into())
}

/// The producer waits a minute for a topic to appear, which a wrong name never does.
pub(super) async fn require_topic(admin: &Admin, topic: &str) -> Outcome {
    let mut failures = Failures::default();
    for (name, described) in admin.describe_topics(&[topic]).await? {
        failures.keep(&format!("topic {name}"), described);
    }
    failures.outcome()
}

/// Sends until the input ends, a record is refused, or Ctrl-C; then waits for the answers of what was sent.
async fn send_all(
    args: &ProduceArgs,
    mut lines: Lines,
    producer: &Producer,
    admin: &Admin,
    progress: &Progress,
) -> (Produced, Outcome) {
    let (handles, acknowledged) = mpsc::channel::<(DeliveryHandle, u64)>(IN_FLIGHT);
    let send = async move {
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted),
            };
            let Some(line) = line else { return Ok(()) };
            let line = line?;
            let bytes = line.len() as u64 + 1;
            let handle = producer
                .enqueue(record(args, &line))
                .await
                .map_err(|error| admin.data_error(&format!("writing to {}", args.topic), &error))?;
            // The receiver is gone after a refused record: no use in sending more.
            if handles.send((handle, bytes)).await.is_err() {
                return Ok(());
            }
        }
    };
    let count = count(args, acknowledged, admin, progress);
    let (sent, (produced, answered)) = tokio::join!(send, count);
    (produced, answered.and(sent))
}

async fn count(
    args: &ProduceArgs,
    mut acknowledged: mpsc::Receiver<(DeliveryHandle, u64)>,
    admin: &Admin,
    progress: &Progress,
) -> (Produced, Outcome) {
    let mut produced = Produced { topic: args.topic.clone(), records: 0, bytes: 0 };
    while let Some((handle, bytes)) = acknowledged.recv().await {
        if let Err(error) = handle.await {
            let error = admin.data_error(&format!("writing to {}", args.topic), &error);
            return (produced, Err(error.into()));
        }
        produced.records += 1;
        produced.bytes += bytes - 1;
        progress.advance(bytes);
    }
    (produced, Ok(()))
}

fn record(args: &ProduceArgs, line: &Bytes) -> Record {
    let (key, value) = split(line, args.key_separator.as_deref());
    let mut record = Record::new(args.topic.clone(), value);
    if let Some(key) = key {
        record = record.key(key);
    }
    if let Some(partition) = args.partition {
        record = record.partition(partition);
    }
    for (key, value) in &args.headers {
        record = record.header(key.clone(), value.clone());
    }
    record
}

/// Key and value; a line without the separator has no key.
fn split(line: &Bytes, separator: Option<&str>) -> (Option<Bytes>, Bytes) {
    let at = separator.and_then(|separator| {
        let wanted = separator.as_bytes();
        line.windows(wanted.len()).position(|window| window == wanted).map(|at| (at, at + wanted.len()))
    });
    match at {
        Some((key_end, value_start)) => (Some(line.slice(..key_end)), line.slice(value_start..)),
        None => (None, line.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_splits_at_the_first_separator() {
        let line = Bytes::from("a::b::c");
        assert_eq!(split(&line, Some("::")), (Some("a".into()), "b::c".into()));
        assert_eq!(split(&line, Some("|")), (None, line.clone()));
        assert_eq!(split(&line, None), (None, line.clone()));
        assert_eq!(split(&Bytes::from("::v"), Some("::")), (Some(Bytes::new()), "v".into()));
    }
}
