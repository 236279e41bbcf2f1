//! The data sources.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use lockgate_client::admin::{AclOperation, AclResourceType, QuotaAlteration, QuotaEntity, QuotaName};
use lockgate_tests::batch::Batch;
use lockgate_tests::broker::{Broker, binary};
use lockgate_tests::operator::{Operator, admin_login};
use lockgate_tests::requests::produce;
use lockgate_tests::until;
use lockgate_tests::wire::{Connection, tls_config};
use serde_json::json;

use crate::PASSWORD;
use crate::stage::{Stage, map, only};

const PATIENCE: Duration = Duration::from_secs(30);

const SOURCES: &str = r#"
data "lockgate_topic" "orders" {
  name = "orders"
}

data "lockgate_topics" "prefix" {
  name_prefix = "or"
  internal    = false
}

data "lockgate_topics" "internal" {
  internal = true
}

data "lockgate_acls" "alice" {
  principal = "User:alice"
  operation = "Read"
}

data "lockgate_users" "all" {}

data "lockgate_quotas" "alice" {
  user = "alice"
}

data "lockgate_quotas" "exact" {
  user  = "alice"
  exact = true
}

data "lockgate_consumer_group" "app" {
  group_id = "app"
}

output "topic" {
  value = data.lockgate_topic.orders
}

output "prefix" {
  value = data.lockgate_topics.prefix.topics[*].name
}

output "internal" {
  value = data.lockgate_topics.internal.names
}

output "acls" {
  value = data.lockgate_acls.alice.acls
}

output "users" {
  value = data.lockgate_users.all.users
}

output "quotas" {
  value = data.lockgate_quotas.alice.quotas
}

output "exact" {
  value = length(data.lockgate_quotas.exact.quotas)
}

output "group" {
  value = data.lockgate_consumer_group.app
}
"#;

fn prepare(broker: &Broker, operator: &Operator) -> Result<()> {
    operator.topic("orders", 2, &[("retention.ms", "86400000")])?;
    operator.topic("other", 1, &[])?;
    operator.user("alice", PASSWORD)?;
    operator.allow("alice", AclResourceType::Topic, "or", &[AclOperation::Read, AclOperation::Write])?;
    let user = Some(QuotaName::Named("alice".to_owned()));
    for client_id in [None, Some(QuotaName::Default)] {
        let entity = QuotaEntity { user: user.clone(), client_id, ip: None };
        let alteration = QuotaAlteration { entity, changes: map(&[("request_percentage", Some(2.5))]) };
        only(operator.wait(operator.admin().alter_quotas(&[alteration], false))?)?;
    }
    let mut connection = Connection::login(broker.address(), tls_config(&broker.ca_path())?, &admin_login(broker)?)?;
    produce(&mut connection, "orders", 0, Batch::of(["one", "two", "three"]).encode().freeze())?;
    Ok(())
}

/// A member of the group "app" that reads so many records, or goes on.
fn consumer(broker: &Broker, records: Option<u32>) -> Result<Consumer> {
    let mut command = Command::new(binary("lockgate")?);
    command.args(["consume", "orders", "--group", "app", "--from-beginning", "--cluster"]);
    command.arg(format!("file://{}", broker.data().display()));
    command.args(records.map(|count| format!("--max-messages={count}")));
    Ok(Consumer(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?))
}

struct Consumer(Child);

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn data_sources_show_what_is_there() -> Result<()> {
    let stage = Stage::new()?;
    prepare(stage.broker(), &stage.operator)?;
    let mut first = consumer(stage.broker(), Some(2))?;
    let ended = until(PATIENCE, "two records are read", || first.0.try_wait().ok().flatten())?;
    ensure!(ended.success(), "the consumer ended with {ended}");

    stage.applies(SOURCES, "0 added, 0 changed, 0 destroyed")?;
    let outputs = stage.outputs()?;
    let topic = &outputs["topic"];
    ensure!(topic["partitions"] == 2 && topic["config"] == json!({"retention.ms": "86400000"}), "{topic}");
    ensure!(topic["internal"] == false && topic["effective_config"]["cleanup.policy"] == "delete", "{topic}");
    ensure!(
        outputs["prefix"] == json!(["orders"])
            && outputs["internal"] == json!(["__consumer_offsets", "__transaction_state"]),
        "{outputs}"
    );
    let acl = json!({"principal": "User:alice", "host": "*", "resource_type": "Topic", "resource_name": "or",
        "pattern_type": "Prefixed", "operation": "Read", "permission": "Allow"});
    ensure!(outputs["acls"] == json!([acl]), "{}", outputs["acls"]);
    let alice = outputs["users"].as_array().and_then(|users| users.iter().find(|user| user["username"] == "alice"));
    let credentials =
        json!([{"mechanism": "SCRAM-SHA-256", "iterations": 4096}, {"mechanism": "SCRAM-SHA-512", "iterations": 4096}]);
    ensure!(alice.is_some_and(|alice| alice["credentials"] == credentials), "{}", outputs["users"]);
    let quotas = &outputs["quotas"];
    ensure!(quotas[0]["request_percentage"] == 2.5 && quotas[1]["client_id"] == "<default>", "{quotas}");
    ensure!(quotas[2].is_null() && outputs["exact"] == 1, "{outputs}");
    let group = &outputs["group"];
    let offset = json!({"topic": "orders", "partition": 0, "offset": 2, "end_offset": 3, "lag": 1});
    ensure!(group["state"] == "Empty" && group["members"] == json!([]), "{group}");
    ensure!(group["offsets"].as_array().is_some_and(|offsets| offsets.contains(&offset)), "{group}");

    let _member = consumer(stage.broker(), None)?;
    until(PATIENCE, "the group is stable", || {
        let groups = stage.operator.wait(stage.operator.admin().describe_groups(&["app"])).ok()?;
        groups["app"].as_ref().is_ok_and(|group| group.state == "Stable").then_some(())
    })?;
    stage.apply()?;
    let group = stage.outputs()?["group"].clone();
    ensure!(group["state"] == "Stable" && group["protocol_type"] == "consumer", "{group}");
    let assignment = json!([{"topic": "orders", "partitions": [0, 1]}]);
    ensure!(group["members"][0]["assignment"] == assignment, "{group}");
    Ok(())
}

#[test]
fn a_data_source_that_cannot_be_read_says_what_to_do() -> Result<()> {
    let stage = Stage::new()?;
    let missing = "data \"lockgate_topic\" \"t\" {\n  name = \"no-such\"\n}\n\ndata \"lockgate_consumer_group\" \"g\" {\n  group_id = \"no-such\"\n}\n";
    stage.configure(missing)?;
    let said = stage.run(&["plan"])?;
    said.refused(2, "Could not find the topic \"no-such\"")?;
    said.says("Could not find the consumer group \"no-such\"")?;

    let late = format!(
        r#"
resource "terraform_data" "cluster" {{
  input = "file://{}"
}}

provider "lockgate" {{
  cluster = terraform_data.cluster.output
}}
"#,
        stage.broker().data().display()
    );
    let source = |rest: &str| format!("{late}\ndata \"lockgate_topics\" \"all\" {{\n  {rest}\n}}\n");
    stage.write("main.tf", &source(""))?;
    stage.run(&["plan"])?.refused(1, "Give the data source a depends_on that names what makes the cluster")?;
    stage.write("main.tf", &source("depends_on = [terraform_data.cluster]"))?;
    stage.apply()?.says("Resources: 1 added")?;
    stage.plans_nothing()
}
