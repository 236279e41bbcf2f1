//! `make bench-kafka`: Apache Kafka and Lockgate side by side in one run, with the same clients. What compares is the ratio of
//! two medians; absolute figures say more about the machine.

mod chart;
mod clients;
mod report;
mod stage;
mod workloads;

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::program::workspace;
use report::Report;
use stage::Stage;

/// MiB of records for each run of the workloads that are not paced.
const MIB: usize = 1024;
const USAGE: &str = "usage: bench-kafka [--write] [MIB [WORKLOAD...]]";

/// Runs everything and prints the table; with `--write` it goes into the docs, with the picture and the figures as JSON.
/// With names of workloads it runs those, and writes nothing.
pub fn run(args: &[String]) -> Result<()> {
    let (write, rest) = match args.split_first() {
        Some((first, rest)) if first == "--write" => (true, rest),
        _ => (false, args),
    };
    let (mib, only) = match rest {
        [] => (MIB, rest),
        [mib, only @ ..] => (mib.parse().with_context(|| format!("{mib} is no number\n{USAGE}"))?, only),
    };
    ensure!(only.is_empty() || !write, "the docs show all workloads\n{USAGE}");
    let chosen = workloads::choose(only)?;
    let report = Report { machine: report::machine()?, mib, rows: workloads::measure(&Stage::set()?, mib, &chosen)? };
    println!("\n{}", report.markdown());
    if !only.is_empty() {
        return Ok(());
    }
    let folder = if write { workspace().join("docs") } else { workspace().join("target/bench-kafka") };
    std::fs::create_dir_all(&folder)?;
    write_to(&folder, &report)?;
    if write {
        report.write_into(&folder.join("performance.md"))?;
    }
    println!("Written to {}", folder.display());
    Ok(())
}

fn write_to(folder: &Path, report: &Report) -> Result<()> {
    std::fs::write(folder.join("performance.json"), serde_json::to_string_pretty(report)? + "\n")?;
    std::fs::write(folder.join("performance.svg"), chart::draw(report))?;
    Ok(())
}
