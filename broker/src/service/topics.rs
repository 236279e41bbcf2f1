//! Making and removing topics. Partitions are made before the catalog knows the topic, and removed after it has
//! forgotten it: a crash in between leaves strays, and a partition that the catalog knows but the store does not have
//! is always damage.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, future, stream};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::BrokerId;
use thiserror::Error;
use uuid::Uuid;

use super::Services;
use crate::catalog::topic_config::{self, log_config};
use crate::catalog::{CatalogRecord, ChangeError, Image, InvalidTopicName, Topic, TopicName};
use crate::limits;
use crate::log::{LogConfig, LogError};
use crate::store::PartitionId;

/// A topic as somebody wants it.
#[derive(Clone, Debug)]
pub(super) struct NewTopic {
    pub(super) name: String,
    /// -1: the broker's default.
    pub(super) partitions: i32,
    /// -1: 1.
    pub(super) replication_factor: i16,
    pub(super) configs: BTreeMap<String, String>,
}

/// Why a topic is not made or changed, in words for its owner.
#[derive(Debug, Error)]
pub(super) enum TopicError {
    #[error(transparent)]
    Name(#[from] InvalidTopicName),
    #[error("topic '{0}' exists already")]
    Exists(TopicName),
    #[error("topic '{0}' collides with '{1}': names may not differ in '.' and '_' only")]
    Collides(TopicName, TopicName),
    #[error("{0}")]
    Partitions(String),
    #[error("replication factor {0} is not possible: give -1 or at least 1")]
    ReplicationFactor(i16),
    #[error("{0}")]
    Config(String),
    #[error("this topic does not exist")]
    Unknown,
    #[error("{0}")]
    Reserved(String),
    #[error("the catalog could not be changed: {0}")]
    Catalog(String),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl TopicError {
    pub(super) fn code(&self) -> ResponseError {
        match self {
            TopicError::Name(_) | TopicError::Collides(..) | TopicError::Reserved(_) => {
                ResponseError::InvalidTopicException
            }
            TopicError::Exists(_) => ResponseError::TopicAlreadyExists,
            TopicError::Partitions(_) => ResponseError::InvalidPartitions,
            TopicError::ReplicationFactor(_) => ResponseError::InvalidReplicationFactor,
            TopicError::Config(_) => ResponseError::InvalidConfig,
            TopicError::Unknown => ResponseError::UnknownTopicOrPartition,
            TopicError::Catalog(_) => ResponseError::KafkaStorageError,
            TopicError::Log(error) => error.code(),
        }
    }
}

impl From<ChangeError<TopicError>> for TopicError {
    fn from(error: ChangeError<TopicError>) -> Self {
        match error {
            ChangeError::Refused(error) => error,
            ChangeError::Catalog(error) => TopicError::Catalog(error.to_string()),
        }
    }
}

/// What is wrong with the brokers that a manual assignment names for one partition.
pub(super) fn check_replicas(brokers: &[BrokerId], node_id: i32) -> Result<(), String> {
    match brokers {
        [] => Err("a partition of a manual assignment has no replica".to_owned()),
        [broker] if broker.0 == node_id => Ok(()),
        brokers => match brokers.iter().find(|broker| broker.0 != node_id) {
            Some(unknown) => Err(format!("a manual assignment names broker {}, which does not exist", unknown.0)),
            None => Err(format!("a manual assignment names broker {node_id} more than once for a partition")),
        },
    }
}

/// Topics that the broker keeps for itself.
pub(super) fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state")
}

/// Makes topics; one topic's failure does not touch the others.
pub(super) async fn create(
    services: &Services,
    wanted: Vec<NewTopic>,
    validate_only: bool,
) -> Vec<Result<Arc<Topic>, TopicError>> {
    let _changing = services.topic_changes.lock().await;
    let mut decided = decide_all(services, wanted);
    if validate_only {
        return decided;
    }
    for (place, error) in make_all(services, &decided).await {
        decided[place] = Err(TopicError::Log(error));
    }
    record(services, decided).await
}

/// Decides on each topic as if the ones before it existed.
fn decide_all(services: &Services, wanted: Vec<NewTopic>) -> Vec<Result<Arc<Topic>, TopicError>> {
    let mut image = Image::clone(&services.catalog.image());
    let mut folded = Folded::new(&image, wanted.iter().map(|topic| topic.name.as_str()));
    let mut decided = Vec::with_capacity(wanted.len());
    for topic in wanted {
        let topic = decide(services, &image, &folded, topic);
        if let Ok(topic) = &topic {
            folded.add(&topic.name);
            image.apply(&CatalogRecord::Topic(Topic::clone(topic)));
        }
        decided.push(topic);
    }
    decided
}

/// Makes the decided topics known, all in one change. Where somebody else was faster the partitions go again.
async fn record(
    services: &Services,
    decided: Vec<Result<Arc<Topic>, TopicError>>,
) -> Vec<Result<Arc<Topic>, TopicError>> {
    let made: Vec<_> = decided.iter().flatten().cloned().collect();
    let taken = services.catalog.change(|image| {
        let folded = Folded::new(image, made.iter().map(|topic| topic.name.as_str()));
        let taken = |topic: &Topic| image.topics.contains_key(&topic.name) || folded.colliding(&topic.name).is_some();
        let (late, fresh): (Vec<_>, Vec<_>) = made.iter().cloned().partition(|topic| taken(topic));
        let records = fresh.iter().map(|topic| CatalogRecord::Topic(Topic::clone(topic))).collect();
        Ok::<_, TopicError>((records, late.iter().map(|topic| topic.id).collect::<Vec<_>>()))
    });
    let taken = match taken.await {
        Ok(taken) => taken,
        // The outcome is not known: the partitions stay, and become strays if the topics turn out not to exist.
        Err(error) => {
            let reason = TopicError::from(error).to_string();
            let fail = |result: Result<Arc<Topic>, _>| result.and_then(|_| Err(TopicError::Catalog(reason.clone())));
            return decided.into_iter().map(fail).collect();
        }
    };
    let mut results = Vec::with_capacity(decided.len());
    for result in decided {
        results.push(match result {
            Ok(topic) if taken.contains(&topic.id) => {
                drop_partitions(services, &topic, 0).await;
                Err(TopicError::Exists(topic.name.clone()))
            }
            result => result,
        });
    }
    results
}

fn decide(services: &Services, image: &Image, folded: &Folded, mut wanted: NewTopic) -> Result<Arc<Topic>, TopicError> {
    let name = TopicName::parse(&wanted.name)?;
    if image.topics.contains_key(&name) {
        return Err(TopicError::Exists(name));
    }
    if is_internal(name.as_str()) {
        return Err(TopicError::Reserved(format!("topic name '{name}' is reserved for the broker")));
    }
    if let Some(other) = folded.colliding(&name) {
        return Err(TopicError::Collides(name, other.clone()));
    }
    let partitions = match wanted.partitions {
        -1 => services.config.default_partitions,
        count => check_partitions(count)?,
    };
    check_total(image, partitions)?;
    let replication_factor = match wanted.replication_factor {
        -1 => 1,
        factor if factor >= 1 => factor,
        factor => return Err(TopicError::ReplicationFactor(factor)),
    };
    for (key, value) in &mut wanted.configs {
        topic_config::validate(key, value).map_err(TopicError::Config)?;
        *value = topic_config::find(key).map_or_else(String::new, |config| topic_config::normal(config.kind, value));
    }
    topic_config::validate_together(&wanted.configs, &services.topic_defaults(image)).map_err(TopicError::Config)?;
    Ok(Arc::new(Topic { id: Uuid::new_v4(), name, partitions, replication_factor, configs: wanted.configs }))
}

/// Topics by their collision keys, made once for all topics of a request; empty when none of them could collide.
#[derive(Default)]
struct Folded(HashMap<String, TopicName>);

impl Folded {
    fn new<'a>(image: &Image, mut wanted: impl Iterator<Item = &'a str>) -> Self {
        if !wanted.any(may_collide) {
            return Self::default();
        }
        let names = image.topics.keys().filter(|name| may_collide(name.as_str()));
        Self(names.map(|name| (name.collision_key(), name.clone())).collect())
    }

