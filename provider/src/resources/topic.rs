//! `lockgate_topic`.

use std::time::Duration;

use lockgate_client::admin::NewTopic;
use lockgate_client::{Error, ErrorCode};
use tonic::async_trait;

use super::topic_plan::{
    exists_already, fewer_partitions, is_about_the_configuration, judge, name_problem, protection,
};
use super::topic_state::{complete, config_changes, observed, recreated, settings};
use super::{check_cluster, connection_for_apply, connection_for_read, failed, in_cluster, refusal, unreadable};
use crate::cluster::{Admin, TopicInfo};
use crate::session::{Access, Connection, Session};
use crate::tfplugin::{
    Applied, Attribute, AttributePath, Diagnostic, Diagnostics, Planned, Private, ReadOutcome, Resource, Schema, Type,
    Value,
};

/// How long a change may take to show in what brokers tell.
const SETTLE: Duration = Duration::from_secs(30);
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

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
            connection.admin.create_topic(&new_topic(name, &planned.state), true).await.map(drop)
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
                Attribute::required(
                    "name",
                    Type::String,
                    "Name of the topic: 1 to 249 letters, digits, `.`, `_` and `-`. Another name is another topic, so a change \
                     replaces the topic.",
                )
                .replaces(),
                Attribute::optional(
                    "partitions",
                    Type::Number,
                    "Number of partitions, from 1; the broker's default when left out. It can grow in place and never shrink.",
                )
                .or_computed()
                .keeps_prior(),
                Attribute::optional(
                    "replication_factor",
                    Type::Number,
                    "Number of replicas of each partition, 1 to 32767; the broker's default when left out. It cannot be changed \
                     in place. Lockgate takes any number and needs no replicas.",
                )
                .or_computed()
                .keeps_prior(),
                Attribute::optional(
                    "config",
                    Type::string_map(),
                    "Topic configuration: from Kafka's names, such as `retention.ms`, to values as text. The broker checks both \
                     at plan.",
                ),
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
                Attribute::computed(
                    "topic_id",
                    Type::String,
                    "The id that the cluster gave the topic, a UUID in Kafka's text form. Null where the brokers have none.",
                )
                .keeps_prior(),
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
        match connection.admin.look_at_topic(&name).await {
            Ok(None) => ReadOutcome { state: None, private, diagnostics: Diagnostics::new() },
            Ok(Some((info, entries))) => {
                let mut diagnostics = Diagnostics::new();
                diagnostics.extend(recreated(&name, &state, &info));
                let mut private = in_cluster(&connection, private);
                let state = observed(state, &info, &entries, &mut private);
                ReadOutcome { state: Some(state), private, diagnostics }
            }
            Err(error) => {
                let diagnostics = unreadable(&format!("topic {name:?}"), &error);
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
            Ok(shown) => Ok(shown),
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                if planned.attr("adopt_existing").as_bool() == Some(true) {
                    self.adopt(&connection, &planned).await.map(|()| None)
                } else {
                    Err(exists_already(&name))
                }
            }
            Err(error) => Err(refusal(&what, &error)),
        };
        let shown = match created {
            Ok(shown) => shown,
            Err(error) => return failed(None, Private::default(), error),
        };
        let private = in_cluster(&connection, Private::default());
        let wanted = planned.attr("partitions").as_i64().unwrap_or(1);
        let whole = |info: Option<&TopicInfo>| info.is_some_and(|i| i.partitions >= wanted);
        let settled = match shown {
            shown if whole(shown.as_ref()) => Ok(shown),
            _ => settle(&*connection.admin, &name, whole).await,
        };
        match settled {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeCluster;
    use crate::tfplugin::plan_by_schema;

    fn config(attributes: &[(&str, Value)]) -> Value {
        let base = [("name", Value::from("orders"))].into_iter();
        let mut config: Value = Value::object(base.chain(attributes.iter().cloned()));
        for attribute in TopicResource::new(Session::default()).schema().attributes() {
            if config.attr(attribute.name()).is_null() {
                config.set_attr(attribute.name(), Value::Null);
            }
        }
        config
    }

    fn settings(entries: &[(&str, &str)]) -> (&'static str, Value) {
        ("config", Value::object(entries.iter().map(|(key, value)| (*key, Value::from(*value)))))
    }

    async fn topics(cluster: &FakeCluster) -> TopicResource {
        TopicResource::new(cluster.session().await)
    }

    /// What Terraform does between a configuration and an apply: keeps the prior's values of computed attributes.
    async fn plan(topics: &TopicResource, prior: &Value, config: &Value) -> (Planned, Diagnostics) {
        let mut planned = plan_by_schema(&topics.schema(), prior.clone(), config, config.clone());
        let diagnostics = topics.plan(&mut planned, &Private::default()).await;
        (planned, diagnostics)
    }

    async fn created(topics: &TopicResource, config: &Value) -> (Value, Private) {
        let (planned, diagnostics) = plan(topics, &Value::Null, config).await;
        assert!(!diagnostics.has_errors(), "{diagnostics:?}");
        let applied = topics.create(planned.state, config.clone()).await;
        assert!(applied.diagnostics.is_empty(), "{:?}", applied.diagnostics);
        (applied.state.expect("it exists"), applied.private)
    }

    #[tokio::test]
    async fn a_new_topic_reads_back_as_it_was_planned() {
        let cluster = FakeCluster::default();
        let topics = topics(&cluster).await;
        // The cluster keeps one replica whatever is asked for, and that is no difference.
        let config =
            config(&[("partitions", 3.into()), ("replication_factor", 3.into()), settings(&[("retention.ms", "1")])]);
        let (state, private) = created(&topics, &config).await;
        assert!(state.is_wholly_known());
        assert_eq!(state.attr("topic_id"), &Value::from("id-of-orders"));
        let outcome = topics.read(state.clone(), private).await;
        assert_eq!(outcome.state, Some(state.clone()));
        let (planned, _) = plan(&topics, &state, &config).await;
        assert!(!planned.changes(), "{:?}", planned.state);
    }

    #[tokio::test]
    async fn an_update_touches_what_changed_and_nothing_else() {
        let cluster = FakeCluster::default();
        let topics = topics(&cluster).await;
        let first = config(&[("partitions", 1.into()), settings(&[("retention.ms", "1"), ("segment.ms", "5")])]);
        let (state, private) = created(&topics, &first).await;
        cluster.contents().topics.get_mut("orders").expect("made").config.insert("foreign".into(), "x".into());
        let second = config(&[("partitions", 4.into()), settings(&[("retention.ms", "2")])]);
        let (planned, diagnostics) = plan(&topics, &state, &second).await;
        assert!(diagnostics.is_empty() && planned.requires_replace.is_empty());
        let applied = topics.update(state, planned.state, second, private).await;
        assert!(applied.diagnostics.is_empty());
        let topic = cluster.topic_now("orders").expect("there");
        let expected = [("foreign", "x"), ("retention.ms", "2")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!((topic.partitions, topic.config), (4, expected.into()));
    }

    #[tokio::test]
    async fn a_half_made_update_is_stored_as_far_as_it_went() {
        let cluster = FakeCluster::default();
        let topics = topics(&cluster).await;
        let (state, private) = created(&topics, &config(&[("partitions", 1.into())])).await;
        cluster.contents().refusals.insert("alter_topic_configs", ErrorCode::TopicAuthorizationFailed);
        let second = config(&[("partitions", 2.into()), settings(&[("retention.ms", "2")])]);
        let (planned, _) = plan(&topics, &state, &second).await;
        let applied = topics.update(state, planned.state, second, private).await;
        assert!(applied.diagnostics.has_errors());
        let state = applied.state.expect("still there");
        assert_eq!((state.attr("partitions"), state.attr("config")), (&Value::from(2), &Value::Null));
    }

    #[tokio::test]
    async fn protection_refuses_at_plan_and_at_apply_and_the_topic_stays() {
        let cluster = FakeCluster::default();
        let topics = topics(&cluster).await;
        let (state, private) = created(&topics, &config(&[])).await;
        assert!(topics.plan_destroy(&state, &private).await.has_errors());
        let applied = topics.delete(state.clone(), private.clone()).await;
        assert!(applied.diagnostics.has_errors());
        assert_eq!(applied.state, Some(state.clone()));
        assert!(cluster.topic_now("orders").is_some());

        let open = config(&[("deletion_protection", false.into())]);
        let (planned, _) = plan(&topics, &state, &open).await;
        let state = topics.update(state, planned.state, open, private.clone()).await.state.expect("there");
        assert!(!topics.plan_destroy(&state, &private).await.has_errors());
        let applied = topics.delete(state, private).await;
        assert!(applied.state.is_none() && !applied.diagnostics.has_errors());
        assert!(cluster.topic_now("orders").is_none());
    }

    #[tokio::test]
    async fn only_proven_absence_takes_a_topic_out_of_the_state() {
        let cluster = FakeCluster::default();
        let topics = topics(&cluster).await;
        let (state, private) = created(&topics, &config(&[])).await;
        for code in [ErrorCode::TopicAuthorizationFailed, ErrorCode::RequestTimedOut] {
            cluster.contents().refusals.insert("topic", code);
            let outcome = topics.read(state.clone(), private.clone()).await;
            assert!(outcome.diagnostics.has_errors());
            assert_eq!(outcome.state, Some(state.clone()));
        }
        cluster.contents().refusals.clear();
        cluster.contents().topics.clear();
        let outcome = topics.read(state, private).await;
        assert!(outcome.state.is_none() && outcome.diagnostics.is_empty());
    }

    #[tokio::test]
    async fn another_cluster_stops_everything() {
        let cluster = FakeCluster::default();
        let (state, private) = created(&topics(&cluster).await, &config(&[])).await;
        cluster.contents().id = "cluster-2".to_owned();
        cluster.contents().topics.clear();
        let topics = topics(&cluster).await;
        let outcome = topics.read(state.clone(), private.clone()).await;
        assert_eq!(outcome.state, Some(state.clone()), "a topic of another cluster is not gone");
        let error = outcome.diagnostics.iter().next().expect("an error");
        assert!(error.detail.contains("cluster-1") && error.detail.contains("cluster-2"), "{}", error.detail);
        let mut open = state;
        open.set_attr("deletion_protection", Value::from(false));
        assert!(topics.delete(open, private).await.diagnostics.has_errors());
        assert_eq!(cluster.contents().log, ["create topic orders"]);
    }

    #[tokio::test]
    async fn a_topic_made_anew_is_a_warning() {
        let cluster = FakeCluster::default();
        let topics = topics(&cluster).await;
        let (state, private) = created(&topics, &config(&[])).await;
        cluster.contents().topics.get_mut("orders").expect("made").id = "another".to_owned();
        let outcome = topics.read(state, private).await;
        assert!(!outcome.diagnostics.has_errors() && !outcome.diagnostics.is_empty());
        assert_eq!(outcome.state.expect("there").attr("topic_id"), &Value::from("another"));
    }

    #[tokio::test]
    async fn an_existing_topic_is_adopted_only_when_asked() {
        let cluster = FakeCluster::default();
        let topics = topics(&cluster).await;
        created(&topics, &config(&[("partitions", 2.into()), settings(&[("foreign", "x")])])).await;
        let again = config(&[("partitions", 3.into()), settings(&[("retention.ms", "1")])]);
        let (planned, _) = plan(&topics, &Value::Null, &again).await;
        let applied = topics.create(planned.state.clone(), again).await;
        assert!(applied.state.is_none());
        assert!(applied.diagnostics.iter().next().expect("an error").detail.contains("terraform import"));

        let mut planned = planned.state;
        planned.set_attr("adopt_existing", Value::from(true));
        let applied = topics.create(planned.clone(), Value::Null).await;
        assert!(applied.diagnostics.is_empty(), "{:?}", applied.diagnostics);
        let topic = cluster.topic_now("orders").expect("there");
        assert_eq!((topic.partitions, topic.config.len()), (3, 2));

        planned.set_attr("partitions", Value::from(1));
        let applied = topics.create(planned, Value::Null).await;
        assert!(applied.diagnostics.has_errors() && applied.state.is_none());
    }

    #[tokio::test]
    async fn the_broker_judges_configs_at_plan() {
        let cluster = FakeCluster::default();
        let topics = topics(&cluster).await;
        let bad = config(&[settings(&[("no.such.key", "1")])]);
        let (_, diagnostics) = plan(&topics, &Value::Null, &bad).await;
        let error = diagnostics.iter().next().expect("an error");
        assert_eq!(error.path, Some(AttributePath::root("config")));
        let (state, _) = created(&topics, &config(&[])).await;
        let (_, diagnostics) = plan(&topics, &state, &bad).await;
        assert!(diagnostics.has_errors());
        assert_eq!(cluster.contents().log, ["create topic orders"], "a plan changes nothing");
    }

    #[tokio::test]
    async fn without_a_known_cluster_plans_are_made_and_reads_change_nothing() {
        let session = Session::default();
        session.configure_later().await;
        let topics = TopicResource::new(session);
        let (planned, diagnostics) = plan(&topics, &Value::Null, &config(&[])).await;
        assert!(planned.changes() && diagnostics.is_empty());
        let outcome = topics.read(config(&[]), Private::default()).await;
        assert_eq!(outcome.state, Some(config(&[])));
        assert!(!outcome.diagnostics.has_errors() && !outcome.diagnostics.is_empty());
    }

    #[tokio::test]
    async fn an_import_is_complete_and_plans_clean() {
        let cluster = FakeCluster::default();
        let topics = topics(&cluster).await;
        let config = config(&[("partitions", 2.into()), settings(&[("retention.ms", "1")])]);
        created(&topics, &config).await;
        let imported = topics.import("orders").await.expect("a good name");
        let outcome = topics.read(imported, Private::default()).await;
        let (planned, _) = plan(&topics, &outcome.state.expect("found"), &config).await;
        assert!(!planned.changes(), "{:?}", planned);
        assert!(topics.import("a b").await.is_err());
    }

    #[test]
    fn validation_points_at_each_mistake() {
        let topics = TopicResource::new(Session::default());
        let bad = Value::object([
            ("name", Value::from("a b")),
            ("partitions", Value::from(0)),
            ("replication_factor", Value::from(40_000)),
        ]);
        let diagnostics = topics.validate(&bad);
        let paths: Vec<_> = diagnostics.iter().map(|d| d.path.clone().expect("a path").to_string()).collect();
        assert_eq!(paths, ["name", "partitions", "replication_factor"]);
        let unknown = Value::object([("name", Value::Unknown), ("partitions", Value::Unknown)]);
        assert!(topics.validate(&unknown).is_empty());
    }
}
