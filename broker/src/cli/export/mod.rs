//! `lockgate export`: what a cluster holds, as configuration for another tool.

mod acls;
mod folder;
mod hcl;
mod labels;
mod page;
mod provider_block;
mod quotas;
mod topics;
mod users;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lockgate_client::{Admin, Profile};
use serde::Serialize;

use super::connection::ConnectionArgs;
use super::failure::Outcome;
use super::output::Output;
use folder::Folder;
use page::{Page, one_line};

#[derive(Debug, Subcommand)]
pub(super) enum ExportCommand {
    /// Write topics, ACLs, users and quotas of any Kafka cluster as configuration of the Terraform provider
    ///
    /// The files are provider.tf, topics.tf, acls.tf, users.tf, quotas.tf and imports.tf; nothing in the cluster is
    /// changed. With imports.tf a plan takes over what is there; without that file the rest makes the same in another
    /// cluster. No file holds a secret: the password of the connection is read from LOCKGATE_SASL_PASSWORD.
    Terraform(TerraformArgs),
}

#[derive(Debug, Args)]
pub(super) struct TerraformArgs {
    /// Folder for the files, made when it is missing
    #[arg(long, short, value_name = "FOLDER")]
    output: PathBuf,
    /// Overwrite the files of an earlier export
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Exported {
    folder: PathBuf,
    topics: usize,
    acls: usize,
    users: usize,
    quotas: usize,
    not_exported: Vec<String>,
}

pub(super) async fn run(command: ExportCommand, connection: &ConnectionArgs, output: Output) -> Outcome {
    let ExportCommand::Terraform(args) = command;
    terraform(args, connection, output).await
}

async fn terraform(args: TerraformArgs, connection: &ConnectionArgs, output: Output) -> Outcome {
    let folder = Folder::new(args.output, args.force);
    // Said before a long export, not after it.
    folder.check()?;
    let settings = connection.resolved()?;
    let provider = provider_block::file(&settings)?;
    let admin = Admin::connect(Profile::from_settings(settings).await?).await?;
    let pages = [
        topics::page(&admin).await?,
        acls::page(&admin).await?,
        users::page(&admin).await?,
        quotas::page(&admin).await?,
    ];
    folder.write(provider_block::FILE, &provider)?;
    for page in &pages {
        folder.write(page.file, &page.to_string())?;
    }
    folder.write(page::IMPORTS_FILE, &page::imports(&pages))?;
    tell(&pages, folder, output)
}

fn tell(pages: &[Page; 4], folder: Folder, output: Output) -> Outcome {
    let told = |page: &Page| page.left_out.iter().map(|note| format!("{}: {}", page.file, one_line(note))).collect();
    let not_exported: Vec<String> = pages.iter().flat_map::<Vec<_>, _>(told).collect();
    for note in &not_exported {
        eprintln!("lockgate: not exported to {note}");
    }
    let [topics, acls, users, quotas] = pages.each_ref().map(|page| page.blocks.len());
    let line = format!(
        "Wrote {topics} topics, {acls} ACL resources, {users} users and {quotas} quotas to {}.",
        folder.path().display()
    );
    Ok(output.done(&Exported { folder: folder.into_path(), topics, acls, users, quotas, not_exported }, &line)?)
}
