//! Apache Kafka itself, one node in a folder of its own: what Lockgate is compared with. `make kafka-deps` fetches it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::broker::{Usage, free_ports, usage_of};
use crate::program::{installed, workspace};
use crate::until;
use crate::wire::Connection;

/// A JVM starts slowly on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// The settings that Kafka's own start script gives the JVM, and the heap.
const JVM: [&str; 5] = [
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-Djava.awt.headless=true",
    "-Djdk.attach.allowAttachSelf=true",
];

/// What a comparison sets beyond the defaults.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// Heap, as `-Xmx` and `-Xms` take it.
    pub heap: &'static str,
    /// Lines for `server.properties`.
    pub properties: Vec<String>,
    /// A private key and its certificate in one file, PEM: then there is a listener with TLS and SCRAM, too.
    pub tls: Option<PathBuf>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self { heap: "512M", properties: Vec::new(), tls: None }
    }
}

/// A broker and controller in one process, killed when dropped. Its node id is 1, as Lockgate's.
pub struct Kafka {
    child: Child,
    folder: tempfile::TempDir,
    plain_port: u16,
    sasl_port: u16,
    tls_port: u16,
    started: Duration,
}

impl Kafka {
    /// Formats a folder, starts the process and waits until it answers.
    pub fn start(options: &KafkaOptions) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("kafka-test-").tempdir()?;
        let [plain_port, sasl_port, tls_port, controller_port] = free_ports();
        let (tls_listener, tls_advertised, tls_settings) = match &options.tls {
            Some(store) => (
                format!(",SASL_SSL://127.0.0.1:{tls_port}"),
                format!(",SASL_SSL://localhost:{tls_port}"),
                format!("ssl.keystore.type=PEM\nssl.keystore.location={}\n", store.display()),
            ),
            None => Default::default(),
        };
        let properties = folder.path().join("server.properties");
        let mut text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.bootstrap.servers=127.0.0.1:{controller_port}\n\
             listeners=PLAINTEXT://127.0.0.1:{plain_port},SASL_PLAINTEXT://127.0.0.1:{sasl_port},CONTROLLER://127.0.0.1:{controller_port}{tls_listener}\n\
             advertised.listeners=PLAINTEXT://localhost:{plain_port},SASL_PLAINTEXT://localhost:{sasl_port}{tls_advertised}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
             sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512\n\
             {jaas}{tls_settings}\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\nlog.dirs={data}\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\noffsets.topic.num.partitions=4\n\
             transaction.state.log.num.partitions=4\n",
            jaas = jaas(),
            data = folder.path().join("data").display(),
        );
        for line in &options.properties {
            text += &format!("{line}\n");
        }
        std::fs::write(&properties, text)?;
        let cluster_id = BASE64_URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes());
        let formatted = java(options.heap)?
            // In one word: an id may begin with a dash.
            .args(["kafka.tools.StorageTool", "format", "--standalone", &format!("--cluster-id={cluster_id}"), "-c"])
            .arg(&properties)
            .output()?;
        let said = String::from_utf8_lossy(&formatted.stderr);
        ensure!(formatted.status.success(), "Kafka's folder could not be formatted: {said}");
        let log = File::create(folder.path().join("kafka.log"))?;
        let began = Instant::now();
        let child = java(options.heap)?
            .arg("kafka.Kafka")
            .arg(&properties)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut kafka = Self { child, folder, plain_port, sasl_port, tls_port, started: Duration::ZERO };
        kafka.wait_ready()?;
        kafka.started = began.elapsed();
        Ok(kafka)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let address = self.plaintext_address();
        let mut ended = None;
        let child = &mut self.child;
        until(PATIENCE, "Kafka answers", || {
            ended = child.try_wait().ok().flatten();
            let answers = || {
                TcpStream::connect(address).ok()?;
                Connection::plain(address).ok()?.api_versions().ok()
            };
            (ended.is_some() || answers().is_some()).then_some(())
        })
        .with_context(|| self.log_tail())?;
        ensure!(ended.is_none(), "Kafka ended instead of answering\n{}", self.log_tail());
        Ok(())
    }

    /// From the start of the process to its first answer.
    pub fn started_in(&self) -> Duration {
        self.started
    }

    /// The listener where everyone is the super user ANONYMOUS.
    pub fn plaintext_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.plain_port))
    }

    /// The listener with SCRAM and without TLS.
    pub fn sasl_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.sasl_port))
    }

    /// The listener with TLS and SCRAM, when there is one.
    pub fn tls_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.tls_port))
    }

    pub fn usage(&self) -> Result<Usage> {
        usage_of(self.child.id())
    }

    /// The process's output.
    pub fn log_text(&self) -> String {
        let text = std::fs::read(self.folder.path().join("kafka.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The end of it, for failures.
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        format!("Kafka's log ends with:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// For each listener with users and each mechanism, who takes their passwords.
fn jaas() -> String {
    let lines = ["sasl_plaintext", "sasl_ssl"].iter().flat_map(|listener| {
        ["scram-sha-256", "scram-sha-512"].map(|mechanism| {
            format!(
                "listener.name.{listener}.{mechanism}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
                 required;\n"
            )
        })
    });
    lines.collect()
}

/// A JVM with Kafka's classes.
fn java(heap: &str) -> Result<Command> {
    let classes: PathBuf = installed("kafka/server")?.join("*");
    let log = workspace().join("tests/kafka/log4j2.properties");
    let mut command = Command::new("java");
    command.args([&format!("-Xmx{heap}"), &format!("-Xms{heap}")]).args(JVM);
    command.arg(format!("-Dlog4j2.configurationFile={}", log.display()));
    command.arg("-cp").arg(classes);
    Ok(command)
}
