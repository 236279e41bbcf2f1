//! The keys of a token issuer: a JSON Web Key Set (RFC 7517) and the signatures that its keys verify (RFC 7518, RFC 8037).
//!
//! A key verifies only what its type is made for, so that a token cannot choose how it is checked.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::limits;

/// Octets of an RSA modulus: ring verifies 2048 to 8192 bits.
const RSA_MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum JwksError {
    #[error("it is longer than {} bytes", limits::JWKS_BYTES)]
    TooLong,
    #[error("it is not a JSON Web Key Set: {0}")]
    Json(String),
    #[error("it holds more than {} keys", limits::JWKS_KEYS)]
    TooMany,
    #[error("it holds no key that can verify a signature (RSA of 2048 bits or more, P-256, P-384 or Ed25519)")]
    Useless,
}

/// Algorithms of public keys. `none` and those with a shared secret (HS256, …) are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// By its name in a token's header, which is exact.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 | Self::Es384 | Self::EdDsa => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Public {
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    id: Option<String>,
    /// The only algorithm that the issuer uses it for, if it says.
    only: Option<Algorithm>,
    public: Public,
}

impl Key {
    /// Whether the key is made for the algorithm.
    fn fits(&self, algorithm: Algorithm) -> bool {
        let made_for = match &self.public {
            Public::Rsa { .. } => algorithm.rsa().is_some(),
            Public::P256(_) => algorithm == Algorithm::Es256,
            Public::P384(_) => algorithm == Algorithm::Es384,
            Public::Ed25519(_) => algorithm == Algorithm::EdDsa,
        };
        made_for && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether the signature over the message is this key's.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let verified = match &self.public {
            Public::Rsa { n, e } => {
                let Some(parameters) = algorithm.rsa() else { return false };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            Public::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Public::P384(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            Public::Ed25519(point) => UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signature),
        };
        verified.is_ok()
    }
}

/// The keys that an issuer publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// Reads a key set. Keys of other types or for other uses are passed over: issuers publish those in the same set.
    pub fn parse(json: &[u8]) -> Result<Self, JwksError> {
        if json.len() > limits::JWKS_BYTES {
            return Err(JwksError::TooLong);
        }
        let set: Jwks = serde_json::from_slice(json).map_err(|error| JwksError::Json(error.to_string()))?;
        if set.keys.len() > limits::JWKS_KEYS {
            return Err(JwksError::TooMany);
        }
        let keys: Vec<Key> =
            set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok()?.usable()).collect();
        if keys.is_empty() { Err(JwksError::Useless) } else { Ok(Self(keys)) }
    }

    /// Keys that may have made a signature. A token that names its key gets that key alone.
    pub fn candidates<'a>(&'a self, id: Option<&'a str>, algorithm: Algorithm) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| id.is_none_or(|id| key.id.as_deref() == Some(id)) && key.fits(algorithm))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<Value>,
}

/// The members of RFC 7517 and RFC 7518 that matter.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwk {
    fn usable(self) -> Option<Key> {
        let signs = self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !signs {
            return None;
        }
        // An algorithm that we do not take makes the key unusable, not free for others.
        let only = match self.alg.as_deref() {
            Some(name) => Some(Algorithm::parse(name)?),
            None => None,
        };
        let public = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (number(self.n.as_deref()?)?, number(self.e.as_deref()?)?);
                RSA_MODULUS.contains(&n.len()).then_some(Public::Rsa { n, e })?
            }
            ("EC", Some("P-256")) => Public::P256(point(self.x.as_deref()?, self.y.as_deref()?, 32)?),
            ("EC", Some("P-384")) => Public::P384(point(self.x.as_deref()?, self.y.as_deref()?, 48)?),
            ("OKP", Some("Ed25519")) => Public::Ed25519(octets(self.x.as_deref()?, 32)?),
            _ => return None,
        };
        Some(Key { id: self.kid, only, public })
    }
}

fn number(text: &str) -> Option<Vec<u8>> {
    let octets = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    Some(octets[zeros..].to_vec())
}

fn octets(text: &str, length: usize) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok().filter(|octets| octets.len() == length)
}

/// As SEC 1 writes an uncompressed point; whether it lies on the curve is checked with each signature.
fn point(x: &str, y: &str, length: usize) -> Option<Vec<u8>> {
    Some([vec![4], octets(x, length)?, octets(y, length)?].concat())
}
