//! What the broker counts and measures, in OpenMetrics text. One [`Metrics`] per broker; the names are what alerts,
//! dashboards and docs use.
//!
//! Counters and histograms are raised where things happen. Gauges are looked up when somebody asks; see [`Observed`].

mod observed;
mod process;

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::atomic::AtomicI64;
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

use observed::Gauges;
pub use observed::{Observed, ObservedGroup};

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
        metrics.observed.register(&mut metrics.registry);
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

    fn register_process(&mut self, started_ms: i64) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        self.registry.register("lockgate_build", "The running version", build);
        let started = Gauge::<i64, AtomicI64>::default();
        started.set(started_ms / 1000);
        self.registry.register("process_start_time_seconds", "Start of the process, seconds since 1970", started);
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
        self.observed.set(seen);
        self.forget_deleted(seen);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
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
            transactions: vec![("Ongoing", 2)],
            timed_out_transactions: 4,
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
            "lockgate_transactions{state=\"Ongoing\"} 2",
            "lockgate_transactions_timed_out_total 4",
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
