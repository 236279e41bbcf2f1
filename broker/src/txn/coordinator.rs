//! The handle that services work with: finds the transactional id, asks it under its lock, stores what it answers.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kafka_protocol::ResponseError;
use parking_lot::Mutex;
use tokio::sync::{MutexGuard, Notify};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::complete::MarkerWriter;
use super::limits::{MAX_NAME_BYTES, MAX_PARTITIONS, MAX_TRANSACTIONAL_IDS};
use super::records::encode_key;
use super::shard::{Cell, Shard};
use super::state::{EPOCH_PER_TRANSACTION, End, Init, Partitions, Producer, Status, Transaction};
use super::{Settings, records};
use crate::clock::Clock;
use crate::group::partition_of;
use crate::log::LogError;
use crate::log::records::NewRecord;
use crate::state_topic::StateLog;
use crate::store::StoreError;

/// How long a request waits for the end of the transaction before; then the client is told to try again, as Kafka tells
/// it at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// Hands out producer ids, each once.
pub trait NewIds: Send + Sync + 'static {
    fn next(&self) -> BoxFuture<'_, Result<i64, ResponseError>>;
}

/// Coordinates every transactional id of this broker. [`Self::run`] has to run beside it.
pub struct Coordinator {
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) log: Arc<dyn StateLog>,
    pub(super) markers: Arc<dyn MarkerWriter>,
    pub(super) ids: Arc<dyn NewIds>,
    /// One per partition of the topic; absent until it is open.
    pub(super) shards: OnceLock<Box<[Arc<Shard>]>>,
    /// Partitions whose log failed, for [`Self::run`].
    pub(super) failed: Mutex<Vec<i32>>,
    pub(super) failure: Notify,
    /// Changes under way, which outlive the client that asked, and ends that are being completed.
    pub(super) tasks: TaskTracker,
    pub(super) timed_out: AtomicUsize,
}

impl Coordinator {
    pub fn new(
        settings: Settings,
        clock: Arc<dyn Clock>,
        log: Arc<dyn StateLog>,
        markers: Arc<dyn MarkerWriter>,
        ids: Arc<dyn NewIds>,
    ) -> Arc<Self> {
        Arc::new(Self {
            settings,
            clock,
            log,
            markers,
            ids,
            shards: OnceLock::new(),
            failed: Mutex::default(),
            failure: Notify::new(),
            tasks: TaskTracker::new(),
            timed_out: AtomicUsize::new(0),
        })
    }

    /// InitProducerId with a transactional id.
    pub async fn init(
        self: &Arc<Self>,
        id: &str,
        timeout_ms: i32,
        known: Option<Producer>,
    ) -> Result<Producer, ResponseError> {
        check_id(id)?;
        if !(1..=self.settings.max_timeout_ms).contains(&timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let (this, id) = (Arc::clone(self), Arc::<str>::from(id));
        self.to_the_end(async move { this.init_now(&id, timeout_ms, known).await }).await
    }

    async fn init_now(
        self: &Arc<Self>,
        id: &Arc<str>,
        timeout_ms: i32,
        known: Option<Producer>,
    ) -> Result<Producer, ResponseError> {
        let cell = self.find_or_create(id, timeout_ms).await?;
        loop {
            let mut transaction = self.settled(&cell).await?;
            let now = self.clock.now_ms();
            let next = match transaction.init(known, timeout_ms, now)? {
                Init::Known => return Ok(transaction.producer()),
                Init::Store(next) => next,
                Init::Rotate => transaction.rotated(self.ids.next().await?, timeout_ms, now),
                Init::Abort(aborted) => {
                    self.store(&cell, &mut transaction, aborted).await?;
                    self.begin_completion(&cell);
                    continue;
                }
            };
            self.store(&cell, &mut transaction, next).await?;
            return Ok(transaction.producer());
        }
    }

    /// Makes partitions part of the producer's transaction, which begins with the first ones. `client_version`: of
    /// transactions, as the client means them.
    pub async fn add(
        self: &Arc<Self>,
        id: &str,
        producer: Producer,
        partitions: Partitions,
        client_version: i16,
    ) -> Result<(), ResponseError> {
        let cell = self.find(id)?;
        let is_known = |transaction: &Transaction| {
            transaction.add(producer, &partitions, client_version, 0).is_ok_and(|next| next.is_none())
        };
        if cell.transaction.try_lock().is_ok_and(|transaction| is_known(&transaction)) {
            return Ok(());
        }
        let this = Arc::clone(self);
        self.to_the_end(async move {
            let mut transaction = this.settled(&cell).await?;
            let Some(next) = transaction.add(producer, &partitions, client_version, this.clock.now_ms())? else {
                return Ok(());
            };
            if next.partitions.values().map(|indexes| indexes.len()).sum::<usize>() > MAX_PARTITIONS {
                return Err(ResponseError::InvalidRequest);
            }
            this.store(&cell, &mut transaction, next).await
        })
        .await
    }

    /// Waits while a decided end is under way. Its marker may not have reached every partition, and must not be taken for
    /// the end of the transaction that comes next.
    pub async fn settle(&self, id: &str) -> Result<(), ResponseError> {
        let cell = self.find(id)?;
        self.settled(&cell).await.map(drop)
    }

    /// The partitions that do not belong to the producer's open transaction.
    pub async fn verify(
        &self,
        id: &str,
        producer: Producer,
        partitions: &Partitions,
    ) -> Result<Partitions, ResponseError> {
        let cell = self.find(id)?;
        let transaction = self.settled(&cell).await?;
        transaction.verify(producer, partitions)
    }

    /// EndTxn: returns when the decision is durable, with the producer that goes on.
    pub async fn end(
        self: &Arc<Self>,
        id: &str,
        producer: Producer,
        commit: bool,
        client_version: i16,
    ) -> Result<Producer, ResponseError> {
        let cell = self.find(id)?;
        let this = Arc::clone(self);
        self.to_the_end(async move {
            let mut transaction = this.settled(&cell).await?;
            let rotate = match transaction.end(producer, commit, client_version)? {
                End::Done => return Ok(transaction.producer()),
                End::Prepare { rotate } => rotate,
            };
            let now = this.clock.now_ms();
            let next = if client_version >= EPOCH_PER_TRANSACTION {
                let next_id = if rotate { Some(this.ids.next().await?) } else { None };
                transaction.prepared_with_bump(commit, client_version, next_id, now)
            } else {
                transaction.prepared(commit, now)
            };
            let goes_on = next.next_producer();
            this.store(&cell, &mut transaction, next).await?;
            drop(transaction);
            this.begin_completion(&cell);
            Ok(goes_on)
        })
        .await
    }

    /// Does something that must not stop half-way when the client goes.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ResponseError>> + Send + 'static,
    ) -> Result<T, ResponseError> {
        self.tasks.spawn(work).await.unwrap_or(Err(ResponseError::CoordinatorNotAvailable))
    }

