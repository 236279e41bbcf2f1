//! What a provider implements.

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::async_trait;

use super::{Diagnostic, Diagnostics, Function, Planned, Schema, Value};

/// What the provider keeps with a resource's state without showing it: small texts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Private(BTreeMap<String, String>);

impl Private {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Reads the stored form. Nothing stored is an empty one.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        if bytes.is_empty() { Ok(Self::default()) } else { serde_json::from_slice(bytes).map(Self) }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        serde_json::to_vec(&self.0).expect("a map of strings is always JSON")
    }
}

/// What became of a read: the state as it is (null when the resource is proven gone).
#[derive(Debug, Clone, Default)]
pub struct ReadOutcome {
    pub state: Option<Value>,
    pub private: Private,
    pub diagnostics: Diagnostics,
}

/// What became of a create, update or delete. `state` is what exists now, after a failure too: `None` when nothing does.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    pub state: Option<Value>,
    pub private: Private,
    pub diagnostics: Diagnostics,
}

/// A kind of managed resource.
#[async_trait]
pub trait Resource: Send + Sync + 'static {
    fn type_name(&self) -> &'static str;

    fn schema(&self) -> Schema;

    /// Checks a configuration, in which anything may be unknown, without asking anyone.
    fn validate(&self, config: &Value) -> Diagnostics;

    /// Looks at a create or update that the schema has planned, and may change it.
    async fn plan(&self, _planned: &mut Planned, _private: &Private) -> Diagnostics {
        Diagnostics::new()
    }

    /// Looks at a planned destroy.
    async fn plan_destroy(&self, _prior: &Value, _private: &Private) -> Diagnostics {
        Diagnostics::new()
    }

    async fn read(&self, state: Value, private: Private) -> ReadOutcome;

    /// `planned` holds no unknowns but in computed attributes; `config` has the write-only values.
    async fn create(&self, planned: Value, config: Value) -> Applied;

    async fn update(&self, prior: Value, planned: Value, config: Value, private: Private) -> Applied;

    async fn delete(&self, prior: Value, private: Private) -> Applied;

    /// Turns an import id into the beginnings of a state, which a read then completes.
    async fn import(&self, id: &str) -> Result<Value, Diagnostic>;
}

/// A kind of data source.
#[async_trait]
pub trait DataSource: Send + Sync + 'static {
    fn type_name(&self) -> &'static str;

    fn schema(&self) -> Schema;

    /// Checks a configuration, in which anything may be unknown, without asking anyone.
    fn validate(&self, _config: &Value) -> Diagnostics {
        Diagnostics::new()
    }

    async fn read(&self, config: Value) -> Result<Value, Diagnostic>;
}

/// A provider: its own configuration, the kinds of resources and data sources, and the functions.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    fn schema(&self) -> Schema;

    fn validate(&self, config: &Value) -> Diagnostics;

    /// Takes the configuration, in which anything may be unknown, for all calls that follow.
    async fn configure(&self, config: Value) -> Diagnostics;

    fn resources(&self) -> Vec<Arc<dyn Resource>>;

    fn data_sources(&self) -> Vec<Arc<dyn DataSource>>;

    fn functions(&self) -> Vec<Arc<dyn Function>> {
        Vec::new()
    }

    /// The person wants to stop: calls in flight should end soon.
    fn stop(&self);
}
