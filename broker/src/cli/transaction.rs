//! `lockgate transaction`.

use clap::{Args, Subcommand};
use lockgate_client::Admin;
use lockgate_client::admin::{PartitionProducer, TopicPartition, Transaction, TransactionFilter};
use serde::Serialize;

use super::connection::ConnectionArgs;
use super::failure::{Failure, Failures, Outcome};
use super::input::confirm;
use super::output::{Output, Table, list as joined, or_dash};

#[derive(Debug, Subcommand)]
pub(super) enum TransactionCommand {
    /// List transactional ids
    List(FilterArgs),
    /// Show producer, state and partitions
    Describe {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Show who writes to a partition, and since which offset a transaction is open there
    Producers {
        topic: String,
        #[arg(long, short, value_parser = clap::value_parser!(i32).range(0..))]
        partition: i32,
        /// Only those with an open transaction
        #[arg(long)]
        open: bool,
    },
    /// Abort a transaction that hangs in a partition
    ///
    /// For transactions that their coordinator no longer knows: those hold up read_committed consumers for ever. A
    /// producer that is still at work ends its transaction itself, or its timeout does.
    Abort {
        topic: String,
        #[arg(long, short, value_parser = clap::value_parser!(i32).range(0..))]
        partition: i32,
        #[command(flatten)]
        which: WhichArgs,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// Only in this state, such as Ongoing; repeatable
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<String>,
    /// Only of this producer id; repeatable
    #[arg(long = "producer-id", value_name = "NUMBER")]
    producer_ids: Vec<i64>,
    /// Only those open for longer than this
    #[arg(long, value_name = "MILLIS", value_parser = clap::value_parser!(i64).range(0..))]
    longer_than: Option<i64>,
    /// Only ids that this regular expression matches as a whole
    #[arg(long = "id", value_name = "PATTERN")]
    id_pattern: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct WhichArgs {
    /// The first offset of the transaction
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    start_offset: Option<i64>,
    /// The producer whose transaction it is
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    producer_id: Option<i64>,
}

#[derive(Serialize)]
struct Aborted<'a> {
    #[serde(flatten)]
    partition: &'a TopicPartition,
    producer_id: i64,
    producer_epoch: i32,
    start_offset: Option<i64>,
}

pub(super) async fn run(command: TransactionCommand, connection: &ConnectionArgs, output: Output) -> Outcome {
    let admin = connection.admin().await?;
    match command {
        TransactionCommand::List(filter) => list(&admin, filter, output).await,
        TransactionCommand::Describe { ids } => describe(&admin, &ids, output).await,
        TransactionCommand::Producers { topic, partition, open } => {
            producers(&admin, &TopicPartition { topic, partition }, open, output).await
        }
        TransactionCommand::Abort { topic, partition, which, yes } => {
            abort(&admin, &TopicPartition { topic, partition }, &which, yes, output).await
        }
    }
}

async fn list(admin: &Admin, filter: FilterArgs, output: Output) -> Outcome {
    let FilterArgs { states, producer_ids, longer_than: longer_than_ms, id_pattern } = filter;
    let filter = TransactionFilter { states, producer_ids, longer_than_ms, id_pattern };
    let transactions = admin.list_transactions(&filter).await?;
    let table = || {
        let mut table = Table::new(&["TRANSACTIONAL ID", "PRODUCER", "STATE"]);
        for listing in &transactions {
            table.row(vec![listing.transactional_id.clone(), listing.producer_id.to_string(), listing.state.clone()]);
        }
        table
    };
    Ok(output.print(&transactions, table)?)
}

async fn describe(admin: &Admin, ids: &[String], output: Output) -> Outcome {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut failures = Failures::default();
    let mut transactions = Vec::new();
    for (id, described) in admin.describe_transactions(&ids).await? {
        transactions.extend(failures.keep(&format!("transactional id {id}"), described));
    }
    if output.is_json() || !transactions.is_empty() {
        output.print(&transactions, || details(&transactions))?;
    }
    failures.outcome()
}

fn details(transactions: &[Transaction]) -> Table {
    let mut table =
        Table::new(&["TRANSACTIONAL ID", "STATE", "PRODUCER", "EPOCH", "TIMEOUT MS", "STARTED MS", "PARTITIONS"]);
    for transaction in transactions {
        let topics: Vec<String> =
            transaction.topics.iter().map(|topic| format!("{}:{}", topic.topic, joined(&topic.partitions))).collect();
        table.row(vec![
            transaction.transactional_id.clone(),
            transaction.state.clone(),
            transaction.producer_id.to_string(),
            transaction.producer_epoch.to_string(),
            transaction.timeout_ms.to_string(),
            or_dash(transaction.started_ms),
            or_dash(Some(topics.join(" ")).filter(|topics| !topics.is_empty())),
        ]);
    }
    table
}

async fn producers(admin: &Admin, partition: &TopicPartition, open: bool, output: Output) -> Outcome {
    let mut producers = admin.describe_producers(partition).await?;
    producers.retain(|producer| !open || producer.transaction_start.is_some());
    let table = || {
        let mut table = Table::new(&[
            "PRODUCER",
            "EPOCH",
            "LAST SEQUENCE",
            "LAST WRITE MS",
            "COORDINATOR EPOCH",
            "TRANSACTION SINCE",
        ]);
        for producer in &producers {
            table.row(vec![
                producer.producer_id.to_string(),
                producer.producer_epoch.to_string(),
                or_dash(producer.last_sequence),
                or_dash(producer.last_timestamp_ms),
                or_dash(producer.coordinator_epoch),
                or_dash(producer.transaction_start),
            ]);
        }
        table
    };
    Ok(output.print(&producers, table)?)
}

async fn abort(admin: &Admin, partition: &TopicPartition, which: &WhichArgs, yes: bool, output: Output) -> Outcome {
    let producers = admin.describe_producers(partition).await?;
    let Some(producer) = producers.iter().find(|producer| which.names(producer)) else {
        return Err(Failure::Text(format!(
            "No such transaction is open in {partition}; lockgate transaction producers {} --partition {} --open shows \
             those that are.",
            partition.topic, partition.partition
        )));
    };
    let PartitionProducer { producer_id, producer_epoch, transaction_start: start_offset, .. } = *producer;
    let since = or_dash(start_offset);
    let what = format!("the transaction of producer {producer_id} in {partition}, open since offset {since}");
    confirm(&format!("Abort {what}?"), yes)?;
    admin.abort_transaction(partition, producer).await?;
    let aborted = Aborted { partition, producer_id, producer_epoch, start_offset };
    Ok(output.done(&aborted, &format!("Aborted {what}."))?)
}

impl WhichArgs {
    fn names(&self, producer: &PartitionProducer) -> bool {
        let Some(start) = producer.transaction_start else { return false };
        self.start_offset == Some(start) || self.producer_id == Some(producer.producer_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_open_transactions_are_named() {
        let producer = |transaction_start| PartitionProducer {
            producer_id: 7,
            producer_epoch: 0,
            last_sequence: None,
            last_timestamp_ms: None,
            coordinator_epoch: None,
            transaction_start,
        };
        let by_offset = |offset| WhichArgs { start_offset: Some(offset), producer_id: None };
        let by_producer = |id| WhichArgs { start_offset: None, producer_id: Some(id) };
        assert!(by_offset(5).names(&producer(Some(5))) && by_producer(7).names(&producer(Some(5))));
        assert!(!by_offset(6).names(&producer(Some(5))) && !by_producer(8).names(&producer(Some(5))));
        assert!(!by_producer(7).names(&producer(None)), "nothing is open");
    }
}
