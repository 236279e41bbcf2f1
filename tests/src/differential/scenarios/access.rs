//! What users with few rights are told, API by API.

use anyhow::{Context, Result};
use bytes::Bytes;
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialUpsertion;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_producers_request::TopicRequest as ProducersOf;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::Request;
use sha2::Sha256;
use std::fmt::Debug;

use super::acls::{self, ALLOW, ANY, Binding, CLUSTER, GROUP, LITERAL, READ, TOPIC};
use super::cluster::metadata_of;
use super::configs;
use super::consumer_groups::enter;
use super::groups::{alone, deletion, group_id, heartbeat, join, leave, sync, text};
use super::offsets::{commit, fetch};
use super::topics::{self, make};
use super::transactions::{Producer, add, add_offsets, commit_offset, end, init, transactional, write};
use super::users;
use crate::batch::Batch;
use crate::differential::Peer;
use crate::requests::{fetch_request, produce_request, topic_name};
use crate::wire::{Connection, Login, check};

const TRANSACTIONAL_ID: i8 = 5;
const WRITE: i8 = 4;
const DESCRIBE: i8 = 8;
const PASSWORD: &str = "correct horse battery staple";

/// A user, and what it may do to the scenario's topic, group, transactional id, and to the cluster.
struct Rights {
    user: &'static str,
    of: &'static [(i8, i8)],
}

const EVERYONE: [Rights; 5] = [
    Rights { user: "nobody", of: &[] },
    Rights { user: "looker", of: &[(TOPIC, DESCRIBE), (GROUP, DESCRIBE), (TRANSACTIONAL_ID, DESCRIBE)] },
    Rights { user: "writer", of: &[(TOPIC, WRITE), (TRANSACTIONAL_ID, WRITE)] },
    Rights { user: "reader", of: &[(TOPIC, READ), (GROUP, READ)] },
    Rights { user: "overseer", of: &[(CLUSTER, DESCRIBE)] },
];

/// One user's connection, and the names that it may know.
struct Stage<'a> {
    peer: &'a mut Peer,
    connection: Connection,
    login: Login,
    topic: String,
    group: String,
    name: String,
}

