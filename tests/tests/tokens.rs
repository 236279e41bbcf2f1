//! Logging in with tokens, authenticating again on an open connection, and client certificates in front of SASL.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    MetadataRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use kafka_protocol::protocol::StrBytes;
use lockgate_client::admin::{AclOperation, AclResourceType, ScramMechanism};
use lockgate_tests::authority::Authority;
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::issuer::{Issuer, now};
use lockgate_tests::operator::Operator;
use lockgate_tests::program::{Surroundings, installed, run, workspace};
use lockgate_tests::wire::{Connection, Login, tls_config};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};

/// How long the tokens of foreign clients live. librdkafka fetches the next one at four fifths of a token's life, give or
/// take a second, and authenticates again at nine tenths of its session's: in between there has to be time for it.
const TOKEN_SECONDS: i64 = 20;
/// How long foreign clients produce: the tokens of two renewals and a half.
const PRODUCE_SECONDS: i64 = 45;
const PATIENCE: Duration = Duration::from_secs(20);

struct Scene {
    broker: Broker,
    issuer: Issuer,
}

impl Scene {
    fn set(top: &[&str]) -> Result<Self> {
        let issuer = Issuer::start()?;
        let options = Options {
            top: top.iter().map(|line| line.to_string()).collect(),
            listener: vec!["mechanisms = [\"OAUTHBEARER\", \"SCRAM-SHA-512\", \"SCRAM-SHA-256\"]".to_owned()],
            tables: issuer.settings(),
            ..Options::default()
        };
        Ok(Self { broker: Broker::start(&options)?, issuer })
    }

    fn connect(&self) -> Result<Connection> {
        Connection::tls(self.broker.address(), tls_config(&self.broker.ca_path())?)
    }

    /// A connection that a token opened, and how long its session lasts (milliseconds).
    fn login(&self, token: &str) -> Result<(Connection, i64)> {
        let mut connection = self.connect()?;
        let answer = bearer(&mut connection, token)?;
        ensure!(answer.error_code == 0, "{:?}", answer.error_message);
        ensure!(answer.auth_bytes.is_empty(), "refused: {:?}", answer.auth_bytes);
        Ok((connection, answer.session_lifetime_ms))
    }

    fn audited(&self, parts: &[&str]) -> Result<()> {
        lockgate_tests::until(Duration::from_secs(3), &format!("an audit entry with {parts:?}"), || {
            let text = self.broker.log_text();
            let found = text.lines().any(|line| line.contains("audit") && parts.iter().all(|part| line.contains(part)));
            found.then_some(())
        })
        .with_context(|| self.broker.log_tail())
    }

    /// Runs scenarios of the Python clients.
    fn clients(&self, scenarios: &[&str], login: &Login) -> Result<()> {
        let operator = Operator::of(&self.broker)?;
        operator.topic("t-tokens", 1, &[])?;
        let operations = [AclOperation::Read, AclOperation::Write, AclOperation::Describe];
        for user in ["app", login.user.as_str()] {
            operator.allow(user, AclResourceType::Topic, "t-", &operations)?;
            operator.allow(user, AclResourceType::Group, "t-", &[AclOperation::Read])?;
        }
        let surroundings = Surroundings::of(&self.broker, login.clone(), "SCRAM-SHA-512", "t-");
        let command = [
            PathBuf::from("/usr/bin/env"),
            PathBuf::from(format!("LG_TOKEN_URL={}", self.issuer.token_url())),
            PathBuf::from(format!("LG_SECONDS={PRODUCE_SECONDS}")),
            installed("venv/bin/python")?,
            workspace().join("tests/clients/python/oauth_clients.py"),
        ];
        let verdicts = run(&command, scenarios, &surroundings).with_context(|| self.broker.log_tail())?;
        for verdict in verdicts {
            println!("{} in {} s: {}", verdict.scenario, verdict.seconds, verdict.detail);
        }
        Ok(())
    }

