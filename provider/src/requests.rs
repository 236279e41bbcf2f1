//! The requests in which concurrent calls are gathered, and who has to read anew after each.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use lockgate_client::admin::{
    Acl, AclFilter, AclOperation, Alteration, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ScramCredential,
    ScramMechanism, ScramUpsert,
};
use lockgate_client::{Admin, Error, Result};

use crate::cluster::{AclScope, TopicInfo};
use crate::gather::{Answers, Callers, Gather, Item};
use crate::lists::Lists;

/// Things that a request looks up by name or deletes: a second's work for any cluster.
const NAMES: usize = 500;
/// Topics whose configs are asked for in one request: some hundred kilobytes of answer.
const CONFIGS: usize = 100;
/// Partitions that a request creates: each is files on a broker, and all must be there within the time-out.
const PARTITIONS: usize = 2_000;
/// ACLs in one request. Lockgate takes a thousand filters.
const ACLS: usize = 500;
/// Users in one request: their passwords are salted first, some milliseconds each.
const USERS: usize = 50;

/// One for each kind of request.
pub(crate) struct Requests {
    pub(crate) topics: Gather<String, Option<TopicInfo>>,
    pub(crate) topic_configs: Gather<String, Vec<ConfigEntry>>,
    pub(crate) topic_checks: Gather<NewTopic, ()>,
    pub(crate) topic_creations: Gather<NewTopic, Option<TopicInfo>>,
    pub(crate) topic_deletions: Gather<Deletion, ()>,
    pub(crate) growths: Gather<NewPartitions, ()>,
    pub(crate) config_checks: Gather<Alteration, ()>,
    pub(crate) config_changes: Gather<Alteration, ()>,
    pub(crate) acl_creations: Gather<AclSet, Vec<Result<()>>>,
    pub(crate) acl_deletions: Gather<AclSet, Vec<Result<()>>>,
    pub(crate) credentials: Gather<String, Vec<ScramCredential>>,
    pub(crate) user_changes: Gather<UserChange, ()>,
}

/// The name of something that is to be deleted.
pub(crate) struct Deletion(pub(crate) String);

/// Operations on one scope, to be made or deleted.
pub(crate) struct AclSet {
    pub(crate) scope: AclScope,
    pub(crate) operations: Vec<AclOperation>,
}

/// What is to become of one user's credentials.
pub(crate) struct UserChange {
    pub(crate) user: String,
    pub(crate) set: Vec<ScramUpsert>,
    pub(crate) delete: Vec<ScramMechanism>,
}

impl Item for Deletion {
    fn key(&self) -> Option<&str> {
        Some(&self.0)
    }
}

impl Item for NewTopic {
    fn key(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn weight(&self) -> usize {
        self.partitions.and_then(|count| usize::try_from(count).ok()).unwrap_or(1).max(1)
    }
}

impl Item for NewPartitions {
    fn key(&self) -> Option<&str> {
        Some(&self.topic)
    }
}

impl Item for Alteration {
    fn key(&self) -> Option<&str> {
        match &self.resource {
            ConfigResource::Topic(name) => Some(name),
            ConfigResource::Broker(_) => None,
        }
    }
}

impl Item for AclSet {
    fn weight(&self) -> usize {
        self.operations.len()
    }
}

impl Item for UserChange {
    fn key(&self) -> Option<&str> {
        Some(&self.user)
    }
}

impl AclSet {
    fn acls(&self) -> impl Iterator<Item = Acl> {
        self.operations.iter().map(|operation| self.scope.acl(*operation))
    }
}

impl Requests {
    /// Changes make `lists` forget what they hold.
    pub(crate) fn new(client: &Admin, lists: &Arc<Lists>) -> Self {
        let (topics, acls, users) = (Lists::forget_topics, Lists::forget_acls, Lists::forget_users);
        let cluster = &To { client: client.clone(), callers: Arc::default(), lists: Arc::clone(lists) };
        Self {
            topics: cluster.reading(NAMES, describe_topics),
            topic_configs: cluster.reading(CONFIGS, describe_configs),
            topic_checks: cluster.reading(NAMES, check_topics),
            topic_creations: cluster.changing(PARTITIONS, create_topics, topics),
            topic_deletions: cluster.changing(NAMES, delete_topics, topics),
            growths: cluster.changing(NAMES, grow_topics, topics),
            config_checks: cluster.reading(NAMES, check_configs),
            config_changes: cluster.changing(NAMES, change_configs, topics),
            acl_creations: cluster.changing(ACLS, create_acls, acls),
            acl_deletions: cluster.changing(ACLS, delete_acls, acls),
            credentials: cluster.reading(NAMES, describe_users),
            user_changes: cluster.changing(USERS, change_users, users),
        }
    }
}

/// Whom the requests go to, and whom they concern.
struct To {
    client: Admin,
    callers: Arc<Callers>,
    lists: Arc<Lists>,
}

impl To {
    fn reading<I, A, Fut>(&self, limit: usize, ask: fn(Admin, Vec<I>) -> Fut) -> Gather<I, A>
    where
        I: Item,
        A: Send + 'static,
        Fut: Future<Output = Answers<A>> + Send + 'static,
    {
        let client = self.client.clone();
        Gather::new(limit, &self.callers, move |items| ask(client.clone(), items))
    }

