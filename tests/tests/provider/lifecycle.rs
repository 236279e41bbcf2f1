//! What a person does with the provider, from the first apply to the last destroy.

use anyhow::{Context, Result, ensure};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::kafka::{Kafka, KafkaOptions};
use lockgate_tests::operator::Operator;
use lockgate_tests::program::workspace;
use lockgate_tests::terraform::Terraform;

use crate::access::Access;
use crate::{PASSWORD, with};

/// A topic, a user with its password in a variable, and what the user may do.
fn resources(partitions: u32, retention: &str, version: u32, operations: &str) -> String {
    format!(
        r#"
variable "password" {{
  type      = string
  sensitive = true
  ephemeral = true
}}

resource "lockgate_topic" "orders" {{
  name       = "orders"
  partitions = {partitions}
  config     = {{ {retention} }}
}}

resource "lockgate_user" "alice" {{
  username            = "alice"
  password_wo         = var.password
  password_wo_version = {version}
}}

resource "lockgate_acl" "alice" {{
  principal     = "User:${{lockgate_user.alice.username}}"
  resource_type = "Topic"
  resource_name = lockgate_topic.orders.name
  operations    = [{operations}]
}}

data "lockgate_cluster" "this" {{}}

output "cluster_id" {{
  value = data.lockgate_cluster.this.id
}}
"#
    )
}

/// From nothing to everything and back, on whatever cluster the block names.
fn lifecycle(block: &str) -> Result<()> {
    let first =
        resources(2, r#""retention.ms" = "86400000", "max.message.bytes" = "500000""#, 1, r#""Read", "Describe""#);
    let mut terraform = Terraform::new(&with(block, &first))?;
    terraform.set("TF_VAR_password", PASSWORD);
    terraform.apply()?.says("Apply complete! Resources: 3 added")?;
    terraform.plans_nothing()?;
    ensure!(!terraform.state()?.contains(PASSWORD), "the password is in the state");

    let second = resources(3, r#""retention.ms" = "3600000""#, 2, r#""Describe", "Write""#);
    terraform.write("main.tf", &with(block, &second))?;
    terraform.apply()?.says("Resources: 0 added, 3 changed, 0 destroyed")?;
    terraform.plans_nothing()?;

    terraform.imports("lockgate_topic.orders", "orders")?;
    terraform.imports("lockgate_acl.alice", "User:alice|*|Describe,Write|Allow|Topic|orders|Literal")?;
    terraform.plans_nothing()?;
    terraform.imports("lockgate_user.alice", "alice")?;
    terraform.plans("0 to add, 1 to change, 0 to destroy").context("a version that the import could not know")?;
    terraform.apply()?;
    terraform.plans_nothing()?;

    let protected = "has deletion_protection on";
    terraform.run(&["destroy", "-auto-approve"])?.refused(1, protected)?;
    terraform.run(&["apply", "-auto-approve", "-replace=lockgate_topic.orders"])?.refused(1, protected)?;
    let renamed = second.replace("name       = \"orders\"", "name       = \"orders-2\"");
    terraform.write("main.tf", &with(block, &renamed))?;
    terraform.run(&["plan"])?.refused(1, protected)?;
    let open = second.replace("name       = \"orders\"", "name = \"orders\"\n  deletion_protection = false");
    terraform.write("main.tf", &with(block, &open))?;
    terraform.apply()?.says("0 added, 1 changed, 0 destroyed")?;
    terraform.run(&["destroy", "-auto-approve"])?.succeeded()?.says("Destroy complete! Resources: 3 destroyed.")
}

#[test]
fn topics_users_and_acls_from_the_first_apply_to_the_last_destroy() -> Result<()> {
    for access in Access::ALL {
        gone_after_the_lifecycle(access).with_context(|| format!("{access:?}"))?;
    }
    Ok(())
}

fn gone_after_the_lifecycle(access: Access) -> Result<()> {
    let way = access.open()?;
    lifecycle(&way.block).with_context(|| way.broker.log_tail())?;
    let operator = Operator::of(&way.broker)?;
    let admin = operator.admin();
    ensure!(operator.wait(admin.describe_topics(&["orders"]))?["orders"].as_ref().is_err_and(|e| e.is_not_found()));
    let users = operator.wait(admin.describe_users(Some(&["alice"])))?;
    ensure!(users["alice"].as_ref().is_err_and(|e| e.is_not_found()));
    ensure!(operator.wait(admin.list_acls(&Default::default()))?.iter().all(|acl| acl.principal != "User:alice"));
    Ok(())
}

/// The same with Apache Kafka, to see that the provider manages any cluster.
#[test]
fn the_lifecycle_holds_on_apache_kafka() -> Result<()> {
    let kafka = Kafka::start(&KafkaOptions::default())?;
    let server = kafka.plaintext_address().to_string();
    lifecycle(&format!("provider \"lockgate\" {{\n  bootstrap_servers = [{server:?}]\n}}\n"))
}

#[test]
fn the_quickstart_applies_as_it_is() -> Result<()> {
    let broker = Broker::start(&Options::default())?;
    let mut terraform = Terraform::copy_of(&workspace().join("terraform/examples/quickstart"))?;
    terraform.set("TF_VAR_cluster", &format!("file://{}", broker.data().display()));
    terraform.set("TF_VAR_producer_password", "first secret");
    terraform.set("TF_VAR_consumer_password", "second secret");
    terraform.apply()?.says(&broker.bootstrap())?;
    terraform.plans_nothing()?;
    let state = terraform.state()?;
    ensure!(!state.contains("first secret") && !state.contains("second secret"), "a password is in the state");
    Ok(())
}
