//! AlterClientQuotas: sets and removes rates. An entity with anything invalid keeps everything as it is; the other
//! entities' changes happen, all in one change.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::IpAddr;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_client_quotas_request::{EntryData, OpData};
use kafka_protocol::messages::alter_client_quotas_response::{EntityData, EntryData as Answer};
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::quota::{EntityType, QuotaEntity, QuotaKey, QuotaValue};
use crate::catalog::{CatalogRecord, Image};
use crate::limits;

type Outcome = Result<Vec<CatalogRecord>, String>;

impl Service for AlterClientQuotasRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> AlterClientQuotasResponse {
        let (request, (), _) = request.into_parts();
        let changed = services.catalog.change::<_, Infallible>(|image| {
            let mut outcomes = decide(image, &request.entries);
            let records = outcomes.iter_mut().filter_map(|outcome| outcome.as_mut().ok()).flat_map(std::mem::take);
            let records: Vec<_> = records.collect();
            Ok((if request.validate_only { Vec::new() } else { records.clone() }, (outcomes, records)))
        });
        let entries = match changed.await {
            Ok((outcomes, records)) => {
                if !request.validate_only {
                    services.quotas.apply(&services.catalog.image());
                    told(context, &records);
                }
                let failed =
                    outcomes.into_iter().map(|outcome| outcome.err().map(|why| (ResponseError::InvalidRequest, why)));
                request.entries.iter().zip(failed).map(|(entry, failed)| answer(entry, failed)).collect()
            }
            Err(error) => {
                let storage = || Some((ResponseError::KafkaStorageError, error.to_string()));
                request.entries.iter().map(|entry| answer(entry, storage())).collect()
            }
        };
        AlterClientQuotasResponse::default().with_entries(entries)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> AlterClientQuotasResponse {
        let refused = request.entries.iter().map(|entry| answer(entry, Some((refusal.0, refusal.0.to_string()))));
        AlterClientQuotasResponse::default().with_entries(refused.collect())
    }
}

/// Says who changed what: a quota may bring a service to a stand.
fn told(context: &Context, records: &[CatalogRecord]) {
    for record in records {
        let CatalogRecord::ClientQuota { entity, key, value } = record else { continue };
        tracing::info!(
            target: "lockgate::audit",
            principal = ?context.session.principal.as_str(),
            host = %context.session.host,
            entity = ?entity.to_string(),
            key = key.name(),
            value = value.map(|value| value.0),
            "quota changed"
        );
    }
}

fn answer(entry: &EntryData, failed: Option<(ResponseError, String)>) -> Answer {
    let entity = entry.entity.iter().map(|part| {
        EntityData::default().with_entity_type(part.entity_type.clone()).with_entity_name(part.entity_name.clone())
    });
    let answer = Answer::default().with_entity(entity.collect()).with_error_message(None);
    match failed {
        None => answer,
        Some((error, message)) => {
            answer.with_error_code(error.code()).with_error_message(Some(StrBytes::from_string(message)))
        }
    }
}

/// One outcome per entry, in their order.
fn decide(image: &Image, entries: &[EntryData]) -> Vec<Outcome> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for entry in entries {
        let parts: Parts = parts(entry);
        if !seen.insert(parts.clone()) {
            twice.insert(parts);
        }
    }
    let mut room = limits::QUOTA_ENTITIES.saturating_sub(image.quotas.len());
    let mut decide = |entry: &EntryData| {
        let entity = entity(entry)?;
        if twice.contains(&parts(entry)) {
            return Err(format!("Ignoring duplicate entity {entity}"));
        }
        let records = records(image, &entity, &entry.ops)?;
        if !image.quotas.contains_key(&entity) && !records.is_empty() {
            room = room
                .checked_sub(1)
                .ok_or(format!("There are {} quotas, which is the limit.", limits::QUOTA_ENTITIES))?;
        }
        Ok(records)
    };
    entries.iter().map(&mut decide).collect()
}

type Parts = BTreeSet<(StrBytes, Option<StrBytes>)>;

fn parts(entry: &EntryData) -> Parts {
    entry.entity.iter().map(|part| (part.entity_type.clone(), part.entity_name.clone())).collect()
}

