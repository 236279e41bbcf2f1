//! `lockgate_user`.

use anyhow::{Result, ensure};
use lockgate_client::admin::{ScramMechanism, ScramUpsert};
use lockgate_tests::operator::Operator;

use crate::PASSWORD;
use crate::stage::{Stage, only};

fn config(mechanisms: &str, iterations: i32, version: i32) -> String {
    format!(
        r#"
variable "password" {{
  type      = string
  ephemeral = true
}}

resource "lockgate_user" "it" {{
  username            = "alice"
  mechanisms          = [{mechanisms}]
  iterations          = {iterations}
  password_wo         = var.password
  password_wo_version = {version}
}}
"#
    )
}

const SHA_512: &str = r#""SCRAM-SHA-512""#;

fn delete(operator: &Operator, mechanism: ScramMechanism) -> Result<()> {
    only(operator.wait(operator.admin().alter_users(Vec::new(), &[("alice", mechanism)]))?)
}

fn set(operator: &Operator, mechanism: ScramMechanism, iterations: i32) -> Result<()> {
    let upsert = ScramUpsert { user: "alice".to_owned(), mechanism, iterations, password: PASSWORD.into() };
    only(operator.wait(operator.admin().alter_users(vec![upsert], &[]))?)
}

#[test]
fn users_are_made_imported_changed_watched_and_removed() -> Result<()> {
    let stage = Stage::new()?;
    stage.applies(&config(SHA_512, 4096, 1), "1 added, 0 changed, 0 destroyed")?;
    let second = config(r#""SCRAM-SHA-256", "SCRAM-SHA-512""#, 8192, 1);
    stage.applies(&second, "0 added, 1 changed, 0 destroyed")?;
    for id in ["alice", "alice|SCRAM-SHA-512"] {
        stage.imports("lockgate_user.it", id)?;
        // The version is the configuration's alone, so it takes one update; with the second id the other mechanism too.
        stage.plans("0 to add, 1 to change, 0 to destroy")?;
        stage.apply()?;
    }
    stage.plans_nothing()?;

    let changed = "0 to add, 1 to change, 0 to destroy";
    stage.drifts(changed, "a mechanism gone", |o| delete(o, ScramMechanism::Sha256))?;
    stage.drifts(changed, "other iterations", |o| set(o, ScramMechanism::Sha512, 4096))?;
    stage.drifts("1 to add, 0 to change, 0 to destroy", "deleted by somebody else", |operator| {
        delete(operator, ScramMechanism::Sha256)?;
        delete(operator, ScramMechanism::Sha512)
    })?;
    stage.replaces(&second, &[("\"alice\"", "\"bob\"")])?;

    // A mechanism of somebody else is neither shown nor taken.
    stage.applies(&config(SHA_512, 8192, 1), "0 added, 1 changed, 0 destroyed")?;
    set(&stage.operator, ScramMechanism::Sha256, 4096)?;
    stage.plans_nothing()?;
    stage.destroys(1)?;
    let left = only(stage.operator.wait(stage.operator.admin().describe_users(Some(&["alice"])))?)?;
    ensure!(left.len() == 1 && left[0].mechanism == ScramMechanism::Sha256, "{left:?}");
    Ok(())
}