impl Stage<'_> {
    fn ask<R>(&mut self, step: &str, request: &R, version: i16) -> Result<()>
    where
        R: Request,
        R::Response: Debug + Clone + 'static,
    {
        let step = format!("{} {step}", self.login.user);
        if self.peer.ask_in_vain(&mut self.connection, &step, request, version)?.is_none() {
            self.connection = self.peer.user(&self.login)?;
        }
        Ok(())
    }

    fn records(&mut self) -> Result<()> {
        let topic = self.topic.clone();
        let batch = || Batch { timestamp: 1_700_000_000_000, ..Batch::of(["v"]) }.encode().freeze();
        for (kind, topic) in [("", topic.as_str()), (" of unknown topic", "nothing")] {
            self.ask(&format!("produce{kind}"), &produce_request(topic, 0, -1, batch()), 11)?;
            self.ask(&format!("fetch{kind}"), &fetch_request(topic, 0, 0, 0, 1000), 12)?;
            let partition = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(-1);
            let wanted = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
            let list = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted]);
            self.ask(&format!("list offsets{kind}"), &list, 7)?;
            let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(-1).with_leader_epoch(0);
            let wanted = OffsetForLeaderTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
            let ends = OffsetForLeaderEpochRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![wanted]);
            self.ask(&format!("epoch ends{kind}"), &ends, 4)?;
            let partition = DeleteRecordsPartition::default().with_offset(0);
            let wanted = DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
            let delete = DeleteRecordsRequest::default().with_timeout_ms(5000).with_topics(vec![wanted]);
            self.ask(&format!("delete records{kind}"), &delete, 2)?;
        }
        Ok(())
    }

    fn topics(&mut self) -> Result<()> {
        let topic = self.topic.clone();
        for version in [1, 8, 12] {
            let both = metadata_of(&[&topic, "nothing"], &[]).with_allow_auto_topic_creation(version < 4);
            self.ask("metadata", &both, version)?;
        }
        let operations = metadata_of(&[&topic], &[]).with_include_topic_authorized_operations(true);
        self.ask("metadata with operations", &operations, 12)?;
        let partitions = [topic.as_str(), "nothing"].map(|name| TopicRequest::default().with_name(topic_name(name)));
        let partitions = DescribeTopicPartitionsRequest::default()
            .with_topics(partitions.to_vec())
            .with_response_partition_limit(100);
        self.ask("topic partitions", &partitions, 0)?;
        let made = topics::request(vec![topics::topic(&format!("{topic}-new"), 1, 1)]);
        self.ask("create topic", &made.with_validate_only(true), 7)?;
        for (kind, topic) in [("", topic.as_str()), (" of unknown topic", "nothing")] {
            self.ask(&format!("create partitions{kind}"), &topics::growth(topic, 9, None).with_validate_only(true), 3)?;
            if kind.is_empty() && self.login.user.ends_with("overseer") {
                continue;
            }
            self.ask(&format!("delete topic{kind}"), &topics::deletion(&[topic]), 5)?;
            self.ask(&format!("describe configs{kind}"), &configs::describe(2, topic, Some(&["retention.ms"])), 4)?;
            let change = configs::change(2, topic, &[("retention.ms", configs::SET, Some("-1"))]);
            self.ask(&format!("alter configs{kind}"), &change.with_validate_only(true), 1)?;
        }
        self.ask("describe broker configs", &configs::describe(4, "1", Some(&["node.id"])), 4)?;
        self.ask("alter group configs", &configs::change(32, "g", &[]), 1)
    }

    fn groups(&mut self) -> Result<()> {
        let (topic, group) = (self.topic.clone(), self.group.clone());
        let keys = |kind: i8| FindCoordinatorRequest::default().with_key_type(kind);
        self.ask("find coordinator", &keys(0).with_coordinator_keys(vec![text(&group)]), 4)?;
        self.ask("find coordinator", &keys(0).with_key(text(&group)), 3)?;
        self.ask(
            "find coordinator of transactions",
            &keys(1).with_coordinator_keys(vec![text(&self.name.clone())]),
            4,
        )?;
        self.ask("join", &join(&group, "stranger", 5), 5)?;
        self.ask("sync", &sync(&group, "stranger", 1, &[]), 3)?;
        self.ask("heartbeat", &heartbeat(&group, "stranger", 1), 3)?;
        self.ask("leave", &leave(&group, "stranger", 5), 5)?;
        self.ask("leave", &leave(&group, "stranger", 2), 2)?;
        let of_stranger = commit(&group, &topic, 0, 1).with_member_id(text("stranger"));
        self.ask("offset commit", &of_stranger.with_generation_id_or_member_epoch(4), 8)?;
        self.ask("offset fetch", &fetch(&group, Some(&[(&topic, &[0])]), 7), 7)?;
        self.ask("offset fetch", &fetch(&group, None, 8), 8)?;
        self.ask("describe groups", &DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]), 5)?;
        self.ask("consumer heartbeat", &enter(&group, "AAAAAAAAAAAAAAAAAAAAAA", &[&topic]), 1)?;
        let describe = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(&group)]);
        self.ask("consumer group describe", &describe, 1)?;
        self.ask("delete group", &deletion(&[&group]), 2)?;
        let partitions = vec![OffsetDeleteRequestPartition::default()];
        let wanted = OffsetDeleteRequestTopic::default().with_name(topic_name(&topic)).with_partitions(partitions);
        let delete = OffsetDeleteRequest::default().with_group_id(group_id(&group)).with_topics(vec![wanted]);
        self.ask("offset delete", &delete, 0)?;
        let listed = self.connection.call(&ListGroupsRequest::default(), 4)?;
        let sees = listed.groups.iter().any(|one| *one.group_id.0 == *group);
        self.peer.note(&format!("{} list groups", self.login.user), (listed.error_code, sees));
        Ok(())
    }

    fn transactions(&mut self) -> Result<()> {
        let (topic, group, name) = (self.topic.clone(), self.group.clone(), self.name.clone());
        let producer = Producer { id: 4_000_000, epoch: 3 };
        self.ask("init producer", &InitProducerIdRequest::default().with_transactional_id(None), 4)?;
        self.ask("init transactions", &init(&name, Some(producer)), 4)?;
        self.ask("add partitions", &add(&name, producer, &topic, &[0], 3), 3)?;
        self.ask("add partitions of unknown topic", &add(&name, producer, "nothing", &[0], 3), 3)?;
        self.ask("verify partitions", &add(&name, producer, &topic, &[0], 4), 4)?;
        self.ask("add offsets", &add_offsets(&name, producer, &group), 3)?;
        self.ask("end", &end(&name, producer, true), 3)?;
        self.ask("commit offsets in a transaction", &commit_offset(&name, producer, &group, &topic), 3)?;
        self.ask("write in a transaction", &write(&name, producer, &topic, 0), 11)?;
        let describe = DescribeTransactionsRequest::default().with_transactional_ids(vec![transactional(&name)]);
        self.ask("describe transactions", &describe, 0)?;
        let wanted = ProducersOf::default().with_name(topic_name(&topic)).with_partition_indexes(vec![0]);
        self.ask("describe producers", &DescribeProducersRequest::default().with_topics(vec![wanted]), 0)?;
        let wanted = WritableTxnMarkerTopic::default().with_name(topic_name(&topic)).with_partition_indexes(vec![0]);
        let marker = WritableTxnMarker::default()
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_topics(vec![wanted]);
        self.ask("write markers", &WriteTxnMarkersRequest::default().with_markers(vec![marker]), 1)?;
        let listed = self.connection.call(&ListTransactionsRequest::default(), 0)?;
        let sees = listed.transaction_states.iter().any(|one| *one.transactional_id.0 == *name);
        self.peer.note(&format!("{} list transactions", self.login.user), (listed.error_code, sees));
        Ok(())
    }

    fn cluster(&mut self) -> Result<()> {
        let topic = self.topic.clone();
        self.ask("describe cluster", &DescribeClusterRequest::default(), 1)?;
        let operations = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        self.ask("describe cluster with operations", &operations, 1)?;
        self.ask("log dirs", &DescribeLogDirsRequest::default().with_topics(Some(vec![])), 4)?;
        let elect = ElectLeadersRequest::default().with_topic_partitions(Some(vec![])).with_timeout_ms(5000);
        self.ask("elect leaders", &elect, 2)?;
        self.ask("list config resources", &ListConfigResourcesRequest::default().with_resource_types(vec![16]), 1)?;
        let none: acls::Filter = (TOPIC, Some("nothing"), LITERAL, None, None, ANY, ANY);
        self.ask("describe ACLs", &acls::describe(&none), 3)?;
        let user = format!("User:{}", self.login.user);
        let more: Binding = (TOPIC, &topic, LITERAL, &user, "*", READ, ALLOW);
        self.ask("create ACLs", &acls::create(&[more]), 3)?;
        self.ask("delete ACLs", &acls::delete(&[none]), 3)?;
        self.ask("describe users", &users::described(Some(&[&self.login.user.clone()])), 0)?;
        let password = users::upsert(&self.login.user.clone(), 2, 4096);
        self.ask("alter users", &users::change(vec![], vec![password]), 0)?;
        self.ask("describe quotas", &users::quotas(&[("user", 0, Some("nobody-knows"))], true), 1)?;
        self.ask("alter quotas", &users::quota(&[("user", Some("x"))], &[("producer_byte_rate", None)]), 1)
    }
}

