//! `lockgate_user`: a user's SCRAM credentials.
//!
//! Kafka never returns a password, so drift in it cannot be seen; it is set when the user is made and whenever the
//! configuration says that it changed.

use std::collections::BTreeSet;

use lockgate_client::Secret;
use lockgate_client::admin::{ScramCredential, ScramMechanism};
use tonic::async_trait;

use super::{connection_for_apply, connection_for_read, failed, in_cluster, not_one_of, refusal, unreadable};
use crate::cluster::NewCredential;
use crate::session::Session;
use crate::tfplugin::{
    Applied, Attribute, AttributePath, Diagnostic, Diagnostics, Planned, Private, ReadOutcome, Resource, Schema, Type,
    Value,
};

const MECHANISMS: [ScramMechanism; 2] = [ScramMechanism::Sha256, ScramMechanism::Sha512];

/// What a new user gets when the configuration names no mechanism.
const DEFAULT_MECHANISM: ScramMechanism = ScramMechanism::Sha512;

/// What a new credential gets when the configuration names no number: twice Kafka's least, as Kafka's own tool does.
const DEFAULT_ITERATIONS: i32 = 8192;

/// Kafka's bounds.
const ITERATIONS: std::ops::RangeInclusive<i64> = 4096..=16384;

/// Users.
pub struct UserResource {
    session: Session,
}

impl UserResource {
    pub fn new(session: Session) -> Self {
        Self { session }
    }
}

