//! Load with a memory: idempotent producers that write down what was acknowledged, a consumer that writes down what it
//! saw, a committer and a topic maker likewise; afterwards the log must agree with all of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProduceRequest;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustls::ClientConfig;

use crate::batch::{Batch, Found, parse};
use crate::requests::{PRODUCE, commit, fetch, init_producer_id, produce_request, produced};
use crate::wire::{Connection, Login};

pub const TOPIC: &str = "ledger";
pub const PARTITIONS: i32 = 3;
pub const PRODUCERS: usize = 6;
pub const GROUP: &str = "ledger";

/// Requests that a producer has under way at once, as many as Kafka remembers batches for.
const IN_FLIGHT: usize = 5;

/// A batch that the broker acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub partition: i32,
    pub producer_id: i64,
    pub base_sequence: i32,
    pub count: i32,
    pub offset: i64,
}

/// Everything that must be found again.
#[derive(Default)]
pub struct Ledger {
    pub acknowledged: Vec<Acknowledged>,
    /// What the consumer saw, by partition and offset.
    pub seen: HashMap<(i32, i64), Bytes>,
    /// The largest committed offset that was acknowledged.
    pub committed: i64,
    /// What was wrong already while the load ran.
    pub faults: Vec<String>,
}

/// How to reach the broker that is under load, now and after every restart.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub tls: Arc<ClientConfig>,
    pub login: Login,
}

impl Target {
    pub fn connect(&self) -> Result<Connection> {
        Connection::login(self.address, self.tls.clone(), &self.login)
    }

    /// Tries until it works or the load is over.
    pub fn connect_while(&self, running: &AtomicBool) -> Option<Connection> {
        while running.load(Ordering::Relaxed) {
            match self.connect() {
                Ok(connection) => return Some(connection),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
        None
    }
}

/// Threads that produce, consume and commit until stopped.
pub struct Load {
    running: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
    ledger: Arc<Mutex<Ledger>>,
    producers: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(target: &Target, seed: u64) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let draining = Arc::new(AtomicBool::new(false));
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let producers = (0..PRODUCERS)
            .map(|number| {
                let producer = Producer {
                    target: target.clone(),
                    running: running.clone(),
                    draining: draining.clone(),
                    ledger: ledger.clone(),
                    number,
                    rng: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
                    id: None,
                    next_sequence: 0,
                    pending: VecDeque::new(),
                };
                thread::spawn(move || producer.run())
            })
            .collect();
        let mut others = Vec::new();
        for job in [consume as fn(&Target, &AtomicBool, &Mutex<Ledger>), commit_on] {
            let (target, running, ledger) = (target.clone(), running.clone(), ledger.clone());
            others.push(thread::spawn(move || job(&target, &running, &ledger)));
        }
        Self { running, draining, ledger, producers, others }
    }

    pub fn acknowledged(&self) -> usize {
        self.lock().acknowledged.len()
    }

    pub fn with<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no thread of the load panics")
    }

    /// Lets every producer get its last batches acknowledged, and ends the load.
    pub fn finish(self) -> Result<Ledger> {
        self.draining.store(true, Ordering::Relaxed);
        let end = Instant::now() + Duration::from_secs(30);
        while self.producers.iter().any(|thread| !thread.is_finished()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let stuck = self.producers.iter().filter(|thread| !thread.is_finished()).count();
        self.running.store(false, Ordering::Relaxed);
        ensure!(stuck == 0, "{stuck} producers could not finish");
        for thread in self.producers.into_iter().chain(self.others) {
            thread.join().map_err(|_| anyhow::anyhow!("a thread of the load panicked"))?;
        }
        let ledger = std::mem::take(&mut *self.ledger.lock().expect("no thread of the load panics"));
        ensure!(ledger.faults.is_empty(), "{}", ledger.faults.join("\n"));
        Ok(ledger)
    }
}

struct Pending {
    base_sequence: i32,
    count: i32,
    bytes: Bytes,
}

/// One idempotent producer on one partition. What is not acknowledged goes out again, in order, with its sequence.
struct Producer {
    target: Target,
    running: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
    ledger: Arc<Mutex<Ledger>>,
    number: usize,
    rng: StdRng,
    id: Option<(i64, i16)>,
    next_sequence: i32,
    pending: VecDeque<Pending>,
}

impl Producer {
    fn run(mut self) {
        while let Some(mut connection) = self.target.connect_while(&self.running) {
            match self.session(&mut connection) {
                Ok(()) => return,
                Err(Trouble::Broken) => {}
                Err(Trouble::Wrong(fault)) => {
                    self.ledger.lock().expect("no panic").faults.push(format!("producer {}: {fault}", self.number));
                    return;
                }
            }
        }
    }

