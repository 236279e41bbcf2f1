//! DescribeConfigs: values with where they come from, and what else they could be.

use std::collections::{BTreeMap, HashSet};

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::configs::{ConfigsError, Resource, resource};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::Image;
use crate::catalog::broker_config::{self, FixedConfig};
use crate::catalog::group_config::{self, GROUP_CONFIGS};
use crate::catalog::topic_config::{ConfigSource, ConfigType, TOPIC_CONFIGS, TopicConfig, TopicDefaults};
use crate::config::Config;

impl Service for DescribeConfigsRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> DescribeConfigsResponse {
        let (request, denied, _) = request.into_parts();
        let mut results: Vec<_> = denied
            .into_iter()
            .map(|denied| failed(denied.resource_type, denied.resource_name, (denied.error, denied.error.to_string())))
            .collect();
        let image = services.catalog.image();
        let wanted = Wanted { synonyms: request.include_synonyms, documentation: request.include_documentation };
        let mut seen = HashSet::new();
        let named = request.resources.into_iter();
        let named = named.filter(|resource| seen.insert((resource.resource_type, resource.resource_name.clone())));
        results.extend(named.map(|resource| {
            match describe(&image, &services.config, &resource, wanted) {
                Ok(configs) => DescribeConfigsResult::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name)
                    .with_error_message(None)
                    .with_configs(configs),
                Err(error) => failed(resource.resource_type, resource.resource_name, error),
            }
        }));
        DescribeConfigsResponse::default().with_results(results)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> DescribeConfigsResponse {
        let refused = request.resources.iter().map(|resource| {
            failed(resource.resource_type, resource.resource_name.clone(), (refusal.0, refusal.0.to_string()))
        });
        DescribeConfigsResponse::default().with_results(refused.collect())
    }
}

/// What the request wants beside the values.
#[derive(Clone, Copy)]
struct Wanted {
    synonyms: bool,
    documentation: bool,
}

fn failed(resource_type: i8, name: StrBytes, (error, message): ConfigsError) -> DescribeConfigsResult {
    DescribeConfigsResult::default()
        .with_resource_type(resource_type)
        .with_resource_name(name)
        .with_error_code(error.code())
        .with_error_message(Some(StrBytes::from_string(message)))
}

fn describe(
    image: &Image,
    config: &Config,
    asked: &DescribeConfigsResource,
    wanted: Wanted,
) -> Result<Vec<DescribeConfigsResourceResult>, ConfigsError> {
    let keys = asked.configuration_keys.as_deref().filter(|keys| !keys.is_empty());
    let asked_for = |name: &str| keys.is_none_or(|keys| keys.iter().any(|key| &**key == name));
    let defaults = TopicDefaults { file: &config.topic_defaults, dynamic: &image.broker_configs };
    let dynamic = TOPIC_CONFIGS.iter().filter(|known| asked_for(known.broker_name) && !known.broker_name.is_empty());
    Ok(match resource(image, config, asked.resource_type, &asked.resource_name)? {
        Resource::Topic(topic) => {
            let known = TOPIC_CONFIGS.iter().filter(|known| asked_for(known.name));
            let own = Some(&topic.configs);
            known.map(|known| own_value(own, ConfigSource::Topic, known, &defaults).result(wanted)).collect()
        }
        Resource::Broker => {
            let fixed = broker_config::fixed(config).filter(|fixed| asked_for(fixed.name));
            let fixed = fixed.map(|fixed| fixed_value(fixed).result(wanted));
            fixed.chain(dynamic.map(|known| broker_value(known, &defaults).result(wanted))).collect()
        }
        Resource::Brokers => {
            let set = dynamic.filter(|known| image.broker_configs.contains_key(known.broker_name));
            set.map(|known| broker_value(known, &defaults).result(wanted)).collect()
        }
        Resource::Group(group) => {
            let file = group_config::from_file(&config.groups);
            let defaults = TopicDefaults { file: &file, dynamic: &image.broker_configs };
            let own = image.group_configs.get(&group);
            let known = GROUP_CONFIGS.iter().filter(|known| asked_for(known.name));
            known.map(|known| own_value(own, ConfigSource::Group, known, &defaults).result(wanted)).collect()
        }
    })
}

