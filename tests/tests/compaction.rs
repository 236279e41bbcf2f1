//! Compaction and retention keep what they must and free what they can, under load and across crashes; offsets never move.
//!
//! `COMPACTION_SEED` repeats a run's choices.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::keyed::{self, Account, DOOMED, Kind, Placed, Shared, lock};
use lockgate_tests::ledger::{Target, Trouble};
use lockgate_tests::longer;
use lockgate_tests::operator::{Operator, admin_login};
use lockgate_tests::records::{Record, Sender, decode, encode};
use lockgate_tests::requests::produce;
use lockgate_tests::scan::{Scan, scan};
use lockgate_tests::segments::{segment_files, stored_batches};
use lockgate_tests::wire::{Connection, tls_config};
use rand::Rng;
use uuid::Uuid;

const LOAD_SECONDS: u64 = 20;
/// A record of nobody's that makes the broker close a segment and look for something to compact.
const NUDGE: &[u8] = b"nudge";
/// Clocks of broker and test are the same, but answers take their time.
const SLACK: Duration = Duration::from_millis(50);

/// A topic under test, and what its settings promise.
struct Topic {
    name: &'static str,
    kind: Kind,
    producers: usize,
    configs: &'static [(&'static str, &'static str)],
    /// `delete.retention.ms`, when it is compacted.
    tombstones: Option<Duration>,
    retention_ms: Option<i64>,
    retention_bytes: Option<u64>,
}

const TOMBSTONES: Duration = Duration::from_millis(2500);
const SEGMENT_BYTES: u64 = 1 << 20;

