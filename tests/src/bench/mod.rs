//! The tables of `make bench`: the broker beside a floor in the same run, so that a figure is a ratio to what the machine
//! allows. One part for each subject.

mod floor;
pub mod groups;
mod lone;
mod measure;
pub mod partitions;
mod throughput;
pub mod transactions;

use anyhow::{Context, Result, bail};
pub(crate) use measure::{fill_page_cache, mib};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// MiB of records per workload of the first table.
const MIB: usize = 1024;
/// Of one group. Few have more.
const MEMBERS: usize = 1_000;
/// Of one broker; twice and a half what Kafka's guidance allows.
const PARTITIONS: usize = 10_000;

/// Prints one table or all. `args`: see the usage; `floor …` serves as the floor of the first table.
pub fn run(args: &[String]) -> Result<()> {
    raise_open_files()?;
    let number = |default: usize, rest: &[String]| match rest {
        [] => Ok(default),
        [number] => number.parse().with_context(|| format!("{number} is no number")),
        _ => bail!(USAGE),
    };
    match args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("floor", rest)) => floor::serve(rest),
        Some(("throughput", rest)) => throughput::run(number(MIB, rest)?),
        Some(("lone", [])) => lone::run(),
        Some(("transactions", rest)) => in_filled_memory(|| transactions::run(number(transactions::COUNT, rest)?)),
        Some(("groups", rest)) => groups::run(number(MEMBERS, rest)?),
        Some(("partitions", rest)) => partitions::run(number(PARTITIONS, rest)?),
        Some((first, _)) if first.parse::<usize>().is_err() => bail!(USAGE),
        _ => {
            throughput::run(number(MIB, args)?)?;
            lone::run()?;
            in_filled_memory(|| transactions::run(transactions::COUNT))?;
            groups::run(MEMBERS)?;
            partitions::run(PARTITIONS)
        }
    }
}

fn in_filled_memory(part: impl FnOnce() -> Result<()>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    measure::fill_page_cache(folder.path())?;
    part()
}

const USAGE: &str = "usage: bench [MIB] | throughput [MIB] | lone | transactions [TRANSACTIONS] | groups [MEMBERS] | \
                     partitions [PARTITIONS]";

/// A thousand connections and more are open at the same time, on either side.
fn raise_open_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("the limit of open files cannot be raised")
}
