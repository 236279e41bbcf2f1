//! `lockgate quota`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use lockgate_client::Admin;
use lockgate_client::admin::{Quota, QuotaAlteration, QuotaEntity, QuotaName};
use serde::Serialize;

use super::config::key_value;
use super::connection::ConnectionArgs;
use super::failure::{Failure, Failures, Outcome};
use super::output::{Output, Table};

#[derive(Debug, Subcommand)]
pub(super) enum QuotaCommand {
    /// List the quotas that match; without a filter, all
    List {
        #[command(flatten)]
        entity: EntityArgs,
        /// Leave out quotas that name more than the filter
        #[arg(long)]
        strict: bool,
    },
    /// Set rates of a user, a client id, both together, or an address
    Set {
        #[command(flatten)]
        entity: EntityArgs,
        /// Such as producer_byte_rate=1048576, consumer_byte_rate, request_percentage, controller_mutation_rate, and for
        /// addresses connection_creation_rate
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = rate)]
        rates: Vec<(String, f64)>,
        /// Check only, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove rates; without keys, all that are set
    Remove {
        #[command(flatten)]
        entity: EntityArgs,
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
        /// Check only, change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// For whom the quota is.
#[derive(Debug, Args)]
pub(super) struct EntityArgs {
    /// This user
    #[arg(long, short, conflicts_with = "default_user")]
    user: Option<String>,
    /// Each user without a quota of their own
    #[arg(long)]
    default_user: bool,
    /// This client id
    #[arg(long, value_name = "ID", conflicts_with = "default_client_id")]
    client_id: Option<String>,
    /// Each client id without a quota of its own
    #[arg(long)]
    default_client_id: bool,
    /// This address
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["default_ip", "user", "default_user", "client_id", "default_client_id"])]
    ip: Option<std::net::IpAddr>,
    /// Each address without a quota of its own
    #[arg(long, conflicts_with_all = ["user", "default_user", "client_id", "default_client_id"])]
    default_ip: bool,
}

impl EntityArgs {
    fn entity(self) -> QuotaEntity {
        let name = |named: Option<String>, default: bool| {
            named.map(QuotaName::Named).or_else(|| default.then_some(QuotaName::Default))
        };
        QuotaEntity {
            user: name(self.user, self.default_user),
            client_id: name(self.client_id, self.default_client_id),
            ip: name(self.ip.map(|address| address.to_string()), self.default_ip),
        }
    }

    fn required(self) -> Outcome<QuotaEntity> {
        let entity = self.entity();
        if entity == QuotaEntity::default() {
            let sentence =
                "name whom it is for: --user, --client-id, --ip, or --default-user, --default-client-id, --default-ip";
            return Err(Failure::Usage(sentence.to_owned()));
        }
        Ok(entity)
    }
}

#[derive(Serialize)]
struct Altered {
    entity: QuotaEntity,
    dry_run: bool,
}

fn rate(text: &str) -> Result<(String, f64), String> {
    let (key, value) = key_value(text)?;
    match value.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok((key, rate)),
        _ => Err(format!("{value:?} is not a number above zero")),
    }
}

pub(super) async fn run(command: QuotaCommand, connection: &ConnectionArgs, output: Output) -> Outcome {
    match command {
        QuotaCommand::List { entity, strict } => {
            let quotas = connection.admin().await?.list_quotas(&entity.entity(), strict).await?;
            Ok(output.print(&quotas, || table(&quotas))?)
        }
        QuotaCommand::Set { entity, rates, dry_run } => {
            let entity = entity.required()?;
            let changes = rates.into_iter().map(|(key, rate)| (key, Some(rate))).collect();
            alter(&connection.admin().await?, QuotaAlteration { entity, changes }, dry_run, output).await
        }
        QuotaCommand::Remove { entity, keys, dry_run } => {
            let entity = entity.required()?;
            let admin = connection.admin().await?;
            let mut changes: BTreeMap<String, Option<f64>> = keys.into_iter().map(|key| (key, None)).collect();
            if changes.is_empty() {
                let quotas = admin.list_quotas(&entity, true).await?;
                changes.extend(quotas.into_iter().flat_map(|quota| quota.values.into_keys()).map(|key| (key, None)));
            }
            if changes.is_empty() {
                return Err(Failure::Text(format!("There is no quota for {entity}.")));
            }
            alter(&admin, QuotaAlteration { entity, changes }, dry_run, output).await
        }
    }
}

async fn alter(admin: &Admin, alteration: QuotaAlteration, dry_run: bool, output: Output) -> Outcome {
    let mut failures = Failures::default();
    let entity = alteration.entity.clone();
    for (entity, result) in admin.alter_quotas(&[alteration], dry_run).await? {
        failures.keep(&format!("quota of {entity}"), result);
    }
    failures.outcome()?;
    let verb = if dry_run { "Would alter" } else { "Altered" };
    let line = format!("{verb} the quota of {entity}.");
    output.done(&Altered { entity, dry_run }, &line)?;
    Ok(())
}

fn table(quotas: &[Quota]) -> Table {
    let mut table = Table::new(&["ENTITY", "KEY", "RATE"]);
    for quota in quotas {
        for (key, rate) in &quota.values {
            table.row(vec![quota.entity.to_string(), key.clone(), rate.to_string()]);
        }
    }
    table
}
