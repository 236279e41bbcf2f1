//! The clock of the cluster: never behind what any broker has seen, and not to be carried away by one that is wrong.
//!
//! A store that refuses writes with earlier times than the last needs it. No safety hangs on it: only fencing decides
//! who may write.

use thiserror::Error;

use super::time::Now;

/// A time that is too far ahead of the own clock to be believed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a time {ahead_ms} ms ahead of this machine's clock is refused; set the clocks of all brokers by NTP")]
pub struct TooFarAhead {
    pub ahead_ms: i64,
}

/// The cluster's time as one broker knows it.
#[derive(Clone, Debug)]
pub struct ClusterClock {
    max_skew_ms: u64,
    /// Both own clocks at a moment when the wall clock was trusted.
    trusted: Now,
    /// The latest time of another, and the own steady clock when it was seen.
    others: Option<Now>,
    /// Nothing earlier is told any more (ms since 1970).
    told_ms: i64,
    /// How far the own wall clock has run away from the steady one (ms).
    jump_ms: i64,
    /// How far it is ahead of the bucket's, when that was last asked (ms).
    ahead_of_store_ms: i64,
}

impl ClusterClock {
    /// `max_skew_ms`: how far a time may be ahead, or the own clock may jump.
    pub fn new(now: Now, max_skew_ms: u64) -> Self {
        Self { max_skew_ms, trusted: now, others: None, told_ms: now.wall_ms, jump_ms: 0, ahead_of_store_ms: 0 }
    }

    /// Looks at the own clocks, and returns the cluster's time (ms since 1970): the latest of the own and all that were
    /// seen, never earlier than what was told before.
    pub fn now_ms(&mut self, now: Now) -> i64 {
        let expected = extrapolate(self.trusted, now);
        self.jump_ms = now.wall_ms.saturating_sub(expected);
        let own = if self.is_far(self.jump_ms) {
            expected
        } else {
            // Small corrections are followed, so that they do not add up to a jump.
            self.trusted = now;
            now.wall_ms
        };
        let others = self.others.map_or(own, |others| extrapolate(others, now));
        self.told_ms = self.told_ms.max(own).max(others);
        self.told_ms
    }

    /// Takes note of the time of another broker or of a stored record (ms since 1970).
    pub fn observe(&mut self, now: Now, remote_ms: i64) -> Result<(), TooFarAhead> {
        let ahead_ms = remote_ms.saturating_sub(extrapolate(self.trusted, now).min(now.wall_ms));
        if self.is_far(ahead_ms) && ahead_ms > 0 {
            return Err(TooFarAhead { ahead_ms });
        }
        if self.others.is_none_or(|others| extrapolate(others, now) < remote_ms) {
            self.others = Some(Now { monotonic: now.monotonic, wall_ms: remote_ms });
        }
        Ok(())
    }

    /// Compares with the time that the bucket says (ms since 1970, the `last_modified` of an object that was just
    /// written). A wall clock that agrees is trusted from here on, also after a jump: a machine that slept has one that
    /// is right after its jump.
    pub fn compare_with_store(&mut self, now: Now, store_ms: i64) {
        self.ahead_of_store_ms = now.wall_ms.saturating_sub(store_ms);
        if !self.is_far(self.ahead_of_store_ms) {
            self.trusted = now;
            self.jump_ms = 0;
            // What was told by a clock that was wrong from the start went to no shard.
            if self.is_far(self.told_ms.saturating_sub(store_ms).max(0)) {
                self.told_ms = now.wall_ms;
            }
        }
    }

    /// Whether the own wall clock can be worked with: a broker whose clock cannot gives its shards up.
    pub fn is_trusted(&self) -> bool {
        !self.is_far(self.jump_ms) && !self.is_far(self.ahead_of_store_ms)
    }

    /// How far the cluster's time is ahead of the own wall clock (ms), for the metric.
    pub fn skew_ms(&self, now: Now) -> i64 {
        self.told_ms.saturating_sub(now.wall_ms)
    }

    /// What retention goes by: of two clocks the one that lets less expire (ms since 1970).
    pub fn retention_ms(&mut self, now: Now) -> i64 {
        self.now_ms(now).min(now.wall_ms)
    }

    fn is_far(&self, ms: i64) -> bool {
        ms.unsigned_abs() > self.max_skew_ms
    }
}

/// What a reading has become by the steady clock.
fn extrapolate(reading: Now, now: Now) -> i64 {
    let since = i64::try_from(now.monotonic.since(reading.monotonic)).unwrap_or(i64::MAX);
    reading.wall_ms.saturating_add(since)
}

#[cfg(test)]
mod tests {
    use super::super::time::Monotonic;
    use super::*;

    const WALL: i64 = 1_700_000_000_000;
    const YEAR: i64 = 365 * 86_400_000;

    fn at(steady: u64, jump_ms: i64) -> Now {
        Now { monotonic: Monotonic::from_millis(steady), wall_ms: WALL + steady as i64 + jump_ms }
    }

    fn clock() -> ClusterClock {
        ClusterClock::new(at(0, 0), 60_000)
    }

    #[test]
    fn it_follows_the_fastest_and_never_goes_back() {
        let mut clock = clock();
        clock.observe(at(0, 0), WALL + 30_000).expect("believed");
        assert_eq!(clock.now_ms(at(1_000, 0)), WALL + 31_000);
        assert_eq!(clock.skew_ms(at(1_000, 0)), 30_000);
        assert_eq!(clock.retention_ms(at(1_000, 0)), WALL + 1_000);
        assert_eq!(clock.now_ms(at(1_000, -30_000)), WALL + 31_000);
    }

    #[test]
    fn a_year_ahead_is_refused() {
        let mut clock = clock();
        assert_eq!(clock.observe(at(0, 0), WALL + YEAR), Err(TooFarAhead { ahead_ms: YEAR }));
        assert!(clock.observe(at(0, 0), i64::MAX).is_err());
        assert!(clock.observe(at(0, YEAR), WALL + YEAR).is_err(), "the own clock has jumped: it vouches for nothing");
        assert_eq!(clock.now_ms(at(0, 0)), WALL);
    }

    #[test]
    fn a_jump_is_not_followed_until_the_bucket_agrees() {
        for jump in [YEAR, -YEAR, 61_000, -61_000] {
            let mut clock = clock();
            assert_eq!(clock.now_ms(at(10, jump)), WALL + 10);
            assert!(!clock.is_trusted());
            clock.compare_with_store(at(20, jump), WALL + 20);
            assert!(!clock.is_trusted(), "the bucket says another time");
            clock.compare_with_store(at(30, jump), WALL + 30 + jump);
            assert!(clock.is_trusted(), "the machine slept");
            let told = clock.now_ms(at(40, jump));
            assert!(told >= WALL + 40 + jump, "{told}");
        }
    }

    #[test]
    fn one_that_is_wrong_from_the_start_is_found_out() {
        let mut clock = ClusterClock::new(at(0, YEAR), 60_000);
        clock.now_ms(at(0, YEAR));
        assert!(clock.is_trusted());
        clock.compare_with_store(at(0, YEAR), WALL);
        assert!(!clock.is_trusted());
    }
}
