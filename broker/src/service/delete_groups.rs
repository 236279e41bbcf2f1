//! DeleteGroups: removes groups without members, with their offsets. Answered when durable.

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

use super::groups::{error_code, kept};
use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};

impl Service for DeleteGroupsRequest {
    async fn serve(services: &Services, _: &Context, request: Authorized<Self>) -> DeleteGroupsResponse {
        let (request, denied, _) = request.into_parts();
        let refused = denied.into_iter().map(|group| answer(group, Err(ResponseError::GroupAuthorizationFailed)));
        let mut results: Vec<_> = refused.collect();
        let mut seen = HashSet::new();
        for group in request.groups_names.into_iter().filter(|group| seen.insert(group.clone())) {
            let deleted = services.groups.delete_group(&kept(&group)).await;
            results.push(answer(group, deleted));
        }
        DeleteGroupsResponse::default().with_results(results)
    }

    fn refuse(refusal: Refusal, request: &Self, _: &Context) -> DeleteGroupsResponse {
        let results = request.groups_names.iter().map(|group| answer(group.clone(), Err(refusal.0)));
        DeleteGroupsResponse::default().with_results(results.collect())
    }
}

fn answer(group: GroupId, result: Result<(), ResponseError>) -> DeletableGroupResult {
    DeletableGroupResult::default().with_group_id(group).with_error_code(error_code(&result))
}
