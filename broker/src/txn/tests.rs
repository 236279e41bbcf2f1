//! The coordinator over a topic in memory: what holds across a crash at any step.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::future::BoxFuture;
use kafka_protocol::ResponseError;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::coordinator::NewIds;
use super::*;
use crate::clock::ManualClock;
use crate::log::records::{NewRecord, Record};
use crate::log::{EndMarker, Entry, LogError, VerificationGuard};
use crate::state_topic::{StateLog, WhenDurable};

const PARTITIONS: i32 = 3;
const ID: &str = "payments";

/// The topic in memory.
#[derive(Default)]
struct Memory {
    records: Mutex<HashMap<i32, Vec<NewRecord>>>,
    /// So many appends more are durable; after them they are written and fail, as when the machine stops.
    durable_appends: AtomicI64,
    epoch: AtomicI64,
}

impl StateLog for Memory {
    fn open(&self) -> BoxFuture<'_, Result<i32, LogError>> {
        Box::pin(async { Ok(PARTITIONS) })
    }

    fn append(&self, partition: i32, records: &[NewRecord]) -> Result<WhenDurable, LogError> {
        if self.durable_appends.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Ok(Box::pin(async { Err(LogError::NotLeader) }));
        }
        self.records.lock().entry(partition).or_default().extend_from_slice(records);
        Ok(Box::pin(async { Ok(()) }))
    }

    fn begin_verification(&self, _: i32, _: i64, _: i16) -> Result<Option<VerificationGuard>, LogError> {
        Ok(None)
    }

    fn append_transactional(
        &self,
        _: i32,
        _: &[NewRecord],
        _: (i64, i16),
        _: Option<VerificationGuard>,
    ) -> Result<WhenDurable, LogError> {
        Err(LogError::NotLeader)
    }

    fn append_marker(&self, _: i32, _: EndMarker) -> Result<WhenDurable, LogError> {
        Err(LogError::NotLeader)
    }

    fn epoch(&self, _: i32) -> Result<i32, LogError> {
        Ok(self.epoch.load(Ordering::SeqCst) as i32)
    }

    fn read<'a>(
        &'a self,
        partition: i32,
        visit: &'a mut (dyn FnMut(Entry) + Send),
    ) -> BoxFuture<'a, Result<(), LogError>> {
        Box::pin(async move {
            let records = self.records.lock().get(&partition).cloned().unwrap_or_default();
            let record = |(offset, record): (usize, NewRecord)| Record {
                offset: offset as i64,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
            };
            visit(Entry::Records(records.into_iter().enumerate().map(record).collect()));
            Ok(())
        })
    }
}

/// Partitions that take markers, unless they are held.
#[derive(Default)]
struct Markers {
    written: Mutex<Vec<(String, i32, EndMarker)>>,
    held: Mutex<bool>,
}

impl MarkerWriter for Markers {
    fn write<'a>(&'a self, topic: &'a str, partition: i32, marker: EndMarker) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            if *self.held.lock() {
                return false;
            }
            self.written.lock().push((topic.to_owned(), partition, marker));
            true
        })
    }
}

#[derive(Default)]
struct Ids(AtomicI64);

impl NewIds for Ids {
    fn next(&self) -> BoxFuture<'_, Result<i64, ResponseError>> {
        Box::pin(async { Ok(self.0.fetch_add(1, Ordering::SeqCst)) })
    }
}

struct Rig {
    memory: Arc<Memory>,
    markers: Arc<Markers>,
    clock: Arc<ManualClock>,
    ids: Arc<Ids>,
    coordinator: Arc<Coordinator>,
    stop: CancellationToken,
}

impl Rig {
    async fn new() -> Self {
        let memory = Arc::new(Memory::default());
        memory.durable_appends.store(i64::MAX, Ordering::SeqCst);
        let (markers, clock, ids) = (Arc::default(), Arc::new(ManualClock::at(1_000)), Arc::default());
        Self::start(memory, markers, clock, ids).await
    }

    async fn start(memory: Arc<Memory>, markers: Arc<Markers>, clock: Arc<ManualClock>, ids: Arc<Ids>) -> Self {
        memory.epoch.fetch_add(1, Ordering::SeqCst);
        let settings = Settings { expiration_ms: 10_000, ..Settings::default() };
        let coordinator = Coordinator::new(settings, clock.clone(), memory.clone(), markers.clone(), ids.clone());
        let stop = CancellationToken::new();
        tokio::spawn(Arc::clone(&coordinator).run(stop.clone()));
        while coordinator.list().await.1 {
            tokio::task::yield_now().await;
        }
        Self { memory, markers, clock, ids, coordinator, stop }
    }

    /// As after a crash: what was stored, and nothing else.
    async fn restart(self) -> Self {
        self.stop.cancel();
        self.memory.durable_appends.store(i64::MAX, Ordering::SeqCst);
        Self::start(self.memory, self.markers, self.clock, self.ids).await
    }

    async fn init(&self) -> Result<Producer, ResponseError> {
        self.coordinator.init(ID, 60_000, None).await
    }

    async fn add(&self, producer: Producer, index: i32, version: i16) -> Result<(), ResponseError> {
        self.coordinator.add(ID, producer, [(Arc::from("t"), [index].into())].into(), version).await
    }

    async fn end(&self, producer: Producer, commit: bool, version: i16) -> Result<Producer, ResponseError> {
        self.coordinator.end(ID, producer, commit, version).await
    }

