//! A cluster in memory, with the behaviour that the resources depend on. For tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use lockgate_client::admin::{
    Acl, AclFilter, AclOperation, Broker, Cluster, ConfigChange, ConfigEntry, ConfigSource, Group, Lag, NewTopic,
    Quota, QuotaEntity, ScramCredential, ScramMechanism,
};
use lockgate_client::{BrokerError, Error, ErrorCode, Result};
use tonic::async_trait;

use crate::cluster::{AclScope, Admin, NewCredential, TopicInfo};
use crate::session::{Connect, Connection, Session, Timeouts};

#[derive(Clone, Default)]
pub(crate) struct FakeCluster(Arc<Mutex<Contents>>);

#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) id: String,
    pub(crate) topics: BTreeMap<String, FakeTopic>,
    pub(crate) acls: BTreeSet<(AclScope, AclOperation)>,
    pub(crate) users: BTreeMap<String, BTreeMap<ScramMechanism, (i32, String)>>,
    pub(crate) quotas: BTreeMap<QuotaEntity, BTreeMap<String, f64>>,
    pub(crate) groups: BTreeMap<String, (Group, Vec<Lag>)>,
    /// Answers that the next calls of a name get instead of the real ones.
    pub(crate) refusals: BTreeMap<&'static str, ErrorCode>,
    /// The calls that changed something, in order.
    pub(crate) log: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FakeTopic {
    pub(crate) id: String,
    pub(crate) partitions: i32,
    pub(crate) replication_factor: i32,
    pub(crate) config: BTreeMap<String, String>,
}

const DEFAULTS: [(&str, &str); 2] = [("cleanup.policy", "delete"), ("retention.ms", "604800000")];

pub(crate) fn broker_error(code: ErrorCode) -> Error {
    Error::Broker(BrokerError { code, message: None })
}

impl FakeCluster {
    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().expect("no test panics while it holds the lock")
    }

    pub(crate) fn connection(&self) -> Connection {
        let cluster_id = Some(self.contents().id.clone()).filter(|id| !id.is_empty()).unwrap_or("cluster-1".to_owned());
        Connection {
            admin: Arc::new(self.clone()),
            cluster: Cluster {
                cluster_id,
                controller_id: 1,
                brokers: vec![Broker { id: 1, host: "b1".to_owned(), port: 9093, rack: None }],
            },
            bootstrap_servers: vec!["b1:9093".to_owned()],
            ca_pem: None,
        }
    }

    pub(crate) async fn session(&self) -> Session {
        let session = Session::default();
        session.configure(Box::new(self.clone()), Timeouts::default()).await;
        session
    }

    pub(crate) fn topic_now(&self, name: &str) -> Option<FakeTopic> {
        self.contents().topics.get(name).cloned()
    }

    fn check(&self, call: &'static str) -> Result<MutexGuard<'_, Contents>> {
        let contents = self.contents();
        match contents.refusals.get(call) {
            Some(code) => Err(broker_error(*code)),
            None => Ok(contents),
        }
    }
}

impl FakeTopic {
    fn info(&self) -> TopicInfo {
        TopicInfo {
            id: Some(self.id.clone()),
            internal: self.id.starts_with("id-of-__"),
            partitions: i64::from(self.partitions),
            replication_factor: i64::from(self.replication_factor),
        }
    }
}

fn credentials(of: &BTreeMap<ScramMechanism, (i32, String)>) -> Vec<ScramCredential> {
    let one = |(m, (n, _)): (&ScramMechanism, &(i32, String))| ScramCredential { mechanism: *m, iterations: *n };
    of.iter().map(one).collect()
}

#[async_trait]
impl Connect for FakeCluster {
    async fn connect(&self) -> Result<Connection> {
        Ok(self.connection())
    }

    fn target(&self) -> String {
        "memory".to_owned()
    }
}

#[async_trait]
impl Admin for FakeCluster {
    async fn cluster(&self) -> Result<Cluster> {
        Ok(self.connection().cluster)
    }

