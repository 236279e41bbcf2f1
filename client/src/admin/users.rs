//! Users: their SCRAM credentials. A password is salted here and never leaves this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use hmac::Hmac;
use krafka::__private::protocol::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, ApiKey, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse, ScramCredentialDeletion, ScramCredentialUpsertion, versions,
};
use krafka::__private::scram;
use rand::RngCore;
use serde::Serialize;
use sha2::{Sha256, Sha512};

use super::connection::{Admin, Api, Kind};
use crate::error::{Error, Result, answer};
use crate::secret::Secret;

/// What Kafka's own tools use.
pub const DEFAULT_ITERATIONS: i32 = 4096;
/// Kafka's upper bound; a broker computes none of them, but the client does at each login.
const MAX_ITERATIONS: i32 = 16_384;
const SALT_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ScramMechanism {
    #[serde(rename = "SCRAM-SHA-256")]
    Sha256,
    #[serde(rename = "SCRAM-SHA-512")]
    Sha512,
}

impl ScramMechanism {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn to_wire(self) -> scram::ScramMechanism {
        match self {
            Self::Sha256 => scram::ScramMechanism::Sha256,
            Self::Sha512 => scram::ScramMechanism::Sha512,
        }
    }

    fn from_wire(wire: scram::ScramMechanism) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|mechanism| mechanism.to_wire() == wire)
    }

    fn salt_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Self::Sha256 => {
                let mut out = vec![0; 32];
                pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, iterations, &mut out)
                    .expect("HMAC takes a key of any length");
                out
            }
            Self::Sha512 => {
                let mut out = vec![0; 64];
                pbkdf2::pbkdf2::<Hmac<Sha512>>(password, salt, iterations, &mut out)
                    .expect("HMAC takes a key of any length");
                out
            }
        }
    }
}

impl fmt::Display for ScramMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ScramMechanism {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("{text:?} is not a SCRAM mechanism; it is one of SCRAM-SHA-256, SCRAM-SHA-512"))
    }
}

/// What a broker tells of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ScramCredential {
    pub mechanism: ScramMechanism,
    pub iterations: i32,
}

/// A password to set, for one mechanism.
#[derive(Clone, Debug)]
pub struct ScramUpsert {
    pub user: String,
    pub mechanism: ScramMechanism,
    pub iterations: i32,
    pub password: Secret,
}

impl ScramUpsert {
    /// Whether a broker could take it. [`Admin::alter_users`] refuses everything it is given when one is not good.
    pub fn check(&self) -> Result<()> {
        let user = &self.user;
        if user.is_empty() {
            return Err(Error::Settings("A user name must not be empty.".to_owned()));
        }
        if self.password.expose().is_empty() {
            return Err(Error::Settings(format!("The password of the user {user:?} must not be empty.")));
        }
        if !(DEFAULT_ITERATIONS..=MAX_ITERATIONS).contains(&self.iterations) {
            return Err(Error::Settings(format!(
                "The iterations of the user {user:?} must be between {DEFAULT_ITERATIONS} and {MAX_ITERATIONS}, not {}.",
                self.iterations
            )));
        }
        Ok(())
    }
}

const DESCRIBE: Api = Api {
    key: ApiKey::DescribeUserScramCredentials,
    name: "DescribeUserScramCredentials",
    min: versions::DESCRIBE_USER_SCRAM_CREDENTIALS_MIN,
    max: versions::DESCRIBE_USER_SCRAM_CREDENTIALS_MAX,
    kind: Kind::Read,
};
const ALTER: Api = Api {
    key: ApiKey::AlterUserScramCredentials,
    name: "AlterUserScramCredentials",
    min: versions::ALTER_USER_SCRAM_CREDENTIALS_MIN,
    max: versions::ALTER_USER_SCRAM_CREDENTIALS_MAX,
    kind: Kind::Write,
};

impl Admin {
    /// The credentials of the named users, or of all; a user without any is an error of its own
    /// ([`crate::Error::is_not_found`]).
    pub async fn describe_users(
        &self,
        users: Option<&[&str]>,
    ) -> Result<BTreeMap<String, Result<Vec<ScramCredential>>>> {
        if users.is_some_and(<[_]>::is_empty) {
            return Ok(BTreeMap::new());
        }
        // Brokers refuse a request that names a user twice.
        let once = |users: &[&str]| users.iter().map(|&user| user.to_owned()).collect::<BTreeSet<_>>();
        // None named means all, like null, to which Apache Kafka gives no answer at all when the user may not see them.
        let users = Some(users.map(|users| once(users).into_iter().collect()).unwrap_or_default());
        let response: DescribeUserScramCredentialsResponse =
            self.call(DESCRIBE, &DescribeUserScramCredentialsRequest { users }).await?;
        answer(response.error_code, response.error_message)?;
        Ok(response
            .results
            .into_iter()
            .map(|result| {
                let credentials = answer(result.error_code, result.error_message).map(|()| {
                    let known = result.credential_infos.into_iter().filter_map(|info| {
                        let mechanism = ScramMechanism::from_wire(info.mechanism)?;
                        Some(ScramCredential { mechanism, iterations: info.iterations })
                    });
                    known.collect()
                });
                (result.user, credentials)
            })
            .collect())
    }

