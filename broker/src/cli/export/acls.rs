//! `acls.tf`: the operations of one principal on one resource pattern are one resource.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_client::Admin;
use lockgate_client::admin::{Acl, AclFilter, AclOperation, AclPatternType, AclPermission, AclResourceType};

use super::super::failure::Outcome;
use super::hcl::{Block, Expression, is_kept};
use super::labels::labels;
use super::page::{Exported, Page};

pub(super) const FILE: &str = "acls.tf";
const KIND: &str = "lockgate_acl";
/// For hosts and names: all of them.
const ANY: &str = "*";
/// The name of the one resource of type Cluster.
const CLUSTER: &str = "kafka-cluster";

/// What an ACL has but for its operation, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    principal: String,
    resource_type: AclResourceType,
    resource_name: String,
    pattern_type: AclPatternType,
    host: String,
    permission: AclPermission,
}

pub(super) async fn page(admin: &Admin) -> Outcome<Page> {
    let mut page = Page::new(FILE, "the ACLs");
    let listed = admin.list_acls_of_all_kinds(&AclFilter::default()).await;
    let Some((acls, unknown)) = page.keep("the ACLs", listed)? else { return Ok(page) };
    page.left_out.extend(unknown.iter().map(|acl| format!("an ACL of a kind that the provider does not know: {acl}.")));
    fill(&mut page, acls);
    Ok(page)
}

fn fill(page: &mut Page, acls: Vec<Acl>) {
    let mut scopes: BTreeMap<Scope, BTreeSet<AclOperation>> = BTreeMap::new();
    for acl in acls {
        let Acl { principal, resource_type, resource_name, pattern_type, host, permission, operation } = acl;
        let scope = Scope { principal, resource_type, resource_name, pattern_type, host, permission };
        scopes.entry(scope).or_default().insert(operation);
    }
    scopes.retain(|scope, _| {
        let problem = problem(scope);
        let sentence = |problem| format!("ACLs of {:?} on {:?}: {problem}.", scope.principal, scope.resource_name);
        page.left_out.extend(problem.map(sentence));
        problem.is_none()
    });
    let words: Vec<_> = scopes.keys().map(words).collect();
    for ((scope, operations), label) in scopes.into_iter().zip(labels(&words)) {
        let id = id(&scope, &operations);
        let block = Block::resource(KIND, &label, attributes(scope, &operations));
        page.blocks.push(Exported { kind: KIND, label, id, block });
    }
}

/// Why the provider could not have such ACLs.
fn problem(scope: &Scope) -> Option<&'static str> {
    let Scope { principal, resource_name, host, .. } = scope;
    let named = principal.split_once(':').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty());
    if !named {
        Some("the principal has no type and name")
    } else if resource_name.is_empty() || host.is_empty() {
        Some("the name or the host is empty")
    } else if scope.resource_type == AclResourceType::Cluster && resource_name != CLUSTER {
        Some("the provider knows the cluster only as kafka-cluster")
    } else if ![principal, resource_name, host].into_iter().all(|text| is_kept(text)) {
        Some("Terraform would change the name (NFC)")
    } else {
        None
    }
}

/// Defaults are left out.
fn attributes(scope: Scope, operations: &BTreeSet<AclOperation>) -> Vec<(&'static str, Expression)> {
    let text = |text: &str| Expression::Text(text.to_owned());
    let mut attributes = vec![("principal", text(&scope.principal))];
    if scope.host != ANY {
        attributes.push(("host", text(&scope.host)));
    }
    attributes.push(("resource_type", text(scope.resource_type.name())));
    attributes.push(("resource_name", text(&scope.resource_name)));
    if scope.pattern_type != AclPatternType::Literal {
        attributes.push(("pattern_type", text(scope.pattern_type.name())));
    }
    let operations = operations.iter().map(|operation| operation.name().to_owned());
    attributes.push(("operations", Expression::Texts(operations.collect())));
    if scope.permission != AclPermission::Allow {
        attributes.push(("permission", text(scope.permission.name())));
    }
    attributes
}

