//! PLAIN (RFC 4616), checked against the SCRAM credentials in the catalog: passwords themselves are kept nowhere.
//!
//! Deriving a credential from a password is expensive on purpose. A password that was right is remembered as a keyed
//! hash over it and the credential it fitted, so that reconnects are cheap and a changed credential forgets it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::{Failure, Step};
use crate::auth::Principal;
use crate::catalog::{ScramCredential, ScramMechanism, User};
use crate::config::SaslMechanism;

/// Users whose last right password is remembered (about 200 bytes each).
const REMEMBERED: usize = 10_000;
/// Derivations at once, so that a flood of wrong passwords leaves processors to the work.
const DERIVATIONS: usize = 2;
/// Longest user name and password (octets); deriving from a longer one costs no more, but nobody has one.
const MAX_PART: usize = 1024;

pub(super) struct PlainVerifier {
    secret: [u8; 32],
    remembered: Mutex<HashMap<String, Vec<u8>>>,
    derivations: Arc<Semaphore>,
}

/// User and password. Never panics, whatever the octets.
pub fn parse(message: &[u8]) -> Result<(&str, &str), &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "it is not UTF-8")?;
    let mut parts = text.split('\0');
    let (Some(authzid), Some(user), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err("it does not have three parts");
    };
    if user.is_empty() || password.is_empty() {
        return Err("user name or password is empty");
    }
    if user.len() > MAX_PART || password.len() > MAX_PART {
        return Err("user name or password is too long");
    }
    if !authzid.is_empty() && authzid != user {
        return Err("the authorization id is not the user");
    }
    Ok((user, password))
}

/// The credential to check against: the strongest that the user has.
fn strongest(user: &User) -> Option<(ScramMechanism, &ScramCredential)> {
    user.iter().next_back().map(|(mechanism, credential)| (*mechanism, credential))
}

impl PlainVerifier {
    pub(super) fn new() -> Self {
        Self {
            secret: rand::random(),
            remembered: Mutex::default(),
            derivations: Arc::new(Semaphore::new(DERIVATIONS)),
        }
    }

    pub(super) async fn authenticate(&self, users: &BTreeMap<String, Arc<User>>, message: &[u8]) -> Step {
        let (user, password) = match parse(message) {
            Ok(parts) => parts,
            Err(reason) => return Step::Failed(Failure::malformed(SaslMechanism::Plain, reason)),
        };
        let known = users.get(user).and_then(|credentials| strongest(credentials));
        if self.verify(user, password, known).await {
            return Step::Done { principal: Principal::user(user), bytes: Bytes::new(), ends_ms: None };
        }
        Step::Failed(Failure::refused(SaslMechanism::Plain, user, "unknown user or wrong password"))
    }

    async fn verify(&self, user: &str, password: &str, known: Option<(ScramMechanism, &ScramCredential)>) -> bool {
        // An unknown user costs the same derivation, so that the time tells nothing.
        let (mechanism, credential) = match known {
            Some((mechanism, credential)) => (mechanism, credential.clone()),
            None => (ScramMechanism::Sha512, ScramCredential::decoy(ScramMechanism::Sha512, user, &self.secret)),
        };
        let tag = self.tag(password, &credential);
        if self.remembers(user, &tag) {
            return true;
        }
        if !self.derive(mechanism, password.to_owned(), credential).await {
            return false;
        }
        self.remember(user, tag);
        true
    }

    /// Deriving runs on a blocking thread: the async workers have connections to serve.
    async fn derive(&self, mechanism: ScramMechanism, password: String, credential: ScramCredential) -> bool {
        let Ok(permit) = self.derivations.clone().acquire_owned().await else { return false };
        let work = move || {
            let _permit = permit;
            let salted = mechanism.salted_password(password.as_bytes(), &credential.salt, credential.iterations);
            let derived = ScramCredential::from_salted(mechanism, &salted, Vec::new(), credential.iterations);
            bool::from(derived.stored_key.ct_eq(&credential.stored_key))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(false)
    }

    fn tag(&self, password: &str, credential: &ScramCredential) -> Vec<u8> {
        let mut message = Vec::with_capacity(credential.stored_key.len() + password.len());
        message.extend_from_slice(&credential.stored_key);
        message.extend_from_slice(password.as_bytes());
        ScramMechanism::Sha256.hmac(&self.secret, &message)
    }

    fn remembers(&self, user: &str, tag: &[u8]) -> bool {
        self.remembered.lock().get(user).is_some_and(|known| known.ct_eq(tag).into())
    }

    fn remember(&self, user: &str, tag: Vec<u8>) {
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED && !remembered.contains_key(user) {
            remembered.clear();
        }
        remembered.insert(user.to_owned(), tag);
    }
}
