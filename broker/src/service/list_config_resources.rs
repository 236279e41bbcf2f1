//! ListConfigResources: what has configs. Version 0 is ListClientMetricsResources, and there are none of those.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use kafka_protocol::protocol::StrBytes;

use super::configs::{BROKER, GROUP, TOPIC};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::Image;

const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;

impl Service for ListConfigResourcesRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> ListConfigResourcesResponse {
        let (request, (), access) = request.into_parts();
        match resources(access.image(), services.config.node_id, context.version, &request.resource_types) {
            Ok(resources) => ListConfigResourcesResponse::default().with_config_resources(resources),
            Err(error) => ListConfigResourcesResponse::default().with_error_code(error.code()),
        }
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> ListConfigResourcesResponse {
        ListConfigResourcesResponse::default().with_error_code(refusal.0.code())
    }
}

/// Resources of these types, of all types when none is named: groups that have configs of their own. Types that Kafka
/// knows and that have no configs here (loggers, client metrics) are allowed and empty.
fn resources(image: &Image, node_id: i32, version: i16, types: &[i8]) -> Result<Vec<ConfigResource>, ResponseError> {
    let known: &[i8] =
        if version == 0 { &[CLIENT_METRICS] } else { &[TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP] };
    if types.iter().any(|kind| !known.contains(kind)) {
        return Err(ResponseError::UnsupportedVersion);
    }
    let wanted = |kind: i8| if types.is_empty() { known.contains(&kind) } else { types.contains(&kind) };
    let resource = |kind: i8, name: String| {
        ConfigResource::default().with_resource_type(kind).with_resource_name(StrBytes::from_string(name))
    };
    let mut resources = Vec::new();
    if wanted(TOPIC) {
        resources.extend(image.topics.keys().map(|name| resource(TOPIC, name.as_str().to_owned())));
    }
    if wanted(BROKER) {
        resources.push(resource(BROKER, node_id.to_string()));
    }
    if wanted(GROUP) {
        resources.extend(image.group_configs.keys().map(|group| resource(GROUP, group.clone())));
    }
    Ok(resources)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::catalog::{CatalogRecord, Topic, TopicName};

    #[test]
    fn each_type_is_listed_where_its_version_knows_it() {
        let mut image = Image::default();
        image.apply(&CatalogRecord::Topic(Topic {
            id: uuid::Uuid::from_u128(1),
            name: TopicName::parse("orders").expect("a valid name"),
            partitions: 1,
            replication_factor: 1,
            configs: BTreeMap::new(),
        }));
        let (group, name) = ("payments".to_owned(), "consumer.session.timeout.ms".to_owned());
        image.apply(&CatalogRecord::GroupConfig { group, name, value: Some("60000".to_owned()) });
        let list = |version, types: &[i8]| -> Result<Vec<(i8, String)>, ResponseError> {
            let found = resources(&image, 7, version, types)?;
            Ok(found.iter().map(|one| (one.resource_type, one.resource_name.to_string())).collect())
        };
        let (orders, seven) = ((2, "orders".to_owned()), (4, "7".to_owned()));
        let payments = (32, "payments".to_owned());
        assert_eq!(list(1, &[]), Ok(vec![orders.clone(), seven.clone(), payments.clone()]));
        assert_eq!(list(1, &[4, 4]), Ok(vec![seven]));
        assert_eq!(list(1, &[2]), Ok(vec![orders]));
        assert_eq!(list(1, &[8, 16, 32]), Ok(vec![payments]));
        assert_eq!(list(0, &[]), Ok(vec![]));
        for (version, kind) in [(1, 0), (1, 1), (1, -1), (1, 64), (0, 2)] {
            assert_eq!(list(version, &[kind]), Err(ResponseError::UnsupportedVersion), "type {kind} in {version}");
        }
    }
}
