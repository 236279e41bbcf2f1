use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use super::*;
use crate::auth::token::tests::{Signer, es256};
use crate::catalog::memory_log::MemoryLog;
use crate::catalog::{CatalogRecord, ScramCredential};

/// Few, since these passwords protect nothing.
const ITERATIONS: u32 = 64;

async fn set(catalog: &Catalog, user: &str, mechanism: ScramMechanism, password: &str) {
    let credential = ScramCredential::from_password(mechanism, password, ITERATIONS);
    let record = CatalogRecord::UserCredential { user: user.to_owned(), mechanism, credential };
    catalog.change::<(), ()>(|_| Ok((vec![record], ()))).await.expect("the log is in memory");
}

async fn authenticator(users: &[(&str, &str)]) -> (Arc<Authenticator>, Arc<Catalog>) {
    let catalog = Catalog::load(Box::new(MemoryLog::default())).await.expect("an empty log");
    for (user, password) in users {
        set(&catalog, user, ScramMechanism::Sha256, password).await;
        set(&catalog, user, ScramMechanism::Sha512, password).await;
    }
    (Authenticator::new(catalog.clone(), None), catalog)
}

fn all() -> Arc<[SaslMechanism]> {
    [SaslMechanism::ScramSha512, SaslMechanism::ScramSha256, SaslMechanism::Plain].into()
}

fn chosen(shared: &Arc<Authenticator>, mechanism: &str) -> SaslSession {
    let mut session = shared.session(all());
    session.handshake(mechanism).expect("the mechanism is offered");
    session
}

/// A client of its own, so that the server is not tested against itself.
struct Client {
    mechanism: ScramMechanism,
    bare: String,
    salted: Vec<u8>,
    proven: String,
}

impl Client {
    fn new(mechanism: ScramMechanism, user: &str) -> Self {
        let name = user.replace('=', "=3D").replace(',', "=2C");
        Self { mechanism, bare: format!("n={name},r=clientnonce"), salted: Vec::new(), proven: String::new() }
    }

    fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    fn last(&mut self, server_first: &[u8], password: &str) -> String {
        let text = std::str::from_utf8(server_first).expect("text");
        let mut parts = text.split(',').map(|part| &part[2..]);
        let (nonce, salt, iterations) = (parts.next(), parts.next(), parts.next());
        let nonce = nonce.expect("a nonce");
        assert!(nonce.starts_with("clientnonce") && nonce.len() > "clientnonce".len());
        let salt = BASE64_STANDARD.decode(salt.expect("a salt")).expect("base64");
        let iterations = iterations.expect("iterations").parse().expect("a number");
        self.salted = self.mechanism.salted_password(password.as_bytes(), &salt, iterations);
        let without_proof = format!("c=biws,r={nonce}");
        self.proven = format!("{},{text},{without_proof}", self.bare);
        let client_key = self.mechanism.hmac(&self.salted, b"Client Key");
        let stored_key = match self.mechanism {
            ScramMechanism::Sha256 => Sha256::digest(&client_key).to_vec(),
            ScramMechanism::Sha512 => Sha512::digest(&client_key).to_vec(),
        };
        let signature = self.mechanism.hmac(&stored_key, self.proven.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, octet)| key ^ octet).collect();
        format!("{without_proof},p={}", BASE64_STANDARD.encode(proof))
    }

    fn server_proof(&self) -> String {
        let server_key = self.mechanism.hmac(&self.salted, b"Server Key");
        format!("v={}", BASE64_STANDARD.encode(self.mechanism.hmac(&server_key, self.proven.as_bytes())))
    }
}

async fn challenge(session: &mut SaslSession, message: &str) -> Bytes {
    match session.authenticate(message.as_bytes()).await {
        Step::Continue(bytes) => bytes,
        other => panic!("a challenge should come, not {other:?}"),
    }
}

async fn failure(session: &mut SaslSession, message: &[u8]) -> Failure {
    match session.authenticate(message).await {
        Step::Failed(failure) => failure,
        other => panic!("this should fail, not {other:?}"),
    }
}

