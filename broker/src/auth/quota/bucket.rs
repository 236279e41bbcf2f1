//! Token buckets that may go into debt: what is asked for is given while anything is left, and the debt is waited off.

use std::collections::HashMap;

use crate::limits;

/// Idle buckets are looked for at most this often (milliseconds).
const SWEEP_MS: i64 = 10_000;

/// What one client has left of its rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    tokens: f64,
    at_ms: i64,
    /// When it will be full again: then it is as good as forgotten.
    full_ms: i64,
}

impl Bucket {
    /// `rate` per second; `burst_seconds` of it may be taken at once.
    pub(super) fn full(rate: f64, burst_seconds: f64, now_ms: i64) -> Self {
        Self { tokens: rate * burst_seconds, at_ms: now_ms, full_ms: now_ms }
    }

    fn refill(&mut self, rate: f64, burst_seconds: f64, now_ms: i64) {
        let passed = now_ms.saturating_sub(self.at_ms).max(0) as f64 / 1000.0;
        self.tokens = (self.tokens + passed * rate).min(rate * burst_seconds);
        self.at_ms = now_ms;
    }

    /// Takes `amount` (or gives it back, when negative), into debt if need be, and tells how long the debt lasts (ms).
    pub(super) fn take(&mut self, rate: f64, burst_seconds: f64, amount: f64, now_ms: i64) -> f64 {
        self.refill(rate, burst_seconds, now_ms);
        let deepest = -rate * limits::QUOTA_DEBT_SECONDS;
        self.tokens = (self.tokens - amount).clamp(deepest, rate * burst_seconds);
        let missing = rate * burst_seconds - self.tokens;
        self.full_ms = now_ms.saturating_add((missing / rate * 1000.0).ceil() as i64);
        (-self.tokens / rate * 1000.0).max(0.0)
    }

    /// Takes a whole token, or tells how long until there is one (ms).
    pub(super) fn take_whole(&mut self, rate: f64, burst_seconds: f64, now_ms: i64) -> Result<(), f64> {
        // A rate below one per burst still lets one through in its time.
        let burst_seconds = burst_seconds.max(1.0 / rate);
        self.refill(rate, burst_seconds, now_ms);
        if self.tokens >= 1.0 {
            self.take(rate, burst_seconds, 1.0, now_ms);
            return Ok(());
        }
        Err((1.0 - self.tokens) / rate * 1000.0)
    }
}

/// The buckets in use, by a keyed hash of whose they are: a collision only shares an allowance, and the names, which
/// clients choose, take no memory.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    by_owner: HashMap<u64, Bucket>,
    swept_ms: i64,
}

impl Buckets {
    /// The owner's bucket. Newcomers that find no room share one, so that made-up names buy nothing.
    pub(super) fn of(&mut self, owner: u64, fresh: Bucket, now_ms: i64) -> &mut Bucket {
        if now_ms.abs_diff(self.swept_ms) >= SWEEP_MS as u64 {
            self.swept_ms = now_ms;
            self.by_owner.retain(|_, bucket| bucket.full_ms > now_ms);
        }
        let room = self.by_owner.len() < limits::QUOTA_BUCKETS || self.by_owner.contains_key(&owner);
        let owner = if room { owner } else { 0 };
        self.by_owner.entry(owner).or_insert(fresh)
    }

    pub(super) fn len(&self) -> usize {
        self.by_owner.len()
    }

    pub(super) fn clear(&mut self) {
        self.by_owner.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_over_time_whatever_the_pieces() {
        for piece in [1_000.0, 64_000.0, 1_000_000.0, 4_000_000.0] {
            let rate = 1_048_576.0;
            let (mut now, mut sent) = (0, 0.0);
            let mut bucket = Bucket::full(rate, 1.0, now);
            while now < 30_000 {
                sent += piece;
                now += bucket.take(rate, 1.0, piece, now).ceil() as i64;
            }
            let measured = sent / (now as f64 / 1000.0);
            assert!((measured / rate - 1.0).abs() < 0.1, "{piece}: {measured}");
        }
    }

    #[test]
    fn a_debt_is_bounded_and_given_back_tokens_count() {
        let mut bucket = Bucket::full(10.0, 1.0, 0);
        assert_eq!(bucket.take(10.0, 1.0, 10.0, 0), 0.0);
        assert_eq!(bucket.take(10.0, 1.0, 5.0, 0), 500.0);
        assert_eq!(bucket.take(10.0, 1.0, -5.0, 0), 0.0);
        let longest = bucket.take(10.0, 1.0, 1e12, 0);
        assert_eq!(longest, limits::QUOTA_DEBT_SECONDS * 1000.0);
        assert_eq!(bucket.take(10.0, 1.0, 0.0, -5_000), longest, "a clock that goes back gives nothing");
    }

    #[test]
    fn whole_tokens_come_at_their_rate() {
        let mut bucket = Bucket::full(2.0, 1.0, 0);
        assert_eq!((0..4).filter(|_| bucket.take_whole(2.0, 1.0, 0).is_ok()).count(), 2);
        assert_eq!(bucket.take_whole(2.0, 1.0, 0), Err(500.0));
        assert_eq!(bucket.take_whole(2.0, 1.0, 500), Ok(()));
        let mut slow = Bucket::full(0.5, 1.0, 0);
        assert!(slow.take_whole(0.5, 1.0, 0).is_err());
        assert!(slow.take_whole(0.5, 1.0, 1_000).is_ok(), "a rate below one per second still lets one through");
    }

    #[test]
    fn made_up_owners_share_bounded_memory_and_full_buckets_are_forgotten() {
        let mut buckets = Buckets::default();
        for owner in 1..=(limits::QUOTA_BUCKETS as u64 + 500) {
            buckets.of(owner, Bucket::full(10.0, 1.0, 0), 0).take(10.0, 1.0, 15.0, 0);
        }
        assert!(buckets.len() <= limits::QUOTA_BUCKETS + 1);
        buckets.of(1, Bucket::full(10.0, 1.0, 0), 120_000);
        assert_eq!(buckets.len(), 1);
    }
}
