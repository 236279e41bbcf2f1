//! DescribeUserScramCredentials: which mechanisms users have, never what proves them.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_protocol::messages::{DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::{Image, User};

impl Service for DescribeUserScramCredentialsRequest {
    async fn serve(
        _services: &Services,
        _context: &Context,
        request: Authorized<Self>,
    ) -> DescribeUserScramCredentialsResponse {
        let (request, (), access) = request.into_parts();
        let image = access.image();
        // No list and an empty list both mean everybody.
        let named = request.users.unwrap_or_default();
        let results = match named.is_empty() {
            true => image.users.iter().map(|(name, user)| found(name.clone().into(), user)).collect(),
            false => {
                let mut mentions: BTreeMap<StrBytes, usize> = BTreeMap::new();
                named.into_iter().for_each(|user| *mentions.entry(user.name).or_default() += 1);
                mentions.into_iter().map(|(name, count)| one(image, name, count)).collect()
            }
        };
        DescribeUserScramCredentialsResponse::default().with_results(results)
    }

    fn refuse(refusal: Refusal, _request: &Self, _context: &Context) -> DescribeUserScramCredentialsResponse {
        DescribeUserScramCredentialsResponse::default().with_error_code(refusal.0.code())
    }
}

fn one(image: &Image, name: StrBytes, mentions: usize) -> DescribeUserScramCredentialsResult {
    let failed = |error: ResponseError, message: String| {
        let result = DescribeUserScramCredentialsResult::default().with_user(name.clone());
        result.with_error_code(error.code()).with_error_message(Some(message.into()))
    };
    if mentions > 1 {
        let message = format!("Cannot describe SCRAM credentials for the same user twice in a single request: {name}");
        return failed(ResponseError::DuplicateResource, message);
    }
    match image.users.get(&*name) {
        Some(user) => found(name, user),
        None => {
            let message = format!("Attempt to describe a user credential that does not exist: {name}");
            failed(ResponseError::ResourceNotFound, message)
        }
    }
}

fn found(name: StrBytes, user: &User) -> DescribeUserScramCredentialsResult {
    let infos = user.iter().map(|(mechanism, credential)| {
        CredentialInfo::default().with_mechanism(*mechanism as i8).with_iterations(credential.iterations as i32)
    });
    DescribeUserScramCredentialsResult::default().with_user(name).with_credential_infos(infos.collect())
}
