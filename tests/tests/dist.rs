//! The provider's release layout, judged by those who read it: terraform, sha256sum and gpg.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lockgate_tests::broker::binary;
use lockgate_tests::program::workspace;
use lockgate_tests::terraform::Terraform;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs a command in a folder; fails unless it succeeds.
fn run(folder: &Path, program: &str, args: &[&str], variables: &[(&str, &str)]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).envs(variables.iter().copied());
    let output = command.output().with_context(|| program.to_owned())?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    ensure!(output.status.success(), "{program} {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    Ok(text(&output.stdout))
}

/// The registry's name of this machine.
fn platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}_{arch}", std::env::consts::OS)
}

fn zip_name() -> String {
    format!("terraform-provider-lockgate_{VERSION}_{}.zip", platform())
}

fn sums_name() -> String {
    format!("terraform-provider-lockgate_{VERSION}_SHA256SUMS")
}

/// A release in a folder of its own, from the binary that the other tests use.
fn release(variables: &[(&str, &str)]) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let provider = binary("terraform-provider-lockgate")?;
    let built = provider.parent().and_then(Path::to_str).context("a binary lies in a folder")?;
    let dist = folder.path().join("dist");
    let places = [("DIST", dist.to_str().context("a plain path")?), ("LOCKGATE_BIN", built), ("GPG_KEY", "")];
    run(workspace(), "scripts/dist", &[], &[&places, variables].concat())?;
    Ok(folder)
}

fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[test]
fn a_release_has_what_the_registry_wants_and_its_checksums_fit() -> Result<()> {
    let folder = release(&[])?;
    let (release, registry) = (folder.path().join("dist/release"), folder.path().join("dist/registry"));
    let manifest = format!("terraform-provider-lockgate_{VERSION}_manifest.json");
    let wanted = BTreeSet::from([zip_name(), manifest.clone(), sums_name()]);
    ensure!(names(&release)? == wanted, "{:?} instead of {wanted:?}", names(&release)?);
    run(&release, "sha256sum", &["--check", "--strict", &sums_name()], &[])?;
    let sums = std::fs::read_to_string(release.join(sums_name()))?;
    let summed: BTreeSet<_> = sums.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    ensure!(summed == BTreeSet::from([zip_name().as_str(), manifest.as_str()]), "{sums}");
    let manifest: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(release.join(manifest))?)?;
    ensure!(manifest["version"] == 1 && manifest["metadata"]["protocol_versions"][0] == "6.0", "{manifest}");
    let packed = run(&release, "unzip", &["-Z1", &zip_name()], &[])?;
    ensure!(packed.lines().collect::<Vec<_>>() == [&format!("terraform-provider-lockgate_v{VERSION}"), "LICENSE"]);

    for wanted in ["docs/index.md", "docs/resources/topic.md", "examples/provider/provider.tf"] {
        ensure!(registry.join(wanted).is_file(), "registry/{wanted} is missing");
    }
    ensure!(registry.join("terraform-registry-manifest.json").is_file());

    let again = self::release(&[])?;
    let zip = |folder: &tempfile::TempDir| std::fs::read(folder.path().join("dist/release").join(zip_name()));
    ensure!(zip(&folder)? == zip(&again)?, "the same binary makes another zip");
    Ok(())
}

#[test]
fn terraform_installs_a_release_from_a_mirror_packed_or_unpacked() -> Result<()> {
    let folder = release(&[])?;
    let zip = folder.path().join("dist/release").join(zip_name());
    let provider = "registry.terraform.io/lockgate/lockgate";
    let mirror = |name: &str, below: &str| -> Result<(PathBuf, PathBuf)> {
        let mirror = folder.path().join(name);
        let place = mirror.join(provider).join(below);
        std::fs::create_dir_all(&place)?;
        Ok((mirror, place))
    };
    let (packed, place) = mirror("packed", "")?;
    std::fs::copy(&zip, place.join(zip_name()))?;
    let (unpacked, place) = mirror("unpacked", &format!("{VERSION}/{}", platform()))?;
    run(&place, "unzip", &["-q", zip.to_str().context("a plain path")?], &[])?;
    for mirror in [packed, unpacked] {
        let terraform = Terraform::with_mirror(&mirror, "resource \"lockgate_topic\" \"t\" {\n  name = \"t\"\n}\n")?;
        terraform.run(&["init"])?.succeeded()?.says(&format!("Installed lockgate/lockgate v{VERSION}"))?;
        terraform.run(&["version"])?.succeeded()?.says(&format!("provider {provider} v{VERSION}"))?;
        // It starts, and judges what it is given.
        terraform.run(&["validate"])?.succeeded()?.says("Success! The configuration is valid.")?;
        terraform.write("main.tf", "resource \"lockgate_topic\" \"t\" {\n  name = \"no spaces\"\n}\n")?;
        terraform.run(&["validate"])?.refused(1, "A topic name has only letters")?;
    }
    Ok(())
}

#[test]
fn a_named_key_signs_the_checksums() -> Result<()> {
    let home = tempfile::Builder::new().prefix("lg-gpg-").tempdir()?;
    let gpg = [("GNUPGHOME", home.path().to_str().context("a plain path")?)];
    // The registry takes RSA keys, and not the elliptic curves that gpg would choose.
    let key = ["--batch", "--passphrase", "", "--quick-generate-key", "release@lockgate.example", "rsa2048", "sign"];
    run(home.path(), "gpg", &key, &gpg)?;
    let folder = release(&[gpg[0], ("GPG_KEY", "release@lockgate.example")])?;
    let release = folder.path().join("dist/release");
    let signature = format!("{}.sig", sums_name());
    let verify = || run(&release, "gpg", &["--batch", "--verify", &signature, &sums_name()], &gpg);
    verify()?;
    std::fs::write(release.join(sums_name()), "forged")?;
    let forged = verify();
    run(home.path(), "gpgconf", &["--kill", "all"], &gpg)?;
    ensure!(forged.is_err(), "the signature does not depend on the checksums");
    Ok(())
}
