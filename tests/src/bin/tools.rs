//! `make tools`: Kafka's command line tools against Apache Kafka and Lockgate.
//!
//! `tools [SCENARIO]…` plays all scenarios, or those that are named.

use anyhow::{Result, ensure};
use lockgate_tests::differential::Pair;
use lockgate_tests::tools::compare;
use lockgate_tests::tools::scenarios::ALL;

fn main() -> Result<()> {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let unknown: Vec<_> = named.iter().filter(|name| ALL.iter().all(|scenario| scenario.name != **name)).collect();
    let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
    ensure!(unknown.is_empty(), "{unknown:?} are no scenarios; there are {names:?}");
    let chosen = |name: &str| named.is_empty() || named.iter().any(|one| one == name);
    let scenarios: Vec<_> = ALL.iter().filter(|scenario| chosen(scenario.name)).collect();
    let report = compare(&Pair::start()?, &scenarios)?;
    for (difference, reason) in &report.meant {
        println!("{difference}: {reason}");
    }
    println!("{} commands, {} lines, {} differences as listed", report.steps, report.fields, report.meant.len());
    report.check()
}
