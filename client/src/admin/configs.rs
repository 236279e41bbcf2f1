//! Configs of topics and brokers: describe, and change key by key.

use std::fmt;

use krafka::__private::protocol::{
    AlterConfigOp, AlterableConfig, ApiKey, ConfigResourceType, DescribeConfigsEntry, DescribeConfigsRequest,
    DescribeConfigsResource, DescribeConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource,
    IncrementalAlterConfigsResponse, versions,
};
use serde::Serialize;

use super::connection::{Admin, Api, Kind};
use crate::error::{Result, answer};

/// What configs belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigResource {
    Topic(String),
    /// One broker by id; all of them with no id.
    Broker(Option<i32>),
}

impl ConfigResource {
    fn parts(&self) -> (ConfigResourceType, String) {
        match self {
            Self::Topic(name) => (ConfigResourceType::Topic, name.clone()),
            Self::Broker(id) => (ConfigResourceType::Broker, id.map(|id| id.to_string()).unwrap_or_default()),
        }
    }

    fn from_parts(kind: ConfigResourceType, name: String) -> Option<Self> {
        match kind {
            ConfigResourceType::Topic => Some(Self::Topic(name)),
            ConfigResourceType::Broker if name.is_empty() => Some(Self::Broker(None)),
            ConfigResourceType::Broker => name.parse().ok().map(|id| Self::Broker(Some(id))),
            _ => None,
        }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Broker(Some(id)) => write!(f, "broker {id}"),
            Self::Broker(None) => write!(f, "all brokers"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigEntry {
    pub name: String,
    /// Sensitive values are never told.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub read_only: bool,
    pub sensitive: bool,
    pub synonyms: Vec<ConfigSynonym>,
    pub documentation: Option<String>,
}

impl ConfigEntry {
    /// Nobody set it, neither here nor for the brokers.
    pub fn is_default(&self) -> bool {
        self.source == ConfigSource::Default
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigSynonym {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigSource {
    /// Set on the topic itself.
    Topic,
    /// Set on this broker at run time.
    Broker,
    /// Set for all brokers at run time.
    AllBrokers,
    /// From the broker's config file.
    File,
    Default,
    Other,
}

impl ConfigSource {
    fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 => Self::Broker,
            3 => Self::AllBrokers,
            4 => Self::File,
            5 => Self::Default,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::AllBrokers => "all brokers",
            Self::File => "config file",
            Self::Default => "default",
            Self::Other => "other",
        })
    }
}

/// Changes to one resource; the keys that are not named stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alteration {
    pub resource: ConfigResource,
    pub changes: Vec<(String, ConfigChange)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    Set(String),
    /// Back to the default.
    Delete,
}

/// Version 0 does not tell where a value comes from.
const DESCRIBE: Api = Api {
    key: ApiKey::DescribeConfigs,
    name: "DescribeConfigs",
    min: 1,
    max: versions::DESCRIBE_CONFIGS_MAX,
    kind: Kind::Read,
};
const ALTER: Api = Api {
    key: ApiKey::IncrementalAlterConfigs,
    name: "IncrementalAlterConfigs",
    min: versions::INCREMENTAL_ALTER_CONFIGS_MIN,
    max: versions::INCREMENTAL_ALTER_CONFIGS_MAX,
    kind: Kind::Write,
};

impl Admin {
    /// All configs of each resource, by key.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
    ) -> Result<Vec<(ConfigResource, Result<Vec<ConfigEntry>>)>> {
        self.describe(resources, true).await
    }

    /// The same without the values that those in effect hide, which are half of a long answer.
    pub async fn describe_config_values(
        &self,
        resources: &[ConfigResource],
    ) -> Result<Vec<(ConfigResource, Result<Vec<ConfigEntry>>)>> {
        self.describe(resources, false).await
    }

    async fn describe(
        &self,
        resources: &[ConfigResource],
        include_synonyms: bool,
    ) -> Result<Vec<(ConfigResource, Result<Vec<ConfigEntry>>)>> {
        let resources = resources
            .iter()
            .map(|resource| {
                let (resource_type, resource_name) = resource.parts();
                DescribeConfigsResource { resource_type, resource_name, config_names: None }
            })
            .collect();
        let request = DescribeConfigsRequest { resources, include_synonyms, include_documentation: false };
        let response: DescribeConfigsResponse = self.call(DESCRIBE, &request).await?;
        Ok(response
            .results
            .into_iter()
            .filter_map(|result| {
                let resource = ConfigResource::from_parts(result.resource_type, result.resource_name)?;
                let entries = answer(result.error_code, result.error_message).map(|()| entries(result.configs));
                Some((resource, entries))
            })
            .collect())
    }

    /// Sets and deletes keys, or with `validate_only` says what doing so would answer.
    pub async fn alter_configs(
        &self,
        alterations: &[Alteration],
        validate_only: bool,
    ) -> Result<Vec<(ConfigResource, Result<()>)>> {
        let resources = alterations
            .iter()
            .map(|alteration| {
                let (resource_type, resource_name) = alteration.resource.parts();
                let configs = alteration.changes.iter().map(|(name, change)| alterable(name, change)).collect();
                IncrementalAlterConfigsResource { resource_type, resource_name, configs }
            })
            .collect();
        let request = IncrementalAlterConfigsRequest { resources, validate_only };
        let response: IncrementalAlterConfigsResponse = self.call(ALTER, &request).await?;
        Ok(response
            .results
            .into_iter()
            .filter_map(|result| {
                let resource = ConfigResource::from_parts(result.resource_type, result.resource_name)?;
                Some((resource, answer(result.error_code, result.error_message)))
            })
            .collect())
    }
}

fn alterable(name: &str, change: &ConfigChange) -> AlterableConfig {
    let (config_operation, value) = match change {
        ConfigChange::Set(value) => (AlterConfigOp::Set, Some(value.clone())),
        ConfigChange::Delete => (AlterConfigOp::Delete, None),
    };
    AlterableConfig { name: name.to_owned(), config_operation, value }
}

fn entries(described: Vec<DescribeConfigsEntry>) -> Vec<ConfigEntry> {
    let mut entries: Vec<ConfigEntry> = described
        .into_iter()
        .map(|entry| ConfigEntry {
            name: entry.name,
            value: entry.value,
            source: ConfigSource::from_code(entry.config_source),
            read_only: entry.read_only,
            sensitive: entry.is_sensitive,
            synonyms: entry
                .synonyms
                .into_iter()
                .map(|synonym| ConfigSynonym {
                    name: synonym.name,
                    value: synonym.value,
                    source: ConfigSource::from_code(synonym.source),
                })
                .collect(),
            documentation: entry.documentation,
        })
        .collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}
