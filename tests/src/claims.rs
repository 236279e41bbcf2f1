//! Connections that each claim a large request and hardly send any of it, and honest clients that measure how they are
//! served meanwhile.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;

use crate::batch::Batch;
use crate::requests::{fetch, produce};
use crate::wire::{Connection, Login};

/// The largest request that Kafka and Lockgate take by default.
const CLAIM: i32 = 100 << 20;
/// A byte of each connection's claim comes this often.
const DRIP: Duration = Duration::from_secs(1);
/// Those that were closed are opened again, so many each time: an attack on memory, not on processors.
const REOPENED: usize = 50;
/// Records are written in batches of this size (bytes).
const BATCH: usize = 16 << 10;

/// How the connections come in.
#[derive(Clone)]
pub enum Door {
    Plain(SocketAddr),
    /// TLS, and no login yet.
    Tls(SocketAddr, Arc<ClientConfig>),
    LoggedIn(SocketAddr, Arc<ClientConfig>, Login),
}

impl Door {
    pub fn open(&self) -> Result<Connection> {
        match self {
            Self::Plain(address) => Connection::plain(*address),
            Self::Tls(address, config) => Connection::tls(*address, config.clone()),
            Self::LoggedIn(address, config, login) => Connection::login(*address, config.clone(), login),
        }
    }
}

/// Goes on until it is ended.
pub struct Attack {
    stop: Arc<AtomicBool>,
    claims: Arc<AtomicU64>,
    doors: Vec<JoinHandle<()>>,
}

impl Attack {
    /// So many connections through each door; returns once each has been tried.
    pub fn begin(doors: &[(Door, usize)]) -> Result<Self> {
        let limits = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, maximum: limits.maximum })?;
        let (stop, claims) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let attack = |(door, count): &(Door, usize)| {
            let (door, count, stop, claims) = (door.clone(), *count, stop.clone(), claims.clone());
            let (ready, first) = std::sync::mpsc::channel();
            let thread = thread::spawn(move || {
                let mut connections: Vec<_> = (0..count).map(|_| claim(&door, &claims)).collect();
                let _ = ready.send(());
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(DRIP);
                    drip(&door, &mut connections, &claims);
                }
            });
            (thread, first)
        };
        let (doors, ready): (Vec<_>, Vec<_>) = doors.iter().map(attack).unzip();
        for first in ready {
            first.recv()?;
        }
        Ok(Self { stop, claims, doors })
    }

    /// Requests that were claimed so far.
    pub fn claims(&self) -> u64 {
        self.claims.load(Ordering::Relaxed)
    }

    /// Closes all connections.
    pub fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.doors.into_iter().try_for_each(|door| door.join().map_err(|_| anyhow!("an attacker panicked")))
    }
}

/// Opens a connection and claims; what the broker thinks of it shows later.
fn claim(door: &Door, claims: &AtomicU64) -> Option<Connection> {
    let mut connection = door.open().ok()?;
    connection.send_raw(&[&CLAIM.to_be_bytes()[..], &[0, 0, 0, 9]].concat()).ok()?;
    claims.fetch_add(1, Ordering::Relaxed);
    Some(connection)
}

fn drip(door: &Door, connections: &mut [Option<Connection>], claims: &AtomicU64) {
    let mut reopened = 0;
    for slot in connections {
        if slot.as_mut().is_some_and(|connection| connection.send_raw(&[0]).is_ok()) {
            continue;
        }
        *slot = None;
        if reopened < REOPENED {
            *slot = claim(door, claims);
            reopened += 1;
        }
    }
}

/// What honest clients had of the broker in some time.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Bytes that were written and read again, in a second.
    pub bytes_per_second: f64,
    /// From sending a batch to its acknowledgement, with `acks=all`.
    pub median: Duration,
    /// The same, of the slowest hundredth.
    pub p99: Duration,
}

#[derive(Default)]
struct Counted {
    acknowledged: Mutex<Vec<Duration>>,
    read: AtomicU64,
}

/// A producer and a consumer, each on a connection that stays.
pub struct Honest {
    stop: Arc<AtomicBool>,
    counted: Arc<Counted>,
    clients: Vec<JoinHandle<Result<()>>>,
}

impl Honest {
    /// On partition 0 of a topic.
    pub fn begin(door: &Door, topic: &'static str) -> Result<Self> {
        let (stop, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(Counted::default()));
        let (mut producer, mut consumer) = (door.open()?, door.open()?);
        let (stopping, count) = (stop.clone(), counted.clone());
        let writes = thread::spawn(move || {
            let value = Bytes::from(vec![7; BATCH]);
            while !stopping.load(Ordering::Relaxed) {
                let began = Instant::now();
                produce(&mut producer, topic, 0, Batch::of([value.clone()]).encode().freeze()).context("producing")?;
                count.acknowledged.lock().map_err(|_| anyhow!("the measuring panicked"))?.push(began.elapsed());
            }
            Ok(())
        });
        let (stopping, count) = (stop.clone(), counted.clone());
        let reads = thread::spawn(move || {
            let mut next = 0;
            while !stopping.load(Ordering::Relaxed) {
                let fetched = fetch(&mut consumer, topic, 0, next, 100).context("consuming")?;
                ensure!(fetched.code == 0, "consuming: error {}", fetched.code);
                count.read.fetch_add(fetched.records.len() as u64, Ordering::Relaxed);
                next += crate::batch::parse(fetched.records).0.len() as i64;
            }
            Ok(())
        });
        Ok(Self { stop, counted, clients: vec![writes, reads] })
    }

    /// How they are served for that long from now. A client that has failed fails it.
    pub fn measure(&mut self, time: Duration) -> Result<Measure> {
        let take = || self.counted.acknowledged.lock().map(|mut all| std::mem::take(&mut *all));
        take().map_err(|_| anyhow!("a client panicked"))?;
        let (before, began) = (self.counted.read.load(Ordering::Relaxed), Instant::now());
        thread::sleep(time);
        let (read, took) = (self.counted.read.load(Ordering::Relaxed) - before, began.elapsed());
        let mut acknowledged = take().map_err(|_| anyhow!("a client panicked"))?;
        self.join_failed()?;
        acknowledged.sort();
        ensure!(!acknowledged.is_empty() && read > 0, "in {took:?} nothing was acknowledged, or nothing read");
        Ok(Measure {
            bytes_per_second: read as f64 / took.as_secs_f64(),
            median: acknowledged[acknowledged.len() / 2],
            p99: acknowledged[acknowledged.len() * 99 / 100],
        })
    }

    fn join_failed(&mut self) -> Result<()> {
        match self.clients.iter().position(JoinHandle::is_finished) {
            Some(ended) => self.clients.swap_remove(ended).join().map_err(|_| anyhow!("a client panicked"))?,
            None => Ok(()),
        }
    }

    pub fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
    }
}
