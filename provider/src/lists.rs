//! What a Lockgate cluster holds, listed once for all reads of an operation: topics with their configs, ACLs, users.
//!
//! A list holds what the user may see. What is missing in one is therefore asked for by name; only that answer proves
//! that it does not exist.

use std::collections::{BTreeMap, HashMap};

use lockgate_client::admin::{AclFilter, AclOperation, ConfigEntry, ConfigSource, ScramCredential};
use lockgate_client::{Admin, Result};
use tokio::sync::Mutex;

use crate::cluster::{AclScope, DescribedTopic, TopicInfo};
use crate::requests::{silent, topic_configs};
use crate::shared_read::{ReadError, SharedRead};

/// Topics whose configs are asked for in one request: some megabytes of answer, of which little is kept.
const PAGE: usize = 1_000;

/// The lists, each read when it is first needed and again after a change.
pub(crate) struct Lists {
    topics: SharedRead<TopicList>,
    acls: SharedRead<BTreeMap<AclScope, Vec<AclOperation>>>,
    users: SharedRead<BTreeMap<String, Vec<ScramCredential>>>,
    /// The names that topics had when this was first asked for, by what is left of them without the difference between `.`
    /// and `_`. For advice in a plan, so changes do not matter.
    names: SharedRead<HashMap<String, String>>,
    /// Held while a page is read, so that only one long answer is in memory at a time.
    paging: Mutex<()>,
}

/// All topics, by name, with the place of each; and the configs of every [`PAGE`] of them.
struct TopicList {
    topics: BTreeMap<String, (usize, TopicInfo)>,
    pages: Vec<SharedRead<ConfigPage>>,
}

/// The configs of some topics. What they inherit is the same for all of them, and kept once.
#[derive(Default)]
struct ConfigPage {
    inherited: BTreeMap<String, ConfigEntry>,
    own: BTreeMap<String, Result<Vec<ConfigEntry>>>,
}

impl Lists {
    pub(crate) fn new() -> Self {
        Self {
            topics: SharedRead::new("the list of topics"),
            acls: SharedRead::new("the list of ACLs"),
            users: SharedRead::new("the list of users"),
            names: SharedRead::new("the names of topics"),
            paging: Mutex::new(()),
        }
    }

    pub(crate) fn forget_topics(&self) {
        self.topics.forget();
    }

    pub(crate) fn forget_acls(&self) {
        self.acls.forget();
    }

    pub(crate) fn forget_users(&self) {
        self.users.forget();
    }

