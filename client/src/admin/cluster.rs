//! The cluster: its id, its brokers, its controller, and what it has switched on.

use std::collections::BTreeMap;

use krafka::__private::protocol::{ApiKey, DescribeClusterRequest, DescribeClusterResponse, versions};
use serde::Serialize;

use super::connection::{Admin, Api, Kind};
use crate::error::{Result, answer};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    pub cluster_id: String,
    /// -1 when the cluster has none at the moment.
    pub controller_id: i32,
    /// By id.
    pub brokers: Vec<Broker>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

/// The feature that every Lockgate cluster has switched on, and no other.
const LOCKGATE: &str = "lockgate.version";

const DESCRIBE: Api = Api {
    key: ApiKey::DescribeCluster,
    name: "DescribeCluster",
    min: versions::DESCRIBE_CLUSTER_MIN,
    max: versions::DESCRIBE_CLUSTER_MAX,
    kind: Kind::Read,
};

impl Admin {
    pub async fn describe_cluster(&self) -> Result<Cluster> {
        let response: DescribeClusterResponse = self.call(DESCRIBE, &DescribeClusterRequest::default()).await?;
        answer(response.error_code, response.error_message)?;
        let mut brokers: Vec<Broker> = response
            .brokers
            .into_iter()
            .map(|broker| Broker { id: broker.broker_id, host: broker.host, port: broker.port, rack: broker.rack })
            .collect();
        brokers.sort_by_key(|broker| broker.id);
        Ok(Cluster { cluster_id: response.cluster_id, controller_id: response.controller_id, brokers })
    }
    /// The level of each feature that the cluster has switched on, by name, as the broker told when the connection was
    /// opened. Brokers before Kafka 2.4 tell of none.
    pub async fn features(&self) -> Result<BTreeMap<String, i16>> {
        let finalized = self.connection().await?.broker_features().finalized;
        Ok(finalized.into_iter().map(|feature| (feature.name, feature.max_version_level)).collect())
    }

    /// Whether this is a Lockgate cluster, which says so itself with a feature of its own.
    pub async fn is_lockgate(&self) -> Result<bool> {
        Ok(self.features().await?.get(LOCKGATE).is_some_and(|level| *level >= 1))
    }
}
