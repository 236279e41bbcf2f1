//! Latencies in constant memory: exact below 64 µs, within 3 % above.

use std::time::Duration;

use serde::Serialize;

/// Each power of two is split in this many equal buckets.
const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) * STEPS as usize;

pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max_micros: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max_micros: 0 }
    }

    pub(super) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
        self.max_micros = self.max_micros.max(micros);
    }

    pub(super) fn latency(&self) -> Latency {
        let millis = |micros: u64| micros as f64 / 1000.0;
        Latency {
            p50_ms: millis(self.quantile(0.5)),
            p99_ms: millis(self.quantile(0.99)),
            max_ms: millis(self.max_micros),
        }
    }

    /// The upper end of the bucket that holds the quantile.
    fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(index).min(self.max_micros);
            }
        }
        self.max_micros
    }
}

/// Values below `2 * STEPS` have a bucket each; above, the leading bit picks a row and the next bits the bucket in it.
fn bucket(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let shift = micros.ilog2() - STEP_BITS;
    (u64::from(shift) * STEPS + (micros >> shift)) as usize
}

fn upper(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    let start = index % STEPS + STEPS;
    ((start + 1) << shift).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_values_within_three_percent() {
        for micros in (0..200).chain([1_000, 12_345, 999_999, 1 << 40, u64::MAX / 2]) {
            let upper = upper(bucket(micros));
            assert!(upper >= micros, "{micros} above {upper}");
            assert!((upper - micros) as f64 <= micros as f64 * 0.032, "{micros} far below {upper}");
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::new();
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis));
        }
        let latency = histogram.latency();
        assert!((latency.p50_ms - 50.0).abs() < 2.0, "{latency:?}");
        assert!((latency.p99_ms - 99.0).abs() < 3.5, "{latency:?}");
        assert_eq!(latency.max_ms, 100.0);
    }
}
