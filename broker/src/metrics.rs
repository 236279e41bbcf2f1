//! What the broker counts and measures, in OpenMetrics text. One [`Metrics`] per broker; the names are what alerts,
//! dashboards and docs use.
//!
//! Counters and histograms are raised where things happen. Gauges are looked up when somebody asks; see [`Observed`].

mod process;

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The name of a request type, written out only when somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Api(i16);

impl EncodeLabelValue for Api {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), fmt::Error> {
        match ApiKey::try_from(self.0) {
            Ok(key) => write!(encoder, "{key:?}"),
            Err(()) => write!(encoder, "{}", self.0),
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered; the answer may say that something was refused.
    Answered,
    /// Not understood, or failed; the connection was closed.
    Failed,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), fmt::Error> {
        encoder.write_str(match self {
            Outcome::Answered => "answered",
            Outcome::Failed => "failed",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    api: Api,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    api: Api,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabels {
    topic: String,
}

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

/// A listener's traffic: handles that a connection keeps, so that counting is one addition.
#[derive(Clone)]
pub struct Traffic {
    pub received: Counter,
    pub sent: Counter,
    connections: Gauge,
}

/// One open connection in the gauge of its listener.
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Traffic {
    /// Counts a connection until the value is dropped.
    pub fn open(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }
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
    /// When the token issuer's keys were last read, in seconds since 1970.
    pub token_keys: Option<i64>,
    pub authentication_failures: u64,
    pub denied_operations: u64,
}

/// Every metric of the broker.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<ApiLabels, Histogram, fn() -> Histogram>,
    connections: Family<ListenerLabels, Gauge>,
    refused_connections: Family<ListenerLabels, Counter>,
    received: Family<ListenerLabels, Counter>,
    sent: Family<ListenerLabels, Counter>,
    produced: Family<TopicLabels, Counter>,
    fetched: Family<TopicLabels, Counter>,
    /// Topics with a counter, to forget those that were deleted.
    topics: Mutex<HashSet<String>>,
    /// How long making records durable takes.
    pub flush_seconds: Histogram,
    /// Connections closed because their session had ended.
    pub expired_sessions: Counter,
    observed: Gauges,
    scrape: Mutex<()>,
}

#[derive(Default)]
struct Gauges {
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
    authentication_failures: Counter<u64, AtomicU64>,
    denied_operations: Counter<u64, AtomicU64>,
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_bytes: Gauge,
    open_files: Gauge,
}

/// From a quarter of a millisecond to four seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 15))
}

impl Metrics {
    /// `started_ms`: the time of the process's start, milliseconds since 1970.
    pub fn new(started_ms: i64) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            connections: Family::default(),
            refused_connections: Family::default(),
            received: Family::default(),
            sent: Family::default(),
            produced: Family::default(),
            fetched: Family::default(),
            topics: Mutex::default(),
            flush_seconds: seconds(),
            expired_sessions: Counter::default(),
            observed: Gauges::default(),
            scrape: Mutex::default(),
        };
        metrics.register_traffic();
        metrics.register_observed();
        metrics.register_single_groups();
        metrics.register_process(started_ms);
        metrics
    }

