//! From an encoded request to an encoded response: one line per API.

use std::sync::Arc;

use kafka_protocol::messages::*;

use super::{Context, Service, Services, fetch};
use crate::auth::authorize;
use crate::protocol::api::{ProtocolError, Request};
use crate::protocol::{Response, encode};

/// A response, and how long its connection is muted afterwards (ms).
#[derive(Debug)]
pub struct Answered {
    pub response: Response,
    pub throttle_ms: i32,
}

impl From<Response> for Answered {
    fn from(response: Response) -> Self {
        Self { response, throttle_ms: 0 }
    }
}

/// Answers every request but those that the connection handles itself: Produce (pipelined) and the ones that come
/// before authentication. `budget` is what the request holds in memory.
pub async fn dispatch<H: Send>(
    services: Arc<Services>,
    mut context: Context,
    request: Request,
    budget: Option<H>,
) -> Result<Answered, ProtocolError> {
    if request.api.key == ApiKey::Fetch {
        let (wanted, correlation_id) = (request.decode()?, request.correlation_id);
        if budget.is_some() {
            context.detach();
        }
        let response = fetch(&services, &context, wanted, (request, budget)).await;
        let throttle_ms = response.throttle_time_ms;
        return Ok(Answered { response: response.encode(context.version, correlation_id), throttle_ms });
    }
    let (services, context, request) = (&*services, &context, &request);
    let _budget = budget;
    match request.api.key {
        ApiKey::ListOffsets => answer::<ListOffsetsRequest>(services, context, request).await,
        ApiKey::Metadata => answer::<MetadataRequest>(services, context, request).await,
        ApiKey::OffsetCommit => answer::<OffsetCommitRequest>(services, context, request).await,
        ApiKey::OffsetFetch => answer::<OffsetFetchRequest>(services, context, request).await,
        ApiKey::FindCoordinator => answer::<FindCoordinatorRequest>(services, context, request).await,
        ApiKey::JoinGroup => answer::<JoinGroupRequest>(services, context, request).await,
        ApiKey::Heartbeat => answer::<HeartbeatRequest>(services, context, request).await,
        ApiKey::LeaveGroup => answer::<LeaveGroupRequest>(services, context, request).await,
        ApiKey::SyncGroup => answer::<SyncGroupRequest>(services, context, request).await,
        ApiKey::DescribeGroups => answer::<DescribeGroupsRequest>(services, context, request).await,
        ApiKey::ListGroups => answer::<ListGroupsRequest>(services, context, request).await,
        ApiKey::DeleteGroups => answer::<DeleteGroupsRequest>(services, context, request).await,
        ApiKey::OffsetDelete => answer::<OffsetDeleteRequest>(services, context, request).await,
        ApiKey::ConsumerGroupHeartbeat => answer::<ConsumerGroupHeartbeatRequest>(services, context, request).await,
        ApiKey::ConsumerGroupDescribe => answer::<ConsumerGroupDescribeRequest>(services, context, request).await,
        ApiKey::CreateTopics => {
            limited::<CreateTopicsRequest>(services, context, request, |answer| answer.throttle_time_ms).await
        }
        ApiKey::DeleteTopics => {
            limited::<DeleteTopicsRequest>(services, context, request, |answer| answer.throttle_time_ms).await
        }
        ApiKey::DeleteRecords => answer::<DeleteRecordsRequest>(services, context, request).await,
        ApiKey::InitProducerId => answer::<InitProducerIdRequest>(services, context, request).await,
        ApiKey::OffsetForLeaderEpoch => answer::<OffsetForLeaderEpochRequest>(services, context, request).await,
        ApiKey::DescribeAcls => answer::<DescribeAclsRequest>(services, context, request).await,
        ApiKey::CreateAcls => answer::<CreateAclsRequest>(services, context, request).await,
        ApiKey::DeleteAcls => answer::<DeleteAclsRequest>(services, context, request).await,
        ApiKey::DescribeConfigs => answer::<DescribeConfigsRequest>(services, context, request).await,
        ApiKey::AlterConfigs => answer::<AlterConfigsRequest>(services, context, request).await,
        ApiKey::CreatePartitions => {
            limited::<CreatePartitionsRequest>(services, context, request, |answer| answer.throttle_time_ms).await
        }
        ApiKey::IncrementalAlterConfigs => answer::<IncrementalAlterConfigsRequest>(services, context, request).await,
        ApiKey::DescribeClientQuotas => answer::<DescribeClientQuotasRequest>(services, context, request).await,
        ApiKey::AlterClientQuotas => answer::<AlterClientQuotasRequest>(services, context, request).await,
        ApiKey::DescribeUserScramCredentials => {
            answer::<DescribeUserScramCredentialsRequest>(services, context, request).await
        }
        ApiKey::AlterUserScramCredentials => {
            answer::<AlterUserScramCredentialsRequest>(services, context, request).await
        }
        ApiKey::AddPartitionsToTxn => answer::<AddPartitionsToTxnRequest>(services, context, request).await,
        ApiKey::AddOffsetsToTxn => answer::<AddOffsetsToTxnRequest>(services, context, request).await,
        ApiKey::EndTxn => answer::<EndTxnRequest>(services, context, request).await,
        ApiKey::WriteTxnMarkers => answer::<WriteTxnMarkersRequest>(services, context, request).await,
        ApiKey::TxnOffsetCommit => answer::<TxnOffsetCommitRequest>(services, context, request).await,
        ApiKey::DescribeProducers => answer::<DescribeProducersRequest>(services, context, request).await,
        ApiKey::DescribeTransactions => answer::<DescribeTransactionsRequest>(services, context, request).await,
        ApiKey::ListTransactions => answer::<ListTransactionsRequest>(services, context, request).await,
        ApiKey::DescribeCluster => answer::<DescribeClusterRequest>(services, context, request).await,
        ApiKey::DescribeTopicPartitions => answer::<DescribeTopicPartitionsRequest>(services, context, request).await,
        ApiKey::DescribeLogDirs => answer::<DescribeLogDirsRequest>(services, context, request).await,
        ApiKey::ElectLeaders => answer::<ElectLeadersRequest>(services, context, request).await,
        ApiKey::ListConfigResources => answer::<ListConfigResourcesRequest>(services, context, request).await,
        key => Err(ProtocolError::UnknownApi(key as i16)),
    }
}

async fn answer<R: Service>(
    services: &Services,
    context: &Context,
    request: &Request,
) -> Result<Answered, ProtocolError> {
    limited::<R>(services, context, request, |_| 0).await
}

/// Like [`answer`], for services that know a quota of their own.
async fn limited<R: Service>(
    services: &Services,
    context: &Context,
    request: &Request,
    throttle: fn(&R::Response) -> i32,
) -> Result<Answered, ProtocolError> {
    let decoded: R = request.decode()?;
    let response = match authorize(decoded, services.access(&context.session)) {
        Ok(authorized) => R::serve(services, context, authorized).await,
        Err((refusal, decoded)) => R::refuse(refusal, &decoded, context),
    };
    let throttle_ms = throttle(&response);
    Ok(Answered { response: encode(&response, context.version, request.correlation_id)?, throttle_ms })
}
