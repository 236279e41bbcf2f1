//! Puts the broker together, and takes it apart again: listeners, services, store, and the order in which they stop.

mod connections;
mod listener;
mod observe;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authorizer;
use crate::auth::audit::Audit;
use crate::auth::quota::{Pace, Quotas};
use crate::auth::sasl::Authenticator;
use crate::auth::token::TokenVerifier;
use crate::catalog::topic_config::{TopicDefaults, log_config};
use crate::catalog::{CATALOG_PARTITION, Catalog, Image, PartitionLog};
use crate::clock::Clock;
use crate::config::{Config, Durability, MigrationPolicy};
use crate::connection::Budget;
use crate::group;
use crate::http::{Http, Operations};
use crate::log::{LogConfig, Logs};
use crate::metrics::Metrics;
use crate::service::{LocalMarkers, NewProducerIds, ProducerIds, Services};
use crate::state_topic::TopicLog;
use crate::store::local::{self, LocalSettings, LocalStore};
use crate::store::{PartitionId, Store};
use crate::tls::{ServerTls, TlsSettings};
use crate::trust::{self, Trust};
use crate::txn;
use connections::Connections;
use listener::{Bound, Listening};
use observe::Observer;

/// What a broker is made of besides its settings; tests bring their own.
pub struct Components {
    pub clock: Arc<dyn Clock>,
    pub file_system: Arc<dyn local::fs::FileSystem>,
}

/// A running broker.
pub struct Server {
    services: Arc<Services>,
    logs: Arc<Logs>,
    trust: Arc<Trust>,
    /// By listener.
    tls: Vec<(Arc<str>, Arc<ServerTls>)>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    /// Stops accepting, and ends connections after the answers they owe.
    accepting: CancellationToken,
    connections: TaskTracker,
    /// Stops upkeep: retention, group timers, certificate watch.
    upkeep: CancellationToken,
    tasks: TaskTracker,
    grace: Duration,
}

impl Server {
    /// Binds, opens the data folder, and serves. Returns when clients are served.
    pub async fn start(config: Config, components: Components) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let Components { clock, file_system } = components;
        let bound = listener::bind_all(&config.listeners)?;
        let names = bound.iter().map(|bound| bound.host().to_owned()).collect::<Vec<_>>();
        let trust = Arc::new(trust::ensure(&config.data, &names, clock.clone())?);
        let metrics = Arc::new(Metrics::new(clock.now_ms()));
        let store = open_store(&config, file_system, clock.clone(), metrics.clone())?;
        let (catalog, logs) = open_catalog(&config, store.clone(), clock.clone()).await?;
        trust.install_users(&catalog).await?;

        let tokens = match config.oauthbearer.jwks {
            Some(_) => Some(TokenVerifier::open(&config.oauthbearer, clock.clone()).await.context("`oauthbearer`")?),
            None => None,
        };
        let state_log = |topic, partitions| Arc::new(TopicLog::new(topic, catalog.clone(), logs.clone(), partitions));
        let offsets = state_log(group::OFFSETS, group::DEFAULT_PARTITIONS);
        let groups = group::Coordinator::new(group_settings(&config), clock.clone(), offsets, catalog.clone());
        let producer_ids = Arc::new(ProducerIds::default());
        let transactions = txn::Coordinator::new(
            transaction_settings(&config),
            clock.clone(),
            state_log(txn::STATE_TOPIC, txn::DEFAULT_PARTITIONS),
            Arc::new(LocalMarkers { catalog: catalog.clone(), logs: logs.clone(), groups: groups.clone() }),
            Arc::new(NewProducerIds { ids: producer_ids.clone(), catalog: catalog.clone() }),
        );
        let accepting = CancellationToken::new();
        let audit = Arc::new(Audit::new(clock.clone()));
        let quotas = Arc::new(Quotas::new(clock.clone()));
        quotas.apply(&catalog.image());
        let quota_changes = catalog.clone();
        let services = Arc::new(Services {
            cluster_id: trust.cluster_id().to_owned(),
            config: config.clone(),
            clock: clock.clone(),
            catalog: catalog.clone(),
            logs: logs.clone(),
            groups: groups.clone(),
            metrics,
            producer_ids,
            transactions: transactions.clone(),
            topic_changes: Default::default(),
            changes: TaskTracker::new(),
            fetch_sessions: Default::default(),
            quotas: quotas.clone(),
            authorizer: Authorizer::new(&config.super_users, audit),
            authenticator: Authenticator::new(catalog, tokens.clone()),
            stopping: accepting.clone(),
        });

