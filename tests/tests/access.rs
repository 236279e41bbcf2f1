//! Who is refused, with which error, and that the audit log says so.

use anyhow::{Context, Result, ensure};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateAclsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, FindCoordinatorRequest,
    GroupId, InitProducerIdRequest, JoinGroupRequest, MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::StrBytes;
use lockgate_client::admin::{AclOperation, AclResourceType};
use lockgate_tests::batch::Batch;
use lockgate_tests::broker::{Broker, Options};
use lockgate_tests::operator::Operator;
use lockgate_tests::requests::{PRODUCE, commit, fetch, produce, produce_request, produced, topic_name};
use lockgate_tests::wire::{Connection, Login, tls_config};

const PASSWORD: &str = "mallory's own secret";

struct Scene {
    broker: Broker,
    operator: Operator,
}

impl Scene {
    /// A topic that nobody but the admin may touch, and a user without any ACL.
    fn set() -> Result<Self> {
        let broker = Broker::start(&Options::default())?;
        let operator = Operator::of(&broker)?;
        operator.topic("secrets", 1, &[])?;
        operator.user("mallory", PASSWORD)?;
        Ok(Self { broker, operator })
    }

    fn tls(&self) -> Result<Connection> {
        Connection::tls(self.broker.address(), tls_config(&self.broker.ca_path())?)
    }

    fn login(&self, user: &str, password: &str) -> Result<Connection> {
        let mut connection = self.tls()?;
        connection.authenticate(&Login { user: user.to_owned(), password: password.to_owned() })?;
        Ok(connection)
    }

    /// An audit entry that has all of these in one line.
    fn audited(&self, parts: &[&str]) -> Result<()> {
        lockgate_tests::until(std::time::Duration::from_secs(3), &format!("an audit entry with {parts:?}"), || {
            let text = self.broker.log_text();
            text.lines()
                .any(|line| line.contains("audit") && parts.iter().all(|part| line.contains(part)))
                .then_some(())
        })
        .with_context(|| self.broker.log_tail())
    }
}

fn refused<T>(outcome: Result<T>, error: ResponseError) -> Result<()> {
    let text = match outcome {
        Ok(_) => anyhow::bail!("allowed instead of {error:?}"),
        Err(refusal) => format!("{refusal:#}"),
    };
    ensure!(text.contains(&format!("({})", error.code())), "{text:?} instead of {error:?}");
    Ok(())
}

fn code(code: i16, error: ResponseError) -> Result<()> {
    ensure!(code == error.code(), "{:?} instead of {error:?}", ResponseError::try_from_code(code));
    Ok(())
}

#[test]
fn wrong_passwords_and_unknown_users_are_refused_alike() -> Result<()> {
    let scene = Scene::set()?;
    ensure!(scene.login("mallory", PASSWORD).is_ok(), "the right password works");
    let wrong = scene.login("mallory", "guess").err().context("a wrong password works")?.to_string();
    let unknown = scene.login("nobody", "guess").err().context("an unknown user gets in")?.to_string();
    ensure!(wrong.contains("(58)"), "{wrong} instead of SASL_AUTHENTICATION_FAILED");
    ensure!(wrong == unknown, "{wrong:?} and {unknown:?} tell users apart");
    scene.audited(&["authentication failed", "mallory"])?;
    scene.audited(&["authentication failed", "nobody"])?;

    for (user, password) in [("mallory", "guess"), ("nobody", "guess")] {
        let mut connection = scene.tls()?;
        let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
        code_ok(connection.call(&handshake, 1)?.error_code)?;
        let message = format!("\0{user}\0{password}");
        let answer = connection.call(&SaslAuthenticateRequest::default().with_auth_bytes(message.into()), 2)?;
        code(answer.error_code, ResponseError::SaslAuthenticationFailed)?;
        ensure!(connection.read_frame().is_err(), "the connection stays open after a refusal");
    }
    ensure!(!scene.broker.log_text().contains("guess"), "a password is in the log");
    Ok(())
}

fn code_ok(code: i16) -> Result<()> {
    ensure!(code == 0, "{:?}", ResponseError::try_from_code(code));
    Ok(())
}

#[test]
fn nothing_works_before_authentication() -> Result<()> {
    let scene = Scene::set()?;
    let mut connection = scene.tls()?;
    ensure!(connection.call(&MetadataRequest::default(), 9).is_err(), "metadata without a login");
    let mut connection = scene.tls()?;
    let handshake = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("GSSAPI"));
    let answer = connection.call(&handshake, 1)?;
    code(answer.error_code, ResponseError::UnsupportedSaslMechanism)?;
    let offered: Vec<&str> = answer.mechanisms.iter().map(|name| name.as_str()).collect();
    ensure!(offered.contains(&"SCRAM-SHA-512") && offered.contains(&"SCRAM-SHA-256"), "{offered:?} are offered");
    Ok(())
}

