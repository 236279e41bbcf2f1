//! Producers that commit after every hundred records, beside producers of the same batches without transactions in the same
//! run, and a commit beside a durable append: it is answered when the decision is durable, which takes one.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::BytesMut;
use kafka_protocol::messages::{EndTxnRequest, InitProducerIdRequest, ProducerId, TransactionalId};
use kafka_protocol::protocol::StrBytes;

use super::measure::{Cost, Latency, durable_append, median, mib, timed};
use crate::batch::{Batch, parse, renumber};
use crate::broker::{Broker, Options};
use crate::operator::Operator;
use crate::requests::{fetch, init_producer_id, produce_request, produced};
use crate::until;
use crate::wire::{Connection, check};

/// Transactions of each run, over all producers.
pub(super) const COUNT: usize = 800;
/// Records of one transaction, in one batch, as clients send what comes together.
const RECORDS: usize = 100;
const RECORD_BYTES: usize = 1024;
/// Producers at the same time, each with a partition of its own.
const PRODUCERS: [usize; 2] = [1, 8];
const RUNS: usize = 3;
const TOPIC: &str = "bench-transactions";
/// The first versions with an epoch for each transaction, and partitions that the broker adds (KIP-890).
const PRODUCE: i16 = 12;
const END_TXN: i16 = 5;
const INIT_PRODUCER_ID: i16 = 5;
/// CoordinatorLoadInProgress.
const LOADING: i16 = 14;
const PATIENCE: Duration = Duration::from_secs(30);

/// Prints the table. `count`: transactions of each run.
pub fn run(count: usize) -> Result<()> {
    let broker = Broker::start(&Options { plaintext: true, ..Options::default() })?;
    let partitions = PRODUCERS.into_iter().max().unwrap_or_default();
    Operator::of(&broker)?.topic(TOPIC, i32::try_from(partitions)?, &[])?;
    let folder = tempfile::tempdir()?;
    let bare = durable_append(folder.path(), count)?;
    println!(
        "{:<40} {:>8} {:>8} {:>10} {:>10} {:>10}",
        format!("{RECORDS} records of {RECORD_BYTES} B at a time"),
        "batches/s",
        "MiB/s",
        "CPU s/GiB",
        "p50 ms",
        "p99 ms"
    );
    println!("{:<40} {:>39.2} {:>10.2}", "bare write and fdatasync", bare.p50, bare.p99);
    for producers in PRODUCERS {
        let (mut plain, mut transactional) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            plain.push(Figures::measure(&broker, producers, count, false)?);
            transactional.push(Figures::measure(&broker, producers, count, true)?);
        }
        let [plain, transactional] = [plain, transactional].map(|runs| median(runs, |run| run.per_second));
        let name = format!("{producers} producer{}", if producers > 1 { "s" } else { "" });
        plain.print(&format!("{name}, without transactions"));
        transactional.print(&format!("{name}, a transaction each"));
        println!(
            "{:<40} {:>7.2}x {:>8} {:>9.2}x",
            "  with to without",
            transactional.per_second / plain.per_second,
            "",
            transactional.cpu_per_gib / plain.cpu_per_gib
        );
        let Latency { p50, p99 } = transactional.commit.context("no commit was measured")?;
        println!("{:<40} {p50:>39.2} {p99:>10.2}   {:.2}x of bare", "  the commit alone", p50 / bare.p50);
    }
    println!();
    Ok(())
}

/// One line of the table.
struct Figures {
    /// Batches, and so transactions.
    per_second: f64,
    mib_per_second: f64,
    cpu_per_gib: f64,
    /// Of a batch with all that belongs to it.
    whole: Latency,
    commit: Option<Latency>,
}

impl Figures {
    fn measure(broker: &Broker, producers: usize, count: usize, transactional: bool) -> Result<Self> {
        let each = count.div_ceil(producers);
        let producer = |index: usize| match transactional {
            true => Producer::transactional(broker, index),
            false => Producer::plain(broker, index),
        };
        let mut all = (0..producers).map(producer).collect::<Result<Vec<_>>>()?;
        let (wholes, cost) = Cost::of(broker, || {
            thread::scope(|scope| {
                let started: Vec<_> = all.iter_mut().map(|one| scope.spawn(move || one.batches(each))).collect();
                let ended = started.into_iter().map(|one| one.join().map_err(|_| anyhow!("a producer panicked"))?);
                ended.collect::<Result<Vec<_>>>()
            })
        })?;
        for producer in &mut all {
            producer.check_last()?;
        }
        let commits: Vec<f64> = all.into_iter().flat_map(|one| one.commits).collect();
        let batches = (each * producers) as f64;
        let mib = batches * mib((RECORDS * RECORD_BYTES) as u64);
        Ok(Self {
            per_second: batches / cost.elapsed.as_secs_f64(),
            mib_per_second: mib / cost.elapsed.as_secs_f64(),
            cpu_per_gib: cost.cpu / (mib / 1024.0),
            whole: Latency::of(wholes.concat()),
            commit: transactional.then(|| Latency::of(commits)),
        })
    }

