//! krafka's own clients for records, made from the same profile as the admin calls. Unlike those they follow Metadata to
//! the leaders of partitions, as every Kafka client does.

use krafka::{Kafka, KrafkaError};

use crate::admin::Admin;
use crate::error::{Error, Place, Result};

impl Admin {
    /// A handle to make producers and consumers from, with the credential that the cluster accepts.
    pub async fn kafka(&self) -> Result<Kafka> {
        let attempt = self.accepted_credential().await?;
        let profile = self.profile();
        Kafka::builder(profile.servers().join(","))
            .client_id("lockgate")
            .connect_timeout(profile.connect_timeout)
            .request_timeout(profile.request_timeout)
            .allow_auto_create_topics(false)
            .security(profile.security(attempt))
            .connect()
            .await
            .map_err(|error| self.data_error("the first Metadata request", &error))
    }

    /// Puts an error of krafka's clients into this crate's words; `what` was being done.
    pub fn data_error(&self, what: &str, error: &KrafkaError) -> Error {
        let profile = self.profile();
        let server = profile.servers().join(",");
        Place { server: &server, what, user: profile.user(0), timeout: profile.request_timeout }.error(error)
    }
}
