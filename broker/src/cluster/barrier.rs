//! When a catalog change may be answered: once everybody who relies on the catalog has applied it.
//!
//! A broker that lags is not waited for without end, because its lease ends before: an answer to it counts from the
//! moment at which it last had everything.

use std::collections::VecDeque;

use super::time::{Moment, Patience};

/// Longer ago than any lease lasts.
const NEVER_MS: i64 = i64::MIN / 4;

#[derive(Debug)]
pub(super) struct Barrier {
    bound_ms: u64,
    /// Before this, brokers that this controller does not know of may have leases from the one before.
    all_known: Patience,
    /// Versions that were not answered yet, with the moment they became durable, oldest first.
    committed: VecDeque<(u64, Patience)>,
    /// The newest version that was answered: nobody relies on an older one. `None` until this controller has read the
    /// catalog.
    settled: Option<u64>,
    newest: u64,
}

impl Barrier {
    pub(super) fn new(at: &Moment, bound_ms: u64, has_predecessor: bool) -> Self {
        let all_known = if has_predecessor { at.patience + bound_ms } else { at.patience };
        Self { bound_ms, all_known, committed: VecDeque::new(), settled: None, newest: 0 }
    }

    /// A version is durable. The first one is what this controller found when it read the catalog.
    pub(super) fn committed(&mut self, at: &Moment, version: u64) {
        if self.settled.is_none() {
            (self.settled, self.newest) = (Some(version), version);
        } else if version > self.newest {
            self.newest = version;
            self.committed.push_back((version, at.patience));
        }
    }

    /// When a broker that has applied everything up to `applied` last had all there was: ms after `received`, negative
    /// when that was before.
    pub(super) fn offset_ms(&self, at: &Moment, applied: u64, received: &Moment) -> i64 {
        if self.settled.is_none_or(|settled| applied < settled) {
            return NEVER_MS;
        }
        let first_missing = self.committed.iter().find(|(version, _)| *version > applied);
        first_missing.map_or(at.patience, |(_, since)| *since).minus(received.patience)
    }

    /// The newest version that may be answered now, when there is a new one. `applied`: of every broker that may have a
    /// lease.
    pub(super) fn settle(&mut self, at: &Moment, applied: impl Iterator<Item = u64>) -> Option<u64> {
        let seen = match at.patience >= self.all_known {
            true => applied.min().unwrap_or(u64::MAX),
            false => 0,
        };
        let mut newest = None;
        while let Some((version, since)) = self.committed.front().copied()
            && (version <= seen || at.patience.since(since) >= self.bound_ms)
        {
            self.committed.pop_front();
            newest = Some(version);
        }
        self.settled = newest.or(self.settled);
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::super::time::{Monotonic, Now, PatienceClock};
    use super::*;

    fn moments() -> impl FnMut(u64) -> Moment {
        let mut clock = PatienceClock::new(Monotonic::default(), u64::MAX);
        move |ms| clock.advance(Now { monotonic: Monotonic::from_millis(ms), wall_ms: 0 })
    }

    #[test]
    fn everybody_has_it_or_time_is_up() {
        let mut at = moments();
        let mut barrier = Barrier::new(&at(0), 5_000, false);
        barrier.committed(&at(0), 0);
        barrier.committed(&at(100), 7);
        assert_eq!(barrier.settle(&at(200), [7, 6].into_iter()), None);
        assert_eq!(barrier.settle(&at(300), [7, 7].into_iter()), Some(7));
        assert_eq!(barrier.settle(&at(400), [7, 7].into_iter()), None);
        barrier.committed(&at(500), 8);
        assert_eq!(barrier.settle(&at(5_499), [7].into_iter()), None);
        assert_eq!(barrier.settle(&at(5_500), [7].into_iter()), Some(8));
    }

    #[test]
    fn who_lags_has_an_old_lease() {
        let mut at = moments();
        let mut barrier = Barrier::new(&at(0), 5_000, false);
        barrier.committed(&at(0), 0);
        barrier.committed(&at(100), 1);
        let received = at(600);
        assert_eq!(barrier.offset_ms(&at(600), 1, &received), 0);
        assert_eq!(barrier.offset_ms(&at(600), 0, &received), -500);
        assert_eq!(barrier.settle(&at(5_100), [0].into_iter()), Some(1));
        assert_eq!(barrier.offset_ms(&at(5_600), 0, &received), NEVER_MS, "it was answered");
        assert_eq!(barrier.offset_ms(&at(5_600), 1, &received), 5_000);
    }

    #[test]
    fn nobody_relies_on_what_the_controller_has_not_read() {
        let mut at = moments();
        let mut barrier = Barrier::new(&at(0), 5_000, false);
        let received = at(100);
        assert_eq!(barrier.offset_ms(&at(100), 9, &received), NEVER_MS);
        barrier.committed(&at(200), 9);
        assert_eq!(barrier.offset_ms(&at(200), 8, &received), NEVER_MS);
        assert_eq!(barrier.offset_ms(&at(200), 9, &received), 100);
    }

    #[test]
    fn a_new_controller_does_not_know_everybody() {
        let mut at = moments();
        let mut barrier = Barrier::new(&at(0), 5_000, true);
        barrier.committed(&at(0), 0);
        barrier.committed(&at(100), 1);
        assert_eq!(barrier.settle(&at(4_999), [1].into_iter()), None);
        assert_eq!(barrier.settle(&at(5_000), [1].into_iter()), Some(1));
    }
}
