//! The one task of a shard that writes: it owns the order of everything, gathers what is waiting into one batch, and
//! notes which write each caller waits for. A caller that goes away cannot take a write back or leave it half done.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use slatedb::{Db, WriteBatch};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::durable::Pending;
use super::shared::Shared;
use super::slot::Slot;
use crate::store::Offset;

/// Commands that are taken at once.
const COMMANDS: usize = 512;
/// Bytes that are gathered into one write; a single command may have more.
const GATHERED: usize = 4 << 20;

/// One change of a shard.
#[derive(Debug)]
pub(super) enum Op {
    Put(Bytes, Bytes),
    Delete(Bytes),
}

impl Op {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Put(key, value) => key.len() + value.len(),
            Self::Delete(key) => key.len(),
        }
    }
}

/// Who is to learn of a write.
pub(super) enum Done {
    /// The partition now ends at `end`; `bytes` of memory were reserved.
    Appended {
        slot: Arc<Slot>,
        end: Offset,
        bytes: usize,
    },
    /// It can be read.
    Written(oneshot::Sender<()>),
    /// It survives a crash.
    Durable(oneshot::Sender<()>),
    Nobody,
}

/// Changes that become visible and durable together.
pub(super) struct Command {
    pub(super) ops: Vec<Op>,
    pub(super) done: Done,
}

/// Runs until the shard is given up. Dropping what is left tells its callers that the outcome is unknown.
pub(super) async fn run(
    shared: Arc<Shared>,
    db: Db,
    mut commands: mpsc::UnboundedReceiver<Command>,
    pending: mpsc::UnboundedSender<Pending>,
    stop: CancellationToken,
) {
    let mut writer = Writer { shared, db, pending, last: 0 };
    let mut taken = Vec::with_capacity(COMMANDS);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            count = commands.recv_many(&mut taken, COMMANDS) => if count == 0 { return },
        }
        if let Err(error) = writer.write_all(&mut taken).await {
            writer.shared.fail(&format!("writing failed: {error}"));
            return;
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    db: Db,
    pending: mpsc::UnboundedSender<Pending>,
    /// Sequence number of the last write.
    last: u64,
}

impl Writer {
    async fn write_all(&mut self, commands: &mut Vec<Command>) -> Result<(), slatedb::Error> {
        let mut gathered = Gathered::default();
        for command in commands.drain(..) {
            gathered.add(command);
            if gathered.bytes >= GATHERED {
                self.write(std::mem::take(&mut gathered)).await?;
            }
        }
        self.write(gathered).await
    }

    async fn write(&mut self, gathered: Gathered) -> Result<(), slatedb::Error> {
        let Gathered { batch, written, durable, since, .. } = gathered;
        if let Some(batch) = batch {
            // Waits while too much is not flushed yet.
            self.last = self.db.write(batch).await?.seqnum();
            self.shared.dirty.notify_one();
        }
        written.into_iter().for_each(|caller| _ = caller.send(()));
        if !durable.is_empty() {
            // What changes nothing itself waits for what was written before.
            let since = since.unwrap_or_else(Instant::now);
            _ = self.pending.send(Pending { sequence: self.last, since, done: durable });
        }
        Ok(())
    }
}

#[derive(Default)]
struct Gathered {
    batch: Option<WriteBatch>,
    bytes: usize,
    written: Vec<oneshot::Sender<()>>,
    durable: Vec<Done>,
    since: Option<Instant>,
}

impl Gathered {
    fn add(&mut self, command: Command) {
        self.since.get_or_insert_with(Instant::now);
        for op in command.ops {
            self.bytes += op.len();
            let batch = self.batch.get_or_insert_with(WriteBatch::new);
            match op {
                Op::Put(key, value) => batch.put_bytes(key, value),
                Op::Delete(key) => batch.delete(key),
            }
        }
        match command.done {
            Done::Written(caller) => self.written.push(caller),
            done @ (Done::Durable(_) | Done::Appended { .. }) => self.durable.push(done),
            Done::Nobody => {}
        }
    }
}
