//! The one task of a shard that learns what is durable, and tells it in order: durable ends move, who waits is answered,
//! memory is given back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use slatedb::DbStatus;
use tokio::sync::{mpsc, watch};

use super::keys::Number;
use super::shared::Shared;
use super::slot::Slot;
use super::writer::Done;
use crate::store::Offset;

/// Who waits until a write is durable.
pub(super) struct Pending {
    /// SlateDB's sequence number of the write.
    pub(super) sequence: u64,
    pub(super) since: Instant,
    pub(super) done: Vec<Done>,
}

/// Runs until the database is closed, fenced or failed. Whoever still waits then learns that the outcome is unknown.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut status: watch::Receiver<DbStatus>,
    mut pending: mpsc::UnboundedReceiver<Pending>,
) {
    let mut queue = VecDeque::new();
    let mut writing = true;
    loop {
        let (durable, closed) = {
            let status = status.borrow_and_update();
            (status.durable_seq, status.close_reason)
        };
        settle(&shared, &mut queue, durable);
        if let Some(reason) = closed {
            shared.fail(&format!("the database was closed: {reason:?}"));
            return;
        }
        tokio::select! {
            next = pending.recv(), if writing => match next {
                Some(next) => {
                    queue.push_back(next);
                    while let Ok(next) = pending.try_recv() {
                        queue.push_back(next);
                    }
                }
                None => writing = false,
            },
            changed = status.changed() => if changed.is_err() {
                shared.fail("the database is gone");
                return;
            },
        }
    }
}

/// Answers everybody whose write is durable.
fn settle(shared: &Shared, queue: &mut VecDeque<Pending>, durable: u64) {
    let mut ends: HashMap<Number, (Arc<Slot>, Offset)> = HashMap::new();
    let mut callers = Vec::new();
    let mut cached = Vec::new();
    while queue.front().is_some_and(|pending| pending.sequence <= durable) {
        for done in queue.pop_front().map(|pending| pending.done).unwrap_or_default() {
            match done {
                Done::Appended { slot, end, bytes } => {
                    cached.push((slot.clone(), end, bytes));
                    ends.insert(slot.number, (slot, end));
                }
                Done::Durable(caller) => callers.push(caller),
                Done::Written(_) | Done::Nobody => {}
            }
        }
    }
    // Memory first: who is told may go on at once.
    shared.became_durable(cached, queue.front().map(|pending| pending.since));
    ends.into_values().for_each(|(slot, end)| slot.durable_to(end));
    callers.into_iter().for_each(|caller| _ = caller.send(()));
}
