//! The way to the cluster: known late, up late, or closed.

use anyhow::{Result, ensure};
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::Operator;
use lockgate_tests::terraform::Terraform;

use crate::{PASSWORD, block, with};

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

/// Each is one sentence, said once, however many resources there are.
#[test]
fn what_is_wrong_with_the_way_to_the_cluster_is_said_once() -> Result<()> {
    let mut broker = Broker::start(&Options::default())?;
    let operator = Operator::of(&broker)?;
    operator.user("nobody", PASSWORD)?;
    let topics = "resource \"lockgate_topic\" \"t\" {\n  count = 5\n  name  = \"t-${count.index}\"\n}\n";
    let terraform = Terraform::new(&with(&block(&broker), topics))?;
    terraform.apply()?;
    let stranger = tempfile::tempdir()?;
    let stranger = stranger.path().join("ca.pem");
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(&stranger, authority.self_signed(&rcgen::KeyPair::generate()?)?.pem())?;
    let (server, ca) = (broker.bootstrap(), broker.ca_path());
    let servers = |ca: &std::path::Path| {
        format!(
            "provider \"lockgate\" {{\n  bootstrap_servers = [{server:?}]\n  tls = {{\n    ca_file = {ca:?}\n  }}\n  sasl = \
             {{\n    username = \"nobody\"\n    password = {PASSWORD:?}\n  }}\n}}\n"
        )
    };
    terraform.write("main.tf", &with(&servers(&stranger), topics))?;
    once(&terraform, "certificate")?;
    broker.stop()?;
    terraform.write("main.tf", &with(&servers(&ca), topics))?;
    once(&terraform, "refused")?;
    broker.start_again()?;
    once(&terraform, "TOPIC_AUTHORIZATION_FAILED")
}

fn once(terraform: &Terraform, word: &str) -> Result<()> {
    let said = terraform.run(&["plan"])?;
    let errors = said.text.matches("Error: ").count();
    ensure!(said.code == 1 && errors == 1, "{errors} errors\n{}", said.text);
    ensure!(said.flat().contains(word), "it does not say {word:?}\n{}", said.text);
    Ok(())
}
