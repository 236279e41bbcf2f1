//! Client quotas at work: who may do how much of what, and how long whoever did more has to wait.
//!
//! Rates are kept by token buckets that hold one second's worth (eleven for changes of topics, as Kafka's token bucket
//! does) and may go into debt. Where a key is set for nobody, asking costs one relaxed load.

mod bucket;
mod pace;
mod rules;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::auth::Session;
use crate::catalog::quota::QuotaKey;
use crate::catalog::{Catalog, Image};
use crate::clock::Clock;
use crate::limits;
use bucket::{Bucket, Buckets};
pub use pace::Pace;
use rules::{Rules, bit};

/// Seconds' worth of a rate that may be used at once.
const BURST_SECONDS: f64 = 1.0;
/// The same for changes of topics: Kafka's `controller.quota.window.num` × `controller.quota.window.size.seconds`.
const MUTATION_BURST_SECONDS: f64 = 11.0;

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub user: &'a str,
    pub client_id: &'a str,
}

impl<'a> Client<'a> {
    pub fn new(session: &'a Session, client_id: Option<&'a str>) -> Self {
        Self { user: session.principal.name(), client_id: client_id.unwrap_or_default() }
    }
}

/// How often and how long clients were made to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    pub requests: u64,
    pub milliseconds: u64,
}

#[derive(Debug, Default)]
struct Total {
    requests: AtomicU64,
    milliseconds: AtomicU64,
}

/// One per broker.
pub struct Quotas {
    clock: Arc<dyn Clock>,
    /// One bit for each key that is set for anybody.
    keys: AtomicU8,
    rules: ArcSwap<Rules>,
    buckets: Mutex<Buckets>,
    hasher: RandomState,
    totals: [Total; QuotaKey::ALL.len()],
}