    fn add(&mut self, name: &TopicName) {
        if may_collide(name.as_str()) {
            self.0.insert(name.collision_key(), name.clone());
        }
    }

    /// A topic whose name differs only in `.` and `_`.
    fn colliding(&self, name: &TopicName) -> Option<&TopicName> {
        self.0.get(&name.collision_key()).filter(|other| *other != name)
    }
}

fn may_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

fn check_partitions(count: i32) -> Result<i32, TopicError> {
    match count {
        1..=limits::PARTITIONS_PER_TOPIC => Ok(count),
        count => Err(TopicError::Partitions(format!(
            "{count} partitions are not possible: give 1 to {}",
            limits::PARTITIONS_PER_TOPIC
        ))),
    }
}

/// Whether the broker may have this many more partitions.
fn check_total(image: &Image, more: i32) -> Result<(), TopicError> {
    let there = image.partitions;
    match there + i64::from(more) <= limits::PARTITIONS_PER_BROKER {
        true => Ok(()),
        false => Err(TopicError::Partitions(format!(
            "{more} more partitions are not possible: the broker has {there}, and may have {}; delete topics first",
            limits::PARTITIONS_PER_BROKER
        ))),
    }
}

/// Makes and opens the partitions of all topics together, since each waits for the disk. Says which topics failed, by
/// their places.
async fn make_all(services: &Services, topics: &[Result<Arc<Topic>, TopicError>]) -> Vec<(usize, LogError)> {
    let of = |(place, topic): (usize, &Arc<Topic>)| {
        partitions_of(services, topic, 0).map(move |(id, config)| (place, id, config))
    };
    let decided = topics.iter().enumerate().filter_map(|(place, topic)| Some((place, topic.as_ref().ok()?)));
    let ids: Vec<_> = decided.flat_map(of).collect();
    let made = stream::iter(ids)
        .map(|(place, id, config)| async move { (place, services.logs.open(id, config, true).await) })
        .buffer_unordered(limits::PARTITIONS_OPENED_AT_ONCE);
    // What was made stays: it may be another request's too, and at the next start it is a stray.
    made.filter_map(|(place, opened)| future::ready(opened.err().map(|error| (place, error)))).collect().await
}