    /// Until the connection breaks; `Ok` when everything is acknowledged and no more is wanted.
    fn session(&mut self, connection: &mut Connection) -> Result<(), Trouble> {
        if self.id.is_none() {
            self.id = Some(init_producer_id(connection).map_err(|_| Trouble::Broken)?);
        }
        let mut under_way = VecDeque::new();
        loop {
            let more = !self.draining.load(Ordering::Relaxed);
            while under_way.len() < IN_FLIGHT && (under_way.len() < self.pending.len() || more) {
                if under_way.len() == self.pending.len() {
                    self.make_batch();
                }
                let request = self.request(&self.pending[under_way.len()]);
                under_way.push_back(connection.send(&request, PRODUCE).map_err(|_| Trouble::Broken)?);
            }
            let Some(correlation) = under_way.pop_front() else { return Ok(()) };
            let answer = connection.answer::<ProduceRequest>(PRODUCE, correlation).map_err(|_| Trouble::Broken)?;
            let (code, offset) = produced(&answer).map_err(|error| Trouble::Wrong(error.to_string()))?;
            // What follows on this connection may be refused as out of order: then it starts anew from the first.
            Trouble::check(code, "Produce").inspect_err(|_| thread::sleep(Duration::from_millis(5)))?;
            self.acknowledge(offset);
        }
    }

    fn partition(&self) -> i32 {
        self.number as i32 % PARTITIONS
    }

    fn make_batch(&mut self) {
        let count = self.rng.random_range(1..=12);
        let values: Vec<Bytes> =
            (0..count).map(|i| value(self.number, self.next_sequence + i, self.rng.random_range(0..200))).collect();
        let (producer_id, producer_epoch) = self.id.unwrap_or((-1, -1));
        let batch = Batch { producer_id, producer_epoch, base_sequence: self.next_sequence, ..Batch::of(values) };
        let bytes = batch.encode().freeze();
        self.pending.push_back(Pending { base_sequence: self.next_sequence, count, bytes });
        self.next_sequence += count;
    }

    fn request(&self, pending: &Pending) -> ProduceRequest {
        produce_request(TOPIC, self.partition(), -1, pending.bytes.clone())
    }

