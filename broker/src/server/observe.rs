//! What metrics tell of the broker's state, looked at when somebody asks.

use std::collections::HashMap;
use std::sync::Arc;

use crate::metrics::Observed;
use crate::service::Services;
use crate::store::Store;
use crate::tls::ServerTls;

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
        self.services.stopping.is_cancelled().then(|| "the broker stops".to_owned())
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
        let space = self.store.space();
        let quotas = &self.services.quotas;
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
            volume: (space.free, space.total),
            certificates: self.tls.iter().map(|(name, tls)| (name.to_string(), tls.expires_at_ms() / 1000)).collect(),
            throttled: quotas
                .throttled()
                .map(|(key, total)| (key.name(), total.requests, total.milliseconds))
                .collect(),
            quota_clients: quotas.counted(),
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
