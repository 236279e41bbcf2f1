//! `lockgate export terraform` on Lockgate and on Apache Kafka: the real terraform takes over everything that was exported,
//! with nothing to change, whatever the names are.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lockgate_client::admin::{
    Acl, AclOperation, AclPatternType, AclPermission, AclResourceType, QuotaAlteration, QuotaEntity, QuotaName,
    ScramMechanism, ScramUpsert,
};
use lockgate_tests::broker::{Broker, Options, binary};
use lockgate_tests::kafka::{Kafka, KafkaOptions};
use lockgate_tests::operator::Operator;
use lockgate_tests::terraform::Terraform;
use serde_json::Value;

const PASSWORD: &str = "correct horse battery staple";
/// Terraform would compose it into another name.
const DECOMPOSED: &str = "e\u{301}";
const ODD: &str = "CN=\"a\\b\",O=50% ${x} %{y} $${z}|größe";

/// What `populate` makes: topics, resources of ACLs, of users and of quotas.
const MADE: [u64; 4] = [5, 9, 4, 7];

fn populate(operator: &Operator) -> Result<()> {
    let configs = [("cleanup.policy", "compact,delete"), ("retention.ms", "-1"), ("min.insync.replicas", "1")];
    operator.topic("orders.eu-1", 3, &configs)?;
    for topic in ["orders-us", "orders_us", "1st", "..."] {
        operator.topic(topic, 1, &[])?;
    }
    for acl in acls() {
        for result in operator.wait(operator.admin().create_acls(std::slice::from_ref(&acl)))? {
            result.with_context(|| format!("{acl:?}"))?;
        }
    }
    for (user, mechanism, iterations) in [
        ("alice", ScramMechanism::Sha256, 4096),
        ("alice", ScramMechanism::Sha512, 4096),
        ("two-rounds", ScramMechanism::Sha256, 4096),
        ("two-rounds", ScramMechanism::Sha512, 8192),
        (ODD, ScramMechanism::Sha512, 4096),
        (DECOMPOSED, ScramMechanism::Sha512, 4096),
    ] {
        let upsert = ScramUpsert { user: user.to_owned(), mechanism, iterations, password: PASSWORD.into() };
        for result in operator.wait(operator.admin().alter_users(vec![upsert], &[]))?.into_values() {
            result.with_context(|| user.to_owned())?;
        }
    }
    for alteration in quotas() {
        let entity = alteration.entity.to_string();
        for (_, result) in operator.wait(operator.admin().alter_quotas(&[alteration], false))? {
            result.with_context(|| entity.clone())?;
        }
    }
    Ok(())
}

/// Ten scopes, one of which Terraform cannot name.
fn acls() -> Vec<Acl> {
    use {AclOperation as Op, AclResourceType as On};
    let acl = |principal: &str, resource_type, name: &str, operation| Acl {
        resource_type,
        resource_name: name.to_owned(),
        pattern_type: AclPatternType::Literal,
        principal: format!("User:{principal}"),
        host: "*".to_owned(),
        operation,
        permission: AclPermission::Allow,
    };
    let odd = acl(ODD, On::Topic, "orders.eu-1", Op::Read);
    vec![
        Acl { operation: Op::Describe, ..odd.clone() },
        Acl { host: "10.0.0.7".to_owned(), permission: AclPermission::Deny, ..odd.clone() },
        Acl { pattern_type: AclPatternType::Prefixed, operation: Op::All, ..odd.clone() },
        odd,
        acl("*", On::Topic, "orders-us", Op::Write),
        acl("*", On::Topic, "orders_us", Op::Write),
        acl("bob", On::Group, "app|one%", Op::Read),
        acl("bob", On::Cluster, "kafka-cluster", Op::IdempotentWrite),
        acl("bob", On::Cluster, "kafka-cluster", Op::Create),
        acl("bob", On::TransactionalId, "*", Op::Write),
        acl("bob", On::Topic, "*", Op::Describe),
        acl(DECOMPOSED, On::Topic, "*", Op::Describe),
    ]
}