/// The entity, or what is wrong with it in Kafka's words.
fn entity(entry: &EntryData) -> Result<QuotaEntity, String> {
    if entry.entity.is_empty() {
        return Err("Invalid empty client quota entity".to_owned());
    }
    let mut entity = BTreeMap::new();
    for part in &entry.entity {
        let (kind, name) = (&*part.entity_type, part.entity_name.as_deref());
        let Some(known) = EntityType::parse(kind) else {
            return Err(format!("Unhandled client quota entity type: {kind}"));
        };
        if entity.insert(known, name.map(str::to_owned)).is_some() {
            return Err(format!("Invalid client quota entity, duplicate entity entry {kind}"));
        }
        match name {
            Some("") => return Err(format!("Empty {kind} not supported")),
            Some(name) if name.len() > limits::QUOTA_NAME => {
                return Err(format!("The name of a {kind} has at most {} bytes", limits::QUOTA_NAME));
            }
            _ => {}
        }
    }
    if let Some(address) = entity.get(&EntityType::Ip) {
        if entity.len() > 1 {
            let message = "Invalid quota entity combination, IP entity should not be combined with User or ClientId";
            return Err(message.to_owned());
        }
        if let Some(address) = address.as_ref().filter(|address| address.parse::<IpAddr>().is_err()) {
            return Err(format!("{address} is not a valid IP or resolvable host."));
        }
    }
    Ok(QuotaEntity(entity))
}

fn records(image: &Image, entity: &QuotaEntity, ops: &[OpData]) -> Outcome {
    let mut named = BTreeSet::new();
    let mut records = Vec::new();
    for op in ops {
        if !named.insert(&*op.key) {
            return Err(format!("Duplicate quota key {} not updating quota for this entity {entity}", &*op.key));
        }
        let current = |key| image.quotas.get(entity).and_then(|values| values.get(&key)).copied();
        let known = QuotaKey::parse(&op.key).filter(|key| fits(*key, entity));
        let value = match (op.remove, known) {
            // Removing what is not there is no mistake, whatever its name.
            (true, None) => continue,
            (true, Some(_)) => None,
            (false, None) => return Err(format!("Invalid configuration key {}", &*op.key)),
            (false, Some(key)) => Some(QuotaValue(valid(key, op.value)?)),
        };
        if let Some(key) = known.filter(|key| current(*key) != value) {
            records.push(CatalogRecord::ClientQuota { entity: entity.clone(), key, value });
        }
    }
    Ok(records)
}

/// Addresses are limited in their connections, everybody else in the rest.
fn fits(key: QuotaKey, entity: &QuotaEntity) -> bool {
    entity.0.contains_key(&EntityType::Ip) == (key == QuotaKey::ConnectionCreationRate)
}

