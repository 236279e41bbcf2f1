//! One of the two that are compared, and what it answers in a scenario.

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use kafka_protocol::protocol::Request;

use super::Step;
use super::flatten::{Fields, flatten};
use crate::broker::{Broker, Options, free_ports};
use crate::kafka::{Kafka, KafkaOptions};
use crate::wire::{Connection, Login};

/// Milliseconds since 1970 are above this; durations are below.
const TIMES: i64 = 1_000_000_000_000;

/// Both brokers at work, with the same settings.
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
        Ok(Self { kafka, lockgate, lockgate_sasl: SocketAddr::from((Ipv4Addr::LOCALHOST, sasl)) })
    }

    pub fn kafka(&self, scenario: &'static str) -> Peer {
        Peer::new("Kafka", scenario, self.kafka.plaintext_address(), self.kafka.sasl_address())
    }

    pub fn lockgate(&self, scenario: &'static str) -> Peer {
        Peer::new("Lockgate", scenario, self.lockgate.plaintext_address(), self.lockgate_sasl)
    }

    /// The ends of both logs, for failures.
    pub fn log_tails(&self) -> String {
        format!("{}\n{}", self.kafka.log_tail(), self.lockgate.log_tail())
    }
}

/// One broker in one scenario.
pub struct Peer {
    name: &'static str,
    scenario: &'static str,
    plain: SocketAddr,
    sasl: SocketAddr,
    steps: Vec<Step>,
}

impl Peer {
    fn new(name: &'static str, scenario: &'static str, plain: SocketAddr, sasl: SocketAddr) -> Self {
        Self { name, scenario, plain, sasl, steps: Vec::new() }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A name that no other scenario uses.
    pub fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.scenario)
    }

    /// A connection as a super user.
    pub fn admin(&self) -> Result<Connection> {
        Connection::plain(self.plain)
    }

    /// A connection on which nobody has said yet who they are.
    pub fn stranger(&self) -> Result<Connection> {
        Connection::plain(self.sasl)
    }

    /// A connection of a user that the scenario made, with SCRAM-SHA-256.
    pub fn user(&self, login: &Login) -> Result<Connection> {
        let mut connection = self.stranger()?;
        connection.authenticate(login)?;
        Ok(connection)
    }

    /// Asks, and keeps the answer for the comparison.
    pub fn ask<R>(&mut self, connection: &mut Connection, step: &str, request: &R, version: i16) -> Result<R::Response>
    where
        R: Request,
        R::Response: Debug,
    {
        let response = connection.call(request, version).with_context(|| format!("{step} v{version}"))?;
        let fields = flatten(&response, &mut stand_in);
        self.keep(format!("{step} v{version}"), fields);
        Ok(response)
    }

    /// Asks what closes the connection. An answer is kept as a difference would be.
    pub fn ask_in_vain<R>(&mut self, connection: &mut Connection, step: &str, request: &R, version: i16)
    where
        R: Request,
        R::Response: Debug,
    {
        let fields = match connection.call(request, version) {
            Ok(response) => flatten(&response, &mut stand_in),
            Err(_) => Fields::from([("connection".to_owned(), "closed".to_owned())]),
        };
        self.keep(format!("{step} v{version}"), fields);
    }

    /// Asks as a super user, on a connection of its own, which the question may end.
    pub fn ask_once<R>(&mut self, step: &str, request: &R, version: i16) -> Result<()>
    where
        R: Request,
        R::Response: Debug,
    {
        let mut admin = self.admin()?;
        self.ask_in_vain(&mut admin, step, request, version);
        Ok(())
    }

    /// Keeps something that a scenario found itself.
    pub fn note(&mut self, step: &str, value: impl Debug) {
        let fields = Fields::from([("value".to_owned(), format!("{value:?}"))]);
        self.keep(step.to_owned(), fields);
    }

    fn keep(&mut self, name: String, fields: Fields) {
        self.steps.push(Step { name, fields });
    }

    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}

/// What stands for values that differ from one broker, run or moment to the next.
fn stand_in(name: &str, value: &str) -> String {
    let number = value.parse::<i64>().ok();
    let stand_in = match name {
        // Each says it in its own words; that something is said is compared.
        "error_message" if value.starts_with('"') => "<message>",
        "cluster_id" if value != "None" => "<cluster>",
        "host" | "client_host" if value != "\"\"" => "<host>",
        "port" if number != Some(-1) => "<port>",
        "producer_id" if number.is_some_and(|id| id >= 0) => "<producer>",
        "member_id" | "leader" if value.len() > 2 => "<member>",
        "session_id" if number != Some(0) => "<session>",
        "auth_bytes" if value != "b\"\"" => "<bytes>",
        "log_dir" => "<folder>",
        "total_bytes" | "usable_bytes" | "partition_size" => "<bytes>",
        "documentation" if value != "None" => "<text>",
        _ if number.is_some_and(|number| number > TIMES && number != i64::MAX) => "<time>",
        _ if is_uuid(value) => "<uuid>",
        _ => value,
    };
    stand_in.to_owned()
}

fn is_uuid(value: &str) -> bool {
    uuid::Uuid::parse_str(value).is_ok_and(|id| !id.is_nil())
}

/// Fails with what is not listed.
pub fn check(report: &super::Report) -> Result<()> {
    let lines: Vec<_> = report
        .unlisted
        .iter()
        .map(|one| {
            let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "(absent)".to_owned());
            format!("{} {}: Kafka {}, Lockgate {}", one.step, one.field, said(&one.kafka), said(&one.lockgate))
        })
        .chain(report.unneeded.iter().map(|place| format!("listed, and no difference any more: {place}")))
        .collect();
    ensure!(lines.is_empty(), "{} differences are not as listed:\n{}", lines.len(), lines.join("\n"));
    Ok(())
}
