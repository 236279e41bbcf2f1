//! What keeps a topic from being lost: protection against every way of destroying it, the cluster's id, the topic's id.

use anyhow::{Result, ensure};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::Operator;
use lockgate_tests::terraform::Terraform;

use crate::stage::{Stage, only};
use crate::with;

const TOPIC: &str = "resource \"lockgate_topic\" \"t\" {\n  name = \"orders\"\n}\n";
const PROTECTED: &str = "has deletion_protection on";

fn exists(operator: &Operator) -> Result<bool> {
    let mut topics = operator.wait(operator.admin().describe_topics(&["orders"]))?;
    Ok(topics.remove("orders").is_some_and(|topic| topic.is_ok()))
}

#[test]
fn a_protected_topic_survives_every_way_of_destroying_it() -> Result<()> {
    let stage = Stage::new()?;
    stage.applies(TOPIC, "1 added, 0 changed, 0 destroyed")?;
    stage.run(&["destroy", "-auto-approve"])?.refused(1, PROTECTED)?;
    stage.run(&["plan", "-destroy"])?.refused(1, PROTECTED)?;
    stage.run(&["apply", "-auto-approve", "-replace=lockgate_topic.t"])?.refused(1, PROTECTED)?;
    stage.run(&["taint", "lockgate_topic.t"])?.succeeded()?;
    stage.run(&["apply", "-auto-approve"])?.refused(1, PROTECTED)?;
    stage.run(&["untaint", "lockgate_topic.t"])?.succeeded()?;
    for gone in ["", "removed {\n  from = lockgate_topic.t\n  lifecycle {\n    destroy = true\n  }\n}\n"] {
        stage.configure(gone)?;
        stage.run(&["apply", "-auto-approve"])?.refused(1, PROTECTED)?;
    }
    stage.configure(&TOPIC.replace("orders", "orders-2"))?;
    stage.run(&["plan"])?.refused(1, PROTECTED)?;
    ensure!(exists(&stage.operator)?, "the topic is gone");

    // The two steps of a removal that is meant.
    stage.applies(&TOPIC.replace('}', "  deletion_protection = false\n}"), "0 added, 1 changed, 0 destroyed")?;
    stage.configure("")?;
    stage.apply()?.says("0 added, 0 changed, 1 destroyed")?;
    ensure!(!exists(&stage.operator)?, "the topic is still there");
    Ok(())
}

#[test]
fn protection_is_judged_without_the_broker() -> Result<()> {
    let mut broker = Broker::start(&Options::default())?;
    let terraform = Terraform::new(&with(&crate::block(&broker), TOPIC))?;
    terraform.apply()?;
    broker.kill()?;
    terraform.run(&["plan", "-destroy", "-refresh=false"])?.refused(1, PROTECTED)?;
    broker.start_again()?;
    terraform.plans_nothing()
}

#[test]
fn another_cluster_at_the_same_address_stops_the_plan_and_a_new_topic_of_the_same_name_warns() -> Result<()> {
    let mut broker = Broker::start(&Options::default())?;
    let terraform = Terraform::new("")?;
    // By its address, since the cluster's URL leads to the cluster itself.
    let servers = |broker: &Broker| {
        let login = lockgate_tests::operator::admin_login(broker)?;
        Ok::<_, anyhow::Error>(format!(
            "provider \"lockgate\" {{\n  bootstrap_servers = [{:?}]\n  tls = {{\n    ca_file = {:?}\n  }}\n  sasl = {{\n    \
             username = {:?}\n    password = {:?}\n  }}\n}}\n",
            broker.bootstrap(),
            broker.ca_path(),
            login.user,
            login.password
        ))
    };
    terraform.write("main.tf", &with(&servers(&broker)?, TOPIC))?;
    terraform.apply()?;

    let operator = Operator::of(&broker)?;
    only(operator.wait(operator.admin().delete_topics(&["orders"]))?)?;
    operator.topic("orders", 1, &[])?;
    let said = terraform.run(&["plan"])?.succeeded()?;
    said.says("Topic \"orders\" was made anew outside of Terraform")?;
    said.says("No changes.")?;

    broker.stop()?;
    let other = broker.data().with_file_name("other");
    broker.use_data(&other)?;
    broker.start_again()?;
    terraform.write("main.tf", &with(&servers(&broker)?, TOPIC))?;
    let said = terraform.run(&["plan"])?;
    ensure!(said.code == 1 && said.flat().contains("another cluster"), "{}", said.text);
    Ok(())
}
