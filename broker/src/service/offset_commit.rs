//! OffsetCommit: how far a group has read. Answered when durable.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::groups::{error_code, identity, kept};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::Topic;
use crate::group::OffsetValue;
use crate::group::limits::MAX_OFFSET_METADATA_BYTES;

/// First version in which members of consumer groups commit, with their epoch.
const MEMBER_EPOCHS: i16 = 9;

impl Service for OffsetCommitRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> OffsetCommitResponse {
        let (request, denied, access) = request.into_parts();
        let now_ms = services.clock.now_ms();
        let expire_timestamp =
            (request.retention_time_ms >= 0).then(|| now_ms.saturating_add(request.retention_time_ms));
        let mut offsets = Vec::new();
        // Per topic: its partitions, each refused already or waiting for the outcome.
        let mut judged = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let known = access.image().topic(&topic.name);
            let name = kept(&topic.name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let verdict = check(known.map(|topic| &**topic), &partition);
                if verdict.is_ok() {
                    let value = OffsetValue {
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: kept(partition.committed_metadata.as_deref().unwrap_or_default()),
                        commit_timestamp: now_ms,
                        expire_timestamp,
                        topic_id: known.map(|topic| topic.id),
                    };
                    offsets.push(((name.clone(), partition.partition_index), value));
                }
                partitions.push((partition.partition_index, verdict));
            }
            judged.push((topic.name, partitions));
        }
        let (generation, member) = (request.generation_id_or_member_epoch, &request.member_id);
        let who = identity(&request.group_id, generation, member, &request.group_instance_id);
        let outcome = match services.groups.check_commit_version(&who, context.version >= MEMBER_EPOCHS) {
            Ok(()) if offsets.is_empty() => Ok(()),
            Ok(()) => services.groups.commit(&who, offsets).await,
            Err(error) => Err(error),
        };
        let answered = judged.into_iter().map(|(name, partitions)| {
            let partitions = partitions.into_iter().map(|(index, verdict)| answer(index, verdict.and(outcome)));
            OffsetCommitResponseTopic::default().with_name(name).with_partitions(partitions.collect())
        });
        let refused = denied.iter().map(|topic| failed(topic, ResponseError::TopicAuthorizationFailed));
        OffsetCommitResponse::default().with_topics(answered.chain(refused).collect())
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> OffsetCommitResponse {
        let topics = request.topics.iter().map(|topic| failed(topic, refusal.0));
        OffsetCommitResponse::default().with_topics(topics.collect())
    }
}

fn check(topic: Option<&Topic>, partition: &OffsetCommitRequestPartition) -> Result<(), ResponseError> {
    if topic.is_none_or(|topic| !(0..topic.partitions).contains(&partition.partition_index)) {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    if partition.committed_metadata.as_ref().is_some_and(|metadata| metadata.len() > MAX_OFFSET_METADATA_BYTES) {
        return Err(ResponseError::OffsetMetadataTooLarge);
    }
    Ok(())
}

fn answer(index: i32, result: Result<(), ResponseError>) -> OffsetCommitResponsePartition {
    OffsetCommitResponsePartition::default().with_partition_index(index).with_error_code(error_code(&result))
}

fn failed(topic: &OffsetCommitRequestTopic, error: ResponseError) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().map(|partition| answer(partition.partition_index, Err(error)));
    OffsetCommitResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
}
