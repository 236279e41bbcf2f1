//! AlterUserScramCredentials: makes, replaces and deletes credentials. A user with anything invalid in the request
//! keeps everything as it is; the other users' changes happen, all in one change.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::{AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Context, Service, Services};
use crate::auth::{Authorized, Refusal};
use crate::catalog::{CatalogRecord, Image, ScramCredential, ScramMechanism};

/// Kafka's bounds on iterations.
const MIN_ITERATIONS: i32 = 4096;
const MAX_ITERATIONS: i32 = 16384;
/// Longest user name, as SASL accepts it, and longest salt (octets).
const MAX_NAME: usize = 1024;
const MAX_SALT: usize = 1024;
/// Users in the catalog: they are all in memory.
const MAX_USERS: usize = 200_000;

type Invalid = (ResponseError, String);
/// What each user of the request gets: records, or why not.
type Outcomes = BTreeMap<StrBytes, Result<Vec<CatalogRecord>, Invalid>>;

impl Service for AlterUserScramCredentialsRequest {
    async fn serve(
        services: &Services,
        _context: &Context,
        request: Authorized<Self>,
    ) -> AlterUserScramCredentialsResponse {
        let (request, (), _access) = request.into_parts();
        let changed = services.catalog.change::<_, Infallible>(|image| {
            let mut outcomes = decide(image, &request);
            let records = outcomes.values_mut().filter_map(|outcome| outcome.as_mut().ok()).flat_map(std::mem::take);
            Ok((records.collect(), outcomes))
        });
        let results = match changed.await {
            Ok(outcomes) => outcomes.into_iter().map(|(user, outcome)| result(user, outcome.err())).collect(),
            Err(error) => {
                let storage = || Some((ResponseError::KafkaStorageError, error.to_string()));
                users(&request).into_iter().map(|user| result(user, storage())).collect()
            }
        };
        AlterUserScramCredentialsResponse::default().with_results(results)
    }

    fn refuse(refusal: Refusal, request: &Self, _context: &Context) -> AlterUserScramCredentialsResponse {
        let refused =
            |user| AlterUserScramCredentialsResult::default().with_user(user).with_error_code(refusal.0.code());
        AlterUserScramCredentialsResponse::default().with_results(users(request).into_iter().map(refused).collect())
    }
}

fn users(request: &AlterUserScramCredentialsRequest) -> BTreeSet<StrBytes> {
    let deleted = request.deletions.iter().map(|deletion| deletion.name.clone());
    deleted.chain(request.upsertions.iter().map(|upsertion| upsertion.name.clone())).collect()
}

fn result(user: StrBytes, invalid: Option<Invalid>) -> AlterUserScramCredentialsResult {
    let result = AlterUserScramCredentialsResult::default().with_user(user);
    match invalid {
        None => result,
        Some((error, message)) => result.with_error_code(error.code()).with_error_message(Some(message.into())),
    }
}

fn decide(image: &Image, request: &AlterUserScramCredentialsRequest) -> Outcomes {
    let deletions =
        request.deletions.iter().map(|deletion| (&deletion.name, deletion.mechanism, delete(image, deletion)));
    let upsertions =
        request.upsertions.iter().map(|upsertion| (&upsertion.name, upsertion.mechanism, upsert(upsertion)));
    let mut outcomes = Outcomes::new();
    let mut mentioned = BTreeSet::new();
    let mut users = image.users.len();
    for (name, mechanism, record) in deletions.chain(upsertions) {
        let is_new = !image.users.contains_key(&**name) && !outcomes.contains_key(name);
        let outcome = outcomes.entry(name.clone()).or_insert_with(|| Ok(Vec::new()));
        let record = match (mentioned.insert((name, mechanism)), record) {
            (false, _) => Err(duplicate()),
            (true, Ok(_)) if is_new && users >= MAX_USERS => Err(too_many_users()),
            (true, record) => record,
        };
        users += usize::from(is_new && record.is_ok());
        match (outcome, record) {
            (Ok(records), Ok(record)) => records.push(record),
            (outcome @ Ok(_), Err(invalid)) => *outcome = Err(invalid),
            (Err(_), _) => {}
        }
    }
    outcomes
}

fn duplicate() -> Invalid {
    (ResponseError::DuplicateResource, "A user credential cannot be altered twice in the same request".to_owned())
}

fn too_many_users() -> Invalid {
    (ResponseError::PolicyViolation, format!("The cluster has {MAX_USERS} users, which is the limit."))
}

fn mechanism_of(name: &str, code: i8) -> Result<ScramMechanism, Invalid> {
    let unacceptable = |message: String| Err((ResponseError::UnacceptableCredential, message));
    if name.is_empty() {
        return unacceptable("Username must not be empty".to_owned());
    }
    if name.len() > MAX_NAME {
        return unacceptable(format!("The user name is longer than {MAX_NAME} octets"));
    }
    let mechanism = [ScramMechanism::Sha256, ScramMechanism::Sha512].into_iter().find(|known| *known as i8 == code);
    mechanism.ok_or_else(|| (ResponseError::UnsupportedSaslMechanism, "Unknown SCRAM mechanism".to_owned()))
}

fn delete(image: &Image, deletion: &ScramCredentialDeletion) -> Result<CatalogRecord, Invalid> {
    let mechanism = mechanism_of(&deletion.name, deletion.mechanism)?;
    let user = deletion.name.to_string();
    match image.users.get(&user).is_some_and(|credentials| credentials.contains_key(&mechanism)) {
        true => Ok(CatalogRecord::UserCredentialDeleted { user, mechanism }),
        false => {
            Err((ResponseError::ResourceNotFound, "Attempt to delete a user credential that does not exist".to_owned()))
        }
    }
}

fn upsert(upsertion: &ScramCredentialUpsertion) -> Result<CatalogRecord, Invalid> {
    let mechanism = mechanism_of(&upsertion.name, upsertion.mechanism)?;
    let unacceptable = |message: String| Err((ResponseError::UnacceptableCredential, message));
    if upsertion.iterations < MIN_ITERATIONS {
        return unacceptable(format!("Too few iterations: {MIN_ITERATIONS} is the least"));
    }
    if upsertion.iterations > MAX_ITERATIONS {
        return unacceptable(format!("Too many iterations: {MAX_ITERATIONS} is the most"));
    }
    if upsertion.salt.is_empty() || upsertion.salt.len() > MAX_SALT {
        return unacceptable(format!("The salt has 1 to {MAX_SALT} octets"));
    }
    if upsertion.salted_password.len() != mechanism.octets() {
        return unacceptable(format!("The salted password has {} octets with this mechanism", mechanism.octets()));
    }
    let iterations = upsertion.iterations as u32;
    let salt = upsertion.salt.to_vec();
    let credential = ScramCredential::from_salted(mechanism, &upsertion.salted_password, salt, iterations);
    Ok(CatalogRecord::UserCredential { user: upsertion.name.to_string(), mechanism, credential })
}