/// The partitions from `first` on, as they are to be made.
fn partitions_of(
    services: &Services,
    topic: &Topic,
    first: i32,
) -> impl Iterator<Item = (PartitionId, Arc<LogConfig>)> + use<> {
    let image = services.catalog.image();
    let internal = is_internal(topic.name.as_str());
    let config = Arc::new(log_config(&topic.configs, &services.topic_defaults(&image), internal));
    let id = topic.id;
    (first..topic.partitions).map(move |index| (PartitionId { topic: id, index }, Arc::clone(&config)))
}

/// Removes partitions that the catalog does not (or not any more) know.
async fn drop_partitions(services: &Services, topic: &Topic, first: i32) {
    let ids: Vec<_> = (first..topic.partitions).map(|index| PartitionId { topic: topic.id, index }).collect();
    if let Err(error) = services.logs.delete(&ids).await {
        tracing::warn!(topic = %topic.name, %error, "partitions could not be removed; the next start sets them aside");
    }
}

/// Grows a topic.
pub(super) async fn grow(services: &Services, name: &str, count: i32, validate_only: bool) -> Result<(), TopicError> {
    let _changing = services.topic_changes.lock().await;
    let image = services.catalog.image();
    let topic = image.topic(name).cloned().ok_or(TopicError::Unknown)?;
    let grown = Topic { partitions: check_growth(&topic, count)?, ..Topic::clone(&topic) };
    check_total(&image, count - topic.partitions)?;
    if validate_only {
        return Ok(());
    }
    stream::iter(partitions_of(services, &grown, topic.partitions))
        .map(|(id, config)| services.logs.open(id, config, true))
        .buffer_unordered(limits::PARTITIONS_OPENED_AT_ONCE)
        .try_for_each(|_| future::ready(Ok(())))
        .await?;
    let changed = services.catalog.change(|image| {
        // Configs may have changed meanwhile; another growth makes this one void.
        let current = image.topic_by_id(topic.id).ok_or(TopicError::Unknown)?;
        check_growth(current, count)?;
        let grown = Topic { partitions: count, ..Topic::clone(current) };
        Ok::<_, TopicError>((vec![CatalogRecord::Topic(grown)], ()))
    });
    Ok(changed.await?)
}

