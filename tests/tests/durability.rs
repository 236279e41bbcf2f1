//! Nothing acknowledged is lost: not to SIGKILL, not to a power cut, not to a full disk; and nothing is acknowledged
//! before it is durable.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProduceRequest;
use lockgate_tests::batch::{Batch, Found};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::ledger::{GROUP, Ledger, Load, PARTITIONS, TOPIC, Target, read_all, records};
use lockgate_tests::operator::{Operator, admin_login};
use lockgate_tests::requests::{
    PRODUCE, commit, committed, fetch, init_producer_id, produce, produce_request, produced,
};
use lockgate_tests::segments::stored_batches;
use lockgate_tests::volume::{Rig, Volume};
use lockgate_tests::wire::{Connection, tls_config};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

const KILLS: usize = 60;
const POWER_CUTS: usize = 8;

/// Each of these tests wants the machine's disk and processors for itself.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn target(broker: &Broker) -> Result<Target> {
    Ok(Target { address: broker.address(), tls: tls_config(&broker.ca_path())?, login: admin_login(broker)? })
}

fn logs_by_fetch(connection: &mut Connection) -> Result<BTreeMap<i32, Vec<Found>>> {
    (0..PARTITIONS).map(|partition| Ok((partition, read_all(connection, TOPIC, partition)?))).collect()
}

fn logs_on_disk(broker: &Broker, topic: Uuid) -> Result<BTreeMap<i32, Vec<Found>>> {
    (0..PARTITIONS).map(|partition| Ok((partition, stored_batches(broker.data(), topic, partition)?))).collect()
}

/// The whole account: by fetch, and on disk after a clean stop.
fn settle(broker: &mut Broker, target: &Target, ledger: &Ledger, topic: Uuid) -> Result<()> {
    let mut connection = target.connect()?;
    ledger.check(&logs_by_fetch(&mut connection)?).context("as fetched")?;
    let offset = committed(&mut connection, GROUP, TOPIC)?;
    ensure!(offset >= ledger.committed, "offset {} was committed, now it is {offset}", ledger.committed);
    drop(connection);
    let status = broker.stop()?;
    ensure!(status.success(), "the broker stopped with {status}");
    ledger.check(&logs_on_disk(broker, topic)?).context("as stored")
}

#[test]
fn sigkill_under_load_loses_nothing() -> Result<()> {
    let _turn = one_at_a_time();
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut broker = Broker::start(&Options::default())?;
    let topic = Operator::of(&broker)?.topic(TOPIC, PARTITIONS, &[("segment.bytes", "1048576")])?;
    let target = target(&broker)?;
    let load = Load::start(&target, seed);
    let (mut slowest, mut made) = (Duration::ZERO, Vec::new());
    for cycle in 0..KILLS {
        let before = load.acknowledged();
        // At least something is acknowledged in every life, so that every recovery has something to lose.
        lockgate_tests::until(Duration::from_secs(20), "records are acknowledged again", || {
            (load.acknowledged() > before).then_some(())
        })
        .with_context(|| format!("cycle {cycle}; {}", broker.log_tail()))?;
        let operator = Operator::of(&broker)?;
        let making = thread::spawn(move || {
            let name = format!("made-{cycle}");
            operator.topic(&name, 1, &[]).ok().map(|_| name)
        });
        // Half of the topics are made before the kill; of the others some are under way.
        lockgate_tests::until(Duration::from_secs(5), "a topic is made", || {
            (cycle % 2 == 1 || making.is_finished()).then_some(())
        })?;
        thread::sleep(Duration::from_millis(rng.random_range(5..150)));
        broker.kill()?;
        made.extend(making.join().map_err(|_| anyhow::anyhow!("the topic maker panicked"))?);
        slowest = slowest.max(broker.start_again()?);
        let committed_before = load.with(|ledger| ledger.committed);
        let now = committed(&mut target.connect()?, GROUP, TOPIC)?;
        ensure!(now >= committed_before, "cycle {cycle}: offset {committed_before} was committed, now it is {now}");
    }
    let ledger = load.finish().with_context(|| broker.log_tail())?;
    ensure!(made.len() >= KILLS / 2, "only {} topics were made", made.len());
    let operator = Operator::of(&broker)?;
    let names: Vec<&str> = made.iter().map(String::as_str).collect();
    for (name, topic) in operator.wait(operator.admin().describe_topics(&names))? {
        topic.with_context(|| format!("{name} was made, and is lost"))?;
    }
    settle(&mut broker, &target, &ledger, topic)?;
    println!(
        "{KILLS} kills; {} batches acknowledged, {} records seen by a consumer, {} commits, {} topics; slowest start {slowest:?}",
        ledger.acknowledged.len(),
        ledger.seen.len(),
        ledger.committed,
        made.len()
    );
    Ok(())
}