impl Quotas {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            keys: AtomicU8::new(0),
            rules: ArcSwap::default(),
            buckets: Mutex::default(),
            hasher: RandomState::new(),
            totals: Default::default(),
        }
    }

    /// Takes the image's quotas over; connections that are open feel them with their next request.
    pub fn apply(&self, image: &Image) {
        let rules = Rules::new(&image.quotas);
        let keys = rules.keys();
        self.rules.store(Arc::new(rules));
        self.keys.store(keys, Ordering::Relaxed);
        if keys == 0 {
            self.buckets.lock().clear();
        }
    }

    /// Follows the catalog until cancelled.
    pub async fn follow(self: Arc<Self>, catalog: Arc<Catalog>, stop: CancellationToken) {
        let mut changes = catalog.watch();
        let mut applied = None;
        loop {
            let image = catalog.image();
            if applied.as_ref().is_none_or(|quotas| !Arc::ptr_eq(quotas, &image.quotas)) {
                self.apply(&image);
                applied = Some(Arc::clone(&image.quotas));
            }
            match stop.run_until_cancelled(changes.changed()).await {
                Some(Ok(())) => {}
                _ => return,
            }
        }
    }

    /// Whether the key is set for anybody.
    pub fn limits(&self, key: QuotaKey) -> bool {
        self.keys.load(Ordering::Relaxed) & bit(key) != 0
    }

    /// The rate that counts for a client, if any (per second).
    pub fn rate(&self, key: QuotaKey, client: Client<'_>) -> Option<f64> {
        self.limits(key).then(|| self.rules.load().find(key, client.user, client.client_id).map(|found| found.1))?
    }

    /// Takes `amount`, and tells how long the client has to wait (ms; 0 for not at all).
    pub fn charge(&self, key: QuotaKey, client: Client<'_>, amount: f64) -> i32 {
        if !self.limits(key) {
            return 0;
        }
        let wait = self.take(key, client, amount);
        self.count(key, wait)
    }

    /// How long a client that is in debt has to wait (ms); then its request is not even begun.
    pub fn debt(&self, key: QuotaKey, client: Client<'_>) -> i32 {
        self.charge(key, client, 0.0)
    }

    fn take(&self, key: QuotaKey, client: Client<'_>, amount: f64) -> f64 {
        let rules = self.rules.load();
        let Some((owner, rate)) = rules.find(key, client.user, client.client_id) else { return 0.0 };
        // Milliseconds of processor time are what a percentage is counted in.
        let (rate, burst) = match key {
            QuotaKey::RequestPercentage => (rate * 10.0, BURST_SECONDS),
            QuotaKey::ControllerMutationRate => (rate, MUTATION_BURST_SECONDS),
            _ => (rate, BURST_SECONDS),
        };
        let now_ms = self.clock.now_ms();
        let owner = self.hasher.hash_one((key, owner));
        let mut buckets = self.buckets.lock();
        buckets.of(owner, Bucket::full(rate, burst, now_ms), now_ms).take(rate, burst, amount, now_ms)
    }

    /// Bounds a wait, and counts it.
    fn count(&self, key: QuotaKey, wait_ms: f64) -> i32 {
        let longest = match key {
            QuotaKey::RequestPercentage => limits::REQUEST_THROTTLE_MS,
            _ => limits::THROTTLE_MS,
        };
        let wait = (wait_ms.ceil() as i64).clamp(0, i64::from(longest)) as i32;
        if wait > 0 {
            let total = &self.totals[key as usize];
            total.requests.fetch_add(1, Ordering::Relaxed);
            total.milliseconds.fetch_add(wait as u64, Ordering::Relaxed);
        }
        wait
    }

    /// Whether an address may connect now; if not, how long the connection is held before it is closed, so that trying
    /// again at once is no use.
    pub fn connect(&self, address: IpAddr) -> Result<(), Duration> {
        let key = QuotaKey::ConnectionCreationRate;
        if !self.limits(key) {
            return Ok(());
        }
        let Some(rate) = self.rules.load().connections(address) else { return Ok(()) };
        let now_ms = self.clock.now_ms();
        let owner = self.hasher.hash_one((key, rules::Owner::Address(address)));
        let fresh = Bucket::full(rate, BURST_SECONDS.max(1.0 / rate), now_ms);
        let taken = self.buckets.lock().of(owner, fresh, now_ms).take_whole(rate, BURST_SECONDS, now_ms);
        taken.map_err(|wait| Duration::from_millis(self.count(key, wait.min(1000.0)) as u64))
    }

    /// The allowance for changes of topics. With `strict`, a change beyond it is refused instead of waited for.
    pub fn mutations<'a>(&'a self, client: Client<'a>, strict: bool) -> Mutations<'a> {
        Mutations { quotas: self, client, strict, throttle_ms: 0 }
    }

    /// Waits so far, by key.
    pub fn throttled(&self) -> impl Iterator<Item = (QuotaKey, Throttled)> {
        QuotaKey::ALL.into_iter().map(|key| {
            let total = &self.totals[key as usize];
            let requests = total.requests.load(Ordering::Relaxed);
            (key, Throttled { requests, milliseconds: total.milliseconds.load(Ordering::Relaxed) })
        })
    }

    /// Users, client ids and addresses whose use is being counted.
    pub fn counted(&self) -> usize {
        self.buckets.lock().len()
    }
}

/// A request's changes of topics, counted in partitions.
pub struct Mutations<'a> {
    quotas: &'a Quotas,
    client: Client<'a>,
    strict: bool,
    throttle_ms: i32,
}