    fn register_traffic(&mut self) {
        let registry = &mut self.registry;
        registry.register("lockgate_requests", "Requests, by type and how they ended", self.requests.clone());
        registry.register_with_unit(
            "lockgate_request_duration",
            "From a request's last byte to its answer, by type; waits that the client asked for are included",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register("lockgate_connections", "Open connections, by listener", self.connections.clone());
        let help = "Connections that were turned away because a limit was reached, by listener";
        registry.register("lockgate_connections_refused", help, self.refused_connections.clone());
        let bytes = Unit::Bytes;
        let help = "Bytes received from clients, by listener, without TLS";
        registry.register_with_unit("lockgate_received", help, bytes.clone(), self.received.clone());
        let help = "Bytes sent to clients, by listener, without TLS";
        registry.register_with_unit("lockgate_sent", help, bytes.clone(), self.sent.clone());
        let help = "Bytes of record batches appended by clients, by topic";
        registry.register_with_unit("lockgate_topic_produced", help, bytes.clone(), self.produced.clone());
        let help = "Bytes of record batches read by clients, by topic";
        registry.register_with_unit("lockgate_topic_fetched", help, bytes, self.fetched.clone());
        let help = "Time to make records durable";
        registry.register_with_unit("lockgate_flush_duration", help, Unit::Seconds, self.flush_seconds.clone());
        let help = "Connections closed because their client did not authenticate again in time";
        registry.register("lockgate_expired_sessions", help, self.expired_sessions.clone());
    }

    fn register_observed(&mut self) {
        let (registry, observed) = (&mut self.registry, &self.observed);
        let bytes = Unit::Bytes;
        let help = "Stored bytes, by topic";
        registry.register_with_unit("lockgate_topic_size", help, bytes.clone(), observed.topic_bytes.clone());
        registry.register("lockgate_partitions", "Open partitions", observed.partitions.clone());
        registry.register("lockgate_groups", "Consumer groups, by state", observed.groups.clone());
        registry.register("lockgate_members", "Members of all groups", observed.members.clone());
        let help = "Members and committed offsets of all groups in memory, about";
        registry.register_with_unit("lockgate_group_memory", help, bytes.clone(), observed.group_memory.clone());
        let help = "Free space of the data volume";
        registry.register_with_unit("lockgate_volume_free", help, bytes.clone(), observed.volume_free.clone());
        let help = "Size of the data volume";
        registry.register_with_unit("lockgate_volume_size", help, bytes, observed.volume_total.clone());
        registry.register(
            "lockgate_certificate_expiry_timestamp_seconds",
            "When a listener's certificate ends, seconds since 1970",
            observed.certificates.clone(),
        );
        let help = "Requests and connections that had to wait for a quota, by its key";
        registry.register("lockgate_throttled_requests", help, observed.throttled_requests.clone());
        let help = "Time that clients were made to wait for a quota, by its key";
        registry.register_with_unit("lockgate_throttle", help, Unit::Seconds, observed.throttled_seconds.clone());
        let help = "Users, client ids and addresses whose use of a quota is counted now";
        registry.register("lockgate_quota_clients", help, observed.quota_clients.clone());
        registry.register(
            "lockgate_token_keys_read_timestamp_seconds",
            "When the token issuer's keys were last read, seconds since 1970; 0 when never",
            observed.token_keys.clone(),
        );
        registry.register(
            "lockgate_authentication_failures",
            "Clients that could not prove who they are",
            observed.authentication_failures.clone(),
        );
        registry.register(
            "lockgate_denied_operations",
            "Operations that no ACL allows, or one denies",
            observed.denied_operations.clone(),
        );
    }

    fn register_single_groups(&mut self) {
        let (registry, observed) = (&mut self.registry, &self.observed);
        registry.register("lockgate_group_state", "1 for the state that a group is in", observed.group_state.clone());
        registry.register("lockgate_group_members", "Members, by group", observed.group_members.clone());
        let help = "Records between a group's committed offset and the high watermark, by partition";
        registry.register("lockgate_group_lag", help, observed.group_lag.clone());
        let help = "Series of single groups that are left out because there are too many";
        registry.register("lockgate_group_series_omitted", help, observed.group_series_omitted.clone());
    }

    fn register_process(&mut self, started_ms: i64) {
        let (registry, observed) = (&mut self.registry, &self.observed);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("lockgate_build", "The running version", build);
        let help = "Processor time that the process took";
        registry.register_with_unit("process_cpu", help, Unit::Seconds, observed.cpu_seconds.clone());
        let help = "Resident memory of the process";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, observed.resident_bytes.clone());
        registry.register("process_open_fds", "Open file descriptors", observed.open_files.clone());
        let started = Gauge::<i64, AtomicI64>::default();
        started.set(started_ms / 1000);
        registry.register("process_start_time_seconds", "Start of the process, seconds since 1970", started);
    }

