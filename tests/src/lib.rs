//! What the end-to-end tests stand on: a real broker process, a client of bare frames, a proxy that cuts connections, and
//! readers of what the broker left on disk. Everything is synchronous and bounded by deadlines.

pub mod at_size;
pub mod authority;
pub mod batch;
pub mod bench;
pub mod bench_kafka;
pub mod broker;
pub mod claims;
pub mod conformance;
pub mod differential;
pub mod guide;
pub mod issuer;
pub mod kafka;
pub mod kcat;
pub mod keyed;
pub mod ledger;
pub mod mirror;
pub mod operator;
pub mod program;
pub mod proxy;
pub mod records;
pub mod requests;
pub mod samples;
pub mod scan;
pub mod scram;
pub mod segments;
pub mod state_server;
pub mod terraform;
pub mod tools;
pub mod volume;
pub mod wire;

use std::time::{Duration, Instant};

/// Asks again and again until `probe` answers, or fails with `what` after `limit`.
pub fn until<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < end, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A figure that sets how long a test with faults runs, times `LOCKGATE_LONGER` when that is set (`make test-long`).
pub fn longer<T: std::ops::Mul<Output = T> + From<u8>>(short: T) -> T {
    let times = std::env::var("LOCKGATE_LONGER").ok().and_then(|times| times.parse::<u8>().ok());
    short * T::from(times.unwrap_or(1).max(1))
}
