//! Configs of topics, of the broker and of consumer groups: which resources there are, and how changes are decided.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::{Services, topics};
use crate::catalog::topic_config::{self, ConfigType, TopicConfig, TopicDefaults, log_config};
use crate::catalog::{CatalogRecord, Image, Topic, TopicName, broker_config, group_config};
use crate::config::Config;
use crate::group::limits::MAX_NAME_BYTES;

/// Kafka's wire codes of resources that have configs.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const GROUP: i8 = 32;

/// Why a resource's configs are not shown or changed: the code and a sentence.
pub(super) type ConfigsError = (ResponseError, String);

/// A resource with configs that exists.
pub(super) enum Resource {
    Topic(Arc<Topic>),
    /// This broker.
    Broker,
    /// The defaults of all brokers.
    Brokers,
    /// A consumer group, whether there is one of that name or not.
    Group(String),
}

/// Finds a resource by its type and name on the wire.
pub(super) fn resource(image: &Image, config: &Config, kind: i8, name: &str) -> Result<Resource, ConfigsError> {
    match kind {
        TOPIC => {
            let name =
                TopicName::parse(name).map_err(|error| (ResponseError::InvalidTopicException, error.to_string()))?;
            let unknown = || format!("The topic '{name}' does not exist.");
            let topic =
                image.topic(name.as_str()).ok_or_else(|| (ResponseError::UnknownTopicOrPartition, unknown()))?;
            Ok(Resource::Topic(topic.clone()))
        }
        BROKER if name.is_empty() => Ok(Resource::Brokers),
        BROKER => match name.parse::<i32>() {
            Ok(id) if id == config.node_id => Ok(Resource::Broker),
            Ok(id) => {
                let message =
                    format!("Unexpected broker id, expected {} or empty string, but received {id}", config.node_id);
                Err((ResponseError::InvalidRequest, message))
            }
            Err(_) => Err((ResponseError::InvalidRequest, format!("Broker id must be an integer, but it is: {name}"))),
        },
        GROUP if name.is_empty() => {
            Err((ResponseError::InvalidRequest, "Default group resources are not allowed.".to_owned()))
        }
        GROUP if name.len() > MAX_NAME_BYTES => {
            Err((ResponseError::InvalidRequest, format!("A group's name has at most {MAX_NAME_BYTES} bytes")))
        }
        GROUP => Ok(Resource::Group(name.to_owned())),
        kind => Err((ResponseError::InvalidRequest, format!("Resources of type {kind} have no configs here"))),
    }
}

/// What happens to one config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Set(String),
    Delete,
    Append(String),
    Subtract(String),
}

/// What a request wants for one resource.
pub(super) struct Alteration {
    pub(super) resource_type: i8,
    pub(super) resource_name: StrBytes,
    /// Or what is wrong with the request itself.
    pub(super) edits: Result<Vec<(String, Edit)>, ConfigsError>,
    /// Configs that are not named go back to their defaults.
    pub(super) replace: bool,
}

/// Decides on all alterations in one catalog change; one resource's failure does not touch the others. The answers
/// are in the order of the alterations.
pub(super) async fn alter(
    services: &Services,
    mut alterations: Vec<Alteration>,
    validate_only: bool,
) -> Vec<Result<(), ConfigsError>> {
    refuse_repeated(&mut alterations);
    let changed = services.catalog.change(|image| {
        let mut records = Vec::new();
        let decide = |alteration: &Alteration| {
            records.extend(decide(image, &services.config, alteration)?);
            Ok(())
        };
        let results: Vec<_> = alterations.iter().map(decide).collect();
        if validate_only {
            records.clear();
        }
        Ok::<_, Infallible>((records, results))
    });
    let results: Vec<Result<(), ConfigsError>> = match changed.await {
        Ok(results) => results,
        Err(error) => {
            let failed = || Err((ResponseError::KafkaStorageError, error.to_string()));
            return alterations.iter().map(|_| failed()).collect();
        }
    };
    if !validate_only {
        let done = alterations.iter().zip(&results).filter(|(_, result)| result.is_ok());
        done.for_each(|(alteration, _)| configure(services, alteration));
    }
    results
}

