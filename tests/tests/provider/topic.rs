//! `lockgate_topic`.

use anyhow::{Result, ensure};
use lockgate_client::admin::{Alteration, ConfigChange, ConfigResource, NewPartitions};
use lockgate_tests::operator::Operator;

use crate::stage::{Stage, map, only};

fn config(body: &str) -> String {
    format!("resource \"lockgate_topic\" \"it\" {{\n  name = \"orders\"\n  {body}\n}}\n")
}

fn alter(operator: &Operator, key: &str, change: ConfigChange) -> Result<()> {
    let resource = ConfigResource::Topic("orders".to_owned());
    let alteration = Alteration { resource, changes: map(&[(key, change)]).into_iter().collect() };
    only(operator.wait(operator.admin().alter_configs(&[alteration], false))?)
}

fn set(value: &str) -> ConfigChange {
    ConfigChange::Set(value.to_owned())
}

fn delete(operator: &Operator) -> Result<()> {
    only(operator.wait(operator.admin().delete_topics(&["orders"]))?)
}

#[test]
fn topics_are_made_imported_changed_watched_and_removed() -> Result<()> {
    let stage = Stage::new()?;
    // The cluster keeps one replica, whatever is asked for: no difference.
    let first = "partitions = 2\n  replication_factor = 3\n  config = { \"retention.ms\" = \"1000\" }";
    stage.applies(&config(first), "1 added, 0 changed, 0 destroyed")?;
    let second = config("partitions = 3\n  config = { \"retention.ms\" = \"2000\", \"segment.ms\" = \"60000\" }");
    stage.applies(&second, "0 added, 1 changed, 0 destroyed")?;
    stage.imports("lockgate_topic.it", "orders")?;
    stage.plans_nothing()?;
    stage.finds_no_drift()?;

    alter(&stage.operator, "max.message.bytes", set("2000"))?;
    stage.plans_nothing()?;
    let changed = "0 to add, 1 to change, 0 to destroy";
    stage.drifts(changed, "another value", |o| alter(o, "retention.ms", set("5")))?.says("\"5\" -> \"2000\"")?;
    stage.drifts(changed, "a key gone", |o| alter(o, "segment.ms", ConfigChange::Delete))?;
    stage.drifts("1 to add, 0 to change, 0 to destroy", "deleted by somebody else", delete)?;
    delete(&stage.operator)?;
    stage.operator.topic("orders", 3, &[("retention.ms", "2000"), ("segment.ms", "60000")])?;
    stage.run(&["plan"])?.succeeded()?.says("was made anew outside of Terraform")?;
    stage.apply()?;
    let grown = [NewPartitions { topic: "orders".to_owned(), total: 4 }];
    only(stage.operator.wait(stage.operator.admin().create_partitions(&grown, false))?)?;
    stage.run(&["plan"])?.refused(1, "has 4 partitions, and 3 are fewer")?;
    let third = second.replace("= 3", "= 4");
    stage.applies(&third, "0 added, 0 changed, 0 destroyed")?;

    // What Kafka cannot do in place is refused while the topic is protected, and a replacement afterwards.
    let renamed = third.replace("\"orders\"", "\"orders-2\"");
    stage.configure(&renamed)?;
    stage.run(&["plan"])?.refused(1, "has deletion_protection on")?;
    stage.configure(&third.replace("= 4", "= 4\n  replication_factor = 2"))?;
    stage.run(&["plan"])?.refused(1, "The replication factor cannot be changed in place")?;
    let open = third.replace("= 4", "= 4\n  deletion_protection = false");
    stage.applies(&open, "0 added, 1 changed, 0 destroyed")?;
    stage.applies(&open.replace("\"orders\"", "\"orders-2\""), "1 added, 0 changed, 1 destroyed")?;

    // A topic that exists already is taken over only when asked.
    stage.operator.topic("orders", 1, &[])?;
    let named = "\"orders\"\n  deletion_protection = false\n  adopt_existing = true";
    let both = |adopting: &str| {
        open.replace("\"orders\"", "\"orders-2\"")
            + &config("").replace("\"it\"", "\"other\"").replace("\"orders\"", adopting)
    };
    stage.configure(&both("\"orders\""))?;
    stage.run(&["apply", "-auto-approve"])?.refused(1, "A topic \"orders\" exists already")?;
    stage.applies(&both(named), "1 added, 0 changed, 0 destroyed")?;
    stage.destroys(2)?;
    let left = stage.operator.wait(stage.operator.admin().describe_topics(&["orders", "orders-2"]))?;
    ensure!(left.values().all(|topic| topic.as_ref().is_err_and(|e| e.is_not_found())), "{left:?}");
    Ok(())
}