async fn log_in(shared: &Arc<Authenticator>, mechanism: ScramMechanism, user: &str, password: &str) -> Step {
    let mut session = chosen(shared, mechanism_name(mechanism.sasl()));
    let mut client = Client::new(mechanism, user);
    let server_first = challenge(&mut session, &client.first()).await;
    let step = session.authenticate(client.last(&server_first, password).as_bytes()).await;
    if let Step::Done { bytes, .. } = &step {
        assert_eq!(bytes, client.server_proof().as_bytes(), "the server proves itself too");
    }
    step
}

#[tokio::test]
async fn scram_lets_the_right_password_in_and_no_other() {
    let user = "al=i,ce é";
    let (shared, _) = authenticator(&[(user, "pencil")]).await;
    for mechanism in [ScramMechanism::Sha256, ScramMechanism::Sha512] {
        let step = log_in(&shared, mechanism, user, "pencil").await;
        assert!(matches!(&step, Step::Done { principal, .. } if *principal == Principal::user(user)), "{step:?}");
        let wrong = log_in(&shared, mechanism, user, "pencils").await;
        assert!(matches!(&wrong, Step::Failed(failure) if failure.error == ResponseError::SaslAuthenticationFailed));
    }
}

#[tokio::test]
async fn an_unknown_user_looks_like_one_with_another_password() {
    let (shared, _) = authenticator(&[("alice", "pencil")]).await;
    let mut challenges = Vec::new();
    for _ in 0..2 {
        let mut session = chosen(&shared, "SCRAM-SHA-512");
        let first = challenge(&mut session, &Client::new(ScramMechanism::Sha512, "nobody").first()).await;
        let text = String::from_utf8(first.to_vec()).expect("text");
        challenges.push(text.split_once(",s=").expect("a salt").1.to_owned());
    }
    assert_eq!(challenges[0], challenges[1], "a salt that changes would give an unknown user away");
    assert_eq!(
        BASE64_STANDARD.decode(challenges[0].split_once(',').expect("iterations").0).map(|salt| salt.len()),
        Ok(SALT_OCTETS)
    );

    let unknown = log_in(&shared, ScramMechanism::Sha512, "nobody", "pencil").await;
    let wrong = log_in(&shared, ScramMechanism::Sha512, "alice", "wrong").await;
    let (Step::Failed(unknown), Step::Failed(wrong)) = (unknown, wrong) else { panic!("both must fail") };
    assert_eq!((unknown.error, unknown.message, unknown.reason), (wrong.error, wrong.message, wrong.reason));
    assert_eq!(unknown.claimed.as_deref(), Some("nobody"));
}

#[tokio::test]
async fn a_credential_deleted_during_the_exchange_opens_nothing() {
    let (shared, catalog) = authenticator(&[("alice", "pencil")]).await;
    let mut session = chosen(&shared, "SCRAM-SHA-256");
    let mut client = Client::new(ScramMechanism::Sha256, "alice");
    let server_first = challenge(&mut session, &client.first()).await;
    let gone = CatalogRecord::UserCredentialDeleted { user: "alice".to_owned(), mechanism: ScramMechanism::Sha256 };
    catalog.change::<(), ()>(|_| Ok((vec![gone], ()))).await.expect("the log is in memory");
    failure(&mut session, client.last(&server_first, "pencil").as_bytes()).await;
}

#[tokio::test]
async fn a_changed_nonce_or_binding_or_a_replayed_answer_fails() {
    let (shared, _) = authenticator(&[("alice", "pencil")]).await;
    for (from, to) in [("r=clientnonce", "r=xlientnonce"), ("c=biws", "c=eSws")] {
        let mut session = chosen(&shared, "SCRAM-SHA-256");
        let mut client = Client::new(ScramMechanism::Sha256, "alice");
        let server_first = challenge(&mut session, &client.first()).await;
        let last = client.last(&server_first, "pencil").replace(from, to);
        failure(&mut session, last.as_bytes()).await;
    }
    let mut session = chosen(&shared, "SCRAM-SHA-256");
    let mut client = Client::new(ScramMechanism::Sha256, "alice");
    let server_first = challenge(&mut session, &client.first()).await;
    let last = client.last(&server_first, "pencil");
    assert!(matches!(session.authenticate(last.as_bytes()).await, Step::Done { .. }));
    let mut second = chosen(&shared, "SCRAM-SHA-256");
    challenge(&mut second, &client.first()).await;
    failure(&mut second, last.as_bytes()).await;
}

