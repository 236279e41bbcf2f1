//! Runs a foreign client's program and reads its verdicts: one JSON line per scenario.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::broker::Broker;
use crate::wire::Login;
use crate::{longer, until};

/// Longest run of one program.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a program says of one scenario.
#[derive(Debug, Deserialize)]
pub struct Verdict {
    pub scenario: String,
    pub ok: bool,
    pub detail: serde_json::Value,
    pub seconds: f64,
}

/// Where a program finds the broker.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub bootstrap: String,
    pub cut: String,
    pub ca: PathBuf,
    pub login: Login,
    pub mechanism: &'static str,
    /// Every topic and group starts with it.
    pub prefix: String,
}

impl Surroundings {
    /// A broker without anything in front of it.
    pub fn of(broker: &Broker, login: Login, mechanism: &'static str, prefix: &str) -> Self {
        let bootstrap = broker.bootstrap();
        Self { cut: bootstrap.clone(), bootstrap, ca: broker.ca_path(), login, mechanism, prefix: prefix.to_owned() }
    }
}

/// The top folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// A file that `make test-deps` made.
pub fn installed(name: &str) -> Result<PathBuf> {
    let path = workspace().join(".cache").join(name);
    ensure!(path.exists(), "{} is missing: make test-deps", path.display());
    Ok(path)
}

/// Kafka's own Java client of a version that `make java-deps` fetched.
pub fn java_client(version: &str) -> Result<Vec<PathBuf>> {
    let folder = installed(&format!("java/{version}"))?;
    let classes = format!("{}:{}", folder.join("classes").display(), folder.join("lib/*").display());
    // What it logs is shown when a scenario fails.
    let log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn";
    Ok(["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", log, "-cp", &classes, "Main"].map(PathBuf::from).into())
}

/// Runs scenarios; fails unless each is reported as passed.
pub fn run(command: &[PathBuf], scenarios: &[&str], surroundings: &Surroundings) -> Result<Vec<Verdict>> {
    let (program, args) = command.split_first().context("no program")?;
    let output = tempfile::NamedTempFile::new()?;
    let errors = tempfile::NamedTempFile::new()?;
    let mut child = Command::new(program)
        .args(args)
        .args(scenarios)
        .env("LG_BOOTSTRAP", &surroundings.bootstrap)
        .env("LG_CUT", &surroundings.cut)
        .env("LG_CA", &surroundings.ca)
        .env("LG_USER", &surroundings.login.user)
        .env("LG_PASSWORD", &surroundings.login.password)
        .env("LG_MECHANISM", surroundings.mechanism)
        .env("LG_PREFIX", &surroundings.prefix)
        .env("LG_LONGER", longer::<u32>(1).to_string())
        .stdin(Stdio::null())
        .stdout(output.reopen()?)
        .stderr(errors.reopen()?)
        .spawn()
        .with_context(|| program.display().to_string())?;
    let ended = until(PATIENCE * longer::<u32>(1), "the client program ends", || child.try_wait().ok().flatten());
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let text = std::fs::read_to_string(output.path())?;
    let complaints = String::from_utf8_lossy(&std::fs::read(errors.path())?).into_owned();
    let complaints = &complaints[complaints.ceil_char_boundary(complaints.len().saturating_sub(4000))..];
    ended.with_context(|| format!("{text}\n{complaints}"))?;
    let mut verdicts = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let verdict: Verdict = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let detail = verdict.detail.as_str().map(str::to_owned).unwrap_or_else(|| verdict.detail.to_string());
        ensure!(verdict.ok, "{} fails after {} s: {detail}\n{complaints}", verdict.scenario, verdict.seconds);
        verdicts.push(verdict);
    }
    let reported: Vec<&str> = verdicts.iter().map(|verdict| verdict.scenario.as_str()).collect();
    ensure!(reported == scenarios, "{reported:?} were reported instead of {scenarios:?}\n{text}\n{complaints}");
    Ok(verdicts)
}
