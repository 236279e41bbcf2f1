//! The free-space reserve: client records are refused before the disk is full, so that the broker's own bookkeeping
//! and retention go on.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::fs::Volume;
use crate::store::StoreError;

/// Free space is asked for again after this time,
const MAX_AGE: Duration = Duration::from_secs(1);
/// or after so many bytes: small against any sensible reserve.
const MAX_WRITTEN: u64 = 16 << 20;

pub(super) struct Reserve {
    bytes: u64,
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    at: Instant,
    free: u64,
    written: u64,
}

impl Reserve {
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, seen: Mutex::new(None) }
    }

    /// `Full` when `size` more bytes would touch the reserve.
    pub(super) fn check(&self, volume: &dyn Volume, size: u64) -> Result<(), StoreError> {
        if self.bytes == 0 {
            return Ok(());
        }
        let mut seen = self.seen.lock();
        let fresh = |seen: &Seen| {
            let left = seen.free.saturating_sub(self.bytes);
            // Near the reserve every append looks.
            seen.written + size <= MAX_WRITTEN.min(left / 2) && seen.at.elapsed() < MAX_AGE
        };
        if !seen.as_ref().is_some_and(fresh) {
            let space = volume.space();
            let free = space
                .map_err(|error| StoreError::Rejected(format!("asking for the free space failed: {error}").into()))?
                .free;
            *seen = Some(Seen { at: Instant::now(), free, written: 0 });
        }
        let Some(seen) = seen.as_mut() else { return Ok(()) };
        if seen.free < self.bytes + seen.written + size {
            return Err(StoreError::Full(
                format!("{} bytes are free, and {} of them are kept in reserve", seen.free, self.bytes).into(),
            ));
        }
        seen.written += size;
        Ok(())
    }
}
