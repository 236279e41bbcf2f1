//! The broker that a suite is run against, set up as the suites expect a broker to be.

use std::path::PathBuf;

use anyhow::Result;
use lockgate_client::admin::{Acl, AclOperation, AclPatternType, AclPermission, AclResourceType};

use crate::broker::{Broker, Options, free_ports};
use crate::operator::Operator;
use crate::program::workspace;
use crate::wire::Login;

/// Partitions that the suites expect of a topic that nobody described.
const PARTITIONS: u16 = 4;

/// What a test wants of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Topics are made when a client asks for them.
    TopicsOnDemand,
    /// They are not.
    TopicsMadeFirst,
    /// Like `TopicsOnDemand`, and what anonymous clients may do is up to ACLs: everything, until a test denies something.
    AnonymousByAcl,
    /// Like `TopicsOnDemand`, and clients authenticate again every ten seconds.
    Reauthentication,
}

/// A broker with TLS and SASL, and two more listeners on which everyone is anonymous, one with TLS and one without.
pub struct Stage {
    pub broker: Broker,
    /// A super user: tests that count ACLs would stumble over any of ours.
    pub user: Login,
    pub tls_port: u16,
    pub plain_port: u16,
}

impl Stage {
    /// Starts the broker. Groups may have the sessions of 3 s that kafka-python's tests ask for: Apache Kafka, too, refuses
    /// those unless it is set up so. They wait less than usual for more members, and long enough for librdkafka's tests
    /// that count rebalances. kafka-python's tests know the only broker by the id 0.
    pub fn set(setting: Setting) -> Result<Self> {
        let [tls_port, plain_port] = free_ports();
        let mut super_users = vec!["User:admin", "User:terraform", "User:suite"];
        if setting != Setting::AnonymousByAcl {
            super_users.push("User:ANONYMOUS");
        }
        let top = format!(
            "node_id = 0\n\
             auto_create_topics = {}\n\
             default_partitions = {PARTITIONS}\n\
             connections_max_reauth_ms = {}\n\
             super_users = {super_users:?}\n\
             {}{}",
            setting != Setting::TopicsMadeFirst,
            if setting == Setting::Reauthentication { 10_000 } else { 0 },
            listener("tls", "SSL", tls_port),
            listener("plain", "PLAINTEXT", plain_port),
        );
        let groups = ["initial_rebalance_delay_ms = 500", "min_session_timeout_ms = 1000"].map(str::to_owned).to_vec();
        let broker = Broker::start(&Options { top: vec![top], groups, ..Options::default() })?;
        let user = Login { user: "suite".to_owned(), password: "correct horse battery staple".to_owned() };
        let operator = Operator::of(&broker)?;
        operator.user(&user.user, &user.password)?;
        if setting == Setting::AnonymousByAcl {
            let resources = [
                (AclResourceType::Topic, "*"),
                (AclResourceType::Group, "*"),
                (AclResourceType::Cluster, "kafka-cluster"),
            ];
            let acls = resources.map(|(resource, name)| allow_all("ANONYMOUS", resource, name));
            for result in operator.wait(operator.admin().create_acls(&acls))? {
                result?;
            }
        }
        Ok(Self { broker, user, tls_port, plain_port })
    }
}

fn listener(name: &str, protocol: &str, port: u16) -> String {
    format!(
        "[[listeners]]\nname = \"{name}\"\nbind = \"127.0.0.1:{port}\"\n\
         advertised = \"localhost:{port}\"\nprotocol = \"{protocol}\"\n"
    )
}

fn allow_all(user: &str, resource: AclResourceType, name: &str) -> Acl {
    Acl {
        resource_type: resource,
        resource_name: name.to_owned(),
        pattern_type: AclPatternType::Literal,
        principal: format!("User:{user}"),
        host: "*".to_owned(),
        operation: AclOperation::All,
        permission: AclPermission::Allow,
    }
}

/// Where the output of a suite's tests is kept, made when absent.
pub fn output_folder(suite: &str) -> Result<PathBuf> {
    let folder = workspace().join("target/conformance").join(suite);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
