//! The page as it stands: its commands, its Terraform and its settings, from the export to the way back.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lockgate_client::admin::{AclOperation, AclResourceType, QuotaAlteration, QuotaEntity, QuotaName};
use lockgate_tests::kcat::Kcat;
use lockgate_tests::operator::{Operator, login_of};
use lockgate_tests::terraform::Terraform;

use crate::PASSWORD;
use crate::stage::{Stage, count, shell};

const TOPIC: &str = "orders";
const NEW_PASSWORD: &str = "a new password";

/// Kafka as it is before: a producer, a consumer who has read everything, and a quota.
fn populate(stage: &Stage) -> Result<()> {
    let operator = &stage.at_kafka;
    operator.topic(TOPIC, 2, &[("retention.ms", "-1")])?;
    operator.user("billing", PASSWORD)?;
    operator.user("shop", PASSWORD)?;
    operator.allow("billing", AclResourceType::Topic, TOPIC, &[AclOperation::Read])?;
    operator.allow("billing", AclResourceType::Group, "billing", &[AclOperation::Read])?;
    operator.allow("shop", AclResourceType::Topic, TOPIC, &[AclOperation::Write])?;
    let entity = QuotaEntity { user: Some(QuotaName::Named("shop".into())), ..QuotaEntity::default() };
    let changes = [("producer_byte_rate".to_owned(), Some(1e9))].into();
    for (_, result) in operator.wait(operator.admin().alter_quotas(&[QuotaAlteration { entity, changes }], false))? {
        result?;
    }
    Ok(())
}

fn at_lockgate(stage: &Stage, user: &str) -> Kcat {
    Kcat::login(&stage.lockgate.bootstrap(), &stage.lockgate.ca_path(), user, NEW_PASSWORD)
}

/// Section 1: the export becomes a configuration of Lockgate.
fn move_objects(stage: &Stage, folder: &Path) -> Result<Terraform> {
    let commands = stage.guide.section("## 1. Topics, ACLs, users and quotas")?.blocks("shell");
    let [export, apply] = commands.as_slice() else { anyhow::bail!("{commands:?} are not two") };
    shell(folder, export)?;
    let [provider, mirror] = stage.configuration()?;
    let acme = folder.join("acme");
    let exported = std::fs::read_to_string(acme.join("provider.tf"))?;
    let (head, _) = exported.split_once("provider \"lockgate\" {").context("no provider block")?;
    std::fs::write(acme.join("provider.tf"), format!("{head}{provider}"))?;
    std::fs::write(acme.join("mirror.tf"), mirror)?;
    let mut terraform = Terraform::copy_of(&acme)?;
    // The provider under test is not in a registry, so there is nothing to initialize.
    let apply = apply
        .replace("terraform init\n", "")
        .replace("terraform apply", "terraform apply -auto-approve")
        .replace("the password of terraform", &login_of(&stage.lockgate, "terraform")?.password)
        .replace("a password for mirror", PASSWORD)
        .replace(
            "{\"billing\": \"a new password\"}",
            "{\"billing\": \"a new password\", \"shop\": \"a new password\"}",
        );
    terraform.write("apply.sh", &apply)?;
    // A topic, three ACLs, two users and a quota, and beside them MirrorMaker's user with four ACLs.
    terraform.script("apply.sh")?.succeeded()?.says("12 added, 0 changed, 0 destroyed")?;
    terraform.set("LOCKGATE_SASL_PASSWORD", &login_of(&stage.lockgate, "terraform")?.password);
    terraform.set("TF_VAR_mirror_password", PASSWORD);
    terraform.plans_nothing()?;
    Ok(terraform)
}

/// Writes the files of a section, and runs its commands.
fn write_settings(stage: &Stage, folder: &Path, section: &str, files: &[&str]) -> Result<()> {
    let section = stage.guide.section(section)?;
    let settings = section.blocks("properties");
    ensure!(settings.len() == files.len(), "{} files instead of {files:?}", settings.len());
    for (file, settings) in files.iter().zip(settings) {
        ensure!(section.text().contains(&format!("`{file}`")), "{file} is not named");
        std::fs::write(folder.join(file), settings)?;
    }
    let commands = section.blocks("shell").concat().replace("$TF_VAR_mirror_password", PASSWORD);
    shell(folder, &commands)
}

