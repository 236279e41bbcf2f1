//! What Kafka's admin tools ask of a cluster, over the wire in every version, with and without permission; and that
//! `lockgate consume` ends with its reader.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{
    CreateTopicsRequest, DescribeClusterRequest, DescribeLogDirsRequest, DescribeTopicPartitionsRequest,
    ElectLeadersRequest, ListConfigResourcesRequest,
};
use lockgate_client::admin::{AclOperation, AclResourceType};
use lockgate_tests::batch::Batch;
use lockgate_tests::broker::{Broker, Options, binary};
use lockgate_tests::operator::{Operator, admin_login};
use lockgate_tests::requests::{produce, topic_name};
use lockgate_tests::wire::{Connection, Login, tls_config};

const PASSWORD: &str = "guest's own secret";

struct Scene {
    broker: Broker,
    operator: Operator,
}

impl Scene {
    /// Topics "open-a" (3 partitions), "open-b" (1) and "secret" (2), and a user who may describe the open ones.
    fn set() -> Result<Self> {
        let broker = Broker::start(&Options::default())?;
        let operator = Operator::of(&broker)?;
        for (name, partitions) in [("open-a", 3), ("open-b", 1), ("secret", 2)] {
            operator.topic(name, partitions, &[])?;
        }
        operator.user("guest", PASSWORD)?;
        operator.allow("guest", AclResourceType::Topic, "open-", &[AclOperation::Describe, AclOperation::Create])?;
        Ok(Self { broker, operator })
    }

    fn admin(&self) -> Result<Connection> {
        self.login(&admin_login(&self.broker)?)
    }

    fn guest(&self) -> Result<Connection> {
        self.login(&Login { user: "guest".to_owned(), password: PASSWORD.to_owned() })
    }

    fn login(&self, login: &Login) -> Result<Connection> {
        Connection::login(self.broker.address(), tls_config(&self.broker.ca_path())?, login)
    }
}

fn is(code: i16, error: ResponseError) -> Result<()> {
    ensure!(code == error.code(), "{:?} instead of {error:?}", ResponseError::try_from_code(code));
    Ok(())
}

/// Every partition that pages of `limit` show, in their order, each page with what it holds.
fn pages(connection: &mut Connection, limit: i32) -> Result<Vec<(String, i32)>> {
    let mut rows = Vec::new();
    let mut request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(limit);
    for _ in 0..100 {
        let answer = connection.call(&request, 0)?;
        let before = rows.len();
        for topic in &answer.topics {
            ensure!(topic.error_code == 0 && !topic.topic_id.is_nil(), "{topic:?}");
            let name = topic.name.as_ref().context("a name")?.to_string();
            for partition in &topic.partitions {
                ensure!(partition.error_code == 0 && partition.leader_id.0 == 1, "{partition:?}");
                rows.push((name.clone(), partition.partition_index));
            }
        }
        ensure!(rows.len() - before <= limit as usize, "a page of {limit} has {}", rows.len() - before);
        let Some(next) = answer.next_cursor else { return Ok(rows) };
        let cursor = Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index);
        request = request.with_cursor(Some(cursor));
    }
    anyhow::bail!("pages of {limit} do not end")
}

