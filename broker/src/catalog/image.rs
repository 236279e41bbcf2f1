//! The catalog's content at one version: topics, configs, ACLs, users, producer-id blocks. Immutable once published.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::acl::AclBinding;
use super::name::TopicName;
use super::quota::{QuotaEntity, QuotaValues};
use super::record::CatalogRecord;

/// A topic as it was created and changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub id: Uuid,
    pub name: TopicName,
    pub partitions: i32,
    /// Stored and reported so that tools work; durability does not depend on it.
    pub replication_factor: i16,
    /// Only what was set explicitly, under Kafka's names.
    pub configs: BTreeMap<String, String>,
}

/// SCRAM mechanisms. The numbers are Kafka's wire codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ScramMechanism {
    #[serde(rename = "SCRAM-SHA-256")]
    Sha256 = 1,
    #[serde(rename = "SCRAM-SHA-512")]
    Sha512 = 2,
}

/// What the broker keeps instead of a password (RFC 5802). Never logged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramCredential {
    pub iterations: u32,
    #[serde(with = "super::record::base64_bytes")]
    pub salt: Vec<u8>,
    #[serde(with = "super::record::base64_bytes")]
    pub stored_key: Vec<u8>,
    #[serde(with = "super::record::base64_bytes")]
    pub server_key: Vec<u8>,
}

impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramCredential").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// One user's credentials, by mechanism.
pub type User = BTreeMap<ScramMechanism, ScramCredential>;

/// ACLs, in order. A change copies the set, so the ACLs themselves are shared.
pub type Acls = BTreeSet<Arc<AclBinding>>;

/// Everything the catalog knows. Sub-maps are shared between versions; a change copies only what it touches.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Number of the last change applied.
    pub version: u64,
    pub topics: Arc<BTreeMap<TopicName, Arc<Topic>>>,
    /// Of all topics together.
    pub partitions: i64,
    pub topic_names: Arc<HashMap<Uuid, TopicName>>,
    pub acls: Arc<Acls>,
    pub users: Arc<BTreeMap<String, Arc<User>>>,
    /// Dynamic broker configs set through the API, under Kafka's names.
    pub broker_configs: Arc<BTreeMap<String, String>>,
    /// Configs of consumer groups, under Kafka's names. No group is without one.
    pub group_configs: Arc<BTreeMap<String, BTreeMap<String, String>>>,
    /// No entity is without a value.
    pub quotas: Arc<BTreeMap<QuotaEntity, QuotaValues>>,
    /// First producer id that no block has handed out.
    pub next_producer_id: i64,
}

impl Image {
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topic_names.get(&id).and_then(|name| self.topics.get(name))
    }

    /// Applies one record. Records that no longer find their object change nothing: the log is the truth.
    pub fn apply(&mut self, record: &CatalogRecord) {
        match record {
            CatalogRecord::SnapshotStart => *self = Self { version: self.version, ..Self::default() },
            CatalogRecord::SnapshotEnd => {}
            CatalogRecord::Topic(topic) => {
                Arc::make_mut(&mut self.topic_names).insert(topic.id, topic.name.clone());
                let before = Arc::make_mut(&mut self.topics).insert(topic.name.clone(), Arc::new(topic.clone()));
                self.partitions += i64::from(topic.partitions) - before.map_or(0, |topic| i64::from(topic.partitions));
            }
            CatalogRecord::TopicDeleted { id } => {
                if let Some(name) = Arc::make_mut(&mut self.topic_names).remove(id) {
                    let gone = Arc::make_mut(&mut self.topics).remove(&name);
                    self.partitions -= gone.map_or(0, |topic| i64::from(topic.partitions));
                }
            }
            CatalogRecord::Acl(binding) => {
                Arc::make_mut(&mut self.acls).insert(Arc::new(binding.clone()));
            }
            CatalogRecord::AclDeleted(binding) => {
                Arc::make_mut(&mut self.acls).remove(binding);
            }
            CatalogRecord::UserCredential { user, mechanism, credential } => {
                let entry = Arc::make_mut(&mut self.users).entry(user.clone()).or_default();
                Arc::make_mut(entry).insert(*mechanism, credential.clone());
            }
            CatalogRecord::UserCredentialDeleted { user, mechanism } => {
                let users = Arc::make_mut(&mut self.users);
                if let Some(entry) = users.get_mut(user) {
                    Arc::make_mut(entry).remove(mechanism);
                    if entry.is_empty() {
                        users.remove(user);
                    }
                }
            }
            CatalogRecord::BrokerConfig { name, value } => {
                let configs = Arc::make_mut(&mut self.broker_configs);
                match value {
                    Some(value) => configs.insert(name.clone(), value.clone()),
                    None => configs.remove(name),
                };
            }
            CatalogRecord::GroupConfig { group, name, value: Some(value) } => {
                let groups = Arc::make_mut(&mut self.group_configs);
                groups.entry(group.clone()).or_default().insert(name.clone(), value.clone());
            }
            CatalogRecord::GroupConfig { group, name, value: None } => {
                let groups = Arc::make_mut(&mut self.group_configs);
                if let Some(configs) = groups.get_mut(group) {
                    configs.remove(name);
                    if configs.is_empty() {
                        groups.remove(group);
                    }
                }
            }
            CatalogRecord::ClientQuota { entity, key, value: Some(value) } => {
                let quotas = Arc::make_mut(&mut self.quotas);
                quotas.entry(entity.clone()).or_default().insert(*key, *value);
            }
            CatalogRecord::ClientQuota { entity, key, value: None } => {
                let quotas = Arc::make_mut(&mut self.quotas);
                if let Some(values) = quotas.get_mut(entity) {
                    values.remove(key);
                    if values.is_empty() {
                        quotas.remove(entity);
                    }
                }
            }
            CatalogRecord::ProducerIds { next } => self.next_producer_id = self.next_producer_id.max(*next),
        }
    }

    /// The records that rebuild this image from nothing.
    pub fn snapshot(&self) -> Vec<CatalogRecord> {
        let mut records = vec![CatalogRecord::SnapshotStart];
        records.push(CatalogRecord::ProducerIds { next: self.next_producer_id });
        records.extend(self.topics.values().map(|topic| CatalogRecord::Topic(Topic::clone(topic))));
        records.extend(self.acls.iter().map(|binding| CatalogRecord::Acl(AclBinding::clone(binding))));
        for (user, credentials) in self.users.iter() {
            records.extend(credentials.iter().map(|(mechanism, credential)| CatalogRecord::UserCredential {
                user: user.clone(),
                mechanism: *mechanism,
                credential: credential.clone(),
            }));
        }
        records.extend(
            self.broker_configs
                .iter()
                .map(|(name, value)| CatalogRecord::BrokerConfig { name: name.clone(), value: Some(value.clone()) }),
        );
        for (group, configs) in self.group_configs.iter() {
            records.extend(configs.iter().map(|(name, value)| CatalogRecord::GroupConfig {
                group: group.clone(),
                name: name.clone(),
                value: Some(value.clone()),
            }));
        }
        for (entity, values) in self.quotas.iter() {
            records.extend(values.iter().map(|(key, value)| CatalogRecord::ClientQuota {
                entity: entity.clone(),
                key: *key,
                value: Some(*value),
            }));
        }
        records.push(CatalogRecord::SnapshotEnd);
        records
    }
}