    async fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        let contents = self.check("topic")?;
        Ok(contents.topics.get(name).map(FakeTopic::info))
    }

    async fn topics(&self) -> Result<BTreeMap<String, TopicInfo>> {
        let contents = self.check("topics")?;
        Ok(contents.topics.iter().map(|(name, topic)| (name.clone(), topic.info())).collect())
    }

    async fn topic_configs(&self, name: &str) -> Result<Vec<ConfigEntry>> {
        let contents = self.check("topic_configs")?;
        let topic = contents.topics.get(name).ok_or_else(|| broker_error(ErrorCode::UnknownTopicOrPartition))?;
        let own = topic.config.iter().map(|(name, value)| (name.clone(), value.clone(), true));
        let inherited = DEFAULTS.iter().filter(|(name, _)| !topic.config.contains_key(*name));
        let inherited = inherited.map(|(name, value)| ((*name).to_owned(), (*value).to_owned(), false));
        let entry = |(name, value, on_topic)| ConfigEntry {
            name,
            value: Some(value),
            source: if on_topic { ConfigSource::Topic } else { ConfigSource::Default },
            read_only: false,
            sensitive: false,
            synonyms: Vec::new(),
            documentation: None,
        };
        Ok(own.chain(inherited).map(entry).collect())
    }

    async fn create_topic(&self, topic: &NewTopic, validate_only: bool) -> Result<Option<TopicInfo>> {
        let mut contents = self.check("create_topic")?;
        if contents.topics.contains_key(&topic.name) {
            return Err(broker_error(ErrorCode::TopicAlreadyExists));
        }
        if topic.configs.keys().any(|key| key.starts_with("no.such")) {
            return Err(broker_error(ErrorCode::InvalidConfig));
        }
        if !validate_only {
            let made = FakeTopic {
                id: format!("id-of-{}", topic.name),
                partitions: topic.partitions.unwrap_or(1),
                // One broker holds one replica, whatever was asked for.
                replication_factor: 1,
                config: topic.configs.clone(),
            };
            contents.topics.insert(topic.name.clone(), made);
            contents.log.push(format!("create topic {}", topic.name));
        }
        Ok(None)
    }

    async fn delete_topic(&self, name: &str) -> Result<()> {
        let mut contents = self.check("delete_topic")?;
        contents.log.push(format!("delete topic {name}"));
        contents.topics.remove(name).map(drop).ok_or_else(|| broker_error(ErrorCode::UnknownTopicOrPartition))
    }

    async fn grow_topic(&self, name: &str, total: i32) -> Result<()> {
        let mut contents = self.check("grow_topic")?;
        contents.log.push(format!("grow topic {name} to {total}"));
        let topic = contents.topics.get_mut(name).ok_or_else(|| broker_error(ErrorCode::UnknownTopicOrPartition))?;
        topic.partitions = total;
        Ok(())
    }

    async fn alter_topic_configs(
        &self,
        name: &str,
        changes: &[(String, ConfigChange)],
        validate_only: bool,
    ) -> Result<()> {
        let mut contents = self.check("alter_topic_configs")?;
        if changes.iter().any(|(key, _)| key.starts_with("no.such")) {
            return Err(broker_error(ErrorCode::InvalidConfig));
        }
        if !validate_only {
            contents.log.push(format!("alter configs of {name}: {changes:?}"));
            let topic =
                contents.topics.get_mut(name).ok_or_else(|| broker_error(ErrorCode::UnknownTopicOrPartition))?;
            for (key, value) in changes {
                match value {
                    ConfigChange::Set(value) => topic.config.insert(key.clone(), value.clone()),
                    ConfigChange::Delete => topic.config.remove(key),
                };
            }
        }
        Ok(())
    }

    async fn acls(&self, scope: &AclScope) -> Result<Vec<AclOperation>> {
        let contents = self.check("acls")?;
        Ok(contents.acls.iter().filter(|(s, _)| s == scope).map(|(_, operation)| *operation).collect())
    }

    async fn acls_like(&self, filter: &AclFilter) -> Result<Vec<Acl>> {
        let contents = self.check("acls")?;
        let acls = contents.acls.iter().map(|(scope, operation)| scope.acl(*operation));
        let fits = |acl: &Acl| filter.principal.as_ref().is_none_or(|principal| *principal == acl.principal);
        Ok(acls.filter(fits).collect())
    }

    async fn create_acls(&self, scope: &AclScope, operations: &[AclOperation]) -> Result<Vec<Result<()>>> {
        let mut contents = self.check("create_acls")?;
        contents.log.push(format!("create acls {operations:?}"));
        let refuse_alter = contents.refusals.get("create_acls alter").copied();
        let results = operations.iter().map(|operation| match refuse_alter {
            Some(code) if *operation == AclOperation::Alter => Err(broker_error(code)),
            _ => {
                contents.acls.insert((scope.clone(), *operation));
                Ok(())
            }
        });
        Ok(results.collect())
    }

    async fn delete_acls(&self, scope: &AclScope, operations: &[AclOperation]) -> Result<Vec<Result<()>>> {
        let mut contents = self.check("delete_acls")?;
        contents.log.push(format!("delete acls {operations:?}"));
        for operation in operations {
            contents.acls.remove(&(scope.clone(), *operation));
        }
        Ok(operations.iter().map(|_| Ok(())).collect())
    }

    async fn credentials(&self, user: &str) -> Result<Vec<ScramCredential>> {
        let contents = self.check("credentials")?;
        Ok(contents.users.get(user).map(credentials).unwrap_or_default())
    }

    async fn users(&self) -> Result<BTreeMap<String, Vec<ScramCredential>>> {
        let contents = self.check("users")?;
        Ok(contents.users.iter().map(|(user, of)| (user.clone(), credentials(of))).collect())
    }

    async fn alter_credentials(&self, user: &str, set: &[NewCredential], delete: &[ScramMechanism]) -> Result<()> {
        let mut contents = self.check("alter_credentials")?;
        contents.log.push(format!("alter credentials of {user}: set {}, delete {}", set.len(), delete.len()));
        let credentials = contents.users.entry(user.to_owned()).or_default();
        for new in set {
            credentials.insert(new.mechanism, (new.iterations, new.password.expose().to_owned()));
        }
        for mechanism in delete {
            credentials.remove(mechanism);
        }
        if credentials.is_empty() {
            contents.users.remove(user);
        }
        Ok(())
    }

    async fn quotas(&self, filter: &QuotaEntity, strict: bool) -> Result<Vec<Quota>> {
        let contents = self.check("quotas")?;
        let part = |wanted: &Option<_>, found: &Option<_>| wanted == found || (!strict && wanted.is_none());
        let fits = |entity: &QuotaEntity| {
            part(&filter.user, &entity.user)
                && part(&filter.client_id, &entity.client_id)
                && part(&filter.ip, &entity.ip)
        };
        let fitting = contents.quotas.iter().filter(|(entity, _)| fits(entity));
        Ok(fitting.map(|(entity, values)| Quota { entity: entity.clone(), values: values.clone() }).collect())
    }

    async fn alter_quota(&self, entity: &QuotaEntity, changes: &BTreeMap<String, Option<f64>>) -> Result<()> {
        let mut contents = self.check("alter_quota")?;
        contents.log.push(format!("alter the quota of {entity}: {changes:?}"));
        let values = contents.quotas.entry(entity.clone()).or_default();
        for (key, change) in changes {
            match change {
                Some(rate) => values.insert(key.clone(), *rate),
                None => values.remove(key),
            };
        }
        contents.quotas.retain(|_, values| !values.is_empty());
        Ok(())
    }

    async fn group(&self, name: &str) -> Result<Option<Group>> {
        let contents = self.check("group")?;
        Ok(contents.groups.get(name).map(|(group, _)| group.clone()))
    }

    async fn group_lag(&self, name: &str) -> Result<Vec<Lag>> {
        let contents = self.check("group_lag")?;
        Ok(contents.groups.get(name).map(|(_, lags)| lags.clone()).unwrap_or_default())
    }
}
