//! SCRAM-SHA-256 and SCRAM-SHA-512, the server's side (RFC 5802, RFC 7677), without channel binding.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use rand::Rng;
use rand::distr::Alphanumeric;
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;

use super::{DEFAULT_ITERATIONS, Failure, SALT_OCTETS, Step};
use crate::auth::Principal;
use crate::catalog::{ScramCredential, ScramMechanism, User};
use crate::config::SaslMechanism;

/// Longest user name and nonce (octets).
const MAX_NAME: usize = 1024;
const MAX_NONCE: usize = 1024;
/// Characters of the server's part of the nonce.
const SERVER_NONCE: usize = 24;

/// The first message of a client, in the parts that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    /// Up to and with its second comma; the last message must repeat it.
    pub gs2_header: &'a str,
    /// The rest, which goes into the proof as it came.
    pub bare: &'a str,
    pub user: String,
    pub nonce: &'a str,
}

/// The last message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    pub without_proof: &'a str,
    pub channel_binding: Vec<u8>,
    pub nonce: &'a str,
    pub proof: Vec<u8>,
}

/// Reads a client-first-message. Never panics, whatever the octets.
pub fn parse_client_first(message: &[u8]) -> Result<ClientFirst<'_>, &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "it is not UTF-8")?;
    let (flag, rest) = text.split_once(',').ok_or("there is no comma after the channel binding flag")?;
    match flag {
        "n" | "y" => {}
        flag if flag.starts_with("p=") => return Err("channel binding is not supported"),
        _ => return Err("the channel binding flag is not n, y or p"),
    }
    let (authzid, bare) = rest.split_once(',').ok_or("there is no comma after the authorization id")?;
    let gs2_header = &text[..text.len() - bare.len()];
    let mut attributes = bare.split(',');
    let name = attributes.next().and_then(|part| part.strip_prefix("n=")).ok_or("the user name is missing")?;
    let user = unescape(name)?;
    let nonce = attributes.next().and_then(|part| part.strip_prefix("r=")).ok_or("the nonce is missing")?;
    check_nonce(nonce)?;
    if attributes.any(|extension| extension.starts_with("tokenauth=")) {
        return Err("delegation tokens are not supported");
    }
    match authzid.strip_prefix("a=").map(unescape).transpose()? {
        Some(authzid) if authzid != user => return Err("the authorization id is not the user"),
        None if !authzid.is_empty() => return Err("the authorization id has no a= before it"),
        _ => {}
    }
    Ok(ClientFirst { gs2_header, bare, user, nonce })
}

/// Reads a client-final-message. Never panics, whatever the octets.
pub fn parse_client_final(message: &[u8]) -> Result<ClientFinal<'_>, &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "it is not UTF-8")?;
    let (without_proof, proof) = text.rsplit_once(",p=").ok_or("the proof is missing")?;
    let proof = BASE64_STANDARD.decode(proof).map_err(|_| "the proof is not base64")?;
    let mut attributes = without_proof.split(',');
    let binding = attributes.next().and_then(|part| part.strip_prefix("c=")).ok_or("the channel binding is missing")?;
    let channel_binding = BASE64_STANDARD.decode(binding).map_err(|_| "the channel binding is not base64")?;
    let nonce = attributes.next().and_then(|part| part.strip_prefix("r=")).ok_or("the nonce is missing")?;
    Ok(ClientFinal { without_proof, channel_binding, nonce, proof })
}

fn check_nonce(nonce: &str) -> Result<(), &'static str> {
    if nonce.is_empty() || nonce.len() > MAX_NONCE {
        return Err("the nonce is empty or too long");
    }
    match nonce.bytes().all(|octet| octet.is_ascii_graphic()) {
        true => Ok(()),
        false => Err("the nonce has characters that are not printable"),
    }
}

/// A saslname: `=2C` is a comma and `=3D` an equals sign, and no other equals sign may stand in it.
pub(super) fn unescape(name: &str) -> Result<String, &'static str> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err("the user name is empty or too long");
    }
    let mut parts = name.split('=');
    let mut unescaped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err("the user name has an equals sign that is not =2C or =3D"),
        };
        unescaped.push(character);
        unescaped.push_str(rest);
    }
    Ok(unescaped)
}

/// The functions of RFC 5802 over one hash.
impl ScramMechanism {
    pub fn sasl(self) -> SaslMechanism {
        match self {
            Self::Sha256 => SaslMechanism::ScramSha256,
            Self::Sha512 => SaslMechanism::ScramSha512,
        }
    }

    pub(crate) fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
    }

    fn hash(self, message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, message).as_ref().to_vec()
    }

    /// Octets of the hash.
    pub fn octets(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// `Hi` of RFC 5802: the expensive part.
    pub fn salted_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut salted = vec![0; self.octets()];
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(algorithm, iterations, salt, password, &mut salted);
        salted
    }
}

