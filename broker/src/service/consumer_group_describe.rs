//! ConsumerGroupDescribe: a consumer group's epochs, members, and what they have and should have (KIP-848).

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::groups::{wire, wire_option, wire_topic};
use super::{Context, Service, Services};
use crate::auth::{Access, Authorized, Refusal};
use crate::catalog::Image;
use crate::catalog::acl::{Operation, ResourceType};
use crate::group::{ConsumerDescription, ConsumerMemberDescription, NamedPartitions, Refused};

/// First version that tells which protocol a member uses.
const MEMBER_TYPE: i16 = 1;
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

impl Service for ConsumerGroupDescribeRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> ConsumerGroupDescribeResponse {
        let (request, denied, access) = request.into_parts();
        let mut seen = HashSet::new();
        let named = request.group_ids.into_iter().filter(|group| seen.insert(group.clone()));
        let answered = named.map(|group| {
            let described = match services.groups.describe_consumer(&group) {
                Ok(description) => show(group, description, &access, context.version),
                Err(error) => failed(group, error),
            };
            if request.include_authorized_operations && described.error_code == 0 {
                let operations = access.authorized_operations(ResourceType::Group, &described.group_id);
                return described.with_authorized_operations(operations);
            }
            described
        });
        let refused = denied.into_iter().map(|group| failed(group, ResponseError::GroupAuthorizationFailed.into()));
        ConsumerGroupDescribeResponse::default().with_groups(answered.chain(refused).collect())
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> ConsumerGroupDescribeResponse {
        let groups = request.group_ids.iter().map(|group| failed(group.clone(), refusal.0.into()));
        ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
    }
}

fn show(group: GroupId, description: ConsumerDescription, access: &Access, version: i16) -> DescribedGroup {
    let image = access.image();
    let members: Vec<_> = description.members.into_iter().map(|found| member(found, image, version)).collect();
    let assigned = members.iter().flat_map(|member| [&member.assignment, &member.target_assignment]);
    let assigned = assigned.flat_map(|assignment| &assignment.topic_partitions).map(|topic| &topic.topic_name);
    let topics = members.iter().flat_map(|member| &member.subscribed_topic_names).chain(assigned);
    let hidden = |topic: &TopicName| !access.sees(Operation::Describe, ResourceType::Topic, topic);
    if { topics }.any(hidden) {
        let message = "The group has described topic(s) that the client is not authorized to describe.";
        return failed(group, Refused { code: ResponseError::TopicAuthorizationFailed, message: message.to_owned() });
    }
    DescribedGroup::default()
        .with_group_id(group)
        .with_group_state(StrBytes::from_static_str(description.state.name()))
        .with_group_epoch(description.epoch)
        .with_assignment_epoch(description.assignment_epoch)
        .with_assignor_name(StrBytes::from_static_str(description.assignor))
        .with_members(members)
}

fn member(found: ConsumerMemberDescription, image: &Image, version: i16) -> Member {
    let kind = if found.is_classic { CLASSIC } else { CONSUMER };
    Member::default()
        .with_member_id(wire(&found.id))
        .with_instance_id(wire_option(&found.instance))
        .with_rack_id(wire_option(&found.rack))
        .with_member_epoch(found.epoch)
        .with_client_id(wire(&found.client_id))
        .with_client_host(wire(&found.client_host))
        .with_subscribed_topic_names(found.names.iter().map(|name| wire_topic(name)).collect())
        .with_subscribed_topic_regex(wire_option(&found.regex))
        .with_assignment(assignment(found.assignment, image))
        .with_target_assignment(assignment(found.target, image))
        .with_member_type(if version >= MEMBER_TYPE { kind } else { -1 })
}

/// Topics that are deleted have no name any more and are left out.
fn assignment(partitions: NamedPartitions, image: &Image) -> Assignment {
    let named = partitions.into_iter().filter_map(|(id, partitions)| {
        let name = image.topic_names.get(&id)?;
        let topic = TopicPartitions::default().with_topic_id(id).with_topic_name(wire_topic(name.as_str()));
        Some(topic.with_partitions(partitions))
    });
    Assignment::default().with_topic_partitions(named.collect())
}

fn failed(group: GroupId, error: Refused) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(group)
        .with_error_code(error.code.code())
        .with_error_message(Some(wire(&error.message)))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::{Encodable, Message};

    use super::*;

    #[test]
    fn answers_fit_every_version() {
        let versions = ConsumerGroupDescribeRequest::VERSIONS;
        for version in versions.min..=versions.max {
            let found = ConsumerMemberDescription {
                id: "m".into(),
                instance: None,
                rack: None,
                epoch: 1,
                client_id: "c".into(),
                client_host: "/::1".into(),
                names: vec!["t".into()],
                regex: Some("t.*".into()),
                assignment: Vec::new(),
                target: Vec::new(),
                is_classic: true,
            };
            let group = DescribedGroup::default().with_members(vec![member(found, &Image::default(), version)]);
            let missing = failed(GroupId::default(), ResponseError::GroupIdNotFound.into());
            let response = ConsumerGroupDescribeResponse::default().with_groups(vec![group, missing]);
            response.encode(&mut BytesMut::new(), version).expect("an answer");
        }
    }
}
