//! Calls that do not end as planned: the person stops them, the host goes away, or the provider's logic panics.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic::{Code, async_trait};

use super::proto::tfplugin6::{
    ApplyResourceChangeRequest, ApplyResourceChangeResponse, GetProviderSchemaRequest, StopProviderRequest,
};
use super::transport_tests::Plugin;
use super::{
    Applied, Attribute, DataSource, Diagnostic, Diagnostics, Planned, Private, Provider, ReadOutcome, Resource, Schema,
    Type, Value, wire,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// What the tests see of the provider, and tell it.
#[derive(Default)]
struct Stage {
    begun: watch::Sender<usize>,
    stopped: watch::Sender<bool>,
}

impl Stage {
    async fn begun(&self, calls: usize) {
        let mut begun = self.begun.subscribe();
        let wait = begun.wait_for(|begun| *begun >= calls);
        drop(tokio::time::timeout(PATIENCE, wait).await.expect("the calls begin").expect("the stage is there"));
    }
}

/// A resource whose creation lasts until the provider is stopped. One that is called `panic` fails by a mistake of ours.
struct Slow(Arc<Stage>);

#[async_trait]
impl Resource for Slow {
    fn type_name(&self) -> &'static str {
        "test_slow"
    }

    fn schema(&self) -> Schema {
        Schema::new("Slow.", vec![Attribute::required("name", Type::String, "Its name.")])
    }

    fn validate(&self, _: &Value) -> Diagnostics {
        Diagnostics::new()
    }

    async fn plan(&self, _: &mut Planned, _: &Private) -> Diagnostics {
        Diagnostics::new()
    }

    async fn plan_destroy(&self, _: &Value, _: &Private) -> Diagnostics {
        Diagnostics::new()
    }

    async fn read(&self, state: Value, private: Private) -> ReadOutcome {
        ReadOutcome { state: Some(state), private, ..ReadOutcome::default() }
    }

    async fn create(&self, planned: Value, _: Value) -> Applied {
        self.0.begun.send_modify(|begun| *begun += 1);
        assert_ne!(planned.attr("name"), &Value::from("panic"), "a mistake");
        self.0.stopped.subscribe().wait_for(|stopped| *stopped).await.expect("the stage is there");
        let diagnostics = Diagnostic::error("Stopped", "It was made, and not waited for.").into();
        Applied { state: Some(planned), private: Private::default(), diagnostics }
    }

    async fn update(&self, _: Value, planned: Value, _: Value, private: Private) -> Applied {
        Applied { state: Some(planned), private, ..Applied::default() }
    }

    async fn delete(&self, _: Value, _: Private) -> Applied {
        Applied::default()
    }

    async fn import(&self, id: &str) -> Result<Value, Diagnostic> {
        Ok(Value::object([("name", Value::from(id))]))
    }
}

struct SlowProvider(Arc<Stage>);

#[async_trait]
impl Provider for SlowProvider {
    fn schema(&self) -> Schema {
        Schema::new("Slow.", vec![])
    }

    fn validate(&self, _: &Value) -> Diagnostics {
        Diagnostics::new()
    }

    async fn configure(&self, _: Value) -> Diagnostics {
        Diagnostics::new()
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        vec![Arc::new(Slow(Arc::clone(&self.0)))]
    }

    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        Vec::new()
    }

    fn stop(&self) {
        self.0.stopped.send_replace(true);
    }
}

type Creation = tokio::task::JoinHandle<Result<ApplyResourceChangeResponse, tonic::Status>>;

/// A plugin with creations of these names under way, all on one connection as Terraform has them.
async fn creating(names: &[&str]) -> (Plugin, Arc<Stage>, Vec<Creation>) {
    let stage = Arc::new(Stage::default());
    let plugin = Plugin::serving(SlowProvider(Arc::clone(&stage)));
    let provider = plugin.provider().await;
    let kind = Slow(Arc::clone(&stage)).schema().value_type();
    let creations = names.iter().map(|name| {
        let planned = wire::encode(&Value::object([("name", Value::from(*name))]), &kind).expect("fits its type");
        let request = ApplyResourceChangeRequest {
            type_name: "test_slow".to_owned(),
            prior_state: Some(wire::encode(&Value::Null, &kind).expect("null")),
            planned_state: Some(planned.clone()),
            config: Some(planned),
            planned_private: Vec::new(),
        };
        let mut provider = provider.clone();
        tokio::spawn(async move { provider.apply_resource_change(request).await.map(tonic::Response::into_inner) })
    });
    let creations = creations.collect();
    stage.begun(names.len()).await;
    (plugin, stage, creations)
}

async fn ended(creation: Creation) -> Result<ApplyResourceChangeResponse, tonic::Status> {
    tokio::time::timeout(PATIENCE, creation).await.expect("the call ends").expect("the test's task does not panic")
}

#[tokio::test]
async fn a_stop_ends_the_calls_in_flight_and_each_still_says_what_there_is() {
    let (plugin, _, creations) = creating(&["a", "b"]).await;
    let mut provider = plugin.provider().await;
    provider.stop_provider(StopProviderRequest {}).await.expect("a stop is answered while calls are in flight");
    for creation in creations {
        let answer = ended(creation).await.expect("an answer, and no broken connection");
        assert!(answer.new_state.is_some_and(|state| !state.msgpack.is_empty()), "what was made reaches the state");
        assert_eq!(answer.diagnostics[0].summary, "Stopped");
    }
    provider.get_provider_schema(GetProviderSchemaRequest {}).await.expect("the plugin still answers");
}

#[tokio::test]
async fn a_host_that_goes_away_in_the_middle_does_not_disturb_another_one() {
    let (plugin, stage, creations) = creating(&["a"]).await;
    for creation in creations {
        creation.abort();
    }
    let mut provider = plugin.provider().await;
    provider.get_provider_schema(GetProviderSchemaRequest {}).await.expect("the plugin still answers");
    assert!(!*stage.stopped.borrow(), "nobody asked the provider to stop");
}

#[tokio::test]
async fn a_panic_fails_its_own_call_and_no_other() {
    let (plugin, stage, creations) = creating(&["a", "panic", "b"]).await;
    let [a, panic, b] = <[Creation; 3]>::try_from(creations).expect("three calls");
    let status = ended(panic).await.expect_err("it has no answer");
    assert!(matches!(status.code(), Code::Internal | Code::Cancelled | Code::Unknown), "{status:?}");
    stage.stopped.send_replace(true);
    for other in [a, b] {
        ended(other).await.expect("calls beside it are answered");
    }
    plugin.provider().await.get_provider_schema(GetProviderSchemaRequest {}).await.expect("the plugin still answers");
}