/// Seven entities that the provider can have, and one rate that it cannot.
fn quotas() -> Vec<QuotaAlteration> {
    let named = |name: &str| Some(QuotaName::Named(name.to_owned()));
    let default = || Some(QuotaName::Default);
    let of = |user, client_id, ip, rates: &[(&str, f64)]| QuotaAlteration {
        entity: QuotaEntity { user, client_id, ip },
        changes: rates.iter().map(|(key, rate)| ((*key).to_owned(), Some(*rate))).collect(),
    };
    vec![
        of(default(), None, None, &[("producer_byte_rate", 1e6), ("controller_mutation_rate", 5.0)]),
        of(None, default(), None, &[("consumer_byte_rate", 9007199254740992.0)]),
        of(named(ODD), None, None, &[("request_percentage", 12.1)]),
        of(named(ODD), default(), None, &[("request_percentage", 200.0)]),
        of(named("alice"), named("a,b=c"), None, &[("producer_byte_rate", 7.0), ("consumer_byte_rate", 9.0)]),
        of(None, None, named("10.0.0.1"), &[("connection_creation_rate", 20.0)]),
        of(None, None, default(), &[("connection_creation_rate", 30.0)]),
    ]
}

/// What the command said: the summary and the warnings.
struct Export {
    summary: Value,
    warnings: String,
}

fn export(connection: &[&str], folder: &Path, more: &[&str]) -> Result<std::process::Output> {
    let mut command = Command::new(binary("lockgate")?);
    command.args(["export", "terraform", "--json", "--output"]).arg(folder).args(connection).args(more);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LOCKGATE_")) {
        command.env_remove(name);
    }
    if connection.contains(&"--sasl-username") {
        command.env("LOCKGATE_SASL_PASSWORD", PASSWORD);
    }
    Ok(command.output()?)
}

fn exported(connection: &[&str], folder: &Path, more: &[&str]) -> Result<Export> {
    let output = export(connection, folder, more)?;
    let warnings = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{}\n{warnings}", output.status);
    Ok(Export { summary: serde_json::from_slice(&output.stdout)?, warnings })
}

/// Everything that could have changed in the cluster.
fn contents(operator: &Operator) -> Result<String> {
    let admin = operator.admin();
    let topics = operator.wait(admin.list_topics())?;
    let acls = operator.wait(admin.list_acls(&Default::default()))?;
    let users = operator.wait(admin.describe_users(None))?;
    let quotas = operator.wait(admin.list_quotas(&QuotaEntity::default(), false))?;
    Ok(format!("{topics:?}\n{acls:?}\n{users:?}\n{quotas:?}"))
}

/// All files of a folder, one after the other.
fn files(folder: &Path) -> Result<String> {
    let mut paths = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    let read = |path: &std::path::PathBuf| Ok(format!("== {:?}\n{}", path.file_name(), std::fs::read_to_string(path)?));
    paths.iter().map(read).collect()
}

/// Exports, and has terraform take everything over. `users` is how many the cluster has besides.
fn takes_over(operator: &Operator, connection: &[&str], users: u64) -> Result<()> {
    populate(operator)?;
    let before = contents(operator)?;
    let folder = tempfile::tempdir()?;
    let first = folder.path().join("first");
    let Export { summary, warnings } = exported(connection, &first, &[])?;
    let [topics, acls, scram, quotas] = MADE;
    let wanted = [("topics", topics), ("acls", acls), ("users", scram + users), ("quotas", quotas)];
    for (kind, count) in wanted {
        ensure!(summary[kind] == count, "{count} {kind} wanted: {summary}\n{}", files(&first)?);
    }
    for sentence in [
        "quotas.tf: controller_mutation_rate = 5 of the quota of user=<default>: the provider has no such rate.",
        "users.tf: the user \"e\\u{301}\": Terraform would change the name (NFC).",
        "acls.tf: ACLs of \"User:e\\u{301}\" on \"*\": Terraform would change the name (NFC).",
    ] {
        ensure!(warnings.contains(&format!("lockgate: not exported to {sentence}\n")), "{sentence}\n{warnings}");
    }
    ensure!(!files(&first)?.contains(PASSWORD), "a secret is in a file");

    let second = folder.path().join("second");
    exported(connection, &second, &[])?;
    ensure!(files(&first)? == files(&second)?, "the same cluster was exported in two ways");
    let again = export(connection, &first, &[])?;
    let refusal = String::from_utf8(again.stderr)?;
    ensure!(!again.status.success() && refusal.contains("holds provider.tf, topics.tf, acls.tf"), "{refusal}");
    exported(connection, &first, &["--force"])?;

    let total: u64 = wanted.iter().map(|(_, count)| count).sum();
    let terraform = Terraform::copy_of(&first)?;
    terraform.run(&["fmt", "-check", "-diff"])?.succeeded()?;
    let said = terraform.run(&["plan"])?.succeeded()?;
    said.says(&format!("Plan: {total} to import, 0 to add, 0 to change, 0 to destroy."))?;
    terraform.apply()?.says(&format!("{total} imported, 0 added, 0 changed, 0 destroyed"))?;
    terraform.plans_nothing()?;
    terraform.remove("imports.tf")?;
    terraform.plans_nothing()?;
    let after = contents(operator)?;
    ensure!(after == before, "the cluster has changed: {before}\n{after}");
    Ok(())
}

