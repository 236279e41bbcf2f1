//! What the provider asks of a cluster: one narrow trait, so that resources can be tested against a cluster in memory.
//!
//! Absence is a value here (`None`, an empty list) and is only ever returned when the broker said so in as many words.
//! Whatever else goes wrong is an error.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lockgate_client::admin::{
    Acl, AclFilter, AclOperation, AclPatternType, AclPermission, AclResourceType, Alteration, Cluster, ConfigChange,
    ConfigEntry, ConfigResource, Group, Lag, NewPartitions, NewTopic, Quota, QuotaAlteration, QuotaEntity,
    ScramCredential, ScramMechanism, ScramUpsert, Topic,
};
use lockgate_client::{BrokerError, Error, ErrorCode, Result, Secret};
use tonic::async_trait;

use crate::lists::Lists;
use crate::requests::{AclSet, Deletion, Requests, UserChange, silent};
pub use crate::shared_read::ReadError;

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// In Kafka's text form; `None` when the broker has no topic ids.
    pub id: Option<String>,
    pub internal: bool,
    pub partitions: i64,
    pub replication_factor: i64,
}

/// A topic with its configs.
pub type DescribedTopic = (TopicInfo, Vec<ConfigEntry>);

impl From<Topic> for TopicInfo {
    fn from(topic: Topic) -> Self {
        Self {
            id: topic.topic_id.map(|id| id.to_string()),
            internal: topic.internal,
            partitions: i64::try_from(topic.partitions.len()).unwrap_or(i64::MAX),
            replication_factor: i64::try_from(topic.replication_factor()).unwrap_or(i64::MAX),
        }
    }
}

/// What a group of ACLs has in common: everything but the operation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclScope {
    pub principal: String,
    pub host: String,
    pub resource_type: AclResourceType,
    pub resource_name: String,
    pub pattern_type: AclPatternType,
    pub permission: AclPermission,
}

impl AclScope {
    pub(crate) fn acl(&self, operation: AclOperation) -> Acl {
        Acl {
            resource_type: self.resource_type,
            resource_name: self.resource_name.clone(),
            pattern_type: self.pattern_type,
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation,
            permission: self.permission,
        }
    }

    fn filter(&self) -> AclFilter {
        AclFilter { operation: None, ..AclFilter::exactly(&self.acl(AclOperation::All)) }
    }
}

impl From<&Acl> for AclScope {
    fn from(acl: &Acl) -> Self {
        Self {
            principal: acl.principal.clone(),
            host: acl.host.clone(),
            resource_type: acl.resource_type,
            resource_name: acl.resource_name.clone(),
            pattern_type: acl.pattern_type,
            permission: acl.permission,
        }
    }
}

/// A SCRAM credential to be made or replaced.
#[derive(Debug, Clone)]
pub struct NewCredential {
    pub mechanism: ScramMechanism,
    pub iterations: i32,
    pub password: Secret,
}

/// The calls. Each asks the cluster anew, but for those that look: what they see is as new as the first look after the
/// last change that was made here.
#[async_trait]
pub trait Admin: Send + Sync {
    async fn cluster(&self) -> Result<Cluster>;

    /// A topic by its name.
    async fn topic(&self, name: &str) -> Result<Option<TopicInfo>>;

    /// The topics that the user may describe, by name. One that is missing here may exist all the same.
    async fn topics(&self) -> Result<BTreeMap<String, TopicInfo>>;

    async fn topic_configs(&self, name: &str) -> Result<Vec<ConfigEntry>>;

    /// A topic with its configs.
    async fn look_at_topic(&self, name: &str) -> Result<Option<DescribedTopic>, ReadError> {
        Ok(described_topic(self, name).await?)
    }

    /// Returns what the cluster shows of the topic, if it does so already.
    async fn create_topic(&self, topic: &NewTopic, validate_only: bool) -> Result<Option<TopicInfo>>;

    async fn delete_topic(&self, name: &str) -> Result<()>;

    /// Raises the number of partitions to `total`.
    async fn grow_topic(&self, name: &str, total: i32) -> Result<()>;

    async fn alter_topic_configs(
        &self,
        name: &str,
        changes: &[(String, ConfigChange)],
        validate_only: bool,
    ) -> Result<()>;

    /// The operations that have an ACL of exactly this scope.
    async fn acls(&self, scope: &AclScope) -> Result<Vec<AclOperation>>;

    /// All ACLs that a filter fits, in order.
    async fn acls_like(&self, filter: &AclFilter) -> Result<Vec<Acl>>;

    /// The same.
    async fn look_at_acls(&self, scope: &AclScope) -> Result<Vec<AclOperation>, ReadError> {
        Ok(self.acls(scope).await?)
    }

    /// One result per operation, in order. An ACL that exists already counts as created.
    async fn create_acls(&self, scope: &AclScope, operations: &[AclOperation]) -> Result<Vec<Result<()>>>;