/// Kafka's checks: byte rates are longs, connections ints, the others doubles.
fn valid(key: QuotaKey, value: f64) -> Result<f64, String> {
    let name = key.name();
    if value <= 0.0 {
        return Err(format!("Quota {name} must be greater than 0"));
    }
    let (largest, kind) = match key {
        QuotaKey::ProducerByteRate | QuotaKey::ConsumerByteRate => (i64::MAX as f64, "LONG"),
        QuotaKey::ConnectionCreationRate => (f64::from(i32::MAX), "INT"),
        QuotaKey::RequestPercentage | QuotaKey::ControllerMutationRate => (f64::MAX, "DOUBLE"),
    };
    if value.is_nan() || value > largest {
        return Err(format!("Proposed value for {name} is too large for a {kind}."));
    }
    if kind != "DOUBLE" && value % 1.0 > 1e-6 {
        return Err(format!("{name} cannot be a fractional value."));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::alter_client_quotas_request::EntityData;

    fn text(text: &str) -> StrBytes {
        StrBytes::from_string(text.to_owned())
    }

    fn entry(entity: &[(&str, Option<&str>)], ops: &[(&str, Option<f64>)]) -> EntryData {
        let part = |(kind, name): &(&str, Option<&str>)| {
            EntityData::default().with_entity_type(text(kind)).with_entity_name(name.map(text))
        };
        let op = |(key, value): &(&str, Option<f64>)| {
            OpData::default().with_key(text(key)).with_value(value.unwrap_or_default()).with_remove(value.is_none())
        };
        let entry = EntryData::default().with_entity(entity.iter().map(part).collect());
        entry.with_ops(ops.iter().map(op).collect())
    }

    fn apply(image: &mut Image, entries: &[EntryData]) {
        for outcome in decide(image, entries) {
            outcome.expect("valid").iter().for_each(|record| image.apply(record));
        }
    }

    #[test]
    fn rates_are_set_changed_removed_and_survive_a_snapshot() {
        let mut image = Image::default();
        let alice = [("user", Some("alice")), ("client-id", None)];
        apply(&mut image, &[entry(&alice, &[("producer_byte_rate", Some(1e6)), ("request_percentage", Some(12.34))])]);
        apply(&mut image, &[entry(&alice, &[("producer_byte_rate", Some(2e6)), ("consumer_byte_rate", None)])]);
        let again = decide(&image, &[entry(&alice, &[("producer_byte_rate", Some(2e6)), ("nonsense", None)])]);
        assert_eq!(again, [Ok(Vec::new())], "what is so already needs no record");
        let values = image.quotas.values().next().expect("one entity");
        let expected = [(QuotaKey::ProducerByteRate, 2e6), (QuotaKey::RequestPercentage, 12.34)];
        assert_eq!(values.iter().map(|(key, value)| (*key, value.0)).collect::<Vec<_>>(), expected);
        let mut copy = Image::default();
        for record in image.snapshot() {
            let json = serde_json::to_vec(&record).expect("a record is JSON");
            copy.apply(&serde_json::from_slice(&json).expect("and is read again"));
        }
        assert_eq!(copy.quotas, image.quotas);
        apply(&mut image, &[entry(&alice, &[("producer_byte_rate", None), ("request_percentage", None)])]);
        assert!(image.quotas.is_empty());
    }

    #[test]
    fn what_is_invalid_is_refused_in_kafkas_words() {
        let rate = [("producer_byte_rate", Some(1.0))];
        let user = [("user", Some("u"))];
        let cases = [
            (entry(&[], &rate), "Invalid empty client quota entity"),
            (entry(&[("group", Some("g"))], &rate), "Unhandled client quota entity type: group"),
            (entry(&[("user", Some(""))], &rate), "Empty user not supported"),
            (entry(&[("user", Some("a")), ("user", None)], &rate), "duplicate entity entry user"),
            (entry(&[("ip", None), ("user", None)], &rate), "IP entity should not be combined"),
            (entry(&[("ip", Some("nowhere"))], &rate), "nowhere is not a valid IP"),
            (entry(&[("ip", None)], &rate), "Invalid configuration key producer_byte_rate"),
            (entry(&user, &[("connection_creation_rate", Some(1.0))]), "Invalid configuration key"),
            (entry(&user, &[("nonsense", Some(1.0))]), "Invalid configuration key nonsense"),
            (entry(&user, &[("producer_byte_rate", Some(0.0))]), "must be greater than 0"),
            (entry(&user, &[("producer_byte_rate", Some(1.5))]), "cannot be a fractional value"),
            (entry(&user, &[("producer_byte_rate", Some(1e19))]), "too large for a LONG"),
            (entry(&user, &[("request_percentage", Some(f64::NAN))]), "too large for a DOUBLE"),
            (entry(&[("ip", None)], &[("connection_creation_rate", Some(3e9))]), "too large for a INT"),
            (entry(&user, &[rate[0], rate[0]]), "Duplicate quota key producer_byte_rate"),
        ];
        for (entry, message) in cases {
            let outcome = decide(&Image::default(), std::slice::from_ref(&entry)).remove(0);
            let error = outcome.expect_err(message);
            assert!(error.contains(message), "{error:?} instead of {message:?}");
        }
    }

    #[test]
    fn one_entitys_mistake_leaves_the_others_changes() {
        let rate = [("consumer_byte_rate", Some(1000.0))];
        let entries = [
            entry(&[("user", Some("a"))], &rate),
            entry(&[("user", Some("b"))], &[("consumer_byte_rate", Some(-1.0))]),
            entry(&[("user", Some("c"))], &rate),
            entry(&[("user", Some("c"))], &rate),
        ];
        let outcomes = decide(&Image::default(), &entries);
        assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, false]);
    }
}