#[test]
fn a_user_without_acls_may_do_nothing() -> Result<()> {
    let scene = Scene::set()?;
    let mut connection = scene.login("mallory", PASSWORD)?;
    let batch = || Batch::of(["x"]).encode().freeze();
    let topic = ResponseError::TopicAuthorizationFailed;

    refused(produce(&mut connection, "secrets", 0, batch()), topic)?;
    code(fetch(&mut connection, "secrets", 0, 0, 0)?.code, topic)?;
    // A topic that does not exist looks the same.
    refused(produce(&mut connection, "no-such-topic", 0, batch()), topic)?;

    let wanted = MetadataRequestTopic::default().with_name(Some(topic_name("secrets")));
    let answer = connection.call(&MetadataRequest::default().with_topics(Some(vec![wanted])), 9)?;
    code(answer.topics.first().context("an answer")?.error_code, topic)?;
    let answer = connection.call(&MetadataRequest::default().with_topics(None), 9)?;
    ensure!(answer.topics.is_empty(), "{:?} can be seen", answer.topics);

    let new = CreatableTopic::default().with_name(topic_name("mine")).with_num_partitions(1).with_replication_factor(1);
    let answer = connection.call(&CreateTopicsRequest::default().with_topics(vec![new]).with_timeout_ms(1000), 5)?;
    code(answer.topics.first().context("an answer")?.error_code, topic)?;
    let gone = DeleteTopicState::default().with_name(Some(topic_name("secrets")));
    let answer = connection.call(&DeleteTopicsRequest::default().with_topics(vec![gone]).with_timeout_ms(1000), 6)?;
    code(answer.responses.first().context("an answer")?.error_code, topic)?;
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_static_str("secrets"))
        .with_configuration_keys(None);
    let answer = connection.call(&DescribeConfigsRequest::default().with_resources(vec![resource]), 4)?;
    code(answer.results.first().context("an answer")?.error_code, topic)?;

    groups_and_cluster(&mut connection)?;
    scene.audited(&["denied", "User:mallory", "Topic:secrets", "Write"])?;
    scene.audited(&["denied", "User:mallory", "Topic:secrets", "Read"])?;
    scene.audited(&["denied", "User:mallory", "Group:spies"])?;
    scene.audited(&["denied", "User:mallory", "Cluster"])?;
    let secrets = scene.operator.wait(scene.operator.admin().describe_topics(&["secrets"]))?;
    ensure!(secrets.into_values().all(|topic| topic.is_ok()), "the topic was deleted all the same");
    Ok(())
}

fn groups_and_cluster(connection: &mut Connection) -> Result<()> {
    let (group, cluster) = (ResponseError::GroupAuthorizationFailed, ResponseError::ClusterAuthorizationFailed);
    refused(commit(connection, "spies", "secrets", 1), group)?;
    let find = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("spies"));
    code(connection.call(&find, 2)?.error_code, group)?;
    let join = JoinGroupRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str("spies")))
        .with_session_timeout_ms(6000)
        .with_protocol_type(StrBytes::from_static_str("consumer"));
    code(connection.call(&join, 5)?.error_code, group)?;
    let acl = AclCreation::default()
        .with_resource_type(2)
        .with_resource_name(StrBytes::from_static_str("secrets"))
        .with_resource_pattern_type(3)
        .with_principal(StrBytes::from_static_str("User:mallory"))
        .with_host(StrBytes::from_static_str("*"))
        .with_operation(2)
        .with_permission_type(3);
    let answer = connection.call(&CreateAclsRequest::default().with_creations(vec![acl]), 3)?;
    code(answer.results.first().context("an answer")?.error_code, cluster)?;
    let answer = connection.call(&InitProducerIdRequest::default().with_transactional_id(None), 4)?;
    code(answer.error_code, cluster)
}

#[test]
fn an_acl_opens_what_it_names_and_nothing_else() -> Result<()> {
    let scene = Scene::set()?;
    scene.operator.topic("public-news", 1, &[])?;
    scene.operator.allow("mallory", AclResourceType::Topic, "public-", &[AclOperation::Read])?;
    let mut connection = scene.login("mallory", PASSWORD)?;
    code_ok(fetch(&mut connection, "public-news", 0, 0, 0)?.code)?;
    let batch = Batch::of(["x"]).encode().freeze();
    let answer = connection.call(&produce_request("public-news", 0, -1, batch), PRODUCE)?;
    code(produced(&answer)?.0, ResponseError::TopicAuthorizationFailed)?;
    code(fetch(&mut connection, "secrets", 0, 0, 0)?.code, ResponseError::TopicAuthorizationFailed)?;
    Ok(())
}

#[test]
fn a_new_password_takes_the_old_ones_place() -> Result<()> {
    let scene = Scene::set()?;
    scene.operator.user("mallory", "another one")?;
    ensure!(scene.login("mallory", PASSWORD).is_err(), "the old password still works");
    ensure!(scene.login("mallory", "another one").is_ok(), "the new password does not work");
    Ok(())
}