#[tokio::test]
async fn steps_out_of_order_are_illegal() {
    let (shared, _) = authenticator(&[("alice", "pencil")]).await;
    let mut session = shared.session(all());
    assert_eq!(failure(&mut session, b"\0alice\0pencil").await.error, ResponseError::IllegalSaslState);

    let mut session = chosen(&shared, "PLAIN");
    assert_eq!(session.handshake("PLAIN"), Err(ResponseError::IllegalSaslState));
    assert!(matches!(session.authenticate(b"\0alice\0pencil").await, Step::Done { .. }));
    assert_eq!(failure(&mut session, b"\0alice\0pencil").await.error, ResponseError::IllegalSaslState);
}

#[tokio::test]
async fn only_offered_mechanisms_can_be_chosen() {
    let (shared, _) = authenticator(&[]).await;
    let mut session = shared.session([SaslMechanism::ScramSha512].into());
    assert_eq!(session.handshake("PLAIN"), Err(ResponseError::UnsupportedSaslMechanism));
    assert_eq!(session.handshake("scram-sha-512"), Err(ResponseError::UnsupportedSaslMechanism));
    assert_eq!(session.mechanisms().collect::<Vec<_>>(), ["SCRAM-SHA-512"]);
    assert_eq!(session.handshake("SCRAM-SHA-512"), Ok(()));
}

#[tokio::test]
async fn plain_checks_the_password_and_follows_its_changes() {
    let (shared, catalog) = authenticator(&[("alice", "pencil")]).await;
    for _ in 0..2 {
        let mut session = chosen(&shared, "PLAIN");
        let step = session.authenticate(b"\0alice\0pencil").await;
        assert!(matches!(&step, Step::Done { principal, .. } if *principal == Principal::user("alice")), "{step:?}");
    }
    for wrong in [&b"\0alice\0pen"[..], b"\0nobody\0pencil", b"\0alice\0pencilx"] {
        let failed = failure(&mut chosen(&shared, "PLAIN"), wrong).await;
        assert_eq!(failed.error, ResponseError::SaslAuthenticationFailed);
    }
    set(&catalog, "alice", ScramMechanism::Sha512, "crayon").await;
    failure(&mut chosen(&shared, "PLAIN"), b"\0alice\0pencil").await;
    let step = chosen(&shared, "PLAIN").authenticate(b"\0alice\0crayon").await;
    assert!(matches!(step, Step::Done { .. }));
}

#[tokio::test]
async fn hostile_messages_fail_and_do_no_harm() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let (shared, _) = authenticator(&[]).await;
    let mut random = StdRng::seed_from_u64(7);
    let pieces = [
        "n,",
        "y,",
        "p=tls,",
        "a=",
        "n=",
        "r=",
        ",",
        "=",
        "=2C",
        "é",
        "\0",
        "c=biws",
        ",p=",
        "v=",
        "tokenauth=true",
        "\u{1}",
        "auth=Bearer ",
    ];
    for _ in 0..2_000 {
        let mut message: Vec<u8> = Vec::new();
        for _ in 0..random.random_range(0..8) {
            message.extend_from_slice(pieces[random.random_range(0..pieces.len())].as_bytes());
        }
        if random.random_bool(0.3) {
            message.push(random.random());
        }
        let _ = scram::parse_client_first(&message);
        let _ = scram::parse_client_final(&message);
        let _ = plain::parse(&message);
        let _ = oauthbearer::parse(&message);
    }
    let huge = vec![b'a'; MAX_MESSAGE + 1];
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        failure(&mut chosen(&shared, mechanism), &huge).await;
        failure(&mut chosen(&shared, mechanism), b"").await;
        failure(&mut chosen(&shared, mechanism), b"\xff\xff").await;
    }
}

#[test]
fn plain_needs_tls_or_has_to_be_asked_for() {
    let names = |tls, by_name| offered(&all(), tls, by_name).iter().copied().map(mechanism_name).collect::<Vec<_>>();
    assert_eq!(names(true, false), ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]);
    assert_eq!(names(false, true), ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]);
    assert_eq!(names(false, false), ["SCRAM-SHA-512", "SCRAM-SHA-256"]);
}

