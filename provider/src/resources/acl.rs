//! `lockgate_acl`: the ACLs of one principal on one resource pattern, one for each operation that the resource lists.
//!
//! A resource owns only the operations that it lists. Others on the same pattern are somebody else's: they are not shown, not
//! changed and not deleted.

use std::collections::BTreeSet;

use lockgate_client::admin::{AclOperation, AclPatternType, AclPermission, AclResourceType};
use lockgate_client::{Error, Result as ClientResult};
use tonic::async_trait;

use super::{acl_id, connection_for_apply, connection_for_read, failed, in_cluster, not_one_of, unreadable};
use crate::cluster::AclScope;
use crate::session::Session;
use crate::tfplugin::{
    Applied, Attribute, AttributePath, Diagnostic, Diagnostics, Private, ReadOutcome, Resource, Schema, Type, Value,
};

/// The name of the one resource of type Cluster.
const CLUSTER_NAME: &str = "kafka-cluster";

/// ACLs.
pub struct AclResource {
    session: Session,
}

impl AclResource {
    pub fn new(session: Session) -> Self {
        Self { session }
    }
}

#[async_trait]
impl Resource for AclResource {
    fn type_name(&self) -> &'static str {
        "lockgate_acl"
    }

    fn schema(&self) -> Schema {
        let text = |name, description| Attribute::required(name, Type::String, description).replaces();
        Schema::new(
            "What a principal may do with a resource, or may not. The resource owns the operations that it lists, and no \
             others.",
            vec![
                text(
                    "principal",
                    "Whom the ACLs are about: a type and a name, such as `User:alice`, or `User:*` for everyone.",
                ),
                Attribute::optional("host", Type::String, "The client's IP address, or `*` for any. Default `*`.")
                    .default("*")
                    .replaces(),
                text(
                    "resource_type",
                    "What the ACLs are on: `Topic`, `Group`, `Cluster`, `TransactionalId`, `DelegationToken` or `User`.",
                ),
                text(
                    "resource_name",
                    "Name of the resource, or with `Prefixed` the beginning of names; `*` for all; `kafka-cluster` for the \
                     type `Cluster`.",
                ),
                Attribute::optional(
                    "pattern_type",
                    Type::String,
                    "`Literal` for the name itself, `Prefixed` for all names that begin with it. Default `Literal`.",
                )
                .default("Literal")
                .replaces(),
                Attribute::required(
                    "operations",
                    Type::string_set(),
                    "The operations, at least one of `All`, `Read`, `Write`, `Create`, `Delete`, `Alter`, `Describe`, \
                     `ClusterAction`, `DescribeConfigs`, \
                     `AlterConfigs`, `IdempotentWrite`, `CreateTokens`, `DescribeTokens`. Changed in place.",
                ),
                Attribute::optional("permission", Type::String, "`Allow` or `Deny`; `Deny` wins. Default `Allow`.")
                    .default("Allow")
                    .replaces(),
            ],
        )
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        let mut diagnostics = enum_problems(config);
        diagnostics.extend(operations_problems(config.attr("operations")));
        let mut problem = |attribute: &str, detail: &str| {
            let path = AttributePath::root(attribute);
            diagnostics.push(Diagnostic::error(format!("Invalid {attribute}"), detail).at(path));
        };
        if let Some(detail) = config.attr("principal").as_str().and_then(principal_problem) {
            problem("principal", &detail);
        }
        if config.attr("host").as_str() == Some("") {
            problem("host", "host must be an address, or * for any.");
        }
        if let Some(name) = config.attr("resource_name").as_str() {
            let cluster = config.attr("resource_type").as_str() == Some(AclResourceType::Cluster.name());
            if name.is_empty() {
                problem("resource_name", "resource_name must not be empty; * stands for all.");
            } else if cluster && name != CLUSTER_NAME {
                problem("resource_name", "The one resource of type Cluster is called kafka-cluster.");
            }
        }
        diagnostics
    }

    async fn read(&self, mut state: Value, private: Private) -> ReadOutcome {
        let connection = match connection_for_read(&self.session, &state, &private).await {
            Ok(connection) => connection,
            Err(outcome) => return *outcome,
        };
        let (scope, listed) = match parts(&state) {
            Ok(parts) => parts,
            Err(error) => return ReadOutcome { state: Some(state), private, diagnostics: error.into() },
        };
        match connection.admin.look_at_acls(&scope).await {
            Ok(present) => {
                let held: BTreeSet<_> = present.into_iter().filter(|o| listed.contains(o)).collect();
                let private = in_cluster(&connection, private);
                state.set_attr("operations", operations(&held));
                ReadOutcome { state: (!held.is_empty()).then_some(state), private, diagnostics: Diagnostics::new() }
            }
            Err(error) => {
                let diagnostics = unreadable(&describe(&scope), &error);
                ReadOutcome { state: Some(state), private, diagnostics }
            }
        }
    }

    async fn create(&self, planned: Value, _config: Value) -> Applied {
        self.change(Value::Null, planned, Private::default()).await
    }

    async fn update(&self, prior: Value, planned: Value, _config: Value, private: Private) -> Applied {
        self.change(prior, planned, private).await
    }

    async fn delete(&self, prior: Value, private: Private) -> Applied {
        self.change(prior, Value::Null, private).await
    }

    async fn import(&self, id: &str) -> Result<Value, Diagnostic> {
        let (scope, listed) = acl_id::parse(id).map_err(|sentence| Diagnostic::error("Invalid import id", sentence))?;
        Ok(Value::object([
            ("principal", Value::from(scope.principal)),
            ("host", Value::from(scope.host)),
            ("resource_type", Value::from(scope.resource_type.name())),
            ("resource_name", Value::from(scope.resource_name)),
            ("pattern_type", Value::from(scope.pattern_type.name())),
            ("permission", Value::from(scope.permission.name())),
            ("operations", operations(&listed)),
        ]))
    }
}

