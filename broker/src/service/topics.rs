//! Making and removing topics: the catalog's record first, then the partitions, so that a crash leaves a topic whose
//! missing partitions are made at the next start, never partitions that nobody knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, future, stream};
use kafka_protocol::ResponseError;
use thiserror::Error;
use uuid::Uuid;

use super::Services;
use crate::catalog::topic_config::{self, log_config};
use crate::catalog::{CatalogRecord, ChangeError, Image, InvalidTopicName, Topic, TopicName};
use crate::limits;
use crate::log::LogError;
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

/// Topics that the broker keeps for itself.
pub(super) fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state")
}

/// Makes topics, all in one catalog change; one topic's failure does not touch the others.
pub(super) async fn create(
    services: &Services,
    wanted: Vec<NewTopic>,
    validate_only: bool,
) -> Vec<Result<Arc<Topic>, TopicError>> {
    let defaults = services.config.default_partitions;
    let count = wanted.len();
    let changed = services
        .catalog
        .change(|image| {
            let mut image = Image::clone(image);
            let mut records = Vec::new();
            let mut decided = Vec::with_capacity(wanted.len());
            for topic in wanted {
                let topic = decide(&image, topic, defaults);
                if let Ok(topic) = &topic {
                    let record = CatalogRecord::Topic(Topic::clone(topic));
                    image.apply(&record);
                    records.push(record);
                }
                decided.push(topic);
            }
            if validate_only {
                records.clear();
            }
            Ok::<_, TopicError>((records, decided))
        })
        .await;
    let mut decided = match changed {
        Ok(decided) => decided,
        Err(error) => {
            let reason = TopicError::from(error).to_string();
            return (0..count).map(|_| Err(TopicError::Catalog(reason.clone()))).collect();
        }
    };
    if !validate_only {
        for result in &mut decided {
            if let Ok(topic) = result
                && let Err(error) = open_partitions(services, topic, 0).await
            {
                *result = Err(error);
            }
        }
    }
    decided
}

fn decide(image: &Image, wanted: NewTopic, default_partitions: i32) -> Result<Arc<Topic>, TopicError> {
    let name = TopicName::parse(&wanted.name)?;
    if image.topics.contains_key(&name) {
        return Err(TopicError::Exists(name));
    }
    if is_internal(name.as_str()) {
        return Err(TopicError::Reserved(format!("topic name '{name}' is reserved for the broker")));
    }
    if let Some(other) = colliding(image, &name) {
        return Err(TopicError::Collides(name, other));
    }
    let partitions = match wanted.partitions {
        -1 => default_partitions,
        count => check_partitions(count)?,
    };
    let replication_factor = match wanted.replication_factor {
        -1 => 1,
        factor if factor >= 1 => factor,
        factor => return Err(TopicError::ReplicationFactor(factor)),
    };
    for (key, value) in &wanted.configs {
        topic_config::validate(key, value).map_err(|error| TopicError::Config(error.to_string()))?;
    }
    Ok(Arc::new(Topic { id: Uuid::new_v4(), name, partitions, replication_factor, configs: wanted.configs }))
}

/// A topic whose name differs only in `.` and `_`.
fn colliding(image: &Image, name: &TopicName) -> Option<TopicName> {
    let text = name.as_str();
    if !text.contains(['.', '_']) {
        return None;
    }
    let key = name.collision_key();
    image.topics.keys().find(|other| other.as_str().len() == text.len() && other.collision_key() == key).cloned()
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

/// Opens the partitions from `first` on, making those that are missing.
pub(super) async fn open_partitions(services: &Services, topic: &Topic, first: i32) -> Result<(), TopicError> {
    let image = services.catalog.image();
    let defaults = services.topic_defaults(&image);
    let config = Arc::new(log_config(&topic.configs, &defaults, is_internal(topic.name.as_str())));
    let ids = (first..topic.partitions).map(|index| PartitionId { topic: topic.id, index });
    stream::iter(ids)
        .map(|id| services.logs.open(id, config.clone(), true))
        .buffer_unordered(limits::PARTITIONS_OPENED_AT_ONCE)
        .try_for_each(|_| future::ready(Ok(())))
        .await?;
    Ok(())
}

/// Grows a topic; returns it as it is then.
pub(super) async fn grow(
    services: &Services,
    name: &str,
    count: i32,
    validate_only: bool,
) -> Result<Arc<Topic>, TopicError> {
    let changed = services.catalog.change(|image| {
        let topic = image.topic(name).ok_or(TopicError::Unknown)?;
        let count = check_partitions(count)?;
        if count <= topic.partitions {
            return Err(TopicError::Partitions(format!(
                "topic '{name}' has {} partitions; {count} would not be an increase",
                topic.partitions
            )));
        }
        let grown = Topic { partitions: count, ..Topic::clone(topic) };
        let record = CatalogRecord::Topic(grown.clone());
        let records = if validate_only { Vec::new() } else { vec![record] };
        Ok((records, (topic.partitions, Arc::new(grown))))
    });
    let (had, grown) = changed.await?;
    if !validate_only {
        open_partitions(services, &grown, had).await?;
    }
    Ok(grown)
}

/// Removes a topic and its partitions.
pub(super) async fn delete(services: &Services, id: Uuid) -> Result<(), TopicError> {
    let changed = services.catalog.change(|image| {
        let topic = image.topic_by_id(id).ok_or(TopicError::Unknown)?;
        if is_internal(topic.name.as_str()) {
            return Err(TopicError::Reserved(format!("topic '{}' belongs to the broker", topic.name)));
        }
        Ok((vec![CatalogRecord::TopicDeleted { id }], topic.clone()))
    });
    let topic = changed.await?;
    let ids: Vec<_> = (0..topic.partitions).map(|index| PartitionId { topic: id, index }).collect();
    services.logs.delete(&ids).await?;
    Ok(())
}
