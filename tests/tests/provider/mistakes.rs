//! Mistakes in a configuration, as a person sees them.

use anyhow::Result;
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::terraform::Terraform;

use crate::{block, with};

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
    let quota = |body: &str| with(&good, &format!("resource \"lockgate_quota\" \"q\" {{\n  {body}\n}}\n"));
    let topics = "data \"lockgate_topics\" \"t\" {\n  name_regex = \"(\"\n}\n";
    let acls = "data \"lockgate_acls\" \"a\" {\n  operation = \"Reed\"\n}\n";
    for (config, sentence) in [
        (topic("partitions = 1"), "has 2 partitions, and 1 are fewer"),
        (topic("config = { \"no.such.key\" = \"1\" }"), "no.such.key"),
        (topic("partitions = 0"), "partitions must be a whole number from 1"),
        (good.replace("name = \"t\"", "name = \"no spaces\""), "has only letters, digits, '.', '_' and '-'."),
        (with(&good, acl), "must be one of: All, Read, Write"),
        (with(&good, user), "A new user needs a password."),
        (
            quota("user = \"u\"\n  ip = \"10.0.0.1\"\n  connection_creation_rate = 1"),
            "ip is \"10.0.0.1\", and user is \"u\": an address stands alone.",
        ),
        (
            quota("user = \"u\"\n  connection_creation_rate = 1"),
            "connection_creation_rate is 1, and is allowed only with ip",
        ),
        (
            quota("user = \"u\"\n  producer_byte_rate = 0"),
            "producer_byte_rate is 0, and must be a whole number of bytes per second from 1.",
        ),
        (with(&good, topics), "name_regex is not a regular expression"),
        (with(&good, acls), "operation is \"Reed\", and must be one of: All, Read, Write"),
    ] {
        terraform.write("main.tf", &config)?;
        terraform.run(&["plan"])?.refused(1, sentence)?;
    }
    terraform.write("main.tf", &good)?;
    terraform.plans_nothing()
}
