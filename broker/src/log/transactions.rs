//! Transactions in one partition: where the first undecided record is, and which ones were aborted.
//!
//! A transaction that has ended counts as open until its marker is durable: before that a crash may undo the end.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, BufMut, Bytes};

use crate::store::{Offset, StateEntry};

const KEY_TAG: u8 = b'a';
const VALUE_VERSION: u8 = 1;

/// A transaction whose records no reader of committed data may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aborted {
    pub(super) producer_id: i64,
    pub(super) first: Offset,
    /// Offset of the marker.
    pub(super) last: Offset,
    /// No transaction that was aborted later begins below this.
    last_stable: Offset,
}

/// The marker of a transaction that began at `first` is written, and perhaps not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    marker: Offset,
    first: Offset,
}

/// Owned by the partition's handle. Appends change it under the tail's lock; readers only look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Transactions {
    /// First offset → producer id.
    open: BTreeMap<Offset, i64>,
    /// In the order of the markers.
    ended: VecDeque<Ended>,
    /// In the order of the markers.
    aborted: VecDeque<Aborted>,
}

impl Transactions {
    pub(super) fn begin(&mut self, producer_id: i64, first: Offset) {
        self.open.insert(first, producer_id);
    }

    /// The first batch could not be written after all.
    pub(super) fn undo_begin(&mut self, first: Offset) {
        self.open.remove(&first);
    }

    /// Ends the transaction that began at `first`; says what was aborted.
    pub(super) fn end(&mut self, producer_id: i64, first: Offset, marker: Offset, commit: bool) -> Option<Aborted> {
        self.open.remove(&first);
        self.ended.push_back(Ended { marker, first });
        if commit {
            return None;
        }
        let last_stable = self.open.keys().next().map_or(marker + 1, |open| (*open).min(marker + 1));
        let aborted = Aborted { producer_id, first, last: marker, last_stable };
        self.aborted.push_back(aborted);
        Some(aborted)
    }

    /// The marker could not be written after all.
    pub(super) fn undo_end(&mut self, producer_id: i64, first: Offset, marker: Offset) {
        self.ended.retain(|ended| ended.marker != marker);
        self.aborted.retain(|aborted| aborted.last != marker);
        self.begin(producer_id, first);
    }

    /// First offset that is not decided for good; forgets ends that are.
    pub(super) fn first_unstable(&mut self, high_watermark: Offset) -> Option<Offset> {
        while self.ended.front().is_some_and(|ended| ended.marker < high_watermark) {
            self.ended.pop_front();
        }
        let open = self.open.keys().next().copied();
        self.ended.iter().map(|ended| ended.first).chain(open).min()
    }

    /// Aborted transactions with records in `from..until`, as (producer id, first offset).
    pub(super) fn aborted_in(&self, from: Offset, until: Offset) -> Vec<(i64, Offset)> {
        let start = self.aborted.partition_point(|aborted| aborted.last < from);
        let mut found = Vec::new();
        for aborted in self.aborted.range(start..) {
            if aborted.first < until {
                found.push((aborted.producer_id, aborted.first));
            }
            if aborted.last_stable >= until {
                break;
            }
        }
        found
    }

    /// All that were aborted with a marker at or behind `from`, in the order of their first offsets.
    pub(super) fn aborted_from(&self, from: Offset) -> Vec<Aborted> {
        let mut found: Vec<_> = self.aborted.iter().filter(|aborted| aborted.last >= from).copied().collect();
        found.sort_unstable_by_key(|aborted| aborted.first);
        found
    }

    /// Forgets aborted transactions that have no records left below `border`.
    pub(super) fn forget_aborted(&mut self, border: Offset) {
        while self.aborted.front().is_some_and(|aborted| aborted.last < border) {
            self.aborted.pop_front();
        }
    }

