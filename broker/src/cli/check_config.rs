//! `lockgate check-config`.

use std::path::PathBuf;

use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::output::Output;
use crate::config;

#[derive(Debug, clap::Args)]
pub(super) struct CheckConfigArgs {
    /// Config file; without one the environment and the defaults alone are checked
    #[arg(value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Serialize)]
struct Checked<'a> {
    config: Option<&'a str>,
    problems: &'a [String],
}

/// The environment overrides settings here as it does for `serve`.
pub(super) fn run(args: &CheckConfigArgs, output: Output) -> Outcome {
    let name = args.config.as_ref().map(|path| path.display().to_string());
    match config::load(args.config.as_deref(), std::env::vars_os()) {
        Ok(_) => {
            let checked = Checked { config: name.as_deref(), problems: &[] };
            let line = format!("{} is valid.", name.as_deref().unwrap_or("The configuration"));
            Ok(output.done(&checked, &line)?)
        }
        Err(error) => {
            if output.is_json() {
                output.done(&Checked { config: name.as_deref(), problems: &error.problems }, "")?;
            }
            Err(Failure::Config(error.problems))
        }
    }
}
