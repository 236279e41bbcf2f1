//! An apply that ends in the middle: by Ctrl-C, or because the provider is killed. What is in the cluster is in the state, or
//! the next apply says in a sentence what to do about it.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::Operator;
use lockgate_tests::terraform::Terraform;

/// Enough that an apply is far from its end when the first of them are there.
const TOPICS: usize = 600;

/// When the apply is interrupted.
const MADE: usize = 30;

const CREATED: &str = "Creation complete";

struct Scene {
    operator: Operator,
    broker: Broker,
}

impl Scene {
    fn set() -> Result<Self> {
        let broker = Broker::start(&Options::default())?;
        Ok(Self { operator: Operator::of(&broker)?, broker })
    }

    fn config(&self, further: &str) -> String {
        format!(
            r#"
provider "lockgate" {{
  cluster = "file://{}"
}}

resource "lockgate_topic" "many" {{
  count = {TOPICS}
  name  = "t-${{count.index}}"
  {further}
}}
"#,
            self.broker.data().display()
        )
    }

    /// The topics that are in the cluster.
    fn present(&self) -> Result<BTreeSet<String>> {
        let topics = self.operator.wait(self.operator.admin().list_topics())?;
        Ok(topics.into_iter().filter(|topic| !topic.internal).map(|topic| topic.name).collect())
    }
}

/// The topics that are in the state, each with the id that only the cluster can have given.
fn stored(terraform: &Terraform) -> Result<BTreeSet<String>> {
    let resources = terraform.resources()?;
    let names = resources.values().map(|attributes| {
        ensure!(attributes["topic_id"].is_string(), "{attributes} is no whole topic");
        Ok(attributes["name"].as_str().context("a topic has a name")?.to_owned())
    });
    names.collect()
}

#[test]
fn after_ctrl_c_state_and_cluster_agree_and_the_rest_is_planned() -> Result<()> {
    let scene = Scene::set()?;
    let terraform = Terraform::new(&scene.config(""))?;
    let mut apply = terraform.start(&["apply", "-auto-approve"])?;
    apply.until_said(CREATED, MADE)?;
    apply.interrupt()?;
    let said = apply.wait()?;
    ensure!(said.code == 1, "exit code {}\n{}", said.code, said.text);
    said.says("Interrupt received.")?;
    ensure!(!said.text.contains("Plugin did not respond"), "the provider did not wait\n{}", said.text);

    let (stored, present) = (stored(&terraform)?, scene.present()?);
    ensure!(stored == present, "only in one of state and cluster: {:?}", stored.symmetric_difference(&present));
    ensure!((MADE..TOPICS).contains(&stored.len()), "{} topics were made: not in the middle", stored.len());
    let rest = format!("Plan: {} to add, 0 to change, 0 to destroy.", TOPICS - stored.len());
    terraform.run(&["plan"])?.succeeded()?.says(&rest)?;
    terraform.apply()?;
    ensure!(scene.present()?.len() == TOPICS, "not all topics are there");
    terraform.plans_nothing()
}

#[test]
fn after_a_crash_of_the_provider_what_was_reported_is_kept_and_the_rest_can_be_adopted() -> Result<()> {
    let scene = Scene::set()?;
    let terraform = Terraform::new(&scene.config(""))?;
    let mut apply = terraform.start(&["apply", "-auto-approve"])?;
    apply.until_said(CREATED, MADE)?;
    ensure!(apply.kill_providers()? == 1, "there is not just one provider to kill");
    let said = apply.wait()?;
    ensure!(said.code == 1, "exit code {}\n{}", said.code, said.text);
    let reported = said.text.matches(CREATED).count();

    let (stored, present) = (stored(&terraform)?, scene.present()?);
    ensure!((MADE..TOPICS).contains(&reported), "{reported} topics were made: not in the middle");
    ensure!(stored.len() == reported, "{reported} topics were reported, and {} are in the state", stored.len());
    ensure!(stored.is_subset(&present), "not in the cluster: {:?}", stored.difference(&present));

    // Topics whose creation was under way are in the cluster and not in the state. At least one is, for certain.
    let orphan = (0..TOPICS).map(|n| format!("t-{n}")).find(|name| !present.contains(name)).context("all are there")?;
    scene.operator.topic(&orphan, 1, &[])?;
    let orphans = scene.present()?.difference(&stored).count();
    let said = terraform.run(&["apply", "-auto-approve"])?;
    said.refused(orphans, &format!("A topic \"{orphan}\" exists already. To manage it here, import it"))?;
    said.says("adopt_existing = true")?;

    terraform.write("main.tf", &scene.config("adopt_existing = true"))?;
    terraform.apply()?.says(&format!("{orphans} added, {} changed, 0 destroyed", TOPICS - orphans))?;
    terraform.plans_nothing()
}
