//! The provider: its configuration, and what it manages.

use std::sync::Arc;

use tonic::async_trait;

use crate::config::{self, Configured, Connector};
use crate::data_sources::{
    AclsQuery, ClusterQuery, ConsumerGroupQuery, Query, QuotasQuery, Reader, TopicQuery, TopicsQuery, UsersQuery,
};
use crate::functions::{AclId, ConsumerAcls, ProducerAcls};
use crate::resources::{AclResource, QuotaResource, TopicResource, UserResource};
use crate::session::Session;
use crate::tfplugin::{DataSource, Diagnostics, Function, Provider, Resource, Schema, Value};

/// The Lockgate provider.
#[derive(Default)]
pub struct LockgateProvider {
    session: Session,
}

#[async_trait]
impl Provider for LockgateProvider {
    fn schema(&self) -> Schema {
        config::schema()
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        config::validate(config)
    }

    /// Makes no connection: the cluster may not exist yet.
    async fn configure(&self, config: Value) -> Diagnostics {
        match config::configure(&config, |name| std::env::var(name).ok()) {
            Ok(Configured::Unknown) => self.session.configure_later().await,
            Ok(Configured::Known(settings, timeouts)) => {
                self.session.configure(Box::new(Connector { settings: *settings }), timeouts).await;
            }
            Err(error) => return error.into(),
        }
        Diagnostics::new()
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        vec![
            Arc::new(TopicResource::new(self.session.clone())),
            Arc::new(AclResource::new(self.session.clone())),
            Arc::new(UserResource::new(self.session.clone())),
            Arc::new(QuotaResource::new(self.session.clone())),
        ]
    }

    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        fn reader<Q: Query>(session: &Session) -> Arc<dyn DataSource> {
            Arc::new(Reader::<Q>::new(session.clone()))
        }
        [
            reader::<ClusterQuery>,
            reader::<TopicQuery>,
            reader::<TopicsQuery>,
            reader::<AclsQuery>,
            reader::<UsersQuery>,
            reader::<QuotasQuery>,
            reader::<ConsumerGroupQuery>,
        ]
        .map(|reader| reader(&self.session))
        .into()
    }

    fn functions(&self) -> Vec<Arc<dyn Function>> {
        vec![Arc::new(AclId), Arc::new(ProducerAcls), Arc::new(ConsumerAcls)]
    }

    fn stop(&self) {
        self.session.stop();
    }
}