impl ScramCredential {
    /// From a salted password, as administration sends it.
    pub fn from_salted(mechanism: ScramMechanism, salted: &[u8], salt: Vec<u8>, iterations: u32) -> Self {
        let stored_key = mechanism.hash(&mechanism.hmac(salted, b"Client Key"));
        Self { iterations, salt, stored_key, server_key: mechanism.hmac(salted, b"Server Key") }
    }

    /// With a fresh salt.
    pub fn from_password(mechanism: ScramMechanism, password: &str, iterations: u32) -> Self {
        let salt: [u8; SALT_OCTETS] = rand::random();
        let salted = mechanism.salted_password(password.as_bytes(), &salt, iterations);
        Self::from_salted(mechanism, &salted, salt.to_vec(), iterations)
    }

    /// What an unknown user seems to have: always the same for one name, and no password fits it.
    pub(super) fn decoy(mechanism: ScramMechanism, user: &str, secret: &[u8; 32]) -> Self {
        let mut salt = mechanism.hmac(secret, user.as_bytes());
        salt.truncate(SALT_OCTETS);
        Self { iterations: DEFAULT_ITERATIONS, salt, stored_key: Vec::new(), server_key: vec![0; mechanism.octets()] }
    }
}

/// What the server said first, and needs to check the answer.
struct Challenge {
    user: String,
    credential: ScramCredential,
    gs2_header: String,
    nonce: String,
    /// client-first-message-bare and server-first-message with their commas: the start of what is proven.
    proven: String,
}

/// One exchange of two messages from the client.
pub(super) struct ScramExchange {
    mechanism: ScramMechanism,
    server_nonce: String,
    challenge: Option<Challenge>,
}

impl ScramExchange {
    pub(super) fn new(mechanism: ScramMechanism) -> Self {
        let nonce = rand::rng().sample_iter(Alphanumeric).take(SERVER_NONCE).map(char::from).collect();
        Self { mechanism, server_nonce: nonce, challenge: None }
    }

    /// What to do now, and the exchange to go on with.
    pub(super) fn advance(
        self,
        users: &BTreeMap<String, Arc<User>>,
        secret: &[u8; 32],
        message: &[u8],
    ) -> (Step, Option<Self>) {
        let mechanism = self.mechanism;
        let outcome = match &self.challenge {
            None => self.challenge(users, secret, message).map(|(next, bytes)| (Step::Continue(bytes), Some(next))),
            Some(challenge) => self.conclude(challenge, users, message).map(|step| (step, None)),
        };
        outcome.unwrap_or_else(|failure| {
            let failure = match failure {
                Refusal::Malformed(reason) => Failure::malformed(mechanism.sasl(), reason),
                Refusal::Credentials(user, reason) => Failure::refused(mechanism.sasl(), &user, reason),
            };
            (Step::Failed(failure), None)
        })
    }

    fn challenge(
        &self,
        users: &BTreeMap<String, Arc<User>>,
        secret: &[u8; 32],
        message: &[u8],
    ) -> Result<(Self, Bytes), Refusal> {
        let first = parse_client_first(message).map_err(Refusal::Malformed)?;
        // Made for known users too, so that both take the same time.
        let decoy = ScramCredential::decoy(self.mechanism, &first.user, secret);
        let credential = users.get(&first.user).and_then(|user| user.get(&self.mechanism)).cloned().unwrap_or(decoy);
        let nonce = format!("{}{}", first.nonce, self.server_nonce);
        let reply = format!("r={nonce},s={},i={}", BASE64_STANDARD.encode(&credential.salt), credential.iterations);
        let challenge = Challenge {
            proven: format!("{},{reply},", first.bare),
            gs2_header: first.gs2_header.to_owned(),
            user: first.user,
            credential,
            nonce,
        };
        let next =
            Self { mechanism: self.mechanism, server_nonce: self.server_nonce.clone(), challenge: Some(challenge) };
        Ok((next, reply.into()))
    }