    /// Waits until the transaction is in this state.
    async fn reaches(&self, status: Status) {
        while self.coordinator.describe(ID).await.map(|now| now.status) != Ok(status) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    fn commits(&self) -> Vec<bool> {
        self.markers.written.lock().iter().map(|(_, _, marker)| marker.commit).collect()
    }
}

#[tokio::test]
async fn a_transaction_ends_with_a_marker_in_each_partition() {
    let rig = Rig::new().await;
    let producer = rig.init().await.unwrap();
    assert_eq!(producer.1, 0);
    rig.add(producer, 1, 1).await.unwrap();
    rig.add(producer, 2, 1).await.unwrap();
    assert_eq!(rig.end(producer, true, 1).await, Ok(producer));
    rig.reaches(Status::CompleteCommit).await;
    let written = rig.markers.written.lock().clone();
    let marker = EndMarker { producer_id: producer.0, producer_epoch: 0, coordinator_epoch: 1, commit: true };
    assert_eq!(written, [("t".to_owned(), 1, marker), ("t".to_owned(), 2, marker)]);
    assert_eq!(rig.end(producer, true, 1).await, Ok(producer), "asked again");
    let next = rig.init().await.unwrap();
    assert_eq!(next, (producer.0, 1));
    assert_eq!(rig.add(producer, 1, 1).await, Err(ResponseError::ProducerFenced));
}

#[tokio::test]
async fn the_next_transaction_waits_for_the_end_of_the_last() {
    let rig = Rig::new().await;
    let producer = rig.init().await.unwrap();
    rig.add(producer, 1, 2).await.unwrap();
    *rig.markers.held.lock() = true;
    let next = rig.end(producer, true, 2).await.unwrap();
    assert_eq!(next, (producer.0, 1));
    assert_eq!(rig.add(next, 1, 2).await, Err(ResponseError::ConcurrentTransactions), "after some patience");
    *rig.markers.held.lock() = false;
    rig.add(next, 1, 2).await.unwrap();
    rig.reaches(Status::Ongoing).await;
}

#[tokio::test]
async fn a_new_instance_aborts_what_the_old_one_left_open() {
    let rig = Rig::new().await;
    let producer = rig.init().await.unwrap();
    rig.add(producer, 1, 1).await.unwrap();
    let next = rig.init().await.unwrap();
    assert_eq!(next, (producer.0, 2), "one epoch fenced the old one, the next is this one's");
    assert_eq!(rig.commits(), [false]);
    assert_eq!(rig.markers.written.lock()[0].2.producer_epoch, 1);
    assert_eq!(rig.end(producer, true, 1).await, Err(ResponseError::ProducerFenced));
}

#[tokio::test]
async fn after_a_crash_at_any_step_the_decision_stands() {
    for appends in 0..6 {
        let rig = Rig::new().await;
        rig.memory.durable_appends.store(appends, Ordering::SeqCst);
        let outcome = async {
            let producer = rig.init().await?;
            rig.add(producer, 1, 1).await?;
            rig.end(producer, true, 1).await?;
            Ok::<_, ResponseError>(producer)
        }
        .await;
        let rig = rig.restart().await;
        match (appends, outcome) {
            (0..3, Err(_)) => {
                // Nothing was decided: a new instance is served, and aborts what is open.
                rig.init().await.unwrap();
                assert!(!rig.commits().contains(&true), "{appends}");
            }
            (3.., Ok(producer)) => {
                rig.reaches(Status::CompleteCommit).await;
                assert!(rig.commits().iter().all(|commit| *commit) && !rig.commits().is_empty(), "{appends}");
                assert_eq!(rig.end(producer, true, 1).await, Ok(producer));
            }
            (_, other) => panic!("after {appends} appends: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_log_that_fails_is_loaded_again_and_the_client_tries_again() {
    let rig = Rig::new().await;
    let producer = rig.init().await.unwrap();
    rig.memory.durable_appends.store(0, Ordering::SeqCst);
    assert_eq!(rig.add(producer, 1, 1).await, Err(ResponseError::NotCoordinator));
    rig.memory.durable_appends.store(i64::MAX, Ordering::SeqCst);
    loop {
        match rig.add(producer, 1, 1).await {
            Ok(()) => break,
            Err(ResponseError::CoordinatorLoadInProgress) => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_takes_too_long_is_aborted_and_what_nobody_uses_forgotten() {
    let rig = Rig::new().await;
    let producer = rig.init().await.unwrap();
    rig.add(producer, 1, 1).await.unwrap();
    rig.clock.advance(60_001);
    rig.reaches(Status::CompleteAbort).await;
    assert_eq!(rig.coordinator.timed_out(), 1);
    assert_eq!(rig.end(producer, true, 1).await, Err(ResponseError::ProducerFenced));
    rig.clock.advance(10_000);
    rig.coordinator.expire_now().await;
    assert_eq!(rig.coordinator.describe(ID).await, Err(ResponseError::TransactionalIdNotFound));
    let rig = rig.restart().await;
    assert_eq!(rig.coordinator.describe(ID).await, Err(ResponseError::TransactionalIdNotFound));
    assert_ne!(rig.init().await.unwrap().0, producer.0, "ids are never used again");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused() {
    let rig = Rig::new().await;
    let timeout = rig.coordinator.init(ID, 900_001, None).await;
    assert_eq!(timeout, Err(ResponseError::InvalidTransactionTimeout));
    assert_eq!(rig.coordinator.init("", 1, None).await, Err(ResponseError::InvalidRequest));
    assert_eq!(rig.add((0, 0), 1, 1).await, Err(ResponseError::InvalidProducerIdMapping));
    let producer = rig.init().await.unwrap();
    assert_eq!(rig.add((producer.0 + 1, 0), 1, 1).await, Err(ResponseError::InvalidProducerIdMapping));
    let known = rig.coordinator.init(ID, 1, Some((producer.0, 5))).await;
    assert_eq!(known, Err(ResponseError::ProducerFenced));
}
