//! What the provider asks of a cluster: one narrow trait, so that resources can be tested against a cluster in memory.
//!
//! Absence is a value here (`None`, an empty list) and is only ever returned when the broker said so in as many words.
//! Whatever else goes wrong is an error.

use std::collections::BTreeMap;

use lockgate_client::admin::{
    Acl, AclFilter, AclOperation, AclPatternType, AclPermission, AclResourceType, Alteration, Cluster, ConfigChange,
    ConfigEntry, ConfigResource, Group, Lag, NewPartitions, NewTopic, Quota, QuotaAlteration, QuotaEntity,
    ScramCredential, ScramMechanism, ScramUpsert, Topic,
};
use lockgate_client::{Error, Result, Secret};
use tonic::async_trait;

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// In Kafka's text form; `None` when the broker has no topic ids.
    pub id: Option<String>,
    pub internal: bool,
    pub partitions: i64,
    pub replication_factor: i64,
}

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

/// A SCRAM credential to be made or replaced.
#[derive(Debug, Clone)]
pub struct NewCredential {
    pub mechanism: ScramMechanism,
    pub iterations: i32,
    pub password: Secret,
}

/// The calls. Each goes to the cluster; nothing is remembered here.
#[async_trait]
pub trait Admin: Send + Sync {
    async fn cluster(&self) -> Result<Cluster>;

    /// A topic by its name.
    async fn topic(&self, name: &str) -> Result<Option<TopicInfo>>;

    /// The topics that the user may describe, by name. One that is missing here may exist all the same.
    async fn topics(&self) -> Result<BTreeMap<String, TopicInfo>>;

    async fn topic_configs(&self, name: &str) -> Result<Vec<ConfigEntry>>;

    async fn create_topic(&self, topic: &NewTopic, validate_only: bool) -> Result<()>;

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

    /// One result per operation, in order. An ACL that exists already counts as created.
    async fn create_acls(&self, scope: &AclScope, operations: &[AclOperation]) -> Result<Vec<Result<()>>>;

    /// One result per operation, in order. An ACL that is gone already counts as deleted.
    async fn delete_acls(&self, scope: &AclScope, operations: &[AclOperation]) -> Result<Vec<Result<()>>>;

    /// A user's credentials; none for a user that does not exist.
    async fn credentials(&self, user: &str) -> Result<Vec<ScramCredential>>;

    /// The credentials of all users, by name.
    async fn users(&self) -> Result<BTreeMap<String, Vec<ScramCredential>>>;

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

/// An answer that leaves out what was asked for says nothing about it, least of all that it does not exist.
fn silent(what: &str, subject: &str) -> Error {
    Error::Answer {
        what: what.to_owned(),
        server: "The broker".to_owned(),
        reason: format!("it says nothing of {subject:?}"),
    }
}

fn one_per_item<T>(results: Vec<Result<T>>, asked: usize, what: &str) -> Result<Vec<Result<T>>> {
    if results.len() == asked { Ok(results) } else { Err(silent(what, "some of the ACLs")) }
}

#[async_trait]
impl Admin for lockgate_client::Admin {
    async fn cluster(&self) -> Result<Cluster> {
        self.describe_cluster().await
    }

