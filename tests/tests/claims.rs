//! Many connections that each claim the largest request there may be: honest clients notice nothing, and memory is held for
//! what has come alone. `make conformance-kafka` also shows what Apache Kafka makes of it.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::claims::{Attack, Door, Honest, Measure};
use lockgate_tests::kafka::{Kafka, KafkaOptions};
use lockgate_tests::operator::{Operator, admin_login};
use lockgate_tests::requests::fetch;
use lockgate_tests::until;
use lockgate_tests::wire::tls_config;

const ATTACKERS: usize = 1500;
const WINDOW: Duration = Duration::from_secs(4);
/// How much worse the attack may make it than the worse of the times before and after: both share two processors with the
/// attackers and the clients themselves.
const RATIO: f64 = 5.0;
/// What each of the connections may take (bytes): small receive buffers of TLS and of requests, and the task.
const PER_CONNECTION: u64 = 32 << 10;
/// What the allocator may keep of it (bytes).
const KEPT: u64 = 16 << 20;

/// Both measure, so nothing else may take the processors.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn resident(broker: &Broker) -> Result<u64> {
    Ok(broker.usage()?.resident_bytes)
}

fn told(measure: &Result<Measure>) -> String {
    measure.as_ref().map_or_else(|error| format!("{error:#}"), |measure| format!("{measure:?}"))
}

fn ensure_unmoved(quiet: [Measure; 2], attacked: Measure) -> Result<()> {
    println!("before and after {quiet:?}\nattacked {attacked:?}");
    let slowest = |of: fn(&Measure) -> f64| quiet.iter().map(of).fold(0.0, f64::max) * RATIO;
    let rate = quiet.iter().map(|quiet| quiet.bytes_per_second).fold(f64::MAX, f64::min) / RATIO;
    ensure!(attacked.bytes_per_second > rate, "throughput is below a {RATIO}th");
    ensure!(attacked.median.as_secs_f64() < slowest(|quiet| quiet.median.as_secs_f64()), "the median is {RATIO} times");
    ensure!(attacked.p99.as_secs_f64() < slowest(|quiet| quiet.p99.as_secs_f64()), "the slowest are {RATIO} times");
    Ok(())
}

#[test]
fn claims_move_nobody_and_hold_nothing() -> Result<()> {
    let _turn = one_at_a_time();
    let broker = Broker::start(&Options { plaintext: true, ..Options::default() })?;
    Operator::of(&broker)?.topic("honest", 1, &[])?;
    let tls = tls_config(&broker.ca_path())?;
    let known = Door::LoggedIn(broker.address(), tls.clone(), admin_login(&broker)?);
    let mut honest = Honest::begin(&known, "honest")?;
    let before = honest.measure(WINDOW)?;
    let (memory, files) = (resident(&broker)?, broker.open_files()?);

    let third = ATTACKERS / 3;
    let doors =
        [(Door::Plain(broker.plaintext_address()), third), (Door::Tls(broker.address(), tls), third), (known, third)];
    let attack = Attack::begin(&doors)?;
    ensure!(attack.claims() > ATTACKERS as u64 * 9 / 10, "only {} requests are claimed", attack.claims());
    let attacked = honest.measure(WINDOW * 2).with_context(|| broker.log_tail())?;
    let peak = resident(&broker)?;
    println!("{} claims; resident memory {} MiB, {} MiB", attack.claims(), memory >> 20, peak >> 20);
    ensure!(peak < memory + ATTACKERS as u64 * PER_CONNECTION, "memory grew from {memory} to {peak} bytes");
    attack.end()?;

    until(Duration::from_secs(30), "what the attackers held is free", || {
        let (now, open) = (resident(&broker).ok()?, broker.open_files().ok()?);
        (open <= files + 2 && now < memory + KEPT).then_some(())
    })
    .with_context(|| format!("{memory} and {peak} bytes, now {:?}; {files} files", broker.usage()))?;
    println!("resident memory {} MiB afterwards", resident(&broker)? >> 20);
    ensure_unmoved([before, honest.measure(WINDOW)?], attacked)?;
    honest.end()
}

/// It makes room for each claim as soon as it is made.
#[test]
#[ignore = "it says nothing about Lockgate: make conformance-kafka"]
fn apache_kafka_runs_out_of_memory() -> Result<()> {
    let _turn = one_at_a_time();
    // The heap of Kafka's own start script.
    let kafka = Kafka::start(&KafkaOptions { heap: "1G", ..KafkaOptions::default() })?;
    Operator::plain(kafka.plaintext_address())?.topic("honest", 1, &[])?;
    let door = Door::Plain(kafka.plaintext_address());
    let mut reader = door.open()?;
    until(Duration::from_secs(30), "the topic is served", || {
        fetch(&mut reader, "honest", 0, 0, 0).is_ok_and(|fetched| fetched.code == 0).then_some(())
    })?;
    let mut honest = Honest::begin(&door, "honest")?;
    println!("before {:?}", honest.measure(WINDOW)?);
    let attack = Attack::begin(&[(door, ATTACKERS)])?;
    let attacked = honest.measure(WINDOW * 2);
    println!("attacked {}", told(&attacked));
    attack.end()?;
    let log = kafka.log_text();
    let errors = log.lines().filter(|line| line.contains("OutOfMemoryError")).count();
    println!("OutOfMemoryError {errors} times; afterwards {}", told(&honest.measure(WINDOW)));
    ensure!(errors > 0 || attacked.is_err(), "Apache Kafka bears it");
    Ok(())
}
