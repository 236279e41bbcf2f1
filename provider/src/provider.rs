//! The provider: its configuration, and what it manages.

use std::sync::Arc;

use tonic::async_trait;

use crate::config::{self, Configured, Connector};
use crate::data_sources::ClusterDataSource;
use crate::resources::{AclResource, TopicResource, UserResource};
use crate::session::Session;
use crate::tfplugin::{DataSource, Diagnostics, Provider, Resource, Schema, Value};

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
        ]
    }

    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        vec![Arc::new(ClusterDataSource::new(self.session.clone()))]
    }

    fn stop(&self) {
        self.session.stop();
    }
}
