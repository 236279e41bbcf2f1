//! `lockgate_topic`.

use std::collections::BTreeMap;
use std::time::Duration;

use lockgate_client::admin::{ConfigChange, ConfigEntry, ConfigSource, NewTopic};
use lockgate_client::{Error, ErrorCode};
use tonic::async_trait;

use super::{check_cluster, connection_for_apply, connection_for_read, failed, in_cluster, refusal};
use crate::cluster::{Admin, TopicInfo};
use crate::session::{Access, Connection, Session};
use crate::tfplugin::{
    Applied, Attribute, AttributePath, Diagnostic, Diagnostics, Planned, Private, ReadOutcome, Resource, Schema, Type,
    Value,
};

/// Kafka's bound on a topic's name, which becomes a folder's name with a partition number behind it.
const LONGEST_NAME: usize = 249;

/// How long a change may take to show in what brokers tell.
const SETTLE: Duration = Duration::from_secs(30);
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

/// Where the private part of a state keeps the replication factor that the cluster reports, when it differs from the one
/// that was asked for: a cluster whose durability does not come from replicas takes any factor and shows one replica.
const REPORTED_REPLICATION: &str = "reported_replication_factor";

/// Topics.
pub struct TopicResource {
    session: Session,
}

impl TopicResource {
    pub fn new(session: Session) -> Self {
        Self { session }
    }

    /// Lets the broker check what the plan would do, where there is a broker to ask.
    async fn check_with_broker(&self, planned: &Planned, private: &Private) -> Diagnostics {
        let Access::Ready(connection) = self.session.for_plan().await else {
            // Reads report a cluster that cannot be reached. A new topic may well be planned before its cluster exists.
            return Diagnostics::new();
        };
        if let Err(other_cluster) = check_cluster(&connection, private) {
            return other_cluster.into();
        }
        let Some(name) = planned.state.attr("name").as_str() else { return Diagnostics::new() };
        if !planned.state.attr("config").is_wholly_known() {
            return Diagnostics::new();
        }
        let answer = if planned.creates() {
            connection.admin.create_topic(&new_topic(name, &planned.state), true).await
        } else {
            let changes = config_changes(planned.prior.attr("config"), planned.state.attr("config"));
            if changes.is_empty() {
                return Diagnostics::new();
            }
            connection.admin.alter_topic_configs(name, &changes, true).await
        };
        match answer {
            Err(error) if is_about_the_configuration(&error) => refusal(&format!("plan topic {name:?}"), &error).into(),
            // Anything else may be different by the time of the apply: an ACL or an older topic may be about to go.
            _ => Diagnostics::new(),
        }
    }

