//! Which transaction a batch belongs to, as a cleaning pass walks along the log from one of its offsets.
//!
//! Follows Kafka's `CleanedTransactionMetadata`: records of aborted transactions go, and a marker may go once nothing of
//! its transaction is left.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::header::BatchHeader;
use super::marker::EndMarker;
use super::transactions::Aborted;

/// Sees every batch in order. A copy goes on from where the original is.
#[derive(Clone)]
pub(super) struct Decided {
    /// In the order of their first offsets; those from `next` on begin behind what was seen.
    aborted: Arc<[Aborted]>,
    next: usize,
    /// Aborted transactions under way: producer id → whether a batch was seen.
    aborting: HashMap<i64, bool>,
    /// Producers of committed transactions under way with a batch that stays.
    committing: HashSet<i64>,
}

impl Decided {
    /// `aborted`: all with a marker at or behind the first offset that will be seen, in the order of their first offsets.
    pub(super) fn new(aborted: Vec<Aborted>) -> Self {
        Self { aborted: aborted.into(), next: 0, aborting: HashMap::new(), committing: HashSet::new() }
    }

    /// A data batch: true when its transaction was aborted.
    pub(super) fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        if !header.attributes.transactional() {
            return false;
        }
        self.reach(header);
        match self.aborting.get_mut(&header.producer_id) {
            Some(seen) => {
                *seen = true;
                true
            }
            None => {
                self.committing.insert(header.producer_id);
                false
            }
        }
    }

    /// A control batch: true when nothing of the transaction that it ends was seen.
    pub(super) fn is_empty_end(&mut self, header: &BatchHeader, batch: &[u8]) -> bool {
        self.reach(header);
        match EndMarker::read(header, batch) {
            Some(EndMarker { commit: true, .. }) => !self.committing.remove(&header.producer_id),
            Some(_) => !self.aborting.remove(&header.producer_id).unwrap_or(false),
            None => false,
        }
    }

    /// Takes in the aborted transactions that begin up to this batch.
    fn reach(&mut self, header: &BatchHeader) {
        while let Some(begun) = self.aborted.get(self.next).filter(|aborted| aborted.first <= header.last_offset()) {
            self.aborting.insert(begun.producer_id, false);
            self.next += 1;
        }
    }
}