impl AclResource {
    /// Takes the ACLs from one state to another; null is none. What is new is made before what is old goes, so that nobody
    /// loses a right for a moment, and what was reached is the state, after a failure too.
    async fn change(&self, prior: Value, planned: Value, private: Private) -> Applied {
        let kept = (!prior.is_null()).then(|| prior.clone());
        let template = if planned.is_null() { &prior } else { &planned };
        let (scope, none) = match parts(template) {
            Ok((scope, _)) => (scope, BTreeSet::new()),
            Err(error) => return failed(kept, private, error),
        };
        let (before, after) = (parts(&prior).map_or(none.clone(), |p| p.1), parts(&planned).map_or(none, |p| p.1));
        let verb = match (prior.is_null(), planned.is_null()) {
            (true, _) => "create",
            (_, true) => "delete",
            _ => "update",
        };
        let what = format!("{verb} {}", describe(&scope));
        let connection = match connection_for_apply(&self.session, &what, &private).await {
            Ok(connection) => connection,
            Err(error) => return failed(kept, private, error),
        };
        let mut held = before.clone();
        let mut failures = Vec::new();
        let missing: Vec<_> = after.difference(&before).copied().collect();
        if !missing.is_empty() {
            let results = connection.admin.create_acls(&scope, &missing).await;
            note(&missing, results, &mut failures, |operation| _ = held.insert(operation));
        }
        let surplus: Vec<_> = before.difference(&after).copied().collect();
        if !surplus.is_empty() && failures.is_empty() {
            let results = connection.admin.delete_acls(&scope, &surplus).await;
            note(&surplus, results, &mut failures, |operation| _ = held.remove(&operation));
        }
        let state = (!held.is_empty()).then(|| {
            let mut state = template.clone();
            state.set_attr("operations", operations(&held));
            state
        });
        let mut diagnostics = Diagnostics::new();
        if let Some(error) = summarize(&what, &failures) {
            diagnostics.push(error);
        }
        Applied { state, private: in_cluster(&connection, private), diagnostics }
    }
}

/// Sorts the results of a request into what was done and what failed.
fn note(
    asked: &[AclOperation],
    results: ClientResult<Vec<ClientResult<()>>>,
    failures: &mut Vec<(Vec<AclOperation>, Error)>,
    mut done: impl FnMut(AclOperation),
) {
    let results = match results {
        Ok(results) => results,
        Err(error) => return failures.push((asked.to_vec(), error)),
    };
    for (operation, result) in asked.iter().zip(results) {
        match result {
            Ok(()) => done(*operation),
            // The same refusal for several operations is one problem.
            Err(error) => match failures.iter_mut().find(|(_, known)| *known == error) {
                Some((operations, _)) => operations.push(*operation),
                None => failures.push((vec![*operation], error)),
            },
        }
    }
}

fn summarize(what: &str, failures: &[(Vec<AclOperation>, Error)]) -> Option<Diagnostic> {
    let sentences = failures.iter().map(|(operations, error)| {
        let names: Vec<_> = operations.iter().map(|o| o.name()).collect();
        format!("{}: {error}", names.join(", "))
    });
    let detail = sentences.collect::<Vec<_>>().join("\n");
    (!failures.is_empty()).then(|| Diagnostic::error(format!("Could not {what}"), detail))
}

