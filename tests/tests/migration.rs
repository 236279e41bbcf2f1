//! The guide for those who come from Mongey/kafka, followed word for word: its commands and its configuration, on a state as
//! that provider leaves it and a cluster that holds what the state says.

use anyhow::{Context, Result, ensure};
use lockgate_client::admin::{
    AclOperation, AclPatternType, AclPermission, AclResourceType, QuotaAlteration, QuotaEntity, QuotaName,
    ScramMechanism, ScramUpsert,
};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::guide::Guide;
use lockgate_tests::operator::{Operator, login_of};
use lockgate_tests::program::workspace;
use lockgate_tests::terraform::Terraform;
use serde_json::{Value, json};

const GUIDE: &str = "provider/docs/guides/migrate-from-mongey-kafka.md";

/// A resource of the old provider in a state file.
fn old(kind: &str, name: &str, instances: Vec<Value>) -> Value {
    json!({
        "mode": "managed",
        "type": kind,
        "name": name,
        "provider": "provider[\"registry.terraform.io/mongey/kafka\"]",
        "instances": instances,
    })
}

fn old_acl(operation: &str, kind: &str, name: &str, pattern: &str) -> Value {
    json!({
        "schema_version": 1,
        "attributes": {
            "acl_host": "*",
            "acl_operation": operation,
            "acl_permission_type": "Allow",
            "acl_principal": "User:billing",
            "id": format!("User:billing|*|{operation}|Allow|{kind}|{name}|{pattern}"),
            "resource_name": name,
            "resource_pattern_type_filter": pattern,
            "resource_type": kind,
        },
        "sensitive_attributes": [],
        "private": "eyJzY2hlbWFfdmVyc2lvbiI6IjEifQ==",
    })
}

/// What the example of the guide leaves behind when Mongey/kafka has applied it.
fn old_state() -> Value {
    let topic = json!({
        "schema_version": 0,
        "attributes": {
            "config": {"cleanup.policy": "compact", "retention.ms": "604800000"},
            "id": "orders",
            "name": "orders",
            "partitions": 6,
            "replication_factor": 1,
        },
        "sensitive_attributes": [],
        "private": "bnVsbA==",
    });
    let user = json!({
        "schema_version": 0,
        "attributes": {
            "id": "billing|SCRAM-SHA-256",
            "password": "the old password",
            "password_wo": null,
            "password_wo_version": null,
            "scram_iterations": 4096,
            "scram_mechanism": "SCRAM-SHA-256",
            "username": "billing",
        },
        "sensitive_attributes": [[{"type": "get_attr", "value": "password"}]],
        "private": "bnVsbA==",
    });
    let quota = json!({
        "schema_version": 0,
        "attributes": {
            "config": {"consumer_byte_rate": 8000000, "producer_byte_rate": 5000000},
            "entity_name": "billing",
            "entity_type": "user",
            "id": "billing|user",
        },
        "sensitive_attributes": [],
        "private": "bnVsbA==",
    });
    let acls = ["Describe", "Read"].map(|operation| {
        let mut acl = old_acl(operation, "Topic", "orders", "Literal");
        acl["index_key"] = json!(operation);
        acl
    });
    json!({
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": 5,
        "lineage": "6c3a7c1e-9a8e-5d0d-b1a4-0c7f5b1d2e3f",
        "outputs": {},
        "resources": [
            old("kafka_acl", "billing", acls.into()),
            old("kafka_acl", "billing_groups", vec![old_acl("Read", "Group", "billing-", "Prefixed")]),
            old("kafka_quota", "billing", vec![quota]),
            old("kafka_topic", "orders", vec![topic]),
            old("kafka_user_scram_credential", "billing", vec![user]),
        ],
        "check_results": null,
    })
}