fn refuse_repeated(alterations: &mut [Alteration]) {
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for alteration in alterations.iter() {
        let resource = (alteration.resource_type, alteration.resource_name.clone());
        if !seen.insert(resource.clone()) {
            twice.insert(resource);
        }
    }
    for alteration in alterations {
        if twice.contains(&(alteration.resource_type, alteration.resource_name.clone())) {
            let message = "Each resource must appear at most once.".to_owned();
            alteration.edits = Err((ResponseError::InvalidRequest, message));
        }
    }
}

/// The records that make the change.
fn decide(image: &Image, config: &Config, alteration: &Alteration) -> Result<Vec<CatalogRecord>, ConfigsError> {
    let edits = alteration.edits.as_deref().map_err(Clone::clone)?;
    let defaults = TopicDefaults { file: &config.topic_defaults, dynamic: &image.broker_configs };
    if alteration.resource_type == TOPIC && alteration.resource_name.is_empty() {
        return Err((ResponseError::InvalidRequest, "Default topic resources are not allowed.".to_owned()));
    }
    match resource(image, config, alteration.resource_type, &alteration.resource_name)? {
        Resource::Topic(topic) if topics::is_internal(topic.name.as_str()) => {
            let message = format!("topic '{}' is kept by the broker itself, with fixed configs", topic.name);
            Err((ResponseError::InvalidRequest, message))
        }
        Resource::Topic(topic) => {
            let known = |name: &str| {
                topic_config::find(name)
                    .map(|known| (known, known.name))
                    .ok_or_else(|| invalid(format!("Unknown topic config name: {name}")))
            };
            let current = if alteration.replace { &BTreeMap::new() } else { &topic.configs };
            let in_effect = |config: &TopicConfig| {
                topic.configs.get(config.name).map_or_else(|| defaults.first(config), String::as_str)
            };
            let configs = edited(current, edits, known, in_effect, ResponseError::InvalidConfig)?;
            topic_config::validate_together(&configs, &defaults).map_err(invalid)?;
            let changed = configs != topic.configs;
            Ok(changed.then(|| CatalogRecord::Topic(Topic { configs, ..Topic::clone(&topic) })).into_iter().collect())
        }
        Resource::Broker => {
            let message = "these configs hold for the whole cluster: change them with an empty broker name".to_owned();
            Err((ResponseError::InvalidRequest, message))
        }
        Resource::Brokers => {
            let current = if alteration.replace { &BTreeMap::new() } else { &*image.broker_configs };
            let in_effect = |config: &TopicConfig| defaults.first(config);
            let configs = edited(current, edits, dynamic, in_effect, ResponseError::InvalidRequest)?;
            let next = TopicDefaults { dynamic: &configs, ..defaults };
            topic_config::validate_together(&BTreeMap::new(), &next).map_err(invalid)?;
            let record = |name, value| CatalogRecord::BrokerConfig { name, value };
            Ok(difference(&image.broker_configs, &configs, record))
        }
        Resource::Group(group) => {
            let none = BTreeMap::new();
            let own = image.group_configs.get(&group).unwrap_or(&none);
            let known = |name: &str| {
                let config = group_config::find(name).map(|config| (config, config.name));
                config.ok_or_else(|| invalid(format!("Unknown group config name: {name}")))
            };
            let current = if alteration.replace { &none } else { own };
            let configs = edited(current, edits, known, |config| config.default, ResponseError::InvalidConfig)?;
            group_config::validate_together(&configs, &config.groups).map_err(invalid)?;
            let record = |name, value| CatalogRecord::GroupConfig { group: group.clone(), name, value };
            Ok(difference(own, &configs, record))
        }
    }
}

fn invalid(message: String) -> ConfigsError {
    (ResponseError::InvalidConfig, message)
}