    fn acknowledge(&mut self, offset: i64) {
        let Some(done) = self.pending.pop_front() else { return };
        self.ledger.lock().expect("no panic").acknowledged.push(Acknowledged {
            partition: self.partition(),
            producer_id: self.id.map_or(-1, |(id, _)| id),
            base_sequence: done.base_sequence,
            count: done.count,
            offset,
        });
    }
}

#[derive(Debug)]
pub enum Trouble {
    /// The broker is gone or cannot now; try again.
    Broken,
    /// The broker said something that it must not say.
    Wrong(String),
}

impl Trouble {
    /// What an error code means for whoever tries until it works.
    pub fn check(code: i16, what: &str) -> Result<(), Self> {
        match ResponseError::try_from_code(code) {
            None => Ok(()),
            Some(error) if error.is_retriable() || error == ResponseError::ConcurrentTransactions => Err(Self::Broken),
            Some(error) => Err(Self::Wrong(format!("{what}: {error:?}"))),
        }
    }
}

/// Names its producer and place in that producer's sequence.
fn value(producer: usize, sequence: i32, filler: usize) -> Bytes {
    Bytes::from(format!("{producer}/{sequence}/{}", "-".repeat(filler)))
}

fn consume(target: &Target, running: &AtomicBool, ledger: &Mutex<Ledger>) {
    let mut next = [0; PARTITIONS as usize];
    let mut turn = 0;
    while let Some(mut connection) = target.connect_while(running) {
        while running.load(Ordering::Relaxed) {
            turn = (turn + 1) % PARTITIONS;
            let partition = turn;
            let Ok(fetched) = fetch(&mut connection, TOPIC, partition, next[partition as usize], 20) else { break };
            if fetched.code != 0 {
                thread::sleep(Duration::from_millis(5));
                break;
            }
            let mut ledger = ledger.lock().expect("no panic");
            for (offset, value) in records(&parse(fetched.records).0).unwrap_or_default() {
                if offset >= next[partition as usize] {
                    ledger.seen.insert((partition, offset), value);
                    next[partition as usize] = offset + 1;
                }
            }
        }
    }
}

fn commit_on(target: &Target, running: &AtomicBool, ledger: &Mutex<Ledger>) {
    let mut offset = 0;
    while let Some(mut connection) = target.connect_while(running) {
        while running.load(Ordering::Relaxed) && commit(&mut connection, GROUP, TOPIC, offset + 1).is_ok() {
            offset += 1;
            ledger.lock().expect("no panic").committed = offset;
        }
        // The last one may or may not be stored: go on behind it.
        offset += 1;
        thread::sleep(Duration::from_millis(5));
    }
}

/// Offset and value of every record.
pub fn records(batches: &[Found]) -> Result<Vec<(i64, Bytes)>> {
    let mut all = Vec::new();
    for batch in batches {
        ensure!(batch.intact, "the batch at offset {} has a wrong CRC", batch.base_offset);
        let values = batch.values().with_context(|| format!("records of the batch at offset {}", batch.base_offset))?;
        all.extend(values.into_iter().enumerate().map(|(i, value)| (batch.base_offset + i as i64, value)));
    }
    Ok(all)
}

/// Every record of a partition, as a consumer gets it.
pub fn read_all(connection: &mut Connection, topic: &str, partition: i32) -> Result<Vec<Found>> {
    let mut all: Vec<Found> = Vec::new();
    let mut next = 0;
    loop {
        let fetched = fetch(connection, topic, partition, next, 0)?;
        ensure!(fetched.code == 0, "fetch at {next}: {:?}", ResponseError::try_from_code(fetched.code));
        let (batches, _) = parse(fetched.records);
        match batches.last() {
            Some(last) => next = last.base_offset + i64::from(last.last_offset_delta) + 1,
            None if next < fetched.high_watermark => bail!("nothing at {next}, below {}", fetched.high_watermark),
            None => return Ok(all),
        }
        all.extend(batches);
    }
}

impl Ledger {
    /// The log holds everything acknowledged where it was acknowledged, everything seen as it was seen, and of every
    /// producer each record once and in order.
    pub fn check(&self, logs: &BTreeMap<i32, Vec<Found>>) -> Result<()> {
        let mut places = HashMap::new();
        let mut next_sequence: HashMap<i64, i32> = HashMap::new();
        for (&partition, batches) in logs {
            for batch in batches {
                let next = next_sequence.entry(batch.producer_id).or_default();
                ensure!(
                    batch.base_sequence == *next,
                    "partition {partition}, offset {}: producer {} has sequence {} after {next}: lost or repeated",
                    batch.base_offset,
                    batch.producer_id,
                    batch.base_sequence
                );
                *next += batch.count;
                places.insert((partition, batch.producer_id, batch.base_sequence), (batch.base_offset, batch.count));
            }
        }
        for ack in &self.acknowledged {
            let place = places.get(&(ack.partition, ack.producer_id, ack.base_sequence));
            ensure!(place == Some(&(ack.offset, ack.count)), "acknowledged {ack:?}, found {place:?}");
        }
        let mut stored = HashMap::new();
        for (&partition, batches) in logs {
            stored.extend(records(batches)?.into_iter().map(|(offset, value)| ((partition, offset), value)));
        }
        for (place, value) in &self.seen {
            ensure!(
                stored.get(place) == Some(value),
                "a consumer saw {value:?} at {place:?}, now it is {:?}",
                stored.get(place)
            );
        }
        Ok(())
    }
}