    /// A request came to its end.
    pub fn request(&self, api: i16, outcome: Outcome, took: Duration) {
        let api = Api(api);
        self.requests.get_or_create(&RequestLabels { api, outcome }).inc();
        self.request_seconds.get_or_create(&ApiLabels { api }).observe(took.as_secs_f64());
    }

    /// Handles for the connections of a listener.
    pub fn traffic(&self, listener: &str) -> Traffic {
        let labels = ListenerLabels { listener: listener.to_owned() };
        Traffic {
            received: self.received.get_or_create(&labels).clone(),
            sent: self.sent.get_or_create(&labels).clone(),
            connections: self.connections.get_or_create(&labels).clone(),
        }
    }

    pub fn refused_connection(&self, listener: &str) {
        self.refused_connections.get_or_create(&ListenerLabels { listener: listener.to_owned() }).inc();
    }

    /// Bytes that a client appended to a topic that exists.
    pub fn produced(&self, topic: &str, bytes: u64) {
        self.count(&self.produced, topic, bytes);
    }

    /// Bytes that a client was given from a topic that exists.
    pub fn fetched(&self, topic: &str, bytes: u64) {
        self.count(&self.fetched, topic, bytes);
    }

    fn count(&self, family: &Family<TopicLabels, Counter>, topic: &str, bytes: u64) {
        let labels = TopicLabels { topic: topic.to_owned() };
        if let Some(counter) = family.get(&labels) {
            counter.inc_by(bytes);
            return;
        }
        self.topics.lock().insert(topic.to_owned());
        family.get_or_create(&labels).inc_by(bytes);
    }

    /// All metrics as text, with what a look just told.
    pub fn text(&self, seen: &Observed) -> String {
        // Two scrapes at once would empty each other's series.
        let _scrape = self.scrape.lock();
        self.observe(seen);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }

    fn observe(&self, seen: &Observed) {
        let gauges = &self.observed;
        gauges.topic_bytes.clear();
        for (topic, bytes) in &seen.topic_bytes {
            gauges.topic_bytes.get_or_create(&TopicLabels { topic: topic.clone() }).set(gauge(*bytes));
        }
        self.forget_deleted(seen);
        gauges.partitions.set(gauge(seen.partitions as u64));
        gauges.groups.clear();
        for (state, count) in &seen.groups {
            gauges.groups.get_or_create(&StateLabels { state: state.clone() }).set(gauge(*count as u64));
        }
        gauges.members.set(gauge(seen.group_members as u64));
        self.observe_single_groups(seen);
        gauges.volume_free.set(gauge(seen.volume.0));
        gauges.volume_total.set(gauge(seen.volume.1));
        for (listener, ends) in &seen.certificates {
            gauges.certificates.get_or_create(&ListenerLabels { listener: listener.clone() }).set(*ends);
        }
        for &(quota, requests, milliseconds) in &seen.throttled {
            raise(&gauges.throttled_requests.get_or_create(&QuotaLabels { quota }), requests);
            let seconds = gauges.throttled_seconds.get_or_create(&QuotaLabels { quota }).clone();
            let total = milliseconds as f64 / 1000.0;
            seconds.inner().store(total.to_bits(), std::sync::atomic::Ordering::Relaxed);
        }
        gauges.quota_clients.set(gauge(seen.quota_clients as u64));
        gauges.token_keys.set(seen.token_keys.unwrap_or(0));
        raise(&gauges.authentication_failures, seen.authentication_failures);
        raise(&gauges.denied_operations, seen.denied_operations);
        let process = process::Process::look();
        gauges.cpu_seconds.inner().store(process.cpu_seconds.to_bits(), std::sync::atomic::Ordering::Relaxed);
        gauges.resident_bytes.set(gauge(process.resident_bytes));
        gauges.open_files.set(gauge(process.open_files));
    }