    fn metric(&self, name: &str) -> Result<f64> {
        let metrics = self.broker.metrics()?;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no metric {name}"))?.parse()?)
    }
}

fn handshake(connection: &mut Connection, mechanism: &'static str) -> Result<i16> {
    let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    Ok(connection.call(&request, 1)?.error_code)
}

fn send(connection: &mut Connection, message: impl Into<Bytes>) -> Result<SaslAuthenticateResponse> {
    connection.call(&SaslAuthenticateRequest::default().with_auth_bytes(message.into()), 2)
}

fn bearer(connection: &mut Connection, token: &str) -> Result<SaslAuthenticateResponse> {
    ensure!(handshake(connection, "OAUTHBEARER")? == 0, "OAUTHBEARER is not offered");
    send(connection, format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}"))
}

fn works(connection: &mut Connection) -> Result<()> {
    connection.call(&MetadataRequest::default().with_topics(Some(Vec::new())), 9).map(drop)
}

fn closed(connection: &mut Connection) -> Result<()> {
    ensure!(connection.read_frame().is_err(), "the connection stays open");
    Ok(())
}

#[test]
fn refused_tokens_are_told_apart_in_the_audit_log_alone() -> Result<()> {
    let scene = Scene::set(&[])?;
    let issuer = &scene.issuer;
    let invalid = json!({"status": "invalid_token"});
    let mut tokens = Vec::new();
    for (token, error, reason) in [
        (issuer.with("exp", json!(now() - 1))?, &invalid, "expired"),
        (issuer.with("iss", json!("https://elsewhere"))?, &invalid, "another issuer"),
        (issuer.with("aud", json!("billing"))?, &invalid, "another audience"),
        (issuer.with("nbf", json!(now() + 100))?, &invalid, "not valid yet"),
        (issuer.with("sub", json!("*"))?, &invalid, "meaning of its own"),
        (issuer.with("scope", json!("openid"))?, &json!({"status": "insufficient_scope", "scope": "kafka"}), "scopes"),
        (issuer.forged()?, &invalid, "signature is not its issuer's"),
    ] {
        let mut connection = scene.connect()?;
        let challenge = bearer(&mut connection, &token)?;
        ensure!(challenge.error_code == 0, "the error comes after the acknowledgement");
        ensure!(serde_json::from_slice::<Value>(&challenge.auth_bytes)? == *error, "{challenge:?} for {reason}");
        let answer = send(&mut connection, "\u{1}")?;
        ensure!(answer.error_code == ResponseError::SaslAuthenticationFailed.code(), "{answer:?}");
        closed(&mut connection)?;
        scene.audited(&["authentication failed", reason])?;
        tokens.push(token);
    }
    // A good token for somebody else, and something that is no token at all.
    let good = issuer.sign(&issuer.claims(300))?;
    for message in [format!("n,a=admin,\u{1}auth=Bearer {good}\u{1}\u{1}"), format!("Bearer {good}")] {
        let mut connection = scene.connect()?;
        handshake(&mut connection, "OAUTHBEARER")?;
        let answer = send(&mut connection, message)?;
        ensure!(answer.error_code == ResponseError::SaslAuthenticationFailed.code(), "{answer:?}");
        closed(&mut connection)?;
    }
    scene.audited(&["authentication failed", "app", "authorization id"])?;
    ensure!(scene.login(&good).is_ok(), "a good token works");
    tokens.push(good);
    let log = scene.broker.log_text();
    for piece in tokens.iter().flat_map(|token| token.split('.')) {
        ensure!(!log.contains(&piece[..16]), "a piece of a token is in the log");
    }
    ensure!(scene.metric("lockgate_authentication_failures_total")? >= 9.0, "failures are counted");
    Ok(())
}