/// What the resource is called before it is a label: `alice topic orders`, `everyone deny group app prefixed`.
fn words(scope: &Scope) -> String {
    let name = |name: &str, all: &str| if name == ANY { all.to_owned() } else { name.to_owned() };
    let mut words = match scope.principal.split_once(':') {
        Some(("User", user)) => vec![name(user, "everyone")],
        _ => vec![scope.principal.clone()],
    };
    if scope.host != ANY {
        words.extend(["from".to_owned(), scope.host.clone()]);
    }
    if scope.permission == AclPermission::Deny {
        words.push("deny".to_owned());
    }
    words.push(
        match scope.resource_type {
            AclResourceType::Topic => "topic",
            AclResourceType::Group => "group",
            AclResourceType::Cluster => "cluster",
            AclResourceType::TransactionalId => "transactional_id",
            AclResourceType::DelegationToken => "delegation_token",
            AclResourceType::User => "user",
        }
        .to_owned(),
    );
    // There is one cluster, and its name says nothing.
    if scope.resource_type != AclResourceType::Cluster {
        words.push(name(&scope.resource_name, "any"));
    }
    if scope.pattern_type == AclPatternType::Prefixed {
        words.push("prefixed".to_owned());
    }
    words.join(" ")
}

/// The provider's import id.
fn id(scope: &Scope, operations: &BTreeSet<AclOperation>) -> String {
    let part = |text: &str| text.replace('%', "%25").replace('|', "%7C");
    let operations: Vec<_> = operations.iter().map(|operation| operation.name()).collect();
    let Scope { resource_type, pattern_type, permission, .. } = scope;
    format!(
        "{}|{}|{}|{permission}|{resource_type}|{}|{pattern_type}",
        part(&scope.principal),
        part(&scope.host),
        operations.join(","),
        part(&scope.resource_name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(principal: &str, name: &str, operation: AclOperation) -> Acl {
        Acl {
            resource_type: AclResourceType::Topic,
            resource_name: name.into(),
            pattern_type: AclPatternType::Literal,
            principal: principal.into(),
            host: ANY.into(),
            operation,
            permission: AclPermission::Allow,
        }
    }

    fn filled(acls: Vec<Acl>) -> Page {
        let mut page = Page::new(FILE, "ACLs");
        fill(&mut page, acls);
        page
    }

    #[test]
    fn operations_of_one_scope_are_one_resource() {
        let read = acl("User:alice", "orders", AclOperation::Read);
        let deny = Acl { permission: AclPermission::Deny, host: "10.0.0.1".into(), ..read.clone() };
        let page = filled(vec![deny, acl("User:alice", "orders", AclOperation::Describe), read]);
        let blocks = page.blocks.iter().map(|exported| exported.block.to_string()).collect::<String>();
        let wanted = r#"resource "lockgate_acl" "alice_topic_orders" {
  principal     = "User:alice"
  resource_type = "Topic"
  resource_name = "orders"
  operations    = ["Read", "Describe"]
}
resource "lockgate_acl" "alice_from_10_0_0_1_deny_topic_orders" {
  principal     = "User:alice"
  host          = "10.0.0.1"
  resource_type = "Topic"
  resource_name = "orders"
  operations    = ["Read"]
  permission    = "Deny"
}
"#;
        assert_eq!(blocks, wanted);
        let ids: Vec<_> = page.blocks.iter().map(|exported| exported.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "User:alice|*|Read,Describe|Allow|Topic|orders|Literal",
                "User:alice|10.0.0.1|Read|Deny|Topic|orders|Literal"
            ]
        );
    }

    #[test]
    fn names_and_ids_of_odd_principals() {
        let mut prefixed = acl("User:*", "a|b%", AclOperation::All);
        prefixed.pattern_type = AclPatternType::Prefixed;
        let mut cluster = acl("Group:ops", "kafka-cluster", AclOperation::Create);
        cluster.resource_type = AclResourceType::Cluster;
        let page = filled(vec![cluster, prefixed, acl("User:b", ANY, AclOperation::Read)]);
        let labels: Vec<_> = page.blocks.iter().map(|exported| exported.label.as_str()).collect();
        assert_eq!(labels, ["Group_ops_cluster", "everyone_topic_a_b_prefixed", "b_topic_any"]);
        assert_eq!(page.blocks[1].id, "User:*|*|All|Allow|Topic|a%7Cb%25|Prefixed");
    }

    #[test]
    fn what_the_provider_cannot_have_is_told() {
        let page = filled(vec![acl("alice", "t", AclOperation::Read), acl("User:e\u{301}", "t", AclOperation::Read)]);
        assert!(page.blocks.is_empty());
        assert!(page.left_out[0].contains("NFC") && page.left_out[1].contains("no type"), "{:?}", page.left_out);
    }
}
