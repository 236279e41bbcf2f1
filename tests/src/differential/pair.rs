//! Both brokers at work, with the same settings.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use kafka_protocol::messages::FindCoordinatorRequest;
use kafka_protocol::protocol::StrBytes;

use super::peer::Peer;
use super::scenarios::topics::make;
use super::settle;
use crate::broker::{Broker, Options, free_ports};
use crate::kafka::{Kafka, KafkaOptions};
use crate::operator::admin_login;
use crate::requests::{committed, init_producer_id};
use crate::until;
use crate::wire::{Connection, Login};

/// Where the clients of other programs find one of the two.
pub struct Access {
    /// The listener where everyone is a super user.
    pub plain: SocketAddr,
    /// For those who administer.
    pub admin: Client,
    /// For those who log in as a user that a scenario made.
    pub users: Client,
}

/// What a client of Kafka's own has to know.
#[derive(Clone, Debug)]
pub struct Client {
    pub bootstrap: String,
    /// Its settings, as a properties file.
    pub properties: String,
}

impl Client {
    /// The same, logged in with SCRAM.
    pub fn logged_in(&self, login: &Login) -> Self {
        let Self { bootstrap, properties } = self.clone();
        let jaas = format!(
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{}\" password=\"{}\";",
            login.user, login.password
        );
        Self { bootstrap, properties: format!("{properties}sasl.mechanism=SCRAM-SHA-256\nsasl.jaas.config={jaas}\n") }
    }
}

pub struct Pair {
    kafka: Kafka,
    lockgate: Broker,
    lockgate_sasl: SocketAddr,
}

impl Pair {
    pub fn start() -> Result<Self> {
        let kafka = Kafka::start(&KafkaOptions {
            properties: vec![
                "auto.create.topics.enable=false".to_owned(),
                "group.initial.rebalance.delay.ms=0".to_owned(),
                // As many as Lockgate has: transactions name the ones that they are in.
                "offsets.topic.num.partitions=50".to_owned(),
            ],
            ..KafkaOptions::default()
        })?;
        let [sasl] = free_ports();
        let lockgate = Broker::start(&Options {
            plaintext: true,
            groups: vec!["initial_rebalance_delay_ms = 0".to_owned()],
            listener: vec![format!(
                "\n[[listeners]]\nname = \"sasl\"\nbind = \"127.0.0.1:{sasl}\"\nadvertised = \"localhost:{sasl}\"\n\
                 protocol = \"SASL_PLAINTEXT\""
            )],
            ..Options::default()
        })?;
        let pair = Self { kafka, lockgate, lockgate_sasl: SocketAddr::from((Ipv4Addr::LOCALHOST, sasl)) };
        prepare(pair.kafka.plaintext_address())?;
        prepare(pair.lockgate.plaintext_address())?;
        Ok(pair)
    }

    pub fn kafka(&self, scenario: &'static str) -> Peer {
        Peer::new("Kafka", scenario, self.kafka.plaintext_address(), self.kafka.sasl_address())
    }

    pub fn lockgate(&self, scenario: &'static str) -> Peer {
        Peer::new("Lockgate", scenario, self.lockgate.plaintext_address(), self.lockgate_sasl)
    }

    /// Apache Kafka's listener where everyone is a super user.
    pub fn kafka_address(&self) -> SocketAddr {
        self.kafka.plaintext_address()
    }

    /// Without TLS, as [`Kafka`] runs.
    pub fn kafka_access(&self) -> Access {
        let plain = self.kafka.plaintext_address();
        let client = |address: SocketAddr, protocol: &str| Client {
            bootstrap: format!("localhost:{}", address.port()),
            properties: format!("security.protocol={protocol}\n"),
        };
        Access { plain, admin: client(plain, "PLAINTEXT"), users: client(self.kafka.sasl_address(), "SASL_PLAINTEXT") }
    }

    /// With TLS and SCRAM, as operators have it.
    pub fn lockgate_access(&self) -> Result<Access> {
        let users = Client {
            bootstrap: self.lockgate.bootstrap(),
            properties: format!(
                "security.protocol=SASL_SSL\nssl.truststore.type=PEM\nssl.truststore.location={}\n",
                self.lockgate.ca_path().display()
            ),
        };
        let admin = users.logged_in(&admin_login(&self.lockgate)?);
        Ok(Access { plain: self.lockgate.plaintext_address(), admin, users })
    }

    /// The ends of both logs, for failures.
    pub fn log_tails(&self) -> String {
        format!("{}\n{}", self.kafka.log_tail(), self.lockgate.log_tail())
    }
}

/// Kafka makes its internal topics when they are first asked for; Lockgate has them from the start.
fn prepare(address: SocketAddr) -> Result<()> {
    let mut connection = Connection::plain(address)?;
    make(&mut connection, settle::TOPIC, 1, &[])?;
    for kind in [0, 1] {
        let request = FindCoordinatorRequest::default()
            .with_key_type(kind)
            .with_coordinator_keys(vec![StrBytes::from_static_str("prepared")]);
        until(Duration::from_secs(60), "there are coordinators", || {
            let answer = connection.call(&request, 4).ok()?;
            (answer.coordinators.first()?.error_code == 0).then_some(())
        })?;
    }
    until(Duration::from_secs(60), "groups are served", || committed(&mut connection, "prepared", "none").ok())?;
    init_producer_id(&mut connection).map(drop)
}