#[async_trait]
impl Resource for UserResource {
    fn type_name(&self) -> &'static str {
        "lockgate_user"
    }

    fn schema(&self) -> Schema {
        Schema::new(
            "A user with a password, for SASL/SCRAM. Use `password_wo`, which reaches neither plan nor state.",
            vec![
                Attribute::required("username", Type::String, "Name of the user, not empty. ACLs call the user `User:` and this name.").replaces(),
                Attribute::optional(
                    "mechanisms",
                    Type::string_set(),
                    "The mechanisms that the user can log in with: `SCRAM-SHA-256`, `SCRAM-SHA-512` or both. Default \
                     `SCRAM-SHA-512`. To add one needs the password.",
                )
                .or_computed()
                .keeps_prior(),
                Attribute::optional(
                    "iterations",
                    Type::Number,
                    "Rounds of the password's hash, a whole number from 4096 to 16384. Default `8192`. A change needs the password.",
                )
                .or_computed()
                .keeps_prior(),
                Attribute::optional(
                    "password_wo",
                    Type::String,
                    "The password. Write-only: it reaches neither plan nor state. It is set when the user is made, and when \
                     `password_wo_version` changes. Needs Terraform 1.11 or later.",
                )
                .sensitive()
                .write_only(),
                Attribute::optional(
                    "password_wo_version",
                    Type::Number,
                    "Any number; another one than before sets `password_wo` anew, since Terraform cannot see by itself that it changed. \
                     Only with `password_wo`.",
                ),
                Attribute::optional(
                    "password",
                    Type::String,
                    "The password, kept in the state: prefer `password_wo`. Not empty; excludes `password_wo`.",
                )
                .sensitive(),
            ],
        )
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        let mut problem = |attribute: &str, detail: String| {
            let path = AttributePath::root(attribute);
            diagnostics.push(Diagnostic::error(format!("Invalid {attribute}"), detail).at(path));
        };
        for attribute in ["username", "password", "password_wo"] {
            if config.attr(attribute).as_str() == Some("") {
                problem(attribute, format!("{attribute} must not be empty."));
            }
        }
        let iterations = config.attr("iterations");
        let in_bounds = iterations.as_i64().is_some_and(|n| ITERATIONS.contains(&n));
        if !in_bounds && !iterations.is_null() && !iterations.is_unknown() {
            let (least, most) = (ITERATIONS.start(), ITERATIONS.end());
            problem("iterations", format!("iterations must be a whole number from {least} to {most}."));
        }
        if !config.attr("password").is_null() && !config.attr("password_wo").is_null() {
            problem("password", "password and password_wo exclude each other. Keep password_wo.".to_owned());
        }
        if !config.attr("password_wo_version").is_null() && config.attr("password_wo").is_null() {
            let detail = "password_wo_version says when password_wo has changed, and there is no password_wo.";
            problem("password_wo_version", detail.to_owned());
        }
        let mechanisms = config.attr("mechanisms");
        if mechanisms.as_list().is_some_and(<[_]>::is_empty) {
            problem("mechanisms", "mechanisms must name at least one of: SCRAM-SHA-256, SCRAM-SHA-512.".to_owned());
        }
        let allowed = MECHANISMS.map(ScramMechanism::name);
        for found in mechanisms.as_list().unwrap_or_default().iter().filter_map(Value::as_str) {
            if !allowed.contains(&found) {
                let path = AttributePath::root("mechanisms");
                diagnostics.push(not_one_of("mechanisms", found, &allowed).at(path));
            }
        }
        diagnostics
    }

    async fn plan(&self, planned: &mut Planned, _private: &Private) -> Diagnostics {
        decide(planned)
    }

    async fn read(&self, state: Value, private: Private) -> ReadOutcome {
        let connection = match connection_for_read(&self.session, &state, &private).await {
            Ok(connection) => connection,
            Err(outcome) => return *outcome,
        };
        let username = state.attr("username").as_str().unwrap_or_default().to_owned();
        match connection.admin.look_at_credentials(&username).await {
            Ok(present) => {
                let private = in_cluster(&connection, private);
                ReadOutcome { state: observed(state, &present), private, diagnostics: Diagnostics::new() }
            }
            Err(error) => {
                let diagnostics = unreadable(&format!("user {username:?}"), &error);
                ReadOutcome { state: Some(state), private, diagnostics }
            }
        }
    }

    async fn create(&self, planned: Value, config: Value) -> Applied {
        let username = planned.attr("username").as_str().unwrap_or_default().to_owned();
        let what = format!("create user {username:?}");
        let none = Private::default();
        let connection = match connection_for_apply(&self.session, &what, &none).await {
            Ok(connection) => connection,
            Err(error) => return failed(None, none, error),
        };
        let set = match credentials(&planned, &config, &mechanisms(&planned)) {
            Ok(set) => set,
            Err(error) => return failed(None, none, error),
        };
        // Kafka would silently replace the password of a user whom something else may depend on.
        match connection.admin.credentials(&username).await {
            Ok(present) if present.iter().any(|c| set.iter().any(|new| new.mechanism == c.mechanism)) => {
                let detail = format!(
                    "A user {username:?} exists already, and making it would replace its password. To manage it here, import \
                     it: terraform import ADDRESS {username}"
                );
                let error = Diagnostic::error("The user exists already", detail).at(AttributePath::root("username"));
                return failed(None, none, error);
            }
            Ok(_) => {}
            Err(error) => return failed(None, none, refusal(&what, &error)),
        }
        match connection.admin.alter_credentials(&username, &set, &[]).await {
            Ok(()) => {
                let private = in_cluster(&connection, none);
                Applied { state: Some(planned), private, diagnostics: Diagnostics::new() }
            }
            Err(error) => failed(None, none, refusal(&what, &error)),
        }
    }

    async fn update(&self, prior: Value, planned: Value, config: Value, private: Private) -> Applied {
        let username = planned.attr("username").as_str().unwrap_or_default().to_owned();
        let what = format!("update user {username:?}");
        let (before, after) = (mechanisms(&prior), mechanisms(&planned));
        let rehash = password_changes(&prior, &planned) || planned.attr("iterations") != prior.attr("iterations");
        let to_set: BTreeSet<_> = after.iter().filter(|m| rehash || !before.contains(m)).copied().collect();
        let to_delete: Vec<_> = before.difference(&after).copied().collect();
        let has_password = password(&planned, &config).is_some();
        if to_delete.is_empty() && (to_set.is_empty() || !has_password && only_forgets(&prior, &planned)) {
            // Only what lives in the state alone has changed.
            return Applied { state: Some(planned), private, diagnostics: Diagnostics::new() };
        }
        let connection = match connection_for_apply(&self.session, &what, &private).await {
            Ok(connection) => connection,
            Err(error) => return failed(Some(prior), private, error),
        };
        let set = match credentials(&planned, &config, &to_set) {
            Ok(set) => set,
            Err(error) => return failed(Some(prior), private, error),
        };
        match connection.admin.alter_credentials(&username, &set, &to_delete).await {
            Ok(()) => Applied { state: Some(planned), private, diagnostics: Diagnostics::new() },
            Err(error) => failed(Some(prior), private, refusal(&what, &error)),
        }
    }

    async fn delete(&self, prior: Value, private: Private) -> Applied {
        let username = prior.attr("username").as_str().unwrap_or_default().to_owned();
        let what = format!("delete user {username:?}");
        let connection = match connection_for_apply(&self.session, &what, &private).await {
            Ok(connection) => connection,
            Err(error) => return failed(Some(prior), private, error),
        };
        // Deleting a credential that is gone is an error, and fails the others with it.
        let present = match connection.admin.credentials(&username).await {
            Ok(present) => present,
            Err(error) => return failed(Some(prior), private, refusal(&what, &error)),
        };
        let owned = mechanisms(&prior);
        let delete: Vec<_> = present.iter().map(|c| c.mechanism).filter(|m| owned.contains(m)).collect();
        if delete.is_empty() {
            return Applied::default();
        }
        match connection.admin.alter_credentials(&username, &[], &delete).await {
            Ok(()) => Applied::default(),
            Err(error) if error.is_not_found() => Applied::default(),
            Err(error) => failed(Some(prior), private, refusal(&what, &error)),
        }
    }

    async fn import(&self, id: &str) -> Result<Value, Diagnostic> {
        // A mechanism has no | in its name, so a user with one in it is still read as meant.
        let (username, mechanism) = match id.rsplit_once('|') {
            Some((username, mechanism)) => match mechanism.parse::<ScramMechanism>() {
                Ok(mechanism) => (username, Some(mechanism)),
                Err(_) => (id, None),
            },
            None => (id, None),
        };
        if username.is_empty() {
            let detail = "The id of a user is its name, or name|MECHANISM for one of its mechanisms.";
            return Err(Diagnostic::error("Invalid import id", detail));
        }
        let mechanisms = mechanism.map(|m| Value::string_set([m.name()]));
        Ok(Value::object([("username", Value::from(username)), ("mechanisms", Value::from(mechanisms))]))
    }
}

