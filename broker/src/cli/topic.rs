//! `lockgate topic`.

use std::collections::BTreeMap;

use clap::Subcommand;
use lockgate_client::Admin;
use lockgate_client::admin::{Alteration, ConfigChange, ConfigResource, NewPartitions, NewTopic, Topic};
use serde::Serialize;

use super::config::{ConfigView, key_value};
use super::connection::ConnectionArgs;
use super::failure::{Failures, Outcome};
use super::input::confirm;
use super::output::{Output, Table, list, or_dash};

#[derive(Debug, Subcommand)]
pub(super) enum TopicCommand {
    /// List the topics that the user may see
    List {
        /// Show internal topics too
        #[arg(long)]
        internal: bool,
    },
    /// Show partitions, replicas and the configs that differ from the defaults
    Describe {
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
    },
    /// Create topics
    Create {
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
        /// Number of partitions; the broker's default when not given
        #[arg(long, short, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// Replication factor; the broker's default when not given
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i16).range(1..))]
        replication_factor: Option<i16>,
        /// Topic config, repeatable
        #[arg(long = "config", short, value_name = "KEY=VALUE", value_parser = key_value)]
        configs: Vec<(String, String)>,
        /// Check only, create nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete topics with all their records
    Delete {
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Add partitions, set or reset configs
    #[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
    Alter {
        topic: String,
        /// New number of partitions in total; it can only grow
        #[arg(long, short, group = "change", value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// Config to set, repeatable
        #[arg(long = "config", short, group = "change", value_name = "KEY=VALUE", value_parser = key_value)]
        configs: Vec<(String, String)>,
        /// Config to set back to its default, repeatable
        #[arg(long, group = "change", value_name = "KEY")]
        delete_config: Vec<String>,
        /// Check only, change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Serialize)]
struct TopicView {
    #[serde(flatten)]
    topic: Topic,
    replication_factor: usize,
    configs: Vec<ConfigView>,
}

#[derive(Serialize)]
struct Changed<'a> {
    topics: &'a [String],
    dry_run: bool,
}

pub(super) async fn run(command: TopicCommand, connection: &ConnectionArgs, output: Output) -> Outcome {
    match command {
        TopicCommand::List { internal } => list_topics(&connection.admin().await?, internal, output).await,
        TopicCommand::Describe { topics } => describe(&connection.admin().await?, &topics, output).await,
        TopicCommand::Create { topics, partitions, replication_factor, configs, dry_run } => {
            let configs: BTreeMap<_, _> = configs.into_iter().collect();
            let new: Vec<NewTopic> = topics
                .into_iter()
                .map(|name| NewTopic { name, partitions, replication_factor, configs: configs.clone() })
                .collect();
            create(&connection.admin().await?, &new, dry_run, output).await
        }
        TopicCommand::Delete { topics, yes } => {
            confirm(&format!("Delete {} with all records?", topics.join(", ")), yes)?;
            delete(&connection.admin().await?, &topics, output).await
        }
        TopicCommand::Alter { topic, partitions, configs, delete_config, dry_run } => {
            let set = configs.into_iter().map(|(key, value)| (key, ConfigChange::Set(value)));
            let changes = set.chain(delete_config.into_iter().map(|key| (key, ConfigChange::Delete))).collect();
            alter(&connection.admin().await?, &topic, partitions, changes, dry_run, output).await
        }
    }
}

async fn list_topics(admin: &Admin, internal: bool, output: Output) -> Outcome {
    let mut topics = admin.list_topics().await?;
    topics.retain(|topic| internal || !topic.internal);
    let table = || {
        let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICATION", "ID"]);
        for topic in &topics {
            table.row(vec![
                topic.name.clone(),
                topic.partitions.len().to_string(),
                topic.replication_factor().to_string(),
                or_dash(topic.topic_id),
            ]);
        }
        table
    };
    Ok(output.print(&topics, table)?)
}

async fn describe(admin: &Admin, names: &[String], output: Output) -> Outcome {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut failures = Failures::default();
    let mut views = Vec::new();
    for (name, described) in admin.describe_topics(&names).await? {
        let Some(topic) = failures.keep(&format!("topic {name}"), described) else { continue };
        let replication_factor = topic.replication_factor();
        views.push(TopicView { topic, replication_factor, configs: Vec::new() });
    }
    let resources: Vec<_> = views.iter().map(|view| ConfigResource::Topic(view.topic.name.clone())).collect();
    if !resources.is_empty() {
        for (resource, entries) in admin.describe_configs(&resources).await? {
            let Some(entries) = failures.keep(&format!("configs of {resource}"), entries) else { continue };
            let view = views.iter_mut().find(|view| ConfigResource::Topic(view.topic.name.clone()) == resource);
            if let Some(view) = view {
                view.configs = entries.into_iter().filter(|entry| !entry.is_default()).map(ConfigView::from).collect();
            }
        }
    }
    if output.is_json() {
        output.done(&views, "")?;
    } else {
        for view in &views {
            output.print(&(), || summary(view))?;
            output.print(&(), || partitions(view))?;
        }
    }
    failures.outcome()
}

fn summary(view: &TopicView) -> Table {
    let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICATION", "ID", "CONFIGS"]);
    let configs: Vec<String> =
        view.configs.iter().map(|entry| format!("{}={}", entry.name, or_dash(entry.value.clone()))).collect();
    table.row(vec![
        view.topic.name.clone(),
        view.topic.partitions.len().to_string(),
        view.replication_factor.to_string(),
        or_dash(view.topic.topic_id),
        if configs.is_empty() { "-".to_owned() } else { configs.join(",") },
    ]);
    table
}

fn partitions(view: &TopicView) -> Table {
    let mut table = Table::new(&["  PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC"]);
    for partition in &view.topic.partitions {
        table.row(vec![
            format!("  {}", partition.index),
            if partition.leader < 0 { "none".to_owned() } else { partition.leader.to_string() },
            partition.leader_epoch.to_string(),
            list(&partition.replicas),
            list(&partition.in_sync_replicas),
        ]);
    }
    table
}

async fn create(admin: &Admin, new: &[NewTopic], dry_run: bool, output: Output) -> Outcome {
    let mut failures = Failures::default();
    let mut created = Vec::new();
    for (name, result) in admin.create_topics(new, dry_run).await? {
        if failures.keep(&format!("topic {name}"), result).is_some() {
            created.push(name);
        }
    }
    let verb = if dry_run { "Would create" } else { "Created" };
    changed(output, verb, &created, dry_run)?;
    failures.outcome()
}

async fn delete(admin: &Admin, names: &[String], output: Output) -> Outcome {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut failures = Failures::default();
    let mut deleted = Vec::new();
    for (name, result) in admin.delete_topics(&names).await? {
        if failures.keep(&format!("topic {name}"), result).is_some() {
            deleted.push(name);
        }
    }
    changed(output, "Deleted", &deleted, false)?;
    failures.outcome()
}

async fn alter(
    admin: &Admin,
    topic: &str,
    partitions: Option<i32>,
    changes: Vec<(String, ConfigChange)>,
    dry_run: bool,
    output: Output,
) -> Outcome {
    let mut failures = Failures::default();
    if let Some(total) = partitions {
        let new = NewPartitions { topic: topic.to_owned(), total };
        for (name, result) in admin.create_partitions(&[new], dry_run).await? {
            failures.keep(&format!("partitions of {name}"), result);
        }
    }
    if !changes.is_empty() {
        let alteration = Alteration { resource: ConfigResource::Topic(topic.to_owned()), changes };
        for (resource, result) in admin.alter_configs(&[alteration], dry_run).await? {
            failures.keep(&format!("configs of {resource}"), result);
        }
    }
    failures.outcome()?;
    let verb = if dry_run { "Would alter" } else { "Altered" };
    changed(output, verb, &[topic.to_owned()], dry_run)
}

fn changed(output: Output, verb: &str, topics: &[String], dry_run: bool) -> Outcome {
    if output.is_json() || !topics.is_empty() {
        output.done(&Changed { topics, dry_run }, &format!("{verb} {}.", topics.join(", ")))?;
    }
    Ok(())
}
