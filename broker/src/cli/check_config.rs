//! `lockgate check-config`.

use std::path::PathBuf;

use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::output::Output;

#[derive(Debug, clap::Args)]
pub(super) struct CheckConfigArgs {
    /// Config file
    #[arg(value_name = "FILE")]
    config: PathBuf,
}

#[derive(Serialize)]
struct Checked<'a> {
    config: &'a str,
    valid: bool,
}

pub(super) fn run(args: &CheckConfigArgs, output: Output) -> Outcome {
    let name = args.config.display().to_string();
    let text = std::fs::read_to_string(&args.config)
        .map_err(|error| Failure::File(format!("The config file {name} cannot be read"), error))?;
    toml::from_str::<crate::config::Config>(&text).map_err(|error| Failure::Text(format!("{name}: {error}")))?;
    output.done(&Checked { config: &name, valid: true }, &format!("{name} is valid."))?;
    Ok(())
}