/// Fills in what a new user gets by default, and sees that a password is there where one is needed.
fn decide(planned: &mut Planned) -> Diagnostics {
    if planned.creates() {
        if planned.config.attr("mechanisms").is_null() {
            planned.state.set_attr("mechanisms", Value::string_set([DEFAULT_MECHANISM.name()]));
        }
        if planned.config.attr("iterations").is_null() {
            planned.state.set_attr("iterations", Value::from(DEFAULT_ITERATIONS));
        }
    }
    let given = !planned.config.attr("password_wo").is_null() || !planned.config.attr("password").is_null();
    let (before, after) = (mechanisms(&planned.prior), mechanisms(&planned.state));
    let reason = if given || !planned.changes() || !planned.requires_replace.is_empty() {
        None
    } else if planned.creates() {
        Some("A new user needs a password.")
    } else if !after.is_subset(&before) {
        Some("A credential for another mechanism can only be made from the password.")
    } else if planned.changes_attr("iterations") {
        Some("The number of iterations can only be changed with the password at hand.")
    } else {
        None
    };
    let refused = |reason| {
        let detail = format!("{reason} Set password_wo (and password_wo_version).");
        Diagnostic::error("A password is needed", detail).at(AttributePath::root("password_wo")).into()
    };
    reason.map(refused).unwrap_or_default()
}