    /// One result per operation, in order. An ACL that is gone already counts as deleted.
    async fn delete_acls(&self, scope: &AclScope, operations: &[AclOperation]) -> Result<Vec<Result<()>>>;

    /// A user's credentials; none for a user that does not exist.
    async fn credentials(&self, user: &str) -> Result<Vec<ScramCredential>>;

    /// The credentials of all users, by name.
    async fn users(&self) -> Result<BTreeMap<String, Vec<ScramCredential>>>;

    /// The same.
    async fn look_at_credentials(&self, user: &str) -> Result<Vec<ScramCredential>, ReadError> {
        Ok(self.credentials(user).await?)
    }

    /// Makes or replaces some credentials and deletes others, all or nothing.
    async fn alter_credentials(&self, user: &str, set: &[NewCredential], delete: &[ScramMechanism]) -> Result<()>;

    /// The quotas of entities that have at least the parts of `entity`; of exactly that one with `strict`.
    async fn quotas(&self, entity: &QuotaEntity, strict: bool) -> Result<Vec<Quota>>;

    /// Sets and removes (`None`) rates, all or nothing. A rate that is gone already counts as removed.
    async fn alter_quota(&self, entity: &QuotaEntity, changes: &BTreeMap<String, Option<f64>>) -> Result<()>;

    /// A consumer group by its name.
    async fn group(&self, name: &str) -> Result<Option<Group>>;

    /// How far a group is behind in each partition for which it has committed an offset.
    async fn group_lag(&self, name: &str) -> Result<Vec<Lag>>;
}

