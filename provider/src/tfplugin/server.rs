//! The RPCs: messages in, the provider's answer out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::proto::tfplugin6::provider_server::Provider as Rpc;
use super::proto::tfplugin6::*;
use super::{
    Applied, AttributePath, DataSource, Diagnostic, Diagnostics, Private, Provider, Resource, Schema, Signature, Type,
    Value, WireError, plan, wire,
};

type Answer<T> = Result<Response<T>, Status>;

/// A kind of resource or data source with what its schema says, worked out once.
struct Kind<K: ?Sized> {
    logic: Arc<K>,
    schema: Schema,
    value_type: Type,
}

impl<K: ?Sized> Kind<K> {
    fn new(logic: Arc<K>, schema: Schema) -> Self {
        Self { logic, value_type: schema.value_type(), schema }
    }

    fn decode(&self, value: Option<&DynamicValue>) -> Result<Value, Status> {
        decode(value, &self.value_type)
    }

    fn encode(&self, value: &Value) -> Result<Option<DynamicValue>, Status> {
        encode(value, &self.value_type)
    }
}

/// A function with its signature, worked out once.
struct KnownFunction {
    logic: Arc<dyn super::Function>,
    signature: Signature,
}

/// The provider behind its RPCs.
pub(super) struct GrpcProvider<P> {
    provider: P,
    schema: Schema,
    value_type: Type,
    resources: BTreeMap<String, Kind<dyn Resource>>,
    data_sources: BTreeMap<String, Kind<dyn DataSource>>,
    functions: BTreeMap<String, KnownFunction>,
}

impl<P: Provider> GrpcProvider<P> {
    pub(super) fn new(provider: P) -> Self {
        let resources = provider.resources().into_iter().map(|logic| {
            let schema = logic.schema();
            (logic.type_name().to_owned(), Kind::new(logic, schema))
        });
        let data_sources = provider.data_sources().into_iter().map(|logic| {
            let schema = logic.schema();
            (logic.type_name().to_owned(), Kind::new(logic, schema))
        });
        let functions = provider.functions().into_iter().map(|logic| {
            let signature = logic.signature();
            (logic.name().to_owned(), KnownFunction { logic, signature })
        });
        let schema = provider.schema();
        Self {
            functions: functions.collect(),
            resources: resources.collect(),
            data_sources: data_sources.collect(),
            value_type: schema.value_type(),
            schema,
            provider,
        }
    }

    fn functions_on_wire(&self) -> HashMap<String, Function> {
        self.functions.iter().map(|(name, known)| (name.clone(), known.signature.to_wire())).collect()
    }

    fn resource(&self, name: &str) -> Result<&Kind<dyn Resource>, Status> {
        self.resources.get(name).ok_or_else(|| Status::invalid_argument(format!("no resource is called {name:?}")))
    }

    fn data_source(&self, name: &str) -> Result<&Kind<dyn DataSource>, Status> {
        self.data_sources
            .get(name)
            .ok_or_else(|| Status::invalid_argument(format!("no data source is called {name:?}")))
    }
}

fn decode(value: Option<&DynamicValue>, kind: &Type) -> Result<Value, Status> {
    wire::decode(value, kind).map_err(|e| Status::invalid_argument(format!("Terraform sent a value amiss: {e}")))
}

fn encode(value: &Value, kind: &Type) -> Result<Option<DynamicValue>, Status> {
    // Only a mistake in the provider makes a value that its own schema refuses.
    let fault = |e: WireError| Status::internal(format!("the provider made a value that its schema refuses: {e}"));
    wire::encode(value, kind).map(Some).map_err(fault)
}

fn private(bytes: &[u8]) -> Result<Private, Status> {
    Private::decode(bytes)
        .map_err(|e| Status::invalid_argument(format!("the private part of the state is damaged: {e}")))
}

/// Without support in Terraform itself, a write-only value would end up in the state.
fn refuse_write_only(schema: &Schema, config: &Value) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for attribute in schema.attributes().iter().filter(|a| a.write_only && !config.attr(a.name).is_null()) {
        let detail = format!(
            "{} is write-only, which needs Terraform 1.11 or later: this version would keep it in the state. Upgrade \
             Terraform, or use an attribute that is not write-only.",
            attribute.name
        );
        let refusal = Diagnostic::error("Write-only attributes are not supported by this Terraform", detail);
        diagnostics.push(refusal.at(AttributePath::root(attribute.name)));
    }
    diagnostics
}