/// Whether the configuration says that the password is another one.
fn password_changes(prior: &Value, planned: &Value) -> bool {
    ["password", "password_wo_version"].iter().any(|name| planned.attr(name) != prior.attr(name))
}

/// Whether all that happened is that the configuration no longer names a password.
fn only_forgets(prior: &Value, planned: &Value) -> bool {
    mechanisms(planned).is_subset(&mechanisms(prior)) && planned.attr("iterations") == prior.attr("iterations")
}

fn password(planned: &Value, config: &Value) -> Option<Secret> {
    config.attr("password_wo").as_str().or_else(|| planned.attr("password").as_str()).map(Secret::from)
}

fn credentials(
    planned: &Value,
    config: &Value,
    mechanisms: &BTreeSet<ScramMechanism>,
) -> Result<Vec<NewCredential>, Diagnostic> {
    if mechanisms.is_empty() {
        return Ok(Vec::new());
    }
    let password = password(planned, config).ok_or_else(|| {
        let detail = "password_wo turned out to be null, and a password is needed to make this change.";
        Diagnostic::error("A password is needed", detail).at(AttributePath::root("password_wo"))
    })?;
    let iterations = planned.attr("iterations").as_i64().and_then(|n| i32::try_from(n).ok());
    let iterations = iterations.unwrap_or(DEFAULT_ITERATIONS);
    let credential = |m: &ScramMechanism| NewCredential { mechanism: *m, iterations, password: password.clone() };
    Ok(mechanisms.iter().map(credential).collect())
}

fn mechanisms(value: &Value) -> BTreeSet<ScramMechanism> {
    let listed = value.attr("mechanisms").as_list().unwrap_or_default();
    listed.iter().filter_map(|m| m.as_str()?.parse().ok()).collect()
}

