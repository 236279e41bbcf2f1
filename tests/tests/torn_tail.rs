//! The end of the last segment is torn, as a crash leaves it: what is recovered is an exact prefix, the producer's state
//! agrees with it, and damage below the checkpoint is never cut away.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use lockgate_tests::batch::{Batch, parse};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::ledger::{read_all, records};
use lockgate_tests::operator::{Operator, admin_login};
use lockgate_tests::requests::{PRODUCE, init_producer_id, produce, produce_request, produced};
use lockgate_tests::segments::segment_files;
use lockgate_tests::wire::{Connection, tls_config};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

const TOPIC: &str = "torn";
const CUTS: usize = 25;
/// Batches that each life of the broker adds.
const BATCHES: usize = 12;

/// A batch that the log holds, or has to take again.
#[derive(Clone)]
struct Sent {
    offset: i64,
    values: Vec<Bytes>,
    bytes: Bytes,
}

/// One idempotent producer, and the log as it has to be.
struct Writer {
    id: (i64, i16),
    log: Vec<Sent>,
}

impl Writer {
    fn end(&self) -> i64 {
        self.log.last().map_or(0, |last| last.offset + last.values.len() as i64)
    }

    /// Every record has one sequence number and one offset, and all start at 0.
    fn append(&mut self, connection: &mut Connection, rng: &mut StdRng) -> Result<()> {
        let offset = self.end();
        let value = |_| Bytes::from(vec![rng.random::<u8>(); rng.random_range(0..9000)]);
        let values: Vec<Bytes> = (0..1 + offset % 7).map(value).collect();
        let (producer_id, producer_epoch) = self.id;
        let batch = Batch { producer_id, producer_epoch, base_sequence: offset as i32, ..Batch::of(values.clone()) };
        let sent = Sent { offset, values, bytes: batch.encode().freeze() };
        send(connection, &sent)?;
        self.log.push(sent);
        Ok(())
    }

    fn check(&self, connection: &mut Connection) -> Result<()> {
        let stored: Vec<Bytes> =
            records(&read_all(connection, TOPIC, 0)?)?.into_iter().map(|(_, value)| value).collect();
        let sent: Vec<&Bytes> = self.log.iter().flat_map(|sent| &sent.values).collect();
        ensure!(stored.iter().eq(sent.iter().copied()), "{} records are stored, not {}", stored.len(), sent.len());
        Ok(())
    }
}

fn send(connection: &mut Connection, sent: &Sent) -> Result<()> {
    let offset = produce(connection, TOPIC, 0, sent.bytes.clone())?;
    ensure!(offset == sent.offset, "the batch of {} has offset {offset}", sent.offset);
    Ok(())
}

fn connect(broker: &Broker) -> Result<Connection> {
    Connection::login(broker.address(), tls_config(&broker.ca_path())?, &admin_login(broker)?)
}

fn stop(broker: &mut Broker) -> Result<()> {
    let status = broker.stop()?;
    ensure!(status.success(), "the broker stopped with {status}; {}", broker.log_tail());
    Ok(())
}

fn last_segment(broker: &Broker, topic: Uuid) -> Result<PathBuf> {
    segment_files(broker.data(), topic, 0)?.pop().context("no segment file")
}

/// How a crash may leave the bytes behind `at`.
fn tear(path: &Path, at: u64, rng: &mut StdRng) -> Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let len = file.metadata()?.len();
    match rng.random_range(0..3) {
        0 => file.set_len(at)?,
        // Space was reserved, the bytes never came.
        1 => file.write_all_at(&vec![0; (len - at) as usize], at)?,
        _ => {
            let mut noise = vec![0; (len - at) as usize];
            rng.fill(&mut noise[..]);
            file.write_all_at(&noise, at)?;
        }
    }
    Ok(())
}