#[test]
fn power_cuts_under_load_lose_nothing() -> Result<()> {
    let _turn = one_at_a_time();
    let Some(mut rig) = Rig::build()? else { return Ok(()) };
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let options = Options { data: Some(rig.data()), reserve_bytes: Some(4 << 20), ..Options::default() };
    let mut broker = Broker::start(&options)?;
    let topic = Operator::of(&broker)?.topic(TOPIC, PARTITIONS, &[("segment.bytes", "1048576")])?;
    let target = target(&broker)?;
    let load = Load::start(&target, seed);
    for cycle in 0..POWER_CUTS {
        let before = load.acknowledged();
        lockgate_tests::until(Duration::from_secs(20), "records are acknowledged again", || {
            (load.acknowledged() > before).then_some(())
        })
        .with_context(|| format!("cycle {cycle}; {}", broker.log_tail()))?;
        thread::sleep(Duration::from_millis(rng.random_range(50..400)));
        let frozen = rig.hold_flushes()?;
        // Whoever acknowledges without a flush gives itself away now.
        thread::sleep(Duration::from_millis(rng.random_range(0..200)));
        rig.cut_power(&mut broker, frozen)?;
        broker.start_again()?;
    }
    let ledger = load.finish().with_context(|| broker.log_tail())?;
    settle(&mut broker, &target, &ledger, topic)?;
    println!(
        "{POWER_CUTS} power cuts; {} batches acknowledged, {} commits",
        ledger.acknowledged.len(),
        ledger.committed
    );
    Ok(())
}

#[test]
fn a_retry_is_not_answered_before_the_first_try_is_durable() -> Result<()> {
    let _turn = one_at_a_time();
    let Some(mut rig) = Rig::build()? else { return Ok(()) };
    let options = Options { data: Some(rig.data()), reserve_bytes: Some(4 << 20), ..Options::default() };
    let mut broker = Broker::start(&options)?;
    let topic = Operator::of(&broker)?.topic(TOPIC, 1, &[])?;
    let target = target(&broker)?;
    let (mut first, mut second, mut reader) = (target.connect()?, target.connect()?, target.connect()?);
    let (producer_id, producer_epoch) = init_producer_id(&mut first)?;
    let batch = |base_sequence: i32| {
        let value = format!("record {base_sequence}");
        Batch { producer_id, producer_epoch, base_sequence, ..Batch::of([value]) }.encode().freeze()
    };
    ensure!(produce(&mut first, TOPIC, 0, batch(0))? == 0, "the first record has offset 0");

    let frozen = rig.hold_flushes()?;
    for connection in [&mut first, &mut second] {
        connection.send(&produce_request(TOPIC, 0, -1, batch(1)), PRODUCE)?;
        connection.set_patience(Duration::from_millis(700))?;
        let answer = connection.read_frame();
        ensure!(answer.is_err(), "an answer came while nothing could be flushed: {answer:?}");
    }
    let fetched = fetch(&mut reader, TOPIC, 0, 0, 0)?;
    ensure!(fetched.high_watermark == 1, "a record can be seen that is not durable: {}", fetched.high_watermark);
    rig.cut_power(&mut broker, frozen)?;
    broker.start_again()?;

    let mut third = target.connect()?;
    let fetched = fetch(&mut third, TOPIC, 0, 0, 0)?;
    ensure!(fetched.high_watermark == 1, "the record outlived the power cut: the test's disk lost nothing");
    ensure!(produce(&mut third, TOPIC, 0, batch(1))? == 1, "the retry is stored behind the first record");
    ensure!(produce(&mut third, TOPIC, 0, batch(1))? == 1, "a second retry is a duplicate");
    let status = broker.stop()?;
    ensure!(status.success(), "the broker stopped with {status}");
    let stored = records(&stored_batches(broker.data(), topic, 0)?)?;
    ensure!(stored.len() == 2, "{} records are stored", stored.len());
    Ok(())
}

