//! What metrics tell of the broker's state, looked at when somebody asks.

use std::collections::HashMap;
use std::sync::Arc;

use crate::catalog::Image;
use crate::group::CommittedOffset;
use crate::group::limits::MAX_GROUP_SERIES;
use crate::metrics::{Observed, ObservedGroup};
use crate::service::Services;
use crate::store::{PartitionId, Store};
use crate::tls::ServerTls;
use crate::txn::Status;

/// What has to be looked at.
pub(super) struct Observer {
    pub(super) services: Arc<Services>,
    pub(super) store: Arc<dyn Store>,
    /// By listener.
    pub(super) tls: Vec<(Arc<str>, Arc<ServerTls>)>,
}

impl Observer {
    /// All metrics as text.
    pub(super) fn text(&self) -> String {
        self.services.metrics.text(&self.look())
    }

    /// Why the broker does not serve its share, if so.
    pub(super) fn not_ready(&self) -> Option<String> {
        let reasons = [
            (self.services.stopping.is_cancelled(), "the broker stops"),
            (self.services.groups.is_loading(), "consumer groups are still being read from their log"),
            (self.services.transactions.is_loading(), "transactions are still being read from their log"),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason.to_owned())
    }

    /// Groups with their lag; and the series that are left out.
    fn single_groups(&self, image: &Image) -> (Vec<ObservedGroup>, usize) {
        let (groups, omitted) = self.services.groups.series(image, MAX_GROUP_SERIES);
        let observed = groups.into_iter().map(|group| ObservedGroup {
            state: group.state.name(),
            members: group.members,
            lags: group.offsets.into_iter().filter_map(|offset| self.lag(offset)).collect(),
            group: group.group,
        });
        (observed.collect(), omitted)
    }

    /// Counted from the high watermark, as Kafka's own tools do: which isolation level a group reads with is not known here.
    /// `None` when the partition is not open.
    fn lag(&self, committed: CommittedOffset) -> Option<(Arc<str>, i32, i64)> {
        let id = PartitionId { topic: committed.topic_id, index: committed.partition };
        let bounds = self.services.logs.get(id).ok()?.bounds();
        Some((committed.topic, committed.partition, bounds.high_watermark.saturating_sub(committed.offset).max(0)))
    }

    fn look(&self) -> Observed {
        let image = self.services.catalog.image();
        let sizes = self.services.logs.sizes();
        let mut by_topic = HashMap::new();
        for (id, bytes) in &sizes {
            *by_topic.entry(id.topic).or_default() += bytes;
        }
        let bytes_of = |topic: &uuid::Uuid| by_topic.get(topic).copied().unwrap_or(0);
        let counts = self.services.groups.counts();
        let (single_groups, group_series_omitted) = self.single_groups(&image);
        let space = self.store.space();
        let quotas = &self.services.quotas;
        let transactions = self.services.transactions.counts();
        let (denied_operations, authentication_failures) = self.services.authorizer.audit().totals();
        Observed {
            topic_bytes: image
                .topics
                .values()
                .map(|topic| (topic.name.as_str().to_owned(), bytes_of(&topic.id)))
                .collect(),
            partitions: sizes.len(),
            groups: counts.by_state.iter().map(|(state, count)| (state.name().to_owned(), *count)).collect(),
            group_members: counts.members,
            single_groups,
            group_series_omitted,
            group_memory: self.services.groups.held_bytes(),
            volume: (space.free, space.total),
            certificates: self.tls.iter().map(|(name, tls)| (name.to_string(), tls.expires_at_ms() / 1000)).collect(),
            throttled: quotas
                .throttled()
                .map(|(key, total)| (key.name(), total.requests, total.milliseconds))
                .collect(),
            quota_clients: quotas.counted(),
            transactions: Status::ALL
                .map(|status| (status.name(), transactions.get(&status).copied().unwrap_or(0)))
                .into(),
            timed_out_transactions: self.services.transactions.timed_out(),
            token_keys: self
                .services
                .authenticator
                .tokens()
                .and_then(|tokens| tokens.keys.read_ms())
                .map(|at| at / 1000),
            authentication_failures,
            denied_operations,
        }
    }
}