    fn print(&self, name: &str) {
        println!(
            "{name:<40} {:>8.0} {:>8.1} {:>10.2} {:>10.2} {:>10.2}",
            self.per_second, self.mib_per_second, self.cpu_per_gib, self.whole.p50, self.whole.p99
        );
    }
}

/// An idempotent producer with one batch under way at a time.
struct Producer {
    connection: Connection,
    partition: i32,
    /// Absent for a producer without transactions.
    id: Option<TransactionalId>,
    producer_id: i64,
    epoch: i16,
    sequence: i32,
    batch: BytesMut,
    /// Offset of the last batch.
    last: i64,
    /// What the commits took (milliseconds).
    commits: Vec<f64>,
}

impl Producer {
    fn plain(broker: &Broker, index: usize) -> Result<Self> {
        let mut connection = Connection::plain(broker.plaintext_address())?;
        let (producer_id, epoch) = init_producer_id(&mut connection)?;
        Self::of(connection, index, None, producer_id, epoch)
    }

    fn transactional(broker: &Broker, index: usize) -> Result<Self> {
        let mut connection = Connection::plain(broker.plaintext_address())?;
        let id = TransactionalId(StrBytes::from_string(format!("bench-{index}")));
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id.clone()))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        // A broker that is ready may still be reading its transactions.
        let answer = until(PATIENCE, "the coordinator gives a producer id", || {
            let answer = connection.call(&request, INIT_PRODUCER_ID);
            Some(answer).filter(|answer| !answer.as_ref().is_ok_and(|answer| answer.error_code == LOADING))
        })??;
        check(answer.error_code, "InitProducerId")?;
        Self::of(connection, index, Some(id), answer.producer_id.0, answer.producer_epoch)
    }

    fn of(
        connection: Connection,
        index: usize,
        id: Option<TransactionalId>,
        producer_id: i64,
        epoch: i16,
    ) -> Result<Self> {
        let attributes = if id.is_some() { 1 << 4 } else { 0 };
        let records = std::iter::repeat_n(vec![b'x'; RECORD_BYTES], RECORDS);
        let batch = Batch { attributes, ..Batch::of(records) }.encode();
        let partition = i32::try_from(index)?;
        Ok(Self { connection, partition, id, producer_id, epoch, sequence: 0, batch, last: -1, commits: Vec::new() })
    }

    /// Produces so many batches; says what each took, with its commit (milliseconds).
    fn batches(&mut self, count: usize) -> Result<Vec<f64>> {
        (0..count).map(|_| timed(|| self.batch()).map(|((), millis)| millis)).collect()
    }

    fn batch(&mut self) -> Result<()> {
        renumber(&mut self.batch, self.producer_id, self.epoch, self.sequence);
        let request = produce_request(TOPIC, self.partition, -1, self.batch.clone().freeze())
            .with_transactional_id(self.id.clone());
        let (code, offset) = produced(&self.connection.call(&request, PRODUCE)?)?;
        check(code, "Produce")?;
        (self.last, self.sequence) = (offset, self.sequence + RECORDS as i32);
        match self.id.clone() {
            None => Ok(()),
            Some(id) => {
                let millis = timed(|| self.commit(id))?.1;
                self.commits.push(millis);
                Ok(())
            }
        }
    }

    fn commit(&mut self, id: TransactionalId) -> Result<()> {
        let request = EndTxnRequest::default()
            .with_transactional_id(id)
            .with_producer_id(ProducerId(self.producer_id))
            .with_producer_epoch(self.epoch)
            .with_committed(true);
        let answer = self.connection.call(&request, END_TXN)?;
        check(answer.error_code, "EndTxn")?;
        (self.producer_id, self.epoch, self.sequence) = (answer.producer_id.0, answer.producer_epoch, 0);
        Ok(())
    }

    /// The last batch is there as it was sent.
    fn check_last(&mut self) -> Result<()> {
        let fetched = fetch(&mut self.connection, TOPIC, self.partition, self.last, 1000)?;
        check(fetched.code, "Fetch")?;
        let (found, _) = parse(fetched.records);
        let batch = found.first().context("the last batch is not there")?;
        let is_ours = batch.base_offset == self.last && batch.count == RECORDS as i32 && batch.intact;
        ensure!(is_ours, "another batch than the one that was acknowledged: {batch:?}");
        Ok(())
    }
}
