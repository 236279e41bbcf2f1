//! The provider with many resources: few requests, whatever shares a request stays right.

use anyhow::{Result, ensure};
use lockgate_client::admin::{AclOperation, AclResourceType};
use lockgate_tests::at_size::{check_requests, measure};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::Operator;
use lockgate_tests::terraform::Terraform;

/// `make provider-size` measures ten thousand, with the goals for the times.
#[test]
fn many_resources_take_few_requests_and_not_much_longer_than_terraform_itself() -> Result<()> {
    let (objects, parallelism) = (200, 10);
    let phases = measure(objects, parallelism)?;
    // The goal is 2 objects / parallelism. So few objects are over before the workers are in step, on a quick machine the more.
    check_requests(&phases, objects, objects as u64 / 2)?;
    for phase in &phases {
        ensure!(phase.ratio() < 5.0, "{phase:?}");
    }
    Ok(())
}

/// A provider block for a user with a password.
fn as_user(broker: &Broker, user: &str) -> String {
    format!(
        "provider \"lockgate\" {{\n  bootstrap_servers = [{:?}]\n  tls = {{\n    ca_file = {:?}\n  }}\n  sasl = {{\n    \
         username = {user:?}\n    password = \"pencil\"\n  }}\n}}\n",
        broker.bootstrap(),
        broker.ca_path()
    )
}

fn as_admin(broker: &Broker) -> String {
    format!("provider \"lockgate\" {{\n  cluster = \"file://{}\"\n}}\n", broker.data().display())
}

const TOPICS: &str = r#"
resource "lockgate_topic" "t" {
  for_each = toset(["seen.1", "seen.2", "hidden.1", "hidden.2"])
  name     = each.key
}
"#;

#[test]
fn topics_that_the_user_may_not_describe_stay_in_the_state_and_deleted_ones_go() -> Result<()> {
    let broker = Broker::start(&Options::default())?;
    let operator = Operator::of(&broker)?;
    let terraform = Terraform::new(&(as_admin(&broker) + TOPICS))?;
    terraform.apply()?.says("4 added")?;

    operator.user("half", "pencil")?;
    operator.allow(
        "half",
        AclResourceType::Topic,
        "seen.",
        &[AclOperation::Describe, AclOperation::DescribeConfigs],
    )?;
    terraform.write("main.tf", &(as_user(&broker, "half") + TOPICS))?;
    let said = terraform.run(&["plan"])?;
    said.refused(1, "TOPIC_AUTHORIZATION_FAILED")?;
    said.says("Could not read topic \"hidden.")?;
    ensure!(terraform.state()?.contains("hidden.1"), "a topic that cannot be seen left the state");

    for result in operator.wait(operator.admin().delete_topics(&["seen.1"]))?.into_values() {
        result?;
    }
    terraform.write("main.tf", &(as_admin(&broker) + TOPICS))?;
    terraform.run(&["plan"])?.says("Plan: 1 to add, 0 to change, 0 to destroy.")
}

#[test]
fn a_list_that_cannot_be_read_is_one_error_for_all_that_need_it() -> Result<()> {
    let broker = Broker::start(&Options::default())?;
    let operator = Operator::of(&broker)?;
    let acls = r#"
resource "lockgate_acl" "a" {
  count         = 5
  principal     = "User:u${count.index}"
  resource_type = "Topic"
  resource_name = "t"
  operations    = ["Read"]
}
"#;
    let terraform = Terraform::new(&(as_admin(&broker) + acls))?;
    terraform.apply()?.says("5 added")?;
    operator.user("nobody", "pencil")?;
    terraform.write("main.tf", &(as_user(&broker, "nobody") + acls))?;
    terraform.run(&["plan"])?.refused(1, "Could not read the list of ACLs")?;
    let state = terraform.state()?;
    ensure!(state.matches("\"principal\": \"User:u").count() == 5, "{state}");
    Ok(())
}