    /// Sets passwords and deletes credentials; one result per user, the first that went wrong. Apache Kafka takes one
    /// change per user in a request, so that a user's second mechanism goes into a second request.
    pub async fn alter_users(
        &self,
        upserts: Vec<ScramUpsert>,
        deletions: &[(&str, ScramMechanism)],
    ) -> Result<BTreeMap<String, Result<()>>> {
        for upsert in &upserts {
            upsert.check()?;
        }
        // Thousands of hash rounds per password would hold up the runtime's other work.
        let upsertions: Vec<_> = tokio::task::spawn_blocking(move || upserts.iter().map(salted).collect())
            .await
            .map_err(|_| Error::Settings("Salting the passwords was interrupted.".to_owned()))?;
        let deletions = deletions
            .iter()
            .map(|(user, mechanism)| ScramCredentialDeletion {
                name: (*user).to_owned(),
                mechanism: mechanism.to_wire(),
            })
            .collect();
        let mut results: BTreeMap<String, Result<()>> = BTreeMap::new();
        for request in one_change_per_user(deletions, upsertions) {
            let response: AlterUserScramCredentialsResponse = self.call(ALTER, &request).await?;
            for result in response.results {
                let told = results.entry(result.user).or_insert(Ok(()));
                if told.is_ok() {
                    *told = answer(result.error_code, result.error_message);
                }
            }
        }
        Ok(results)
    }
}

/// As few requests as hold each user's changes one by one; at least one.
fn one_change_per_user(
    deletions: Vec<ScramCredentialDeletion>,
    upsertions: Vec<ScramCredentialUpsertion>,
) -> Vec<AlterUserScramCredentialsRequest> {
    let mut requests = vec![AlterUserScramCredentialsRequest { deletions: Vec::new(), upsertions: Vec::new() }];
    let mut changes: BTreeMap<String, usize> = BTreeMap::new();
    let mut place = |user: &str, requests: &mut Vec<AlterUserScramCredentialsRequest>| {
        let earlier = changes.entry(user.to_owned()).or_default();
        let at = *earlier;
        *earlier += 1;
        if at == requests.len() {
            requests.push(AlterUserScramCredentialsRequest { deletions: Vec::new(), upsertions: Vec::new() });
        }
        at
    };
    for upsertion in upsertions {
        let at = place(&upsertion.name, &mut requests);
        requests[at].upsertions.push(upsertion);
    }
    for deletion in deletions {
        let at = place(&deletion.name, &mut requests);
        requests[at].deletions.push(deletion);
    }
    requests
}

fn salted(upsert: &ScramUpsert) -> ScramCredentialUpsertion {
    let mut salt = vec![0; SALT_BYTES];
    rand::rng().fill_bytes(&mut salt);
    let iterations = u32::try_from(upsert.iterations).unwrap_or(u32::MAX);
    let salted_password = upsert.mechanism.salt_password(upsert.password.expose().as_bytes(), &salt, iterations);
    ScramCredentialUpsertion {
        name: upsert.user.clone(),
        mechanism: upsert.mechanism.to_wire(),
        iterations: upsert.iterations,
        salt: salt.into(),
        salted_password: salted_password.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salting_agrees_with_the_standards_example() {
        // RFC 7677: user "user", password "pencil"; its ServerSignature follows from this salted password.
        use base64::Engine;
        let salt = base64::engine::general_purpose::STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let salted = ScramMechanism::Sha256.salt_password(b"pencil", &salt, 4096);
        let hex: String = salted.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d");
    }

    #[test]
    fn a_request_has_one_change_of_each_user() {
        let upsert = |user: &str, mechanism| {
            salted(&ScramUpsert {
                user: user.into(),
                mechanism,
                iterations: DEFAULT_ITERATIONS,
                password: "hunter2".into(),
            })
        };
        let deletion = ScramCredentialDeletion { name: "bob".to_owned(), mechanism: ScramMechanism::Sha512.to_wire() };
        let both = [ScramMechanism::Sha256, ScramMechanism::Sha512];
        let mut upserts: Vec<_> = both.map(|mechanism| upsert("alice", mechanism)).into();
        upserts.push(upsert("bob", ScramMechanism::Sha256));
        let requests = one_change_per_user(vec![deletion], upserts);
        let users = |request: &AlterUserScramCredentialsRequest| {
            let upserted = request.upsertions.iter().map(|one| one.name.clone());
            upserted.chain(request.deletions.iter().map(|one| one.name.clone())).collect::<Vec<_>>()
        };
        assert_eq!(requests.iter().map(users).collect::<Vec<_>>(), [["alice", "bob"], ["alice", "bob"]]);
        assert_eq!(requests[1].deletions.len(), 1, "a user's new password is there before the old mechanism goes");
        assert_eq!(one_change_per_user(Vec::new(), Vec::new()).len(), 1);
    }

    #[test]
    fn salts_differ_and_debug_hides_the_password() {
        let upsert = ScramUpsert {
            user: "alice".into(),
            mechanism: ScramMechanism::Sha512,
            iterations: DEFAULT_ITERATIONS,
            password: "hunter2".into(),
        };
        assert!(!format!("{upsert:?}").contains("hunter2"));
        assert_ne!(*salted(&upsert).salt, *salted(&upsert).salt);
    }

    #[test]
    fn weak_iterations_and_empty_passwords_are_refused() {
        let upsert = |iterations, password: &str| ScramUpsert {
            user: "alice".into(),
            mechanism: ScramMechanism::Sha512,
            iterations,
            password: password.into(),
        };
        assert!(upsert(4095, "x").check().is_err());
        assert!(upsert(4096, "").check().is_err());
        assert!(upsert(4096, "x").check().is_ok());
    }
}
