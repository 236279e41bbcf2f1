//! From an encoded request to an encoded response: one line per API.

use std::sync::Arc;

use kafka_protocol::messages::*;

use super::{Context, Service, Services, fetch};
use crate::auth::authorize;
use crate::protocol::api::{ProtocolError, Request};
use crate::protocol::{Response, encode};

/// Answers every request but those that the connection handles itself: Produce (pipelined) and the ones that come
/// before authentication.
pub async fn dispatch(services: Arc<Services>, context: Context, request: Request) -> Result<Response, ProtocolError> {
    let (services, context, request) = (&*services, &context, &request);
    match request.api.key {
        ApiKey::Fetch => {
            let wanted = request.decode()?;
            Ok(fetch(services, context, wanted).await.encode(context.version, request.correlation_id))
        }
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
        ApiKey::CreateTopics => answer::<CreateTopicsRequest>(services, context, request).await,
        ApiKey::DeleteTopics => answer::<DeleteTopicsRequest>(services, context, request).await,
        ApiKey::DeleteRecords => answer::<DeleteRecordsRequest>(services, context, request).await,
        ApiKey::InitProducerId => answer::<InitProducerIdRequest>(services, context, request).await,
        ApiKey::OffsetForLeaderEpoch => answer::<OffsetForLeaderEpochRequest>(services, context, request).await,
        ApiKey::DescribeAcls => answer::<DescribeAclsRequest>(services, context, request).await,
        ApiKey::CreateAcls => answer::<CreateAclsRequest>(services, context, request).await,
        ApiKey::DeleteAcls => answer::<DeleteAclsRequest>(services, context, request).await,
        ApiKey::DescribeConfigs => answer::<DescribeConfigsRequest>(services, context, request).await,
        ApiKey::AlterConfigs => answer::<AlterConfigsRequest>(services, context, request).await,
        ApiKey::CreatePartitions => answer::<CreatePartitionsRequest>(services, context, request).await,
        ApiKey::IncrementalAlterConfigs => answer::<IncrementalAlterConfigsRequest>(services, context, request).await,
        ApiKey::DescribeUserScramCredentials => {
            answer::<DescribeUserScramCredentialsRequest>(services, context, request).await
        }
        ApiKey::AlterUserScramCredentials => {
            answer::<AlterUserScramCredentialsRequest>(services, context, request).await
        }
        ApiKey::DescribeCluster => answer::<DescribeClusterRequest>(services, context, request).await,
        key => Err(ProtocolError::UnknownApi(key as i16)),
    }
}

async fn answer<R: Service>(
    services: &Services,
    context: &Context,
    request: &Request,
) -> Result<Response, ProtocolError> {
    let decoded: R = request.decode()?;
    let response = match authorize(decoded, services.access(&context.session)) {
        Ok(authorized) => R::serve(services, context, authorized).await,
        Err((refusal, decoded)) => R::refuse(refusal, &decoded, context),
    };
    encode(&response, context.version, request.correlation_id)
}
