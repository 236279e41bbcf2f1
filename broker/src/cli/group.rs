//! `lockgate group`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use lockgate_client::Admin;
use lockgate_client::admin::{Group, Lag, OffsetSpec, TopicPartition};
use serde::Serialize;

use super::connection::ConnectionArgs;
use super::failure::{Failure, Failures, Outcome};
use super::input::confirm;
use super::output::{Output, Table, or_dash};

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// List consumer groups
    List,
    /// Show members, committed offsets and lag
    Describe {
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// Delete groups with their offsets
    Delete {
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Set the offsets of a group without members
    ResetOffsets {
        group: String,
        /// Topic, repeatable; all topics that the group has committed when not given
        #[arg(long = "topic", short, value_name = "TOPIC")]
        topics: Vec<String>,
        #[command(flatten)]
        target: TargetArgs,
        /// Show the offsets, change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct TargetArgs {
    /// To the first record that is still there
    #[arg(long)]
    to_earliest: bool,
    /// To the end
    #[arg(long)]
    to_latest: bool,
    /// To this offset in every partition
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// To the first record at or after this time (milliseconds since 1970)
    #[arg(long, value_name = "MILLIS", value_parser = clap::value_parser!(i64).range(0..))]
    to_time: Option<i64>,
}

#[derive(Serialize)]
struct GroupView {
    #[serde(flatten)]
    group: Group,
    offsets: Vec<Lag>,
}

#[derive(Serialize)]
struct Reset {
    #[serde(flatten)]
    partition: TopicPartition,
    before: Option<i64>,
    after: i64,
}

#[derive(Serialize)]
struct Deleted<'a> {
    groups: &'a [String],
}

pub(super) async fn run(command: GroupCommand, connection: &ConnectionArgs, output: Output) -> Outcome {
    match command {
        GroupCommand::List => list(&connection.admin().await?, output).await,
        GroupCommand::Describe { groups } => describe(&connection.admin().await?, &groups, output).await,
        GroupCommand::Delete { groups, yes } => {
            confirm(&format!("Delete {} with all committed offsets?", groups.join(", ")), yes)?;
            delete(&connection.admin().await?, &groups, output).await
        }
        GroupCommand::ResetOffsets { group, topics, target, dry_run } => {
            reset(&connection.admin().await?, &group, topics, &target, dry_run, output).await
        }
    }
}

async fn list(admin: &Admin, output: Output) -> Outcome {
    let groups = admin.list_groups().await?;
    let table = || {
        let mut table = Table::new(&["GROUP", "STATE", "TYPE", "PROTOCOL"]);
        for group in &groups {
            table.row(vec![
                group.group.clone(),
                or_dash(group.state.clone()),
                group.protocol_type.clone(),
                or_dash(group.group_type.clone()),
            ]);
        }
        table
    };
    Ok(output.print(&groups, table)?)
}

async fn describe(admin: &Admin, names: &[String], output: Output) -> Outcome {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut failures = Failures::default();
    let mut views = Vec::new();
    for (name, described) in admin.describe_groups(&names).await? {
        let Some(group) = failures.keep(&format!("group {name}"), described) else { continue };
        let lag = admin.group_lag(&name).await;
        let offsets = failures.keep(&format!("offsets of group {name}"), lag).unwrap_or_default();
        views.push(GroupView { group, offsets });
    }
    if output.is_json() {
        output.done(&views, "")?;
    } else {
        for view in &views {
            output.print(&(), || members(view))?;
            output.print(&(), || offsets(view))?;
        }
    }
    failures.outcome()
}

fn members(view: &GroupView) -> Table {
    let mut table = Table::new(&["GROUP", "STATE", "MEMBER", "CLIENT", "HOST", "PARTITIONS"]);
    if view.group.members.is_empty() {
        table.row(vec![
            view.group.group.clone(),
            view.group.state.clone(),
            "-".into(),
            "-".into(),
            "-".into(),
            "-".into(),
        ]);
    }
    for member in &view.group.members {
        let partitions: usize = member.assignment.iter().map(|topic| topic.partitions.len()).sum();
        table.row(vec![
            view.group.group.clone(),
            view.group.state.clone(),
            member.member_id.clone(),
            member.client_id.clone(),
            member.host.clone(),
            partitions.to_string(),
        ]);
    }
    table
}

fn offsets(view: &GroupView) -> Table {
    let mut table = Table::new(&["  TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER"]);
    for lag in &view.offsets {
        let holds = |member: &&lockgate_client::admin::GroupMember| {
            member
                .assignment
                .iter()
                .any(|topic| topic.topic == lag.partition.topic && topic.partitions.contains(&lag.partition.partition))
        };
        let member = view.group.members.iter().find(holds).map(|member| member.member_id.clone());
        table.row(vec![
            format!("  {}", lag.partition.topic),
            lag.partition.partition.to_string(),
            lag.committed.to_string(),
            or_dash(lag.end),
            or_dash(lag.lag),
            or_dash(member),
        ]);
    }
    table
}

async fn delete(admin: &Admin, names: &[String], output: Output) -> Outcome {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut failures = Failures::default();
    let mut deleted = Vec::new();
    for (name, result) in admin.delete_groups(&names).await? {
        if failures.keep(&format!("group {name}"), result).is_some() {
            deleted.push(name);
        }
    }
    if output.is_json() || !deleted.is_empty() {
        output.done(&Deleted { groups: &deleted }, &format!("Deleted {}.", deleted.join(", ")))?;
    }
    failures.outcome()
}

async fn reset(
    admin: &Admin,
    group: &str,
    topics: Vec<String>,
    target: &TargetArgs,
    dry_run: bool,
    output: Output,
) -> Outcome {
    let mut failures = Failures::default();
    let mut before = BTreeMap::new();
    for (partition, offset) in admin.committed_offsets(group).await? {
        if let Some(offset) = failures.keep(&partition.to_string(), offset) {
            before.insert(partition, offset.offset);
        }
    }
    let partitions = partitions_to_reset(admin, topics, &before, &mut failures).await?;
    let targets = target_offsets(admin, &partitions, target, &mut failures).await?;
    // Half a reset helps nobody: nothing is changed unless every partition has its offset.
    failures.outcome()?;
    if targets.is_empty() {
        return Err(Failure::Text(format!(
            "The group {group} has committed no offsets; name the topics with --topic."
        )));
    }
    let mut failures = Failures::default();
    if !dry_run {
        for (partition, result) in admin.commit_offsets(group, &targets).await? {
            failures.keep(&partition.to_string(), result);
        }
    }
    failures.outcome()?;
    let resets: Vec<Reset> = targets
        .into_iter()
        .map(|(partition, after)| Reset { before: before.get(&partition).copied(), partition, after })
        .collect();
    let table = || {
        let mut table = Table::new(&["TOPIC", "PARTITION", "BEFORE", "AFTER"]);
        for reset in &resets {
            let TopicPartition { topic, partition } = &reset.partition;
            table.row(vec![topic.clone(), partition.to_string(), or_dash(reset.before), reset.after.to_string()]);
        }
        table
    };
    Ok(output.print(&resets, table)?)
}

async fn partitions_to_reset(
    admin: &Admin,
    topics: Vec<String>,
    committed: &BTreeMap<TopicPartition, i64>,
    failures: &mut Failures,
) -> Outcome<Vec<TopicPartition>> {
    if topics.is_empty() {
        return Ok(committed.keys().cloned().collect());
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut partitions = Vec::new();
    for (name, topic) in admin.describe_topics(&names).await? {
        let Some(topic) = failures.keep(&format!("topic {name}"), topic) else { continue };
        let all = topic.partitions.iter().map(|partition| partition.index);
        partitions.extend(all.map(|partition| TopicPartition { topic: name.clone(), partition }));
    }
    Ok(partitions)
}

async fn target_offsets(
    admin: &Admin,
    partitions: &[TopicPartition],
    target: &TargetArgs,
    failures: &mut Failures,
) -> Outcome<BTreeMap<TopicPartition, i64>> {
    let spec = match target {
        TargetArgs { to_offset: Some(offset), .. } => {
            return Ok(partitions.iter().map(|partition| (partition.clone(), *offset)).collect());
        }
        TargetArgs { to_time: Some(millis), .. } => OffsetSpec::AtTime(*millis),
        TargetArgs { to_earliest: true, .. } => OffsetSpec::Earliest,
        TargetArgs { .. } => OffsetSpec::Latest,
    };
    let mut targets = BTreeMap::new();
    for (partition, offset) in admin.list_offsets(partitions, spec).await? {
        if let Some(offset) = failures.keep(&partition.to_string(), offset) {
            targets.insert(partition, offset);
        }
    }
    Ok(targets)
}