    /// A change that failed may have been made all the same, so it is followed by a new reading, too.
    fn changing<I, A, Fut>(&self, limit: usize, ask: fn(Admin, Vec<I>) -> Fut, forget: fn(&Lists)) -> Gather<I, A>
    where
        I: Item,
        A: Send + 'static,
        Fut: Future<Output = Answers<A>> + Send + 'static,
    {
        let (client, lists) = (self.client.clone(), Arc::clone(&self.lists));
        Gather::new(limit, &self.callers, move |items| {
            let (asked, lists) = (ask(client.clone(), items), Arc::clone(&lists));
            async move {
                let answers = asked.await;
                forget(&lists);
                answers
            }
        })
    }
}

/// An answer that leaves out what was asked for says nothing about it, least of all that it does not exist.
pub(crate) fn silent(what: &str, subject: &str) -> Error {
    Error::Answer {
        what: what.to_owned(),
        server: "The broker".to_owned(),
        reason: format!("it says nothing of {subject:?}"),
    }
}

fn one_per_item<T>(results: Vec<T>, asked: usize, what: &str) -> Result<Vec<T>> {
    if results.len() == asked { Ok(results) } else { Err(silent(what, "some of the ACLs")) }
}

/// Answers by name, in the order of the names.
fn in_order<'a, T: Clone>(
    names: impl IntoIterator<Item = &'a str>,
    answers: &BTreeMap<String, Result<T>>,
    what: &str,
) -> Vec<Result<T>> {
    let answer = |name: &str| answers.get(name).cloned().unwrap_or_else(|| Err(silent(what, name)));
    names.into_iter().map(answer).collect()
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

async fn describe_topics(client: Admin, names: Vec<String>) -> Answers<Option<TopicInfo>> {
    let answers = client.describe_topics(&texts(&names)).await?;
    let found = answers.into_iter().map(|(name, answer)| {
        let found = match answer {
            Ok(topic) => Ok(Some(TopicInfo::from(topic))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        };
        (name, found)
    });
    Ok(in_order(texts(&names), &found.collect(), "Metadata"))
}

async fn describe_configs(client: Admin, names: Vec<String>) -> Answers<Vec<ConfigEntry>> {
    let answers = topic_configs(&client, &names).await?;
    Ok(in_order(texts(&names), &answers, "DescribeConfigs"))
}

/// The configs of each topic, by its name.
pub(crate) async fn topic_configs(
    client: &Admin,
    names: &[String],
) -> Result<BTreeMap<String, Result<Vec<ConfigEntry>>>> {
    let resources: Vec<_> = names.iter().cloned().map(ConfigResource::Topic).collect();
    Ok(by_topic(client.describe_config_values(&resources).await?))
}

fn by_topic<T>(answers: Vec<(ConfigResource, Result<T>)>) -> BTreeMap<String, Result<T>> {
    let named = answers.into_iter().filter_map(|(resource, answer)| match resource {
        ConfigResource::Topic(name) => Some((name, answer)),
        ConfigResource::Broker(_) => None,
    });
    named.collect()
}

fn topic_names(topics: &[NewTopic]) -> impl Iterator<Item = &str> {
    topics.iter().map(|topic| topic.name.as_str())
}

async fn check_topics(client: Admin, topics: Vec<NewTopic>) -> Answers<()> {
    let answers = client.create_topics(&topics, true).await?;
    let answers = answers.into_iter().map(|(name, answer)| (name, answer.map(drop))).collect();
    Ok(in_order(topic_names(&topics), &answers, "CreateTopics"))
}

/// Creates topics and looks at them.
async fn create_topics(client: Admin, topics: Vec<NewTopic>) -> Answers<Option<TopicInfo>> {
    let made = client.create_topics(&topics, false).await?;
    let names: Vec<_> = made.iter().filter(|(_, answer)| answer.is_ok()).map(|(name, _)| name.as_str()).collect();
    // They are made, whatever the look at them says.
    let mut shown = client.describe_topics(&names).await.unwrap_or_default();
    let answers = made.iter().map(|(name, answer)| {
        let look = |_: &_| shown.remove(name).and_then(Result::ok).map(TopicInfo::from);
        (name.clone(), answer.as_ref().map(look).map_err(Error::clone))
    });
    let answers = answers.collect();
    Ok(in_order(topic_names(&topics), &answers, "CreateTopics"))
}

async fn delete_topics(client: Admin, topics: Vec<Deletion>) -> Answers<()> {
    let names: Vec<_> = topics.iter().map(|topic| topic.0.as_str()).collect();
    let answers = client.delete_topics(&names).await?;
    Ok(in_order(names, &answers, "DeleteTopics"))
}

async fn grow_topics(client: Admin, topics: Vec<NewPartitions>) -> Answers<()> {
    let answers = client.create_partitions(&topics, false).await?;
    Ok(in_order(topics.iter().map(|new| new.topic.as_str()), &answers, "CreatePartitions"))
}

async fn check_configs(client: Admin, alterations: Vec<Alteration>) -> Answers<()> {
    alter_configs(client, alterations, true).await
}

async fn change_configs(client: Admin, alterations: Vec<Alteration>) -> Answers<()> {
    alter_configs(client, alterations, false).await
}

async fn alter_configs(client: Admin, alterations: Vec<Alteration>, validate_only: bool) -> Answers<()> {
    let answers = by_topic(client.alter_configs(&alterations, validate_only).await?);
    let names = alterations.iter().filter_map(Item::key);
    Ok(in_order(names, &answers, "IncrementalAlterConfigs"))
}

async fn create_acls(client: Admin, sets: Vec<AclSet>) -> Answers<Vec<Result<()>>> {
    let acls: Vec<_> = sets.iter().flat_map(AclSet::acls).collect();
    let results = one_per_item(client.create_acls(&acls).await?, acls.len(), "CreateAcls")?;
    Ok(by_set(&sets, results))
}

async fn delete_acls(client: Admin, sets: Vec<AclSet>) -> Answers<Vec<Result<()>>> {
    let filters: Vec<_> = sets.iter().flat_map(AclSet::acls).map(|acl| AclFilter::exactly(&acl)).collect();
    let results = one_per_item(client.delete_acls(&filters).await?, filters.len(), "DeleteAcls")?;
    Ok(by_set(&sets, results.into_iter().map(|result| result.map(drop)).collect()))
}

/// Gives each set the results of its own operations.
fn by_set(sets: &[AclSet], results: Vec<Result<()>>) -> Vec<Result<Vec<Result<()>>>> {
    let mut results = results.into_iter();
    sets.iter().map(|set| Ok(results.by_ref().take(set.operations.len()).collect())).collect()
}

async fn describe_users(client: Admin, names: Vec<String>) -> Answers<Vec<ScramCredential>> {
    let answers = client.describe_users(Some(&texts(&names))).await?;
    let found = answers.into_iter().map(|(name, answer)| match answer {
        Err(error) if error.is_not_found() => (name, Ok(Vec::new())),
        answer => (name, answer),
    });
    Ok(in_order(texts(&names), &found.collect(), "DescribeUserScramCredentials"))
}

async fn change_users(client: Admin, changes: Vec<UserChange>) -> Answers<()> {
    let upserts = changes.iter().flat_map(|change| change.set.clone()).collect();
    let deleted = |change: &'_ UserChange| -> Vec<(String, ScramMechanism)> {
        change.delete.iter().map(|mechanism| (change.user.clone(), *mechanism)).collect()
    };
    let deleted: Vec<_> = changes.iter().flat_map(deleted).collect();
    let deletions: Vec<_> = deleted.iter().map(|(user, mechanism)| (user.as_str(), *mechanism)).collect();
    let answers = client.alter_users(upserts, &deletions).await?;
    Ok(in_order(changes.iter().map(|change| change.user.as_str()), &answers, "AlterUserScramCredentials"))
}
