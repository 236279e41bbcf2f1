//! The command line: `serve` runs the broker, everything else is a client of some cluster.

mod acl;
mod bench;
mod check_config;
mod config;
mod connection;
mod consume;
mod export;
mod failure;
mod group;
mod histogram;
mod input;
mod output;
mod password;
mod produce;
mod progress;
mod quota;
mod record_format;
mod serve;
mod topic;
mod transaction;
mod user;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use connection::ConnectionArgs;
use failure::{Failure, Outcome};
use output::Output;

/// A broker that speaks the Kafka protocol, and the tools to run it.
#[derive(Debug, Parser)]
#[command(name = "lockgate", version, propagate_version = true)]
#[command(
    after_help = "--help shows how to name a cluster; the settings of a connection have LOCKGATE_ variables too."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker
    Serve(serve::ServeArgs),
    /// Check a config file and say what is wrong with it
    CheckConfig(check_config::CheckConfigArgs),
    /// Topics: list, describe, create, delete, alter
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// ACLs: list, create, delete
    #[command(subcommand)]
    Acl(acl::AclCommand),
    /// Users and their SCRAM passwords: list, create, delete
    #[command(subcommand)]
    User(user::UserCommand),
    /// Quotas of users, client ids and addresses: list, set, remove
    #[command(subcommand)]
    Quota(quota::QuotaCommand),
    /// Consumer groups: list, describe, delete, reset-offsets
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Transactions: list, describe, producers, abort
    #[command(subcommand)]
    Transaction(transaction::TransactionCommand),
    /// Configs of topics and brokers: describe, set, delete
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// What a cluster holds, as configuration: terraform
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Write the lines of a file or of standard input to a topic
    Produce(produce::ProduceArgs),
    /// Read records from topics
    Consume(consume::ConsumeArgs),
    /// Measure a cluster's throughput and latency
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

/// Exit status of wrong usage, as clap has it.
const USAGE: u8 = 2;
/// Exit status of a broker config that cannot be used.
const BAD_CONFIG: u8 = 64;
/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Parses the command line and runs the command; `main` is this and nothing else.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout, where a closed pipe is no failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let Cli { global, command } = cli;
    match command {
        Command::Serve(args) => global.refuse_connection().unwrap_or_else(|| serve::run(args)),
        Command::CheckConfig(args) => {
            global.refuse_connection().unwrap_or_else(|| report(check_config::run(&args, Output::new(global.json))))
        }
        command => run_client(global, command),
    }
}

impl Global {
    /// `serve` and `check-config` connect to nothing: a connection setting there is a mistake worth saying.
    fn refuse_connection(&self) -> Option<ExitCode> {
        self.connection.is_given().then(|| {
            report(Err(Failure::Usage(
                "this command connects to no cluster, so it takes no connection settings".into(),
            )))
        })
    }
}

fn run_client(global: Global, command: Command) -> ExitCode {
    init_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(Err(Failure::Io(error))),
    };
    let outcome = runtime.block_on(client(global, command));
    // A thread that still waits for standard input must not hold up the exit.
    runtime.shutdown_background();
    report(outcome)
}

async fn client(global: Global, command: Command) -> Outcome {
    let output = Output::new(global.json);
    let connection = &global.connection;
    match command {
        // These stop in an order of their own on Ctrl-C.
        Command::Produce(args) => return produce::run(args, connection, output).await,
        Command::Consume(args) => return consume::run(args, connection, output).await,
        Command::Bench(command) => return bench::run(command, connection, output).await,
        _ => {}
    }
    let work = async {
        match command {
            Command::Topic(command) => topic::run(command, connection, output).await,
            Command::Acl(command) => acl::run(command, connection, output).await,
            Command::User(command) => user::run(command, connection, output).await,
            Command::Quota(command) => quota::run(command, connection, output).await,
            Command::Group(command) => group::run(command, connection, output).await,
            Command::Transaction(command) => transaction::run(command, connection, output).await,
            Command::Config(command) => config::run(command, connection, output).await,
            Command::Export(command) => export::run(command, connection, output).await,
            _ => Ok(()),
        }
    };
    tokio::select! {
        outcome = work => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
    }
}

/// What the libraries underneath log is shown on request only: their errors reach the user as sentences anyway.
fn init_log() {
    let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("LOCKGATE_CLIENT_LOG") else { return };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only when a subscriber is there already, which then serves as well.
    let _ = subscriber.with_ansi(std::io::stderr().is_terminal()).try_init();
}

/// One sentence on stderr, and the exit status.
fn report(outcome: Outcome) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    match failure {
        failure if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Failure::Interrupted => ExitCode::from(INTERRUPTED),
        Failure::Usage(sentence) => {
            eprintln!("lockgate: {sentence}");
            ExitCode::from(USAGE)
        }
        Failure::Items(lines) => {
            lines.iter().for_each(|line| eprintln!("lockgate: {line}"));
            ExitCode::FAILURE
        }
        Failure::Config(lines) => {
            lines.iter().for_each(|line| eprintln!("lockgate: {line}"));
            ExitCode::from(BAD_CONFIG)
        }
        failure => {
            eprintln!("lockgate: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The whole command tree, for the page of documentation that is checked against it.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests;
