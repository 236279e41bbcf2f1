//! `lockgate bench`: what a cluster gives to one client.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, Subcommand};
use krafka::CloseOptions;
use krafka::producer::{DeliveryHandle, Producer, Record};
use lockgate_client::admin::{OffsetSpec, TopicPartition};
use rand::RngCore;
use serde::Serialize;
use tokio::sync::mpsc;

use super::connection::ConnectionArgs;
use super::consume::{offsets, partitions};
use super::failure::{Failure, Outcome};
use super::histogram::{Histogram, Latency};
use super::output::{Output, Table};
use super::produce::{ProducerArgs, require_topic};
use super::progress::Progress;

/// Records sent and not acknowledged yet; krafka bounds their bytes.
const IN_FLIGHT: usize = 100_000;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The benchmark gives up when nothing arrives for this long.
const STALLED: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub(super) enum BenchCommand {
    /// Write records and measure throughput and the time until each is acknowledged
    Produce(ProduceBenchArgs),
    /// Read a topic from its beginning and measure throughput
    Consume(ConsumeBenchArgs),
}

#[derive(Debug, Args)]
pub(super) struct ProduceBenchArgs {
    topic: String,
    /// Records to write
    #[arg(long, short = 'n', default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Size of a record's value, in bytes
    #[arg(long, short = 's', value_name = "BYTES", default_value_t = 1024)]
    record_size: u32,
    /// Records per second at most; as fast as possible when not given
    #[arg(long, value_name = "RATE", value_parser = clap::value_parser!(u64).range(1..))]
    throughput: Option<u64>,
    #[command(flatten)]
    producer: ProducerArgs,
}

#[derive(Debug, Args)]
pub(super) struct ConsumeBenchArgs {
    topic: String,
    /// Stop after this many records; at the topic's end when not given
    #[arg(long, short = 'n')]
    count: Option<u64>,
}

#[derive(Serialize)]
struct Measured {
    records: u64,
    bytes: u64,
    seconds: f64,
    records_per_second: f64,
    mib_per_second: f64,
    /// From the hand-over to the producer until the acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Latency>,
}

impl Measured {
    fn new(records: u64, bytes: u64, elapsed: Duration, latency: Option<Latency>) -> Self {
        // A run too short for the clock still divides.
        let seconds = elapsed.as_secs_f64().max(1e-6);
        Self {
            records,
            bytes,
            seconds,
            records_per_second: records as f64 / seconds,
            mib_per_second: bytes as f64 / f64::from(1 << 20) / seconds,
            latency,
        }
    }

    fn table(&self) -> Table {
        let mut heading = vec!["RECORDS", "SECONDS", "RECORDS/S", "MIB/S"];
        let mut row = vec![
            self.records.to_string(),
            format!("{:.2}", self.seconds),
            format!("{:.0}", self.records_per_second),
            format!("{:.1}", self.mib_per_second),
        ];
        if let Some(latency) = self.latency {
            heading.extend(["P50 MS", "P99 MS", "MAX MS"]);
            row.extend([latency.p50_ms, latency.p99_ms, latency.max_ms].map(|millis| format!("{millis:.2}")));
        }
        let mut table = Table::new(&heading);
        table.row(row);
        table
    }
}

pub(super) async fn run(command: BenchCommand, connection: &ConnectionArgs, output: Output) -> Outcome {
    let measured = match command {
        BenchCommand::Produce(args) => produce(&args, connection, output).await?,
        BenchCommand::Consume(args) => consume(&args, connection, output).await?,
    };
    Ok(output.print(&measured, || measured.table())?)
}

async fn produce(args: &ProduceBenchArgs, connection: &ConnectionArgs, output: Output) -> Outcome<Measured> {
    let admin = connection.admin().await?;
    require_topic(&admin, &args.topic).await?;
    let producer = args.producer.build(&admin).await?;
    let progress = Progress::records(Some(args.count), output.is_json());
    let (handles, acknowledged) = mpsc::channel(IN_FLIGHT);
    let failed = |error| Failure::from(admin.data_error(&format!("writing to {}", args.topic), &error));
    let start = Instant::now();
    let (sent, counted) = tokio::join!(send(args, &producer, handles), acknowledge(acknowledged, &progress));
    let elapsed = start.elapsed();
    progress.finish();
    let closed = producer.close_with(CloseOptions::new().timeout(CLOSE_TIMEOUT)).await;
    let (records, histogram) = counted.map_err(failed)?;
    sent.map_err(failed)?;
    closed.map_err(failed)?;
    let bytes = records * u64::from(args.record_size);
    Ok(Measured::new(records, bytes, elapsed, Some(histogram.latency())))
}