fn committed(operator: &Operator) -> Option<i64> {
    let offsets = operator.wait(operator.admin().committed_offsets("billing")).ok()?;
    offsets.into_values().map(|offset| offset.ok().map(|committed| committed.offset)).sum()
}

#[test]
fn the_page_leads_to_lockgate_and_back() -> Result<()> {
    let stage = Stage::set()?;
    populate(&stage)?;
    let folder = stage.folder()?;
    let folder = folder.path();
    let before = ["one", "two", "three"];
    for value in before {
        stage.from.produce(TOPIC, 0, "gzip", &format!("key:{value}\n"))?;
    }
    let read = stage.from.read_as("billing", TOPIC)?;
    ensure!(read.len() == before.len(), "{read:?}");
    let terraform = move_objects(&stage, folder)?;

    write_settings(&stage, folder, "## 2. Records and offsets", &["clusters.properties", "to-lockgate.properties"])?;
    let mut mirror = stage.start(&std::fs::read_to_string(folder.join("mm2.properties"))?)?;
    let all = Some(before.len() as i64);
    stage.until(&mut mirror, "the offset is there", || (committed(&stage.at_lockgate) == all).then_some(()))?;

    // The consumer moves, while the producer is still at Kafka.
    shell(folder, &stage.guide.section("## 3. Consumers")?.block("shell")?)?;
    let consumer = at_lockgate(&stage, "billing");
    ensure!(consumer.read_as("billing", TOPIC)?.is_empty(), "records come twice");
    stage.from.produce(TOPIC, 0, "gzip", "key:four\n")?;
    let read = stage.until(&mut mirror, "the consumer gets what is new", || {
        consumer.read_as("billing", TOPIC).ok().filter(|read| !read.is_empty())
    })?;
    ensure!(read.len() == 1 && read[0].value() == "four", "{read:?}");

    // The producer stops, the copy is complete, and the way back opens.
    let compare = stage.guide.section("## 4. Producers")?.block("shell")?;
    stage.until(&mut mirror, "both have the same end", || shell(folder, &compare).ok())?;
    mirror.stop()?;
    write_settings(&stage, folder, "## 5. The way back", &["to-kafka.properties"])?;
    // A cluster of one node keeps one copy.
    let one_copy = "replication.factor = 1\nconfig.storage.replication.factor = 1\noffset.storage.replication.factor = 1\n\
                    status.storage.replication.factor = 1\ncheckpoints.topic.replication.factor = 1\n\
                    offset-syncs.topic.replication.factor = 1\n";
    let mut mirror = stage.start(&(std::fs::read_to_string(folder.join("mm2-back.properties"))? + one_copy))?;
    mirror.until_said("previously uncommitted partitions")?;
    std::thread::sleep(std::time::Duration::from_secs(10));
    at_lockgate(&stage, "shop").produce(TOPIC, 0, "gzip", "key:five\n")?;
    let back = stage.until(&mut mirror, "Kafka gets it back", || {
        stage.from.read(TOPIC).ok().filter(|records| count(records, "five") > 0)
    })?;
    for value in ["one", "two", "three", "four", "five"] {
        ensure!(count(&back, value) == 1, "{value} is on Kafka {} times: {back:?}", count(&back, value));
    }
    ensure!(consumer.read_as("billing", TOPIC)?.len() == 1, "the consumer at Lockgate goes on");
    let all = Some(5);
    stage.until(&mut mirror, "the offset is back", || (committed(&stage.at_kafka) == all).then_some(()))?;
    ensure!(stage.from.read_as("billing", TOPIC)?.is_empty(), "records come twice");
    mirror.stop()?;

    // Nobody wants to return.
    terraform.remove("mirror.tf")?;
    terraform.apply()?.says("0 added, 0 changed, 5 destroyed")?;
    stage.refused_nothing()
}
