//! One of the two brokers, and the tools that a scenario runs against it.

use std::path::Path;

use anyhow::{Context, Result};

use super::jvm::{Jvm, Run};
use super::names::{Connection, resolve, words};
use super::output;
use crate::differential::settle::Settling;
use crate::differential::{Access, Client};
use crate::wire::{self, Login};

/// What one tool printed in one step.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) command: String,
    /// By where they were printed: `out`, `err`, and the `status` as a line.
    pub(super) printed: [(&'static str, Vec<String>); 3],
}

/// One broker in one scenario.
pub struct Stage<'a> {
    scenario: &'static str,
    access: &'a Access,
    jvm: &'a mut Jvm,
    connection: Connection,
    folder: tempfile::TempDir,
    steps: Vec<Step>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(scenario: &'static str, access: &'a Access, jvm: &'a mut Jvm) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let connection = connection(&access.admin, &folder, "admin")?;
        Ok(Self { scenario, access, jvm, connection, folder, steps: Vec::new() })
    }

    /// A name that no other scenario uses; command lines have it as `@NAME`.
    pub fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.scenario)
    }

    /// A connection of the test itself, as a super user.
    pub fn admin(&self) -> Result<wire::Connection> {
        wire::Connection::plain(self.access.plain)
    }

    /// From now on the tools log in as this user.
    pub fn become_user(&mut self, login: &Login) -> Result<()> {
        self.connection = connection(&self.access.users.logged_in(login), &self.folder, &login.user)?;
        Ok(())
    }

    /// A file for the tools; `@` stands in it for the scenario, as in command lines.
    pub fn file(&self, name: &str, text: &str) -> Result<()> {
        write(self.folder.path(), name, &self.owned(text)).map(drop)
    }

    /// Runs command lines and keeps what they print for the comparison. In them `@` stands for the scenario in names,
    /// and `%/` for the folder with the files.
    pub fn run(&mut self, commands: &[&str]) -> Result<()> {
        commands.iter().try_for_each(|command| self.run_with(command, "").map(drop))
    }

    /// Runs one with something on its standard input.
    pub fn run_with(&mut self, command: &str, input: &str) -> Result<Run> {
        let run = self.start(command, input)?;
        self.keep(command, &run, false);
        Ok(run)
    }

    /// Runs those that print in no order.
    pub fn run_unordered(&mut self, commands: &[&str]) -> Result<()> {
        for command in commands {
            let run = self.start(command, "")?;
            self.keep(command, &run, true);
        }
        Ok(())
    }

    /// Runs one that prints figures; its status is compared, and the test looks at the rest.
    pub fn measure(&mut self, command: &str) -> Result<Run> {
        let run = self.start(command, "")?;
        self.keep(command, &Run { out: String::new(), err: String::new(), ..run }, false);
        Ok(run)
    }

    fn start(&mut self, command: &str, input: &str) -> Result<Run> {
        let line = self.owned(command).replace("%/", &format!("{}/", self.folder.path().display()));
        let (class, arguments) = resolve(&words(&line), &self.connection)?;
        let run = self.jvm.run(class, &arguments, &self.owned(input)).with_context(|| command.to_owned())?;
        Settling::of(self.access.plain).settle()?;
        Ok(run)
    }

    fn keep(&mut self, command: &str, run: &Run, sorted: bool) {
        let folder = format!("{}/", self.folder.path().display());
        let access = self.access;
        let servers = [&access.admin.bootstrap, &access.users.bootstrap];
        let mut own: Vec<_> = servers.map(|server| (server.as_str(), "<broker>")).into();
        own.extend(servers.iter().filter_map(|server| server.rsplit_once(':')).map(|(_, port)| (port, "<port>")));
        own.push((&folder, "%/"));
        let lines = |text: &str| {
            let mut lines = output::lines(text, &own);
            if sorted {
                lines.sort();
            }
            lines
        };
        let printed = [("status", vec![run.status.to_string()]), ("out", lines(&run.out)), ("err", lines(&run.err))];
        self.steps.push(Step { command: command.to_owned(), printed });
    }

    fn owned(&self, text: &str) -> String {
        text.replace('@', &format!("{}-", self.scenario))
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}

fn connection(client: &Client, folder: &tempfile::TempDir, name: &str) -> Result<Connection> {
    let config = write(folder.path(), &format!("{name}.properties"), &client.properties)?;
    Ok(Connection { bootstrap: client.bootstrap.clone(), config })
}

fn write(folder: &Path, name: &str, text: &str) -> Result<String> {
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path.display().to_string())
}
