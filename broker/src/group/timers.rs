//! One queue of deadlines for all groups. A group has at most one entry that counts; sessions that were extended
//! meanwhile are found out when the entry comes due, so that a heartbeat costs nothing here.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::shard::Cell;

#[derive(Default)]
pub(super) struct Timers {
    queue: Mutex<BinaryHeap<Reverse<Entry>>>,
    /// The first deadline came nearer.
    pub(super) nearer: Notify,
}

struct Entry {
    at: Instant,
    cell: Weak<Cell>,
}

impl Timers {
    pub(super) fn add(&self, at: Instant, cell: &Arc<Cell>) {
        let mut queue = self.queue.lock();
        let is_first = queue.peek().is_none_or(|Reverse(first)| at < first.at);
        queue.push(Reverse(Entry { at, cell: Arc::downgrade(cell) }));
        drop(queue);
        if is_first {
            self.nearer.notify_one();
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.lock().peek().map(|Reverse(first)| first.at)
    }

    /// Takes the groups whose deadline is here, each with that deadline.
    pub(super) fn due(&self, now: Instant) -> Vec<(Instant, Arc<Cell>)> {
        let mut queue = self.queue.lock();
        let mut due = Vec::new();
        while queue.peek().is_some_and(|Reverse(first)| first.at <= now) {
            if let Some(Reverse(entry)) = queue.pop()
                && let Some(cell) = entry.cell.upgrade()
            {
                due.push((entry.at, cell));
            }
        }
        due
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}