/// One config and every value it could have, the one that counts first.
struct Described {
    name: &'static str,
    kind: ConfigType,
    doc: &'static str,
    read_only: bool,
    /// Source, name there, value.
    values: Vec<(ConfigSource, &'static str, String)>,
}

/// The value of a topic or group, whose own configs come before the broker's.
fn own_value(
    own: Option<&BTreeMap<String, String>>,
    source: ConfigSource,
    known: &'static TopicConfig,
    defaults: &TopicDefaults,
) -> Described {
    let own = own.and_then(|own| own.get(known.name)).map(|value| (source, known.name, value.clone()));
    let broker_name = if known.broker_name.is_empty() { known.name } else { known.broker_name };
    let others = defaults.all(known).map(|(source, value)| (source, broker_name, value.to_owned()));
    let values = own.into_iter().chain(others).collect();
    Described { name: known.name, kind: known.kind, doc: known.doc, read_only: false, values }
}

fn broker_value(known: &'static TopicConfig, defaults: &TopicDefaults) -> Described {
    let values = defaults.all(known).map(|(source, value)| (source, known.broker_name, value.to_owned())).collect();
    Described { name: known.broker_name, kind: known.kind, doc: known.doc, read_only: false, values }
}

fn fixed_value(fixed: FixedConfig) -> Described {
    let set = fixed.value != fixed.default;
    let set = set.then_some((ConfigSource::StaticBroker, fixed.name, fixed.value));
    let values = set.into_iter().chain([(ConfigSource::Default, fixed.name, fixed.default)]).collect();
    Described { name: fixed.name, kind: fixed.kind, doc: fixed.doc, read_only: true, values }
}

impl Described {
    fn result(self, wanted: Wanted) -> DescribeConfigsResourceResult {
        let first = self.values.first();
        let source = first.map_or(ConfigSource::Default, |(source, ..)| *source);
        let value = first.map(|(.., value)| StrBytes::from_string(value.clone()));
        let synonym = |(source, name, value): (ConfigSource, &'static str, String)| {
            DescribeConfigsSynonym::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_string(value)))
                .with_source(source as i8)
        };
        let synonyms = if wanted.synonyms { self.values.into_iter().map(synonym).collect() } else { Vec::new() };
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(self.name))
            .with_value(value)
            .with_read_only(self.read_only)
            .with_config_source(source as i8)
            .with_is_sensitive(false)
            .with_synonyms(synonyms)
            .with_config_type(self.kind as i8)
            .with_documentation(wanted.documentation.then(|| StrBytes::from_static_str(self.doc)))
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::ResponseError;

    use super::*;
    use crate::catalog::{CatalogRecord, Topic, TopicName};

    fn image() -> Image {
        let mut image = Image::default();
        image.apply(&CatalogRecord::Topic(Topic {
            id: uuid::Uuid::from_u128(1),
            name: TopicName::parse("orders").expect("a valid name"),
            partitions: 1,
            replication_factor: 1,
            configs: BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]),
        }));
        let (group, name) = ("payments".to_owned(), "consumer.session.timeout.ms".to_owned());
        image.apply(&CatalogRecord::GroupConfig { group, name, value: Some("60000".to_owned()) });
        let name = "log.retention.ms".to_owned();
        image.apply(&CatalogRecord::BrokerConfig { name, value: Some("2000".to_owned()) });
        image
    }

    fn ask(kind: i8, name: &str, keys: &[&'static str]) -> Result<Vec<DescribeConfigsResourceResult>, ConfigsError> {
        let asked = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(StrBytes::from_string(name.to_owned()))
            .with_configuration_keys(Some(keys.iter().map(|key| StrBytes::from_static_str(key)).collect()));
        let mut config = Config::default();
        config.topic_defaults.insert("retention.ms".to_owned(), "3000".to_owned());
        describe(&image(), &config, &asked, Wanted { synonyms: true, documentation: true })
    }

    #[test]
    fn a_topics_value_comes_with_everything_it_hides() {
        let configs = ask(2, "orders", &["retention.ms"]).expect("the topic exists");
        assert_eq!(configs.len(), 1);
        assert_eq!((configs[0].value.as_deref(), configs[0].config_source), (Some("1000"), 1));
        let synonyms: Vec<_> = configs[0]
            .synonyms
            .iter()
            .map(|one| (&*one.name, one.value.as_deref().unwrap_or(""), one.source))
            .collect();
        let expected = [
            ("retention.ms", "1000", 1),
            ("log.retention.ms", "2000", 3),
            ("log.retention.ms", "3000", 4),
            ("log.retention.ms", "604800000", 5),
        ];
        assert_eq!(synonyms, expected);
        assert!(configs[0].documentation.is_some());
        assert_eq!(configs[0].config_type, ConfigType::Long as i8);
        assert_eq!(ask(2, "orders", &[]).expect("the topic exists").len(), TOPIC_CONFIGS.len());
    }

    #[test]
    fn a_broker_shows_its_settings_and_the_dynamic_defaults() {
        let configs = ask(4, "1", &[]).expect("this broker");
        let find = |name: &str| configs.iter().find(|config| &*config.name == name).expect("a broker config");
        assert!(find("node.id").read_only);
        assert_eq!((find("log.retention.ms").read_only, find("log.retention.ms").config_source), (false, 3));
        let defaults = ask(4, "", &[]).expect("the defaults of all brokers");
        assert_eq!(defaults.iter().map(|config| &*config.name).collect::<Vec<_>>(), ["log.retention.ms"]);
    }

    #[test]
    fn a_groups_value_hides_the_brokers() {
        let values = |group| -> Vec<_> {
            let configs = ask(32, group, &[]).expect("any group can have configs");
            configs
                .iter()
                .map(|one| (one.name.to_string(), one.value.as_deref().map(str::to_owned), one.config_source))
                .collect()
        };
        let value = |name: &str, value: &str, source| (name.to_owned(), Some(value.to_owned()), source);
        let interval = value("consumer.heartbeat.interval.ms", "5000", 5);
        assert_eq!(values("payments"), [interval.clone(), value("consumer.session.timeout.ms", "60000", 8)]);
        assert_eq!(values("orders"), [interval, value("consumer.session.timeout.ms", "45000", 5)]);
    }

    #[test]
    fn resources_that_do_not_exist() {
        for (kind, name, error) in [
            (2, "nothing", ResponseError::UnknownTopicOrPartition),
            (2, "a b", ResponseError::InvalidTopicException),
            (4, "2", ResponseError::InvalidRequest),
            (4, "one", ResponseError::InvalidRequest),
            (8, "1", ResponseError::InvalidRequest),
            (32, "", ResponseError::InvalidRequest),
        ] {
            assert_eq!(ask(kind, name, &[]).expect_err("there is no such resource").0, error, "{kind} {name}");
        }
    }
}
