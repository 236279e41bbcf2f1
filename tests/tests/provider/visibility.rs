//! A user who may see only half of the topics. Kafka leaves the others out of its lists without a word, and that is no proof
//! that they are gone.

use anyhow::{Result, ensure};
use lockgate_client::admin::{AclOperation, AclResourceType};
use serde_json::json;

use crate::stage::{Stage, only};
use crate::{PASSWORD, with};

const TOPICS: &str = r#"
resource "lockgate_topic" "topics" {
  for_each            = toset(["seen", "hidden"])
  name                = each.key
  deletion_protection = false
}
"#;

const LIST: &str =
    "data \"lockgate_topics\" \"all\" {}\n\noutput \"names\" {\n  value = data.lockgate_topics.all.names\n}\n";

#[test]
fn a_topic_that_the_user_may_not_see_is_an_error_and_stays_in_the_state() -> Result<()> {
    let stage = Stage::new()?;
    stage.applies(TOPICS, "2 added, 0 changed, 0 destroyed")?;
    stage.operator.user("half", PASSWORD)?;
    let allowed = [AclOperation::Describe, AclOperation::DescribeConfigs];
    stage.operator.allow("half", AclResourceType::Topic, "seen", &allowed)?;
    let half = format!(
        "provider \"lockgate\" {{\n  bootstrap_servers = [{:?}]\n  tls = {{\n    ca_file = {:?}\n  }}\n  sasl = {{\n    \
         username = \"half\"\n    password = {PASSWORD:?}\n  }}\n}}\n",
        stage.broker().bootstrap(),
        stage.broker().ca_path()
    );

    stage.write("main.tf", &with(&half, TOPICS))?;
    let refused = "TOPIC_AUTHORIZATION_FAILED";
    stage.run(&["plan"])?.refused(1, refused)?;
    // Gone or not, the broker does not tell this user.
    only(stage.operator.wait(stage.operator.admin().delete_topics(&["hidden"]))?)?;
    stage.run(&["apply", "-auto-approve"])?.refused(1, refused)?;
    ensure!(stage.run(&["state", "list"])?.text.contains("lockgate_topic.topics[\"hidden\"]"), "it left the state");
    only(stage.operator.wait(stage.operator.admin().delete_topics(&["seen"]))?)?;
    let said = stage.run(&["plan", "-target=lockgate_topic.topics[\"seen\"]"])?.succeeded()?;
    said.says("Plan: 1 to add, 0 to change, 0 to destroy.")?;

    // With an admin the absence is proved.
    stage.configure(TOPICS)?;
    stage.plans("2 to add, 0 to change, 0 to destroy")?;
    stage.applies(TOPICS, "2 added, 0 changed, 0 destroyed")?;

    stage.write(
        "main.tf",
        &with(
            &half,
            &with(LIST, "removed {\n  from = lockgate_topic.topics\n  lifecycle {\n    destroy = false\n  }\n}\n"),
        ),
    )?;
    stage.apply()?;
    ensure!(stage.outputs()?["names"] == json!(["seen"]), "{}", stage.outputs()?);
    stage.write("main.tf", &with(&half, "data \"lockgate_topic\" \"it\" {\n  name = \"hidden\"\n}\n"))?;
    let said = stage.run(&["plan"])?;
    said.refused(1, "Could not read the topic \"hidden\"")?;
    said.says(refused)
}