#[async_trait]
impl<P: Provider> Rpc for GrpcProvider<P> {
    async fn get_provider_schema(&self, _: Request<GetProviderSchemaRequest>) -> Answer<GetProviderSchemaResponse> {
        Ok(Response::new(GetProviderSchemaResponse {
            provider: Some(self.schema.to_wire()),
            resource_schemas: self.resources.iter().map(|(name, k)| (name.clone(), k.schema.to_wire())).collect(),
            data_source_schemas: self.data_sources.iter().map(|(name, k)| (name.clone(), k.schema.to_wire())).collect(),
            diagnostics: Vec::new(),
            server_capabilities: Some(ServerCapabilities {
                plan_destroy: true,
                get_provider_schema_optional: true,
                move_resource_state: false,
            }),
            functions: self.functions_on_wire(),
        }))
    }

    async fn validate_provider_config(
        &self,
        request: Request<ValidateProviderConfigRequest>,
    ) -> Answer<ValidateProviderConfigResponse> {
        let config = decode(request.get_ref().config.as_ref(), &self.value_type)?;
        let diagnostics = self.provider.validate(&config).to_wire();
        Ok(Response::new(ValidateProviderConfigResponse { diagnostics }))
    }

    async fn configure_provider(&self, request: Request<ConfigureProviderRequest>) -> Answer<DiagnosticsResponse> {
        let request = request.into_inner();
        tracing::debug!(terraform = request.terraform_version, "configuring");
        let config = decode(request.config.as_ref(), &self.value_type)?;
        let diagnostics = self.provider.configure(config).await.to_wire();
        Ok(Response::new(DiagnosticsResponse { diagnostics }))
    }

    async fn validate_resource_config(&self, request: Request<ValidateConfigRequest>) -> Answer<DiagnosticsResponse> {
        let request = request.into_inner();
        let kind = self.resource(&request.type_name)?;
        let config = kind.decode(request.config.as_ref())?;
        let mut diagnostics = kind.logic.validate(&config);
        if !request.client_capabilities.unwrap_or_default().write_only_attributes_allowed {
            diagnostics.extend(refuse_write_only(&kind.schema, &config));
        }
        Ok(Response::new(DiagnosticsResponse { diagnostics: diagnostics.to_wire() }))
    }

    async fn validate_data_resource_config(
        &self,
        request: Request<ValidateConfigRequest>,
    ) -> Answer<DiagnosticsResponse> {
        let request = request.into_inner();
        let kind = self.data_source(&request.type_name)?;
        let config = kind.decode(request.config.as_ref())?;
        Ok(Response::new(DiagnosticsResponse { diagnostics: kind.logic.validate(&config).to_wire() }))
    }

    async fn upgrade_resource_state(
        &self,
        request: Request<UpgradeResourceStateRequest>,
    ) -> Answer<UpgradeResourceStateResponse> {
        let request = request.into_inner();
        let kind = self.resource(&request.type_name)?;
        let mut response = UpgradeResourceStateResponse::default();
        if request.version > kind.schema.version {
            let detail = format!(
                "The state of this {} has schema version {}, and this provider knows up to {}. Upgrade the provider.",
                request.type_name, request.version, kind.schema.version
            );
            let error = Diagnostic::error("The state was written by a newer provider", detail);
            response.diagnostics = Diagnostics::from(error).to_wire();
            return Ok(Response::new(response));
        }
        let stored = request.raw_state.map(|raw| raw.json).unwrap_or_default();
        match wire::decode_json(&stored, &kind.value_type) {
            Ok(state) => response.upgraded_state = kind.encode(&state)?,
            Err(error) => {
                let error = Diagnostic::error("The stored state cannot be read", error.to_string());
                response.diagnostics = Diagnostics::from(error).to_wire();
            }
        }
        Ok(Response::new(response))
    }

    async fn read_resource(&self, request: Request<ReadResourceRequest>) -> Answer<ReadResourceResponse> {
        let request = request.into_inner();
        let kind = self.resource(&request.type_name)?;
        let state = kind.decode(request.current_state.as_ref())?;
        let outcome = kind.logic.read(state, private(&request.private)?).await;
        Ok(Response::new(ReadResourceResponse {
            new_state: kind.encode(&outcome.state.unwrap_or(Value::Null))?,
            diagnostics: outcome.diagnostics.to_wire(),
            private: outcome.private.encode(),
        }))
    }

