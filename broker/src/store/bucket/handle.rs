//! One open partition, as the log sees it.

use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::shared::Shared;
use super::slot::{MAX_CHUNK_BYTES, Slot};
use super::writer::Done;
use super::{refuse, unknown};
use crate::store::{
    Append, Chunk, Durable, Flush, Offset, PartitionOptions, PartitionStore, Read, Slice, StateEntry, StoreError,
};

pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) slot: Arc<Slot>,
    /// Valid as long as the slot has the same one.
    pub(super) generation: u64,
}

impl Handle {
    /// Waits until everything below `end` is durable.
    pub(super) async fn wait_durable(&self, end: Offset) -> Result<(), StoreError> {
        let mut durable = {
            let log = self.slot.log.lock();
            log.check(self.generation)?;
            log.durable.subscribe()
        };
        wait_for(&mut durable, end).await
    }

    fn append_bytes(&self, batch: &Append<'_>, bytes: Bytes) -> Result<(), StoreError> {
        let mut log = self.slot.log.lock();
        log.check(self.generation)?;
        log.check_batch(batch, bytes.len())?;
        if !self.shared.reserve(bytes.len(), log.is_internal()) {
            return Err(refuse(format_args!(
                "the bucket does not keep up: {} bytes wait to become durable",
                self.shared.undurable_bytes()
            )));
        }
        let appended = log.append(self.slot.number, batch, bytes, self.shared.clock.now_ms());
        let done = Done::Appended { slot: self.slot.clone(), end: appended.end, bytes: appended.bytes };
        // Under the lock, so that the writer gets everything of a partition in order.
        let sent = self.shared.send(appended.ops, done);
        if let Err(StoreError::Unknown(reason)) = &sent {
            log.kill(reason);
        }
        sent
    }

    async fn close_handle(&self) -> Result<(), StoreError> {
        let (mut durable, end) = {
            let mut log = self.slot.log.lock();
            log.closing(self.generation)?;
            (log.durable.subscribe(), log.end())
        };
        wait_for(&mut durable, end).await?;
        let mut log = self.slot.log.lock();
        if log.is_current(self.generation) {
            log.kill(&Arc::from("the partition was closed"));
        }
        Ok(())
    }
}

async fn wait_for(durable: &mut watch::Receiver<Durable>, end: Offset) -> Result<(), StoreError> {
    match durable.wait_for(|durable| durable.end >= end || durable.failed.is_some()).await {
        Ok(durable) if durable.end >= end => Ok(()),
        Ok(durable) => {
            Err(StoreError::Unknown(durable.failed.clone().unwrap_or_else(|| Arc::from("the handle failed"))))
        }
        Err(_) => Err(unknown("the partition was opened again")),
    }
}

impl PartitionStore for Handle {
    fn append(&self, batch: Append<'_>, _flush: Flush) -> Result<(), StoreError> {
        let [head, rest] = batch.parts;
        let mut bytes = BytesMut::with_capacity(head.len() + rest.len());
        bytes.put_slice(head);
        bytes.put_slice(rest);
        self.append_bytes(&batch, bytes.freeze())
    }

    /// Nothing to do: every append asks for a flush within the linger, and a flush before that would not be shared.
    fn flush(&self) {}

    fn durable(&self) -> watch::Receiver<Durable> {
        let log = self.slot.log.lock();
        match log.is_current(self.generation) {
            true => log.durable.subscribe(),
            false => {
                let failed = Some(Arc::from("the partition was opened again"));
                watch::Sender::new(Durable { end: 0, failed }).subscribe()
            }
        }
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Slice, StoreError>> {
        self.read_within(read).boxed()
    }

    fn seek_time(&self, timestamp: i64) -> BoxFuture<'_, Result<Option<Offset>, StoreError>> {
        let log = self.slot.log.lock();
        let found = log.check(self.generation).map(|()| {
            let live = log.parts.iter().filter(|part| part.row.bytes > 0 && part.row.end > log.log_start);
            let part = live.into_iter().find(|part| part.row.max_timestamp >= timestamp);
            part.map(|part| part.start.max(log.log_start))
        });
        futures_util::future::ready(found).boxed()
    }

    fn chunks(&self) -> Vec<Chunk> {
        self.slot.log.lock().chunks()
    }

    fn max_chunk_bytes(&self) -> u64 {
        MAX_CHUNK_BYTES
    }

    fn roll(&self) -> Result<(), StoreError> {
        let mut log = self.slot.log.lock();
        log.check(self.generation)?;
        match log.roll(self.slot.number) {
            Some(op) => self.shared.send(vec![op], Done::Nobody),
            None => Ok(()),
        }
    }

    fn trim(&self, log_start: Offset) -> BoxFuture<'_, Result<(), StoreError>> {
        self.trim_to(log_start).boxed()
    }

    fn replace(
        &self,
        offsets: Range<Offset>,
        batches: Box<dyn Iterator<Item = Result<Bytes, StoreError>> + Send>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.replace_parts(offsets, batches).boxed()
    }

    fn checkpoint(&self, end: Offset, state: Vec<StateEntry>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store_state(end, state).boxed()
    }

    fn set_options(&self, options: PartitionOptions) {
        self.slot.log.lock().set_options(self.generation, options);
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.close_handle().boxed()
    }
}
