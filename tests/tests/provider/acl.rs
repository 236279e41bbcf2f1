//! `lockgate_acl`.

use anyhow::{Result, ensure};
use lockgate_client::admin::{Acl, AclFilter, AclOperation, AclPatternType, AclPermission, AclResourceType};
use lockgate_tests::operator::Operator;

use crate::stage::Stage;

const PRINCIPAL: &str = "User:CN=a|b";

fn config(operations: &str) -> String {
    format!(
        r#"
resource "lockgate_acl" "it" {{
  principal     = "{PRINCIPAL}"
  host          = "10.0.0.1"
  resource_type = "Topic"
  resource_name = "orders"
  pattern_type  = "Prefixed"
  operations    = [{operations}]
  permission    = "Allow"
}}
"#
    )
}

fn acl(operation: AclOperation) -> Acl {
    Acl {
        resource_type: AclResourceType::Topic,
        resource_name: "orders".to_owned(),
        pattern_type: AclPatternType::Prefixed,
        principal: PRINCIPAL.to_owned(),
        host: "10.0.0.1".to_owned(),
        operation,
        permission: AclPermission::Allow,
    }
}

fn create(operator: &Operator, operation: AclOperation) -> Result<()> {
    Ok(operator.wait(operator.admin().create_acls(&[acl(operation)]))?.remove(0)?)
}

fn delete(operator: &Operator, operation: AclOperation) -> Result<()> {
    operator.wait(operator.admin().delete_acls(&[AclFilter::exactly(&acl(operation))]))?.remove(0)?;
    Ok(())
}

#[test]
fn acls_are_made_imported_changed_watched_and_removed() -> Result<()> {
    let stage = Stage::new()?;
    stage.applies(&config(r#""Write""#), "1 added, 0 changed, 0 destroyed")?;
    // The id that the other provider's documentation gives, with nothing encoded, and our own with several operations.
    stage.imports("lockgate_acl.it", "User:CN=a|b|10.0.0.1|Write|Allow|Topic|orders|Prefixed")?;
    stage.plans_nothing()?;
    let second = config(r#""Read", "Describe""#);
    stage.applies(&second, "0 added, 1 changed, 0 destroyed")?;
    stage.imports("lockgate_acl.it", "User:CN=a%7Cb|10.0.0.1|Read,Describe|Allow|Topic|orders|Prefixed")?;
    stage.plans_nothing()?;
    stage.run(&["state", "rm", "lockgate_acl.it"])?.succeeded()?;
    let ambiguous = "User:x|*|Read|Allow|Topic|*|Read|Allow|Topic|t|Literal";
    stage.run(&["import", "lockgate_acl.it", ambiguous])?.refused(1, "can be read in 2 ways")?;
    stage
        .run(&["import", "lockgate_acl.it", "User:CN=a|b|10.0.0.1|Describe,Read|Allow|Topic|orders|Prefixed"])?
        .succeeded()?;

    create(&stage.operator, AclOperation::Alter)?;
    stage.plans_nothing()?;
    stage.drifts("0 to add, 1 to change, 0 to destroy", "an operation gone", |o| delete(o, AclOperation::Read))?;
    stage.drifts("1 to add, 0 to change, 0 to destroy", "all operations gone", |o| {
        delete(o, AclOperation::Read)?;
        delete(o, AclOperation::Describe)
    })?;
    stage.replaces(
        &second,
        &[
            ("CN=a|b", "CN=b"),
            ("10.0.0.1", "*"),
            ("\"Topic\"", "\"TransactionalId\""),
            ("orders", "payments"),
            ("Prefixed", "Literal"),
            ("Allow", "Deny"),
        ],
    )?;

    stage.destroys(1)?;
    let filter = AclFilter { principal: Some(PRINCIPAL.to_owned()), ..AclFilter::default() };
    let left = stage.operator.wait(stage.operator.admin().list_acls(&filter))?;
    ensure!(left == [acl(AclOperation::Alter)], "{left:?}");
    Ok(())
}