    async fn plan_resource_change(
        &self,
        request: Request<PlanResourceChangeRequest>,
    ) -> Answer<PlanResourceChangeResponse> {
        let request = request.into_inner();
        let kind = self.resource(&request.type_name)?;
        let prior = kind.decode(request.prior_state.as_ref())?;
        let proposed = kind.decode(request.proposed_new_state.as_ref())?;
        let config = kind.decode(request.config.as_ref())?;
        let kept = private(&request.prior_private)?;
        if proposed.is_null() {
            let diagnostics = kind.logic.plan_destroy(&prior, &kept).await.to_wire();
            let planned_state = kind.encode(&Value::Null)?;
            let planned_private = request.prior_private;
            return Ok(Response::new(PlanResourceChangeResponse {
                planned_state,
                planned_private,
                diagnostics,
                requires_replace: Vec::new(),
            }));
        }
        let mut planned = plan::plan(&kind.schema, prior, &proposed, config);
        let diagnostics = kind.logic.plan(&mut planned, &kept).await.to_wire();
        Ok(Response::new(PlanResourceChangeResponse {
            planned_state: kind.encode(&planned.state)?,
            requires_replace: planned.requires_replace.iter().map(AttributePath::to_wire).collect(),
            planned_private: request.prior_private,
            diagnostics,
        }))
    }

    async fn apply_resource_change(
        &self,
        request: Request<ApplyResourceChangeRequest>,
    ) -> Answer<ApplyResourceChangeResponse> {
        let request = request.into_inner();
        let kind = self.resource(&request.type_name)?;
        let prior = kind.decode(request.prior_state.as_ref())?;
        let planned = kind.decode(request.planned_state.as_ref())?;
        let config = kind.decode(request.config.as_ref())?;
        let kept = private(&request.planned_private)?;
        let Applied { state, private, diagnostics } = if planned.is_null() {
            kind.logic.delete(prior, kept).await
        } else if prior.is_null() {
            kind.logic.create(planned, config).await
        } else {
            kind.logic.update(prior, planned, config, kept).await
        };
        Ok(Response::new(ApplyResourceChangeResponse {
            new_state: kind.encode(&state.unwrap_or(Value::Null))?,
            private: private.encode(),
            diagnostics: diagnostics.to_wire(),
        }))
    }

    async fn import_resource_state(
        &self,
        request: Request<ImportResourceStateRequest>,
    ) -> Answer<ImportResourceStateResponse> {
        let ImportResourceStateRequest { type_name, id } = request.into_inner();
        let kind = self.resource(&type_name)?;
        let mut response = ImportResourceStateResponse::default();
        match kind.logic.import(&id).await {
            Ok(state) => {
                let state = kind.encode(&state)?;
                response.imported_resources = vec![ImportedResource { type_name, state, private: Vec::new() }];
            }
            Err(error) => response.diagnostics = Diagnostics::from(error).to_wire(),
        }
        Ok(Response::new(response))
    }

    async fn read_data_source(&self, request: Request<ReadDataSourceRequest>) -> Answer<ReadDataSourceResponse> {
        let request = request.into_inner();
        let kind = self.data_source(&request.type_name)?;
        let config = kind.decode(request.config.as_ref())?;
        let mut response = ReadDataSourceResponse::default();
        match kind.logic.read(config).await {
            Ok(state) => response.state = kind.encode(&state)?,
            Err(error) => response.diagnostics = Diagnostics::from(error).to_wire(),
        }
        Ok(Response::new(response))
    }

    async fn get_functions(&self, _: Request<GetFunctionsRequest>) -> Answer<GetFunctionsResponse> {
        Ok(Response::new(GetFunctionsResponse { functions: self.functions_on_wire(), diagnostics: Vec::new() }))
    }

    async fn call_function(&self, request: Request<CallFunctionRequest>) -> Answer<CallFunctionResponse> {
        let CallFunctionRequest { name, arguments } = request.into_inner();
        let unknown = || Status::invalid_argument(format!("no function is called {name:?}"));
        let KnownFunction { logic, signature } = self.functions.get(&name).ok_or_else(unknown)?;
        if arguments.len() != signature.parameters.len() {
            let (wanted, got) = (signature.parameters.len(), arguments.len());
            return Err(Status::invalid_argument(format!("{name} takes {wanted} arguments, and got {got}")));
        }
        let arguments = arguments.iter().zip(&signature.parameters).map(|(a, p)| decode(Some(a), &p.kind));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let (result, error) = match logic.call(&arguments) {
            Ok(result) => (encode(&result, &signature.returns)?, None),
            Err(error) => (None, Some(error.to_wire())),
        };
        Ok(Response::new(CallFunctionResponse { result, error }))
    }

    async fn stop_provider(&self, _: Request<StopProviderRequest>) -> Answer<StopProviderResponse> {
        self.provider.stop();
        Ok(Response::new(StopProviderResponse { error: String::new() }))
    }
}
