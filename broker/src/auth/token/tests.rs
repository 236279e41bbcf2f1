use std::io::Write;

use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use serde_json::json;
use tempfile::NamedTempFile;

use super::*;
use crate::clock::ManualClock;
use crate::limits;

/// A key for these tests alone: ring makes none.
const RSA: &[u8] = include_bytes!("test_rsa.pk8");
const NOW_MS: i64 = 1_700_000_000_000;
const NOW: i64 = NOW_MS / 1000;

fn base64(octets: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(octets)
}

pub(crate) enum Signer {
    Rsa(Box<RsaKeyPair>),
    Ec(&'static EcdsaSigningAlgorithm, EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    fn rsa() -> Self {
        Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(RSA).expect("the key is good")))
    }

    fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        Self::Ec(algorithm, EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).expect("the same key"))
    }

    fn ed() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Self::Ed(Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("the same key"))
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Rsa(key) => {
                let public: PublicKeyComponents<Vec<u8>> = key.public().into();
                json!({"kty": "RSA", "kid": kid, "n": base64(public.n), "e": base64(public.e)})
            }
            Self::Ec(algorithm, key) => {
                let curve = if *algorithm == &ECDSA_P256_SHA256_FIXED_SIGNING { "P-256" } else { "P-384" };
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "kid": kid, "x": base64(x), "y": base64(y)})
            }
            Self::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64(key.public_key().as_ref())})
            }
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let encoding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(encoding, &random, message, &mut signature).expect("a signature");
                signature
            }
            Self::Ec(_, key) => key.sign(&random, message).expect("a signature").as_ref().to_vec(),
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.sign(header["alg"].as_str().unwrap_or_default(), signed.as_bytes());
        format!("{signed}.{}", base64(signature))
    }

    /// A token of key `k` with these claims changed.
    pub(crate) fn with(&self, changes: Value) -> String {
        let mut claims = claims();
        for (name, value) in changes.as_object().expect("an object") {
            match value {
                Value::Null => drop(claims.remove(name)),
                value => drop(claims.insert(name.clone(), value.clone())),
            }
        }
        self.token(&json!({"alg": "ES256", "kid": "k"}), &Value::Object(claims))
    }
}

fn claims() -> Map<String, Value> {
    let claims = json!({
        "iss": "https://issuer", "aud": ["other", "lockgate"], "sub": "app", "scope": "openid kafka",
        "exp": NOW + 60, "nbf": NOW - 60, "iat": NOW - 60,
    });
    claims.as_object().expect("an object").clone()
}

pub(crate) struct Scene {
    file: NamedTempFile,
    clock: Arc<ManualClock>,
    pub(crate) verifier: Arc<TokenVerifier>,
}

impl Scene {
    async fn with(jwks: Value) -> Self {
        let mut file = NamedTempFile::new().expect("a temporary file");
        file.write_all(jwks.to_string().as_bytes()).expect("written");
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let settings = OauthBearer {
            jwks: Some(file.path().display().to_string()),
            issuer: Some("https://issuer".to_owned()),
            audiences: vec!["lockgate".to_owned()],
            scopes: vec!["kafka".to_owned()],
            clock_skew_seconds: 10,
            keep_seconds: 3600,
            ..OauthBearer::default()
        };
        let verifier = TokenVerifier::open(&settings, clock.clone()).await.expect("the file can be used");
        Self { file, clock, verifier }
    }

    fn publish(&self, jwks: &Value) {
        std::fs::write(self.file.path(), jwks.to_string()).expect("written");
    }

    async fn reason(&self, token: &str) -> &'static str {
        self.verifier.verify(token).await.expect_err("the token was accepted").reason
    }
}

fn set(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}

pub(crate) async fn es256() -> (Signer, Scene) {
    let signer = Signer::ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let scene = Scene::with(set(&[signer.jwk("k")])).await;
    (signer, scene)
}