    /// Forgets what lies at or beyond `end`: it is not in the log.
    pub(super) fn truncate(&mut self, end: Offset) {
        while self.aborted.back().is_some_and(|aborted| aborted.last >= end) {
            self.aborted.pop_back();
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = StateEntry> {
        self.aborted.iter().map(Aborted::entry)
    }

    /// True when the entry was one of an aborted transaction. Entries come in any order; see [`Self::restored`].
    pub(super) fn restore(&mut self, state: &StateEntry) -> Result<bool, String> {
        let Some((&KEY_TAG, last)) = state.key.split_first() else { return Ok(false) };
        let last = last.try_into().map(i64::from_be_bytes);
        let last = last.map_err(|_| "the key of an aborted transaction has a wrong length".to_owned())?;
        if !state.value.is_empty() {
            self.aborted.push_back(Aborted::decode(last, &state.value)?);
        }
        Ok(true)
    }

    /// All entries have been restored.
    pub(super) fn restored(&mut self) {
        self.aborted.make_contiguous().sort_unstable_by_key(|aborted| aborted.last);
    }
}

impl Aborted {
    pub(super) fn entry(&self) -> StateEntry {
        let mut key = Vec::with_capacity(9);
        key.put_u8(KEY_TAG);
        key.put_i64(self.last);
        let mut value = Vec::with_capacity(25);
        value.put_u8(VALUE_VERSION);
        value.put_i64(self.producer_id);
        value.put_i64(self.first);
        value.put_i64(self.last_stable);
        StateEntry { key: Bytes::from(key), value: Bytes::from(value) }
    }

    fn decode(last: Offset, mut value: &[u8]) -> Result<Self, String> {
        let wrong = |_| "the state of an aborted transaction is cut".to_owned();
        let version = value.try_get_u8().map_err(wrong)?;
        if version != VALUE_VERSION {
            return Err(format!("an aborted transaction has version {version}, which this broker does not know"));
        }
        let producer_id = value.try_get_i64().map_err(wrong)?;
        let first = value.try_get_i64().map_err(wrong)?;
        let last_stable = value.try_get_i64().map_err(wrong)?;
        Ok(Self { producer_id, first, last, last_stable })
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn an_end_counts_when_its_marker_is_durable() {
        let mut transactions = Transactions::default();
        assert_eq!(transactions.first_unstable(100), None);
        transactions.begin(1, 10);
        transactions.begin(2, 20);
        assert_eq!(transactions.first_unstable(25), Some(10));
        assert_eq!(transactions.end(1, 10, 30, true), None);
        assert_eq!(transactions.first_unstable(30), Some(10), "the marker at 30 is not durable");
        assert_eq!(transactions.first_unstable(31), Some(20));
        assert!(transactions.end(2, 20, 31, false).is_some());
        assert_eq!(transactions.first_unstable(32), None);
        assert_eq!(transactions.aborted_in(0, 32), [(2, 20)]);
    }

    #[test]
    fn what_could_not_be_written_never_was() {
        let mut transactions = Transactions::default();
        transactions.begin(1, 10);
        transactions.end(1, 10, 12, false);
        transactions.undo_end(1, 10, 12);
        assert_eq!(transactions.first_unstable(100), Some(10));
        assert!(transactions.aborted_in(0, 100).is_empty());
        transactions.undo_begin(10);
        assert_eq!(transactions, Transactions::default());
    }

    #[test]
    fn random_histories_agree_with_a_model() {
        for seed in 0..300 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut transactions = Transactions::default();
            let mut open: BTreeMap<i64, Offset> = BTreeMap::new();
            let mut aborted: Vec<(i64, Offset, Offset)> = Vec::new();
            for offset in 0..200 {
                let producer = rng.random_range(0..6);
                if let Some(first) = open.get(&producer).copied() {
                    if rng.random_bool(0.4) {
                        let commit = rng.random_bool(0.4);
                        transactions.end(producer, first, offset, commit);
                        open.remove(&producer);
                        if !commit {
                            aborted.push((producer, first, offset));
                        }
                    }
                } else {
                    transactions.begin(producer, offset);
                    open.insert(producer, offset);
                }
                assert_eq!(transactions.first_unstable(offset + 1), open.values().min().copied());
            }
            let mut restored = Transactions::default();
            let mut entries: Vec<_> = transactions.entries().collect();
            entries.reverse();
            assert!(entries.iter().all(|entry| restored.restore(entry) == Ok(true)));
            restored.restored();
            assert_eq!(restored.aborted, transactions.aborted);
            for _ in 0..100 {
                let from = rng.random_range(0..200);
                let until = rng.random_range(from..=200);
                let mut found = transactions.aborted_in(from, until);
                let overlaps = |(_, first, last): &&(i64, Offset, Offset)| *last >= from && *first < until;
                let mut wanted: Vec<_> = aborted.iter().filter(overlaps).map(|(id, first, _)| (*id, *first)).collect();
                found.sort_unstable();
                wanted.sort_unstable();
                assert_eq!(found, wanted, "seed {seed}, {from}..{until}");
            }
        }
    }
}