fn check_growth(topic: &Topic, count: i32) -> Result<i32, TopicError> {
    if is_internal(topic.name.as_str()) {
        return Err(TopicError::Reserved(format!("topic '{}' belongs to the broker", topic.name)));
    }
    let count = check_partitions(count)?;
    if count <= topic.partitions {
        return Err(TopicError::Partitions(format!(
            "topic '{}' has {} partitions; {count} would not be more",
            topic.name, topic.partitions
        )));
    }
    Ok(count)
}

/// Removes a topic and its partitions.
pub(super) async fn delete(services: &Services, id: Uuid) -> Result<(), TopicError> {
    let _changing = services.topic_changes.lock().await;
    let changed = services.catalog.change(|image| {
        let topic = image.topic_by_id(id).ok_or(TopicError::Unknown)?;
        if is_internal(topic.name.as_str()) {
            return Err(TopicError::Reserved(format!("topic '{}' belongs to the broker", topic.name)));
        }
        Ok((vec![CatalogRecord::TopicDeleted { id }], topic.clone()))
    });
    let topic = changed.await?;
    // A new topic of this name starts at offset 0: what groups committed for this one must not outlive it.
    services.groups.topics_deleted(&[topic.name.as_str()]);
    drop_partitions(services, &topic, 0).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_bounded_over_all_topics() {
        let mut image = Image::default();
        let each = limits::PARTITIONS_PER_TOPIC;
        let topics = limits::PARTITIONS_PER_BROKER / i64::from(each);
        for index in 0..topics {
            check_total(&image, each).unwrap();
            let name = TopicName::parse(&format!("topic-{index}")).unwrap();
            let (id, configs) = (Uuid::from_u128(index as u128 + 1), BTreeMap::new());
            image.apply(&CatalogRecord::Topic(Topic { id, name, partitions: each, replication_factor: 1, configs }));
        }
        assert_eq!(check_total(&image, 1).unwrap_err().code(), ResponseError::InvalidPartitions);
        check_total(&image, 0).unwrap();
        let id = Uuid::from_u128(1);
        image.apply(&CatalogRecord::TopicDeleted { id });
        check_total(&image, each).unwrap();
        assert!(check_total(&image, each + 1).is_err());
    }

    #[test]
    fn names_collide_with_the_cluster_and_within_a_request() {
        let name = |text| TopicName::parse(text).unwrap();
        let mut image = Image::default();
        for (id, text) in [(1, "a.b"), (2, "plain")] {
            let topic = Topic {
                id: Uuid::from_u128(id),
                name: name(text),
                partitions: 1,
                replication_factor: 1,
                configs: BTreeMap::new(),
            };
            image.apply(&CatalogRecord::Topic(topic));
        }
        let mut folded = Folded::new(&image, ["other", "a_b"].into_iter());
        assert_eq!(folded.colliding(&name("a_b")), Some(&name("a.b")));
        assert_eq!(folded.colliding(&name("a.b")), None, "the same name is no collision but the topic itself");
        assert_eq!(folded.colliding(&name("c.d")), None);
        folded.add(&name("c_d"));
        assert_eq!(folded.colliding(&name("c.d")), Some(&name("c_d")));
    }
}