impl Mutations<'_> {
    const KEY: QuotaKey = QuotaKey::ControllerMutationRate;

    /// Whether so many partitions may be made or deleted now.
    pub fn take(&mut self, partitions: i32) -> bool {
        if !self.quotas.limits(Self::KEY) {
            return true;
        }
        if self.strict {
            self.throttle_ms = self.quotas.debt(Self::KEY, self.client);
            if self.throttle_ms > 0 {
                return false;
            }
            self.quotas.take(Self::KEY, self.client, f64::from(partitions));
            return true;
        }
        self.throttle_ms = self.quotas.charge(Self::KEY, self.client, f64::from(partitions));
        true
    }

    /// What was taken for a change that did not happen.
    pub fn give_back(&mut self, partitions: i32) {
        if self.quotas.limits(Self::KEY) {
            self.quotas.take(Self::KEY, self.client, -f64::from(partitions));
        }
    }

    pub fn throttle_ms(&self) -> i32 {
        self.throttle_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CatalogRecord;
    use crate::catalog::quota::{EntityType, QuotaEntity, QuotaValue};
    use crate::clock::ManualClock;

    const ALICE: Client<'_> = Client { user: "alice", client_id: "app" };

    fn quotas(kind: EntityType, name: &str, key: QuotaKey, rate: f64) -> (Quotas, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let quotas = Quotas::new(clock.clone());
        set(&quotas, kind, name, key, Some(rate));
        (quotas, clock)
    }

    fn set(quotas: &Quotas, kind: EntityType, name: &str, key: QuotaKey, rate: Option<f64>) {
        let mut image = Image::default();
        let entity = QuotaEntity([(kind, Some(name.to_owned()))].into());
        image.apply(&CatalogRecord::ClientQuota { entity, key, value: rate.map(QuotaValue) });
        quotas.apply(&image);
    }

    #[test]
    fn a_user_waits_for_what_it_took_too_much_and_others_do_not() {
        let key = QuotaKey::ProducerByteRate;
        let (quotas, clock) = quotas(EntityType::User, "alice", key, 1000.0);
        assert_eq!(quotas.charge(key, ALICE, 1000.0), 0);
        assert_eq!(quotas.charge(key, ALICE, 500.0), 500);
        assert_eq!(quotas.charge(key, Client { client_id: "other", ..ALICE }, 500.0), 1000, "client ids share");
        assert_eq!(quotas.charge(key, Client { user: "bob", ..ALICE }, 1e9), 0);
        assert_eq!(quotas.charge(key, ALICE, 1e9), limits::THROTTLE_MS);
        clock.advance((limits::QUOTA_DEBT_SECONDS * 1000.0) as i64);
        assert_eq!(quotas.debt(key, ALICE), 0);
        assert_eq!(quotas.counted(), 1);
        let (_, total) = quotas.throttled().next().expect("every key is told");
        assert_eq!(total, Throttled { requests: 3, milliseconds: 1500 + limits::THROTTLE_MS as u64 });
    }

    #[test]
    fn a_changed_rate_counts_at_once_and_a_removed_one_no_more() {
        let key = QuotaKey::ConsumerByteRate;
        let (quotas, _clock) = quotas(EntityType::ClientId, "app", key, 1000.0);
        assert_eq!(quotas.charge(key, ALICE, 2000.0), 1000);
        set(&quotas, EntityType::ClientId, "app", key, Some(10_000.0));
        assert_eq!(quotas.debt(key, ALICE), 100);
        set(&quotas, EntityType::ClientId, "app", key, None);
        assert!(!quotas.limits(key) && quotas.counted() == 0);
        assert_eq!(quotas.charge(key, ALICE, 1e9), 0);
    }

    #[test]
    fn a_percentage_counts_processor_time_and_waits_a_second_at_most() {
        let key = QuotaKey::RequestPercentage;
        let (quotas, _clock) = quotas(EntityType::User, "alice", key, 50.0);
        assert_eq!(quotas.charge(key, ALICE, 500.0), 0, "half a second of every second");
        assert_eq!(quotas.charge(key, ALICE, 100.0), 200);
        assert_eq!(quotas.charge(key, ALICE, 100_000.0), limits::REQUEST_THROTTLE_MS);
    }

    #[test]
    fn strict_changes_are_refused_in_debt_and_lenient_ones_wait() {
        let key = QuotaKey::ControllerMutationRate;
        let (quotas, clock) = quotas(EntityType::User, "alice", key, 1.0);
        let mut strict = quotas.mutations(ALICE, true);
        assert!(strict.take(11) && strict.throttle_ms() == 0);
        assert!(strict.take(5), "the last one may go beyond");
        assert!(!strict.take(1) && strict.throttle_ms() == 5000);
        strict.give_back(5);
        assert!(strict.take(1));
        let mut lenient = quotas.mutations(ALICE, false);
        assert!(lenient.take(1) && lenient.throttle_ms() == 2000);
        clock.advance(2000);
        assert!(quotas.mutations(ALICE, true).take(1));
    }

    #[test]
    fn an_address_connects_at_its_rate() {
        let key = QuotaKey::ConnectionCreationRate;
        let (quotas, clock) = quotas(EntityType::Ip, "10.0.0.1", key, 5.0);
        let host = IpAddr::from([10, 0, 0, 1]);
        assert_eq!((0..9).filter(|_| quotas.connect(host).is_ok()).count(), 5);
        assert_eq!(quotas.connect(host), Err(Duration::from_millis(200)));
        assert_eq!(quotas.connect([10, 0, 0, 2].into()), Ok(()));
        clock.advance(200);
        assert_eq!(quotas.connect(host), Ok(()));
    }
}
