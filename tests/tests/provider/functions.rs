//! The provider's functions.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::stage::Stage;

/// The names are known only after apply, and the keys of the maps before.
const BUNDLES: &str = r#"
resource "terraform_data" "name" {
  input = "orders"
}

resource "lockgate_acl" "producer" {
  for_each      = provider::lockgate::producer_acls("User:${terraform_data.name.output}", terraform_data.name.output)
  principal     = each.value.principal
  resource_type = each.value.resource_type
  resource_name = each.value.resource_name
  operations    = each.value.operations
}

resource "lockgate_acl" "consumer" {
  for_each      = provider::lockgate::consumer_acls("User:bob", terraform_data.name.output, "app")
  principal     = each.value.principal
  host          = each.value.host
  resource_type = each.value.resource_type
  resource_name = each.value.resource_name
  pattern_type  = each.value.pattern_type
  operations    = each.value.operations
  permission    = each.value.permission
}

output "keys" {
  value = [keys(lockgate_acl.producer), keys(lockgate_acl.consumer)]
}

output "id" {
  value = provider::lockgate::acl_id("User:CN=a|b", "*", ["Write", "Read"], "Allow", "Topic", "50%", "Literal")
}
"#;

#[test]
fn functions_make_ids_and_bundles_of_acls() -> Result<()> {
    let stage = Stage::new()?;
    stage.applies(BUNDLES, "4 added, 0 changed, 0 destroyed")?;
    let outputs = stage.outputs()?;
    ensure!(outputs["keys"] == json!([["topic"], ["group", "topic"]]), "{outputs}");
    ensure!(outputs["id"] == "User:CN=a%7Cb|*|Read,Write|Allow|Topic|50%25|Literal", "{outputs}");
    let acls = stage.operator.wait(stage.operator.admin().list_acls(&Default::default()))?;
    let of = |principal: &str| {
        let own = acls.iter().filter(|acl| acl.principal == principal);
        own.map(|acl| format!("{} {} {}", acl.operation, acl.resource_type, acl.resource_name)).collect::<Vec<_>>()
    };
    ensure!(of("User:orders") == ["Write Topic orders", "Describe Topic orders"], "{acls:?}");
    ensure!(of("User:bob") == ["Read Topic orders", "Describe Topic orders", "Read Group app"], "{acls:?}");

    for (call, parameter, sentence) in [
        ("producer_acls(\"alice\", \"t\")", "principal", "has no type before its name"),
        ("consumer_acls(\"User:a\", \"t\", \"\")", "group", "group must not be empty"),
        (
            "acl_id(\"User:a\", \"*\", [\"Reed\"], \"Allow\", \"Topic\", \"t\", \"Literal\")",
            "operations",
            "\"Reed\" is not",
        ),
    ] {
        stage.configure(&format!("output \"it\" {{\n  value = provider::lockgate::{call}\n}}\n"))?;
        let said = stage.run(&["plan"])?;
        said.refused(1, &format!("Invalid value for \"{parameter}\" parameter:"))?;
        said.says(sentence)?;
    }
    Ok(())
}
