//! Appending to a partition. Appends hold the tail's lock; readers do not.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::config::TimestampType;
use super::header::{BatchHeader, NO_TIMESTAMP};
use super::marker::EndMarker;
use super::partition::{Handle, Partition, Tail};
use super::producers::{Update, Verdict};
use super::{Acks, Appended, LogError, WantedFlush, records, refused, validate};
use crate::store::{Append, Flush, StateEntry};

/// Proves that no transaction of the producer ended here between asking its coordinator and appending: a late batch must
/// not begin a transaction that nobody ends.
#[derive(Clone, Copy, Debug)]
pub struct VerificationGuard {
    producer_id: i64,
    opening: u64,
    ends: u32,
}

impl Partition {
    /// Before the first batch of a transaction its coordinator is to be asked. `None` when it is open here already.
    pub fn begin_verification(&self, producer_id: i64, epoch: i16) -> Result<Option<VerificationGuard>, LogError> {
        let handle = self.handle()?;
        let ends = handle.tail.lock().producers.ends_unless_open(producer_id, epoch);
        Ok(ends.map(|ends| VerificationGuard { producer_id, opening: handle.opening, ends }))
    }

    /// Appends exactly one batch from a client, after every check that the architecture names.
    pub fn append(&self, batch: Bytes, acks: Acks) -> Result<Appended, LogError> {
        self.append_verified(batch, acks, None)
    }

    /// The same for one that may begin a transaction here, which its coordinator knows of.
    pub fn append_verified(
        &self,
        batch: Bytes,
        acks: Acks,
        guard: Option<VerificationGuard>,
    ) -> Result<Appended, LogError> {
        let config = self.config.load();
        if config.internal {
            return Err(refused(ResponseError::InvalidTopicException, "clients may not append to an internal topic"));
        }
        let handle = self.handle()?;
        let now = self.clock.now_ms();
        let checked = match validate::takes_long(&batch, &config) && worker_can_leave() {
            true => tokio::task::block_in_place(|| validate::validate(&batch, &config, now)),
            false => validate::validate(&batch, &config, now),
        }?;
        let flush = if acks == Acks::All { Flush::Now } else { Flush::Soon };
        let stamped = (config.timestamp_type == TimestampType::LogAppendTime).then_some(now);
        self.append_checked(&handle, checked.header, &checked.records, flush, stamped, guard)
    }

    /// Appends records of the broker's own (offsets, catalog), as one uncompressed batch.
    pub fn append_records(&self, records: &[records::NewRecord]) -> Result<Appended, LogError> {
        let handle = self.handle()?;
        let (header, body) = validate::own_batch(records, &self.config.load())?;
        self.append_checked(&handle, header, &body, Flush::Now, None, None)
    }

    /// The same as part of a transaction of this producer (id and epoch).
    pub fn append_transactional(
        &self,
        records: &[records::NewRecord],
        producer: (i64, i16),
        guard: Option<VerificationGuard>,
    ) -> Result<Appended, LogError> {
        let handle = self.handle()?;
        let (mut header, body) = validate::own_batch(records, &self.config.load())?;
        (header.producer_id, header.producer_epoch) = producer;
        header.attributes = header.attributes.with_transactional();
        header.seal(&body);
        self.append_checked(&handle, header, &body, Flush::Now, None, guard)
    }

    /// Ends a producer's transaction in this partition.
    pub fn append_marker(&self, marker: EndMarker) -> Result<Appended, LogError> {
        let handle = self.handle()?;
        let now = self.clock.now_ms();
        let (mut header, body) = marker.batch(now);
        let mut tail = handle.tail.lock();
        let update = tail.producers.check_marker(&marker, now)?;
        header.base_offset = tail.next_offset;
        let offset = header.base_offset;
        let aborted = update
            .ends
            .and_then(|first| handle.transactions.lock().end(marker.producer_id, first, offset, marker.commit));
        let delta = || [update.entry()].into_iter().chain(aborted.map(|aborted| aborted.entry())).collect();
        let written = self.write(&handle, &mut tail, &mut header, &body, Flush::Now, &delta);
        if written.is_err()
            && let Some(first) = update.ends
        {
            handle.transactions.lock().undo_end(marker.producer_id, first, offset);
        }
        written?;
        tail.producers.commit(update);
        drop(tail);
        Ok(appended(&handle, &header, Flush::Now, None))
    }

