//! `lockgate serve`.

use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `lockgate serve`.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Config file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// Runs the broker until it is told to stop.
pub(super) fn run(args: ServeArgs) -> ExitCode {
    let _ = args.config;
    eprintln!("lockgate: this build has no broker.");
    ExitCode::FAILURE
}
