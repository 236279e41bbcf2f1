//! Very many partitions on one broker: making them, telling clients of them, and starting again with them after a clean
//! stop and after SIGKILL. The floor is what files and folders alone cost.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    CreateTopicsRequest, MetadataRequest, MetadataResponse, ProduceRequest, ResponseHeader,
};
use kafka_protocol::protocol::Decodable;

use super::measure::{Cost, Latency, growth, mib};
use crate::batch::Batch;
use crate::broker::{Broker, Options};
use crate::requests::{PRODUCE, topic_name};
use crate::wire::{Connection, check};

/// Partitions of one request, whichever the shape.
const AT_ONCE: usize = 100;
const METADATA: i16 = 12;
const METADATA_CALLS: usize = 30;
const CREATE_TOPICS: i16 = 7;
/// A request for a hundred partitions may take a while on a slow disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of the one record in each partition, so that there is something to recover.
const RECORD: usize = 1024;

/// Prints a table for few large topics, and one for as many topics as partitions. `partitions`: a multiple of a hundred,
/// or fewer.
pub fn run(partitions: usize) -> Result<()> {
    let in_topic = partitions.min(AT_ONCE);
    for each in [in_topic, 1] {
        Shape { topics: partitions / each, each }.measure()?;
    }
    Ok(())
}

/// So many topics with so many partitions each.
#[derive(Clone, Copy, Debug)]
struct Shape {
    topics: usize,
    each: usize,
}

impl Shape {
    fn measure(self) -> Result<()> {
        let mut broker = Broker::start(&Options { plaintext: true, ..Options::default() })?;
        let empty = Measured::now(&broker)?;
        let title = format!("{} topics x {} partitions", self.topics, self.each);
        println!("{title:<34} {:>10} {:>10} {:>8} {:>12}", "ms", "floor ms", "ratio", "CPU s");
        let made = Cost::of(&broker, || self.create(&broker))?.1;
        line("make them", made, Some(self.floor_of_making(&broker)?));
        line("a record to each", Cost::of(&broker, || self.produce(&broker))?.1, None);
        empty.print_growth("", &broker, self.partitions())?;
        self.metadata(&broker)?;

        let stopping = Instant::now();
        ensure!(broker.stop()?.success(), "the broker did not stop cleanly");
        println!("{:<34} {:>10.0}", "clean stop", stopping.elapsed().as_secs_f64() * 1e3);
        for (how, kill) in [("start after a clean stop", false), ("start after SIGKILL", true)] {
            if kill {
                // Not the state that the clean stop left: something to recover.
                self.produce(&broker)?;
                broker.kill()?;
            }
            let floor = open_all(broker.data())?;
            let elapsed = broker.start_again()?;
            line(how, Cost { elapsed, cpu: broker.usage()?.cpu_seconds }, Some(floor));
            empty.print_growth(" then", &broker, self.partitions())?;
            self.check(&connect(&broker)?.call(&all_topics(), METADATA)?)?;
        }
        println!();
        Ok(())
    }

    fn partitions(self) -> usize {
        self.topics * self.each
    }

    fn name(index: usize) -> String {
        format!("bench-partitions-{index}")
    }

    /// Topics by requests.
    fn requests(self) -> Vec<Vec<String>> {
        let names: Vec<_> = (0..self.topics).map(Self::name).collect();
        names.chunks((AT_ONCE / self.each).max(1)).map(<[String]>::to_vec).collect()
    }

    fn create(self, broker: &Broker) -> Result<()> {
        let mut connection = connect(broker)?;
        for names in self.requests() {
            let topic = |name: &String| {
                CreatableTopic::default()
                    .with_name(topic_name(name))
                    .with_num_partitions(self.each as i32)
                    .with_replication_factor(1)
            };
            let request = CreateTopicsRequest::default()
                .with_topics(names.iter().map(topic).collect())
                .with_timeout_ms(PATIENCE.as_millis() as i32);
            for made in connection.call(&request, CREATE_TOPICS)?.topics {
                check(made.error_code, &format!("CreateTopics of {}", made.name.0))?;
            }
        }
        Ok(())
    }

    /// A folder with a file in it for each partition, durable after each request.
    fn floor_of_making(self, broker: &Broker) -> Result<Duration> {
        // On the broker's volume.
        let folder = tempfile::tempdir_in(broker.config_path().with_file_name(""))?;
        let volume = File::open(folder.path())?;
        let started = Instant::now();
        for index in 0..self.partitions() {
            let partition = folder.path().join(index.to_string());
            std::fs::create_dir(&partition)?;
            File::create(partition.join("log"))?;
            if index % AT_ONCE == AT_ONCE - 1 {
                rustix::fs::syncfs(&volume)?;
            }
        }
        Ok(started.elapsed())
    }

