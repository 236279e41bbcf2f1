//! Producers on topics whose old records go: they write down what was acknowledged, where, and when it was sent, so that a
//! reader can tell at any time what has to be there, and what must not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::batch::now_ms;
use crate::ledger::{Target, Trouble};
use crate::records::{Record, Sender, encode};
use crate::requests::{
    PRODUCE, add_to_transaction, end_transaction, init_producer_id, init_transactions, produce_request, produced,
};
use crate::wire::Connection;

/// Keys of one producer; nobody else writes them.
const KEYS: usize = 40;
/// A value of an aborted transaction starts with it.
pub const DOOMED: &[u8; 5] = b"abort";

/// What a producer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Values and tombstones for its keys.
    Keyed,
    /// The same in transactions, of which some are aborted.
    Transactional,
    /// Larger records without keys.
    Unkeyed,
}

/// A record that was acknowledged.
#[derive(Clone, Debug)]
pub struct Placed {
    pub record: Record,
    /// When it was sent first: it is not in the log any earlier.
    pub sent: Instant,
}

/// Everything known of one topic (of one partition).
#[derive(Debug, Default)]
pub struct Account {
    /// By offset.
    pub placed: BTreeMap<i64, Placed>,
    /// Offset of the newest record of each key that counts.
    pub latest: HashMap<Bytes, i64>,
    /// Offsets of records in transactions that are, or will be, aborted.
    pub doomed: HashSet<i64>,
    /// What readers saw, by offset.
    pub seen: HashMap<i64, Record>,
    /// The largest log start offset that a reader saw.
    pub log_start: i64,
    /// Bytes of acknowledged batches.
    pub written: u64,
    pub faults: Vec<String>,
}

pub type Shared = Arc<Mutex<Account>>;

pub fn lock(account: &Shared) -> MutexGuard<'_, Account> {
    account.lock().expect("no thread of the load panics")
}

/// Starts a producer that writes until `draining`, then gets its last batch acknowledged or its transaction ended.
pub fn start(
    target: &Target,
    topic: &str,
    kind: Kind,
    account: &Shared,
    rng: StdRng,
    number: usize,
    draining: &Arc<AtomicBool>,
) -> JoinHandle<()> {
    let producer = Producer {
        target: target.clone(),
        topic: topic.to_owned(),
        name: format!("{topic}-{number}"),
        kind,
        account: account.clone(),
        rng,
        draining: draining.clone(),
        id: None,
        next_sequence: 0,
        sent: 0,
        pending: None,
        transaction: None,
    };
    thread::spawn(move || producer.run())
}

/// A batch that is not acknowledged yet; it goes out again as it is.
struct Pending {
    records: Vec<Record>,
    bytes: Bytes,
    sent: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    Abort,
    /// The next life of the producer aborts it.
    Abandon,
}

/// A transaction under way; every step of it can be repeated.
struct Transaction {
    end: End,
    added: bool,
    batches_left: usize,
    placed: Vec<(Bytes, i64)>,
}

struct Producer {
    target: Target,
    topic: String,
    name: String,
    kind: Kind,
    account: Shared,
    rng: StdRng,
    draining: Arc<AtomicBool>,
    id: Option<(i64, i16)>,
    next_sequence: i32,
    sent: u64,
    pending: Option<Pending>,
    transaction: Option<Transaction>,
}

impl Producer {
    fn run(mut self) {
        let always = AtomicBool::new(true);
        while let Some(mut connection) = self.target.connect_while(&always) {
            match self.session(&mut connection) {
                Ok(()) => return,
                Err(Trouble::Broken) => thread::sleep(Duration::from_millis(5)),
                Err(Trouble::Wrong(fault)) => {
                    lock(&self.account).faults.push(format!("{}: {fault}", self.name));
                    return;
                }
            }
        }
    }

    /// Until the connection breaks; `Ok` when everything is acknowledged and no more is wanted.
    fn session(&mut self, connection: &mut Connection) -> Result<(), Trouble> {
        if self.id.is_none() {
            self.id = Some(self.init(connection)?);
        }
        loop {
            let idle = self.pending.is_none() && self.transaction.is_none();
            if idle && self.draining.load(Ordering::Relaxed) {
                return Ok(());
            }
            match self.kind {
                Kind::Transactional => self.transact(connection)?,
                Kind::Keyed | Kind::Unkeyed => self.produce(connection)?,
            }
            thread::sleep(Duration::from_millis(self.rng.random_range(0..6)));
        }
    }

    fn init(&self, connection: &mut Connection) -> Result<(i64, i16), Trouble> {
        if self.kind != Kind::Transactional {
            return init_producer_id(connection).map_err(|_| Trouble::Broken);
        }
        let (code, id) = init_transactions(connection, &self.name).map_err(|_| Trouble::Broken)?;
        Trouble::check(code, "InitProducerId").map(|()| id)
    }

