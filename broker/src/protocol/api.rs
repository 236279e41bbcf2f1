//! The one table of what is served. ApiVersions answers from it, and nothing outside it is decoded.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Decodable, StrBytes};
use thiserror::Error;

/// One API with the versions that are served.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    pub key: ApiKey,
    pub min: i16,
    pub max: i16,
    /// Served to clients that have not authenticated yet.
    pub before_authentication: bool,
}

const fn api(key: ApiKey, min: i16, max: i16) -> Api {
    Api { key, min, max, before_authentication: false }
}

const fn open(key: ApiKey, min: i16, max: i16) -> Api {
    Api { key, min, max, before_authentication: true }
}

/// Everything that is served. A version is listed only when it is implemented and tested.
pub const APIS: &[Api] = &[
    // Versions 0 to 2 are advertised and refused: librdkafka 2.0 stops compressing when Produce starts at 3.
    api(ApiKey::Produce, 0, 13),
    api(ApiKey::Fetch, 4, 18),
    api(ApiKey::ListOffsets, 1, 10),
    api(ApiKey::Metadata, 0, 13),
    api(ApiKey::OffsetCommit, 2, 9),
    api(ApiKey::OffsetFetch, 1, 9),
    api(ApiKey::FindCoordinator, 0, 6),
    api(ApiKey::JoinGroup, 0, 9),
    api(ApiKey::Heartbeat, 0, 4),
    api(ApiKey::LeaveGroup, 0, 5),
    api(ApiKey::SyncGroup, 0, 5),
    api(ApiKey::DescribeGroups, 0, 6),
    api(ApiKey::ListGroups, 0, 5),
    open(ApiKey::SaslHandshake, 0, 1),
    open(ApiKey::ApiVersions, 0, 4),
    api(ApiKey::CreateTopics, 2, 7),
    api(ApiKey::DeleteTopics, 1, 6),
    api(ApiKey::DeleteRecords, 0, 2),
    api(ApiKey::InitProducerId, 0, 5),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4),
    api(ApiKey::DescribeAcls, 1, 3),
    api(ApiKey::CreateAcls, 1, 3),
    api(ApiKey::DeleteAcls, 1, 3),
    api(ApiKey::DescribeConfigs, 1, 4),
    api(ApiKey::AlterConfigs, 0, 2),
    open(ApiKey::SaslAuthenticate, 0, 2),
    api(ApiKey::CreatePartitions, 0, 3),
    api(ApiKey::DeleteGroups, 0, 2),
    api(ApiKey::IncrementalAlterConfigs, 0, 1),
    api(ApiKey::OffsetDelete, 0, 0),
    api(ApiKey::DescribeClientQuotas, 0, 1),
    api(ApiKey::AlterClientQuotas, 0, 1),
    api(ApiKey::DescribeUserScramCredentials, 0, 0),
    api(ApiKey::AlterUserScramCredentials, 0, 0),
    api(ApiKey::DescribeCluster, 0, 2),
    api(ApiKey::DescribeTopicPartitions, 0, 0),
    api(ApiKey::DescribeLogDirs, 1, 4),
    api(ApiKey::ElectLeaders, 0, 2),
    api(ApiKey::ListConfigResources, 0, 1),
    api(ApiKey::AddPartitionsToTxn, 0, 5),
    api(ApiKey::AddOffsetsToTxn, 0, 4),
    api(ApiKey::EndTxn, 0, 5),
    api(ApiKey::WriteTxnMarkers, 1, 1),
    api(ApiKey::TxnOffsetCommit, 0, 5),
    api(ApiKey::DescribeProducers, 0, 0),
    api(ApiKey::DescribeTransactions, 0, 0),
    api(ApiKey::ListTransactions, 0, 2),
    api(ApiKey::ConsumerGroupHeartbeat, 0, 1),
    api(ApiKey::ConsumerGroupDescribe, 0, 1),
];

/// A frame that is not a request we can answer. The connection is closed.
#[derive(Debug, Error)]
pub enum ProtocolError {
    #[error("a request of {0} bytes is too short for its header")]
    Short(usize),
    #[error("request header: {0}")]
    Header(String),
    #[error("unknown api key {0}")]
    UnknownApi(i16),
    #[error("{key:?} version {version} is not served")]
    UnsupportedVersion { key: ApiKey, version: i16 },
    #[error("{key:?} version {version}: {reason}")]
    Body { key: ApiKey, version: i16, reason: String },
    #[error("{0:?} is not allowed before authentication has come to its end")]
    NotAuthenticated(ApiKey),
    #[error("{0:?} came after the session's end instead of another authentication")]
    SessionEnded(ApiKey),
    #[error("a request that wanted no acknowledgement failed")]
    Unacknowledged,
    #[error("the request was interrupted: {0}")]
    Interrupted(String),
    #[error("cannot encode the response: {0}")]
    Encode(String),
}

/// A request's header, and its body still encoded.
#[derive(Debug)]
pub struct Request {
    pub api: Api,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
    pub body: Bytes,
}

impl Request {
    /// Reads the header of one frame (without its length). The version may be outside the served range only for
    /// ApiVersions, whose answer then says what is served.
    pub fn parse(mut frame: Bytes) -> Result<Self, ProtocolError> {
        let mut start = &frame[..];
        let short = |_| ProtocolError::Short(frame.len());
        let code = start.try_get_i16().map_err(short)?;
        let version = start.try_get_i16().map_err(short)?;
        let correlation_id = start.try_get_i32().map_err(short)?;
        let api = APIS.iter().find(|api| api.key as i16 == code).copied().ok_or(ProtocolError::UnknownApi(code))?;
        let served = (api.min..=api.max).contains(&version);
        if !served {
            return match api.key {
                ApiKey::ApiVersions => Ok(Self { api, version, correlation_id, client_id: None, body: Bytes::new() }),
                key => Err(ProtocolError::UnsupportedVersion { key, version }),
            };
        }
        let header_version = api.key.request_header_version(version);
        super::schema::check_header(header_version, &frame)
            .map_err(|error| ProtocolError::Header(error.to_string()))?;
        let header = RequestHeader::decode(&mut frame, header_version)
            .map_err(|error| ProtocolError::Header(error.to_string()))?;
        Ok(Self { api, version, correlation_id, client_id: header.client_id, body: frame })
    }

    pub fn served(&self) -> bool {
        (self.api.min..=self.api.max).contains(&self.version)
    }

    /// Decodes the body; more bytes left over than clients are known to leave are an error.
    pub fn decode<R: Decodable>(&self) -> Result<R, ProtocolError> {
        let (key, version) = (self.api.key, self.version);
        let body_error = |reason: String| ProtocolError::Body { key, version, reason };
        super::schema::check(key as i16, version, &self.body).map_err(|error| body_error(error.to_string()))?;
        let mut body = self.body.clone();
        let request = R::decode(&mut body, version).map_err(|error| body_error(error.to_string()))?;
        match body.len() {
            left if left <= super::schema::ALLOWED_BEHIND => Ok(request),
            left => Err(body_error(format!("{left} bytes are left over"))),
        }
    }
}
