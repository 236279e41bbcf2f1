//! MirrorMaker 2 of Apache Kafka in dedicated mode: what copies records from one cluster to another, and translates the
//! offsets of consumer groups. `make mirror-deps` fetches it.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{installed, workspace};
use crate::until;

/// Three JVMs at once take minutes to start on a loaded machine; this only ends a test that would hang.
pub const PATIENCE: Duration = Duration::from_secs(900);

/// The process, killed when dropped.
pub struct Mirror {
    child: Child,
    folder: tempfile::TempDir,
}

impl Mirror {
    /// Starts with this `mm2.properties` and with environment variables that it may refer to.
    pub fn start(properties: &str, variables: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mirror-test-").tempdir()?;
        let file = folder.path().join("mm2.properties");
        std::fs::write(&file, properties)?;
        let log = File::create(folder.path().join("mirror.log"))?;
        let settings = workspace().join("tests/mirror/log4j2.properties");
        let child = Command::new("java")
            .args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"])
            .arg(format!("-Dlog4j2.configurationFile={}", settings.display()))
            .arg("-cp")
            .arg(installed("mirror/lib")?.join("*"))
            .arg("org.apache.kafka.connect.mirror.MirrorMaker")
            .arg(&file)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("java could not be started")?;
        Ok(Self { child, folder })
    }

    /// Ctrl-C: what was read is written and its place committed.
    pub fn stop(mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("process id 0")?;
        kill_process(pid, Signal::INT)?;
        let child = &mut self.child;
        until(PATIENCE, "MirrorMaker stops", || child.try_wait().ok().flatten()).with_context(|| self.log())?;
        Ok(())
    }

    /// Fails when the process has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "MirrorMaker ended: {ended:?}\n{}", self.log());
        Ok(())
    }

    /// Waits until it has said something.
    pub fn until_said(&mut self, phrase: &str) -> Result<()> {
        let mut ended = Ok(());
        let said = until(PATIENCE, phrase, || {
            ended = self.check();
            (ended.is_err() || self.log().contains(phrase)).then_some(())
        });
        ended?;
        said.with_context(|| self.log())
    }

    /// The end of what it said: warnings and worse, and what it says of its own.
    pub fn log(&self) -> String {
        let text = std::fs::read(self.folder.path().join("mirror.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        format!("MirrorMaker's log ends with:\n{}", &text[text.ceil_char_boundary(text.len().saturating_sub(8000))..])
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
