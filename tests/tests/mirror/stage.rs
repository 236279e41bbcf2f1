//! Apache Kafka and Lockgate side by side, with MirrorMaker between them.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context, Result, ensure};
use lockgate_tests::broker::{Broker, Options, binary};
use lockgate_tests::guide::Guide;
use lockgate_tests::kafka::{Kafka, KafkaOptions};
use lockgate_tests::kcat::{Kcat, Shown};
use lockgate_tests::mirror::{Mirror, PATIENCE};
use lockgate_tests::operator::{Operator, login_of};
use lockgate_tests::terraform::Terraform;
use lockgate_tests::until;

use crate::{GUIDE, PASSWORD};

/// Both clusters.
pub(crate) struct Stage {
    pub(crate) guide: Guide,
    pub(crate) kafka: Kafka,
    pub(crate) lockgate: Broker,
    pub(crate) at_kafka: Operator,
    pub(crate) at_lockgate: Operator,
    /// As administrators.
    pub(crate) from: Kcat,
    pub(crate) to: Kcat,
    _turn: MutexGuard<'static, ()>,
}

/// Four processes at a time are enough for a small machine.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Stage {
    pub(crate) fn set() -> Result<Self> {
        let turn = one_at_a_time();
        let (kafka, lockgate) = (Kafka::start(&KafkaOptions::default())?, Broker::start(&Options::default())?);
        let at_kafka = Operator::plain(kafka.plaintext_address())?;
        let at_lockgate = Operator::of(&lockgate)?;
        let from = Kcat::plain(kafka.plaintext_address());
        let to = Kcat::configured(&lockgate.data().join("admin/client.properties"));
        Ok(Self { guide: Guide::read(GUIDE)?, kafka, lockgate, at_kafka, at_lockgate, from, to, _turn: turn })
    }

    /// A folder with what the guide takes as given.
    pub(crate) fn folder(&self) -> Result<tempfile::TempDir> {
        let folder = tempfile::tempdir()?;
        let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text);
        write("kafka.properties", &format!("bootstrap.servers={}\n", self.kafka.plaintext_address()))?;
        write("kafka-mirror.password", PASSWORD)?;
        // MirrorMaker is started by the test, which wants to stop it too.
        write("connect-mirror-maker.sh", "#!/bin/sh\n")?;
        let lockgate = std::fs::read_to_string(self.lockgate.data().join("admin/client.properties"))?;
        write("lockgate.properties", &lockgate)?;
        shell(folder.path(), "chmod +x connect-mirror-maker.sh")?;
        Ok(folder)
    }

    /// The user and the rights on Kafka that the guide's commands make.
    pub(crate) fn admit_at_kafka(&self, folder: &Path) -> Result<()> {
        let commands = self.guide.section("## 2. Records and offsets")?.blocks("shell");
        shell(folder, commands.first().context("no commands")?)
    }

    /// The provider block of the guide, and the file that admits MirrorMaker at Lockgate.
    pub(crate) fn configuration(&self) -> Result<[String; 2]> {
        let blocks = self.guide.section("## 1. Topics, ACLs, users and quotas")?.blocks("terraform");
        let [provider, mirror] = blocks.as_slice() else { anyhow::bail!("{blocks:?} are not two") };
        Ok([self.placed(provider)?, mirror.clone()])
    }

    pub(crate) fn admit_at_lockgate(&self) -> Result<()> {
        let [provider, mirror] = self.configuration()?;
        let mut terraform = Terraform::new(&provider)?;
        terraform.write("mirror.tf", &mirror)?;
        terraform.set("LOCKGATE_SASL_PASSWORD", &login_of(&self.lockgate, "terraform")?.password);
        terraform.set("TF_VAR_mirror_password", PASSWORD);
        terraform.apply().map(drop)
    }

    /// The text with this run's addresses and files.
    pub(crate) fn placed(&self, text: &str) -> Result<String> {
        let ca = self.lockgate.ca_path().to_str().context("a plain path")?.to_owned();
        Ok(text
            .replace("kafka.security.protocol = SASL_SSL", "kafka.security.protocol = SASL_PLAINTEXT")
            .replace("kafka.example:9093", &self.kafka.sasl_address().to_string())
            .replace("lockgate.example:9093", &self.lockgate.bootstrap())
            .replace("/etc/mirror/lockgate-ca.pem", &ca))
    }

    /// MirrorMaker with the settings of a section.
    pub(crate) fn mirror(&self) -> Result<Mirror> {
        self.start(&self.guide.section("## 2. Records and offsets")?.blocks("properties").concat())
    }

    pub(crate) fn start(&self, properties: &str) -> Result<Mirror> {
        let passwords = [("KAFKA_PASSWORD", PASSWORD), ("LOCKGATE_PASSWORD", PASSWORD)];
        Mirror::start(&self.placed(properties)?, &passwords)
    }

    /// Waits for something that MirrorMaker is to do.
    pub(crate) fn until<T>(&self, mirror: &mut Mirror, what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T> {
        let mut ended = Ok(());
        let found = until(PATIENCE, what, || {
            ended = mirror.check();
            if ended.is_err() { Some(None) } else { probe().map(Some) }
        });
        ended?;
        let found = found.with_context(|| format!("{}\n{}", mirror.log(), self.lockgate.log_tail()))?;
        found.with_context(|| what.to_owned())
    }

    /// Fails when Lockgate refused something to MirrorMaker but for the topic that the guide speaks of.
    pub(crate) fn refused_nothing(&self) -> Result<()> {
        let log = self.lockgate.log_text();
        let refused: Vec<_> = log
            .lines()
            .filter(|line| line.contains("lockgate::audit: denied") && !line.contains("Topic:heartbeats"))
            .collect();
        ensure!(refused.is_empty(), "the guide's ACLs are not enough: {refused:#?}");
        Ok(())
    }
}

/// Runs commands of the guide.
pub(crate) fn shell(folder: &Path, commands: &str) -> Result<()> {
    let lockgate = binary("lockgate")?;
    let binaries = lockgate.parent().context("a binary lies in a folder")?.display();
    let path = format!("{binaries}:{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LOCKGATE_")) {
        command.env_remove(name);
    }
    let output = command.args(["-euxc", commands]).current_dir(folder).env("PATH", path).output()?;
    let [said, complaints] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    ensure!(output.status.success(), "{commands}\n{said}\n{complaints}");
    Ok(())
}

/// How many records of a topic have each value.
pub(crate) fn count(records: &[Shown], value: &str) -> usize {
    records.iter().filter(|record| record.value() == value).count()
}