fn describe(scope: &AclScope) -> String {
    format!(
        "the ACLs that {} {} on {} {:?}",
        if scope.permission == AclPermission::Allow { "allow" } else { "deny" },
        scope.principal,
        scope.resource_type,
        scope.resource_name
    )
}

/// The attributes whose values are an ACL's enums, in resources and filters alike.
pub(crate) fn enum_problems(config: &Value) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for (attribute, allowed) in [
        ("resource_type", names(AclResourceType::ALL, AclResourceType::name)),
        ("pattern_type", names(AclPatternType::ALL, AclPatternType::name)),
        ("permission", names(AclPermission::ALL, AclPermission::name)),
        ("operation", names(AclOperation::ALL, AclOperation::name)),
    ] {
        if let Some(found) = config.attr(attribute).as_str().filter(|found| !allowed.contains(found)) {
            diagnostics.push(not_one_of(attribute, found, &allowed).at(AttributePath::root(attribute)));
        }
    }
    diagnostics
}

/// Why a text is no principal.
pub(crate) fn principal_problem(principal: &str) -> Option<String> {
    let named = principal.split_once(':').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty());
    (!named).then(|| format!("{principal:?} has no type before its name; a user is written User:name."))
}

fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|value| name(*value)).collect()
}

fn operations(held: &BTreeSet<AclOperation>) -> Value {
    Value::string_set(held.iter().map(|operation| operation.name()))
}

fn operations_problems(value: &Value) -> Diagnostics {
    let path = AttributePath::root("operations");
    let mut diagnostics = Diagnostics::new();
    let Some(listed) = value.as_list() else { return diagnostics };
    let allowed = names(AclOperation::ALL, AclOperation::name);
    if listed.is_empty() {
        let detail = format!("operations must name at least one of: {}.", allowed.join(", "));
        diagnostics.push(Diagnostic::error("Invalid operations", detail).at(path.clone()));
    }
    for operation in listed {
        match operation {
            Value::Unknown => {}
            Value::String(found) if allowed.contains(&found.as_str()) => {}
            found => {
                let found = found.as_str().unwrap_or("null");
                diagnostics.push(not_one_of("operations", found, &allowed).at(path.clone()));
            }
        }
    }
    diagnostics
}

/// Scope and operations of a state or plan.
fn parts(value: &Value) -> Result<(AclScope, BTreeSet<AclOperation>), Diagnostic> {
    let text = |name: &str| value.attr(name).as_str().unwrap_or_default();
    let bad = |reason: String| Diagnostic::error("The state of an ACL cannot be read", reason);
    let scope = AclScope {
        principal: text("principal").to_owned(),
        host: text("host").to_owned(),
        resource_type: text("resource_type").parse().map_err(bad)?,
        resource_name: text("resource_name").to_owned(),
        pattern_type: text("pattern_type").parse().map_err(bad)?,
        permission: text("permission").parse().map_err(bad)?,
    };
    let listed = value.attr("operations").as_list().unwrap_or_default().iter().filter_map(Value::as_str);
    let listed = listed.map(|text| text.parse::<AclOperation>().map_err(bad)).collect::<Result<_, _>>()?;
    Ok((scope, listed))
}

#[cfg(test)]
mod tests {
    use lockgate_client::ErrorCode;

    use super::*;
    use crate::fake::FakeCluster;

    fn acl(listed: &[&str]) -> Value {
        Value::object([
            ("principal", Value::from("User:alice")),
            ("host", Value::from("*")),
            ("resource_type", Value::from("Topic")),
            ("resource_name", Value::from("orders")),
            ("pattern_type", Value::from("Literal")),
            ("permission", Value::from("Allow")),
            ("operations", Value::string_set(listed.iter().copied())),
        ])
    }

    fn scope() -> AclScope {
        parts(&acl(&["Read"])).expect("a good state").0
    }

    async fn acls(cluster: &FakeCluster) -> AclResource {
        AclResource::new(cluster.session().await)
    }

