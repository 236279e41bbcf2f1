//! How many clients are connected, in total and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// Why a connection is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("the broker has all the connections it may have (limits.connections)")]
    Total,
    #[error("this address has all the connections it may have (limits.connections_per_address)")]
    Address,
}

#[derive(Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Shared by all listeners.
#[derive(Clone)]
pub(super) struct Connections {
    counts: Arc<Mutex<Counts>>,
    limit: usize,
    per_address: usize,
}

impl Connections {
    pub(super) fn new(limit: usize, per_address: usize) -> Self {
        Self { counts: Arc::default(), limit, per_address }
    }

    /// Admits a connection until the ticket is dropped.
    pub(super) fn admit(&self, host: IpAddr) -> Result<Ticket, Full> {
        let mut counts = self.counts.lock();
        if counts.total >= self.limit {
            return Err(Full::Total);
        }
        let here = counts.by_address.entry(host).or_default();
        if *here >= self.per_address {
            return Err(Full::Address);
        }
        *here += 1;
        counts.total += 1;
        Ok(Ticket { counts: Arc::clone(&self.counts), host })
    }
}

/// One admitted connection.
pub(super) struct Ticket {
    counts: Arc<Mutex<Counts>>,
    host: IpAddr,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        counts.total -= 1;
        if let Some(here) = counts.by_address.get_mut(&self.host) {
            *here -= 1;
            if *here == 0 {
                counts.by_address.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_counted_and_given_back() {
        let connections = Connections::new(3, 2);
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = connections.admit(one).expect("the first of its address");
        let _second = connections.admit(one).expect("the second of its address");
        assert_eq!(connections.admit(one).err(), Some(Full::Address));
        let _third = connections.admit(two).expect("another address");
        assert_eq!(connections.admit(two).err(), Some(Full::Total));
        drop(first);
        assert!(connections.admit(one).is_ok());
        assert_eq!(connections.counts.lock().by_address.len(), 2);
    }
}