/// Asks for topic and configs by name.
pub(crate) async fn described_topic<A: Admin + ?Sized>(admin: &A, name: &str) -> Result<Option<DescribedTopic>> {
    let Some(info) = admin.topic(name).await? else { return Ok(None) };
    match admin.topic_configs(name).await {
        Ok(entries) => Ok(Some((info, entries))),
        // It went away between the two questions.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A cluster that is there. Calls that come at the same time share requests; on Lockgate, looks share whole lists, since a
/// Lockgate broker answers for all of its cluster. Elsewhere a list may be long, and mostly about what is none of ours.
pub struct LiveCluster {
    client: lockgate_client::Admin,
    lockgate: bool,
    requests: Requests,
    lists: Arc<Lists>,
    /// What Lockgate thinks of new topics, by all but their names.
    judged: Mutex<HashMap<NewTopic, Result<()>>>,
    /// A read was refused already.
    denied: AtomicBool,
}

impl LiveCluster {
    /// Over a connection that is open, or is opened now.
    pub async fn new(client: lockgate_client::Admin) -> Result<Self> {
        let lists = Arc::new(Lists::new());
        Ok(Self {
            lockgate: client.is_lockgate().await?,
            requests: Requests::new(&client, &lists),
            lists,
            judged: Mutex::default(),
            denied: AtomicBool::new(false),
            client,
        })
    }

    /// Who may not look at one thing may often look at none: the first refusal is told, and stands for the others.
    fn refused(&self, error: Error) -> ReadError {
        match error.is_denied() && self.denied.swap(true, Ordering::SeqCst) {
            true => ReadError::Told,
            false => ReadError::One(error),
        }
    }

    /// Lets the cluster judge a new topic. Lockgate judges topics that differ in nothing but their names once; other clusters
    /// may have a policy on names.
    async fn judge(&self, topic: &NewTopic) -> Result<()> {
        let any_name = NewTopic { name: String::new(), ..topic.clone() };
        let judged = || self.judged.lock().expect("nothing panics while it holds the lock");
        let known = judged().get(&any_name).cloned();
        if let Some(judgement) = known {
            let similar = self.lists.similar(&self.client, &topic.name).await;
            return judgement.and_then(|()| similar.map_or(Ok(()), |other| Err(collision(&topic.name, &other))));
        }
        let judgement = self.requests.topic_checks.call(topic.clone()).await;
        let about_the_name = matches!(&judgement, Err(error) if error.code() != Some(ErrorCode::InvalidConfig));
        if self.lockgate && !about_the_name {
            judged().insert(any_name, judgement.clone());
        }
        judgement
    }
}

fn collision(name: &str, other: &str) -> Error {
    let message = format!("topic '{name}' collides with '{other}': names may not differ in '.' and '_' only");
    Error::Broker(BrokerError { code: ErrorCode::InvalidTopic, message: Some(message) })
}

#[async_trait]
impl Admin for LiveCluster {
    async fn cluster(&self) -> Result<Cluster> {
        self.client.describe_cluster().await
    }

    async fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        self.requests.topics.call(name.to_owned()).await
    }

    async fn topics(&self) -> Result<BTreeMap<String, TopicInfo>> {
        Ok(self.client.list_topics().await?.into_iter().map(|topic| (topic.name.clone(), topic.into())).collect())
    }

    async fn topic_configs(&self, name: &str) -> Result<Vec<ConfigEntry>> {
        self.requests.topic_configs.call(name.to_owned()).await
    }

    async fn look_at_topic(&self, name: &str) -> Result<Option<DescribedTopic>, ReadError> {
        if self.lockgate
            && let Some(found) = self.lists.topic(&self.client, name).await?
        {
            return Ok(Some(found));
        }
        described_topic(self, name).await.map_err(|error| self.refused(error))
    }

    async fn create_topic(&self, topic: &NewTopic, validate_only: bool) -> Result<Option<TopicInfo>> {
        match validate_only {
            true => self.judge(topic).await.map(|()| None),
            false => self.requests.topic_creations.call(topic.clone()).await,
        }
    }

    async fn delete_topic(&self, name: &str) -> Result<()> {
        self.requests.topic_deletions.call(Deletion(name.to_owned())).await
    }

    async fn grow_topic(&self, name: &str, total: i32) -> Result<()> {
        self.requests.growths.call(NewPartitions { topic: name.to_owned(), total }).await
    }

    async fn alter_topic_configs(
        &self,
        name: &str,
        changes: &[(String, ConfigChange)],
        validate_only: bool,
    ) -> Result<()> {
        let alteration = Alteration { resource: ConfigResource::Topic(name.to_owned()), changes: changes.to_vec() };
        let requests = if validate_only { &self.requests.config_checks } else { &self.requests.config_changes };
        requests.call(alteration).await
    }

    async fn acls(&self, scope: &AclScope) -> Result<Vec<AclOperation>> {
        let acls = self.client.list_acls(&scope.filter()).await?;
        // The filter is exact, but a broker that takes it loosely must not make foreign ACLs ours.
        Ok(acls.into_iter().filter(|acl| *acl == scope.acl(acl.operation)).map(|acl| acl.operation).collect())
    }

    async fn acls_like(&self, filter: &AclFilter) -> Result<Vec<Acl>> {
        self.client.list_acls(filter).await
    }

    async fn look_at_acls(&self, scope: &AclScope) -> Result<Vec<AclOperation>, ReadError> {
        match self.lockgate {
            true => self.lists.acls(&self.client, scope).await,
            false => Ok(self.acls(scope).await?),
        }
    }

    async fn create_acls(&self, scope: &AclScope, operations: &[AclOperation]) -> Result<Vec<Result<()>>> {
        let set = AclSet { scope: scope.clone(), operations: operations.to_vec() };
        self.requests.acl_creations.call(set).await
    }

    async fn delete_acls(&self, scope: &AclScope, operations: &[AclOperation]) -> Result<Vec<Result<()>>> {
        let set = AclSet { scope: scope.clone(), operations: operations.to_vec() };
        self.requests.acl_deletions.call(set).await
    }

    async fn credentials(&self, user: &str) -> Result<Vec<ScramCredential>> {
        self.requests.credentials.call(user.to_owned()).await
    }

    async fn look_at_credentials(&self, user: &str) -> Result<Vec<ScramCredential>, ReadError> {
        if self.lockgate
            && let Some(found) = self.lists.credentials(&self.client, user).await?
        {
            return Ok(found);
        }
        Ok(self.credentials(user).await?)
    }

    async fn users(&self) -> Result<BTreeMap<String, Vec<ScramCredential>>> {
        let answers = self.client.describe_users(None).await?;
        answers.into_iter().map(|(user, credentials)| Ok((user, credentials?))).collect()
    }

    async fn alter_credentials(&self, user: &str, set: &[NewCredential], delete: &[ScramMechanism]) -> Result<()> {
        let upserts = set.iter().map(|new| ScramUpsert {
            user: user.to_owned(),
            mechanism: new.mechanism,
            iterations: new.iterations,
            password: new.password.clone(),
        });
        let set: Vec<_> = upserts.collect();
        // One that no broker could take must not spoil the request for other users.
        set.iter().try_for_each(ScramUpsert::check)?;
        self.requests.user_changes.call(UserChange { user: user.to_owned(), set, delete: delete.to_vec() }).await
    }

    async fn quotas(&self, entity: &QuotaEntity, strict: bool) -> Result<Vec<Quota>> {
        self.client.list_quotas(entity, strict).await
    }

    async fn alter_quota(&self, entity: &QuotaEntity, changes: &BTreeMap<String, Option<f64>>) -> Result<()> {
        let alteration = QuotaAlteration { entity: entity.clone(), changes: changes.clone() };
        let answers = self.client.alter_quotas(&[alteration], false).await?;
        let answer = answers.into_iter().find(|(altered, _)| altered == entity);
        answer.ok_or_else(|| silent("AlterClientQuotas", &entity.to_string()))?.1
    }

    async fn group(&self, name: &str) -> Result<Option<Group>> {
        let mut answers = self.client.describe_groups(&[name]).await?;
        match answers.remove(name).ok_or_else(|| silent("DescribeGroups", name))? {
            Err(error) if error.is_not_found() => Ok(None),
            answer => answer.map(Some),
        }
    }

    async fn group_lag(&self, name: &str) -> Result<Vec<Lag>> {
        self.client.group_lag(name).await
    }
}
