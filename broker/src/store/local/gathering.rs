//! When to wait a little before a flush, so that more producers share it.
//!
//! Whoever was answered by the last flush is likely to be back at once with the next batch. Without waiting, those who came
//! during a flush and those whom it answered take turns, and each flush serves only half of them.

use std::time::{Duration, Instant};

/// The part of a flush's usual time that its waiting may add.
const PATIENCE: u32 = 4;
/// Rounds without waiting, after one in which it was in vain: these producers have a pace of their own.
const PAUSE: u32 = 16;

/// Who asks for flushes, counted by round.
#[derive(Default)]
pub(super) struct Gathering {
    /// For the next round, so far.
    asked: usize,
    /// Waiting in the round that runs, or answered by the last one.
    served: usize,
    /// With so many there is nobody left to wait for.
    expected: usize,
    until: Option<Instant>,
    paused: u32,
}

impl Gathering {
    pub(super) fn ask(&mut self) {
        self.asked += 1;
    }

    /// Until when the next round should wait; it should not when `None`.
    pub(super) fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| self.asked < self.expected && now < *until)
    }

    pub(super) fn round_begins(&mut self) {
        self.paused = match self.until.take() {
            Some(_) if self.asked < self.expected => PAUSE,
            _ => self.paused.saturating_sub(1),
        };
        self.served = std::mem::take(&mut self.asked);
    }

    /// `usual`: how long a round takes; `None` when it is so short that waiting does not pay.
    pub(super) fn round_ended(&mut self, now: Instant, usual: Option<Duration>) {
        self.expected = self.served + self.asked;
        self.until = usual.filter(|_| self.paused == 0).map(|usual| now + usual / PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_millis(4);

    #[test]
    fn who_was_answered_is_waited_for_together_with_who_came_meanwhile() {
        let (mut gathering, start) = (Gathering::default(), Instant::now());
        (0..2).for_each(|_| gathering.ask());
        assert_eq!(gathering.waits_until(start), None, "nothing is known of anybody");
        gathering.round_begins();
        (0..3).for_each(|_| gathering.ask());
        gathering.round_ended(start, Some(USUAL));
        assert_eq!(gathering.waits_until(start), Some(start + USUAL / 4));
        gathering.ask();
        assert_eq!(gathering.waits_until(start), Some(start + USUAL / 4), "one is missing");
        gathering.ask();
        assert_eq!(gathering.waits_until(start), None, "all five are there");
        gathering.round_begins();
        gathering.round_ended(start, Some(USUAL));
        assert_eq!(gathering.waits_until(start + USUAL / 4), None, "not for longer than a part of a flush");
    }

    #[test]
    fn a_lone_producer_and_one_with_a_pace_of_its_own_are_not_held_up() {
        let (mut gathering, start) = (Gathering::default(), Instant::now());
        for _ in 0..10 {
            gathering.ask();
            assert_eq!(gathering.waits_until(start), None, "nobody else is expected");
            gathering.round_begins();
            gathering.round_ended(start, Some(USUAL));
        }
        // Two came once, and then one by one.
        (0..2).for_each(|_| gathering.ask());
        let mut waited = 0;
        for _ in 0..34 {
            gathering.round_begins();
            gathering.ask();
            gathering.round_ended(start, Some(USUAL));
            waited += u32::from(gathering.waits_until(start).is_some());
        }
        assert!((1..=3).contains(&waited), "{waited}");
    }

    #[test]
    fn a_disk_that_is_quick_is_not_waited_for() {
        let (mut gathering, start) = (Gathering::default(), Instant::now());
        gathering.ask();
        gathering.round_begins();
        gathering.ask();
        gathering.round_ended(start, None);
        assert_eq!(gathering.waits_until(start), None);
    }
}