    fn transact(&mut self, connection: &mut Connection) -> Result<(), Trouble> {
        let mut under_way = match self.transaction.take() {
            Some(under_way) => under_way,
            None => self.begin(),
        };
        let done = self.go_on(connection, &mut under_way);
        if done.is_err() {
            self.transaction = Some(under_way);
            return done;
        }
        if under_way.end == End::Commit {
            lock(&self.account).latest.extend(under_way.placed);
        }
        Ok(())
    }

    fn begin(&mut self) -> Transaction {
        let end = match self.rng.random_range(0..10) {
            0..6 => End::Commit,
            6..9 => End::Abort,
            _ => End::Abandon,
        };
        Transaction { end, added: false, batches_left: self.rng.random_range(1..4), placed: Vec::new() }
    }

    fn go_on(&mut self, connection: &mut Connection, under_way: &mut Transaction) -> Result<(), Trouble> {
        let id = self.id.unwrap_or((-1, -1));
        if !under_way.added {
            let code = add_to_transaction(connection, &self.name, id, &self.topic).map_err(|_| Trouble::Broken)?;
            Trouble::check(code, "AddPartitionsToTxn")?;
            under_way.added = true;
        }
        let doomed = under_way.end != End::Commit;
        while under_way.batches_left > 0 {
            if self.pending.is_none() {
                self.make_batch(doomed);
            }
            let placed = self.send(connection)?;
            if doomed {
                lock(&self.account).doomed.extend(placed.iter().map(|(_, offset)| *offset));
            }
            under_way.placed.extend(placed);
            under_way.batches_left -= 1;
        }
        match under_way.end {
            End::Abandon => {
                self.id = Some(self.init(connection)?);
                self.next_sequence = 0;
                Ok(())
            }
            end => {
                let code = end_transaction(connection, &self.name, id, end == End::Commit);
                Trouble::check(code.map_err(|_| Trouble::Broken)?, "EndTxn")
            }
        }
    }

    fn produce(&mut self, connection: &mut Connection) -> Result<(), Trouble> {
        if self.pending.is_none() {
            self.make_batch(false);
        }
        let placed = self.send(connection)?;
        lock(&self.account).latest.extend(placed);
        Ok(())
    }

    fn make_batch(&mut self, doomed: bool) {
        let records: Vec<_> = (0..self.rng.random_range(1..9)).map(|_| self.make_record(doomed)).collect();
        let (producer_id, producer_epoch) = self.id.unwrap_or((-1, -1));
        let transactional = self.kind == Kind::Transactional;
        let sender = Sender { producer_id, producer_epoch, base_sequence: self.next_sequence, transactional };
        self.next_sequence += records.len() as i32;
        let bytes = encode(&records, sender);
        self.pending = Some(Pending { records, bytes, sent: Instant::now() });
    }

    fn make_record(&mut self, doomed: bool) -> Record {
        let rng = &mut self.rng;
        self.sent += 1;
        let filler = if self.kind == Kind::Unkeyed { 2000..6000 } else { 0..300 };
        let what = if doomed { DOOMED } else { b"value" };
        let mut value = what.to_vec();
        value.extend(format!("/{}/{}/", self.name, self.sent).bytes());
        value.resize(value.len() + rng.random_range(filler), b'-');
        let (key, tombstone) = match self.kind {
            Kind::Unkeyed => (None, false),
            _ => (Some(format!("{}/{}", self.name, rng.random_range(0..KEYS)).into()), rng.random_bool(0.15)),
        };
        let header = |_| (Bytes::from("name"), rng.random_bool(0.8).then(|| Bytes::from(vec![b'h'; 5])));
        Record {
            timestamp: now_ms(),
            key,
            value: (!tombstone).then(|| value.into()),
            headers: (0..self.sent % 3).map(header).collect(),
        }
    }

    /// Gets the pending batch acknowledged; returns keys and offsets.
    fn send(&mut self, connection: &mut Connection) -> Result<Vec<(Bytes, i64)>, Trouble> {
        let Some(pending) = &self.pending else { return Ok(Vec::new()) };
        let mut request = produce_request(&self.topic, 0, -1, pending.bytes.clone());
        request.transactional_id =
            (self.kind == Kind::Transactional).then(|| crate::requests::transactional_id(&self.name));
        let answer = connection.call(&request, PRODUCE).map_err(|_| Trouble::Broken)?;
        let (code, base) = produced(&answer).map_err(|error| Trouble::Wrong(error.to_string()))?;
        Trouble::check(code, "Produce")?;
        let Some(Pending { records, bytes, sent }) = self.pending.take() else { return Ok(Vec::new()) };
        let mut account = lock(&self.account);
        account.written += bytes.len() as u64;
        let mut keys = Vec::new();
        for (record, offset) in records.into_iter().zip(base..) {
            keys.extend(record.key.clone().map(|key| (key, offset)));
            if let Some(other) = account.placed.insert(offset, Placed { record, sent }) {
                account.faults.push(format!("offset {offset} was given twice, first to {:?}", other.record));
            }
        }
        Ok(keys)
    }
}

/// A generator of its own for each producer.
pub fn rng(seed: u64, number: usize) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_add(number as u64))
}
