//! What an operator does beside the tests: reads the admin credential, makes topics, users and ACLs.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use lockgate_client::admin::{
    Acl, AclOperation, AclPatternType, AclPermission, AclResourceType, NewTopic, ScramMechanism, ScramUpsert,
};
use lockgate_client::{Admin, Profile, Settings};
use uuid::Uuid;

use crate::broker::Broker;
use crate::wire::Login;

/// The admin of one broker, found through its cluster URL.
pub struct Operator {
    runtime: tokio::runtime::Runtime,
    admin: Admin,
}

impl Operator {
    pub fn of(broker: &Broker) -> Result<Self> {
        Self::with(Settings {
            cluster: Some(format!("file://{}", broker.data().display())),
            bootstrap_servers: Some(vec![broker.bootstrap()]),
            ..Settings::default()
        })
    }

    /// Without TLS and a login, where everyone may do everything.
    pub fn plain(address: SocketAddr) -> Result<Self> {
        Self::with(Settings { bootstrap_servers: Some(vec![address.to_string()]), ..Settings::default() })
    }

    fn with(settings: Settings) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let profile = runtime.block_on(Profile::resolve(settings))?;
        let admin = Admin::new(profile);
        Ok(Self { runtime, admin })
    }

    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Makes a topic and returns its id.
    pub fn topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<Uuid> {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: Some(partitions),
            replication_factor: Some(1),
            configs: configs
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect::<BTreeMap<_, _>>(),
        };
        let made = self.wait(self.admin.create_topics(&[topic], false))?;
        let id = made.into_values().next().context("no answer for the topic")??.topic_id;
        Ok(Uuid::from_bytes(id.context("no topic id")?.0))
    }

    /// Makes a user with both SCRAM mechanisms.
    pub fn user(&self, name: &str, password: &str) -> Result<()> {
        for mechanism in [ScramMechanism::Sha256, ScramMechanism::Sha512] {
            let upsert = ScramUpsert { user: name.to_owned(), mechanism, iterations: 4096, password: password.into() };
            for (_, result) in self.wait(self.admin.alter_users(vec![upsert], &[]))? {
                result?;
            }
        }
        Ok(())
    }

    /// Allows operations on everything of that type whose name starts with `prefix`.
    pub fn allow(
        &self,
        user: &str,
        resource: AclResourceType,
        prefix: &str,
        operations: &[AclOperation],
    ) -> Result<()> {
        let acls: Vec<Acl> = operations
            .iter()
            .map(|&operation| Acl {
                resource_type: resource,
                resource_name: prefix.to_owned(),
                pattern_type: AclPatternType::Prefixed,
                principal: format!("User:{user}"),
                host: "*".to_owned(),
                operation,
                permission: AclPermission::Allow,
            })
            .collect();
        for result in self.wait(self.admin.create_acls(&acls))? {
            result?;
        }
        Ok(())
    }
}

/// The admin credential, read as an operator would.
pub fn admin_login(broker: &Broker) -> Result<Login> {
    login_of(broker, "admin")
}

/// The credential of one of the first two users: `admin` or `terraform`.
pub fn login_of(broker: &Broker, user: &str) -> Result<Login> {
    let path = broker.data().join("admin").join(user).with_extension("json");
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    Ok(Login {
        user: file["username"].as_str().context("no username")?.to_owned(),
        password: file["current"]["password"].as_str().context("no password")?.to_owned(),
    })
}
