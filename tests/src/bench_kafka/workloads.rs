//! What the brokers are put through, and what is wanted of the ratios.

use anyhow::{Context, Result, ensure};

use super::clients::{Pace, Run, java_produces, librdkafka_consumes, librdkafka_produces};
use super::report::{Measure, Row, Spread};
use super::stage::{Side, Stage, start_up};
use crate::bench::{fill_page_cache, mib};

/// Of each workload on each broker, in turns; the median counts.
pub(super) const RUNS: usize = 3;
/// Of every topic.
const PARTITIONS: i32 = 6;
/// Records a second of the paced producer, and how many (a run of ten seconds).
const PACE: usize = 10_000;
const PACED: usize = 100_000;
/// Kafka takes a small part of what it takes otherwise in the same time; too small, and a Java producer ends before it is
/// warm.
const FLUSHED: usize = 4;

#[derive(Clone, Copy)]
enum Work {
    Produce,
    /// What the workload of this name has produced.
    Consume(&'static str),
    JavaProduce(Pace),
}

pub(super) struct Workload {
    /// Also of its topic.
    name: &'static str,
    title: &'static str,
    work: Work,
    /// Bytes of a record.
    record: usize,
    tls: bool,
    /// Kafka flushes every batch, and Lockgate has its default.
    flushed: bool,
    /// What is told, and what is wanted of the ratio to Kafka's.
    measures: &'static [(Measure, Option<f64>)],
}

use Measure::{Cpu, P50, P99, Throughput};

static WORKLOADS: [Workload; 9] = [
    Workload {
        name: "produce-1k",
        title: "produce 1 KiB",
        work: Work::Produce,
        record: 1024,
        tls: false,
        flushed: false,
        measures: &[(Cpu, Some(0.33)), (Throughput, None)],
    },
    Workload {
        name: "consume-1k",
        title: "consume 1 KiB",
        work: Work::Consume("produce-1k"),
        record: 1024,
        tls: false,
        flushed: false,
        measures: &[(Cpu, Some(0.5)), (Throughput, None)],
    },
    Workload {
        name: "produce-100",
        title: "produce 100 B",
        work: Work::Produce,
        record: 100,
        tls: false,
        flushed: false,
        measures: &[(Cpu, Some(0.33)), (Throughput, None)],
    },
    Workload {
        name: "consume-100",
        title: "consume 100 B",
        work: Work::Consume("produce-100"),
        record: 100,
        tls: false,
        flushed: false,
        measures: &[(Cpu, Some(0.5)), (Throughput, None)],
    },
    Workload {
        name: "produce-tls",
        title: "produce 1 KiB, TLS",
        work: Work::Produce,
        record: 1024,
        tls: true,
        flushed: false,
        measures: &[(Cpu, Some(0.35)), (Throughput, None)],
    },
    Workload {
        name: "consume-tls",
        title: "consume 1 KiB, TLS",
        work: Work::Consume("produce-tls"),
        record: 1024,
        tls: true,
        flushed: false,
        measures: &[(Cpu, Some(0.5)), (Throughput, None)],
    },
    Workload {
        name: "java-paced",
        title: "Java producer, 10,000 records/s",
        work: Work::JavaProduce(Pace::Paced(PACE)),
        record: 1024,
        tls: false,
        flushed: false,
        measures: &[(Cpu, Some(0.25)), (P50, None), (P99, Some(0.5))],
    },
    Workload {
        name: "java",
        title: "Java producer, unthrottled",
        work: Work::JavaProduce(Pace::Unthrottled),
        record: 1024,
        tls: false,
        flushed: false,
        measures: &[(Cpu, None), (Throughput, None)],
    },
    Workload {
        name: "java-flushed",
        title: "Java producer, every batch on the disk",
        work: Work::JavaProduce(Pace::Unthrottled),
        record: 1024,
        tls: false,
        flushed: true,
        measures: &[(Cpu, None), (Throughput, Some(3.0))],
    },
];

/// A run with what it took of the broker.
struct Sample {
    run: Run,
    mib: f64,
    cpu_seconds: f64,
}

impl Sample {
    fn of(&self, measure: Measure) -> Result<f64> {
        let latency = || self.run.latency.context("only a paced producer measures latency");
        Ok(match measure {
            Cpu => self.cpu_seconds / (self.mib / 1024.0),
            Throughput => self.mib / self.run.seconds,
            P50 => latency()?.p50,
            P99 => latency()?.p99,
            Measure::Memory | Measure::StartUp => anyhow::bail!("not of a run"),
        })
    }
}

/// The workloads of these names; all for none.
pub(super) fn choose(names: &[String]) -> Result<Vec<&'static Workload>> {
    let known = || WORKLOADS.iter().map(|workload| workload.name).collect::<Vec<_>>().join(", ");
    for name in names {
        ensure!(WORKLOADS.iter().any(|workload| workload.name == name), "no workload {name}; there are {}", known());
    }
    let wanted = |workload: &&Workload| names.is_empty() || names.iter().any(|name| name == workload.name);
    Ok(WORKLOADS.iter().filter(wanted).collect())
}

