//! AlterConfigs: all configs of a resource at once. What is not named goes back to its default.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::AlterableConfig;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::configs::{Alteration, ConfigsError, Edit, alter};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

impl Service for AlterConfigsRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> AlterConfigsResponse {
        let (request, denied, _) = request.into_parts();
        let mut responses: Vec<_> = denied
            .into_iter()
            .map(|denied| {
                let error = Err((denied.error, denied.error.to_string()));
                response(denied.resource_type, denied.resource_name, error)
            })
            .collect();
        let alteration =
            |resource: &kafka_protocol::messages::alter_configs_request::AlterConfigsResource| Alteration {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                edits: resource.configs.iter().map(edit).collect(),
                replace: true,
            };
        let alterations = request.resources.iter().map(alteration).collect();
        let results = alter(services, alterations, request.validate_only).await;
        for (resource, result) in request.resources.into_iter().zip(results) {
            responses.push(response(resource.resource_type, resource.resource_name, result));
        }
        AlterConfigsResponse::default().with_responses(responses)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> AlterConfigsResponse {
        let refused = request.resources.iter().map(|resource| {
            let error = Err((refusal.0, refusal.0.to_string()));
            response(resource.resource_type, resource.resource_name.clone(), error)
        });
        AlterConfigsResponse::default().with_responses(refused.collect())
    }
}

fn edit(config: &AlterableConfig) -> Result<(String, Edit), ConfigsError> {
    match &config.value {
        Some(value) => Ok((config.name.to_string(), Edit::Set(value.to_string()))),
        None => {
            let message = format!("Null value not supported for : {}", &*config.name);
            Err((ResponseError::InvalidRequest, message))
        }
    }
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