#[test]
fn keys_rotate_and_the_issuer_may_be_away() -> Result<()> {
    let scene = Scene::set(&[])?;
    let old = scene.issuer.sign(&scene.issuer.claims(300))?;
    scene.login(&old)?;
    scene.issuer.set_down(true);
    scene.login(&old).context("the keys that are known serve while the issuer is away")?;
    scene.issuer.rotate()?;
    let new = scene.issuer.sign(&scene.issuer.claims(300))?;
    ensure!(scene.login(&new).is_err(), "a key that nobody published opens the door");
    scene.login(&old).context("a failed look-up takes no key away")?;
    scene.issuer.set_down(false);
    lockgate_tests::until(PATIENCE, "the new key is taken", || {
        std::thread::sleep(Duration::from_millis(300));
        scene.login(&new).ok()
    })?;
    ensure!(scene.login(&old).is_err(), "a key that was withdrawn still opens the door");
    ensure!(scene.metric("lockgate_token_keys_read_timestamp_seconds")? >= now() as f64 - 60.0);
    Ok(())
}

#[test]
fn keys_come_over_https_from_whom_the_authority_vouches_for() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (issuer, authority) = Issuer::start_with_tls()?;
    let (_, stranger) = Issuer::start_with_tls()?;
    for (name, pem, trusted) in [("authority.pem", authority, true), ("stranger.pem", stranger, false)] {
        let path = folder.path().join(name);
        std::fs::write(&path, pem)?;
        let mut tables = issuer.settings();
        tables.push(format!("ca_file = {path:?}"));
        let listener = vec!["mechanisms = [\"OAUTHBEARER\", \"SCRAM-SHA-256\"]".to_owned()];
        let broker = Broker::start(&Options { listener, tables, ..Options::default() })?;
        let mut connection = Connection::tls(broker.address(), tls_config(&broker.ca_path())?)?;
        let answer = bearer(&mut connection, &issuer.sign(&issuer.claims(300))?)?;
        ensure!((answer.error_code == 0 && answer.auth_bytes.is_empty()) == trusted, "{name}: {answer:?}");
        let told = broker.log_text().contains("certificate");
        ensure!(trusted || told, "the log does not say why there are no keys\n{}", broker.log_tail());
    }
    Ok(())
}

#[test]
fn a_connection_lives_as_long_as_its_token_or_the_next() -> Result<()> {
    let scene = Scene::set(&[])?;
    let token = |seconds| scene.issuer.sign(&scene.issuer.claims(seconds));
    let (mut connection, lifetime) = scene.login(&token(5)?)?;
    ensure!((1..=5000).contains(&lifetime), "{lifetime} ms");
    works(&mut connection)?;
    // A request is on its way when the client authenticates again; answers keep their order.
    let metadata = MetadataRequest::default().with_topics(Some(Vec::new()));
    std::thread::sleep(Duration::from_millis(1100));
    let pending = connection.send(&metadata, 9)?;
    let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("OAUTHBEARER"));
    let again = connection.send(&request, 1)?;
    connection.answer::<MetadataRequest>(9, pending)?;
    ensure!(connection.answer::<SaslHandshakeRequest>(1, again)?.error_code == 0, "not again");
    let answer = send(&mut connection, format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", token(8)?))?;
    ensure!(answer.error_code == 0 && answer.session_lifetime_ms > 5000, "{answer:?}");
    std::thread::sleep(Duration::from_millis(4500));
    works(&mut connection).context("the new token keeps the connection beyond the first one's end")?;
    // And this is the end of the second: whoever does not authenticate again is cut.
    std::thread::sleep(Duration::from_millis(4000));
    ensure!(works(&mut connection).is_err(), "the session outlives its token");
    scene.audited(&["authentication failed", "app", "did not authenticate again"])?;
    ensure!(scene.metric("lockgate_expired_sessions_total")? == 1.0);

    // After the end a client may still authenticate again.
    let (mut connection, _) = scene.login(&token(2)?)?;
    std::thread::sleep(Duration::from_millis(2500));
    ensure!(bearer(&mut connection, &token(300)?)?.error_code == 0);
    works(&mut connection)
}