#[tokio::test]
async fn every_algorithm_verifies_its_own_signatures_and_no_changed_ones() {
    let signers = [
        (Signer::rsa(), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (Signer::ec(&ECDSA_P256_SHA256_FIXED_SIGNING), &["ES256"]),
        (Signer::ec(&ECDSA_P384_SHA384_FIXED_SIGNING), &["ES384"]),
        (Signer::ed(), &["EdDSA"]),
    ];
    let keys: Vec<Value> = signers.iter().enumerate().map(|(at, (signer, _))| signer.jwk(&at.to_string())).collect();
    let scene = Scene::with(set(&keys)).await;
    for (at, (signer, algorithms)) in signers.iter().enumerate() {
        for algorithm in *algorithms {
            for header in [json!({"alg": algorithm, "kid": at.to_string()}), json!({"alg": algorithm})] {
                let token = signer.token(&header, &Value::Object(claims()));
                let verified =
                    scene.verifier.verify(&token).await.unwrap_or_else(|error| panic!("{header}: {error:?}"));
                assert_eq!(verified, Verified { principal: Principal::user("app"), ends_ms: (NOW + 60) * 1000 });
                let (signed, signature) = token.rsplit_once('.').expect("a signature");
                let (head, _) = signed.split_once('.').expect("claims");
                let mut other = claims();
                other.insert("sub".to_owned(), json!("admin"));
                let forged = format!("{head}.{}.{signature}", base64(Value::Object(other).to_string()));
                assert_eq!(scene.reason(&forged).await, "the token's signature is not its issuer's", "{header}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_cannot_choose_how_it_is_checked() {
    let signer = Signer::rsa();
    let scene = Scene::with(set(&[signer.jwk("k")])).await;
    let good = signer.token(&json!({"alg": "RS256", "kid": "k"}), &Value::Object(claims()));
    assert!(scene.verifier.verify(&good).await.is_ok());
    // The classic: an HMAC with the public key's octets as the secret, or no signature at all.
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(signer.jwk("k")["n"].as_str().expect("n")).expect("base64");
    for algorithm in ["HS256", "HS384", "HS512", "none", "None", "NONE", "rs256", "ES256K", "RSA-OAEP", ""] {
        let header = base64(json!({"alg": algorithm, "kid": "k"}).to_string());
        let signed = format!("{header}.{}", base64(Value::Object(claims()).to_string()));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &modulus);
        let mac = base64(ring::hmac::sign(&key, signed.as_bytes()));
        for signature in [mac.as_str(), ""] {
            let reason = scene.reason(&format!("{signed}.{signature}")).await;
            assert_eq!(reason, "the token's algorithm is not one that is accepted", "{algorithm}");
        }
    }
    // An algorithm of another key type finds no key.
    let confused = signer.token(&json!({"alg": "ES256", "kid": "k"}), &Value::Object(claims()));
    assert_eq!(scene.reason(&confused).await, "no known key of the issuer fits the token");
    // A key that its issuer uses for one algorithm verifies no other.
    let mut only = signer.jwk("k");
    only["alg"] = json!("PS256");
    let scene = Scene::with(set(&[only])).await;
    assert_eq!(scene.reason(&good).await, "no known key of the issuer fits the token");
    let right = signer.token(&json!({"alg": "PS256", "kid": "k"}), &Value::Object(claims()));
    assert!(scene.verifier.verify(&right).await.is_ok());
}

#[tokio::test]
async fn a_key_in_the_header_counts_for_nothing() {
    let (_, scene) = es256().await;
    let mallory = Signer::ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let header = json!({"alg": "ES256", "kid": "k", "jwk": mallory.jwk("k"), "jku": "https://mallory/keys"});
    let token = mallory.token(&header, &Value::Object(claims()));
    assert_eq!(scene.reason(&token).await, "the token's signature is not its issuer's");
    let critical = mallory.token(&json!({"alg": "ES256", "crit": ["b64"], "b64": false}), &Value::Object(claims()));
    assert_eq!(scene.reason(&critical).await, "the token has critical extensions, and none are known");
}

#[tokio::test]
async fn claims_are_judged() {
    let (signer, scene) = es256().await;
    let too_long = "x".repeat(1025);
    for (changes, reason) in [
        (json!({"exp": null}), "the token has no expiry"),
        (json!({"exp": "soon"}), "the token has a time that is no number"),
        (json!({"exp": NOW - 10}), "the token has expired"),
        (json!({"nbf": NOW + 11}), "the token is not valid yet"),
        (json!({"iat": NOW + 11}), "the token was issued in the future"),
        (json!({"iss": null}), "the token is from another issuer"),
        (json!({"iss": "https://issuer/"}), "the token is from another issuer"),
        (json!({"iss": ["https://issuer"]}), "the token is from another issuer"),
        (json!({"aud": null}), "the token is for another audience"),
        (json!({"aud": "lockgate2"}), "the token is for another audience"),
        (json!({"aud": []}), "the token is for another audience"),
        (json!({"sub": null}), "the token does not have the claim that names the principal"),
        (json!({"sub": 7}), "the token does not have the claim that names the principal"),
        (json!({"sub": ""}), "the principal's name is empty or too long"),
        (json!({"sub": too_long}), "the principal's name is empty or too long"),
        (json!({"sub": "a\nb"}), "the principal's name has control characters"),
        (json!({"sub": "*"}), "the principal's name is one that has a meaning of its own"),
        (json!({"sub": "ANONYMOUS"}), "the principal's name is one that has a meaning of its own"),
        (json!({"scope": null}), "the token does not have the scopes that are needed"),
        (json!({"scope": "kafkaesque"}), "the token does not have the scopes that are needed"),
        (json!({"scope": ["openid"]}), "the token does not have the scopes that are needed"),
    ] {
        let refused = scene.verifier.verify(&signer.with(changes.clone())).await.expect_err("accepted");
        assert_eq!(refused.reason, reason, "{changes}");
        assert_eq!(refused.scope, reason.contains("scopes"), "{changes}");
        if changes.get("sub").is_none() {
            assert_eq!(refused.claimed.as_deref(), Some("app"), "a verified name belongs into the audit log");
        }
    }
    for changes in [
        json!({"aud": "lockgate"}),
        json!({"scope": ["kafka"]}),
        json!({"nbf": null, "iat": null}),
        json!({"exp": NOW as f64 + 60.5}),
        json!({"exp": 1e300}),
        json!({"sub": "a:b, c=é"}),
    ] {
        assert!(scene.verifier.verify(&signer.with(changes.clone())).await.is_ok(), "{changes}");
    }
}

#[tokio::test]
async fn clocks_may_be_apart_by_the_skew() {
    let (signer, scene) = es256().await;
    let late = scene.verifier.verify(&signer.with(json!({"exp": NOW - 9}))).await.expect("within the skew");
    assert_eq!(late.ends_ms, NOW_MS + 1000, "it lasts as long as the skew lets it");
    for changes in [json!({"nbf": NOW + 10}), json!({"iat": NOW + 10})] {
        assert!(scene.verifier.verify(&signer.with(changes.clone())).await.is_ok(), "{changes}");
    }
    let token = signer.with(json!({}));
    scene.clock.advance(69_999);
    assert!(scene.verifier.verify(&token).await.is_ok());
    scene.clock.advance(1);
    assert_eq!(scene.reason(&token).await, "the token has expired");
}

#[tokio::test]
async fn keys_rotate_and_unknown_ones_do_not_make_us_ask_all_the_time() {
    let (old, scene) = es256().await;
    let new = Signer::ec(&ECDSA_P256_SHA256_FIXED_SIGNING);
    let token = new.token(&json!({"alg": "ES256", "kid": "new"}), &Value::Object(claims()));
    let fits_none = "no known key of the issuer fits the token";
    scene.publish(&set(&[old.jwk("k"), new.jwk("new")]));
    assert_eq!(scene.reason(&token).await, fits_none, "the keys were read a moment ago");
    scene.clock.advance(limits::JWKS_PAUSE_MS as i64);
    assert!(scene.verifier.verify(&token).await.is_ok(), "an unknown key makes us ask");

    scene.publish(&set(&[new.jwk("new")]));
    assert!(scene.verifier.verify(&old.with(json!({}))).await.is_ok(), "a known key needs no question");
    scene.clock.advance(limits::JWKS_PAUSE_MS as i64);
    let unknown = new.token(&json!({"alg": "ES256", "kid": "made up"}), &Value::Object(claims()));
    assert_eq!(scene.reason(&unknown).await, fits_none);
    assert_eq!(scene.reason(&old.with(json!({}))).await, fits_none, "a key that was withdrawn opens nothing");
    // A key of the same name with other octets is another key.
    scene.publish(&set(&[old.jwk("new")]));
    scene.clock.advance(limits::JWKS_PAUSE_MS as i64);
    assert_eq!(scene.reason(&unknown).await, fits_none);
    assert_eq!(scene.reason(&token).await, "the token's signature is not its issuer's");
}

#[tokio::test]
async fn known_keys_serve_for_a_time_when_they_cannot_be_read_again() {
    let (signer, scene) = es256().await;
    let token = signer.with(json!({"exp": NOW + 10_000}));
    std::fs::write(scene.file.path(), "an error page").expect("written");
    scene.clock.advance(3_600_000);
    assert!(scene.verifier.verify(&token).await.is_ok());
    assert_eq!(scene.verifier.keys.read_ms(), Some(NOW_MS));
    scene.clock.advance(1);
    assert_eq!(scene.reason(&token).await, "no known key of the issuer fits the token");
    scene.publish(&set(&[signer.jwk("k")]));
    scene.clock.advance(limits::JWKS_PAUSE_MS as i64);
    assert!(scene.verifier.verify(&token).await.is_ok(), "and they serve again when they can be read");
}

#[test]
fn key_sets_pass_over_what_cannot_verify() {
    let (rsa, ec) = (Signer::rsa(), Signer::ec(&ECDSA_P256_SHA256_FIXED_SIGNING));
    let changed = |jwk: Value, name: &str, value: Value| {
        let mut jwk = jwk;
        jwk[name] = value;
        jwk
    };
    let useless = [
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k"}),
        json!({"kty": "RSA", "kid": "k", "n": base64([0xff; 128]), "e": "AQAB"}),
        json!("no object"),
        changed(rsa.jwk("k"), "use", json!("enc")),
        changed(rsa.jwk("k"), "alg", json!("RSA-OAEP")),
        changed(rsa.jwk("k"), "key_ops", json!(["encrypt"])),
        changed(ec.jwk("k"), "crv", json!("secp256k1")),
        changed(ec.jwk("k"), "x", json!("AAAA")),
        changed(ec.jwk("k"), "y", Value::Null),
        changed(Signer::ed().jwk("k"), "crv", json!("X25519")),
    ];
    let parse = |keys: &[Value]| KeySet::parse(set(keys).to_string().as_bytes());
    for key in &useless {
        assert_eq!(parse(std::slice::from_ref(key)), Err(jwk::JwksError::Useless), "{key}");
    }
    let mixed: Vec<Value> = useless.into_iter().chain([ec.jwk("k")]).collect();
    assert_eq!(parse(&mixed).map(|keys| keys.len()), Ok(1));
    assert_eq!(parse(&vec![ec.jwk("k"); limits::JWKS_KEYS + 1]), Err(jwk::JwksError::TooMany));
    assert_eq!(KeySet::parse(&vec![b' '; limits::JWKS_BYTES + 1]), Err(jwk::JwksError::TooLong));
    for json in ["", "[]", "{}", "{\"keys\": 1}", "{\"keys\": []}"] {
        assert!(KeySet::parse(json.as_bytes()).is_err(), "{json}");
    }
}

#[tokio::test]
async fn places_that_cannot_be_used_are_named() {
    let open = async |jwks: &str| {
        let settings = OauthBearer { jwks: Some(jwks.to_owned()), ..OauthBearer::default() };
        let opened = TokenVerifier::open(&settings, Arc::new(ManualClock::at(NOW_MS))).await;
        opened.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(open("/no/such/keys.json").await.starts_with("cannot read /no/such/keys.json"));
    let file = NamedTempFile::new().expect("a temporary file");
    let path = file.path().display().to_string();
    assert!(open(&path).await.starts_with(&format!("what {path} holds cannot be used: it is not a JSON Web Key Set")));
    assert_eq!(open("https://127.0.0.1:1/keys").await, "", "an endpoint that is down may come later");

    assert_eq!(url_problem("https://issuer/keys"), None);
    for loopback in ["http://localhost:1/", "http://127.0.0.1/", "http://[::1]:2/"] {
        assert_eq!(url_problem(loopback), None, "{loopback}");
    }
    for bad in ["http://issuer/keys", "https://", "https://user:secret@issuer/", "http://127.0.0.1.example/"] {
        assert!(url_problem(bad).is_some(), "{bad}");
    }
}

#[tokio::test]
async fn hostile_tokens_are_refused_and_do_no_harm() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let (signer, scene) = es256().await;
    let good = signer.with(json!({}));
    for token in ["", ".", "..", "...", "a.b.c", "a.b.c.d", "e30.e30.", &good.replace('.', ""), &format!("{good}.x")] {
        scene.reason(token).await;
    }
    let mut random = StdRng::seed_from_u64(11);
    for _ in 0..500 {
        let mut octets = good.clone().into_bytes();
        let at = random.random_range(0..octets.len());
        let old = octets[at];
        octets[at] = b"aZ0_-.="[random.random_range(0..7)];
        if octets[at] == old {
            continue;
        }
        let token = String::from_utf8(octets).expect("ASCII");
        // The last character of base64 has bits that do not count; decoding refuses those that are set.
        assert!(scene.verifier.verify(&token).await.is_err(), "{token}");
    }
}