    fn present(cluster: &FakeCluster) -> Vec<&'static str> {
        cluster.contents().acls.iter().map(|(_, operation)| operation.name()).collect()
    }

    #[tokio::test]
    async fn it_owns_what_it_lists_and_leaves_the_rest() {
        let cluster = FakeCluster::default();
        let acls = acls(&cluster).await;
        cluster.contents().acls.insert((scope(), AclOperation::Alter));
        let made = acls.create(acl(&["Read", "Write"]), Value::Null).await;
        assert_eq!(made.state, Some(acl(&["Read", "Write"])));
        let read = acls.read(acl(&["Read", "Write"]), made.private.clone()).await;
        assert_eq!(read.state, Some(acl(&["Read", "Write"])), "Alter is somebody else's");
        let gone = acls.delete(acl(&["Read", "Write"]), made.private).await;
        assert!(gone.state.is_none() && gone.diagnostics.is_empty());
        assert_eq!(present(&cluster), ["Alter"]);
    }

    #[tokio::test]
    async fn drift_shows_as_the_operations_that_are_left() {
        let cluster = FakeCluster::default();
        let acls = acls(&cluster).await;
        let made = acls.create(acl(&["Read", "Write"]), Value::Null).await;
        cluster.contents().acls.remove(&(scope(), AclOperation::Read));
        let read = acls.read(acl(&["Read", "Write"]), made.private.clone()).await;
        assert_eq!(read.state, Some(acl(&["Write"])));
        cluster.contents().acls.clear();
        assert!(acls.read(acl(&["Write"]), made.private.clone()).await.state.is_none());
        cluster.contents().refusals.insert("acls", ErrorCode::ClusterAuthorizationFailed);
        let refused = acls.read(acl(&["Write"]), made.private).await;
        assert!(refused.state.is_some() && refused.diagnostics.has_errors());
    }

    #[tokio::test]
    async fn an_update_creates_before_it_deletes() {
        let cluster = FakeCluster::default();
        let acls = acls(&cluster).await;
        let made = acls.create(acl(&["Read"]), Value::Null).await;
        let changed = acls.update(acl(&["Read"]), acl(&["Write"]), Value::Null, made.private).await;
        assert_eq!(changed.state, Some(acl(&["Write"])));
        assert_eq!(cluster.contents().log, ["create acls [Read]", "create acls [Write]", "delete acls [Read]"]);
    }

    #[tokio::test]
    async fn partial_success_is_stored_and_nothing_is_deleted_after_a_failure() {
        let cluster = FakeCluster::default();
        let acls = acls(&cluster).await;
        let made = acls.create(acl(&["Read"]), Value::Null).await;
        cluster.contents().refusals.insert("create_acls alter", ErrorCode::PolicyViolation);
        let changed = acls.update(acl(&["Read"]), acl(&["Alter", "Write"]), Value::Null, made.private).await;
        assert_eq!(changed.state, Some(acl(&["Read", "Write"])));
        let error = changed.diagnostics.iter().next().expect("an error");
        assert!(error.detail.starts_with("Alter: "), "{}", error.detail);
        assert_eq!(present(&cluster), ["Read", "Write"]);
    }

    #[tokio::test]
    async fn an_import_says_all_there_is_to_say() {
        let acls = acls(&FakeCluster::default()).await;
        let state = acls.import("User:alice|*|Write,Read|Allow|Topic|orders|Literal").await.expect("a good id");
        assert_eq!(state, acl(&["Read", "Write"]));
        assert!(acls.import("nonsense").await.is_err());
    }

    #[test]
    fn validation_names_what_is_allowed() {
        let acls = AclResource::new(Session::default());
        assert!(acls.validate(&acl(&["Read", "DescribeConfigs"])).is_empty());
        let mut bad = acl(&["Reed"]);
        bad.set_attr("principal", Value::from("alice"));
        bad.set_attr("resource_type", Value::from("topic"));
        bad.set_attr("permission", Value::from("maybe"));
        bad.set_attr("host", Value::from(""));
        let diagnostics = acls.validate(&bad);
        let paths: Vec<_> = diagnostics.iter().map(|d| d.path.clone().expect("a path").to_string()).collect();
        assert_eq!(paths, ["resource_type", "permission", "operations", "principal", "host"]);
        let first = diagnostics.iter().next().expect("an error");
        assert!(first.detail.contains("Topic, Group, Cluster"), "{}", first.detail);
        assert_eq!(acls.validate(&acl(&[])).iter().count(), 1);
        bad.set_attr("operations", Value::List(vec![Value::Unknown]));
        bad.set_attr("resource_type", Value::Unknown);
        bad.set_attr("principal", Value::Unknown);
        assert_eq!(acls.validate(&bad).iter().count(), 2);
    }

    #[test]
    fn the_cluster_has_one_name() {
        let acls = AclResource::new(Session::default());
        let mut cluster = acl(&["Alter"]);
        cluster.set_attr("resource_type", Value::from("Cluster"));
        assert_eq!(acls.validate(&cluster).iter().count(), 1);
        cluster.set_attr("resource_name", Value::from(CLUSTER_NAME));
        assert!(acls.validate(&cluster).is_empty());
    }
}
