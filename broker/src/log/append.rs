//! Appending to a partition. Appends hold the tail's lock; readers do not.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::config::TimestampType;
use super::header::{BatchHeader, NO_TIMESTAMP};
use super::partition::{Handle, Partition};
use super::producers::Verdict;
use super::{Acks, Appended, LogError, WantedFlush, records, refused, validate};
use crate::store::{Append, Flush};

impl Partition {
    /// Appends exactly one batch from a client, after every check that the architecture names.
    pub fn append(&self, batch: Bytes, acks: Acks) -> Result<Appended, LogError> {
        let config = self.config.load();
        if config.internal {
            return Err(refused(ResponseError::InvalidTopicException, "clients may not append to an internal topic"));
        }
        let handle = self.handle()?;
        let now = self.clock.now_ms();
        let checked = validate::validate(&batch, &config, now)?;
        let flush = if acks == Acks::All { Flush::Now } else { Flush::Soon };
        let stamped = (config.timestamp_type == TimestampType::LogAppendTime).then_some(now);
        self.append_checked(&handle, checked.header, &checked.records, flush, stamped)
    }

    /// Appends records of the broker's own (offsets, catalog), as one uncompressed batch.
    pub fn append_records(&self, records: &[records::NewRecord]) -> Result<Appended, LogError> {
        let handle = self.handle()?;
        let (header, body) = validate::own_batch(records, &self.config.load())?;
        self.append_checked(&handle, header, &body, Flush::Now, None)
    }

    fn append_checked(
        &self,
        handle: &Arc<Handle>,
        mut header: BatchHeader,
        records: &[u8],
        flush: Flush,
        stamped: Option<i64>,
    ) -> Result<Appended, LogError> {
        let now = self.clock.now_ms();
        let mut tail = handle.tail.lock();
        let update = match tail.producers.check(&header, tail.next_offset, now)? {
            Verdict::New(update) => update,
            verdict => return self.seen_before(handle, verdict, stamped.is_some()),
        };
        header.base_offset = tail.next_offset;
        header.leader_epoch = handle.leader_epoch;
        let head = header.encode();
        let epochs = &tail.epochs;
        let appended = handle.bytes.append(
            Append {
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                // Records without a time age from when they came.
                max_timestamp: if header.max_timestamp == NO_TIMESTAMP { now } else { header.max_timestamp },
                parts: [&head, records],
                delta: &|| {
                    let epoch = epochs.last_entry();
                    epoch.into_iter().chain(update.as_ref().map(|update| update.entry())).collect()
                },
            },
            flush,
        );
        appended.map_err(|error| self.store_error(handle, error))?;
        if let Some(update) = update {
            tail.producers.commit(update);
        }
        tail.next_offset = header.last_offset() + 1;
        handle.log_end.store(tail.next_offset, Ordering::Release);
        drop(tail);
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            log_append_time: stamped.unwrap_or(NO_TIMESTAMP),
            log_start: handle.log_start.load(Ordering::Acquire),
            duplicate: false,
            durable: handle.durable.clone(),
            flush: WantedFlush((flush == Flush::Now).then(|| Arc::clone(&handle.bytes))),
        })
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
