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
        let refused = |user| result(user, Some((refusal.0, refusal.0.to_string())));
        AlterUserScramCredentialsResponse::default().with_results(users(request).into_iter().map(refused).collect())
    }
}

fn users(request: &AlterUserScramCredentialsRequest) -> BTreeSet<StrBytes> {
    let deleted = request.deletions.iter().map(|deletion| deletion.name.clone());
    deleted.chain(request.upsertions.iter().map(|upsertion| upsertion.name.clone())).collect()
}

fn result(user: StrBytes, invalid: Option<Invalid>) -> AlterUserScramCredentialsResult {
    let result = AlterUserScramCredentialsResult::default().with_user(user).with_error_message(None);
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn upsertion(user: &'static str) -> ScramCredentialUpsertion {
        ScramCredentialUpsertion::default()
            .with_name(user.into())
            .with_mechanism(ScramMechanism::Sha256 as i8)
            .with_iterations(4096)
            .with_salt(Bytes::from_static(b"salt"))
            .with_salted_password(vec![7; 32].into())
    }

    fn deletion(user: &'static str) -> ScramCredentialDeletion {
        ScramCredentialDeletion::default().with_name(user.into()).with_mechanism(ScramMechanism::Sha256 as i8)
    }

    fn request(
        deletions: Vec<ScramCredentialDeletion>,
        upsertions: Vec<ScramCredentialUpsertion>,
    ) -> AlterUserScramCredentialsRequest {
        AlterUserScramCredentialsRequest::default().with_deletions(deletions).with_upsertions(upsertions)
    }

    fn errors(outcomes: &Outcomes) -> Vec<(&str, Option<ResponseError>)> {
        outcomes
            .iter()
            .map(|(user, outcome)| (user.as_str(), outcome.as_ref().err().map(|(error, _)| *error)))
            .collect()
    }

    fn apply(image: &mut Image, outcomes: Outcomes) {
        outcomes.into_values().flatten().flatten().for_each(|record| image.apply(&record));
    }

    #[test]
    fn credentials_are_made_replaced_and_deleted() {
        let mut image = Image::default();
        let made = decide(&image, &request(vec![], vec![upsertion("alice")]));
        apply(&mut image, made);
        let stored = &image.users["alice"][&ScramMechanism::Sha256];
        assert_eq!(*stored, ScramCredential::from_salted(ScramMechanism::Sha256, &[7; 32], b"salt".to_vec(), 4096));
        let replaced = decide(&image, &request(vec![], vec![upsertion("alice").with_iterations(8192)]));
        apply(&mut image, replaced);
        assert_eq!(image.users["alice"][&ScramMechanism::Sha256].iterations, 8192);
        let gone = decide(&image, &request(vec![deletion("alice")], vec![]));
        apply(&mut image, gone);
        assert!(image.users.is_empty());
    }

    #[test]
    fn what_is_invalid_is_refused_with_kafkas_error() {
        use ResponseError::*;
        let cases = [
            (upsertion("u").with_iterations(4095), UnacceptableCredential),
            (upsertion("u").with_iterations(16385), UnacceptableCredential),
            (upsertion("u").with_iterations(-1), UnacceptableCredential),
            (upsertion("u").with_salt(Bytes::new()), UnacceptableCredential),
            (upsertion("u").with_salted_password(vec![7; 31].into()), UnacceptableCredential),
            (upsertion("u").with_mechanism(ScramMechanism::Sha512 as i8), UnacceptableCredential),
            (upsertion("u").with_mechanism(0), UnsupportedSaslMechanism),
            (upsertion("u").with_mechanism(3), UnsupportedSaslMechanism),
            (upsertion("").with_iterations(4096), UnacceptableCredential),
        ];
        for (upsertion, error) in cases {
            let outcomes = decide(&Image::default(), &request(vec![], vec![upsertion.clone()]));
            assert_eq!(errors(&outcomes), [(upsertion.name.as_str(), Some(error))], "{upsertion:?}");
        }
        for iterations in [4096, 16384] {
            assert!(upsert(&upsertion("u").with_iterations(iterations)).is_ok());
        }
    }

    #[test]
    fn one_users_mistake_leaves_the_others_changes() {
        let wanted = request(vec![deletion("missing")], vec![upsertion("alice"), upsertion("bob"), upsertion("bob")]);
        let mut image = Image::default();
        let outcomes = decide(&image, &wanted);
        let expected = [
            ("alice", None),
            ("bob", Some(ResponseError::DuplicateResource)),
            ("missing", Some(ResponseError::ResourceNotFound)),
        ];
        assert_eq!(errors(&outcomes), expected);
        apply(&mut image, outcomes);
        assert_eq!(image.users.keys().collect::<Vec<_>>(), ["alice"]);
    }

    #[test]
    fn deleting_and_setting_the_same_credential_is_a_duplicate_and_another_mechanism_is_not() {
        let mut image = Image::default();
        let made = decide(&image, &request(vec![], vec![upsertion("alice")]));
        apply(&mut image, made);
        let both = decide(&image, &request(vec![deletion("alice")], vec![upsertion("alice")]));
        assert_eq!(errors(&both), [("alice", Some(ResponseError::DuplicateResource))]);
        let other =
            upsertion("alice").with_mechanism(ScramMechanism::Sha512 as i8).with_salted_password(vec![7; 64].into());
        let moved = decide(&image, &request(vec![deletion("alice")], vec![other]));
        assert_eq!(errors(&moved), [("alice", None)]);
        apply(&mut image, moved);
        assert_eq!(image.users["alice"].keys().collect::<Vec<_>>(), [&ScramMechanism::Sha512]);
    }
}
