//! kcat, as a person uses it at a prompt: writes lines, reads records, and joins groups.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// kcat's way to one cluster.
#[derive(Clone, Debug)]
pub struct Kcat(Vec<String>);

/// A record as kcat shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Shown {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970.
    pub ts: i64,
    pub key: Option<String>,
    pub payload: Option<String>,
    /// Names and values in turn.
    #[serde(default)]
    pub headers: Vec<String>,
}

impl Shown {
    pub fn value(&self) -> &str {
        self.payload.as_deref().unwrap_or_default()
    }
}

impl Kcat {
    /// Without TLS and a login.
    pub fn plain(address: SocketAddr) -> Self {
        Self(vec!["-b".into(), address.to_string()])
    }

    /// With SCRAM-SHA-256 over TLS.
    pub fn login(servers: &str, ca: &Path, user: &str, password: &str) -> Self {
        let settings = [
            "security.protocol=SASL_SSL".to_owned(),
            "sasl.mechanism=SCRAM-SHA-256".to_owned(),
            format!("ssl.ca.location={}", ca.display()),
            format!("sasl.username={user}"),
            format!("sasl.password={password}"),
        ];
        let settings = settings.into_iter().flat_map(|setting| ["-X".to_owned(), setting]);
        Self(["-b".to_owned(), servers.to_owned()].into_iter().chain(settings).collect())
    }

    /// As a client config says.
    pub fn configured(file: &Path) -> Self {
        Self(vec!["-F".into(), file.display().to_string()])
    }

    /// Writes lines of `key:value` to a partition, in batches of one codec.
    pub fn produce(&self, topic: &str, partition: i32, codec: &str, lines: &str) -> Result<()> {
        let partition = partition.to_string();
        let (partition, header) = (partition.to_string(), format!("codec={codec}"));
        let record = ["-K", ":", "-H", &header, "-H", "empty="];
        self.run(&[&["-P", "-t", topic, "-p", &partition, "-z", codec], &record[..]].concat(), lines)?;
        Ok(())
    }

    /// Every record of a topic that is there now, by partition and offset.
    pub fn read(&self, topic: &str) -> Result<Vec<Shown>> {
        shown(&self.run(&["-C", "-t", topic, "-o", "beginning", "-e", "-q", "-J"], "")?)
    }

    /// What a member of the group gets until the end of the topic; it commits that.
    pub fn read_as(&self, group: &str, topic: &str) -> Result<Vec<Shown>> {
        let settings = "auto.offset.reset=earliest";
        shown(&self.run(&["-G", group, "-X", settings, "-e", "-q", "-J", topic], "")?)
    }

    fn run(&self, args: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new("kcat")
            .args(&self.0)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kcat could not be started: is it installed?")?;
        child.stdin.take().context("standard input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        let complaints = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kcat {args:?}: {}\n{complaints}", output.status);
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn shown(lines: &str) -> Result<Vec<Shown>> {
    let parsed = lines.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
    let mut records = parsed.collect::<Result<Vec<Shown>>>()?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}