#[test]
fn topics_come_in_pages_and_only_those_that_may_be_described() -> Result<()> {
    let scene = Scene::set()?;
    let mut guest = scene.guest()?;
    let expected: Vec<_> = [("open-a", 0), ("open-a", 1), ("open-a", 2), ("open-b", 0)]
        .map(|(name, index)| (name.to_owned(), index))
        .into();
    for limit in 1..6 {
        let rows = pages(&mut guest, limit)?;
        ensure!(rows == expected, "pages of {limit}: {rows:?}");
    }
    let all = pages(&mut scene.admin()?, 2)?;
    ensure!(all.contains(&("secret".to_owned(), 1)), "the admin sees {all:?}");

    let name = |name| TopicRequest::default().with_name(topic_name(name));
    let asked = vec![name("secret"), name("open-b"), name("none"), name("open-missing"), name("open-b")];
    let request = DescribeTopicPartitionsRequest::default().with_topics(asked).with_response_partition_limit(100);
    let answer = guest.call(&request, 0)?;
    let found: BTreeMap<String, i16> = answer
        .topics
        .iter()
        .map(|topic| (topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default(), topic.error_code))
        .collect();
    ensure!(found.len() == 4 && answer.topics.len() == 4, "{found:?}");
    is(found["secret"], ResponseError::TopicAuthorizationFailed)?;
    is(found["none"], ResponseError::TopicAuthorizationFailed)?;
    is(found["open-missing"], ResponseError::UnknownTopicOrPartition)?;
    ensure!(found["open-b"] == 0, "{found:?}");
    let hidden = answer.topics.iter().all(|topic| topic.error_code == 0 || topic.topic_id.is_nil());
    ensure!(hidden, "an id of a topic that may not be seen: {answer:?}");

    for (topic, partition) in [("open-a", -1), ("elsewhere", 0)] {
        let cursor = Cursor::default().with_topic_name(topic_name(topic)).with_partition_index(partition);
        let request = DescribeTopicPartitionsRequest::default().with_topics(vec![name("open-a")]);
        let answer = guest.call(&request.with_response_partition_limit(5).with_cursor(Some(cursor)), 0)?;
        ensure!(answer.topics.len() == 1, "{answer:?}");
        is(answer.topics[0].error_code, ResponseError::InvalidRequest)?;
    }
    Ok(())
}

#[test]
fn the_data_folder_is_described_to_those_who_may() -> Result<()> {
    let scene = Scene::set()?;
    let mut admin = scene.admin()?;
    produce(&mut admin, "open-a", 1, Batch::of(["a value of some length"]).encode().freeze())?;
    for version in 1..=4 {
        let topic = DescribableLogDirTopic::default().with_topic(topic_name("open-a")).with_partitions(vec![0, 1, 9]);
        let some = DescribeLogDirsRequest::default().with_topics(Some(vec![topic]));
        let answer = admin.call(&some, version)?;
        let [folder] = &answer.results[..] else { anyhow::bail!("{answer:?}") };
        ensure!(folder.log_dir.as_str() == scene.broker.data().to_string_lossy(), "{folder:?}");
        ensure!(folder.topics.len() == 1 && folder.topics[0].partitions.len() == 2, "version {version}: {folder:?}");
        let sizes: Vec<_> = folder.topics[0].partitions.iter().map(|one| one.partition_size).collect();
        ensure!(sizes[0] == 0 && sizes[1] > 60, "version {version}: {sizes:?}");
        if version == 4 {
            ensure!(0 < folder.usable_bytes && folder.usable_bytes <= folder.total_bytes, "{folder:?}");
        }
        let all = admin.call(&DescribeLogDirsRequest::default().with_topics(None), version)?;
        let names: Vec<_> = all.results[0].topics.iter().map(|topic| topic.name.to_string()).collect();
        ensure!(["open-a", "open-b", "secret"].iter().all(|name| names.iter().any(|one| one == name)), "{names:?}");
        let refused = scene.guest()?.call(&some, version)?;
        ensure!(refused.results.is_empty(), "a guest sees {refused:?}");
        if version >= 3 {
            is(refused.error_code, ResponseError::ClusterAuthorizationFailed)?;
        }
    }
    Ok(())
}