        let upkeep = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(groups.run(upkeep.clone()));
        tasks.spawn(transactions.run(upkeep.clone()));
        if let Some(tokens) = tokens {
            tasks.spawn(tokens.keys.clone().run(upkeep.clone()));
        }
        tasks.spawn(quotas.follow(quota_changes, upkeep.clone()));
        let interval = Duration::from_millis(config.maintenance_interval_ms);
        tasks.spawn(logs.clone().run_maintenance(interval, upkeep.clone()));

        let mut server = Self {
            services,
            logs,
            trust,
            tls: Vec::new(),
            addresses: Vec::new(),
            accepting,
            connections: TaskTracker::new(),
            upkeep,
            tasks,
            grace: Duration::from_secs(config.limits.stop_seconds),
        };
        server.listen(bound, clock.clone())?;
        server.operate(store, clock).await?;
        Ok(server)
    }

    fn listen(&mut self, bound: Vec<Bound>, clock: Arc<dyn Clock>) -> anyhow::Result<()> {
        let limits = &self.services.config.limits;
        let admitted = Connections::new(limits.connections, limits.connections_per_address);
        let budget = Budget::new(limits.in_flight_bytes, limits.request_bytes);
        let pace = Pace::new(limits.connection_creation_rate, clock.clone());
        let bootstrap = bootstrap(&bound);
        for bound in bound {
            self.addresses.push((bound.name.clone(), bound.address));
            let tls = bound.tls(&self.trust, clock.clone())?;
            if let Some(tls) = &tls {
                self.tls.push((bound.name.clone(), tls.clone()));
                self.tasks.spawn(tls.clone().watch(self.upkeep.clone()));
            }
            let listening = Listening {
                paces: [pace.clone(), bound.pace(clock.clone())],
                bound,
                tls,
                services: self.services.clone(),
                admitted: admitted.clone(),
                budget: budget.clone(),
                stop: self.accepting.clone(),
                connections: self.connections.clone(),
            };
            self.tasks.spawn(listening.run());
        }
        self.trust.publish_bootstrap(&bootstrap)?;
        Ok(())
    }

    /// Starts the listener for operations.
    async fn operate(&mut self, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> anyhow::Result<()> {
        let http = &self.services.config.http;
        if !http.enabled {
            return Ok(());
        }
        let tls = match http.tls {
            true => Some(ServerTls::new(TlsSettings::default(), self.trust.clone(), clock)?),
            false => None,
        };
        if let Some(tls) = &tls {
            self.tls.push(("http".into(), tls.clone()));
            self.tasks.spawn(tls.clone().watch(self.upkeep.clone()));
        }
        let observer = Arc::new(Observer { services: self.services.clone(), store, tls: self.tls.clone() });
        let ready = observer.clone();
        let operations = Operations {
            metrics: Box::new(move || observer.text()),
            not_ready: Box::new(move || ready.not_ready()),
            token_file: http.token_file.clone(),
        };
        let bind = http.bind;
        let http = Http::bind(bind, tls, operations).await;
        let http = http.with_context(|| format!("the operations listener (`http.bind`) cannot be bound to {bind}"))?;
        self.addresses.push(("http".into(), http.address()?));
        self.tasks.spawn(http.run(self.upkeep.clone()));
        Ok(())
    }

    /// Listener names with the addresses they are bound to.
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Rereads certificates. A file that cannot be used leaves the certificate in use as it is.
    pub fn reload(&self) {
        for (listener, tls) in &self.tls {
            match tls.reload() {
                Ok(()) => tracing::info!(%listener, "certificates were reread; new connections use them"),
                Err(error) => tracing::error!(%listener, %error, "certificates cannot be reread; the ones in use stay"),
            }
        }
    }

    /// Stops accepting, finishes requests, flushes, closes the store. What takes longer than the grace period is cut.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.accepting.cancel();
        self.connections.close();
        if tokio::time::timeout(self.grace, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "connections did not end within the grace period");
        }
        let changes = &self.services.changes;
        changes.close();
        if tokio::time::timeout(self.grace, changes.wait()).await.is_err() {
            tracing::warn!(left = changes.len(), "changes did not end within the grace period");
        }
        self.upkeep.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "tasks did not end within the grace period");
        }
        self.logs.close().await.context("closing the store")?;
        Ok(())
    }
}

/// The addresses that clients are told to start from: the secured ones. Other listeners are for those who asked for them.
fn bootstrap(bound: &[Bound]) -> Vec<String> {
    let secured: Vec<_> = bound.iter().filter(|bound| bound.is_secured()).map(Bound::advertised_text).collect();
    if secured.is_empty() { bound.iter().map(Bound::advertised_text).collect() } else { secured }
}

