//! What all groups together hold in memory because clients said so: members with their subscriptions and assignments,
//! and committed offsets with their metadata. Each group keeps its part of the total up to date.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::limits::MAX_BYTES;

/// The bytes of all groups.
#[derive(Debug, Default)]
pub(super) struct Held(AtomicUsize);

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether so many more bytes fit. What does not grow always does. Requests at the same time may overshoot by what
    /// they carry, which is bounded elsewhere.
    pub(super) fn has_room_for(&self, growth: usize) -> bool {
        growth == 0 || self.bytes().saturating_add(growth) <= MAX_BYTES
    }
}

/// A group's part of the total; given back when the group is.
#[derive(Debug)]
pub(super) struct Share {
    held: Arc<Held>,
    bytes: usize,
}

impl Share {
    pub(super) fn of(held: &Arc<Held>) -> Self {
        Self { held: Arc::clone(held), bytes: 0 }
    }

    pub(super) fn set(&mut self, bytes: usize) {
        // One addition, that wraps where the share shrinks.
        self.held.0.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
        self.bytes = bytes;
    }

    pub(super) fn has_room_for(&self, growth: usize) -> bool {
        self.held.has_room_for(growth)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_given_back() {
        let held = Arc::new(Held::default());
        let (mut one, mut other) = (Share::of(&held), Share::of(&held));
        one.set(100);
        other.set(MAX_BYTES - 150);
        one.set(50);
        assert_eq!(held.bytes(), MAX_BYTES - 100);
        assert!(held.has_room_for(100) && !held.has_room_for(101));
        drop(one);
        assert!(held.has_room_for(150) && !held.has_room_for(151));
        other.set(MAX_BYTES + 1);
        assert!(held.has_room_for(0), "what does not grow is let in");
        drop(other);
        assert_eq!(held.bytes(), 0);
    }
}
