//! `lockgate user`.

use std::path::PathBuf;

use clap::Subcommand;
use lockgate_client::Admin;
use lockgate_client::admin::{DEFAULT_ITERATIONS, ScramCredential, ScramMechanism, ScramUpsert};
use serde::Serialize;

use super::connection::ConnectionArgs;
use super::failure::{Failures, Outcome};
use super::input::confirm;
use super::output::{Output, Table};
use super::password;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// List users and their SCRAM mechanisms
    List,
    /// Create a user, or set a new password
    ///
    /// The password is asked for at a terminal, and read from standard input otherwise.
    Create {
        user: String,
        /// File that holds the password (- for standard input)
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// SCRAM mechanism, repeatable
        #[arg(long = "mechanism", value_name = "MECHANISM", default_value = "SCRAM-SHA-512")]
        mechanisms: Vec<ScramMechanism>,
        /// Rounds of hashing
        #[arg(long, default_value_t = DEFAULT_ITERATIONS)]
        iterations: i32,
    },
    /// Delete users
    Delete {
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
        /// Delete this mechanism's credential only
        #[arg(long)]
        mechanism: Option<ScramMechanism>,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Serialize)]
struct UserView {
    user: String,
    credentials: Vec<ScramCredential>,
}

#[derive(Serialize)]
struct Changed<'a> {
    users: &'a [String],
}

pub(super) async fn run(command: UserCommand, connection: &ConnectionArgs, output: Output) -> Outcome {
    match command {
        UserCommand::List => list(&connection.admin().await?, output).await,
        UserCommand::Create { user, password_file, mechanisms, iterations } => {
            let admin = connection.admin().await?;
            let asked = user.clone();
            // A prompt blocks its thread, and Ctrl-C must still be heard.
            let password = tokio::task::spawn_blocking(move || password::read(&asked, password_file.as_ref()))
                .await
                .map_err(std::io::Error::other)??;
            let upserts = mechanisms
                .into_iter()
                .map(|mechanism| ScramUpsert { user: user.clone(), mechanism, iterations, password: password.clone() })
                .collect();
            let mut failures = Failures::default();
            for (user, result) in admin.alter_users(upserts, &[]).await? {
                failures.keep(&format!("user {user}"), result);
            }
            failures.outcome()?;
            let users = [user];
            output.done(&Changed { users: &users }, &format!("Set the password of {}.", users[0]))?;
            Ok(())
        }
        UserCommand::Delete { users, mechanism, yes } => {
            confirm(&format!("Delete {}?", users.join(", ")), yes)?;
            delete(&connection.admin().await?, &users, mechanism, output).await
        }
    }
}

async fn list(admin: &Admin, output: Output) -> Outcome {
    let mut failures = Failures::default();
    let mut views = Vec::new();
    for (user, credentials) in admin.describe_users(None).await? {
        let Some(credentials) = failures.keep(&format!("user {user}"), credentials) else { continue };
        views.push(UserView { user, credentials });
    }
    let table = || {
        let mut table = Table::new(&["USER", "MECHANISM", "ITERATIONS"]);
        for view in &views {
            for credential in &view.credentials {
                let (mechanism, iterations) = (credential.mechanism.to_string(), credential.iterations.to_string());
                table.row(vec![view.user.clone(), mechanism, iterations]);
            }
        }
        table
    };
    output.print(&views, table)?;
    failures.outcome()
}

async fn delete(admin: &Admin, users: &[String], mechanism: Option<ScramMechanism>, output: Output) -> Outcome {
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut failures = Failures::default();
    let mut deletions = Vec::new();
    let described = admin.describe_users(Some(&names)).await?;
    for (user, credentials) in &described {
        let Some(credentials) = failures.keep(&format!("user {user}"), credentials.clone()) else { continue };
        let wanted = credentials.iter().map(|credential| credential.mechanism);
        let wanted: Vec<_> = wanted.filter(|own| mechanism.is_none_or(|mechanism| mechanism == *own)).collect();
        if let (true, Some(mechanism)) = (wanted.is_empty(), mechanism) {
            let none = lockgate_client::Error::Settings(format!("The user has no {mechanism} credential."));
            failures.keep::<()>(&format!("user {user}"), Err(none));
        }
        deletions.extend(wanted.into_iter().map(|mechanism| (user.as_str(), mechanism)));
    }
    let mut deleted = Vec::new();
    if !deletions.is_empty() {
        for (user, result) in admin.alter_users(Vec::new(), &deletions).await? {
            if failures.keep(&format!("user {user}"), result).is_some() {
                deleted.push(user);
            }
        }
    }
    if output.is_json() || !deleted.is_empty() {
        output.done(&Changed { users: &deleted }, &format!("Deleted {}.", deleted.join(", ")))?;
    }
    failures.outcome()
}
