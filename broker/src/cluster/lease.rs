//! A lease: for how long a broker may serve reads without asking anybody.

use super::time::Now;

/// A wall clock that is set back further ends all leases (ms); smaller corrections are usual.
const SET_BACK_MS: i64 = 1_000;

/// Until when something holds, counted from the moment when it was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    proven: Now,
    length_ms: u64,
}

impl Lease {
    pub(super) fn new(proven: Now, length_ms: u64) -> Self {
        Self { proven, length_ms }
    }

    /// Whether it holds. Both clocks must say so: the steady one stands still while some machines sleep.
    pub fn holds(&self, now: Now) -> bool {
        self.remaining_ms(now) > 0
    }

    /// Milliseconds left, 0 when it is over.
    pub fn remaining_ms(&self, now: Now) -> u64 {
        let wall = now.wall_ms.saturating_sub(self.proven.wall_ms);
        if wall < -SET_BACK_MS {
            // The wall clock cannot tell any more whether the machine slept.
            return 0;
        }
        let length = i64::try_from(self.length_ms).unwrap_or(i64::MAX);
        let steady = self.length_ms.saturating_sub(now.monotonic.since(self.proven.monotonic));
        steady.min(u64::try_from(length.saturating_sub(wall)).unwrap_or(0))
    }

    /// The one of two that holds longer.
    pub(super) fn longer(current: Option<Self>, other: Self, now: Now) -> Option<Self> {
        match current {
            Some(current) if current.remaining_ms(now) >= other.remaining_ms(now) => Some(current),
            _ => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::time::Monotonic;
    use super::*;

    fn at(steady: u64, wall_ms: i64) -> Now {
        Now { monotonic: Monotonic::from_millis(steady), wall_ms }
    }

    #[test]
    fn either_clock_ends_it() {
        let lease = Lease::new(at(100, 1_000), 50);
        assert!(lease.holds(at(149, 1_049)));
        assert!(!lease.holds(at(150, 1_000)), "the wall clock was set back a little");
        assert!(!lease.holds(at(101, -1)), "and by more than it may be");
        assert!(!lease.holds(at(100, 61_000)), "the machine slept, and its steady clock with it");
        assert_eq!(lease.remaining_ms(at(120, i64::MAX)), 0);
        assert_eq!(lease.remaining_ms(at(120, i64::MIN)), 0);
        assert_eq!(lease.remaining_ms(at(120, 990)), 30);
    }
}