#[test]
fn elections_are_not_needed_and_resources_are_listed() -> Result<()> {
    let scene = Scene::set()?;
    let (mut admin, mut guest) = (scene.admin()?, scene.guest()?);
    for version in 0..=2 {
        let topic = TopicPartitions::default().with_topic(topic_name("open-a")).with_partitions(vec![0, 9]);
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic])).with_timeout_ms(1000);
        let answer = admin.call(&request, version)?;
        ensure!(answer.error_code == 0, "{answer:?}");
        let results = &answer.replica_election_results[0].partition_result;
        is(results[0].error_code, ResponseError::ElectionNotNeeded)?;
        is(results[1].error_code, ResponseError::UnknownTopicOrPartition)?;
        let all = admin.call(&ElectLeadersRequest::default().with_topic_partitions(None), version)?;
        let idle = all.replica_election_results.iter().all(|topic| topic.partition_result.is_empty());
        ensure!(idle && all.replica_election_results.len() >= 3, "{all:?}");
        let refused = guest.call(&request, version)?;
        is(
            refused.replica_election_results[0].partition_result[0].error_code,
            ResponseError::ClusterAuthorizationFailed,
        )?;
    }
    let unknown = admin.call(&ElectLeadersRequest::default().with_election_type(7).with_topic_partitions(None), 2)?;
    is(unknown.error_code, ResponseError::InvalidRequest)?;

    let listed = |connection: &mut Connection, version, types: &[i8]| -> Result<(i16, Vec<(i8, String)>)> {
        let request = ListConfigResourcesRequest::default().with_resource_types(types.to_vec());
        let answer = connection.call(&request, version)?;
        let rows = answer.config_resources.iter().map(|one| (one.resource_type, one.resource_name.to_string()));
        Ok((answer.error_code, rows.collect()))
    };
    let (code, all) = listed(&mut admin, 1, &[])?;
    let expected = [(2, "secret".to_owned()), (4, "1".to_owned())];
    ensure!(code == 0 && expected.iter().all(|row| all.contains(row)), "{all:?}");
    ensure!(listed(&mut admin, 1, &[4])? == (0, vec![(4, "1".to_owned())]), "brokers only");
    ensure!(listed(&mut admin, 0, &[])? == (0, vec![]), "there are no client metrics");
    is(listed(&mut admin, 1, &[3])?.0, ResponseError::UnsupportedVersion)?;
    is(listed(&mut guest, 1, &[])?.0, ResponseError::ClusterAuthorizationFailed)?;
    Ok(())
}

#[test]
fn what_is_not_to_be_seen_is_not_shown() -> Result<()> {
    let scene = Scene::set()?;
    let (mut admin, mut guest) = (scene.admin()?, scene.guest()?);
    let made = |connection: &mut Connection, name| -> Result<_> {
        let topic = CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(2);
        let request = CreateTopicsRequest::default().with_topics(vec![topic.with_replication_factor(1)]);
        let mut answer = connection.call(&request.with_timeout_ms(5000), 7)?;
        let topic = answer.topics.pop().context("an answer")?;
        ensure!(topic.error_code == 0, "{topic:?}");
        Ok(topic)
    };
    let hidden = made(&mut guest, "open-made")?;
    is(hidden.topic_config_error_code, ResponseError::TopicAuthorizationFailed)?;
    ensure!(hidden.configs.as_ref().is_some_and(Vec::is_empty) && hidden.num_partitions == -1, "{hidden:?}");
    scene.operator.allow("guest", AclResourceType::Topic, "open-", &[AclOperation::DescribeConfigs])?;
    for shown in [made(&mut guest, "open-shown")?, made(&mut admin, "another")?] {
        ensure!(shown.topic_config_error_code == 0 && shown.num_partitions == 2, "{shown:?}");
        ensure!(shown.configs.is_some_and(|configs| !configs.is_empty()), "the configs are shown");
    }

    let request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    let operations = |connection: &mut Connection| -> Result<i32> {
        Ok(connection.call(&request, 2)?.cluster_authorized_operations)
    };
    ensure!(operations(&mut guest)? == 0, "no operation without Describe on the cluster");
    ensure!(operations(&mut admin)? > 0, "the admin may do something");
    is(admin.call(&request.clone().with_endpoint_type(2), 2)?.error_code, ResponseError::MismatchedEndpointType)?;
    is(admin.call(&request.clone().with_endpoint_type(9), 1)?.error_code, ResponseError::UnsupportedEndpointType)?;
    Ok(())
}

#[test]
fn consume_ends_when_its_reader_is_gone() -> Result<()> {
    let scene = Scene::set()?;
    produce(&mut scene.admin()?, "open-b", 0, Batch::of(["one"]).encode().freeze())?;
    let mut consume = Command::new(binary("lockgate")?)
        .args(["--cluster", &format!("file://{}", scene.broker.data().display())])
        .args(["consume", "open-b", "--from-beginning"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(consume.stdout.take().context("piped")?).read_line(&mut line)?;
    ensure!(line == "one\n", "{line:?}");
    // The reader is dropped here, and no further record comes.
    let began = Instant::now();
    while consume.try_wait()?.is_none() {
        if began.elapsed() > Duration::from_secs(10) {
            consume.kill()?;
            anyhow::bail!("consume goes on without a reader");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = consume.wait_with_output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}
