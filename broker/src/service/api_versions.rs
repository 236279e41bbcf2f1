//! ApiVersions: what is served, from the one table. Answered before authentication.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;

use crate::protocol::api::APIS;

/// The answer to a request of a version that is served (`true`) or not; the latter is to be encoded as version 0.
pub fn api_versions(served: bool) -> ApiVersionsResponse {
    let keys = APIS.iter().map(|api| {
        ApiVersion::default().with_api_key(api.key as i16).with_min_version(api.min).with_max_version(api.max)
    });
    let error_code = if served { 0 } else { ResponseError::UnsupportedVersion.code() };
    ApiVersionsResponse::default().with_error_code(error_code).with_api_keys(keys.collect())
}