    async fn topic(&self, name: &str) -> Result<Option<TopicInfo>> {
        let mut topics = self.describe_topics(&[name]).await?;
        match topics.remove(name).ok_or_else(|| silent("Metadata", name))? {
            Ok(topic) => Ok(Some(topic.into())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn topics(&self) -> Result<BTreeMap<String, TopicInfo>> {
        Ok(self.list_topics().await?.into_iter().map(|topic| (topic.name.clone(), topic.into())).collect())
    }

    async fn topic_configs(&self, name: &str) -> Result<Vec<ConfigEntry>> {
        let resource = ConfigResource::Topic(name.to_owned());
        let answers = self.describe_configs(std::slice::from_ref(&resource)).await?;
        let answer = answers.into_iter().find(|(described, _)| *described == resource);
        answer.ok_or_else(|| silent("DescribeConfigs", name))?.1
    }

    async fn create_topic(&self, topic: &NewTopic, validate_only: bool) -> Result<()> {
        let mut answers = self.create_topics(std::slice::from_ref(topic), validate_only).await?;
        answers.remove(&topic.name).ok_or_else(|| silent("CreateTopics", &topic.name))?.map(drop)
    }

    async fn delete_topic(&self, name: &str) -> Result<()> {
        let mut answers = self.delete_topics(&[name]).await?;
        answers.remove(name).ok_or_else(|| silent("DeleteTopics", name))?
    }

    async fn grow_topic(&self, name: &str, total: i32) -> Result<()> {
        let mut answers = self.create_partitions(&[NewPartitions { topic: name.to_owned(), total }], false).await?;
        answers.remove(name).ok_or_else(|| silent("CreatePartitions", name))?
    }

    async fn alter_topic_configs(
        &self,
        name: &str,
        changes: &[(String, ConfigChange)],
        validate_only: bool,
    ) -> Result<()> {
        let resource = ConfigResource::Topic(name.to_owned());
        let alteration = Alteration { resource: resource.clone(), changes: changes.to_vec() };
        let answers = self.alter_configs(&[alteration], validate_only).await?;
        let answer = answers.into_iter().find(|(altered, _)| *altered == resource);
        answer.ok_or_else(|| silent("IncrementalAlterConfigs", name))?.1
    }

    async fn acls(&self, scope: &AclScope) -> Result<Vec<AclOperation>> {
        let acls = self.list_acls(&scope.filter()).await?;
        // The filter is exact, but a broker that takes it loosely must not make foreign ACLs ours.
        Ok(acls.into_iter().filter(|acl| *acl == scope.acl(acl.operation)).map(|acl| acl.operation).collect())
    }

    async fn acls_like(&self, filter: &AclFilter) -> Result<Vec<Acl>> {
        self.list_acls(filter).await
    }

    async fn create_acls(&self, scope: &AclScope, operations: &[AclOperation]) -> Result<Vec<Result<()>>> {
        let acls: Vec<_> = operations.iter().map(|operation| scope.acl(*operation)).collect();
        one_per_item(Self::create_acls(self, &acls).await?, operations.len(), "CreateAcls")
    }

    async fn delete_acls(&self, scope: &AclScope, operations: &[AclOperation]) -> Result<Vec<Result<()>>> {
        let filters: Vec<_> = operations.iter().map(|operation| AclFilter::exactly(&scope.acl(*operation))).collect();
        let results = one_per_item(Self::delete_acls(self, &filters).await?, operations.len(), "DeleteAcls")?;
        Ok(results.into_iter().map(|result| result.map(drop)).collect())
    }

    async fn credentials(&self, user: &str) -> Result<Vec<ScramCredential>> {
        let mut answers = self.describe_users(Some(&[user])).await?;
        match answers.remove(user).ok_or_else(|| silent("DescribeUserScramCredentials", user))? {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            answer => answer,
        }
    }

    async fn users(&self) -> Result<BTreeMap<String, Vec<ScramCredential>>> {
        let answers = self.describe_users(None).await?;
        answers.into_iter().map(|(user, credentials)| Ok((user, credentials?))).collect()
    }

    async fn alter_credentials(&self, user: &str, set: &[NewCredential], delete: &[ScramMechanism]) -> Result<()> {
        let upserts = set.iter().map(|new| ScramUpsert {
            user: user.to_owned(),
            mechanism: new.mechanism,
            iterations: new.iterations,
            password: new.password.clone(),
        });
        let deletions: Vec<_> = delete.iter().map(|mechanism| (user, *mechanism)).collect();
        let mut answers = self.alter_users(upserts.collect(), &deletions).await?;
        answers.remove(user).ok_or_else(|| silent("AlterUserScramCredentials", user))?
    }

    async fn quotas(&self, entity: &QuotaEntity, strict: bool) -> Result<Vec<Quota>> {
        self.list_quotas(entity, strict).await
    }

    async fn alter_quota(&self, entity: &QuotaEntity, changes: &BTreeMap<String, Option<f64>>) -> Result<()> {
        let alteration = QuotaAlteration { entity: entity.clone(), changes: changes.clone() };
        let answers = self.alter_quotas(&[alteration], false).await?;
        let answer = answers.into_iter().find(|(altered, _)| altered == entity);
        answer.ok_or_else(|| silent("AlterClientQuotas", &entity.to_string()))?.1
    }

    async fn group(&self, name: &str) -> Result<Option<Group>> {
        let mut answers = self.describe_groups(&[name]).await?;
        match answers.remove(name).ok_or_else(|| silent("DescribeGroups", name))? {
            Err(error) if error.is_not_found() => Ok(None),
            answer => answer.map(Some),
        }
    }

    async fn group_lag(&self, name: &str) -> Result<Vec<Lag>> {
        Self::group_lag(self, name).await
    }
}