    /// A topic with its configs; `None` when the lists do not show it, which proves nothing.
    pub(crate) async fn topic(&self, client: &Admin, name: &str) -> Result<Option<DescribedTopic>, ReadError> {
        let list = self.topics.get(|| TopicList::read(client)).await?;
        let Some((place, info)) = list.topics.get(name) else { return Ok(None) };
        let page = place / PAGE;
        let configs = list.pages[page].get(|| async {
            let _alone = self.paging.lock().await;
            let names = list.topics.iter().skip(page * PAGE).take(PAGE).map(|(name, _)| name.clone());
            Ok(ConfigPage::new(topic_configs(client, &names.collect::<Vec<_>>()).await?))
        });
        match configs.await?.of(name) {
            Ok(configs) => Ok(Some((info.clone(), configs))),
            // It went away between the two lists.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A topic whose name differs in `.` and `_` only, which Kafka does not allow.
    pub(crate) async fn similar(&self, client: &Admin, name: &str) -> Option<String> {
        if !name.contains(['.', '_']) {
            return None;
        }
        let fold = |name: &str| name.replace('.', "_");
        let names = self.names.get(|| async {
            let topics = client.list_topics().await?.into_iter();
            Ok(topics.map(|topic| (fold(&topic.name), topic.name)).collect())
        });
        names.await.ok()?.get(&fold(name)).filter(|other| *other != name).cloned()
    }

    /// The operations that have an ACL of exactly this scope. Whoever may see an ACL sees all of them, so this list proves
    /// absence as well.
    pub(crate) async fn acls(&self, client: &Admin, scope: &AclScope) -> Result<Vec<AclOperation>, ReadError> {
        let list = self.acls.get(|| async {
            let mut list: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for acl in client.list_acls(&AclFilter::default()).await? {
                list.entry(AclScope::from(&acl)).or_default().push(acl.operation);
            }
            Ok(list)
        });
        Ok(list.await?.get(scope).cloned().unwrap_or_default())
    }

    /// A user's credentials; `None` when the list does not show the user.
    pub(crate) async fn credentials(
        &self,
        client: &Admin,
        user: &str,
    ) -> Result<Option<Vec<ScramCredential>>, ReadError> {
        let list = self.users.get(|| async {
            let all = client.describe_users(None).await?;
            all.into_iter().map(|(user, credentials)| Ok((user, credentials?))).collect()
        });
        Ok(list.await?.get(user).cloned())
    }
}

impl TopicList {
    async fn read(client: &Admin) -> Result<Self> {
        let topics = client.list_topics().await?.into_iter().enumerate();
        let topics: BTreeMap<_, _> =
            topics.map(|(place, topic)| (topic.name.clone(), (place, TopicInfo::from(topic)))).collect();
        let pages = (0..topics.len().div_ceil(PAGE)).map(|_| SharedRead::new("the configs of topics"));
        Ok(Self { pages: pages.collect(), topics })
    }
}

impl ConfigPage {
    fn new(described: BTreeMap<String, Result<Vec<ConfigEntry>>>) -> Self {
        let mut page = Self::default();
        for (topic, entries) in described {
            let own = entries.map(|entries| {
                let is_own = |entry: &ConfigEntry| {
                    entry.source == ConfigSource::Topic
                        || *page.inherited.entry(entry.name.clone()).or_insert_with(|| entry.clone()) != *entry
                };
                entries.into_iter().filter(is_own).collect()
            });
            page.own.insert(topic, own);
        }
        page
    }

    /// All configs of a topic of this page.
    fn of(&self, topic: &str) -> Result<Vec<ConfigEntry>> {
        let own = self.own.get(topic).cloned().unwrap_or_else(|| Err(silent("DescribeConfigs", topic)))?;
        let is_own = |name: &str| own.iter().any(|entry| entry.name == name);
        let inherited = self.inherited.iter().filter(|(name, _)| !is_own(name)).map(|(_, entry)| entry.clone());
        let inherited: Vec<_> = inherited.collect();
        Ok(own.into_iter().chain(inherited).collect())
    }
}

#[cfg(test)]
mod tests {
    use lockgate_client::ErrorCode;

    use super::*;
    use crate::fake::broker_error;

    fn entry(name: &str, value: &str, source: ConfigSource) -> ConfigEntry {
        ConfigEntry {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
            read_only: false,
            sensitive: false,
            synonyms: Vec::new(),
            documentation: None,
        }
    }

    #[test]
    fn a_page_gives_back_what_each_topic_was_described_with() {
        let (inherited, own) = (ConfigSource::Default, ConfigSource::Topic);
        let described = [
            ("plain", vec![entry("a", "1", inherited), entry("b", "2", inherited)]),
            ("set", vec![entry("a", "9", own), entry("b", "2", inherited)]),
            ("odd", vec![entry("a", "1", inherited), entry("b", "3", inherited)]),
        ];
        let answers = described.iter().map(|(name, entries)| ((*name).to_owned(), Ok(entries.clone())));
        let gone = ("gone".to_owned(), Err(broker_error(ErrorCode::UnknownTopicOrPartition)));
        let page = ConfigPage::new(answers.chain([gone]).collect());
        for (name, entries) in described {
            let mut found = page.of(name).expect("described");
            found.sort_by(|a, b| a.name.cmp(&b.name));
            assert_eq!(found, entries, "{name}");
        }
        assert!(page.of("gone").expect_err("it is gone").is_not_found());
        assert!(!page.of("never asked for").expect_err("nothing is known").is_not_found());
    }
}