/// Someone who may see some topics and nothing else gets those, and is told of the rest.
fn shows_what_may_be_seen(operator: &Operator, connection: &[&str]) -> Result<()> {
    operator.user("guest", PASSWORD)?;
    operator.topic("seen", 2, &[("retention.ms", "5000")])?;
    operator.topic("half-seen", 2, &[("retention.ms", "5000")])?;
    operator.topic("hidden", 2, &[])?;
    operator.allow(
        "guest",
        AclResourceType::Topic,
        "seen",
        &[AclOperation::DescribeConfigs, AclOperation::Describe],
    )?;
    operator.allow("guest", AclResourceType::Topic, "half-seen", &[AclOperation::Describe])?;
    let folder = tempfile::tempdir()?;
    let Export { summary, warnings } = exported(connection, folder.path(), &[])?;
    // Two more are there for everyone.
    ensure!(summary["topics"] == 4 && summary["users"] == 0, "{summary}\n{warnings}");
    for sentence in ["topics.tf: the configs of topic half-seen: ", "acls.tf: the ACLs: ", "users.tf: the users: "] {
        ensure!(warnings.contains(&format!("not exported to {sentence}")), "{sentence}\n{warnings}");
        let (file, comment) = sentence.split_once(": ").context("a file and a sentence")?;
        let text = std::fs::read_to_string(folder.path().join(file))?;
        ensure!(text.contains(&format!("\n# Not exported: {comment}")), "{text}");
    }
    let topics = std::fs::read_to_string(folder.path().join("topics.tf"))?;
    ensure!(topics.contains("\"retention.ms\" = \"5000\"") && !topics.contains("hidden"), "{topics}");
    Ok(())
}

#[test]
fn terraform_takes_over_what_lockgate_has() -> Result<()> {
    let broker = Broker::start(&Options::default())?;
    let operator = Operator::of(&broker)?;
    let cluster = format!("file://{}", broker.data().display());
    // The broker's own first users, admin and terraform, are users as well.
    takes_over(&operator, &["--cluster", &cluster], 2).with_context(|| broker.log_tail())?;
    let ca = broker.ca_path().display().to_string();
    let servers = broker.bootstrap();
    let guest = ["--bootstrap-servers", &servers, "--tls-ca-file", &ca, "--sasl-username", "guest"];
    shows_what_may_be_seen(&operator, &guest)
}

#[test]
fn terraform_takes_over_what_apache_kafka_has() -> Result<()> {
    let kafka = Kafka::start(&KafkaOptions::default())?;
    let operator = Operator::plain(kafka.plaintext_address())?;
    takes_over(&operator, &["--bootstrap-servers", &kafka.plaintext_address().to_string()], 0)?;
    let servers = kafka.sasl_address().to_string();
    shows_what_may_be_seen(&operator, &["--bootstrap-servers", &servers, "--sasl-username", "guest"])
}
