//! A program that gets so much time and no more, with everything it says in a file.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::until;

/// How a program ended.
pub struct Ended {
    /// Absent when its time was over and it was killed, with everything that it had started.
    pub status: Option<ExitStatus>,
    pub output: String,
}

/// Runs a program for at most `limit`; both of its streams go to the file `output`.
pub fn run(command: &mut Command, limit: Duration, output: &Path) -> Result<Ended> {
    let file = File::create(output).with_context(|| output.display().to_string())?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .spawn()
        .with_context(|| format!("{command:?} could not be started"))?;
    let status = until(limit, "the program ends", || child.try_wait().ok().flatten()).ok();
    if status.is_none() {
        let group = Pid::from_raw(i32::try_from(child.id())?).context("process id 0")?;
        kill_process_group(group, Signal::KILL)?;
        child.wait()?;
    }
    let output = String::from_utf8_lossy(&std::fs::read(output)?).into_owned();
    Ok(Ended { status, output })
}
