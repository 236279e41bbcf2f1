//! Which leader epoch began at which offset: answers OffsetForLeaderEpoch.

use bytes::Bytes;

use super::EpochEnd;
use crate::store::{Offset, StateEntry};

const KEY_TAG: u8 = b'e';

/// Epochs with their first offset, ascending in both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    starts: Vec<(i32, Offset)>,
}

impl Epochs {
    /// Notes that `epoch` began at `start`, unless it or a later one is known. An epoch in which nothing was written
    /// gives way to the next one.
    pub(super) fn assign(&mut self, epoch: i32, start: Offset) {
        if self.starts.last().is_some_and(|(latest, _)| *latest >= epoch) {
            return;
        }
        self.starts.retain(|(_, other)| *other < start);
        self.starts.push((epoch, start));
    }

    /// Where the largest epoch that is not larger than `epoch` ended; `None` for epochs that are yet to come. An epoch
    /// before the first known one ends where that begins.
    pub(super) fn end_of(&self, epoch: i32, log_end: Offset) -> Option<EpochEnd> {
        if epoch < 0 {
            return None;
        }
        let next = self.starts.partition_point(|(other, _)| *other <= epoch);
        let floor = next.checked_sub(1).map(|index| self.starts[index].0);
        match self.starts.get(next) {
            Some((_, start)) => Some(EpochEnd { leader_epoch: floor.unwrap_or(epoch), end_offset: *start }),
            None if floor == Some(epoch) => Some(EpochEnd { leader_epoch: epoch, end_offset: log_end }),
            None => None,
        }
    }

    /// The epoch of an offset; -1 when it lies before the first known one.
    pub(super) fn of(&self, offset: Offset) -> i32 {
        let next = self.starts.partition_point(|(_, start)| *start <= offset);
        next.checked_sub(1).map_or(-1, |index| self.starts[index].0)
    }

    /// Forgets epochs that ended at or before the log start.
    pub(super) fn trim(&mut self, log_start: Offset) {
        let ended = self.starts.partition_point(|(_, start)| *start <= log_start).saturating_sub(1);
        self.starts.drain(..ended);
        if let Some((_, start)) = self.starts.first_mut() {
            *start = (*start).max(log_start);
        }
    }

    /// Forgets epochs that began beyond `end`.
    pub(super) fn truncate(&mut self, end: Offset) {
        self.starts.retain(|(_, start)| *start <= end);
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = StateEntry> {
        self.starts.iter().map(|(epoch, start)| entry(*epoch, *start))
    }

    pub(super) fn last_entry(&self) -> Option<StateEntry> {
        self.starts.last().map(|(epoch, start)| entry(*epoch, *start))
    }

    /// True when the entry was an epoch's. Entries may come in any order.
    pub(super) fn restore(&mut self, state: &StateEntry) -> Result<bool, String> {
        let Some((&KEY_TAG, epoch)) = state.key.split_first() else { return Ok(false) };
        let wrong = || "a leader epoch's state has a wrong length".to_owned();
        let epoch = i32::from_be_bytes(epoch.try_into().map_err(|_| wrong())?);
        let start = i64::from_be_bytes(state.value.as_ref().try_into().map_err(|_| wrong())?);
        let at = self.starts.partition_point(|(other, _)| *other < epoch);
        self.starts.insert(at, (epoch, start));
        Ok(true)
    }
}

fn entry(epoch: i32, start: Offset) -> StateEntry {
    let mut key = vec![KEY_TAG];
    key.extend_from_slice(&epoch.to_be_bytes());
    StateEntry { key: Bytes::from(key), value: Bytes::copy_from_slice(&start.to_be_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(starts: &[(i32, Offset)]) -> Epochs {
        let mut epochs = Epochs::default();
        starts.iter().for_each(|(epoch, start)| epochs.assign(*epoch, *start));
        epochs
    }

    fn end(leader_epoch: i32, end_offset: Offset) -> Option<EpochEnd> {
        Some(EpochEnd { leader_epoch, end_offset })
    }

    #[test]
    fn ends_are_those_of_the_largest_epoch_not_larger() {
        let epochs = known(&[(2, 0), (4, 10), (7, 25)]);
        assert_eq!(epochs.end_of(7, 40), end(7, 40));
        assert_eq!(epochs.end_of(4, 40), end(4, 25));
        assert_eq!(epochs.end_of(5, 40), end(4, 25));
        assert_eq!(epochs.end_of(2, 40), end(2, 10));
        assert_eq!(epochs.end_of(1, 40), end(1, 0));
        assert_eq!(epochs.end_of(8, 40), None);
        assert_eq!(epochs.end_of(-1, 40), None);
    }

    #[test]
    fn an_epoch_without_records_gives_way() {
        assert_eq!(known(&[(1, 0), (2, 10), (3, 10)]).starts, [(1, 0), (3, 10)]);
        assert_eq!(known(&[(3, 0), (2, 10), (3, 20)]).starts, [(3, 0)]);
    }

    #[test]
    fn trimming_keeps_the_epoch_that_holds_the_log_start() {
        let mut epochs = known(&[(1, 0), (2, 10), (3, 20)]);
        epochs.trim(15);
        assert_eq!(epochs.starts, [(2, 15), (3, 20)]);
        epochs.trim(20);
        assert_eq!(epochs.starts, [(3, 20)]);
        epochs.truncate(19);
        assert_eq!(epochs, Epochs::default());
    }

    #[test]
    fn state_round_trips_in_any_order() {
        let epochs = known(&[(1, 0), (2, 10), (3, 20)]);
        let mut entries: Vec<_> = epochs.entries().collect();
        entries.reverse();
        let mut restored = Epochs::default();
        assert!(entries.iter().all(|entry| restored.restore(entry) == Ok(true)));
        assert_eq!(restored, epochs);
    }
}
