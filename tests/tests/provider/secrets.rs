//! A password that is written only: it is found nowhere but in the broker, and there as a credential.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use lockgate_tests::wire::{Connection, Login, tls_config};

use crate::stage::Stage;

const FIRST: &str = "first-secret-0f6d1c";
const SECOND: &str = "second-secret-93b2aa";
/// In a place where it may be seen, so that the search is known to find what is there.
const PLANTED: &str = "planted-secret-5e21c7";

fn config(version: u32) -> String {
    format!(
        r#"
variable "password" {{
  type      = string
  sensitive = true
  ephemeral = true
}}

resource "lockgate_user" "it" {{
  username            = "alice"
  mechanisms          = ["SCRAM-SHA-256"]
  password_wo         = var.password
  password_wo_version = {version}
}}

resource "terraform_data" "planted" {{
  input = {PLANTED:?}
}}
"#
    )
}

/// Every file below a folder, plan files with what is packed in them.
fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // The provider itself, by another way.
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "tfplan") {
            let unpacked = path.with_extension("unpacked");
            let status = Command::new("python3").args(["-m", "zipfile", "-e"]).args([&path, &unpacked]).status()?;
            ensure!(status.success(), "{} is no plan file", path.display());
            files(&unpacked, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Files that hold a text, plain or as base64 at any offset within three bytes.
fn holders(folder: &Path, secret: &str) -> Result<Vec<PathBuf>> {
    let mut forms = vec![secret.as_bytes().to_vec()];
    for skipped in 0..3 {
        let padded = [&b"\0\0"[..skipped], secret.as_bytes()].concat();
        for engine in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            // The first and last characters hold bits of what is beside the secret.
            forms.push(text.as_bytes()[if skipped > 0 { 4 } else { 0 }..text.len() - 1].to_vec());
        }
    }
    let mut all = Vec::new();
    files(folder, &mut all)?;
    let holds = |bytes: &[u8]| forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == &form[..]));
    let mut holders = Vec::new();
    for path in all {
        if holds(&std::fs::read(&path)?) {
            holders.push(path);
        }
    }
    Ok(holders)
}

fn login(stage: &Stage, password: &str) -> Result<Connection> {
    let login = Login { user: "alice".to_owned(), password: password.to_owned() };
    Connection::login(stage.broker().address(), tls_config(&stage.broker().ca_path())?, &login)
}

#[test]
fn a_written_only_password_is_in_no_file_and_changes_with_its_version() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.traces("trace.log");
    for (version, password) in [(1, FIRST), (2, SECOND)] {
        stage.set("TF_VAR_password", password);
        stage.configure(&config(version))?;
        stage.run(&["plan", "-out=it.tfplan"])?.succeeded()?;
        stage.run(&["apply", "it.tfplan"])?.succeeded()?;
        stage.run(&["plan", "-refresh-only"])?.succeeded()?;
        login(&stage, password).with_context(|| format!("with the password of version {version}"))?;
    }
    ensure!(login(&stage, FIRST).is_err(), "the old password still opens the door");
    stage.configure(&config(2))?;
    stage.plans_nothing()?;

    let planted = holders(stage.path(), PLANTED)?;
    for expected in ["terraform.tfstate", "tfplan", "trace.log"] {
        let found = planted.iter().any(|path| path.file_name().is_some_and(|name| name == expected));
        ensure!(found, "the search does not find what was planted in {expected}: {planted:?}");
    }
    for secret in [FIRST, SECOND] {
        let found = holders(stage.path(), secret)?;
        ensure!(found.is_empty(), "{secret} is in {found:?}");
    }
    Ok(())
}