#[test]
fn who_authenticates_again_stays_the_same_in_the_same_way() -> Result<()> {
    let scene = Scene::set(&[])?;
    let good = scene.issuer.sign(&scene.issuer.claims(300))?;
    let pause = || std::thread::sleep(Duration::from_millis(1100));

    let (mut connection, _) = scene.login(&good)?;
    let answer = bearer(&mut connection, &scene.issuer.with("sub", json!("other"))?)?;
    ensure!(answer.error_code == ResponseError::SaslAuthenticationFailed.code(), "{answer:?}");
    closed(&mut connection)?;
    scene.audited(&["authentication failed", "other", "another principal"])?;

    let (mut connection, _) = scene.login(&good)?;
    handshake(&mut connection, "SCRAM-SHA-256")?;
    let answer = send(&mut connection, "n,,n=app,r=nonce")?;
    ensure!(answer.error_code == ResponseError::SaslAuthenticationFailed.code(), "{answer:?}");
    closed(&mut connection)?;
    scene.audited(&["authentication failed", "another SASL mechanism"])?;

    // Nothing else may come in between, and not every moment.
    let (mut connection, _) = scene.login(&good)?;
    handshake(&mut connection, "OAUTHBEARER")?;
    ensure!(works(&mut connection).is_err(), "a request in the middle of an exchange");
    let (mut connection, _) = scene.login(&good)?;
    ensure!(bearer(&mut connection, &good)?.error_code == 0);
    let soon = handshake(&mut connection, "OAUTHBEARER")?;
    ensure!(soon == ResponseError::IllegalSaslState.code(), "{soon}");
    works(&mut connection)?;
    pause();
    ensure!(bearer(&mut connection, &good)?.error_code == 0, "a second later it may");
    // A token without an exchange is out of place and does no harm.
    let stray = send(&mut connection, "n,,")?;
    ensure!(stray.error_code == ResponseError::IllegalSaslState.code(), "{stray:?}");
    works(&mut connection)
}

#[test]
fn a_deleted_user_stays_connected_until_it_has_to_authenticate_again() -> Result<()> {
    let scene = Scene::set(&["connections_max_reauth_ms = 3000"])?;
    let operator = Operator::of(&scene.broker)?;
    operator.user("mallory", "a password")?;
    let login = Login { user: "mallory".to_owned(), password: "a password".to_owned() };
    let mut connection = scene.connect()?;
    connection.authenticate(&login)?;
    let deletions = [("mallory", ScramMechanism::Sha256), ("mallory", ScramMechanism::Sha512)];
    for (_, result) in operator.wait(operator.admin().alter_users(Vec::new(), &deletions))? {
        result?;
    }
    works(&mut connection).context("an open connection outlives its user, as in Kafka")?;
    let refused = connection.authenticate(&login).err().context("a deleted user authenticated again")?.to_string();
    ensure!(refused.contains("(58)"), "{refused}");
    closed(&mut connection)?;
    // The operator's own limit counts for tokens that live longer.
    let (mut connection, lifetime) = scene.login(&scene.issuer.sign(&scene.issuer.claims(300))?)?;
    ensure!(lifetime == 3000, "{lifetime} ms");
    std::thread::sleep(Duration::from_millis(3200));
    ensure!(works(&mut connection).is_err(), "the connection outlives connections_max_reauth_ms");
    Ok(())
}

