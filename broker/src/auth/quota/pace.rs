//! The rate at which a listener, or the whole broker, takes connections; beyond it they wait in the kernel's queue.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::bucket::Bucket;
use crate::clock::Clock;

/// Connections that may come at once, in seconds of the rate.
const BURST_SECONDS: f64 = 1.0;

pub struct Pace {
    clock: Arc<dyn Clock>,
    /// Per second.
    rate: f64,
    bucket: Mutex<Bucket>,
}

impl Pace {
    /// None where the rate is 0: there is no bound.
    pub fn new(rate: u32, clock: Arc<dyn Clock>) -> Option<Arc<Self>> {
        let bucket = Mutex::new(Bucket::full(f64::from(rate), BURST_SECONDS, clock.now_ms()));
        (rate > 0).then(|| Arc::new(Self { clock, rate: f64::from(rate), bucket }))
    }

    /// Waits until one more may come. Cancel safe.
    pub async fn wait(&self) {
        while let Err(wait_ms) = self.take() {
            sleep(Duration::from_millis(wait_ms.ceil() as u64)).await;
        }
    }

    fn take(&self) -> Result<(), f64> {
        self.bucket.lock().take_whole(self.rate, BURST_SECONDS, self.clock.now_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_second_brings_as_many_as_the_rate_and_no_rate_is_no_bound() {
        let clock = Arc::new(ManualClock::at(1_000_000));
        assert!(Pace::new(0, clock.clone()).is_none());
        let pace = Pace::new(20, clock.clone()).expect("a bound");
        let taken = || (0..100).filter(|_| pace.take().is_ok()).count();
        assert_eq!(taken(), 20);
        clock.advance(500);
        assert_eq!(taken(), 10);
        assert_eq!(pace.take(), Err(50.0));
    }
}
