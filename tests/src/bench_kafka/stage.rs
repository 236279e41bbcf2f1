//! The brokers that are compared, and how clients get to them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use lockgate_client::admin::{AclOperation, AclResourceType};

use crate::broker::{Broker, Options, Usage};
use crate::kafka::{Kafka, KafkaOptions};
use crate::operator::Operator;
use crate::wire::Login;

/// All topics and groups start with it.
const PREFIX: &str = "bench-";
/// What Kafka's own start script gives it.
const HEAP: &str = "1G";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Kafka,
    /// Records are stored when the kernel has them, as with Kafka's defaults.
    PageCache,
    /// Records are stored when they are on the disk: Lockgate's default.
    Durable,
}

impl Side {
    pub(super) const ALL: [Self; 3] = [Self::Kafka, Self::PageCache, Self::Durable];
}

/// One node of Apache Kafka, and two of Lockgate.
pub(super) struct Stage {
    kafka: Kafka,
    page_cache: Broker,
    durable: Broker,
    operators: [Operator; 3],
    login: Login,
    folder: tempfile::TempDir,
}

/// What a client has to be told.
pub(super) struct Access {
    pub(super) bootstrap: String,
    /// With TLS: the broker's certificate or that of its CA.
    pub(super) ca: Option<PathBuf>,
    pub(super) login: Login,
}

impl Stage {
    pub(super) fn set() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        std::fs::write(certificate(folder.path()), made.cert.pem())?;
        let store = folder.path().join("kafka.store.pem");
        std::fs::write(&store, made.signing_key.serialize_pem() + &made.cert.pem())?;
        let kafka = Kafka::start(&KafkaOptions {
            heap: HEAP,
            // Its three seconds of waiting for more members would count as consuming.
            properties: vec!["group.initial.rebalance.delay.ms=0".to_owned()],
            tls: Some(store),
        })?;
        let lockgate = |durability: &str| {
            let top = vec![format!("durability = {durability:?}")];
            Broker::start(&Options { plaintext: true, top, ..Options::default() })
        };
        let (page_cache, durable) = (lockgate("page-cache")?, lockgate("fsync")?);
        let operators =
            [Operator::plain(kafka.plaintext_address())?, Operator::of(&page_cache)?, Operator::of(&durable)?];
        let login = Login { user: "bench".to_owned(), password: "a password for a benchmark".to_owned() };
        for operator in &operators {
            operator.user(&login.user, &login.password)?;
            let all = [AclOperation::Read, AclOperation::Write, AclOperation::Describe];
            operator.allow(&login.user, AclResourceType::Topic, PREFIX, &all)?;
            operator.allow(&login.user, AclResourceType::Group, PREFIX, &[AclOperation::Read])?;
        }
        Ok(Self { kafka, page_cache, durable, operators, login, folder })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The name that a topic or group has, and what its users may use.
    pub(super) fn named(name: &str) -> String {
        format!("{PREFIX}{name}")
    }

    pub(super) fn topic(&self, side: Side, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<()> {
        self.operators[side as usize].topic(name, partitions, configs).map(drop)
    }

    pub(super) fn access(&self, side: Side, tls: bool) -> Access {
        let (plain, secured, ca) = match side {
            Side::Kafka => (self.kafka.plaintext_address(), self.kafka.tls_address(), certificate(self.folder.path())),
            Side::PageCache | Side::Durable => {
                let broker = self.lockgate(side);
                (broker.plaintext_address(), broker.address(), broker.ca_path())
            }
        };
        let port = if tls { secured.port() } else { plain.port() };
        Access { bootstrap: format!("localhost:{port}"), ca: tls.then_some(ca), login: self.login.clone() }
    }

    pub(super) fn usage(&self, side: Side) -> Result<Usage> {
        match side {
            Side::Kafka => self.kafka.usage(),
            Side::PageCache | Side::Durable => self.lockgate(side).usage(),
        }
    }

    fn lockgate(&self, side: Side) -> &Broker {
        if side == Side::PageCache { &self.page_cache } else { &self.durable }
    }
}

/// How long another process takes on an empty folder until its first answer.
pub(super) fn start_up(side: Side) -> Result<Duration> {
    if side == Side::Kafka {
        return Ok(Kafka::start(&KafkaOptions { heap: HEAP, ..KafkaOptions::default() })?.started_in());
    }
    let started = Instant::now();
    Broker::start(&Options::default())?;
    Ok(started.elapsed())
}

fn certificate(folder: &Path) -> PathBuf {
    folder.join("kafka.pem")
}
