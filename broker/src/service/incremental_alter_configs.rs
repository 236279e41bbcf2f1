//! IncrementalAlterConfigs: single configs of a resource; the others stay as they are.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::configs::{Alteration, ConfigsError, Edit, alter};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

impl Service for IncrementalAlterConfigsRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> IncrementalAlterConfigsResponse {
        let (request, denied, _) = request.into_parts();
        let mut responses: Vec<_> = denied
            .into_iter()
            .map(|denied| {
                let error = Err((denied.error, denied.error.to_string()));
                response(denied.resource_type, denied.resource_name, error)
            })
            .collect();
        let alteration = |resource: &AlterConfigsResource| Alteration {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            edits: resource.configs.iter().map(edit).collect(),
            replace: false,
        };
        let alterations = request.resources.iter().map(alteration).collect();
        let results = alter(services, alterations, request.validate_only).await;
        for (resource, result) in request.resources.into_iter().zip(results) {
            responses.push(response(resource.resource_type, resource.resource_name, result));
        }
        IncrementalAlterConfigsResponse::default().with_responses(responses)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> IncrementalAlterConfigsResponse {
        let refused = request.resources.iter().map(|resource| {
            let error = Err((refusal.0, refusal.0.to_string()));
            response(resource.resource_type, resource.resource_name.clone(), error)
        });
        IncrementalAlterConfigsResponse::default().with_responses(refused.collect())
    }
}

fn edit(config: &AlterableConfig) -> Result<(String, Edit), ConfigsError> {
    let edit = match (config.config_operation, &config.value) {
        (1, _) => Edit::Delete,
        (0, Some(value)) => Edit::Set(value.to_string()),
        (2, Some(value)) => Edit::Append(value.to_string()),
        (3, Some(value)) => Edit::Subtract(value.to_string()),
        (0 | 2 | 3, None) => {
            let message = format!("Null value not supported for : {}", &*config.name);
            return Err((ResponseError::InvalidRequest, message));
        }
        (operation, _) => {
            let message = format!("Unknown operation {operation} for config {}", &*config.name);
            return Err((ResponseError::InvalidRequest, message));
        }
    };
    Ok((config.name.to_string(), edit))
}

fn response(
    resource_type: i8,
    resource_name: StrBytes,
    result: Result<(), ConfigsError>,
) -> AlterConfigsResourceResponse {
    let response = AlterConfigsResourceResponse::default()
        .with_resource_type(resource_type)
        .with_resource_name(resource_name)
        .with_error_message(None);
    match result {
        Ok(()) => response,
        Err((error, message)) => {
            response.with_error_code(error.code()).with_error_message(Some(StrBytes::from_string(message)))
        }
    }
}