    async fn adopt(&self, connection: &Connection, planned: &Value) -> Result<(), Diagnostic> {
        let name = planned.attr("name").as_str().unwrap_or_default();
        let what = format!("adopt topic {name:?}");
        let admin = &connection.admin;
        let found = admin.topic(name).await.map_err(|e| refusal(&what, &e))?;
        let found = found.ok_or_else(|| {
            Diagnostic::error(format!("Could not {what}"), "It existed a moment ago and is gone. Apply again.")
        })?;
        if let Some(wanted) = planned.attr("partitions").as_i64() {
            if wanted < found.partitions {
                return Err(fewer_partitions(name, found.partitions, wanted));
            }
            if wanted > found.partitions {
                admin.grow_topic(name, clamp(wanted)).await.map_err(|e| refusal(&what, &e))?;
            }
        }
        let changes = config_changes(&Value::Null, planned.attr("config"));
        if !changes.is_empty() {
            admin.alter_topic_configs(name, &changes, false).await.map_err(|e| refusal(&what, &e))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Resource for TopicResource {
    fn type_name(&self) -> &'static str {
        "lockgate_topic"
    }

    fn schema(&self) -> Schema {
        Schema::new(
            "A topic. Its configuration holds only the keys that it names: others stay as they are, and a key that is taken \
             out goes back to the broker's default.",
            vec![
                Attribute::required("name", Type::String, "Name of the topic. Another name is another topic.").replaces(),
                Attribute::optional(
                    "partitions",
                    Type::Number,
                    "Number of partitions; the broker's default when left out. It can grow in place and never shrink.",
                )
                .or_computed()
                .keeps_prior(),
                Attribute::optional(
                    "replication_factor",
                    Type::Number,
                    "Number of replicas of each partition; the broker's default when left out. Lockgate stores it and \
                     needs no replicas.",
                )
                .or_computed()
                .keeps_prior(),
                Attribute::optional("config", Type::string_map(), "Topic configuration, by Kafka's names."),
                Attribute::optional(
                    "deletion_protection",
                    Type::Bool,
                    "Refuses every plan and apply that would delete the topic and its records. To delete it, first apply \
                     with `false`. Default `true`.",
                )
                .default(true),
                Attribute::optional(
                    "adopt_existing",
                    Type::Bool,
                    "Takes over a topic of this name that exists already, instead of failing. Default `false`.",
                )
                .default(false),
                Attribute::computed("topic_id", Type::String, "The id that the cluster gave the topic.").keeps_prior(),
            ],
        )
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        if let Some(problem) = config.attr("name").as_str().and_then(name_problem) {
            diagnostics.push(Diagnostic::error("Invalid topic name", problem).at(AttributePath::root("name")));
        }
        for (name, limit) in [("partitions", i64::from(i32::MAX)), ("replication_factor", i64::from(i16::MAX))] {
            let value = config.attr(name);
            let fits = value.as_i64().is_some_and(|n| (1..=limit).contains(&n));
            if !fits && !value.is_null() && !value.is_unknown() {
                let detail = format!("{name} must be a whole number from 1 to {limit}.");
                diagnostics.push(Diagnostic::error(format!("Invalid {name}"), detail).at(AttributePath::root(name)));
            }
        }
        diagnostics
    }

    async fn plan(&self, planned: &mut Planned, private: &Private) -> Diagnostics {
        if !planned.changes() {
            return Diagnostics::new();
        }
        let refused = judge(planned);
        if refused.has_errors() || !planned.requires_replace.is_empty() {
            return refused;
        }
        self.check_with_broker(planned, private).await
    }

    async fn plan_destroy(&self, prior: &Value, _private: &Private) -> Diagnostics {
        protection(prior, "destroy it").map(Diagnostics::from).unwrap_or_default()
    }

    async fn read(&self, state: Value, private: Private) -> ReadOutcome {
        let connection = match connection_for_read(&self.session, &state, &private).await {
            Ok(connection) => connection,
            Err(outcome) => return *outcome,
        };
        let name = state.attr("name").as_str().unwrap_or_default().to_owned();
        match observe(&*connection.admin, &name).await {
            Ok(None) => ReadOutcome { state: None, private, diagnostics: Diagnostics::new() },
            Ok(Some((info, entries))) => {
                let mut diagnostics = Diagnostics::new();
                diagnostics.extend(recreated(&name, &state, &info));
                let mut private = in_cluster(&connection, private);
                let state = observed(state, &info, &entries, &mut private);
                ReadOutcome { state: Some(state), private, diagnostics }
            }
            Err(error) => {
                let diagnostics = refusal(&format!("read topic {name:?}"), &error).into();
                ReadOutcome { state: Some(state), private, diagnostics }
            }
        }
    }

    async fn create(&self, planned: Value, _config: Value) -> Applied {
        let name = planned.attr("name").as_str().unwrap_or_default().to_owned();
        let what = format!("create topic {name:?}");
        let connection = match connection_for_apply(&self.session, &what, &Private::default()).await {
            Ok(connection) => connection,
            Err(error) => return failed(None, Private::default(), error),
        };
        let created = match connection.admin.create_topic(&new_topic(&name, &planned), false).await {
            Ok(()) => Ok(()),
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                if planned.attr("adopt_existing").as_bool() == Some(true) {
                    self.adopt(&connection, &planned).await
                } else {
                    Err(exists_already(&name))
                }
            }
            Err(error) => Err(refusal(&what, &error)),
        };
        if let Err(error) = created {
            return failed(None, Private::default(), error);
        }
        let private = in_cluster(&connection, Private::default());
        let wanted = planned.attr("partitions").as_i64().unwrap_or(1);
        match settle(&*connection.admin, &name, |info| info.is_some_and(|i| i.partitions >= wanted)).await {
            Ok(Some(info)) => complete(planned, &info, private),
            outcome => {
                // The topic is there, so it has to be in the state; the next refresh fills what is missing.
                let mut state = planned;
                for computed in ["partitions", "replication_factor", "topic_id"] {
                    if state.attr(computed).is_unknown() {
                        state.set_attr(computed, Value::Null);
                    }
                }
                let cause = outcome.err().map_or(String::new(), |error| format!(" The last answer: {error}"));
                let detail = format!("It was created, but the brokers do not show it yet.{cause}");
                let warning = Diagnostic::warning(format!("Topic {name:?} is not visible yet"), detail);
                Applied { state: Some(state), private, diagnostics: warning.into() }
            }
        }
    }

    async fn update(&self, prior: Value, planned: Value, _config: Value, private: Private) -> Applied {
        let name = planned.attr("name").as_str().unwrap_or_default().to_owned();
        let what = format!("update topic {name:?}");
        let wanted = planned.attr("partitions").as_i64();
        let grows = wanted.is_some() && planned.attr("partitions") != prior.attr("partitions");
        let changes = config_changes(prior.attr("config"), planned.attr("config"));
        if !grows && changes.is_empty() {
            // Only what lives in the state alone has changed.
            return Applied { state: Some(planned), private, diagnostics: Diagnostics::new() };
        }
        let connection = match connection_for_apply(&self.session, &what, &private).await {
            Ok(connection) => connection,
            Err(error) => return failed(Some(prior), private, error),
        };
        let mut state = prior;
        if let Some(total) = wanted.filter(|_| grows) {
            if let Err(error) = connection.admin.grow_topic(&name, clamp(total)).await {
                return failed(Some(state), private, refusal(&what, &error));
            }
            state.set_attr("partitions", Value::from(total));
        }
        if !changes.is_empty()
            && let Err(error) = connection.admin.alter_topic_configs(&name, &changes, false).await
        {
            return failed(Some(state), private, refusal(&what, &error));
        }
        let mut diagnostics = Diagnostics::new();
        let wanted = wanted.unwrap_or(1);
        let settled = settle(&*connection.admin, &name, |info| info.is_some_and(|i| i.partitions >= wanted)).await;
        if !matches!(settled, Ok(Some(_))) {
            let detail = "The change was made, but the brokers do not show it yet.";
            diagnostics.push(Diagnostic::warning(format!("The change of topic {name:?} is not visible yet"), detail));
        }
        Applied { state: Some(planned), private, diagnostics }
    }

    async fn delete(&self, prior: Value, private: Private) -> Applied {
        // Judged again, since a replacement that the person asked for shows no destroy plan.
        if let Some(refused) = protection(&prior, "destroy or replace it") {
            return failed(Some(prior), private, refused);
        }
        let name = prior.attr("name").as_str().unwrap_or_default().to_owned();
        let what = format!("delete topic {name:?}");
        let connection = match connection_for_apply(&self.session, &what, &private).await {
            Ok(connection) => connection,
            Err(error) => return failed(Some(prior), private, error),
        };
        match connection.admin.delete_topic(&name).await {
            Ok(()) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return failed(Some(prior), private, refusal(&what, &error)),
        }
        // A topic of the same name can be made again only once the brokers have let go of this one.
        let gone = settle(&*connection.admin, &name, |info| info.is_none()).await;
        if !matches!(gone, Ok(None)) {
            tracing::warn!("topic {name:?} was deleted, but the brokers still show it");
        }
        Applied::default()
    }

    async fn import(&self, id: &str) -> Result<Value, Diagnostic> {
        if let Some(problem) = name_problem(id) {
            return Err(Diagnostic::error("Invalid import id", format!("The id of a topic is its name. {problem}")));
        }
        let protections = [("deletion_protection", Value::from(true)), ("adopt_existing", Value::from(false))];
        Ok(Value::object([("name", Value::from(id))].into_iter().chain(protections)))
    }
}

/// What the schema alone cannot judge about an update.
fn judge(planned: &Planned) -> Diagnostics {
    if planned.creates() {
        return Diagnostics::new();
    }
    let mut diagnostics = Diagnostics::new();
    let (prior, state) = (&planned.prior, &planned.state);
    let name = prior.attr("name").as_str().unwrap_or_default();
    if !planned.requires_replace.is_empty() {
        if let Some(refused) = protection(prior, "replace it, as another name would") {
            diagnostics.push(refused.at(AttributePath::root("name")));
        }
        return diagnostics;
    }
    if let (Some(now), Some(wanted)) = (prior.attr("partitions").as_i64(), state.attr("partitions").as_i64())
        && wanted < now
    {
        diagnostics.push(fewer_partitions(name, now, wanted));
    }
    let factor = |value: &Value| value.attr("replication_factor").as_i64();
    if let (Some(now), Some(wanted)) = (factor(prior), factor(state))
        && wanted != now
    {
        let detail = format!(
            "Topic {name:?} has replication factor {now}, and a change to {wanted} would have to move its replicas, which \
             the provider does not do. Keep {now}; or reassign the partitions with Kafka's tools first, and then set {wanted}."
        );
        let refused = Diagnostic::error("The replication factor cannot be changed in place", detail);
        diagnostics.push(refused.at(AttributePath::root("replication_factor")));
    }
    diagnostics
}

fn fewer_partitions(name: &str, now: i64, wanted: i64) -> Diagnostic {
    let detail = format!(
        "Topic {name:?} has {now} partitions, and {wanted} are fewer. Kafka cannot take partitions away, because their records \
         would be lost. Keep at least {now}, or make a new topic with {wanted} partitions and copy the records."
    );
    Diagnostic::error("A topic cannot have fewer partitions than before", detail).at(AttributePath::root("partitions"))
}

fn protection(prior: &Value, act: &str) -> Option<Diagnostic> {
    if prior.attr("deletion_protection").as_bool() == Some(false) {
        return None;
    }
    let name = prior.attr("name").as_str().unwrap_or_default();
    let detail = format!(
        "Topic {name:?} has deletion_protection on, so nothing may {act}: its records would be lost. If that is what you want, \
         set deletion_protection = false, apply, and then remove it. To keep the topic and only stop managing it, use a \
         removed block with lifecycle {{ destroy = false }}."
    );
    Some(Diagnostic::error("The topic is protected from deletion", detail))
}

fn exists_already(name: &str) -> Diagnostic {
    let detail = format!(
        "A topic {name:?} exists already. To manage it here, import it (terraform import ADDRESS {name}), or set \
         adopt_existing = true. Otherwise choose another name."
    );
    Diagnostic::error("The topic exists already", detail).at(AttributePath::root("name"))
}

/// Why a text is no topic name. The rules are Kafka's.
fn name_problem(name: &str) -> Option<String> {
    let odd = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')));
    if name.is_empty() {
        Some("A topic name must not be empty.".to_owned())
    } else if name == "." || name == ".." {
        Some(format!("A topic cannot be called {name:?}."))
    } else if name.len() > LONGEST_NAME {
        Some(format!("A topic name has at most {LONGEST_NAME} characters, and this one has {}.", name.len()))
    } else {
        odd.map(|c| format!("{name:?} contains {c:?}. A topic name has only letters, digits, '.', '_' and '-'."))
    }
}

/// Errors that another apply would get as well: the configuration is what is wrong.
fn is_about_the_configuration(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::InvalidConfig
                | ErrorCode::InvalidPartitions
                | ErrorCode::InvalidReplicationFactor
                | ErrorCode::InvalidTopic
                | ErrorCode::PolicyViolation
        )
    )
}