/// The topic config whose default a broker config holds.
fn dynamic(name: &str) -> Result<(&'static TopicConfig, &'static str), ConfigsError> {
    if broker_config::is_fixed(name) {
        return Err((ResponseError::InvalidRequest, format!("Cannot update these configs dynamically: {name}")));
    }
    let config = topic_config::find_by_broker_name(name);
    config
        .map(|config| (config, config.broker_name))
        .ok_or_else(|| invalid(format!("Unknown broker config name: {name}")))
}

/// The records that lead from one set of configs to another.
fn difference(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    record: impl Fn(String, Option<String>) -> CatalogRecord,
) -> Vec<CatalogRecord> {
    let gone = old.keys().filter(|name| !new.contains_key(*name)).map(|name| (name, None));
    let set = new.iter().filter(|(name, value)| old.get(*name) != Some(value)).map(|(name, value)| (name, Some(value)));
    gone.chain(set).map(|(name, value)| record(name.clone(), value.cloned())).collect()
}

/// Applies edits to a set of configs. `known` finds a config and the name under which this set has it; `in_effect`
/// gives the value that lists are appended to; `bad_value` is the error of a value that is not valid.
fn edited<'a>(
    current: &BTreeMap<String, String>,
    edits: &[(String, Edit)],
    known: impl Fn(&str) -> Result<(&'static TopicConfig, &'static str), ConfigsError>,
    in_effect: impl Fn(&TopicConfig) -> &'a str,
    bad_value: ResponseError,
) -> Result<BTreeMap<String, String>, ConfigsError> {
    let mut configs = current.clone();
    for (at, (name, edit)) in edits.iter().enumerate() {
        if edits[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err((ResponseError::InvalidRequest, format!("Error due to duplicate config keys: {name}")));
        }
        let (config, own_name) = match known(name) {
            // What nobody knows nobody has set.
            Err((ResponseError::InvalidConfig, _)) if *edit == Edit::Delete => continue,
            known => known?,
        };
        let value = match edit {
            Edit::Delete => {
                configs.remove(own_name);
                continue;
            }
            Edit::Set(value) => topic_config::normal(config.kind, value),
            Edit::Append(_) | Edit::Subtract(_) if config.kind != ConfigType::List => {
                let verb = if matches!(edit, Edit::Append(_)) { "append" } else { "subtract" };
                return Err(invalid(format!("Config value {verb} is not allowed for config key: {name}")));
            }
            Edit::Append(more) => {
                let mut items: Vec<_> = topic_config::items(in_effect(config)).collect();
                for item in topic_config::items(more) {
                    if !items.contains(&item) {
                        items.push(item);
                    }
                }
                items.join(",")
            }
            Edit::Subtract(less) => {
                let less: Vec<_> = topic_config::items(less).collect();
                let left = topic_config::items(in_effect(config)).filter(|item| !less.contains(item));
                left.collect::<Vec<_>>().join(",")
            }
        };
        topic_config::check_value(name, config.kind, config.valid, &value).map_err(|why| (bad_value, why))?;
        configs.insert(own_name.to_owned(), value);
    }
    Ok(configs)
}

/// Tells the partitions that are open.
fn configure(services: &Services, alteration: &Alteration) {
    let image = services.catalog.image();
    match alteration.resource_type {
        TOPIC => {
            let topic = image.topic(&alteration.resource_name);
            topic.into_iter().for_each(|topic| configure_topic(services, topic.clone()));
        }
        BROKER => image.topics.values().for_each(|topic| configure_topic(services, topic.clone())),
        // Groups look at the catalog.
        _ => {}
    }
}

/// Repeats while the catalog moves on: of two changes at once the later one must be the last that the log hears of.
fn configure_topic(services: &Services, topic: Arc<Topic>) {
    loop {
        let image = services.catalog.image();
        let Some(topic) = image.topic(topic.name.as_str()).filter(|now| now.id == topic.id) else { return };
        if topics::is_internal(topic.name.as_str()) {
            return;
        }
        let defaults = services.topic_defaults(&image);
        services.logs.configure(topic.id, Arc::new(log_config(&topic.configs, &defaults, false)));
        if services.catalog.image().version == image.version {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