/// Produces until the broker refuses; returns how many batches were acknowledged and the error.
fn fill(connection: &mut Connection, from: usize, bytes: usize) -> Result<(usize, ResponseError)> {
    for number in from..from + 10_000 {
        let mut value = vec![b'x'; bytes];
        value[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let request = produce_request(TOPIC, 0, -1, Batch::of([value]).encode().freeze());
        let correlation = connection.send(&request, PRODUCE)?;
        let (code, offset) = produced(&connection.answer::<ProduceRequest>(PRODUCE, correlation)?)?;
        match ResponseError::try_from_code(code) {
            None => ensure!(offset == number as i64, "batch {number} has offset {offset}"),
            Some(error) => return Ok((number, error)),
        }
    }
    bail!("the disk does not get full")
}

/// The log holds exactly these batches, whole, and the consumer gets them.
fn exactly(broker: &Broker, connection: &mut Connection, topic: Uuid, count: usize) -> Result<()> {
    for (what, batches) in
        [("stored", stored_batches(broker.data(), topic, 0)?), ("fetched", read_all(connection, TOPIC, 0)?)]
    {
        let numbers: Vec<u64> =
            records(&batches)?.iter().map(|(_, value)| u64::from_be_bytes(std::array::from_fn(|i| value[i]))).collect();
        ensure!(numbers.iter().copied().eq(0..count as u64), "{} records are {what}, not {count}", numbers.len());
    }
    Ok(())
}

fn produces_again(connection: &mut Connection, number: usize) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let request =
            produce_request(TOPIC, 0, -1, Batch::of([(number as u64).to_be_bytes().to_vec()]).encode().freeze());
        let (code, offset) = produced(&connection.call(&request, PRODUCE)?)?;
        match ResponseError::try_from_code(code) {
            None if offset == number as i64 => return Ok(()),
            None => bail!("batch {number} has offset {offset}"),
            Some(error) => ensure!(Instant::now() < end, "there is space again, but: {error:?}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn small_disk(reserve: u64) -> Result<Option<(tempfile::TempDir, Volume, Broker, Uuid)>> {
    let folder = tempfile::tempdir()?;
    let volume = match Volume::make(folder.path(), "disk", 64 << 20) {
        Ok(volume) => volume,
        Err(error) => {
            println!("SKIPPED: no file system can be mounted here: {error:#}");
            return Ok(None);
        }
    };
    let data = Some(volume.path().join("data"));
    let broker = Broker::start(&Options { data, reserve_bytes: Some(reserve), ..Options::default() })?;
    let topic = Operator::of(&broker)?.topic(TOPIC, 1, &[("segment.bytes", "1048576")])?;
    Ok(Some((folder, volume, broker, topic)))
}

#[test]
fn the_reserve_keeps_a_full_disk_workable() -> Result<()> {
    let _turn = one_at_a_time();
    let Some((_folder, _volume, mut broker, topic)) = small_disk(24 << 20)? else { return Ok(()) };
    let target = target(&broker)?;
    let mut connection = target.connect()?;
    let (count, error) = fill(&mut connection, 0, 200_000)?;
    ensure!(error == ResponseError::KafkaStorageError, "a full disk is {error:?}");
    ensure!(count > 20, "only {count} batches fit");
    exactly(&broker, &mut connection, topic, count)?;
    commit(&mut connection, GROUP, TOPIC, 7).context("commits go on")?;
    Operator::of(&broker)?.topic("another", 1, &[]).context("the catalog goes on")?;
    let operator = Operator::of(&broker)?;
    operator.wait(operator.admin().delete_topics(&["another"]))?;
    ensure!(broker.is_running(), "the broker is gone");

    broker.kill()?;
    broker.start_again().context("start on a full disk")?;
    let mut connection = target.connect()?;
    ensure!(committed(&mut connection, GROUP, TOPIC)? == 7, "the commit is lost");
    exactly(&broker, &mut connection, topic, count)
}

#[test]
fn a_disk_without_a_byte_left_damages_nothing() -> Result<()> {
    let _turn = one_at_a_time();
    let Some((_folder, volume, mut broker, topic)) = small_disk(0)? else { return Ok(()) };
    let target = target(&broker)?;
    let mut connection = target.connect()?;
    for number in 0..10u64 {
        let mut value = vec![b'x'; 100_000];
        value[..8].copy_from_slice(&number.to_be_bytes());
        produce(&mut connection, TOPIC, 0, Batch::of([value]).encode().freeze())?;
    }
    // Somebody else takes all the space that is left.
    let filler = volume.path().join("filler");
    let mut file = std::fs::File::create(&filler)?;
    let piece = vec![1u8; 64 << 10];
    while file.write_all(&piece).is_ok() {}
    while file.write_all(&[1]).is_ok() {}
    drop(file);

    let (count, error) = fill(&mut connection, 10, 100_000)?;
    ensure!(
        matches!(error, ResponseError::KafkaStorageError | ResponseError::NotLeaderOrFollower),
        "a full disk is {error:?}"
    );
    thread::sleep(Duration::from_millis(300));
    ensure!(broker.is_running(), "the broker is gone");
    let mut reader = target.connect()?;
    exactly(&broker, &mut reader, topic, count).context("on the full disk")?;
    std::fs::remove_file(&filler)?;
    produces_again(&mut reader, count)?;
    exactly(&broker, &mut reader, topic, count + 1).context("after there was space again")?;
    let status = broker.stop()?;
    ensure!(status.success(), "the broker stopped with {status}");
    broker.start_again()?;
    exactly(&broker, &mut target.connect()?, topic, count + 1).context("after a restart")
}