    fn produce(self, broker: &Broker) -> Result<()> {
        let mut connection = connect(broker)?;
        let batch = Batch::of([vec![7; RECORD]]).encode().freeze();
        for names in self.requests() {
            let partition = |index| PartitionProduceData::default().with_index(index).with_records(Some(batch.clone()));
            let topic = |name: &String| {
                let partitions = (0..self.each as i32).map(partition).collect();
                TopicProduceData::default().with_name(topic_name(name)).with_partition_data(partitions)
            };
            let request = ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(PATIENCE.as_millis() as i32)
                .with_topic_data(names.iter().map(topic).collect());
            for topic in connection.call(&request, PRODUCE)?.responses {
                topic.partition_responses.iter().try_for_each(|partition| check(partition.error_code, "Produce"))?;
            }
        }
        Ok(())
    }

    fn metadata(self, broker: &Broker) -> Result<()> {
        let mut connection = connect(broker)?;
        let mut frame = bytes::Bytes::new();
        let (latency, cost) = Cost::of(broker, || {
            Latency::measure(METADATA_CALLS, || {
                connection.send(&all_topics(), METADATA)?;
                frame = connection.read_frame()?;
                Ok(())
            })
        })?;
        let bytes = frame.len();
        ResponseHeader::decode(&mut frame, 1)?;
        self.check(&MetadataResponse::decode(&mut frame, METADATA)?)?;
        println!(
            "{:<34} {:>10.1} {:>32.4}   {bytes} bytes, p99 {:.1} ms",
            "Metadata of all topics, p50",
            latency.p50,
            cost.cpu / METADATA_CALLS as f64,
            latency.p99
        );
        Ok(())
    }

    /// Every partition is there and has a leader.
    fn check(self, answer: &MetadataResponse) -> Result<()> {
        let ours = answer.topics.iter().filter(|topic| !topic.is_internal);
        let ready = |topic: &kafka_protocol::messages::metadata_response::MetadataResponseTopic| {
            topic.partitions.iter().filter(|partition| partition.error_code == 0 && partition.leader_id.0 >= 0).count()
        };
        let ready: usize = ours.map(ready).sum();
        ensure!(ready == self.partitions(), "{ready} of {} partitions are ready", self.partitions());
        Ok(())
    }
}

/// What a broker holds.
struct Measured {
    usage: crate::broker::Usage,
    files: usize,
}

impl Measured {
    fn now(broker: &Broker) -> Result<Self> {
        Ok(Self { usage: broker.usage()?, files: broker.open_files()? })
    }

    /// What it holds now, and how much of that a partition is.
    fn print_growth(&self, when: &str, broker: &Broker, partitions: usize) -> Result<()> {
        let now = Self::now(broker)?;
        println!(
            "{:<34} {:>6.1} MiB resident, {:.2} KiB a partition; {} files open, {:.2} a partition",
            format!(" {when} it holds"),
            mib(now.usage.resident_bytes),
            growth(self.usage, now.usage) / 1024.0 / partitions as f64,
            now.files,
            (now.files as f64 - self.files as f64) / partitions as f64
        );
        Ok(())
    }
}

fn line(name: &str, cost: Cost, floor: Option<Duration>) {
    let millis = cost.millis();
    match floor.map(|floor| floor.as_secs_f64() * 1e3) {
        Some(floor) => println!("{name:<34} {millis:>10.0} {floor:>10.0} {:>7.2}x {:>12.2}", millis / floor, cost.cpu),
        None => println!("{name:<34} {millis:>10.0} {:>32.2}", cost.cpu),
    }
}

fn connect(broker: &Broker) -> Result<Connection> {
    let connection = Connection::plain(broker.plaintext_address())?;
    connection.set_patience(PATIENCE)?;
    Ok(connection)
}

fn all_topics() -> MetadataRequest {
    MetadataRequest::default().with_topics(None)
}

/// The least that a start takes: opens every file of the data folder, and reads its first piece.
fn open_all(folder: &Path) -> Result<Duration> {
    let started = Instant::now();
    let mut folders = vec![folder.to_owned()];
    let mut piece = [0; 4096];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => drop(File::open(entry.path())?.read(&mut piece)?),
            }
        }
    }
    Ok(started.elapsed())
}