/// Makes a user with a password, as an administrator.
fn make_user(peer: &mut Peer, name: &str) -> Result<Login> {
    let salt = b"pepper and salt.";
    let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(PASSWORD.as_bytes(), salt, 4096);
    let upsert = ScramCredentialUpsertion::default()
        .with_name(text(name))
        .with_mechanism(1)
        .with_iterations(4096)
        .with_salt(Bytes::from_static(salt))
        .with_salted_password(Bytes::copy_from_slice(&salted));
    let answer = peer.ask(&mut peer.admin()?, &format!("{name} made"), &users::change(vec![], vec![upsert]), 0)?;
    check(answer.results.first().context("no answer for the user")?.error_code, "AlterUserScramCredentials")?;
    Ok(Login { user: name.to_owned(), password: PASSWORD.to_owned() })
}

pub(super) fn rights(peer: &mut Peer) -> Result<()> {
    let mut admin = peer.admin()?;
    let (topic, group, name) = (peer.own("t"), peer.own("g"), peer.own("x"));
    make(&mut admin, &topic, 1, &[topics::FOREVER])?;
    let (member, _) = alone(&mut admin, &group)?;
    check(admin.call(&init(&name, None), 4)?.error_code, "InitProducerId")?;
    for rights in &EVERYONE {
        let login = make_user(peer, &peer.own(rights.user))?;
        let principal = format!("User:{}", login.user);
        let binding = |(kind, operation): &(i8, i8)| {
            let resource = match *kind {
                TOPIC => topic.as_str(),
                GROUP => &group,
                CLUSTER => "kafka-cluster",
                _ => &name,
            };
            (*kind, resource, LITERAL, principal.as_str(), "*", *operation, ALLOW)
        };
        let bindings: Vec<Binding> = rights.of.iter().map(binding).collect();
        peer.ask(&mut admin, &format!("{} allowed", login.user), &acls::create(&bindings), 3)?;
        // Also waits until the broker has heard of the user and its rights.
        peer.ask(&mut admin, &format!("{} described", login.user), &users::described(Some(&[&login.user])), 0)?;
        let connection = peer.user(&login)?;
        let mut stage = Stage {
            peer: &mut *peer,
            connection,
            login,
            topic: topic.clone(),
            group: group.clone(),
            name: name.clone(),
        };
        stage.records()?;
        stage.topics()?;
        stage.groups()?;
        stage.transactions()?;
        stage.cluster()?;
    }
    peer.ask(&mut admin, "left", &leave(&group, &member, 5), 5)?;
    Ok(())
}
