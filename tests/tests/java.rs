//! What Kafka's own Java client does beyond what all clients are put through: transactions, static members, the consumer
//! protocol, tokens and client certificates.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context, Result, ensure};
use lockgate_client::admin::{AclOperation, AclResourceType};
use lockgate_tests::authority::Authority;
use lockgate_tests::broker::{Broker, Options, free_ports};
use lockgate_tests::issuer::Issuer;
use lockgate_tests::operator::Operator;
use lockgate_tests::program::{Surroundings, java_client, run};
use lockgate_tests::wire::Login;

const PREFIX: &str = "java-";
const NEWEST: &str = "4.4.0";
/// With KIP-848, still as a preview.
const PREVIEW: &str = "3.9.1";
const OLDEST: &str = "2.8.2";
/// How long the tokens of the client live, and how long it produces: two tokens and more.
const TOKEN_SECONDS: i64 = 10;
const PRODUCE_SECONDS: i64 = 18;

/// A JVM and a broker at a time: there are two cores.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

struct Scene {
    broker: Broker,
    surroundings: Surroundings,
    /// More for the client's environment.
    extra: Vec<String>,
}

impl Scene {
    fn set(options: &Options) -> Result<Self> {
        let broker = Broker::start(options)?;
        let operator = Operator::of(&broker)?;
        let login = Login { user: "java-app".to_owned(), password: "correct horse battery staple".to_owned() };
        operator.user(&login.user, &login.password)?;
        let all = [AclOperation::Read, AclOperation::Write, AclOperation::Describe];
        for user in [login.user.as_str(), "app", "machine-7"] {
            operator.allow(user, AclResourceType::Topic, PREFIX, &all)?;
            operator.allow(user, AclResourceType::Group, PREFIX, &[AclOperation::Read])?;
            operator.allow(user, AclResourceType::TransactionalId, PREFIX, &all[1..])?;
        }
        for (topic, partitions) in
            [("group", 4), ("plain", 3), ("fenced", 3), ("offsets-in", 3), ("offsets-out", 3), ("tokens", 1)]
        {
            operator.topic(&format!("{PREFIX}{topic}"), partitions, &[])?;
        }
        let surroundings = Surroundings::of(&broker, login, "SCRAM-SHA-512", PREFIX);
        Ok(Self { broker, surroundings, extra: vec![format!("LG_SECONDS={PRODUCE_SECONDS}")] })
    }

    fn play(&self, version: &str, scenarios: &[&str]) -> Result<()> {
        let mut command = vec![PathBuf::from("/usr/bin/env")];
        command.extend(self.extra.iter().map(PathBuf::from));
        command.extend(java_client(version)?);
        let verdicts = run(&command, scenarios, &self.surroundings).with_context(|| self.broker.log_tail())?;
        for verdict in verdicts {
            println!("{version} {} in {} s: {}", verdict.scenario, verdict.seconds, verdict.detail);
        }
        Ok(())
    }
}

fn put_through(version: &str, scenarios: &[&str]) -> Result<()> {
    let _turn = one_at_a_time();
    Scene::set(&Options::default())?.play(version, scenarios)
}

const TRANSACTIONS: [&str; 3] = ["transactions", "fencing", "consume_transform_produce"];

#[test]
fn the_newest_has_transactions_and_groups_of_both_protocols() -> Result<()> {
    put_through(NEWEST, &[&TRANSACTIONS[..], &["static_member", "consumer_protocol"]].concat())
}

#[test]
fn the_preview_of_the_consumer_protocol_works() -> Result<()> {
    put_through(PREVIEW, &[&TRANSACTIONS[..], &["consumer_protocol"]].concat())
}

#[test]
fn the_oldest_has_transactions_and_static_members() -> Result<()> {
    put_through(OLDEST, &[&TRANSACTIONS[..], &["static_member"]].concat())
}

/// With tokens, and with passwords whose sessions end: the client authenticates again on its open connections.
#[test]
fn sessions_end_and_the_client_authenticates_again() -> Result<()> {
    let _turn = one_at_a_time();
    let issuer = Issuer::start()?;
    issuer.set_lifetime(TOKEN_SECONDS);
    let mut scene = Scene::set(&Options {
        top: vec!["connections_max_reauth_ms = 6000".to_owned()],
        listener: vec!["mechanisms = [\"OAUTHBEARER\", \"SCRAM-SHA-512\", \"SCRAM-SHA-256\"]".to_owned()],
        tables: issuer.settings(),
        ..Options::default()
    })?;
    scene.extra.push(format!("LG_TOKEN_URL={}", issuer.token_url()));
    for version in [NEWEST, OLDEST] {
        scene.play(version, &["oauth", "again"])?;
    }
    let metrics = scene.broker.metrics()?;
    let cut = metrics.lines().find(|line| line.starts_with("lockgate_expired_sessions_total ")).context("no metric")?;
    ensure!(cut.ends_with(" 0"), "a session was cut: {cut}");
    Ok(())
}

/// The certificate says who the client is: the mapping rules make the principal of it that the ACLs name.
#[test]
fn certificates_say_who_clients_are() -> Result<()> {
    let _turn = one_at_a_time();
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    let [port] = free_ports();
    let listener = format!(
        "\n[[listeners]]\nname = \"mutual\"\nbind = \"127.0.0.1:{port}\"\nadvertised = \"localhost:{port}\"\n\
         protocol = \"SSL\"\nclient_certificates = \"required\"\nclient_ca_file = {:?}\n\
         principal_mapping_rules = [\"RULE:^CN=([^,]+)$/$1/L\"]",
        authority.certificate_path()
    );
    let mut scene = Scene::set(&Options { listener: vec![listener], ..Options::default() })?;
    scene.surroundings.bootstrap = format!("localhost:{port}");
    let of = |store: &std::path::Path| vec![format!("LG_KEYSTORE={}", store.display()), "LG_SECONDS=1".to_owned()];
    let (known, unknown) = (authority.client("Machine-7")?, stranger.client("Machine-7")?);
    let nobody = authority.client("Machine-8")?;
    for version in [NEWEST, PREVIEW, OLDEST] {
        scene.extra = of(&known.store);
        scene.play(version, &["certificate"])?;
        scene.extra = of(&unknown.store);
        scene.play(version, &["refused_certificate"]).context("a certificate of another authority")?;
        scene.extra = vec!["LG_SECONDS=1".to_owned()];
        scene.play(version, &["refused_certificate"]).context("without a certificate")?;
    }
    scene.extra = of(&nobody.store);
    let outcome = scene.play(NEWEST, &["certificate"]).err().map(|refusal| format!("{refusal:#}"));
    let refused = outcome.as_ref().is_some_and(|refusal| refusal.contains("TopicAuthorizationException"));
    ensure!(refused, "one whom no ACL names: {outcome:?}");
    Ok(())
}
