//! `lockgate_quota`: the rates of one entity: a user, a client id, both together, or an address.
//!
//! A resource owns only the rates that it names. Others of the same entity are somebody else's: they are not shown, not
//! changed and not removed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lockgate_client::admin::{QuotaEntity, QuotaName};
use tonic::async_trait;

use super::{connection_for_apply, connection_for_read, failed, in_cluster, quota_id, refusal};
use crate::session::Session;
use crate::tfplugin::{
    Applied, Attribute, AttributePath, Diagnostic, Diagnostics, Private, ReadOutcome, Resource, Schema, Type, Value,
};

/// What can be limited. Attributes have the names of Kafka's keys.
struct Rate {
    name: &'static str,
    description: &'static str,
    allowed: &'static str,
    /// The largest whole number; `None` where fractions are allowed.
    largest: Option<i64>,
    /// Whether it limits addresses, and not users and client ids.
    of_addresses: bool,
}

static RATES: [Rate; 4] = [
    Rate {
        name: "producer_byte_rate",
        description: "Bytes per second that may be produced to one broker.",
        allowed: "a whole number of bytes per second from 1",
        largest: Some(i64::MAX),
        of_addresses: false,
    },
    Rate {
        name: "consumer_byte_rate",
        description: "Bytes per second that may be fetched from one broker.",
        allowed: "a whole number of bytes per second from 1",
        largest: Some(i64::MAX),
        of_addresses: false,
    },
    Rate {
        name: "request_percentage",
        description: "Share of a broker's request threads that requests may take, in percent of one thread.",
        allowed: "a number above 0",
        largest: None,
        of_addresses: false,
    },
    Rate {
        name: "connection_creation_rate",
        description: "Connections per second that an address may open to one broker. Only with `ip`.",
        allowed: "a whole number of connections per second from 1 to 2147483647",
        largest: Some(i32::MAX as i64),
        of_addresses: true,
    },
];

/// The names of all rates, which are attributes of resource and data source alike.
pub(crate) fn rates() -> impl Iterator<Item = (&'static str, &'static str)> {
    RATES.iter().map(|rate| (rate.name, rate.description))
}

/// Quotas.
pub struct QuotaResource {
    session: Session,
}

impl QuotaResource {
    pub fn new(session: Session) -> Self {
        Self { session }
    }
}

#[async_trait]
impl Resource for QuotaResource {
    fn type_name(&self) -> &'static str {
        "lockgate_quota"
    }

    fn schema(&self) -> Schema {
        let part = |name, description| Attribute::optional(name, Type::String, description).replaces();
        let entity = [
            part("user", "The user, or `<default>` for each user without a quota of their own."),
            part("client_id", "The client id, or `<default>` for each client id without a quota of its own."),
            part(
                "ip",
                "The clients' address, or `<default>` for each address without a quota of its own. Stands alone.",
            ),
        ];
        let rates = rates().map(|(name, description)| Attribute::optional(name, Type::Number, description));
        Schema::new(
            "How much a user, a client id, both together, or an address may use. The resource owns the rates that it names, \
             and no others: a rate that is taken out of it is removed, and one that it never named stays.",
            entity.into_iter().chain(rates).collect(),
        )
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        let mut problem = |attribute: &str, detail: String| {
            let path = AttributePath::root(attribute);
            diagnostics.push(Diagnostic::error(format!("Invalid {attribute}"), detail).at(path));
        };
        if let Some((attribute, detail)) = entity_problem(config) {
            problem(attribute, detail);
        }
        if RATES.iter().all(|rate| config.attr(rate.name).is_null()) {
            let names: Vec<_> = RATES.iter().map(|rate| rate.name).collect();
            problem(names[0], format!("A quota needs at least one of: {}.", names.join(", ")));
        }
        for rate in &RATES {
            if let Some(detail) = rate_problem(rate, config) {
                problem(rate.name, detail);
            }
        }
        diagnostics
    }

    async fn read(&self, state: Value, private: Private) -> ReadOutcome {
        let connection = match connection_for_read(&self.session, &state, &private).await {
            Ok(connection) => connection,
            Err(outcome) => return *outcome,
        };
        let entity = entity(&state);
        match connection.admin.quotas(&entity, true).await {
            Ok(quotas) => {
                let found = quotas.into_iter().find(|quota| quota.entity == entity);
                let state = found.and_then(|quota| observed(state, &quota.values));
                ReadOutcome { state, private: in_cluster(&connection, private), diagnostics: Diagnostics::new() }
            }
            Err(error) => {
                let diagnostics = refusal(&format!("read the quota of {entity}"), &error).into();
                ReadOutcome { state: Some(state), private, diagnostics }
            }
        }
    }

    async fn create(&self, planned: Value, _config: Value) -> Applied {
        self.change("create", Value::Null, planned, Private::default()).await
    }

    async fn update(&self, prior: Value, planned: Value, _config: Value, private: Private) -> Applied {
        self.change("update", prior, planned, private).await
    }

    async fn delete(&self, prior: Value, private: Private) -> Applied {
        self.change("delete", prior, Value::Null, private).await
    }

    async fn import(&self, id: &str) -> Result<Value, Diagnostic> {
        let entity = quota_id::parse(id).map_err(|sentence| Diagnostic::error("Invalid import id", sentence))?;
        let mut state = Value::object(parts(&entity));
        RATES.iter().for_each(|rate| state.set_attr(rate.name, Value::Null));
        Ok(state)
    }
}