/// An authenticator that takes tokens, and who signs them.
async fn with_tokens() -> (Arc<Authenticator>, Signer) {
    let (signer, scene) = es256().await;
    let catalog = Catalog::load(Box::new(MemoryLog::default())).await.expect("an empty log");
    (Authenticator::new(catalog, Some(scene.verifier.clone())), signer)
}

fn bearer(shared: &Arc<Authenticator>) -> SaslSession {
    let mut session = shared.session([SaslMechanism::OauthBearer].into());
    session.handshake("OAUTHBEARER").expect("the mechanism is offered");
    session
}

fn first(authzid: &str, token: &str) -> Vec<u8> {
    format!("n,{authzid},\u{1}auth=Bearer {token}\u{1}traceId=7\u{1}\u{1}").into_bytes()
}

#[tokio::test]
async fn a_token_lets_its_principal_in_until_it_ends() {
    let (shared, signer) = with_tokens().await;
    let token = signer.with(json!({}));
    for authzid in ["", "a=app"] {
        let step = bearer(&shared).authenticate(&first(authzid, &token)).await;
        let Step::Done { principal, bytes, ends_ms } = step else { panic!("refused: {step:?}") };
        assert_eq!((principal, bytes.is_empty()), (Principal::user("app"), true));
        assert!(ends_ms.is_some());
    }
    // The identity of somebody else cannot be taken on, and there is no second chance.
    let mut session = bearer(&shared);
    let refused = failure(&mut session, &first("a=admin", &token)).await;
    assert_eq!(refused.error, ResponseError::SaslAuthenticationFailed);
    assert_eq!(refused.claimed.as_deref(), Some("app"));
    assert_eq!(failure(&mut session, &first("", &token)).await.error, ResponseError::IllegalSaslState);
}

#[tokio::test]
async fn a_refused_token_is_answered_with_an_error_that_the_client_acknowledges() {
    let (shared, signer) = with_tokens().await;
    for (changes, status) in [
        (json!({"exp": 1}), json!({"status": "invalid_token"})),
        (json!({"scope": "openid"}), json!({"status": "insufficient_scope", "scope": "kafka"})),
    ] {
        let token = signer.with(changes);
        // Whatever comes instead of the acknowledgement, another token too, changes nothing.
        for second in [b"\x01".to_vec(), Vec::new(), first("", &signer.with(json!({})))] {
            let mut session = bearer(&shared);
            let step = session.authenticate(&first("", &token)).await;
            let Step::Rejected { challenge, failure: found } = step else { panic!("not rejected: {step:?}") };
            assert_eq!(serde_json::from_slice::<Value>(&challenge).expect("JSON"), status);
            assert!(found.reason.is_some(), "it is audited at once");
            let told = failure(&mut session, &second).await;
            assert_eq!((told.error, told.reason), (ResponseError::SaslAuthenticationFailed, None));
            assert_eq!(told.message.as_bytes(), &challenge[..]);
            assert_eq!(failure(&mut session, b"\x01").await.error, ResponseError::IllegalSaslState);
        }
    }
}

#[tokio::test]
async fn no_failure_repeats_a_token() {
    let (shared, signer) = with_tokens().await;
    let good = signer.with(json!({}));
    let messages = [
        first("", &signer.with(json!({"iss": "https://elsewhere"}))),
        first("", &format!("{good}x")),
        first("a=admin", &good),
        format!("n,,\u{1}auth=Basic {good}\u{1}\u{1}").into_bytes(),
        format!("n,,\u{1}auth=Bearer {good}").into_bytes(),
        first("", &"x".repeat(MAX_MESSAGE)),
    ];
    for message in messages {
        let shown = format!("{:?}", bearer(&shared).authenticate(&message).await);
        let piece = &good.rsplit_once('.').expect("a signature").1[..12];
        assert!(!shown.contains(piece) && !shown.contains(&good[..12]) && !shown.contains("xxxx"), "{shown}");
    }
}

#[tokio::test]
async fn without_an_issuer_no_token_is_taken() {
    let (shared, _) = authenticator(&[]).await;
    let refused = failure(&mut bearer(&shared), &first("", "a.b.c")).await;
    assert_eq!(refused.error, ResponseError::IllegalSaslState);
}
