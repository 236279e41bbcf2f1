//! DescribeClientQuotas: the quotas of every entity that a filter fits.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::quota::{EntityType, QuotaEntity, QuotaValues};

/// Wire codes of match types.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

impl Service for DescribeClientQuotasRequest {
    async fn serve(_: &Services, _: &Context, request: Authorized<Self>) -> DescribeClientQuotasResponse {
        let (request, (), access) = request.into_parts();
        match Filter::new(&request.components, request.strict) {
            Ok(filter) => {
                let quotas = access.image().quotas.iter();
                let entries =
                    quotas.filter(|(entity, _)| filter.fits(entity)).map(|(entity, values)| entry(entity, values));
                DescribeClientQuotasResponse::default().with_error_message(None).with_entries(Some(entries.collect()))
            }
            Err((error, message)) => failed(error, Some(message)),
        }
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> DescribeClientQuotasResponse {
        failed(refusal.0, Some(refusal.0.to_string()))
    }
}

fn failed(error: ResponseError, message: Option<String>) -> DescribeClientQuotasResponse {
    DescribeClientQuotasResponse::default()
        .with_error_code(error.code())
        .with_error_message(message.map(StrBytes::from_string))
        .with_entries(None)
}

fn entry(entity: &QuotaEntity, values: &QuotaValues) -> EntryData {
    let entity = entity.0.iter().map(|(kind, name)| {
        let name = name.clone().map(StrBytes::from_string);
        EntityData::default().with_entity_type(StrBytes::from_static_str(kind.name())).with_entity_name(name)
    });
    let values = values
        .iter()
        .map(|(key, value)| ValueData::default().with_key(StrBytes::from_static_str(key.name())).with_value(value.0));
    EntryData::default().with_entity(entity.collect()).with_values(values.collect())
}

/// What each type must be.
enum Match {
    Name(Option<String>),
    Anything,
}

struct Filter {
    wanted: BTreeMap<EntityType, Match>,
    /// The entity has no other types.
    strict: bool,
}

impl Filter {
    /// Checks in Kafka's order, with Kafka's messages.
    fn new(components: &[ComponentData], strict: bool) -> Result<Self, (ResponseError, String)> {
        let invalid = |message: String| (ResponseError::InvalidRequest, message);
        let mut wanted = BTreeMap::new();
        for component in components {
            let name = &*component.entity_type;
            if name.is_empty() {
                return Err(invalid("Invalid empty entity type.".to_owned()));
            }
            let Some(kind) = EntityType::parse(name) else {
                return Err((ResponseError::UnsupportedVersion, format!("Unsupported entity type {name}")));
            };
            if wanted.contains_key(&kind) {
                return Err(invalid(format!("Entity type {name} cannot appear more than once in the filter.")));
            }
            let matched = match (component.match_type, component._match.as_deref()) {
                (EXACT, Some(name)) => Match::Name(Some(name.to_owned())),
                (EXACT, None) => {
                    let message = "Request specified MATCH_TYPE_EXACT, but set match string to null.";
                    return Err(invalid(message.to_owned()));
                }
                (DEFAULT, None) => Match::Name(None),
                (SPECIFIED, None) => Match::Anything,
                (code @ (DEFAULT | SPECIFIED), Some(_)) => {
                    let name = if code == DEFAULT { "DEFAULT" } else { "SPECIFIED" };
                    let message = format!("Request specified MATCH_TYPE_{name}, but also specified a match string.");
                    return Err(invalid(message));
                }
                (code, _) => return Err(invalid(format!("Unknown match type {code}"))),
            };
            wanted.insert(kind, matched);
        }
        if wanted.contains_key(&EntityType::Ip) && wanted.len() > 1 {
            let message = "Invalid entity filter component combination. IP filter component should not be used with \
                           user or clientId filter component.";
            return Err(invalid(message.to_owned()));
        }
        Ok(Self { wanted, strict })
    }

    fn fits(&self, entity: &QuotaEntity) -> bool {
        if self.strict && entity.0.len() != self.wanted.len() {
            return false;
        }
        self.wanted.iter().all(|(kind, wanted)| match (entity.0.get(kind), wanted) {
            (Some(name), Match::Name(wanted)) => name == wanted,
            (Some(_), Match::Anything) => true,
            (None, _) => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(kind: &str, match_type: i8, name: Option<&str>) -> ComponentData {
        let name = name.map(|name| StrBytes::from_string(name.to_owned()));
        let component = ComponentData::default().with_entity_type(StrBytes::from_string(kind.to_owned()));
        component.with_match_type(match_type).with_match(name)
    }

    fn entity(parts: &[(EntityType, Option<&str>)]) -> QuotaEntity {
        QuotaEntity(parts.iter().map(|(kind, name)| (*kind, name.map(str::to_owned))).collect())
    }

    #[test]
    fn filters_fit_as_kafkas_do() {
        use EntityType::*;
        let alice = entity(&[(User, Some("alice"))]);
        let pair = entity(&[(User, Some("alice")), (ClientId, None)]);
        let cases = [
            (vec![], false, true, true),
            (vec![], true, false, false),
            (vec![component("user", EXACT, Some("alice"))], false, true, true),
            (vec![component("user", EXACT, Some("alice"))], true, true, false),
            (vec![component("user", EXACT, Some("bob"))], false, false, false),
            (vec![component("user", DEFAULT, None)], false, false, false),
            (vec![component("client-id", DEFAULT, None)], false, false, true),
            (vec![component("user", SPECIFIED, None), component("client-id", SPECIFIED, None)], true, false, true),
        ];
        for (components, strict, fits_alice, fits_pair) in cases {
            let filter = Filter::new(&components, strict).unwrap_or_else(|_| panic!("{components:?} is valid"));
            assert_eq!((filter.fits(&alice), filter.fits(&pair)), (fits_alice, fits_pair), "{components:?} {strict}");
        }
    }

    #[test]
    fn filters_that_make_no_sense_are_refused() {
        let invalid = [
            vec![component("", EXACT, Some("a"))],
            vec![component("user", EXACT, None)],
            vec![component("user", DEFAULT, Some("a"))],
            vec![component("user", SPECIFIED, Some("a"))],
            vec![component("user", 3, None)],
            vec![component("user", DEFAULT, None), component("user", SPECIFIED, None)],
            vec![component("ip", DEFAULT, None), component("user", SPECIFIED, None)],
        ];
        for components in invalid {
            let error = Filter::new(&components, false).err().map(|error| error.0);
            assert_eq!(error, Some(ResponseError::InvalidRequest), "{components:?}");
        }
        let unknown = Filter::new(&[component("group", DEFAULT, None)], false).err().map(|error| error.0);
        assert_eq!(unknown, Some(ResponseError::UnsupportedVersion));
    }
}
