//! DescribeGroups: a group's state, members and assignments.

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use kafka_protocol::protocol::StrBytes;

use super::groups::{wire, wire_option};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::acl::ResourceType;
use crate::group::{Description, State};

/// First version that says that a group does not exist; before, such a group is dead.
const NOT_FOUND: i16 = 6;
impl Service for DescribeGroupsRequest {
    async fn serve(services: &Services, context: &Context, request: Authorized<Self>) -> DescribeGroupsResponse {
        let (request, denied, access) = request.into_parts();
        let mut seen = HashSet::new();
        let named = request.groups.into_iter().filter(|group| seen.insert(group.clone()));
        let answered = named.map(|group| {
            let described = match services.groups.describe(&group) {
                Ok(description) => show(group, description),
                Err(ResponseError::GroupIdNotFound) => not_found(group, context.version),
                Err(error) => failed(group, error),
            };
            if request.include_authorized_operations && described.error_code == 0 {
                let operations = access.authorized_operations(ResourceType::Group, &described.group_id);
                return described.with_authorized_operations(operations);
            }
            described
        });
        let refused = denied.into_iter().map(|group| failed(group, ResponseError::GroupAuthorizationFailed));
        DescribeGroupsResponse::default().with_groups(answered.chain(refused).collect())
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> DescribeGroupsResponse {
        let groups = request.groups.iter().map(|group| failed(group.clone(), refusal.0));
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }
}

fn show(group: GroupId, description: Description) -> DescribedGroup {
    let members = description.members.into_iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(wire(&member.id))
            .with_group_instance_id(wire_option(&member.instance))
            .with_client_id(wire(&member.client_id))
            .with_client_host(wire(&member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    });
    DescribedGroup::default()
        .with_group_id(group)
        .with_group_state(StrBytes::from_static_str(description.state.name()))
        .with_protocol_type(wire(&description.protocol_type))
        .with_protocol_data(wire(&description.protocol))
        .with_members(members.collect())
}

fn not_found(group: GroupId, version: i16) -> DescribedGroup {
    let message = (version >= NOT_FOUND).then(|| wire(&format!("Group {} not found.", group.as_str())));
    DescribedGroup::default()
        .with_group_id(group)
        .with_group_state(StrBytes::from_static_str(State::Dead.name()))
        .with_error_code(if version >= NOT_FOUND { ResponseError::GroupIdNotFound.code() } else { 0 })
        .with_error_message(message)
}

fn failed(group: GroupId, error: ResponseError) -> DescribedGroup {
    DescribedGroup::default().with_group_id(group).with_error_code(error.code())
}
