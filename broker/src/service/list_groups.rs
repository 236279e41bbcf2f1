//! ListGroups: all groups that one may see.

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::groups::wire;
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::acl::{CLUSTER_NAME, Operation, ResourceType};

impl Service for ListGroupsRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> ListGroupsResponse {
        let (request, (), access) = request.into_parts();
        let sees_all = access.sees(Operation::Describe, ResourceType::Cluster, CLUSTER_NAME);
        let (mut groups, error) = services.groups.list();
        groups.retain(|group| {
            passes(&request.states_filter, group.state.name())
                && passes(&request.types_filter, group.kind.name())
                && (sees_all || access.sees(Operation::Describe, ResourceType::Group, &group.group))
        });
        let listed = groups.iter().map(|group| {
            ListedGroup::default()
                .with_group_id(GroupId(wire(&group.group)))
                .with_protocol_type(wire(&group.protocol_type))
                .with_group_state(StrBytes::from_static_str(group.state.name()))
                .with_group_type(StrBytes::from_static_str(group.kind.name()))
        });
        ListGroupsResponse::default()
            .with_error_code(error.map_or(0, |error| error.code()))
            .with_groups(listed.collect())
    }

    fn refuse(refusal: Refusal, _: &Self, _: &Context) -> ListGroupsResponse {
        ListGroupsResponse::default().with_error_code(refusal.0.code())
    }
}

/// An empty filter lets everything through; names match in any case.
fn passes(filter: &[StrBytes], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}