#[test]
fn a_torn_tail_leaves_an_exact_prefix() -> Result<()> {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut broker = Broker::start(&Options::default())?;
    let topic = Operator::of(&broker)?.topic(TOPIC, 1, &[])?;
    let mut connection = connect(&broker)?;
    let mut writer = Writer { id: init_producer_id(&mut connection)?, log: Vec::new() };
    let mut cut_in_all = 0;
    for cut in 0..CUTS {
        let path = last_segment(&broker, topic)?;
        // What an earlier life left was checked at the start of this one, and is not torn by any crash now.
        let checked = std::fs::metadata(&path)?.len();
        for _ in 0..BATCHES {
            writer.append(&mut connection, &mut rng)?;
        }
        broker.kill()?;
        let at = rng.random_range(checked..=std::fs::metadata(&path)?.len());
        tear(&path, at, &mut rng)?;
        let (whole, _) = parse(std::fs::read(&path)?.into());
        let ends = |found: &lockgate_tests::batch::Found| found.base_offset + i64::from(found.count);
        let end = whole.iter().take_while(|found| found.intact).last().map_or(0, ends);
        let kept = writer.log.iter().take_while(|sent| sent.offset < end).count();
        let lost = writer.log.split_off(kept);
        cut_in_all += lost.len();

        broker.start_again().with_context(|| format!("cut {cut} at {at}; {}", broker.log_tail()))?;
        connection = connect(&broker)?;
        writer.check(&mut connection).with_context(|| format!("cut {cut} at {at} of {}", path.display()))?;
        // What survived is known, and what did not is new.
        if let Some(last) = writer.log.last() {
            send(&mut connection, last).context("a retry of the last batch that survived")?;
        }
        if let Some(skipped) = lost.get(1) {
            let request = produce_request(TOPIC, 0, -1, skipped.bytes.clone());
            let (code, _) = produced(&connection.call(&request, PRODUCE)?)?;
            let error = ResponseError::try_from_code(code);
            ensure!(error == Some(ResponseError::OutOfOrderSequenceNumber), "a gap in the sequence is {error:?}");
        }
        for again in lost {
            send(&mut connection, &again).context("a retry of a batch that was cut")?;
            writer.log.push(again);
        }
        writer.check(&mut connection)?;
    }
    ensure!(cut_in_all > CUTS, "only {cut_in_all} batches were cut: the test tests nothing");
    Ok(())
}

#[test]
fn damage_below_the_checkpoint_is_told_and_not_cut() -> Result<()> {
    let mut broker = Broker::start(&Options::default())?;
    let topic = Operator::of(&broker)?.topic(TOPIC, 1, &[])?;
    let mut connection = connect(&broker)?;
    let mut writer = Writer { id: init_producer_id(&mut connection)?, log: Vec::new() };
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..BATCHES {
        writer.append(&mut connection, &mut rng)?;
    }
    stop(&mut broker)?;
    let path = last_segment(&broker, topic)?;
    let sound = std::fs::read(&path)?;
    std::fs::OpenOptions::new().write(true).open(&path)?.set_len(sound.len() as u64 / 2)?;

    broker.start_again()?;
    let mut connection = connect(&broker)?;
    let request = produce_request(TOPIC, 0, -1, Batch::of(["lost?"]).encode().freeze());
    let (code, _) = produced(&connection.call(&request, PRODUCE)?)?;
    let error = ResponseError::try_from_code(code);
    ensure!(error == Some(ResponseError::KafkaStorageError), "producing to a damaged partition is {error:?}");
    ensure!(broker.log_text().contains("partition is offline"), "the log does not say it: {}", broker.log_tail());
    broker.kill()?;

    // From a copy everything is there again.
    std::fs::write(&path, &sound)?;
    broker.start_again()?;
    let mut connection = connect(&broker)?;
    let end = Instant::now() + Duration::from_secs(5);
    while let Err(error) = writer.check(&mut connection) {
        ensure!(Instant::now() < end, "{error:#}");
        thread::sleep(Duration::from_millis(50));
    }
    writer.append(&mut connection, &mut rng)
}
