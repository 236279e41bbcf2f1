//! ApiVersions: what is served, from the one table. Answered before authentication.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::protocol::StrBytes;

use crate::protocol::api::APIS;
use crate::protocol::features::FEATURES;

/// First version that tells of features.
const WITH_FEATURES: i16 = 3;
/// First version in which a feature may have level 0.
const LEVEL_ZERO: i16 = 4;
/// Features do not change while the broker runs.
const FEATURES_EPOCH: i64 = 0;

/// The answer to a request of a version that is served (`true`) or not; the latter is to be encoded as `version` 0.
pub fn api_versions(version: i16, served: bool) -> ApiVersionsResponse {
    let keys = APIS.iter().map(|api| {
        ApiVersion::default().with_api_key(api.key as i16).with_min_version(api.min).with_max_version(api.max)
    });
    let error_code = if served { 0 } else { ResponseError::UnsupportedVersion.code() };
    let response = ApiVersionsResponse::default().with_error_code(error_code).with_api_keys(keys.collect());
    if version < WITH_FEATURES {
        return response;
    }
    let least = if version < LEVEL_ZERO { 1 } else { 0 };
    let supported = FEATURES.iter().map(|feature| {
        let key = SupportedFeatureKey::default().with_name(StrBytes::from_static_str(feature.name));
        key.with_min_version(feature.min.max(least)).with_max_version(feature.max)
    });
    let finalized = FEATURES.iter().map(|feature| {
        let key = FinalizedFeatureKey::default().with_name(StrBytes::from_static_str(feature.name));
        key.with_min_version_level(feature.max).with_max_version_level(feature.max)
    });
    response
        .with_supported_features(supported.collect())
        .with_finalized_features_epoch(FEATURES_EPOCH)
        .with_finalized_features(finalized.collect())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::ApiVersionsRequest;
    use kafka_protocol::protocol::{Encodable, Message};

    use super::*;

    #[test]
    fn answers_fit_every_version_and_tell_of_features() {
        let versions = ApiVersionsRequest::VERSIONS;
        for version in versions.min..=versions.max {
            let response = api_versions(version, true);
            response.encode(&mut BytesMut::new(), version).expect("an answer");
            assert_eq!(response.finalized_features.is_empty(), version < WITH_FEATURES);
            assert!(response.supported_features.iter().all(|feature| version >= LEVEL_ZERO || feature.min_version > 0));
        }
    }
}