    /// The transaction, when no decided end of it is under way.
    pub(super) async fn settled<'a>(&self, cell: &'a Cell) -> Result<MutexGuard<'a, Transaction>, ResponseError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut settled = std::pin::pin!(cell.settled.notified());
            settled.as_mut().enable();
            let transaction = cell.transaction.lock().await;
            match transaction.status {
                // Forgotten meanwhile: whoever looks for it again finds another.
                Status::Dead => return Err(ResponseError::NotCoordinator),
                status if !status.is_prepared() => return Ok(transaction),
                _ => {}
            }
            drop(transaction);
            timeout_at(deadline, settled).await.map_err(|_| ResponseError::ConcurrentTransactions)?;
        }
    }

    /// Stores a state, and lets it take effect when it is durable. The caller must not stop meanwhile.
    pub(super) async fn store(
        &self,
        cell: &Cell,
        transaction: &mut Transaction,
        next: Transaction,
    ) -> Result<(), ResponseError> {
        self.write(cell, Some(records::encode_value(&next))).await?;
        *transaction = next;
        Ok(())
    }

    /// Writes the record of a transactional id (`None`: its tombstone), and waits until it is durable.
    pub(super) async fn write(&self, cell: &Cell, value: Option<bytes::Bytes>) -> Result<(), ResponseError> {
        let record = NewRecord { key: Some(encode_key(&cell.id)), value, timestamp: self.clock.now_ms() };
        let shard = self.shard(&cell.id)?;
        let durable = match shard.append(&*self.log, cell, record) {
            None => return Err(ResponseError::NotCoordinator),
            Some(Ok(durable)) => durable.await,
            Some(Err(error)) => Err(error),
        };
        durable.map_err(|error| self.write_failed(cell, &error))
    }

    /// The answer to a failed write. When its outcome is unknown, the shard is loaded again.
    fn write_failed(&self, cell: &Cell, error: &LogError) -> ResponseError {
        tracing::warn!(transactional_id = %cell.id, partition = cell.partition, %error, "the state of a transaction could not be written");
        match error {
            LogError::Refused { code, .. } => *code,
            LogError::Store(StoreError::Rejected(_) | StoreError::Full(_)) => ResponseError::CoordinatorNotAvailable,
            _ => {
                if let Ok(shard) = self.shard(&cell.id)
                    && shard.give_up(Some(cell), true)
                {
                    self.failed.lock().push(cell.partition);
                    self.failure.notify_one();
                }
                ResponseError::NotCoordinator
            }
        }
    }

    pub(super) fn shard(&self, id: &str) -> Result<&Arc<Shard>, ResponseError> {
        let shards = self.shards.get().ok_or(ResponseError::CoordinatorLoadInProgress)?;
        let partition = partition_of(id, shards.len() as i32);
        shards.get(partition as usize).ok_or(ResponseError::CoordinatorNotAvailable)
    }

    pub(super) fn find(&self, id: &str) -> Result<Arc<Cell>, ResponseError> {
        check_id(id)?;
        self.shard(id)?.get(id)?.ok_or(ResponseError::InvalidProducerIdMapping)
    }

    async fn find_or_create(&self, id: &Arc<str>, timeout_ms: i32) -> Result<Arc<Cell>, ResponseError> {
        let shard = self.shard(id)?;
        if let Some(cell) = shard.get(id)? {
            return Ok(cell);
        }
        let shards = self.shards.get().into_iter().flatten();
        if shards.map(|shard| shard.len()).sum::<usize>() >= MAX_TRANSACTIONAL_IDS {
            tracing::warn!(transactional_id = %id, MAX_TRANSACTIONAL_IDS, "no room for another transactional id");
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        let producer_id = self.ids.next().await?;
        shard.get_or_insert(id, Transaction::new(producer_id, timeout_ms, self.clock.now_ms()))
    }

    /// How long after a failed loading or marker the next attempt starts.
    pub(super) const RETRY: Duration = Duration::from_millis(100);

    /// Transactions that took too long and were aborted since the start.
    pub fn timed_out(&self) -> usize {
        self.timed_out.load(Ordering::Relaxed)
    }
}

fn check_id(id: &str) -> Result<(), ResponseError> {
    if id.is_empty() || id.len() > MAX_NAME_BYTES { Err(ResponseError::InvalidRequest) } else { Ok(()) }
}
