//! What only a look can tell, and its gauges: set when somebody asks for the metrics, not kept up in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use super::{ListenerLabels, TopicLabels};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabels {
    group: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupStateLabels {
    group: Arc<str>,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LagLabels {
    group: Arc<str>,
    topic: Arc<str>,
    partition: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuotaLabels {
    quota: &'static str,
}

/// One group with its own series.
#[derive(Clone, Debug, Default)]
pub struct ObservedGroup {
    pub group: Arc<str>,
    pub state: &'static str,
    pub members: usize,
    /// Topic, partition, and records between the committed offset and the high watermark.
    pub lags: Vec<(Arc<str>, i32, i64)>,
}

/// What only a look can tell, filled in when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Every topic there is, with its stored bytes.
    pub topic_bytes: Vec<(String, u64)>,
    pub partitions: usize,
    /// Groups by the name of their state.
    pub groups: Vec<(String, usize)>,
    pub group_members: usize,
    pub single_groups: Vec<ObservedGroup>,
    /// Series of groups that are left out because there are too many.
    pub group_series_omitted: usize,
    /// Members and offsets of all groups (bytes).
    pub group_memory: usize,
    /// Free and total bytes of the data volume.
    pub volume: (u64, u64),
    /// When a listener's certificate ends, in seconds since 1970.
    pub certificates: Vec<(String, i64)>,
    /// Quota key, requests that had to wait for it, and their waits (ms).
    pub throttled: Vec<(&'static str, u64, u64)>,
    /// Users, client ids and addresses whose use of a quota is counted.
    pub quota_clients: usize,
    /// How many transactional ids are in each state, by its name.
    pub transactions: Vec<(&'static str, usize)>,
    /// Transactions that were aborted because their producer did not end them in time.
    pub timed_out_transactions: usize,
    /// When the token issuer's keys were last read, in seconds since 1970.
    pub token_keys: Option<i64>,
    pub authentication_failures: u64,
    pub denied_operations: u64,
}

/// And counters whose total is kept elsewhere.
#[derive(Default)]
pub(super) struct Gauges {
    topic_bytes: Family<TopicLabels, Gauge>,
    partitions: Gauge,
    groups: Family<StateLabels, Gauge>,
    members: Gauge,
    group_memory: Gauge,
    group_state: Family<GroupStateLabels, Gauge>,
    group_members: Family<GroupLabels, Gauge>,
    group_lag: Family<LagLabels, Gauge>,
    group_series_omitted: Gauge,
    volume_free: Gauge,
    volume_total: Gauge,
    certificates: Family<ListenerLabels, Gauge>,
    token_keys: Gauge,
    throttled_requests: Family<QuotaLabels, Counter<u64, AtomicU64>>,
    throttled_seconds: Family<QuotaLabels, Counter<f64, AtomicU64>>,
    quota_clients: Gauge,
    transactions: Family<StateLabels, Gauge>,
    timed_out_transactions: Counter<u64, AtomicU64>,
    authentication_failures: Counter<u64, AtomicU64>,
    denied_operations: Counter<u64, AtomicU64>,
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_bytes: Gauge,
    open_files: Gauge,
}

impl Gauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        let bytes = Unit::Bytes;
        let help = "Stored bytes, by topic";
        registry.register_with_unit("lockgate_topic_size", help, bytes.clone(), self.topic_bytes.clone());
        registry.register("lockgate_partitions", "Open partitions", self.partitions.clone());
        registry.register("lockgate_groups", "Consumer groups, by state", self.groups.clone());
        registry.register("lockgate_members", "Members of all groups", self.members.clone());
        let help = "Members and committed offsets of all groups in memory, about";
        registry.register_with_unit("lockgate_group_memory", help, bytes.clone(), self.group_memory.clone());
        let help = "Free space of the data volume";
        registry.register_with_unit("lockgate_volume_free", help, bytes.clone(), self.volume_free.clone());
        let help = "Size of the data volume";
        registry.register_with_unit("lockgate_volume_size", help, bytes, self.volume_total.clone());
        registry.register(
            "lockgate_certificate_expiry_timestamp_seconds",
            "When a listener's certificate ends, seconds since 1970",
            self.certificates.clone(),
        );
        let help = "Requests and connections that had to wait for a quota, by its key";
        registry.register("lockgate_throttled_requests", help, self.throttled_requests.clone());
        let help = "Time that clients were made to wait for a quota, by its key";
        registry.register_with_unit("lockgate_throttle", help, Unit::Seconds, self.throttled_seconds.clone());
        let help = "Users, client ids and addresses whose use of a quota is counted now";
        registry.register("lockgate_quota_clients", help, self.quota_clients.clone());
        registry.register(
            "lockgate_token_keys_read_timestamp_seconds",
            "When the token issuer's keys were last read, seconds since 1970; 0 when never",
            self.token_keys.clone(),
        );
        registry.register(
            "lockgate_authentication_failures",
            "Clients that could not prove who they are",
            self.authentication_failures.clone(),
        );
        registry.register(
            "lockgate_denied_operations",
            "Operations that no ACL allows, or one denies",
            self.denied_operations.clone(),
        );
        self.register_groups(registry);
        self.register_transactions(registry);
        self.register_process(registry);
    }

    fn register_transactions(&self, registry: &mut Registry) {
        let help = "Transactional ids, by the state of their last transaction";
        registry.register("lockgate_transactions", help, self.transactions.clone());
        let help = "Transactions aborted because their producer did not end them in time";
        registry.register("lockgate_transactions_timed_out", help, self.timed_out_transactions.clone());
    }

    fn register_process(&self, registry: &mut Registry) {
        let help = "Processor time that the process took";
        registry.register_with_unit("process_cpu", help, Unit::Seconds, self.cpu_seconds.clone());
        let help = "Resident memory of the process";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, self.resident_bytes.clone());
        registry.register("process_open_fds", "Open file descriptors", self.open_files.clone());
    }

    fn register_groups(&self, registry: &mut Registry) {
        registry.register("lockgate_group_state", "1 for the state that a group is in", self.group_state.clone());
        registry.register("lockgate_group_members", "Members, by group", self.group_members.clone());
        let help = "Records between a group's committed offset and the high watermark, by partition";
        registry.register("lockgate_group_lag", help, self.group_lag.clone());
        let help = "Series of single groups that are left out because there are too many";
        registry.register("lockgate_group_series_omitted", help, self.group_series_omitted.clone());
    }

    pub(super) fn set(&self, seen: &Observed) {
        self.topic_bytes.clear();
        for (topic, bytes) in &seen.topic_bytes {
            self.topic_bytes.get_or_create(&TopicLabels { topic: topic.clone() }).set(gauge(*bytes));
        }
        self.partitions.set(gauge(seen.partitions as u64));
        self.groups.clear();
        for (state, count) in &seen.groups {
            self.groups.get_or_create(&StateLabels { state: state.clone() }).set(gauge(*count as u64));
        }
        self.members.set(gauge(seen.group_members as u64));
        self.set_groups(seen);
        self.volume_free.set(gauge(seen.volume.0));
        self.volume_total.set(gauge(seen.volume.1));
        for (listener, ends) in &seen.certificates {
            self.certificates.get_or_create(&ListenerLabels { listener: listener.clone() }).set(*ends);
        }
        for &(quota, requests, milliseconds) in &seen.throttled {
            raise(&self.throttled_requests.get_or_create(&QuotaLabels { quota }), requests);
            let seconds = self.throttled_seconds.get_or_create(&QuotaLabels { quota }).clone();
            let total = milliseconds as f64 / 1000.0;
            seconds.inner().store(total.to_bits(), Ordering::Relaxed);
        }
        self.quota_clients.set(gauge(seen.quota_clients as u64));
        for (state, count) in &seen.transactions {
            self.transactions.get_or_create(&StateLabels { state: (*state).to_owned() }).set(gauge(*count as u64));
        }
        raise(&self.timed_out_transactions, seen.timed_out_transactions as u64);
        self.token_keys.set(seen.token_keys.unwrap_or(0));
        raise(&self.authentication_failures, seen.authentication_failures);
        raise(&self.denied_operations, seen.denied_operations);
        let process = Process::look();
        self.cpu_seconds.inner().store(process.cpu_seconds.to_bits(), Ordering::Relaxed);
        self.resident_bytes.set(gauge(process.resident_bytes));
        self.open_files.set(gauge(process.open_files));
    }

    fn set_groups(&self, seen: &Observed) {
        self.group_memory.set(gauge(seen.group_memory as u64));
        self.group_series_omitted.set(gauge(seen.group_series_omitted as u64));
        self.group_state.clear();
        self.group_members.clear();
        self.group_lag.clear();
        for ObservedGroup { group, state, members, lags } in &seen.single_groups {
            self.group_state.get_or_create(&GroupStateLabels { group: group.clone(), state }).set(1);
            self.group_members.get_or_create(&GroupLabels { group: group.clone() }).set(gauge(*members as u64));
            for (topic, partition, lag) in lags {
                let labels = LagLabels { group: group.clone(), topic: topic.clone(), partition: *partition };
                self.group_lag.get_or_create(&labels).set(*lag);
            }
        }
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Brings a counter up to a total that is counted elsewhere.
fn raise(counter: &Counter<u64, AtomicU64>, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
