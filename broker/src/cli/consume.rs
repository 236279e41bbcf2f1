//! `lockgate consume`.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use clap::Args;
use krafka::ConsumerRecord;
use krafka::consumer::{AutoOffsetReset, Consumer};
use lockgate_client::Admin;
use lockgate_client::admin::{OffsetSpec, TopicPartition};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::connection::ConnectionArgs;
use super::failure::{Failure, Failures, Outcome};
use super::output::Output;
use super::record_format::{Format, write_json};

/// How long one wait for records may last; Ctrl-C is heard at once anyway.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct ConsumeArgs {
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Read as a member of this group, and commit what was printed
    #[arg(long, short)]
    group: Option<String>,
    /// Start at the first record (with --group: where the group has committed nothing)
    #[arg(long, short = 'b', conflicts_with = "offset")]
    from_beginning: bool,
    /// Start at this offset; negative counts from the end
    #[arg(long, short, conflicts_with = "group", allow_negative_numbers = true)]
    offset: Option<i64>,
    /// Read this partition only, repeatable
    #[arg(long = "partition", short, value_name = "INDEX", conflicts_with = "group")]
    partitions: Vec<i32>,
    /// Stop after this many records
    #[arg(long, short = 'n', value_name = "COUNT")]
    max_messages: Option<u64>,
    /// Stop at the end that the topics had at the start
    #[arg(long, short = 'e')]
    exit_at_end: bool,
    /// How to print a record: %t topic, %p partition, %o offset, %T timestamp, %k key, %v value, %h headers, \n \t \\ %%
    #[arg(long, short = 'f', default_value = "%v\\n")]
    format: Format,
}

pub(super) async fn run(args: ConsumeArgs, connection: &ConnectionArgs, output: Output) -> Outcome {
    let prepare = async {
        let admin = connection.admin().await?;
        let partitions = partitions(&admin, &args.topics, &args.partitions).await?;
        let ends =
            if args.exit_at_end { offsets(&admin, &partitions, OffsetSpec::Latest).await? } else { BTreeMap::new() };
        let consumer = start(&args, &admin, &partitions).await?;
        Ok::<_, Failure>((admin, ends, consumer))
    };
    let (admin, ends, consumer) = tokio::select! {
        prepared = prepare => prepared?,
        _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted),
    };
    let read = read(&args, &consumer, &ends, &admin, output).await;
    // Commits what was printed and leaves the group, after a failure too.
    let closed = consumer.close().await;
    read?;
    closed.map_err(|error| admin.data_error("leaving the group", &error).into())
}

/// The partitions to read: those named, or all; a topic that does not exist is an error here and now.
pub(super) async fn partitions(admin: &Admin, topics: &[String], only: &[i32]) -> Outcome<Vec<TopicPartition>> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut failures = Failures::default();
    let mut partitions = Vec::new();
    for (name, topic) in admin.describe_topics(&names).await? {
        let Some(topic) = failures.keep(&format!("topic {name}"), topic) else { continue };
        let known: Vec<i32> = topic.partitions.iter().map(|partition| partition.index).collect();
        if let Some(missing) = only.iter().find(|index| !known.contains(index)) {
            return Err(Failure::Text(format!("The topic {name} has no partition {missing}; it has {}.", known.len())));
        }
        let wanted = known.into_iter().filter(|index| only.is_empty() || only.contains(index));
        partitions.extend(wanted.map(|partition| TopicPartition { topic: name.clone(), partition }));
    }
    failures.outcome()?;
    Ok(partitions)
}

