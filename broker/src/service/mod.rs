//! One file per request family: an authorized request in, its response out. Services know no sockets.

mod acl_filter;
mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_client_quotas;
mod alter_configs;
mod alter_user_scram_credentials;
mod api_versions;
mod configs;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_acls;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod dispatch;
mod elect_leaders;
mod end_txn;
mod fetch;
mod fetch_session;
mod find_coordinator;
mod groups;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod producer_ids;
mod sync_group;
mod topics;
mod transactions;
mod txn_offset_commit;
mod verification;
mod write_txn_markers;

use std::future::Future;
use std::sync::Arc;

use kafka_protocol::protocol::{Request, StrBytes};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::quota::{Client, Quotas};
use crate::auth::sasl::Authenticator;
use crate::auth::{Access, Authorized, Authorizer, Guarded, Refusal, Session};
use crate::catalog::topic_config::TopicDefaults;
use crate::catalog::{Catalog, Image, Topic};
use crate::clock::Clock;
use crate::config::Config;
use crate::group;
use crate::log::{LogError, Logs, Partition};
use crate::metrics::Metrics;
use crate::store::PartitionId;
use crate::txn;

pub use api_versions::api_versions;
pub use dispatch::{Answered, dispatch};
pub use fetch::fetch;
pub use fetch_session::FetchSessions;
pub use produce::{Produced, Producing, produce};
pub use producer_ids::ProducerIds;
pub use transactions::{LocalMarkers, NewProducerIds};

/// What services work with; made once at start.
pub struct Services {
    pub cluster_id: String,
    pub config: Arc<Config>,
    pub clock: Arc<dyn Clock>,
    pub catalog: Arc<Catalog>,
    pub logs: Arc<Logs>,
    pub groups: Arc<group::Coordinator>,
    pub metrics: Arc<Metrics>,
    pub producer_ids: Arc<ProducerIds>,
    pub transactions: Arc<txn::Coordinator>,
    pub fetch_sessions: FetchSessions,
    pub quotas: Arc<Quotas>,
    /// Held while topics are made, grown or deleted, so that partitions and catalog change together.
    pub topic_changes: tokio::sync::Mutex<()>,
    /// Changes under way, which go on when the client that asked has gone.
    pub changes: TaskTracker,
    pub authorizer: Authorizer,
    pub authenticator: Arc<Authenticator>,
    /// Cancelled when the broker stops: long polls answer at once.
    pub stopping: CancellationToken,
}

impl Services {
    /// The access of a session right now.
    pub fn access(&self, session: &Arc<Session>) -> Access {
        self.authorizer.access(session.clone(), self.catalog.image())
    }

    /// Defaults of topic configs as they are now.
    pub fn topic_defaults<'a>(&'a self, image: &'a Image) -> TopicDefaults<'a> {
        TopicDefaults { file: &self.config.topic_defaults, dynamic: &image.broker_configs }
    }

    /// A partition that the catalog knows and the log has open.
    pub fn partition(&self, topic: &Topic, index: i32) -> Result<Arc<Partition>, LogError> {
        // One that is just being made, or was left by a change that failed, is not there for clients.
        if !(0..topic.partitions).contains(&index) {
            return Err(LogError::UnknownPartition);
        }
        self.logs.get(PartitionId { topic: topic.id, index })
    }
}

/// Facts about one request.
#[derive(Clone, Debug)]
pub struct Context {
    pub version: i16,
    pub client_id: Option<StrBytes>,
    pub session: Arc<Session>,
    /// Host and port that this listener advertises.
    pub advertised: (StrBytes, i32),
}

impl Context {
    /// Lets go of the request's frame, for an answer that is long in coming.
    pub fn detach(&mut self) {
        self.client_id = self.client_id.as_ref().map(|id| StrBytes::from_string(id.to_string()));
    }

    /// Who is held to quotas.
    pub fn client(&self) -> Client<'_> {
        Client::new(&self.session, self.client_id.as_deref())
    }
}

/// How one request type is answered.
pub trait Service: Guarded + Request {
    fn serve(
        services: &Services,
        context: &Context,
        request: Authorized<Self>,
    ) -> impl Future<Output = Self::Response> + Send;

    /// The response that says that the whole request was refused.
    fn refuse(refusal: Refusal, request: &Self, context: &Context) -> Self::Response;
}