    fn observe_single_groups(&self, seen: &Observed) {
        let gauges = &self.observed;
        gauges.group_memory.set(gauge(seen.group_memory as u64));
        gauges.group_series_omitted.set(gauge(seen.group_series_omitted as u64));
        gauges.group_state.clear();
        gauges.group_members.clear();
        gauges.group_lag.clear();
        for ObservedGroup { group, state, members, lags } in &seen.single_groups {
            gauges.group_state.get_or_create(&GroupStateLabels { group: group.clone(), state }).set(1);
            gauges.group_members.get_or_create(&GroupLabels { group: group.clone() }).set(gauge(*members as u64));
            for (topic, partition, lag) in lags {
                let labels = LagLabels { group: group.clone(), topic: topic.clone(), partition: *partition };
                gauges.group_lag.get_or_create(&labels).set(*lag);
            }
        }
    }

    /// Drops the counters of topics that are gone: names are the clients' choice, and must not pile up.
    fn forget_deleted(&self, seen: &Observed) {
        let there: HashSet<&str> = seen.topic_bytes.iter().map(|(topic, _)| topic.as_str()).collect();
        self.topics.lock().retain(|topic| {
            let stays = there.contains(topic.as_str());
            if !stays {
                let labels = TopicLabels { topic: topic.clone() };
                self.produced.remove(&labels);
                self.fetched.remove(&labels);
            }
            stays
        });
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Brings a counter up to a total that is counted elsewhere.
fn raise(counter: &Counter<u64, AtomicU64>, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(topics: &[&str]) -> Observed {
        Observed {
            topic_bytes: topics.iter().map(|topic| (topic.to_string(), 4096)).collect(),
            groups: vec![("Stable".to_owned(), 2)],
            single_groups: vec![ObservedGroup {
                group: "a\"b".into(),
                state: "Stable",
                members: 3,
                lags: vec![("orders".into(), 1, 42)],
            }],
            group_series_omitted: 7,
            certificates: vec![("clients".to_owned(), 1_900_000_000)],
            denied_operations: 3,
            ..Observed::default()
        }
    }

    #[test]
    fn what_was_counted_is_told_under_its_name() {
        let metrics = Metrics::new(1_800_000_000_000);
        metrics.request(ApiKey::Metadata as i16, Outcome::Answered, Duration::from_millis(3));
        let traffic = metrics.traffic("clients");
        let open = traffic.open();
        traffic.received.inc_by(100);
        metrics.produced("orders", 500);
        let text = metrics.text(&seen(&["orders"]));
        for line in [
            "lockgate_requests_total{api=\"Metadata\",outcome=\"answered\"} 1",
            "lockgate_request_duration_seconds_bucket{le=\"0.004\",api=\"Metadata\"} 1",
            "lockgate_connections{listener=\"clients\"} 1",
            "lockgate_received_bytes_total{listener=\"clients\"} 100",
            "lockgate_topic_produced_bytes_total{topic=\"orders\"} 500",
            "lockgate_topic_size_bytes{topic=\"orders\"} 4096",
            "lockgate_groups{state=\"Stable\"} 2",
            "lockgate_group_state{group=\"a\\\"b\",state=\"Stable\"} 1",
            "lockgate_group_members{group=\"a\\\"b\"} 3",
            "lockgate_group_lag{group=\"a\\\"b\",topic=\"orders\",partition=\"1\"} 42",
            "lockgate_group_series_omitted 7",
            "lockgate_certificate_expiry_timestamp_seconds{listener=\"clients\"} 1900000000",
            "lockgate_denied_operations_total 3",
            "process_start_time_seconds 1800000000",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes "));
        let without = metrics.text(&Observed { single_groups: Vec::new(), ..seen(&["orders"]) });
        assert!(!without.contains("lockgate_group_lag{"), "a group that is gone has no series");
        drop(open);
        assert!(metrics.text(&seen(&["orders"])).contains("lockgate_connections{listener=\"clients\"} 0"));
    }

    #[test]
    fn deleted_topics_are_forgotten() {
        let metrics = Metrics::new(0);
        metrics.produced("gone", 1);
        metrics.fetched("gone", 1);
        metrics.fetched("stays", 1);
        let text = metrics.text(&seen(&["stays"]));
        assert!(
            !text.contains("gone") && text.contains("lockgate_topic_fetched_bytes_total{topic=\"stays\"} 1"),
            "{text}"
        );
        assert_eq!(metrics.topics.lock().len(), 1);
    }
}