/// The state as the cluster shows it: the mechanisms that are both listed and present. An import without a mechanism lists
/// all that are present.
fn observed(mut state: Value, present: &[ScramCredential]) -> Option<Value> {
    let imported = state.attr("mechanisms").is_null();
    let listed = mechanisms(&state);
    let held: Vec<_> = present.iter().filter(|c| imported || listed.contains(&c.mechanism)).collect();
    if held.is_empty() {
        return None;
    }
    state.set_attr("mechanisms", Value::string_set(held.iter().map(|c| c.mechanism.name())));
    let known = state.attr("iterations").as_i64();
    if let Some(other) = held.iter().map(|c| i64::from(c.iterations)).find(|n| Some(*n) != known) {
        state.set_attr("iterations", Value::from(other));
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeCluster;
    use crate::tfplugin::plan_by_schema;

    fn config(attributes: &[(&str, Value)]) -> Value {
        let mut config = Value::object([("username", Value::from("alice"))]);
        for attribute in UserResource::new(Session::default()).schema().attributes().iter().skip(1) {
            config.set_attr(attribute.name(), Value::Null);
        }
        for (name, value) in attributes {
            config.set_attr(name, value.clone());
        }
        config
    }

    fn with_password(password: &str, version: i64) -> Value {
        config(&[("password_wo", Value::from(password)), ("password_wo_version", Value::from(version))])
    }

    async fn users(cluster: &FakeCluster) -> UserResource {
        UserResource::new(cluster.session().await)
    }

    async fn plan(users: &UserResource, prior: &Value, config: &Value) -> (Planned, Diagnostics) {
        let mut planned = plan_by_schema(&users.schema(), prior.clone(), config, config.clone());
        let diagnostics = users.plan(&mut planned, &Private::default()).await;
        (planned, diagnostics)
    }

    async fn created(users: &UserResource, config: &Value) -> (Value, Private) {
        let (planned, diagnostics) = plan(users, &Value::Null, config).await;
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let applied = users.create(planned.state, config.clone()).await;
        assert!(applied.diagnostics.is_empty(), "{:?}", applied.diagnostics);
        (applied.state.expect("it exists"), applied.private)
    }

    fn stored(cluster: &FakeCluster) -> Vec<(ScramMechanism, i32, String)> {
        let contents = cluster.contents();
        let alice = contents.users.get("alice").into_iter().flatten();
        alice.map(|(mechanism, (iterations, password))| (*mechanism, *iterations, password.clone())).collect()
    }

    #[tokio::test]
    async fn a_new_user_gets_the_defaults_and_the_password_stays_out_of_the_state() {
        let cluster = FakeCluster::default();
        let users = users(&cluster).await;
        let (state, private) = created(&users, &with_password("one", 1)).await;
        assert_eq!(stored(&cluster), [(ScramMechanism::Sha512, 8192, "one".to_owned())]);
        assert!(!format!("{state:?}").contains("\"one\""));
        let outcome = users.read(state.clone(), private).await;
        assert_eq!(outcome.state, Some(state.clone()));
        let (planned, _) = plan(&users, &state, &with_password("changed, but nobody said so", 1)).await;
        assert!(!planned.changes());
    }

    #[tokio::test]
    async fn a_new_version_sets_the_password() {
        let cluster = FakeCluster::default();
        let users = users(&cluster).await;
        let (state, private) = created(&users, &with_password("one", 1)).await;
        let second = with_password("two", 2);
        let (planned, diagnostics) = plan(&users, &state, &second).await;
        assert!(planned.changes() && diagnostics.is_empty());
        let applied = users.update(state, planned.state, second, private).await;
        assert!(applied.diagnostics.is_empty());
        assert_eq!(stored(&cluster), [(ScramMechanism::Sha512, 8192, "two".to_owned())]);
    }

    #[tokio::test]
    async fn a_password_in_the_state_works_too() {
        let cluster = FakeCluster::default();
        let users = users(&cluster).await;
        let (state, private) = created(&users, &config(&[("password", Value::from("one"))])).await;
        let second = config(&[("password", Value::from("two"))]);
        let (planned, _) = plan(&users, &state, &second).await;
        users.update(state, planned.state, second, private).await;
        assert_eq!(stored(&cluster)[0].2, "two");
    }

    #[tokio::test]
    async fn a_password_is_asked_for_exactly_where_it_is_needed() {
        let cluster = FakeCluster::default();
        let users = users(&cluster).await;
        let (_, diagnostics) = plan(&users, &Value::Null, &config(&[])).await;
        assert!(diagnostics.has_errors(), "create");
        let (state, private) = created(&users, &with_password("one", 1)).await;
        let both = ("mechanisms", Value::string_set(["SCRAM-SHA-256", "SCRAM-SHA-512"]));
        for change in [both, ("iterations", Value::from(4096))] {
            let (_, diagnostics) = plan(&users, &state, &config(std::slice::from_ref(&change))).await;
            assert!(diagnostics.has_errors(), "{change:?}");
        }
        // The configuration forgets the password: the user keeps it.
        let (planned, diagnostics) = plan(&users, &state, &config(&[])).await;
        assert!(diagnostics.is_empty());
        let applied = users.update(state, planned.state, config(&[]), private).await;
        assert!(applied.diagnostics.is_empty());
        assert_eq!(stored(&cluster)[0].2, "one");
    }

    #[tokio::test]
    async fn mechanisms_are_added_and_removed_in_one_request() {
        let cluster = FakeCluster::default();
        let users = users(&cluster).await;
        let (state, private) = created(&users, &with_password("one", 1)).await;
        let mut other = with_password("one", 1);
        other.set_attr("mechanisms", Value::string_set(["SCRAM-SHA-256"]));
        let (planned, _) = plan(&users, &state, &other).await;
        users.update(state, planned.state, other, private).await;
        assert_eq!(stored(&cluster), [(ScramMechanism::Sha256, 8192, "one".to_owned())]);
        assert_eq!(cluster.contents().log.len(), 2);
    }

    #[tokio::test]
    async fn an_existing_user_keeps_the_password_it_has() {
        let cluster = FakeCluster::default();
        let users = users(&cluster).await;
        created(&users, &with_password("one", 1)).await;
        let again = with_password("two", 1);
        let (planned, _) = plan(&users, &Value::Null, &again).await;
        let applied = users.create(planned.state, again).await;
        assert!(applied.state.is_none());
        assert!(applied.diagnostics.iter().next().expect("an error").detail.contains("terraform import"));
        assert_eq!(stored(&cluster)[0].2, "one");
    }

    #[tokio::test]
    async fn an_import_plans_clean_without_a_password_and_one_update_with_a_version() {
        let cluster = FakeCluster::default();
        let users = users(&cluster).await;
        let mut both = with_password("one", 1);
        both.set_attr("mechanisms", Value::string_set(["SCRAM-SHA-256", "SCRAM-SHA-512"]));
        both.set_attr("iterations", Value::from(4096));
        created(&users, &both).await;
        let imported = users.import("alice").await.expect("a good id");
        let mut state = users.read(imported, Private::default()).await.state.expect("found");
        for absent in ["password", "password_wo", "password_wo_version"] {
            state.set_attr(absent, Value::Null);
        }
        let (planned, _) = plan(&users, &state, &config(&[])).await;
        assert!(!planned.changes(), "{planned:?}");
        let (planned, diagnostics) = plan(&users, &state, &with_password("two", 1)).await;
        assert!(planned.changes() && diagnostics.is_empty());

        let one = users.import("alice|SCRAM-SHA-256").await.expect("a good id");
        let state = users.read(one, Private::default()).await.state.expect("found");
        assert_eq!(mechanisms(&state), BTreeSet::from([ScramMechanism::Sha256]));
        let odd = users.import("DOMAIN|bob").await.expect("a user with a bar in its name");
        assert_eq!(odd.attr("username"), &Value::from("DOMAIN|bob"));
    }

    #[tokio::test]
    async fn a_delete_takes_what_is_ours_and_a_gone_user_is_gone() {
        let cluster = FakeCluster::default();
        let users = users(&cluster).await;
        let (state, private) = created(&users, &with_password("one", 1)).await;
        let foreign = (ScramMechanism::Sha256, (4096, "theirs".to_owned()));
        cluster.contents().users.get_mut("alice").expect("made").insert(foreign.0, foreign.1);
        let applied = users.delete(state.clone(), private.clone()).await;
        assert!(applied.state.is_none() && applied.diagnostics.is_empty());
        assert_eq!(stored(&cluster), [(ScramMechanism::Sha256, 4096, "theirs".to_owned())]);
        assert!(users.delete(state.clone(), private.clone()).await.diagnostics.is_empty());
        assert!(users.read(state, private).await.state.is_none());
    }

    #[test]
    fn validation_points_at_each_mistake() {
        let users = UserResource::new(Session::default());
        let bad = config(&[
            ("username", Value::from("")),
            ("iterations", Value::from(100)),
            ("password", Value::from("x")),
            ("password_wo", Value::from("y")),
            ("mechanisms", Value::string_set(["PLAIN"])),
        ]);
        let diagnostics = users.validate(&bad);
        let paths: Vec<_> = diagnostics.iter().map(|d| d.path.clone().expect("a path").to_string()).collect();
        assert_eq!(paths, ["username", "iterations", "password", "mechanisms"]);
        assert!(users.validate(&with_password("x", 1)).is_empty());
        let lonely = config(&[("password_wo_version", Value::from(1))]);
        assert_eq!(users.validate(&lonely).iter().count(), 1);
    }
}
