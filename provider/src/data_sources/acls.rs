//! `lockgate_acls`: the ACLs that fit a filter.

use std::str::FromStr;

use lockgate_client::Error;
use lockgate_client::admin::AclFilter;
use tonic::async_trait;

use super::{Found, Query};
use crate::resources::acl::enum_problems;
use crate::session::Connection;
use crate::tfplugin::{Attribute, Diagnostics, Schema, Type, Value};

/// The parts of an ACL, each an attribute of the filter and of what is found.
const PARTS: [(&str, &str); 7] = [
    ("principal", "Whom it is about, such as `User:alice`."),
    ("host", "The client's address, or `*` for any."),
    ("resource_type", "`Topic`, `Group`, `Cluster`, `TransactionalId`, `DelegationToken` or `User`."),
    ("resource_name", "Name of the resource, or its beginning with the pattern type `Prefixed`; `*` for all."),
    ("pattern_type", "`Literal` or `Prefixed`."),
    ("operation", "One operation, such as `Read`."),
    ("permission", "`Allow` or `Deny`."),
];

/// ACLs.
pub struct AclsQuery;

#[async_trait]
impl Query for AclsQuery {
    const TYPE_NAME: &'static str = "lockgate_acls";

    fn schema() -> Schema {
        let acl = PARTS.map(|(name, description)| Attribute::computed(name, Type::String, description));
        let filter = PARTS.map(|(name, description)| Attribute::optional(name, Type::String, description));
        let found = Attribute::computed_list("acls", acl.into(), "The ACLs, one for each operation.");
        Schema::new(
            "The ACLs that have exactly what the filter names. What it leaves out may be anything.",
            filter.into_iter().chain([found]).collect(),
        )
    }

    fn validate(config: &Value) -> Diagnostics {
        enum_problems(config)
    }

    fn subject(_config: &Value) -> String {
        "the ACLs".to_owned()
    }

    async fn ask(connection: &Connection, config: &Value) -> lockgate_client::Result<Option<Found>> {
        let acls = connection.admin.acls_like(&filter(config)?).await?.into_iter().map(|acl| {
            Value::object([
                ("principal", Value::from(acl.principal)),
                ("host", Value::from(acl.host)),
                ("resource_type", Value::from(acl.resource_type.name())),
                ("resource_name", Value::from(acl.resource_name)),
                ("pattern_type", Value::from(acl.pattern_type.name())),
                ("operation", Value::from(acl.operation.name())),
                ("permission", Value::from(acl.permission.name())),
            ])
        });
        Ok(Some(vec![("acls", Value::List(acls.collect()))]))
    }
}

fn filter(config: &Value) -> Result<AclFilter, Error> {
    fn part<T: FromStr<Err = String>>(config: &Value, attribute: &str) -> Result<Option<T>, Error> {
        config.attr(attribute).as_str().map(|text| text.parse().map_err(Error::Settings)).transpose()
    }
    let text = |attribute: &str| config.attr(attribute).as_str().map(str::to_owned);
    Ok(AclFilter {
        principal: text("principal"),
        host: text("host"),
        resource_type: part(config, "resource_type")?,
        resource_name: text("resource_name"),
        pattern_type: part(config, "pattern_type")?,
        operation: part(config, "operation")?,
        permission: part(config, "permission")?,
    })
}

#[cfg(test)]
mod tests {
    use lockgate_client::admin::{AclOperation, AclPatternType, AclPermission, AclResourceType};

    use super::super::tests::read;
    use super::*;
    use crate::cluster::AclScope;
    use crate::fake::FakeCluster;

    #[tokio::test]
    async fn it_shows_what_fits() {
        let cluster = FakeCluster::default();
        for principal in ["User:alice", "User:bob"] {
            let scope = AclScope {
                principal: principal.to_owned(),
                host: "*".to_owned(),
                resource_type: AclResourceType::Topic,
                resource_name: "orders".to_owned(),
                pattern_type: AclPatternType::Literal,
                permission: AclPermission::Allow,
            };
            cluster.contents().acls.insert((scope, AclOperation::Read));
        }
        let all = read::<AclsQuery>(&cluster, &[]).await.expect("read");
        assert_eq!(all.attr("acls").as_list().map(<[_]>::len), Some(2));
        let one = read::<AclsQuery>(&cluster, &[("principal", "User:bob".into())]).await.expect("read");
        let one = &one.attr("acls").as_list().expect("a list")[0];
        assert_eq!((one.attr("principal"), one.attr("operation")), (&"User:bob".into(), &"Read".into()));
    }

    #[test]
    fn the_filter_is_exact_in_what_it_names() {
        let config = Value::object([("operation", "Read".into()), ("resource_type", "Group".into())]);
        let expected = AclFilter {
            operation: Some(AclOperation::Read),
            resource_type: Some(AclResourceType::Group),
            ..AclFilter::default()
        };
        assert_eq!(filter(&config), Ok(expected));
        assert_eq!(AclsQuery::validate(&Value::object([("operation", "Reed".into())])).iter().count(), 1);
    }
}
