//! Many clusters in simulated time, under faults. The same seed gives the same run; one that fails is run again with
//! its events written down.

mod bucket;
mod checker;
mod converged;
mod faults;
mod host;
mod mutation;
mod network;
mod scenarios;
mod workload;
mod world;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use mutation::Mutation;
use world::{Act, World};

/// Faults happen for so long (ms).
const FAULTS_MS: u64 = 60_000;
/// After the last fault the cluster has to be well again within this (ms).
const RECOVERY_MS: u64 = 90_000;
/// Events of a failed run that are shown.
const SHOWN: usize = 400;

struct Outcome {
    failure: Option<String>,
    recovered_ms: u64,
    acknowledged: usize,
    reigns: usize,
    steps: u64,
    trace: Vec<String>,
}

/// One cluster of 3 to 7 brokers through a minute of faults.
fn run(seed: u64, mutation: Option<Mutation>, traced: bool) -> Outcome {
    let mut random = StdRng::seed_from_u64(seed ^ 0x5eed);
    let (nodes, shards) = (random.random_range(3..=7), random.random_range(1..=6));
    let mut world = World::new(seed, nodes, shards, mutation);
    world.trace = traced.then(Vec::new);
    world.conditions.loss = random.random_range(0..20);
    if random.random_range(0..4) > 0 {
        world.run(40_000, |world| world.unhealthy().is_none());
    }
    world.plan_faults(1, FAULTS_MS);
    world.run_for(FAULTS_MS);
    // Ends of faults that would come later come now.
    world.forget_acts();
    world.act_in(0, Act::Heal);
    let healed = world.time;
    let well = world.run(healed + RECOVERY_MS, |world| world.time > healed + 1_000 && world.unhealthy().is_none());
    let recovered_ms = world.time - healed;
    if !well && world.failure.is_none() {
        let what = world.unhealthy();
        world.check(Err(format!("not well {RECOVERY_MS} ms after the last fault: {what:?}")));
    }
    let logs = world.checker.logs(&world.bucket);
    world.check(logs);
    Outcome {
        failure: world.failure.take(),
        recovered_ms,
        acknowledged: world.checker.acknowledged_count(),
        reigns: world.checker.reigns,
        steps: world.steps,
        trace: world.trace.take().unwrap_or_default(),
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// `LOCKGATE_LONGER` multiplies the seeds; `LOCKGATE_SEED` is the first of them.
#[test]
fn nothing_acknowledged_is_lost_whatever_fails() {
    let (first, count) = (number("LOCKGATE_SEED", 1), 200 * number("LOCKGATE_LONGER", 1));
    let (mut slowest, mut acknowledged, mut reigns, mut steps) = (0, 0, 0, 0);
    for seed in first..first + count {
        let outcome = run(seed, None, false);
        if let Some(what) = outcome.failure {
            let traced = run(seed, None, true);
            let from = traced.trace.len().saturating_sub(SHOWN);
            panic!("seed {seed}: {what}\n{}", traced.trace[from..].join("\n"));
        }
        slowest = slowest.max(outcome.recovered_ms);
        acknowledged += outcome.acknowledged;
        reigns += outcome.reigns;
        steps += outcome.steps;
    }
    println!(
        "{count} seeds, {steps} steps, {acknowledged} records, {reigns} controllers, well again within {slowest} ms"
    );
    assert!(acknowledged as u64 > count * 100, "the clusters hardly worked");
}

#[test]
fn every_broken_rule_is_noticed() {
    for mutation in Mutation::ALL {
        let failure = |seed| match mutation {
            // It breaks no promise to clients, but it makes the cluster restless.
            Mutation::PeersIgnored => scenarios::one_way_cut(seed, Some(mutation)).err(),
            _ => run(seed, Some(mutation), false).failure,
        };
        let caught = (1..2_000).find_map(|seed| Some((seed, failure(seed)?)));
        match caught {
            Some((seed, what)) => println!("{mutation:?}: seed {seed}: {what}"),
            None => panic!("{mutation:?} is not noticed"),
        }
    }
}