impl QuotaResource {
    /// Takes the rates from one state to another, in one request; null is none.
    async fn change(&self, verb: &str, prior: Value, planned: Value, private: Private) -> Applied {
        let kept = Some(prior.clone()).filter(|prior| !prior.is_null());
        let entity = entity(if planned.is_null() { &prior } else { &planned });
        let what = format!("{verb} the quota of {entity}");
        let connection = match connection_for_apply(&self.session, &what, &private).await {
            Ok(connection) => connection,
            Err(error) => return failed(kept, private, error),
        };
        match connection.admin.alter_quota(&entity, &changes(&prior, &planned)).await {
            Ok(()) => {
                let state = Some(planned).filter(|planned| !planned.is_null());
                Applied { state, private: in_cluster(&connection, private), diagnostics: Diagnostics::new() }
            }
            Err(error) => failed(kept, private, refusal(&what, &error)),
        }
    }
}

pub(crate) fn entity(value: &Value) -> QuotaEntity {
    let part = |attribute: &str| value.attr(attribute).as_str().map(quota_id::name);
    QuotaEntity { user: part("user"), client_id: part("client_id"), ip: part("ip") }
}

/// The attributes of an entity, in resource and data source alike.
pub(crate) fn parts(entity: &QuotaEntity) -> [(&'static str, Value); 3] {
    let part = |name: &Option<QuotaName>| Value::from(name.as_ref().map(quota_id::text));
    [("user", part(&entity.user)), ("client_id", part(&entity.client_id)), ("ip", part(&entity.ip))]
}

/// What takes the rates from one state to another; `None` removes one.
fn changes(prior: &Value, planned: &Value) -> BTreeMap<String, Option<f64>> {
    let of = |value: &Value, rate: &Rate| value.attr(rate.name).as_f64();
    let changed = RATES.iter().filter(|rate| of(prior, rate) != of(planned, rate));
    changed.map(|rate| (rate.name.to_owned(), of(planned, rate))).collect()
}

/// The rates that the state names, as they are now, or `None` when none of them is left. An import takes all.
fn observed(mut state: Value, values: &BTreeMap<String, f64>) -> Option<Value> {
    let imported = RATES.iter().all(|rate| state.attr(rate.name).is_null());
    for rate in &RATES {
        let known = state.attr(rate.name);
        let now = values.get(rate.name).filter(|_| imported || !known.is_null());
        // A broker knows floats, and a configured number may have more digits than they hold.
        if known.as_f64() != now.copied() {
            state.set_attr(rate.name, Value::from(now.copied()));
        }
    }
    RATES.iter().any(|rate| !state.attr(rate.name).is_null()).then_some(state)
}

fn entity_problem(config: &Value) -> Option<(&'static str, String)> {
    let known = |attribute: &str| config.attr(attribute).as_str();
    let none = ["user", "client_id", "ip"].into_iter().all(|attribute| config.attr(attribute).is_null());
    if none {
        let detail = "A quota needs to know for whom it is: set user, client_id, both, or ip.";
        return Some(("user", detail.to_owned()));
    }
    for attribute in ["user", "client_id"] {
        if known(attribute) == Some("") {
            let detail = format!("{attribute} is \"\", and must be a name, or \"<default>\" for the default.");
            return Some((attribute, detail));
        }
        if let (Some(ip), Some(name)) = (known("ip"), known(attribute)) {
            let detail = format!(
                "ip is {ip:?}, and {attribute} is {name:?}: an address stands alone. Remove one of them; a quota can name \
                 user, client_id, both, or ip."
            );
            return Some(("ip", detail));
        }
    }
    let ip = known("ip").filter(|ip| *ip != quota_id::DEFAULT && ip.parse::<IpAddr>().is_err())?;
    let detail =
        format!("ip is {ip:?}, and must be an address such as 10.0.0.1 or ::1, or \"<default>\" for the default.");
    Some(("ip", detail))
}

fn rate_problem(rate: &Rate, config: &Value) -> Option<String> {
    let Value::Number(number) = config.attr(rate.name) else { return None };
    let is_set = |attribute: &str| config.attr(attribute).as_str().is_some();
    let (name, of_user) = (rate.name, is_set("user") || is_set("client_id"));
    if rate.of_addresses && of_user && config.attr("ip").is_null() {
        return Some(format!(
            "{name} is {number}, and is allowed only with ip: users and client ids have no such rate."
        ));
    }
    if !rate.of_addresses && is_set("ip") && !of_user {
        return Some(format!("{name} is {number}, and ip is allowed only with connection_creation_rate."));
    }
    let value = config.attr(name);
    let fits = match rate.largest {
        Some(largest) => value.as_i64().is_some_and(|n| (1..=largest).contains(&n)),
        None => value.as_f64().is_some_and(|f| f > 0.0),
    };
    (!fits).then(|| format!("{name} is {number}, and must be {}.", rate.allowed))
}

#[cfg(test)]
mod tests {
    use lockgate_client::ErrorCode;

    use super::*;
    use crate::fake::FakeCluster;
    use crate::tfplugin::plan_by_schema;

    fn config(attributes: &[(&str, Value)]) -> Value {
        let mut config = Value::object::<String>([]);
        for attribute in QuotaResource::new(Session::default()).schema().attributes() {
            config.set_attr(attribute.name(), Value::Null);
        }
        for (name, value) in attributes {
            config.set_attr(name, value.clone());
        }
        config
    }

    fn alice(rates: &[(&str, Value)]) -> Value {
        config(&[&[("user", Value::from("alice"))][..], rates].concat())
    }

    fn entity_of_alice() -> QuotaEntity {
        entity(&alice(&[]))
    }

    async fn quotas(cluster: &FakeCluster) -> QuotaResource {
        QuotaResource::new(cluster.session().await)
    }

    fn present(cluster: &FakeCluster) -> Vec<(String, f64)> {
        cluster.contents().quotas.get(&entity_of_alice()).into_iter().flatten().map(|(k, v)| (k.clone(), *v)).collect()
    }

    #[tokio::test]
    async fn it_owns_what_it_names_and_leaves_the_rest() {
        let cluster = FakeCluster::default();
        let quotas = quotas(&cluster).await;
        let foreign =
            BTreeMap::from([("controller_mutation_rate".to_owned(), 5.0), ("request_percentage".to_owned(), 7.0)]);
        cluster.contents().quotas.insert(entity_of_alice(), foreign);
        let first = alice(&[("producer_byte_rate", 1000.into()), ("consumer_byte_rate", 2000.into())]);
        let made = quotas.create(first.clone(), Value::Null).await;
        assert_eq!(made.state, Some(first.clone()));
        assert_eq!(quotas.read(first.clone(), made.private.clone()).await.state, Some(first.clone()));
        let second = alice(&[("producer_byte_rate", 1500.into())]);
        let changed = quotas.update(first, second.clone(), Value::Null, made.private.clone()).await;
        assert_eq!(changed.state, Some(second.clone()));
        assert_eq!(quotas.read(second.clone(), made.private.clone()).await.state, Some(second.clone()));
        let gone = quotas.delete(second, made.private).await;
        assert!(gone.state.is_none() && gone.diagnostics.is_empty());
        let left = [("controller_mutation_rate".to_owned(), 5.0), ("request_percentage".to_owned(), 7.0)];
        assert_eq!(present(&cluster), left);
    }

    #[tokio::test]
    async fn drift_shows_rate_by_rate_and_the_last_one_takes_the_quota_away() {
        let cluster = FakeCluster::default();
        let quotas = quotas(&cluster).await;
        let state = alice(&[("producer_byte_rate", 1000.into()), ("request_percentage", 12.1.into())]);
        let made = quotas.create(state.clone(), Value::Null).await;
        let set = |key: &str, rate| {
            cluster.contents().quotas.entry(entity_of_alice()).or_default().insert(key.to_owned(), rate);
        };
        set("producer_byte_rate", 5.0);
        let read = quotas.read(state.clone(), made.private.clone()).await.state.expect("there");
        assert_eq!(read, alice(&[("producer_byte_rate", 5.into()), ("request_percentage", 12.1.into())]));
        let _ = cluster.contents().quotas.get_mut(&entity_of_alice()).expect("there").remove("producer_byte_rate");
        let read = quotas.read(state.clone(), made.private.clone()).await.state.expect("there");
        assert_eq!(read, alice(&[("request_percentage", 12.1.into())]));
        cluster.contents().quotas.clear();
        set("consumer_byte_rate", 1.0);
        assert!(quotas.read(state.clone(), made.private.clone()).await.state.is_none(), "what is left is not ours");
        cluster.contents().refusals.insert("quotas", ErrorCode::ClusterAuthorizationFailed);
        let refused = quotas.read(state, made.private).await;
        assert!(refused.state.is_some() && refused.diagnostics.has_errors());
    }

    #[tokio::test]
    async fn an_import_takes_all_and_plans_clean() {
        let cluster = FakeCluster::default();
        let quotas = quotas(&cluster).await;
        let pair = config(&[
            ("user", "<default>".into()),
            ("client_id", "a,b".into()),
            ("producer_byte_rate", 1000.into()),
            ("request_percentage", 0.5.into()),
        ]);
        quotas.create(pair.clone(), Value::Null).await;
        let imported = quotas.import("user=<default>,client-id=a%2Cb").await.expect("a good id");
        let state = quotas.read(imported, Private::default()).await.state.expect("found");
        let planned = plan_by_schema(&quotas.schema(), state, &pair, pair.clone());
        assert!(!planned.changes(), "{planned:?}");
        assert!(quotas.import("alice").await.is_err());
    }

    #[tokio::test]
    async fn another_name_is_another_quota() {
        let quotas = quotas(&FakeCluster::default()).await;
        let (prior, other) = (alice(&[]), config(&[("user", "bob".into())]));
        let planned = plan_by_schema(&quotas.schema(), prior, &other, other.clone());
        assert_eq!(planned.requires_replace, [AttributePath::root("user")]);
    }

    #[tokio::test]
    async fn a_refused_change_leaves_the_state() {
        let cluster = FakeCluster::default();
        let quotas = quotas(&cluster).await;
        let state = alice(&[("producer_byte_rate", 1000.into())]);
        let made = quotas.create(state.clone(), Value::Null).await;
        cluster.contents().refusals.insert("alter_quota", ErrorCode::ClusterAuthorizationFailed);
        let refused = quotas.delete(state.clone(), made.private).await;
        assert!(refused.state == Some(state) && refused.diagnostics.has_errors());
        assert!(quotas.create(alice(&[("request_percentage", 1.into())]), Value::Null).await.state.is_none());
    }

    #[test]
    fn validation_names_attribute_value_and_what_is_allowed() {
        let quotas = QuotaResource::new(Session::default());
        let rate = ("producer_byte_rate", Value::from(1));
        let address = ("ip", Value::from("10.0.0.1"));
        let creation = ("connection_creation_rate", Value::from(5));
        for (bad, path, sentence) in [
            (config(std::slice::from_ref(&rate)), "user", "set user, client_id, both, or ip"),
            (alice(&[]), "producer_byte_rate", "at least one of: producer_byte_rate, consumer_byte_rate"),
            (alice(std::slice::from_ref(&creation)), "connection_creation_rate", "is 5, and is allowed only with ip"),
            (config(&[address.clone(), rate.clone()]), "producer_byte_rate", "is 1, and ip is allowed only with"),
            (alice(&[address.clone(), rate.clone()]), "ip", "\"10.0.0.1\", and user is \"alice\""),
            (config(&[("ip", "nowhere".into()), creation.clone()]), "ip", "ip is \"nowhere\", and must be an address"),
            (config(&[("client_id", "".into()), rate.clone()]), "client_id", "client_id is \"\", and must be a name"),
            (alice(&[("producer_byte_rate", 0.into())]), "producer_byte_rate", "is 0, and must be a whole number"),
            (alice(&[("consumer_byte_rate", 1.5.into())]), "consumer_byte_rate", "is 1.5, and must be a whole number"),
            (
                alice(&[("request_percentage", (-0.5).into())]),
                "request_percentage",
                "is -0.5, and must be a number above 0",
            ),
            (
                config(&[address.clone(), ("connection_creation_rate", (1_i64 << 31).into())]),
                "connection_creation_rate",
                "is 2147483648, and must be a whole number of connections per second from 1 to 2147483647",
            ),
        ] {
            let diagnostics = quotas.validate(&bad);
            let only = diagnostics.iter().next().expect(sentence);
            assert_eq!((diagnostics.iter().count(), &only.path), (1, &Some(AttributePath::root(path))), "{sentence}");
            assert!(only.detail.contains(sentence), "{}", only.detail);
        }
        for good in [
            alice(&[rate.clone(), ("request_percentage", 0.5.into())]),
            config(&[("ip", "<default>".into()), creation.clone()]),
            config(&[("user", Value::Unknown), ("ip", Value::Unknown), creation]),
            alice(&[("producer_byte_rate", Value::Unknown)]),
        ] {
            assert!(quotas.validate(&good).is_empty(), "{good:?}");
        }
    }
}
