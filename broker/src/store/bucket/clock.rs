//! The clock of the cluster: never behind what any broker has seen, so that whoever takes a shard over goes on where the
//! one before was.
//!
//! SlateDB stamps every write and refuses one that is stamped earlier than the last. A maximum is a ratchet, though: a
//! single machine that is a year ahead would let retention erase everything. So times that are far ahead are refused,
//! and a jump of the own wall clock is not followed. No safety hangs on it: only fencing decides who may write.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use slatedb_common::clock::{SystemClock, SystemClockTicker};
use thiserror::Error;

use crate::clock::Clock;

/// How far clocks may be apart (ms).
pub const MAX_SKEW_MS: i64 = 60_000;

/// A time that is too far ahead of the own clock to be believed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a time {ahead_ms} ms ahead of this machine's clock is refused; set the clocks of all brokers by NTP")]
pub struct TooFarAhead {
    pub ahead_ms: i64,
}

/// The time of the cluster as this broker knows it. Shared by all its shards.
pub struct ClusterClock {
    own: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl ClusterClock {
    pub fn new(own: Arc<dyn Clock>) -> Arc<Self> {
        let state = State::new(own.now_ms(), Instant::now());
        Arc::new(Self { own, state: Mutex::new(state) })
    }

    /// The latest of the own time and all that were seen; never earlier than what was told before (ms since 1970).
    pub fn now_ms(&self) -> i64 {
        self.state.lock().now_ms(self.own.now_ms(), Instant::now())
    }

    /// Takes note of a time that another broker, or a stored record, has seen.
    pub fn observe(&self, remote_ms: i64) -> Result<(), TooFarAhead> {
        self.state.lock().observe(remote_ms, self.own.now_ms(), Instant::now())
    }

    /// What retention goes by: of two clocks the one that lets less expire (ms since 1970).
    pub fn retention_ms(&self) -> i64 {
        self.own.now_ms().min(self.now_ms())
    }

    /// How far the own wall clock has jumped against the machine's steady one (ms, signed). Beyond [`MAX_SKEW_MS`] its
    /// broker should give its shards up.
    pub fn jump_ms(&self) -> i64 {
        self.state.lock().jump_ms(self.own.now_ms(), Instant::now())
    }

    /// Takes the own wall clock as it is now: a machine that was suspended has a wall clock that is right after its jump.
    /// Only for a broker that holds no shard.
    pub fn accept_jump(&self) {
        self.state.lock().trusted = Reading { wall_ms: self.own.now_ms(), at: Instant::now() };
    }

    /// How far the cluster's time is ahead of the own wall clock (ms).
    pub fn skew_ms(&self) -> i64 {
        self.now_ms().saturating_sub(self.own.now_ms())
    }
}

struct State {
    /// The own wall clock at some moment, as it was last trusted.
    trusted: Reading,
    /// The latest time of another, which goes on from when it was seen.
    others: Option<Reading>,
    /// Nothing earlier is told any more.
    told: i64,
}

#[derive(Clone, Copy)]
struct Reading {
    wall_ms: i64,
    at: Instant,
}

impl Reading {
    /// What it has become meanwhile.
    fn ms_at(&self, now: Instant) -> i64 {
        let since = now.saturating_duration_since(self.at).as_millis();
        self.wall_ms.saturating_add(i64::try_from(since).unwrap_or(i64::MAX))
    }
}

/// `own_ms` and `now`: the machine's two clocks at the same moment.
impl State {
    fn new(own_ms: i64, now: Instant) -> Self {
        Self { trusted: Reading { wall_ms: own_ms, at: now }, others: None, told: own_ms }
    }

    fn now_ms(&mut self, own_ms: i64, now: Instant) -> i64 {
        let own = if self.jump_ms(own_ms, now).unsigned_abs() > MAX_SKEW_MS as u64 {
            self.trusted.ms_at(now)
        } else {
            // Small corrections are followed, so that they do not add up to a jump.
            self.trusted = Reading { wall_ms: own_ms, at: now };
            own_ms
        };
        let others = self.others.map_or(own, |others| others.ms_at(now));
        self.told = self.told.max(own).max(others);
        self.told
    }

