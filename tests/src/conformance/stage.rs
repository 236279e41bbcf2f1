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

/// A broker with TLS and SASL, and one more listener with TLS only, on which everyone is a super user.
pub struct Stage {
    pub broker: Broker,
    /// May do everything because ACLs say so, and not as a super user, so that a test can forbid something.
    pub user: Login,
    pub tls_port: u16,
}

impl Stage {
    /// Starts the broker; `auto_create` says whether it makes the topics that clients ask for.
    pub fn set(auto_create: bool) -> Result<Self> {
        let [tls_port] = free_ports();
        let top = format!(
            "auto_create_topics = {auto_create}\n\
             default_partitions = {PARTITIONS}\n\
             super_users = [\"User:admin\", \"User:terraform\", \"User:ANONYMOUS\"]\n\
             groups.initial_rebalance_delay_ms = 0\n\
             [[listeners]]\n\
             name = \"tls\"\n\
             bind = \"127.0.0.1:{tls_port}\"\n\
             advertised = \"localhost:{tls_port}\"\n\
             protocol = \"SSL\"\n"
        );
        let broker = Broker::start(&Options { top: vec![top], ..Options::default() })?;
        let user = Login { user: "suite".to_owned(), password: "correct horse battery staple".to_owned() };
        let operator = Operator::of(&broker)?;
        operator.user(&user.user, &user.password)?;
        let acls = [
            (AclResourceType::Topic, "*"),
            (AclResourceType::Group, "*"),
            (AclResourceType::TransactionalId, "*"),
            (AclResourceType::Cluster, "kafka-cluster"),
        ];
        let acls = acls.map(|(resource, name)| allow_all(&user.user, resource, name));
        for result in operator.wait(operator.admin().create_acls(&acls))? {
            result?;
        }
        Ok(Self { broker, user, tls_port })
    }
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
