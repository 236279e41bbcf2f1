//! Times as values. Nothing in this module reads a clock: whoever drives it says what time it is.

use std::ops::Add;

/// A machine's steady clock (milliseconds since some start of its own). It should go on while the machine sleeps
/// (`CLOCK_BOOTTIME` on Linux); where it does not, the wall clock beside it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(u64);

/// Time during which this process was seen running (milliseconds since it started). After a pause, or a jump of the
/// steady clock, it has hardly moved, so that a broker that slept takes nobody else for silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Patience(u64);

impl Monotonic {
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Milliseconds since `earlier`; 0 when that lies ahead.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Patience {
    /// Milliseconds since `earlier`; 0 when that lies ahead.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds from `other` to this moment, negative when it lies ahead.
    pub(super) fn minus(self, other: Self) -> i64 {
        signed(self.0).saturating_sub(signed(other.0))
    }
}

impl Add<u64> for Patience {
    type Output = Self;

    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// The same moment on a machine's two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub monotonic: Monotonic,
    /// Milliseconds since 1970.
    pub wall_ms: i64,
}

impl Now {
    /// Milliseconds from `other` to this moment by the clock that says less; negative when it lies ahead.
    pub(super) fn minus(self, other: Self) -> i64 {
        let steady = signed(self.monotonic.0).saturating_sub(signed(other.monotonic.0));
        steady.min(self.wall_ms.saturating_sub(other.wall_ms))
    }

    /// Milliseconds since `earlier` by the clock that says more.
    pub(super) fn longest_since(self, earlier: Self) -> i64 {
        let steady = signed(self.monotonic.since(earlier.monotonic));
        steady.max(self.wall_ms.saturating_sub(earlier.wall_ms))
    }

    /// The moment `ms` milliseconds later, or earlier when negative.
    pub(super) fn offset(self, ms: i64) -> Self {
        Self {
            monotonic: Monotonic(self.monotonic.0.saturating_add_signed(ms)),
            wall_ms: self.wall_ms.saturating_add(ms),
        }
    }
}

/// A moment as the state machines see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Now,
    pub(super) patience: Patience,
}

/// Between two events of a process that runs (ms).
const USUAL_GAP_MS: u64 = 100;

/// Counts the time in which the process runs.
#[derive(Debug)]
pub(super) struct PatienceClock {
    last: Monotonic,
    patience: Patience,
    /// A longer gap between two events (ms) counts as a short one: in the rest of it, nothing could have been heard, or
    /// it is the clock that jumped.
    longest_gap_ms: u64,
}

impl PatienceClock {
    pub(super) fn new(now: Monotonic, longest_gap_ms: u64) -> Self {
        Self { last: now, patience: Patience::default(), longest_gap_ms }
    }

    pub(super) fn advance(&mut self, now: Now) -> Moment {
        let gap = now.monotonic.since(self.last);
        self.last = self.last.max(now.monotonic);
        self.patience = self.patience + if gap > self.longest_gap_ms { USUAL_GAP_MS } else { gap };
        Moment { now, patience: self.patience }
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_hardly_counts() {
        let at = |ms| Now { monotonic: Monotonic::from_millis(ms), wall_ms: 0 };
        let mut clock = PatienceClock::new(Monotonic::from_millis(1_000), 500);
        assert_eq!(clock.advance(at(1_100)).patience, Patience(100));
        assert_eq!(clock.advance(at(61_100)).patience, Patience(200));
        assert_eq!(clock.advance(at(60_000)).patience, Patience(200));
        assert_eq!(clock.advance(at(61_200)).patience, Patience(300));
    }
}