/// The cluster as the old state says it is.
fn populate(operator: &Operator) -> Result<()> {
    operator.topic("orders", 6, &[("cleanup.policy", "compact"), ("retention.ms", "604800000")])?;
    let mechanism = ScramMechanism::Sha256;
    let password = "the old password".into();
    let upsert = ScramUpsert { user: "billing".to_owned(), mechanism, iterations: 4096, password };
    for result in operator.wait(operator.admin().alter_users(vec![upsert], &[]))?.into_values() {
        result?;
    }
    let acl = |operation, resource_type, name: &str, pattern_type| lockgate_client::admin::Acl {
        resource_type,
        resource_name: name.to_owned(),
        pattern_type,
        principal: "User:billing".to_owned(),
        host: "*".to_owned(),
        operation,
        permission: AclPermission::Allow,
    };
    let acls = [
        acl(AclOperation::Describe, AclResourceType::Topic, "orders", AclPatternType::Literal),
        acl(AclOperation::Read, AclResourceType::Topic, "orders", AclPatternType::Literal),
        acl(AclOperation::Read, AclResourceType::Group, "billing-", AclPatternType::Prefixed),
    ];
    for result in operator.wait(operator.admin().create_acls(&acls))? {
        result?;
    }
    let user = Some(QuotaName::Named("billing".to_owned()));
    let rates = [("producer_byte_rate", 5e6), ("consumer_byte_rate", 8e6)];
    let quota = QuotaAlteration {
        entity: QuotaEntity { user, ..QuotaEntity::default() },
        changes: rates.into_iter().map(|(name, rate)| (name.to_owned(), Some(rate))).collect(),
    };
    for (_, result) in operator.wait(operator.admin().alter_quotas(&[quota], false))? {
        result?;
    }
    Ok(())
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

#[test]
fn a_state_of_mongey_kafka_is_taken_over_as_the_guide_says() -> Result<()> {
    let guide = Guide::read(GUIDE)?;
    let broker = Broker::start(&Options::default())?;
    let operator = Operator::of(&broker)?;
    populate(&operator)?;
    let before = contents(&operator)?;

    let mut terraform = Terraform::new("")?;
    terraform.set("TF_VAR_kafka_password", &login_of(&broker, "terraform")?.password);
    terraform.write("terraform.tfstate", &old_state().to_string())?;
    let commands = guide.blocks("shell");
    let [write_imports, let_go, _] = commands.as_slice() else { anyhow::bail!("{commands:?} are not three steps") };
    for commands in [write_imports, let_go] {
        terraform.write("step.sh", commands)?;
        terraform.script("step.sh")?.succeeded()?;
    }
    let configurations = guide.blocks("terraform");
    let [anew, joined] = configurations.as_slice() else { anyhow::bail!("{configurations:?} are not two") };
    let here = anew.replace("broker-1.example:9093", &broker.bootstrap());
    let here = here.replace("/etc/kafka/ca.pem", broker.ca_path().to_str().context("a plain path")?);
    terraform.write("main.tf", &here)?;
    let promise = guide.text().split("says `").nth(1).and_then(|rest| rest.split('`').next()).context("no promise")?;
    terraform.run(&["plan"])?.succeeded()?.says(promise)?;
    terraform.apply()?.says("6 imported, 0 added, 0 changed, 0 destroyed")?;
    terraform.remove("imports.tf")?;
    terraform.plans_nothing()?;

    // Afterwards: two ACLs of one operation each become one resource.
    terraform
        .run(&["state", "rm", "lockgate_acl.billing[\"Describe\"]", "lockgate_acl.billing[\"Read\"]"])?
        .succeeded()?;
    let one = here.replace("  for_each = toset([\"Describe\", \"Read\"])\n\n", "");
    let one = one.replace("[each.key]", "[\"Describe\", \"Read\"]");
    ensure!(one != here, "the guide's ACLs look different");
    terraform.write("main.tf", &one)?;
    terraform.write("joined.tf", joined)?;
    terraform.apply()?.says("1 imported, 0 added, 0 changed, 0 destroyed")?;
    terraform.plans_nothing()?;
    ensure!(contents(&operator)? == before, "the cluster has changed: {before}\n{}", contents(&operator)?);
    Ok(())
}

/// The tables name every attribute of this provider that has a counterpart, and none that does not exist.
#[test]
fn the_guide_names_attributes_that_exist() -> Result<()> {
    let guide = Guide::read(GUIDE)?;
    for (heading, page) in [
        ("## kafka_topic is", "resources/topic.md"),
        ("## kafka_acl is", "resources/acl.md"),
        ("## kafka_user_scram_credential is", "resources/user.md"),
        ("## kafka_quota is", "resources/quota.md"),
    ] {
        let section = guide.text().split(heading).nth(1).with_context(|| heading.to_owned())?;
        let section = section.split("\n## ").next().unwrap_or_default();
        let page = std::fs::read_to_string(workspace().join("provider/docs").join(page))?;
        let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `") || line.starts_with("| |")).collect();
        ensure!(rows.len() > 3, "{heading} has no table");
        for row in rows {
            let here = row.split(" | ").last().context("two columns")?;
            let attribute = here.trim_start_matches("| ").split('`').nth(1).with_context(|| row.to_owned())?;
            ensure!(page.contains(&format!("- `{attribute}` (")), "{attribute} of {row:?} does not exist");
        }
    }
    Ok(())
}
