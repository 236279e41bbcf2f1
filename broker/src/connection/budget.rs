//! The memory that requests may hold while they come in and until they are answered.
//!
//! What has arrived is counted, and a little ahead of it, never what a client only claims. One address gets at most half
//! of the whole. When all is taken, one request at a time goes on out of a reserve that holds the largest there may be, so
//! that requests which came half way never wait for each other for good.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted as one (bytes).
const UNIT: usize = 1 << 10;

/// Shared by all connections.
pub struct Budget {
    pool: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    per_address: usize,
    addresses: Mutex<Addresses>,
}

#[derive(Default)]
struct Addresses {
    shares: HashMap<IpAddr, Weak<Semaphore>>,
    /// Size at which those that are gone are looked for.
    prune_at: usize,
}

impl Budget {
    /// `bytes` in all, of which `largest`, the largest request, is the reserve.
    pub fn new(bytes: usize, largest: usize) -> Arc<Self> {
        let units = (bytes.saturating_sub(largest) / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            pool: Arc::new(Semaphore::new(units)),
            reserve: Arc::new(Semaphore::new(1)),
            per_address: units.div_ceil(2),
            addresses: Mutex::default(),
        })
    }

    /// The part of it that a connection of this address may use.
    pub(super) fn of(self: &Arc<Self>, address: IpAddr) -> Allowance {
        let mut addresses = self.addresses.lock();
        if addresses.shares.len() >= addresses.prune_at {
            addresses.shares.retain(|_, share| share.strong_count() > 0);
            addresses.prune_at = (addresses.shares.len() * 2).max(64);
        }
        let known = addresses.shares.get(&address).and_then(Weak::upgrade);
        let address_share = known.unwrap_or_else(|| {
            let fresh = Arc::new(Semaphore::new(self.per_address));
            addresses.shares.insert(address, Arc::downgrade(&fresh));
            fresh
        });
        drop(addresses);
        Allowance { budget: Arc::clone(self), address_share }
    }
}

pub(super) struct Allowance {
    budget: Arc<Budget>,
    address_share: Arc<Semaphore>,
}

/// What one request holds, until it is dropped.
#[derive(Default)]
pub(super) struct Share {
    units: usize,
    pool: Option<OwnedSemaphorePermit>,
    address: Option<OwnedSemaphorePermit>,
    reserve: Option<OwnedSemaphorePermit>,
}

impl Allowance {
    /// Makes the share cover so many bytes, waiting for room. Cancel safe: what was gained stays.
    pub(super) async fn raise(&self, share: &mut Share, bytes: usize) {
        let more = bytes.div_ceil(UNIT).saturating_sub(share.units);
        if more == 0 || share.reserve.is_some() {
            return;
        }
        let wanted = u32::try_from(more).unwrap_or(u32::MAX);
        let budget = &self.budget;
        let pooled = async {
            let address = Arc::clone(&self.address_share).acquire_many_owned(wanted).await;
            (address, Arc::clone(&budget.pool).acquire_many_owned(wanted).await)
        };
        // The semaphores are never closed.
        tokio::select! {
            biased;
            (address, pool) = pooled => {
                merge(&mut share.address, address.ok());
                merge(&mut share.pool, pool.ok());
                share.units += more;
            }
            reserve = Arc::clone(&budget.reserve).acquire_owned() => share.reserve = reserve.ok(),
        }
    }
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: Option<OwnedSemaphorePermit>) {
    match (held.as_mut(), more) {
        (Some(held), Some(more)) => held.merge(more),
        (None, more) => *held = more,
        (Some(_), None) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    async fn raises(allowance: &Allowance, share: &mut Share, bytes: usize) -> bool {
        timeout(SOON, allowance.raise(share, bytes)).await.is_ok()
    }

    #[tokio::test]
    async fn an_address_takes_half_and_others_the_rest() {
        let budget = Budget::new(110 << 10, 10 << 10);
        let (one, two) = (budget.of([10, 0, 0, 1].into()), budget.of([10, 0, 0, 2].into()));
        let mut shares: [Share; 4] = Default::default();
        let [first, more, other, last] = &mut shares;
        assert!(raises(&one, first, 50 << 10).await);
        assert!(raises(&one, more, 10 << 10).await && more.reserve.is_some(), "the one that goes on all the same");
        assert!(!raises(&one, last, 1).await);
        assert!(raises(&two, other, 50 << 10).await && other.reserve.is_none(), "another address has its own half");
        *first = Share::default();
        assert!(raises(&one, last, 30 << 10).await && last.reserve.is_none());
    }

    #[tokio::test]
    async fn half_received_requests_do_not_wait_for_each_other_for_good() {
        let budget = Budget::new(30 << 10, 10 << 10);
        let allowance = budget.of([10, 0, 0, 1].into());
        let (mut one, mut two) = (Share::default(), Share::default());
        assert!(raises(&allowance, &mut one, 5 << 10).await && raises(&allowance, &mut two, 5 << 10).await);
        assert!(raises(&allowance, &mut one, 10 << 10).await);
        assert!(!raises(&allowance, &mut two, 10 << 10).await);
        drop(one);
        assert!(raises(&allowance, &mut two, 10 << 10).await);
    }

    #[test]
    fn addresses_that_are_gone_are_forgotten() {
        let budget = Budget::new(1 << 20, 1 << 10);
        for number in 0..1000u32 {
            budget.of(IpAddr::from(number.to_be_bytes()));
        }
        assert!(budget.addresses.lock().shares.len() <= 64);
    }
}
