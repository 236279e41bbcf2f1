//! `lockgate serve`: load the settings, run the broker, wait for a signal.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::SystemClock;
use crate::config::{self, Config};
use crate::limits;
use crate::logging;
use crate::server::{Components, Server};
use crate::store::local::fs::RealFs;

/// The settings cannot be used (BSD's `EX_USAGE`).
const BAD_CONFIG: u8 = 64;

/// Arguments of `lockgate serve`.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Config file; without one, the defaults and LOCKGATE_ variables count
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Data folder, instead of the one in the config
    #[arg(long, value_name = "FOLDER")]
    pub(super) data: Option<PathBuf>,
}

/// Runs the broker until it is told to stop.
pub(super) fn run(args: ServeArgs) -> ExitCode {
    let config = match config::load(args.config.as_deref(), std::env::vars_os()) {
        Ok(config) => Config { data: args.data.unwrap_or(config.data), ..config },
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    keep_pages_small();
    if let Err(error) = logging::start(&config.log) {
        eprintln!("{error}");
        return ExitCode::from(BAD_CONFIG);
    }
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The allocator asks for huge pages, which hold 20 MiB resident that an idle broker never touches. Advice only: where
/// it is not taken, memory is all that it costs.
fn keep_pages_small() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
}

/// Lets the process open as many files as the system allows it; returns how many (`None`: without limit).
fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, current = limit.current, "the limit of open files cannot be raised");
    }
    getrlimit(Resource::Nofile).current
}

fn warn_of_few_files(server: &Server, limit: Option<u64>) {
    let services = server.services();
    let partitions = services.catalog.image().topics.values().map(|topic| topic.partitions.unsigned_abs()).sum::<u32>();
    let needed = files_needed(u64::from(partitions), services.config.limits.connections as u64);
    if let Some(limit) = limit.filter(|limit| *limit < needed) {
        tracing::warn!(
            limit,
            needed,
            partitions,
            "too few files may be open for these partitions and connections: raise the hard limit (LimitNOFILE=, ulimit -Hn)"
        );
    }
}

fn files_needed(partitions: u64, connections: u64) -> u64 {
    partitions * limits::FILES_PER_PARTITION + connections
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let components = Components { clock: Arc::new(SystemClock), file_system: Arc::new(RealFs) };
    let files = raise_open_files();
    let server = Server::start(config, components).await?;
    warn_of_few_files(&server, files);
    announce(&server);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => server.reload(),
        }
    }
    tracing::info!("stopping");
    server.stop().await?;
    tracing::info!("stopped");
    Ok(())
}

fn announce(server: &Server) {
    let trust = server.trust();
    if trust.created() {
        tracing::info!(
            client_config = %trust.client_properties().display(),
            "first start: made a certificate authority and the users admin and terraform"
        );
    }
    for (name, address) in server.addresses() {
        tracing::info!(listener = &**name, %address, "listening");
    }
    tracing::info!(cluster_id = trust.cluster_id(), version = env!("CARGO_PKG_VERSION"), "ready");
}