    fn observe(&mut self, remote_ms: i64, own_ms: i64, now: Instant) -> Result<(), TooFarAhead> {
        let ahead_ms = remote_ms.saturating_sub(own_ms);
        if ahead_ms > MAX_SKEW_MS {
            return Err(TooFarAhead { ahead_ms });
        }
        if self.others.is_none_or(|others| others.ms_at(now) < remote_ms) {
            self.others = Some(Reading { wall_ms: remote_ms, at: now });
        }
        Ok(())
    }

    fn jump_ms(&self, own_ms: i64, now: Instant) -> i64 {
        own_ms.saturating_sub(self.trusted.ms_at(now))
    }
}

impl std::fmt::Debug for ClusterClock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("ClusterClock").field(&self.now_ms()).finish()
    }
}

impl SystemClock for ClusterClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.now_ms()).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        SystemClockTicker::new(self, duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const NOW: i64 = 1_700_000_000_000;
    const YEAR: i64 = 365 * 86_400_000;

    /// A machine with two clocks.
    struct Machine {
        own_ms: i64,
        now: Instant,
        state: State,
    }

    impl Machine {
        fn new() -> Self {
            let now = Instant::now();
            Self { own_ms: NOW, now, state: State::new(NOW, now) }
        }

        fn pass(&mut self, ms: i64) {
            self.own_ms += ms;
            self.now += Duration::from_millis(ms as u64);
        }

        fn cluster_ms(&mut self) -> i64 {
            self.state.now_ms(self.own_ms, self.now)
        }

        fn observe(&mut self, remote_ms: i64) -> Result<(), TooFarAhead> {
            self.state.observe(remote_ms, self.own_ms, self.now)
        }

        fn jump_ms(&self) -> i64 {
            self.state.jump_ms(self.own_ms, self.now)
        }
    }

    #[test]
    fn it_follows_the_fastest_clock_and_goes_on() {
        let mut machine = Machine::new();
        assert_eq!(machine.cluster_ms(), NOW);
        machine.observe(NOW + 30_000).expect("believed");
        assert_eq!(machine.cluster_ms(), NOW + 30_000);
        machine.pass(1_000);
        assert_eq!(machine.cluster_ms(), NOW + 31_000);
        machine.observe(NOW - 30_000).expect("one behind changes nothing");
        assert_eq!(machine.cluster_ms(), NOW + 31_000);
    }

    #[test]
    fn a_time_far_ahead_is_refused() {
        let mut machine = Machine::new();
        assert_eq!(machine.observe(NOW + YEAR), Err(TooFarAhead { ahead_ms: YEAR }));
        assert_eq!(machine.observe(i64::MAX), Err(TooFarAhead { ahead_ms: i64::MAX - NOW }));
        machine.observe(i64::MIN).expect("one behind changes nothing");
        assert_eq!(machine.cluster_ms(), NOW);
    }

    #[test]
    fn a_jump_of_the_own_clock_is_not_followed() {
        for jump in [YEAR, -YEAR, 61_000, -61_000] {
            let mut machine = Machine::new();
            machine.pass(10);
            machine.own_ms += jump;
            assert_eq!((machine.cluster_ms(), machine.jump_ms()), (NOW + 10, jump));
            machine.pass(1_000);
            assert_eq!((machine.cluster_ms(), machine.jump_ms()), (NOW + 1_010, jump));
            machine.own_ms -= jump;
            assert_eq!((machine.cluster_ms(), machine.jump_ms()), (NOW + 1_010, 0));
        }
    }

    #[test]
    fn small_corrections_are_followed_but_never_backwards() {
        let mut machine = Machine::new();
        for (correction, expected) in [(30_000, 30_000), (-50_000, 30_000), (50_001, 30_001)] {
            machine.own_ms += correction;
            assert_eq!(machine.cluster_ms(), NOW + expected);
        }
    }

    #[test]
    fn retention_goes_by_the_clock_that_lets_less_expire() {
        let own = Arc::new(ManualClock::at(NOW));
        let clock = ClusterClock::new(own.clone());
        clock.observe(NOW + 30_000).expect("believed");
        assert!(clock.now_ms() >= NOW + 30_000 && clock.skew_ms() >= 30_000);
        assert_eq!(clock.retention_ms(), NOW);
        own.advance(YEAR);
        assert!(clock.retention_ms() < NOW + 60_000, "not by one that jumped");
        clock.accept_jump();
        assert_eq!(clock.retention_ms(), NOW + YEAR);
    }
}
