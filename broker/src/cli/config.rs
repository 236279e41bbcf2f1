//! `lockgate config`.

use clap::{Args, Subcommand};
use lockgate_client::Admin;
use lockgate_client::admin::{Alteration, ConfigChange, ConfigEntry, ConfigResource};
use serde::Serialize;

use super::connection::ConnectionArgs;
use super::failure::{Failures, Outcome};
use super::output::{Output, Table};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show configs, where each value comes from, and with --all the defaults too
    Describe {
        #[command(flatten)]
        resource: ResourceArgs,
        /// Show defaults too
        #[arg(long)]
        all: bool,
    },
    /// Set configs
    Set {
        #[command(flatten)]
        resource: ResourceArgs,
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = key_value)]
        configs: Vec<(String, String)>,
        /// Check only, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Set configs back to their defaults
    Delete {
        #[command(flatten)]
        resource: ResourceArgs,
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        /// Check only, change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// What the configs belong to.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct ResourceArgs {
    /// Configs of this topic
    #[arg(long, short)]
    topic: Option<String>,
    /// Configs of the broker with this id
    #[arg(long, short, value_name = "ID")]
    broker: Option<i32>,
    /// Configs of all brokers
    #[arg(long)]
    all_brokers: bool,
}

impl ResourceArgs {
    fn resource(&self) -> ConfigResource {
        match &self.topic {
            Some(topic) => ConfigResource::Topic(topic.clone()),
            None => ConfigResource::Broker(self.broker),
        }
    }
}

/// A config as it is shown.
#[derive(Serialize)]
pub(super) struct ConfigView {
    pub(super) name: String,
    pub(super) value: Option<String>,
    source: String,
    sensitive: bool,
    read_only: bool,
}

impl From<ConfigEntry> for ConfigView {
    fn from(entry: ConfigEntry) -> Self {
        Self {
            name: entry.name,
            value: entry.value,
            source: entry.source.to_string(),
            sensitive: entry.sensitive,
            read_only: entry.read_only,
        }
    }
}

#[derive(Serialize)]
struct Altered {
    resource: String,
    dry_run: bool,
}

/// Reads `key=value`; the value may be empty and may hold more `=`.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("it must be written as KEY=VALUE".to_owned()),
    }
}

pub(super) async fn run(command: ConfigCommand, connection: &ConnectionArgs, output: Output) -> Outcome {
    let admin = connection.admin().await?;
    match command {
        ConfigCommand::Describe { resource, all } => describe(&admin, resource.resource(), all, output).await,
        ConfigCommand::Set { resource, configs, dry_run } => {
            let changes = configs.into_iter().map(|(key, value)| (key, ConfigChange::Set(value))).collect();
            alter(&admin, resource.resource(), changes, dry_run, output).await
        }
        ConfigCommand::Delete { resource, keys, dry_run } => {
            let changes = keys.into_iter().map(|key| (key, ConfigChange::Delete)).collect();
            alter(&admin, resource.resource(), changes, dry_run, output).await
        }
    }
}

async fn describe(admin: &Admin, resource: ConfigResource, all: bool, output: Output) -> Outcome {
    let mut failures = Failures::default();
    let mut views: Vec<ConfigView> = Vec::new();
    for (resource, entries) in admin.describe_configs(&[resource]).await? {
        let entries = failures.keep(&resource.to_string(), entries).unwrap_or_default();
        views.extend(entries.into_iter().filter(|entry| all || !entry.is_default()).map(ConfigView::from));
    }
    let table = || {
        let mut table = Table::new(&["KEY", "VALUE", "SOURCE"]);
        for view in &views {
            let value = match (&view.value, view.sensitive) {
                (Some(value), _) => value.clone(),
                (None, true) => "(secret)".to_owned(),
                (None, false) => "-".to_owned(),
            };
            table.row(vec![view.name.clone(), value, view.source.clone()]);
        }
        table
    };
    failures.outcome()?;
    Ok(output.print(&views, table)?)
}

async fn alter(
    admin: &Admin,
    resource: ConfigResource,
    changes: Vec<(String, ConfigChange)>,
    dry_run: bool,
    output: Output,
) -> Outcome {
    let mut failures = Failures::default();
    let name = resource.to_string();
    for (resource, result) in admin.alter_configs(&[Alteration { resource, changes }], dry_run).await? {
        failures.keep(&resource.to_string(), result);
    }
    failures.outcome()?;
    let verb = if dry_run { "Would alter" } else { "Altered" };
    let line = format!("{verb} the configs of {name}.");
    output.done(&Altered { resource: name, dry_run }, &line)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_be_empty_and_hold_equals_signs() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(key_value("a="), Ok(("a".into(), String::new())));
        assert!(key_value("=b").is_err());
        assert!(key_value("a").is_err());
    }
}