fn clamp(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn new_topic(name: &str, planned: &Value) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions: planned.attr("partitions").as_i64().map(clamp),
        replication_factor: planned.attr("replication_factor").as_i64().map(|n| i16::try_from(n).unwrap_or(i16::MAX)),
        configs: settings(planned.attr("config")),
    }
}

/// The keys that a `config` sets. A key that is null is one that is left out.
fn settings(config: &Value) -> BTreeMap<String, String> {
    let entries = config.as_map().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// What takes a topic from one `config` to another. Keys in neither stay as they are.
fn config_changes(prior: &Value, planned: &Value) -> Vec<(String, ConfigChange)> {
    let (prior, planned) = (settings(prior), settings(planned));
    let set = planned.iter().filter(|(key, value)| prior.get(*key) != Some(value));
    let set = set.map(|(key, value)| (key.clone(), ConfigChange::Set(value.clone())));
    let reset = prior.keys().filter(|key| !planned.contains_key(*key));
    let reset = reset.map(|key| (key.clone(), ConfigChange::Delete));
    set.chain(reset).collect()
}

/// A topic with its configs, or `None` when it is proven gone.
async fn observe(admin: &dyn Admin, name: &str) -> Result<Option<(TopicInfo, Vec<ConfigEntry>)>, Error> {
    let Some(info) = admin.topic(name).await? else { return Ok(None) };
    match admin.topic_configs(name).await {
        Ok(entries) => Ok(Some((info, entries))),
        // It went away between the two questions.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks until the answer is as wanted, or long enough. Returns the last answer.
async fn settle(
    admin: &dyn Admin,
    name: &str,
    wanted: impl Fn(Option<&TopicInfo>) -> bool,
) -> Result<Option<TopicInfo>, Error> {
    let deadline = tokio::time::Instant::now() + SETTLE;
    loop {
        let answer = admin.topic(name).await;
        let settled = answer.as_ref().is_ok_and(|info| wanted(info.as_ref()));
        if settled || tokio::time::Instant::now() >= deadline {
            return answer;
        }
        tokio::time::sleep(SETTLE_PAUSE).await;
    }
}

/// The state of a topic that was just made.
fn complete(mut state: Value, info: &TopicInfo, mut private: Private) -> Applied {
    state.set_attr("topic_id", Value::from(info.id.clone()));
    if state.attr("partitions").is_unknown() {
        state.set_attr("partitions", Value::from(info.partitions));
    }
    match state.attr("replication_factor").as_i64() {
        None => state.set_attr("replication_factor", Value::from(info.replication_factor)),
        Some(wanted) if wanted != info.replication_factor => {
            private.set(REPORTED_REPLICATION, info.replication_factor.to_string());
        }
        Some(_) => {}
    }
    Applied { state: Some(state), private, diagnostics: Diagnostics::new() }
}

fn recreated(name: &str, state: &Value, info: &TopicInfo) -> Diagnostics {
    match (state.attr("topic_id").as_str(), &info.id) {
        (Some(known), Some(now)) if known != now => {
            let detail = format!(
                "Its id was {known} and is {now}: somebody deleted it and made it again, so its earlier records are gone. The \
                 state follows the new topic."
            );
            Diagnostic::warning(format!("Topic {name:?} was made anew outside of Terraform"), detail).into()
        }
        _ => Diagnostics::new(),
    }
}

/// The state as the cluster shows it.
fn observed(mut state: Value, info: &TopicInfo, entries: &[ConfigEntry], private: &mut Private) -> Value {
    let imported = state.attr("partitions").is_null() && state.attr("topic_id").is_null();
    let config = observed_config(state.attr("config"), entries, imported);
    state.set_attr("config", config);
    state.set_attr("topic_id", Value::from(info.id.clone()));
    state.set_attr("partitions", Value::from(info.partitions));
    let reported = info.replication_factor.to_string();
    if private.get(REPORTED_REPLICATION) != Some(reported.as_str()) {
        state.set_attr("replication_factor", Value::from(info.replication_factor));
    }
    state
}

/// The keys that the state names, as they are now. What others set, and what the broker sets by default, is not ours to
/// show; only an import takes everything that is set on the topic.
fn observed_config(known: &Value, entries: &[ConfigEntry], imported: bool) -> Value {
    if imported {
        let own = entries.iter().filter(|e| e.source == ConfigSource::Topic && !e.read_only);
        let own = own.filter_map(|e| Some((e.name.clone(), Value::from(e.value.clone()?))));
        let own: BTreeMap<_, _> = own.collect();
        return if own.is_empty() { Value::Null } else { Value::Map(own) };
    }
    let Some(known) = known.as_map() else { return known.clone() };
    let entry = |key: &str| entries.iter().find(|e| e.name == key);
    let now = known.iter().filter_map(|(key, value)| {
        let Some(entry) = entry(key) else { return value.is_null().then(|| (key.clone(), Value::Null)) };
        match &entry.value {
            // The value holds, wherever it comes from.
            Some(now) if value.as_str() == Some(now) => Some((key.clone(), value.clone())),
            // A sensitive value is never told, so drift in it cannot be seen.
            None if entry.sensitive => Some((key.clone(), value.clone())),
            _ if value.is_null() => Some((key.clone(), Value::Null)),
            Some(now) if entry.source == ConfigSource::Topic => Some((key.clone(), Value::from(now.as_str()))),
            _ => None,
        }
    });
    Value::Map(now.collect())
}