/// Puts all brokers through `workloads`, and tells what is left of them afterwards. `mib`: for each run that is not paced.
pub(super) fn measure(stage: &Stage, mib: usize, workloads: &[&Workload]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for workload in workloads {
        let compared = workload.compare(stage, mib)?;
        for row in &compared {
            println!("{row}");
        }
        rows.extend(compared);
    }
    for (title, measure, goal) in
        [("resident after all of it", Measure::Memory, 1.0 / 15.0), ("start to ready", Measure::StartUp, 1.0 / 20.0)]
    {
        let of = |side| -> Result<Spread> {
            if measure == Measure::Memory {
                return Ok(Spread::of(vec![self::mib(stage.usage(side)?.resident_bytes)]));
            }
            let times = (0..RUNS).map(|_| Ok(start_up(side)?.as_secs_f64() * 1e3)).collect::<Result<_>>()?;
            Ok(Spread::of(times))
        };
        let row = Row {
            workload: title.to_owned(),
            measure,
            kafka: of(Side::Kafka)?,
            lockgate: of(Side::PageCache)?,
            goal: Some(goal),
        };
        println!("{row}");
        rows.push(row);
    }
    Ok(rows)
}

impl Workload {
    /// The runs of all brokers in turns, after a third of the load that counts for nobody: a JVM has to be warm.
    fn compare(&self, stage: &Stage, mib: usize) -> Result<Vec<Row>> {
        let sides: &[Side] = match (self.flushed, self.work) {
            (true, _) => &[Side::Kafka, Side::Durable],
            (false, Work::Consume(_)) => &[Side::Kafka, Side::PageCache],
            (false, _) => &Side::ALL,
        };
        let count = match self.work {
            Work::JavaProduce(Pace::Paced(_)) => PACED,
            _ => (mib << 20) / self.record / if self.flushed { FLUSHED } else { 1 },
        };
        for &side in sides {
            if !matches!(self.work, Work::Consume(_)) {
                let configs: &[_] = if self.flushed && side == Side::Kafka { &[("flush.messages", "1")] } else { &[] };
                stage.topic(side, &Stage::named(self.name), PARTITIONS, configs)?;
            }
            self.run(stage, side, count / 3, "warm")?;
        }
        let mut samples = [Vec::new(), Vec::new(), Vec::new()];
        for run in 0..RUNS {
            for &side in sides {
                fill_page_cache(stage.folder())?;
                samples[side as usize].push(self.run(stage, side, count, &run.to_string())?);
            }
        }
        let [kafka, page_cache, durable] = &samples;
        let mut rows = Vec::new();
        for (lockgate, note) in [(page_cache, ""), (durable, if self.flushed { "" } else { ", fsync" })] {
            if lockgate.is_empty() {
                continue;
            }
            for (measure, goal) in self.measures {
                let spread = |samples: &[Sample]| -> Result<Spread> {
                    Ok(Spread::of(samples.iter().map(|sample| sample.of(*measure)).collect::<Result<_>>()?))
                };
                rows.push(Row {
                    workload: format!("{}{note}", self.title),
                    measure: *measure,
                    kafka: spread(kafka)?,
                    lockgate: spread(lockgate)?,
                    // Kafka's own figures are those without a flush.
                    goal: if note.is_empty() { *goal } else { None },
                });
            }
        }
        Ok(rows)
    }

    fn run(&self, stage: &Stage, side: Side, count: usize, name: &str) -> Result<Sample> {
        let access = stage.access(side, self.tls);
        let topic = Stage::named(self.name);
        let before = stage.usage(side)?.cpu_seconds;
        let run = match self.work {
            Work::Produce => librdkafka_produces(&access, &topic, self.record, count),
            Work::Consume(produced) => {
                let group = Stage::named(&format!("{}-{name}", self.name));
                librdkafka_consumes(&access, &Stage::named(produced), &group, count)
            }
            Work::JavaProduce(pace) => java_produces(stage, &access, &topic, self.record, count, pace),
        };
        let run = run.with_context(|| format!("{} on {side:?}", self.title))?;
        let cpu_seconds = stage.usage(side)?.cpu_seconds - before;
        Ok(Sample { run, mib: self::mib((count * self.record) as u64), cpu_seconds })
    }
}