fn group_settings(config: &Config) -> group::Settings {
    let groups = &config.groups;
    group::Settings {
        initial_rebalance_delay: Duration::from_millis(groups.initial_rebalance_delay_ms),
        min_session_timeout: Duration::from_millis(groups.min_session_timeout_ms),
        max_session_timeout: Duration::from_millis(groups.max_session_timeout_ms),
        max_size: groups.max_size,
        consumer: consumer_settings(groups),
        offsets_retention_ms: groups.offsets_retention_minutes.saturating_mul(60_000).min(i64::MAX as u64) as i64,
        retention_check: Duration::from_millis(groups.offsets_retention_check_interval_ms),
    }
}

fn consumer_settings(groups: &crate::config::Groups) -> group::ConsumerSettings {
    group::ConsumerSettings {
        session_timeout: Duration::from_millis(groups.consumer_session_timeout_ms),
        heartbeat_interval: Duration::from_millis(groups.consumer_heartbeat_interval_ms),
        max_size: groups.consumer_max_size,
        // Names that are none were refused when the config was read.
        assignors: groups.consumer_assignors.iter().filter_map(|name| group::Assignor::parse(name)).collect(),
        migration: match groups.consumer_migration_policy {
            MigrationPolicy::Bidirectional => group::Migration::Bidirectional,
            MigrationPolicy::Upgrade => group::Migration::Upgrade,
            MigrationPolicy::Downgrade => group::Migration::Downgrade,
            MigrationPolicy::Disabled => group::Migration::Disabled,
        },
        regex_refresh: Duration::from_millis(groups.consumer_regex_refresh_interval_ms),
    }
}

fn transaction_settings(config: &Config) -> txn::Settings {
    let transactions = &config.transactions;
    txn::Settings {
        max_timeout_ms: transactions.max_timeout_ms,
        expiration_ms: transactions.id_expiration_ms,
        ..txn::Settings::default()
    }
}

fn open_store(
    config: &Config,
    file_system: Arc<dyn local::fs::FileSystem>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) -> anyhow::Result<Arc<dyn Store>> {
    let durability = match config.durability {
        Durability::Fsync => local::Durability::Fsync,
        Durability::PageCache => local::Durability::PageCache,
    };
    let settings = LocalSettings { path: config.data.clone(), durability, reserve_bytes: config.reserve_bytes };
    let store = LocalStore::open(settings, file_system, clock)?;
    store.observe_flushes(move |took| metrics.flush_seconds.observe(took.as_secs_f64()));
    Ok(store)
}

/// Opens the catalog, and every partition that it knows.
async fn open_catalog(
    config: &Config,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<(Arc<Catalog>, Arc<Logs>)> {
    // A folder with partitions but without a catalog is a restore gone wrong, not a first start.
    let first_start = store.list().await.context("listing the partitions")?.is_empty();
    let logs = Logs::new(store, clock.clone());
    let opened = logs.open(CATALOG_PARTITION, Arc::new(catalog_log_config()), first_start).await;
    opened.with_context(|| {
        format!("opening the catalog (partition {} in the data folder, which must be there)", CATALOG_PARTITION.topic)
    })?;
    let catalog = Catalog::load(Box::new(PartitionLog::new(logs.clone(), clock))).await?;
    let known = known_partitions(&catalog.image(), config);
    logs.load(known, &[CATALOG_PARTITION]).await.context("opening the partitions")?;
    Ok((catalog, logs))
}

/// The catalog trims its own log; nothing else may.
fn catalog_log_config() -> LogConfig {
    LogConfig {
        retention_ms: -1,
        retention_bytes: -1,
        segment_bytes: 64 << 20,
        // One change is one batch, and a snapshot's batch may hold a thousand topics with all the configs they may have.
        max_message_bytes: 64 << 20,
        internal: true,
        ..LogConfig::default()
    }
}

fn known_partitions(image: &Image, config: &Config) -> Vec<(PartitionId, Arc<LogConfig>)> {
    let defaults = TopicDefaults { file: &config.topic_defaults, dynamic: &image.broker_configs };
    let mut known = Vec::new();
    for topic in image.topics.values() {
        let settings = match topic.name.as_str() {
            group::OFFSETS_TOPIC => Arc::new(group::OFFSETS.log_config()),
            name if name == txn::STATE_TOPIC.name => Arc::new(txn::STATE_TOPIC.log_config()),
            _ => Arc::new(log_config(&topic.configs, &defaults, false)),
        };
        known.extend((0..topic.partitions).map(|index| (PartitionId { topic: topic.id, index }, settings.clone())));
    }
    known
}