#[test]
fn unknown_users_take_as_long_as_wrong_passwords() -> Result<()> {
    let scene = Scene::set(&[])?;
    Operator::of(&scene.broker)?.user("mallory", "a password")?;
    let tls = tls_config(&scene.broker.ca_path())?;
    let attempt = |user: &str| -> Result<Duration> {
        let mut connection = Connection::tls(scene.broker.address(), tls.clone())?;
        let began = Instant::now();
        let login = Login { user: user.to_owned(), password: "a guess".to_owned() };
        ensure!(connection.authenticate(&login).is_err(), "a guess got in");
        Ok(began.elapsed())
    };
    // The fastest of several, in turns, so that the machine's other work shows in neither.
    let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
    for _ in 0..8 {
        known = known.min(attempt("mallory")?);
        unknown = unknown.min(attempt("nobody")?);
    }
    ensure!(known.abs_diff(unknown) < Duration::from_millis(40), "{known:?} and {unknown:?} tell users apart");
    Ok(())
}

#[test]
fn confluent_kafka_produces_while_its_tokens_end() -> Result<()> {
    token_client("callback")
}

#[test]
fn librdkafka_fetches_its_tokens_itself() -> Result<()> {
    token_client("oidc")
}

#[test]
fn kafka_python_produces_while_its_tokens_end() -> Result<()> {
    token_client("kafka_python")
}

fn token_client(scenario: &str) -> Result<()> {
    let scene = Scene::set(&[])?;
    scene.issuer.set_lifetime(TOKEN_SECONDS);
    let nobody = Login { user: "none".to_owned(), password: "none".to_owned() };
    scene.clients(&[scenario], &nobody)?;
    ensure!(scene.issuer.handed_out() >= 3, "{} tokens were fetched", scene.issuer.handed_out());
    ensure!(scene.metric("lockgate_expired_sessions_total")? == 0.0, "a session was cut\n{}", scene.broker.log_tail());
    Ok(())
}

#[test]
fn confluent_kafka_authenticates_again_with_scram() -> Result<()> {
    let scene = Scene::set(&["connections_max_reauth_ms = 4000"])?;
    let login = Login { user: "scram-app".to_owned(), password: "a password".to_owned() };
    Operator::of(&scene.broker)?.user(&login.user, &login.password)?;
    scene.clients(&["scram"], &login)?;
    ensure!(scene.metric("lockgate_expired_sessions_total")? == 0.0, "a session was cut\n{}", scene.broker.log_tail());
    Ok(())
}

#[test]
fn a_certificate_opens_the_door_and_sasl_says_who_comes_in() -> Result<()> {
    let authority = Authority::new()?;
    let client = authority.client("machine-7")?;
    let key = PrivateKeyDer::try_from(client.key.serialize_der()).map_err(anyhow::Error::msg)?;
    for (mode, required) in [("required", true), ("optional", false)] {
        let options = Options {
            // No rule fits the certificate, which counts on listeners without SASL alone.
            listener: vec![
                format!("client_certificates = {mode:?}\nclient_ca_file = {:?}", authority.certificate_path()),
                "principal_mapping_rules = [\"RULE:^CN=nobody$/nobody/\"]".to_owned(),
                "[[listeners]]\nname = \"operator\"\nbind = \"127.0.0.1:0\"\nprotocol = \"SASL_SSL\"".to_owned(),
            ],
            ..Options::default()
        };
        let broker = Broker::start(&options)?;
        let admin = lockgate_tests::operator::admin_login(&broker)?;
        let without = tls_config(&broker.ca_path())?;
        let mut with = (*without).clone();
        let key = key.clone_key();
        with.client_auth_cert_resolver =
            std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::from_der(
                vec![client.certificate.der().clone()],
                key,
                &rustls::crypto::ring::default_provider(),
            )?));
        let mut connection = Connection::login(broker.address(), with.into(), &admin).context(mode)?;
        works(&mut connection)?;
        let outcome = Connection::login(broker.address(), without, &admin);
        ensure!(outcome.is_err() == required, "{mode}: without a certificate it is {:?}", outcome.err());
        if required {
            let text = broker.log_text();
            let audited = text.lines().any(|line| line.contains("audit") && line.contains("TLS handshake"));
            ensure!(audited, "{}", broker.log_tail());
        }
    }
    Ok(())
}