type InFlight = (Instant, DeliveryHandle);

/// Ends early on Ctrl-C, or when the other side has seen a refused record.
async fn send(args: &ProduceBenchArgs, producer: &Producer, handles: mpsc::Sender<InFlight>) -> krafka::Result<()> {
    // Random bytes, so that compression shows what it costs and not what zeros save.
    let mut value = vec![0; args.record_size as usize];
    rand::rng().fill_bytes(&mut value);
    let value = Bytes::from(value);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let start = Instant::now();
    for index in 0..args.count {
        if let Some(rate) = args.throughput {
            let due = start + Duration::from_secs_f64(index as f64 / rate as f64);
            if due > Instant::now() {
                tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    _ = &mut interrupt => return Ok(()),
                }
            }
        }
        let record = Record::new(args.topic.clone(), value.clone());
        let begun = Instant::now();
        let handle = tokio::select! {
            biased;
            handle = producer.enqueue(record) => handle?,
            _ = &mut interrupt => return Ok(()),
        };
        if handles.send((begun, handle)).await.is_err() {
            return Ok(());
        }
        // An enqueue that never waits must not keep the signal and the other side from their turn.
        if index % 1024 == 0 {
            tokio::select! {
                biased;
                _ = &mut interrupt => return Ok(()),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    Ok(())
}

/// Batches of one partition are acknowledged in order, so waiting in order of sending measures each well enough while
/// partitions keep pace with each other.
async fn acknowledge(
    mut acknowledged: mpsc::Receiver<InFlight>,
    progress: &Progress,
) -> krafka::Result<(u64, Histogram)> {
    let mut histogram = Histogram::new();
    let mut records = 0;
    while let Some((begun, handle)) = acknowledged.recv().await {
        let _metadata = handle.await?;
        histogram.record(begun.elapsed());
        records += 1;
        if records % 1000 == 0 {
            progress.advance(1000);
        }
    }
    Ok((records, histogram))
}

async fn consume(args: &ConsumeBenchArgs, connection: &ConnectionArgs, output: Output) -> Outcome<Measured> {
    let admin = connection.admin().await?;
    let topics = [args.topic.clone()];
    let partitions = partitions(&admin, &topics, &[]).await?;
    let begins = offsets(&admin, &partitions, OffsetSpec::Earliest).await?;
    let ends = offsets(&admin, &partitions, OffsetSpec::Latest).await?;
    let available: i64 = ends.iter().map(|(key, end)| end - begins.get(key).copied().unwrap_or(0)).sum();
    let available = u64::try_from(available).unwrap_or(0);
    let wanted = args.count.unwrap_or(available).min(available);
    if wanted == 0 {
        return Err(Failure::Text(format!("The topic {} has no records to read.", args.topic)));
    }
    let failed = |error| Failure::from(admin.data_error(&format!("reading {}", args.topic), &error));
    let builder = admin.kafka().await?.consumer_without_group().enable_auto_commit(false).metrics_push(false);
    let builder = builder.max_poll_records(10_000).max_buffered_records(100_000);
    let consumer = builder.build().await.map_err(failed)?;
    consumer
        .assign(&args.topic, partitions.iter().map(|partition| partition.partition).collect())
        .await
        .map_err(failed)?;
    for (TopicPartition { topic, partition }, offset) in &begins {
        consumer.seek(topic, *partition, *offset).await.map_err(failed)?;
    }
    let progress = Progress::records(Some(wanted), output.is_json());
    let start = Instant::now();
    let (mut records, mut bytes) = (0, 0);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    while records < wanted {
        let batch = tokio::select! {
            batch = consumer.poll(STALLED) => batch.map_err(failed)?,
            _ = &mut interrupt => break,
        };
        if batch.is_empty() {
            // Compaction and transactions leave fewer records than offsets: the end may be reached already.
            break;
        }
        records += batch.len() as u64;
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        bytes += batch.iter().map(|record| (size(&record.key) + size(&record.value)) as u64).sum::<u64>();
        progress.advance(batch.len() as u64);
    }
    let elapsed = start.elapsed();
    progress.finish();
    consumer.close().await.map_err(failed)?;
    Ok(Measured::new(records, bytes, elapsed, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second() {
        let measured = Measured::new(2048, 2 << 20, Duration::from_secs(2), None);
        assert_eq!((measured.records_per_second, measured.mib_per_second), (1024.0, 1.0));
        assert!(!measured.table().to_string().contains("P99"));
    }
}
