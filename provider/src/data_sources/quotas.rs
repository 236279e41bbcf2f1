//! `lockgate_quotas`: the quotas that fit a filter.

use lockgate_client::admin::Quota;
use tonic::async_trait;

use super::{Found, Query};
use crate::resources::quota::{entity, parts, rates};
use crate::session::Connection;
use crate::tfplugin::{Attribute, AttributePath, Diagnostic, Diagnostics, Schema, Type, Value};

/// The parts of an entity, each an attribute of the filter and of what is found.
const PARTS: [(&str, &str); 3] = [
    ("user", "The user; `<default>` for each user without a quota of their own."),
    ("client_id", "The client id; `<default>` for each client id without a quota of its own."),
    ("ip", "The clients' address; `<default>` for each address without a quota of its own."),
];

/// Quotas.
pub struct QuotasQuery;

#[async_trait]
impl Query for QuotasQuery {
    const TYPE_NAME: &'static str = "lockgate_quotas";

    fn schema() -> Schema {
        let filter = PARTS.map(|(name, description)| Attribute::optional(name, Type::String, description));
        let exact = Attribute::optional(
            "exact",
            Type::Bool,
            "Whether to leave out quotas that name more than the filter: with `user` alone, those of the user together with a \
             client id. Default `false`.",
        );
        let parts = PARTS.map(|(name, description)| Attribute::computed(name, Type::String, description));
        let rates = rates().map(|(name, description)| Attribute::computed(name, Type::Number, description));
        let quota = parts.into_iter().chain(rates).collect();
        let found =
            Attribute::computed_list("quotas", quota, "The quotas, by whom they are for. What is not set is null.");
        Schema::new(
            "The quotas of whoever fits the filter. What it leaves out may be anything.",
            filter.into_iter().chain([exact, found]).collect(),
        )
    }

    fn validate(config: &Value) -> Diagnostics {
        let entity = entity(config);
        if entity.ip.is_none() || (entity.user.is_none() && entity.client_id.is_none()) {
            return Diagnostics::new();
        }
        let detail = "ip stands alone: there is no quota of an address together with a user or a client id.";
        Diagnostic::error("Invalid ip", detail).at(AttributePath::root("ip")).into()
    }

    fn subject(_config: &Value) -> String {
        "the quotas".to_owned()
    }

    async fn ask(connection: &Connection, config: &Value) -> lockgate_client::Result<Option<Found>> {
        let exact = config.attr("exact").as_bool().unwrap_or(false);
        let quotas = connection.admin.quotas(&entity(config), exact).await?;
        Ok(Some(vec![("quotas", Value::List(quotas.iter().map(shown).collect()))]))
    }
}

fn shown(quota: &Quota) -> Value {
    let rates = rates().map(|(name, _)| (name, Value::from(quota.values.get(name).copied())));
    Value::object(parts(&quota.entity).into_iter().chain(rates))
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;
    use crate::fake::FakeCluster;

    #[tokio::test]
    async fn it_shows_what_fits_and_only_that_when_exact() {
        let cluster = FakeCluster::default();
        let alice = ("user", Value::from("alice"));
        for of in
            [vec![alice.clone()], vec![alice.clone(), ("client_id", "<default>".into())], vec![("user", "bob".into())]]
        {
            let values = [("producer_byte_rate".to_owned(), 5.0)].into();
            cluster.contents().quotas.insert(entity(&Value::object(of)), values);
        }
        let count = async |filter: &[(&str, Value)]| {
            let state = read::<QuotasQuery>(&cluster, filter).await.expect("read");
            state.attr("quotas").as_list().expect("a list").len()
        };
        assert_eq!(count(&[]).await, 3);
        assert_eq!(count(std::slice::from_ref(&alice)).await, 2);
        let exact = [alice.clone(), ("exact", true.into())];
        assert_eq!(count(&exact).await, 1);
        let state = read::<QuotasQuery>(&cluster, &[("client_id", "<default>".into())]).await.expect("read");
        let pair = &state.attr("quotas").as_list().expect("a list")[0];
        assert_eq!((pair.attr("user"), pair.attr("client_id")), (&"alice".into(), &"<default>".into()));
        assert_eq!((pair.attr("producer_byte_rate"), pair.attr("request_percentage")), (&5.into(), &Value::Null));
        let mixed = Value::object([alice, ("ip", "::1".into())]);
        assert_eq!(QuotasQuery::validate(&mixed).iter().count(), 1);
    }
}
