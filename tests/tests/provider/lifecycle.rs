//! The provider with the real terraform: what a person does with it, from the first apply to the last destroy.

use anyhow::{Context, Result, ensure};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::Operator;
use lockgate_tests::program::workspace;
use lockgate_tests::terraform::Terraform;

/// The provider block for a broker.
fn block(broker: &Broker) -> String {
    format!("provider \"lockgate\" {{\n  cluster = \"file://{}\"\n}}\n", broker.data().display())
}

fn with(block: &str, rest: &str) -> String {
    format!("{block}\n{rest}")
}

const PASSWORD: &str = "correct horse battery staple";

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

    // Import of each resource, with the ids that a person would write.
    for (address, id) in [
        ("lockgate_topic.orders", "orders"),
        ("lockgate_acl.alice", "User:alice|*|Describe,Write|Allow|Topic|orders|Literal"),
    ] {
        terraform.run(&["state", "rm", address])?.succeeded()?;
        terraform.run(&["import", address, id])?.succeeded()?;
        terraform.plans_nothing().context(address)?;
    }
    terraform.run(&["state", "rm", "lockgate_user.alice"])?.succeeded()?;
    terraform.run(&["import", "lockgate_user.alice", "alice"])?.succeeded()?;
    let said = terraform.run(&["plan", "-detailed-exitcode"])?;
    said.says("Plan: 0 to add, 1 to change, 0 to destroy.").context("a version that the import could not know")?;
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
    let broker = Broker::start(&Options::default())?;
    lifecycle(&block(&broker))?;
    let operator = Operator::of(&broker)?;
    let admin = operator.admin();
    ensure!(operator.wait(admin.describe_topics(&["orders"]))?["orders"].as_ref().is_err_and(|e| e.is_not_found()));
    let users = operator.wait(admin.describe_users(Some(&["alice"])))?;
    ensure!(users["alice"].as_ref().is_err_and(|e| e.is_not_found()));
    ensure!(operator.wait(admin.list_acls(&Default::default()))?.iter().all(|acl| acl.principal != "User:alice"));
    Ok(())
}

/// The same with Apache Kafka, to see that the provider manages any cluster.
#[test]
#[ignore = "needs a Kafka cluster with an authorizer, on which everyone is a super user: LOCKGATE_TEST_KAFKA=host:port"]
fn the_lifecycle_holds_on_apache_kafka() -> Result<()> {
    let server = std::env::var("LOCKGATE_TEST_KAFKA").context("LOCKGATE_TEST_KAFKA names no server")?;
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

#[test]
fn what_exists_is_imported_with_generated_configuration_that_plans_clean() -> Result<()> {
    let broker = Broker::start(&Options::default())?;
    let operator = Operator::of(&broker)?;
    operator.topic("legacy", 2, &[("cleanup.policy", "compact")])?;
    operator.user("bob", PASSWORD)?;
    let terraform = Terraform::new(&block(&broker))?;
    let imports = r#"
import {
  to = lockgate_topic.legacy
  id = "legacy"
}

import {
  to = lockgate_user.bob
  id = "bob"
}
"#;
    terraform.write("import.tf", imports)?;
    let said = terraform.run(&["plan", "-generate-config-out=generated.tf"])?.succeeded()?;
    said.says("Plan: 2 to import, 0 to add, 0 to change, 0 to destroy.")?;
    terraform.apply()?.says("2 imported, 0 added, 0 changed, 0 destroyed")?;
    terraform.plans_nothing()
}

#[test]
fn mistakes_are_one_clear_error_each_before_anything_is_changed() -> Result<()> {
    let broker = Broker::start(&Options::default())?;
    let block = block(&broker);
    let topic =
        |body: &str| with(&block, &format!("resource \"lockgate_topic\" \"t\" {{\n  name = \"t\"\n  {body}\n}}\n"));
    let good = topic("partitions = 2");
    let terraform = Terraform::new(&good)?;
    terraform.apply()?;
    let acl = r#"
resource "lockgate_acl" "a" {
  principal     = "User:a"
  resource_type = "Topic"
  resource_name = "t"
  operations    = ["Reed"]
}
"#;
    let user = "resource \"lockgate_user\" \"u\" {\n  username = \"u\"\n}\n";
    for (config, sentence) in [
        (topic("partitions = 1"), "has 2 partitions, and 1 are fewer"),
        (topic("config = { \"no.such.key\" = \"1\" }"), "no.such.key"),
        (topic("partitions = 0"), "partitions must be a whole number from 1"),
        (good.replace("name = \"t\"", "name = \"no spaces\""), "has only letters, digits, '.', '_' and '-'."),
        (with(&good, acl), "must be one of: All, Read, Write"),
        (with(&good, user), "A new user needs a password."),
    ] {
        terraform.write("main.tf", &config)?;
        terraform.run(&["plan"])?.refused(1, sentence)?;
    }
    terraform.write("main.tf", &good)?;
    terraform.plans_nothing()
}

#[test]
fn a_cluster_that_is_known_only_after_apply_gets_its_topics_in_the_same_apply() -> Result<()> {
    let broker = Broker::start(&Options::default())?;
    let config = format!(
        r#"
resource "terraform_data" "cluster" {{
  input = "file://{}"
}}

provider "lockgate" {{
  cluster = terraform_data.cluster.output
}}

resource "lockgate_topic" "t" {{
  name = "t"
}}

data "lockgate_cluster" "this" {{
  depends_on = [terraform_data.cluster]
}}
"#,
        broker.data().display()
    );
    let terraform = Terraform::new(&config)?;
    terraform.apply()?.says("2 added")?;
    terraform.plans_nothing()
}

#[test]
fn an_apply_waits_for_a_cluster_that_is_still_to_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let config = format!(
        "provider \"lockgate\" {{\n  cluster = \"file://{}\"\n}}\n\nresource \"lockgate_topic\" \"t\" {{\n  name = \"t\"\n}}\n",
        data.display()
    );
    let terraform = Terraform::new(&config)?;
    let applying = std::thread::spawn(move || terraform.apply().map(|said| (terraform, said)));
    std::thread::sleep(std::time::Duration::from_secs(3));
    ensure!(!applying.is_finished(), "the apply did not wait");
    let _broker = Broker::start(&Options { data: Some(data), ..Options::default() })?;
    let (terraform, said) = applying.join().expect("a thread that returns its errors")?;
    said.says("Resources: 1 added")?;
    terraform.plans_nothing()
}

#[test]
fn a_wrong_password_is_explained_once_however_many_resources_there_are() -> Result<()> {
    let broker = Broker::start(&Options::default())?;
    let topics = r#"
resource "lockgate_topic" "t" {
  count = 5
  name  = "t-${count.index}"
}

data "lockgate_cluster" "this" {}
"#;
    let terraform = Terraform::new(&with(&block(&broker), topics))?;
    terraform.apply()?;
    let wrong = format!(
        "provider \"lockgate\" {{\n  bootstrap_servers = [{:?}]\n  tls = {{\n    ca_file = {:?}\n  }}\n  sasl = {{\n    \
         username = \"terraform\"\n    password = \"wrong\"\n  }}\n}}\n",
        broker.bootstrap(),
        broker.ca_path()
    );
    terraform.write("main.tf", &with(&wrong, topics))?;
    let said = terraform.run(&["plan"])?;
    let causes = said.flat().matches("refused to authenticate the user \"terraform\"").count();
    ensure!(said.code == 1 && causes == 1, "the cause is said {causes} times\n{}", said.text);
    ensure!(!said.text.contains("\"wrong\""), "the password is shown");
    Ok(())
}