    fn conclude(
        &self,
        challenge: &Challenge,
        users: &BTreeMap<String, Arc<User>>,
        message: &[u8],
    ) -> Result<Step, Refusal> {
        let last = parse_client_final(message).map_err(Refusal::Malformed)?;
        if last.channel_binding != challenge.gs2_header.as_bytes() {
            return Err(Refusal::Malformed("the channel binding is not the one of the first message"));
        }
        // Only the end is compared, as Kafka does: librdkafka before 2.6.1 sends its own nonce twice. The server's part,
        // which makes the exchange fresh, is there in full, and the proof covers what was sent.
        if !last.nonce.ends_with(challenge.nonce.as_str()) {
            return Err(Refusal::Malformed("the nonce is not the one of this exchange"));
        }
        if last.proof.len() != self.mechanism.octets() {
            return Err(Refusal::Malformed("the proof has the wrong length"));
        }
        let proven = format!("{}{}", challenge.proven, last.without_proof);
        let credential = &challenge.credential;
        let signature = self.mechanism.hmac(&credential.stored_key, proven.as_bytes());
        let client_key: Vec<u8> = last.proof.iter().zip(&signature).map(|(proof, octet)| proof ^ octet).collect();
        let proven_right = self.mechanism.hash(&client_key).ct_eq(&credential.stored_key);
        let verifier = self.mechanism.hmac(&credential.server_key, proven.as_bytes());
        if !bool::from(proven_right) {
            return Err(Refusal::Credentials(challenge.user.clone(), "unknown user or wrong password"));
        }
        // Read again, so that a credential that was replaced or deleted meanwhile opens nothing.
        let current = users.get(&challenge.user).and_then(|user| user.get(&self.mechanism));
        if current != Some(credential) {
            return Err(Refusal::Credentials(challenge.user.clone(), "the credential changed during the exchange"));
        }
        let bytes = format!("v={}", BASE64_STANDARD.encode(verifier)).into();
        Ok(Step::Done { principal: Principal::user(&challenge.user), bytes, ends_ms: None })
    }
}

enum Refusal {
    Malformed(&'static str),
    Credentials(String, &'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn rfc_7677_example() {
        let mechanism = ScramMechanism::Sha256;
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let salted = mechanism.salted_password(b"pencil", &salt, 4096);
        let credential = ScramCredential::from_salted(mechanism, &salted, salt, 4096);
        let user = Arc::new(User::from([(mechanism, credential)]));
        let users = BTreeMap::from([("user".to_owned(), user)]);
        let exchange =
            ScramExchange { mechanism, server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(), challenge: None };

        let (step, exchange) = exchange.advance(&users, &[0; 32], b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let Step::Continue(challenge) = step else { panic!("a challenge should come, not {step:?}") };
        let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(challenge, expected);

        let answer = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let (step, rest) = exchange.expect("one message is missing").advance(&users, &[0; 32], answer);
        let Step::Done { principal, bytes, .. } = step else { panic!("it should succeed, not {step:?}") };
        assert_eq!(bytes, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(principal, Principal::user("user"));
        assert!(rest.is_none());
    }

    /// PBKDF2-HMAC-SHA-512, as RFC 5802 uses it, against a published vector ("password", "salt", 4096).
    #[test]
    fn sha_512_vector() {
        let salted = ScramMechanism::Sha512.salted_password(b"password", b"salt", 4096);
        let hex: String = salted.iter().take(16).map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, "d197b1b33db0143e018b12f3d1d1479e");
    }

    #[test]
    fn first_messages() {
        let parsed = parse_client_first(b"y,a=a=2Cb,n=a=2Cb,r=xyz,ext=1").expect("valid");
        assert_eq!((parsed.user.as_str(), parsed.nonce, parsed.gs2_header), ("a,b", "xyz", "y,a=a=2Cb,"));
        assert_eq!(parsed.bare, "n=a=2Cb,r=xyz,ext=1");
        let bad: [&[u8]; 14] = [
            b"",
            b"n",
            b"n,",
            b"n,,",
            b"x,,n=u,r=z",
            b"p=tls-unique,,n=u,r=z",
            b"n,,m=ext,n=u,r=z",
            b"n,,n=,r=z",
            b"n,,n=u,r=",
            b"n,,n=u=,r=z",
            b"n,,n=u=2D,r=z",
            b"n,a=v,n=u,r=z",
            b"n,u,n=u,r=z",
            b"n,,n=u,r=z,tokenauth=true",
        ];
        for message in bad {
            assert!(parse_client_first(message).is_err(), "{}", String::from_utf8_lossy(message));
        }
        assert!(parse_client_first(format!("n,,n={},r=z", "u".repeat(MAX_NAME + 1)).as_bytes()).is_err());
        assert!(parse_client_first(format!("n,,n=u,r={}", "z".repeat(MAX_NONCE + 1)).as_bytes()).is_err());
    }

    #[test]
    fn last_messages() {
        let parsed = parse_client_final(b"c=biws,r=xyz,ext=1,p=AAE=").expect("valid");
        assert_eq!((parsed.without_proof, parsed.nonce), ("c=biws,r=xyz,ext=1", "xyz"));
        assert_eq!((parsed.channel_binding, parsed.proof), (b"n,,".to_vec(), vec![0, 1]));
        let bad: [&[u8]; 6] =
            [b"", b"c=biws,r=x", b"r=x,p=AAE=", b"c=biws,p=AAE=", b"c=?,r=x,p=AAE=", b"c=biws,r=x,p=?"];
        for message in bad {
            assert!(parse_client_final(message).is_err(), "{}", String::from_utf8_lossy(message));
        }
    }
}
