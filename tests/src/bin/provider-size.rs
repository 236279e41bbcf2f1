//! `make provider-size`: the provider with very many topics and ACLs, as a table.
//!
//! Usage: `provider-size [OBJECTS [PARALLELISM…]]`; 10,000 topics and as many ACLs, at 10 and 256.

use anyhow::{Result, ensure};
use lockgate_tests::at_size::{Phase, check_requests, measure, most_creates};

/// How much longer than `terraform_data` each command may take.
const GOALS: [(&str, f64); 3] = [("apply", 2.0), ("refresh", 1.5), ("plan", 1.5)];

fn main() -> Result<()> {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let objects = numbers.first().copied().unwrap_or(10_000);
    let parallelisms = if numbers.len() > 1 { &numbers[1..] } else { &[10, 256][..] };
    let mut missed = Vec::new();
    println!("{objects} topics and {objects} ACLs");
    println!("| parallelism | command | terraform_data | lockgate | ratio | provider | broker CPU | requests |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for &parallelism in parallelisms {
        let phases = measure(objects, parallelism)?;
        for phase in &phases {
            println!("{}", row(parallelism, phase));
            let goal = GOALS.iter().find(|(name, _)| *name == phase.name).map_or(f64::INFINITY, |(_, goal)| *goal);
            if phase.ratio() > goal {
                missed.push(format!("{} at {parallelism} takes {:.2} times", phase.name, phase.ratio()));
            }
        }
        if let Err(error) = check_requests(&phases, objects, most_creates(objects, parallelism)) {
            missed.push(format!("at {parallelism}: {error}"));
        }
    }
    ensure!(missed.is_empty(), "goals missed: {}", missed.join("; "));
    Ok(())
}

fn row(parallelism: usize, phase: &Phase) -> String {
    let requests: Vec<_> = phase.requests.iter().map(|(api, count)| format!("{api} {count}")).collect();
    format!(
        "| {parallelism} | {} | {:.1} s | {:.1} s | {:.2} | {} MiB | {:.1} s | {} |",
        phase.name,
        phase.floor_seconds,
        phase.seconds,
        phase.ratio(),
        phase.resident_bytes >> 20,
        phase.broker_cpu_seconds,
        requests.join(", ")
    )
}