/// One offset of each partition; all of them or none.
pub(super) async fn offsets(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Outcome<BTreeMap<TopicPartition, i64>> {
    let mut failures = Failures::default();
    let mut offsets = BTreeMap::new();
    for (partition, offset) in admin.list_offsets(partitions, spec).await? {
        if let Some(offset) = failures.keep(&partition.to_string(), offset) {
            offsets.insert(partition, offset);
        }
    }
    failures.outcome()?;
    Ok(offsets)
}

async fn start(args: &ConsumeArgs, admin: &Admin, partitions: &[TopicPartition]) -> Outcome<Consumer> {
    let failed = |error| Failure::from(admin.data_error("starting the consumer", &error));
    let kafka = admin.kafka().await?;
    let reset = if args.from_beginning { AutoOffsetReset::Earliest } else { AutoOffsetReset::Latest };
    let Some(group) = &args.group else {
        let builder = kafka.consumer_without_group().auto_offset_reset(reset).enable_auto_commit(false);
        let consumer = builder.metrics_push(false).build().await.map_err(failed)?;
        let starts = starts(args, admin, partitions).await?;
        let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for TopicPartition { topic, partition } in starts.keys() {
            by_topic.entry(topic).or_default().push(*partition);
        }
        for (topic, partitions) in by_topic {
            consumer.assign(topic, partitions).await.map_err(failed)?;
        }
        for (TopicPartition { topic, partition }, offset) in &starts {
            consumer.seek(topic, *partition, *offset).await.map_err(failed)?;
        }
        return Ok(consumer);
    };
    let builder = kafka.consumer(group).auto_offset_reset(reset).enable_auto_commit(true).metrics_push(false);
    let consumer = builder.build().await.map_err(failed)?;
    consumer.subscribe(&args.topics).await.map_err(failed)?;
    Ok(consumer)
}

/// Where to start in each partition.
async fn starts(
    args: &ConsumeArgs,
    admin: &Admin,
    partitions: &[TopicPartition],
) -> Outcome<BTreeMap<TopicPartition, i64>> {
    let Some(offset) = args.offset else {
        let spec = if args.from_beginning { OffsetSpec::Earliest } else { OffsetSpec::Latest };
        return offsets(admin, partitions, spec).await;
    };
    if offset >= 0 {
        return Ok(partitions.iter().map(|partition| (partition.clone(), offset)).collect());
    }
    let first = offsets(admin, partitions, OffsetSpec::Earliest).await?;
    let mut starts = offsets(admin, partitions, OffsetSpec::Latest).await?;
    for (partition, start) in &mut starts {
        *start = start.saturating_add(offset).max(first.get(partition).copied().unwrap_or(0));
    }
    Ok(starts)
}

async fn read(
    args: &ConsumeArgs,
    consumer: &Consumer,
    ends: &BTreeMap<TopicPartition, i64>,
    admin: &Admin,
    output: Output,
) -> Outcome {
    let mut left = args.max_messages.unwrap_or(u64::MAX);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    while left > 0 {
        if args.exit_at_end && at_end(consumer, ends).await {
            return Ok(());
        }
        if nobody_reads() {
            return Ok(());
        }
        let records = tokio::select! {
            records = consumer.poll(POLL) => records,
            _ = &mut interrupt => return Ok(()),
        };
        let mut records = records.map_err(|error| admin.data_error("reading", &error))?;
        let keep = usize::try_from(left).unwrap_or(usize::MAX).min(records.len());
        let unwanted = records.split_off(keep);
        left -= keep as u64;
        print(args, &records, output)?;
        rewind(consumer, &unwanted).await.map_err(|error| admin.data_error("going back to the last record", &error))?;
    }
    Ok(())
}

/// Whoever read our output is gone (`lockgate consume … | head`). Without a record to print, only asking tells.
fn nobody_reads() -> bool {
    let out = io::stdout();
    // No events are asked for: an error of the pipe, or the end of a terminal or socket, is told anyway.
    let mut fds = [PollFd::new(&out, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// What was fetched and not printed must not be committed: the group goes on where the printed records end.
async fn rewind(consumer: &Consumer, unwanted: &[ConsumerRecord]) -> krafka::Result<()> {
    let mut starts: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    for record in unwanted {
        starts.entry((&record.topic, record.partition)).or_insert(record.offset);
    }
    for ((topic, partition), offset) in starts {
        consumer.seek(topic, partition, offset).await?;
    }
    Ok(())
}

fn print(args: &ConsumeArgs, records: &[ConsumerRecord], output: Output) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for record in records {
        if output.is_json() {
            write_json(record, &mut out)?;
        } else {
            args.format.write(record, &mut out)?;
        }
    }
    out.flush()
}

/// Every partition that this consumer reads has been read to the end that it had at the start. A group member waits until
/// it has partitions.
async fn at_end(consumer: &Consumer, ends: &BTreeMap<TopicPartition, i64>) -> bool {
    let mut any = false;
    for (topic, partitions) in consumer.assignment().await {
        for partition in partitions {
            any = true;
            let key = TopicPartition { topic: topic.clone(), partition };
            let end = ends.get(&key).copied().unwrap_or(0);
            // Without a position nothing was read yet, which is the end of an empty partition only.
            let position = consumer.position(&topic, partition).await.unwrap_or(0);
            if position < end {
                return false;
            }
        }
    }
    any
}