    fn append_checked(
        &self,
        handle: &Arc<Handle>,
        mut header: BatchHeader,
        records: &[u8],
        flush: Flush,
        stamped: Option<i64>,
        guard: Option<VerificationGuard>,
    ) -> Result<Appended, LogError> {
        let now = self.clock.now_ms();
        let mut tail = handle.tail.lock();
        let verified = guard.map_or(Ok(false), |guard| guard.holds(handle, &tail, &header))?;
        let update = match tail.producers.check(&header, tail.next_offset, verified, now)? {
            Verdict::New(update) => update,
            verdict => return self.seen_before(handle, verdict, stamped.is_some()),
        };
        // Before the bytes: no reader of committed data may see them in between.
        let begins = update.as_ref().and_then(|update| update.begins);
        if let Some(first) = begins {
            handle.transactions.lock().begin(header.producer_id, first);
            handle.unstable.store(true, Ordering::Release);
        }
        let delta = || update.as_ref().map(Update::entry).into_iter().collect();
        let written = self.write(handle, &mut tail, &mut header, records, flush, &delta);
        if written.is_err()
            && let Some(first) = begins
        {
            handle.transactions.lock().undo_begin(first);
        }
        written?;
        if let Some(update) = update {
            tail.producers.commit(update);
        }
        drop(tail);
        Ok(appended(handle, &header, flush, stamped))
    }

    /// Writes a batch at the end of the log.
    fn write(
        &self,
        handle: &Arc<Handle>,
        tail: &mut Tail,
        header: &mut BatchHeader,
        records: &[u8],
        flush: Flush,
        delta: &dyn Fn() -> Vec<StateEntry>,
    ) -> Result<(), LogError> {
        header.base_offset = tail.next_offset;
        header.leader_epoch = handle.leader_epoch;
        let head = header.encode();
        let epochs = &tail.epochs;
        let now = self.clock.now_ms();
        let appended = handle.bytes.append(
            Append {
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                // Records without a time age from when they came.
                max_timestamp: if header.max_timestamp == NO_TIMESTAMP { now } else { header.max_timestamp },
                parts: [&head, records],
                delta: &|| epochs.last_entry().into_iter().chain(delta()).collect(),
            },
            flush,
        );
        appended.map_err(|error| self.store_error(handle, error))?;
        tail.next_offset = header.last_offset() + 1;
        handle.log_end.store(tail.next_offset, Ordering::Release);
        Ok(())
    }

    /// The answer for a batch that was appended before: never before it is durable, because the client takes both
    /// answers for success.
    fn seen_before(&self, handle: &Arc<Handle>, verdict: Verdict, stamped: bool) -> Result<Appended, LogError> {
        let durable = handle.durable.borrow().end;
        match verdict {
            Verdict::Duplicate { base_offset, last_offset, timestamp } => {
                let undurable = durable <= last_offset;
                Ok(Appended {
                    base_offset,
                    last_offset,
                    log_append_time: if stamped { timestamp } else { NO_TIMESTAMP },
                    log_start: handle.log_start.load(Ordering::Acquire),
                    duplicate: true,
                    durable: handle.durable.clone(),
                    flush: WantedFlush(undurable.then(|| Arc::clone(&handle.bytes))),
                })
            }
            Verdict::Forgotten { below } if durable < below => {
                handle.bytes.flush();
                Err(LogError::NotLeader)
            }
            _ => Err(refused(ResponseError::DuplicateSequenceNumber, "the batch was appended before")),
        }
    }
}

impl VerificationGuard {
    fn holds(self, handle: &Handle, tail: &Tail, header: &BatchHeader) -> Result<bool, LogError> {
        // Ends are counted from each opening on, and openings may share an epoch.
        if self.opening != handle.opening {
            return Err(LogError::NotLeader);
        }
        let ends = tail.producers.ends_unless_open(header.producer_id, header.producer_epoch);
        Ok(self.producer_id == header.producer_id && ends.is_none_or(|ends| ends == self.ends))
    }
}

/// Whether this thread is a worker whose other tasks another thread can take over.
fn worker_can_leave() -> bool {
    let runtime = tokio::runtime::Handle::try_current();
    runtime.is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread)
}

/// What is told of a batch that was written now.
fn appended(handle: &Handle, header: &BatchHeader, flush: Flush, stamped: Option<i64>) -> Appended {
    Appended {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        log_append_time: stamped.unwrap_or(NO_TIMESTAMP),
        log_start: handle.log_start.load(Ordering::Acquire),
        duplicate: false,
        durable: handle.durable.clone(),
        flush: WantedFlush((flush == Flush::Now).then(|| Arc::clone(&handle.bytes))),
    }
}