const TOPICS: &[Topic] = &[
    Topic {
        name: "compacted",
        kind: Kind::Keyed,
        producers: 2,
        configs: &[
            ("cleanup.policy", "compact"),
            ("delete.retention.ms", "2500"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("segment.bytes", "1048576"),
            ("segment.ms", "400"),
        ],
        tombstones: Some(TOMBSTONES),
        retention_ms: None,
        retention_bytes: None,
    },
    Topic {
        // Segments are closed by the cleaner itself, and records are compressed anew.
        name: "compacted-gzip",
        kind: Kind::Keyed,
        producers: 1,
        configs: &[
            ("cleanup.policy", "compact"),
            ("compression.type", "gzip"),
            ("delete.retention.ms", "2500"),
            ("max.compaction.lag.ms", "500"),
            ("min.cleanable.dirty.ratio", "1.0"),
            ("segment.bytes", "1048576"),
        ],
        tombstones: Some(TOMBSTONES),
        retention_ms: None,
        retention_bytes: None,
    },
    Topic {
        name: "transactional",
        kind: Kind::Transactional,
        producers: 3,
        configs: &[
            ("cleanup.policy", "compact"),
            ("delete.retention.ms", "2500"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("segment.bytes", "1048576"),
            ("segment.ms", "400"),
        ],
        tombstones: Some(TOMBSTONES),
        retention_ms: None,
        retention_bytes: None,
    },
    Topic {
        name: "by-size",
        kind: Kind::Unkeyed,
        producers: 1,
        configs: &[("retention.bytes", "3145728"), ("segment.bytes", "1048576")],
        tombstones: None,
        retention_ms: None,
        retention_bytes: Some(3 << 20),
    },
    Topic {
        name: "by-time",
        kind: Kind::Unkeyed,
        producers: 1,
        configs: &[("retention.ms", "4000"), ("segment.bytes", "1048576"), ("segment.ms", "500")],
        tombstones: None,
        retention_ms: Some(4000),
        retention_bytes: None,
    },
    Topic {
        name: "compacted-by-time",
        kind: Kind::Keyed,
        producers: 1,
        configs: &[
            ("cleanup.policy", "compact,delete"),
            ("delete.retention.ms", "2500"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("retention.ms", "4000"),
            ("segment.bytes", "1048576"),
            ("segment.ms", "400"),
        ],
        tombstones: Some(TOMBSTONES),
        retention_ms: Some(4000),
        retention_bytes: None,
    },
];

fn earlier(moment: Instant, by: Duration) -> Instant {
    moment.checked_sub(by).unwrap_or(moment)
}

/// What an account promises to a scan that begins now: the newest record of each key.
type Promised = HashMap<Bytes, (i64, Placed)>;

fn promised(account: &Account) -> Promised {
    let with_record = |(key, offset): (&Bytes, &i64)| (key.clone(), (*offset, account.placed[offset].clone()));
    account.latest.iter().map(with_record).collect()
}

impl Topic {
    /// Reads until the load is over, and holds what is read against the account.
    fn read_on(&self, target: &Target, account: &Shared, running: &AtomicBool) {
        let mut committed = true;
        while let Some(mut connection) = target.connect_while(running) {
            while running.load(Ordering::Relaxed) {
                match self.read(&mut connection, account, committed) {
                    Ok(()) => committed = !committed,
                    Err(Trouble::Broken) => break,
                    Err(Trouble::Wrong(fault)) => {
                        lock(account).faults.push(format!("{}: {fault}", self.name));
                        return;
                    }
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn read(&self, connection: &mut Connection, account: &Shared, committed: bool) -> Result<(), Trouble> {
        let promised = promised(&lock(account));
        let Some(scan) = scan(connection, self.name, committed)? else { return Ok(()) };
        self.check(&scan, &promised, &mut lock(account), committed)
            .map_err(|error| Trouble::Wrong(format!("{error:#} (committed only: {committed})")))
    }

    fn check(&self, scan: &Scan, promised: &Promised, account: &mut Account, committed: bool) -> Result<()> {
        for (offset, record) in &scan.records {
            if let Some(before) = account.seen.insert(*offset, record.clone()) {
                ensure!(before == *record, "offset {offset} was {before:?}, and is {record:?}");
            }
            if committed {
                let doomed = record.value.as_ref().is_some_and(|value| value.starts_with(DOOMED));
                ensure!(!doomed && !account.doomed.contains(offset), "aborted, and read: {offset} {record:?}");
            }
        }
        ensure!(scan.log_start >= account.log_start, "the log start went back to {}", scan.log_start);
        account.log_start = scan.log_start;
        self.check_start(scan, account)?;
        match self.tombstones {
            None => check_gapless(scan),
            Some(_) if committed || self.kind == Kind::Keyed => self.check_keys(scan, promised),
            Some(_) => Ok(()),
        }
    }

    /// Retention took nothing that it has to leave.
    fn check_start(&self, scan: &Scan, account: &Account) -> Result<()> {
        if scan.log_start == 0 {
            return Ok(());
        }
        let mut gone = account.placed.range(..scan.log_start).rev().take(1000);
        match (self.retention_ms, self.retention_bytes) {
            (Some(keep), _) => {
                let young = gone.find(|(_, placed)| placed.record.timestamp + keep > scan.ended_ms);
                ensure!(young.is_none(), "gone at {}, and younger than {keep} ms: {young:?}", scan.ended_ms);
            }
            (None, Some(keep)) => {
                ensure!(scan.bytes >= keep, "{} bytes are left, though {keep} are to be kept", scan.bytes);
            }
            (None, None) => anyhow::bail!("the log starts at {}, without retention", scan.log_start),
        }
        Ok(())
    }

    /// The newest record of each key is there, and nothing hides behind it.
    fn check_keys(&self, scan: &Scan, promised: &Promised) -> Result<()> {
        let grace = self.tombstones.unwrap_or_default();
        let keyed = scan.records.iter().filter_map(|(offset, record)| Some((record.key.as_ref()?, *offset)));
        let newest: HashMap<_, _> = keyed.collect();
        for (key, (offset, placed)) in promised.iter().filter(|(_, (offset, _))| *offset < scan.end) {
            let (found, record) = (newest.get(key), &placed.record);
            let expired = self.retention_ms.is_some_and(|keep| record.timestamp + keep <= scan.ended_ms);
            let forgotten = record.value.is_none() && scan.ended + SLACK >= placed.sent + grace;
            // A slow reader may meet a value whose tombstone goes before it gets there.
            let slow = forgotten && scan.began + SLACK < earlier(scan.ended, grace);
            match found {
                Some(found) if found >= offset => {}
                None if expired || forgotten => {}
                Some(_) if slow => {}
                _ => anyhow::bail!("{key:?} has {found:?} instead of {offset}: {record:?}"),
            }
        }
        Ok(())
    }

    /// Everything that may go is gone.
    fn is_settled(&self, scan: &Scan, account: &Account, size: u64) -> Result<()> {
        match (self.retention_ms, self.retention_bytes) {
            (Some(_), _) => {
                let left = scan.records.iter().filter(|(_, record)| !is_nudge(record)).count();
                ensure!(left == 0, "{left} records outlive their retention");
                ensure!(size < SEGMENT_BYTES, "{size} bytes are left of nothing");
            }
            (None, Some(keep)) => {
                let most = keep + 2 * SEGMENT_BYTES;
                ensure!(size <= most, "{size} bytes are stored, more than {most}");
            }
            (None, None) => {
                let stays = |offset: &&i64| account.placed[*offset].record.value.is_some();
                let mut live: Vec<_> = account.latest.values().filter(stays).copied().collect();
                live.sort_unstable();
                let left: Vec<_> =
                    scan.records.iter().filter(|(_, record)| !is_nudge(record)).map(|(offset, _)| *offset).collect();
                ensure!(left == live, "of {} records only {} should be left", left.len(), live.len());
                let most = 2 * account.written / account.placed.len() as u64 * live.len() as u64 + (64 << 10);
                ensure!(size <= most, "{size} bytes are stored, more than {most}");
            }
        }
        Ok(())
    }
}

fn is_nudge(record: &Record) -> bool {
    record.key.as_deref() == Some(NUDGE)
}

/// Retention takes from the front only.
fn check_gapless(scan: &Scan) -> Result<()> {
    let mut expected = scan.log_start..scan.end;
    for (offset, _) in &scan.records {
        ensure!(expected.next() == Some(*offset), "offset {offset} follows a gap");
    }
    ensure!(expected.is_empty(), "{expected:?} are missing");
    Ok(())
}

/// The topics with their load.
struct Scene {
    broker: Broker,
    target: Target,
    topics: Vec<(&'static Topic, Uuid, Shared)>,
}

impl Scene {
    fn set() -> Result<Self> {
        let options = Options { top: vec!["maintenance_interval_ms = 100".to_owned()], ..Options::default() };
        let broker = Broker::start(&options)?;
        let operator = Operator::of(&broker)?;
        let mut topics = Vec::new();
        for topic in TOPICS {
            topics.push((topic, operator.topic(topic.name, 1, topic.configs)?, Shared::default()));
        }
        let target =
            Target { address: broker.address(), tls: tls_config(&broker.ca_path())?, login: admin_login(&broker)? };
        Ok(Self { broker, target, topics })
    }

    fn folder(&self, topic: Uuid) -> std::path::PathBuf {
        self.broker.data().join("partitions").join(format!("{topic}-0"))
    }

    /// Whether segments are being replaced now.
    fn replaces(&self) -> bool {
        self.topics.iter().any(|(_, id, _)| {
            let names = std::fs::read_dir(self.folder(*id)).into_iter().flatten().flatten();
            names.map(|entry| entry.file_name()).any(|name| name == "swap" || is_cleaned(Path::new(&name)))
        })
    }

    /// Every producer got something acknowledged since.
    fn progress(&self) -> Result<()> {
        let written = |account: &Shared| lock(account).written;
        let before: Vec<_> = self.topics.iter().map(|(_, _, account)| written(account)).collect();
        lockgate_tests::until(Duration::from_secs(20), "records are acknowledged again", || {
            let faults = self.topics.iter().any(|(_, _, account)| !lock(account).faults.is_empty());
            let all = self.topics.iter().zip(&before).all(|((_, _, account), before)| written(account) > *before);
            (all || faults).then_some(())
        })
        .with_context(|| self.broker.log_tail())?;
        self.no_faults()
    }

    fn no_faults(&self) -> Result<()> {
        for (_, _, account) in &self.topics {
            let account = lock(account);
            ensure!(account.faults.is_empty(), "{}\n{}", account.faults.join("\n"), self.broker.log_tail());
        }
        Ok(())
    }

    fn size(&self, topic: Uuid) -> Result<u64> {
        let mut size = 0;
        for path in segment_files(self.broker.data(), topic, 0)? {
            size += std::fs::metadata(path)?.len();
        }
        Ok(size)
    }

    /// After the load: what may go goes, the rest stays, on the disk too.
    fn settle(&self) -> Result<()> {
        let mut connection = self.target.connect()?;
        for (topic, id, account) in &self.topics {
            let end = Instant::now() + Duration::from_secs(25);
            loop {
                let unsettled = {
                    let promised = promised(&lock(account));
                    let scan = scan(&mut connection, topic.name, false).map_err(|error| anyhow!("{error:?}"))?;
                    scan.context("the log start moved").and_then(|scan| {
                        topic.check(&scan, &promised, &mut lock(account), false)?;
                        topic.is_settled(&scan, &lock(account), self.size(*id)?)
                    })
                };
                let Err(error) = unsettled else { break };
                ensure!(Instant::now() < end, "{}: {error:#}\n{}", topic.name, self.broker.log_tail());
                self.nudge(&mut connection)?;
                thread::sleep(Duration::from_millis(200));
            }
        }
        Ok(())
    }

    /// Compaction wants something new, in a segment that was closed.
    fn nudge(&self, connection: &mut Connection) -> Result<()> {
        for (topic, _, _) in self.topics.iter().filter(|(topic, _, _)| topic.tombstones.is_some()) {
            let (key, value) = (Some(Bytes::from_static(NUDGE)), Some(Bytes::from_static(b"now")));
            let record = Record { timestamp: lockgate_tests::batch::now_ms(), key, value, headers: Vec::new() };
            produce(connection, topic.name, 0, encode(&[record], Sender::default()))?;
        }
        Ok(())
    }

    /// What was seen and acknowledged is what was sent; what is stored is what was acknowledged.
    fn account_for_all(&mut self) -> Result<()> {
        let status = self.broker.stop()?;
        ensure!(status.success(), "the broker stopped with {status}");
        for (topic, id, account) in &self.topics {
            let account = lock(account);
            let stored = stored_batches(self.broker.data(), *id, 0)?;
            let stored: Vec<_> =
                stored.iter().filter(|batch| !batch.is_control()).map(decode).collect::<Result<_>>()?;
            let found = stored.iter().flatten().map(|(offset, record)| (offset, record));
            for (offset, record) in found.chain(&account.seen).filter(|(_, record)| !is_nudge(record)) {
                let placed = account.placed.get(offset).map(|placed| &placed.record);
                ensure!(placed == Some(record), "{}: {offset} is {record:?}, sent was {placed:?}", topic.name);
            }
        }
        Ok(())
    }
}

fn is_cleaned(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "cleaned")
}

/// Kills the broker again and again, often in the midst of replacing segments; returns how often, and how often then.
fn kill_on(scene: &mut Scene, seconds: u64, rng: &mut impl Rng) -> Result<(usize, usize)> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut kills, mut amidst) = (0, 0);
    while Instant::now() < end {
        scene.progress()?;
        thread::sleep(Duration::from_millis(rng.random_range(300..2500)));
        if rng.random_bool(0.7) {
            let replaces = || scene.replaces().then_some(());
            lockgate_tests::until(Duration::from_secs(20), "segments are replaced", replaces)?;
        }
        scene.broker.kill()?;
        amidst += usize::from(scene.replaces());
        kills += 1;
        scene.broker.start_again()?;
    }
    scene.progress()?;
    Ok((kills, amidst))
}

#[test]
fn what_must_stay_stays_and_what_may_go_goes() -> Result<()> {
    let seed = std::env::var("COMPACTION_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("COMPACTION_SEED={seed}");
    let mut scene = Scene::set()?;
    let (draining, reading) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
    let (mut producers, mut readers) = (Vec::new(), Vec::new());
    for (topic, _, account) in &scene.topics {
        for number in 0..topic.producers {
            let rng = keyed::rng(seed, producers.len());
            producers.push(keyed::start(&scene.target, topic.name, topic.kind, account, rng, number, &draining));
        }
        let (topic, target, account, reading) = (*topic, scene.target.clone(), account.clone(), reading.clone());
        readers.push(thread::spawn(move || topic.read_on(&target, &account, &reading)));
    }
    let (kills, amidst) = kill_on(&mut scene, longer(LOAD_SECONDS), &mut keyed::rng(seed, usize::MAX))?;

    draining.store(true, Ordering::Relaxed);
    lockgate_tests::until(Duration::from_secs(30), "the producers finish", || {
        producers.iter().all(|thread| thread.is_finished()).then_some(())
    })
    .with_context(|| scene.broker.log_tail())?;
    scene.settle()?;
    reading.store(false, Ordering::Relaxed);
    for thread in producers.into_iter().chain(readers) {
        thread.join().map_err(|_| anyhow!("a thread of the load panicked"))?;
    }
    scene.no_faults()?;
    scene.account_for_all()?;
    ensure!(amidst > 0, "none of {kills} kills came while segments were replaced: the test tests little");
    println!("{kills} kills, {amidst} of them while segments were replaced");
    for (topic, _, account) in &scene.topics {
        let account = lock(account);
        let (records, aborted) = (account.placed.len(), account.doomed.len());
        println!("{}: {records} records ({aborted} aborted), log start {}", topic.name, account.log_start);
        ensure!(topic.kind != Kind::Transactional || aborted > 0, "nothing was aborted");
        let retains = topic.retention_ms.is_some() || topic.retention_bytes.is_some();
        ensure!(account.log_start > 0 || !retains, "{}: retention freed nothing", topic.name);
    }
    Ok(())
}
