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
        DescribeUserScramCredentialsResponse::default().with_error_message(None).with_results(results)
    }

    fn refuse(refusal: Refusal, _request: &Self, _context: &Context) -> DescribeUserScramCredentialsResponse {
        DescribeUserScramCredentialsResponse::default()
            .with_error_code(refusal.0.code())
            .with_error_message(Some(refusal.0.to_string().into()))
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
    let result = DescribeUserScramCredentialsResult::default().with_user(name).with_error_message(None);
    result.with_credential_infos(infos.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{CatalogRecord, ScramCredential, ScramMechanism};

    #[test]
    fn users_are_found_missed_and_asked_for_twice() {
        let mut image = Image::default();
        for mechanism in [ScramMechanism::Sha256, ScramMechanism::Sha512] {
            let credential = ScramCredential::from_salted(mechanism, b"salted", b"salt".to_vec(), 4096);
            image.apply(&CatalogRecord::UserCredential { user: "alice".to_owned(), mechanism, credential });
        }
        let alice = one(&image, "alice".into(), 1);
        let infos: Vec<_> = alice.credential_infos.iter().map(|info| (info.mechanism, info.iterations)).collect();
        assert_eq!((alice.error_code, infos), (0, vec![(1, 4096), (2, 4096)]));
        assert_eq!(one(&image, "bob".into(), 1).error_code, ResponseError::ResourceNotFound.code());
        assert_eq!(one(&image, "alice".into(), 2).error_code, ResponseError::DuplicateResource.code());
    }
}
