//! `lockgate_users`: the users that have SCRAM credentials.

use tonic::async_trait;

use super::{Found, Query};
use crate::session::Connection;
use crate::tfplugin::{Attribute, Schema, Type, Value};

/// Users.
pub struct UsersQuery;

#[async_trait]
impl Query for UsersQuery {
    const TYPE_NAME: &'static str = "lockgate_users";

    fn schema() -> Schema {
        let credential = vec![
            Attribute::computed("mechanism", Type::String, "`SCRAM-SHA-256` or `SCRAM-SHA-512`."),
            Attribute::computed("iterations", Type::Number, "Rounds of the password's hash."),
        ];
        let user = vec![
            Attribute::computed("username", Type::String, "Name of the user."),
            Attribute::computed_list("credentials", credential, "The user's credentials, by mechanism."),
        ];
        Schema::new(
            "The users that have credentials for SASL/SCRAM.",
            vec![
                Attribute::computed("usernames", Type::string_list(), "The names, in order."),
                Attribute::computed_list("users", user, "The users, by name."),
            ],
        )
    }

    fn subject(_config: &Value) -> String {
        "the users".to_owned()
    }

    async fn ask(connection: &Connection, _config: &Value) -> lockgate_client::Result<Option<Found>> {
        let users = connection.admin.users().await?;
        let usernames = users.keys().map(|name| Value::from(name.as_str())).collect();
        let users = users.into_iter().map(|(username, mut credentials)| {
            credentials.sort_by_key(|credential| credential.mechanism);
            let credentials = credentials.into_iter().map(|credential| {
                Value::object([
                    ("mechanism", Value::from(credential.mechanism.name())),
                    ("iterations", Value::from(credential.iterations)),
                ])
            });
            Value::object([("username", Value::from(username)), ("credentials", Value::List(credentials.collect()))])
        });
        Ok(Some(vec![("usernames", Value::List(usernames)), ("users", Value::List(users.collect()))]))
    }
}

#[cfg(test)]
mod tests {
    use lockgate_client::admin::ScramMechanism;

    use super::super::tests::read;
    use super::*;
    use crate::fake::FakeCluster;

    #[tokio::test]
    async fn it_shows_names_and_mechanisms_and_no_password() {
        let cluster = FakeCluster::default();
        let credentials = [(ScramMechanism::Sha512, (8192, "hush".to_owned()))].into();
        cluster.contents().users.insert("alice".to_owned(), credentials);
        let state = read::<UsersQuery>(&cluster, &[]).await.expect("read");
        assert_eq!(state.attr("usernames"), &Value::List(vec!["alice".into()]));
        let credential =
            &state.attr("users").as_list().expect("a list")[0].attr("credentials").as_list().expect("too")[0];
        assert_eq!(credential.attr("mechanism"), &Value::from("SCRAM-SHA-512"));
        assert!(!format!("{state:?}").contains("hush"));
    }
}
