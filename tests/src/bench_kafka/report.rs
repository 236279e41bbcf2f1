//! The figures, and how they are told.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// What it ran on.
    pub(super) machine: String,
    /// MiB of records in each run that is not paced.
    pub(super) mib: usize,
    pub(super) rows: Vec<Row>,
}

/// One figure of one workload.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) workload: String,
    pub(super) measure: Measure,
    pub(super) kafka: Spread,
    pub(super) lockgate: Spread,
    /// Wanted of the ratio: at most, or at least where more is better.
    pub(super) goal: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Measure {
    /// Of the broker, in seconds per GiB of records.
    Cpu,
    /// MiB of records a second.
    Throughput,
    /// Latency of a record (ms).
    P50,
    P99,
    /// Resident (MiB).
    Memory,
    /// Milliseconds.
    StartUp,
}

/// Several runs of the same.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Spread {
    /// `runs`: at least one.
    pub(super) fn of(mut runs: Vec<f64>) -> Self {
        runs.sort_by(f64::total_cmp);
        Self { least: runs[0], median: runs[runs.len() / 2], most: runs[runs.len() - 1] }
    }
}

/// Three significant digits, and the range in parentheses when there is one.
impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = |value: f64| match value {
            value if value >= 100.0 => format!("{value:.0}"),
            value if value >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        };
        f.write_str(&digits(self.median))?;
        if self.least < self.most {
            write!(f, " ({} - {})", digits(self.least), digits(self.most))?;
        }
        Ok(())
    }
}

impl Measure {
    pub(super) fn more_is_better(self) -> bool {
        self == Self::Throughput
    }
}

impl Display for Measure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU s/GiB",
            Self::Throughput => "MiB/s",
            Self::P50 => "p50, ms",
            Self::P99 => "p99, ms",
            Self::Memory => "MiB",
            Self::StartUp => "ms",
        })
    }
}

impl Row {
    /// Ours to Kafka's.
    pub(super) fn ratio(&self) -> f64 {
        self.lockgate.median / self.kafka.median
    }

    /// The goal in words, and whether it is reached.
    fn goal(&self) -> String {
        let Some(goal) = self.goal else { return String::new() };
        let (reached, bound) = if self.measure.more_is_better() {
            (self.ratio() >= goal, "at least")
        } else {
            (self.ratio() <= goal, "at most")
        };
        format!("{bound} {goal:.2}{}", if reached { "" } else { ": missed" })
    }
}

/// A line of the table.
impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { workload, measure, kafka, lockgate, .. } = self;
        let (ratio, goal) = (self.ratio(), self.goal());
        write!(f, "| {workload} | {measure} | {kafka} | {lockgate} | {ratio:.2} | {goal} |")
    }
}

/// Around the table in a document.
const BEGIN: &str = "<!-- table: made by `make bench-kafka-write` -->\n";
const END: &str = "<!-- end of the table -->\n";

impl Report {
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("{}; {} MiB of records in each run that is not paced.\n\n", self.machine, self.mib);
        text += "| workload | of the broker | Apache Kafka | Lockgate | ratio | wanted |\n| --- | --- | --- | --- | --- | --- |\n";
        for row in &self.rows {
            text += &format!("{row}\n");
        }
        text
    }

    /// Puts the table in the place of the one that a document has.
    pub(super) fn write_into(&self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path)?;
        let place = || format!("{} has no place for the table", path.display());
        let (before, rest) = text.split_once(BEGIN).with_context(place)?;
        let (_, after) = rest.split_once(END).with_context(place)?;
        Ok(std::fs::write(path, format!("{before}{BEGIN}\n{}\n{END}{after}", self.markdown()))?)
    }
}

/// Processor, cores, memory.
pub(super) fn machine() -> Result<String> {
    let field = |path: &str, name: &str| -> Result<String> {
        let text = std::fs::read_to_string(path)?;
        let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("{path} has no {name}"))?;
        Ok(line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default())
    };
    let memory: u64 = field("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse()?;
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{}, {cores} cores, {} GiB", field("/proc/cpuinfo", "model name")?, memory >> 20))
}
