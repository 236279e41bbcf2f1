//! A valid request of every API, with something in its arrays, to be made wrong by a test.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Request, StrBytes};

use crate::batch::Batch;
use crate::requests::{produce_request, topic_name};
use crate::wire::frame;

/// Topic of the samples; it need not exist.
pub const TOPIC: &str = "sample";

/// Requests of that API and version, or none if the codec does not know it.
pub fn samples(key: i16, version: i16) -> Vec<BytesMut> {
    let Ok(api) = ApiKey::try_from(key) else { return Vec::new() };
    match api {
        ApiKey::Produce => {
            let batch = Batch::of(["one", "two"]).encode().freeze();
            both(&produce_request(TOPIC, 0, -1, batch), version)
        }
        ApiKey::Fetch => both(&fetch(), version),
        ApiKey::ListOffsets => both(&list_offsets(), version),
        ApiKey::Metadata => {
            let topic = MetadataRequestTopic::default().with_name(Some(topic_name(TOPIC)));
            both(&MetadataRequest::default().with_topics(Some(vec![topic])), version)
        }
        ApiKey::CreateTopics => {
            let topic = CreatableTopic::default().with_name(topic_name("created")).with_num_partitions(-1);
            let topic = topic.with_replication_factor(-1);
            both(&CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1000), version)
        }
        ApiKey::DescribeConfigs => {
            let resource = DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(StrBytes::from_static_str(TOPIC))
                .with_configuration_keys(Some(vec![StrBytes::from_static_str("retention.ms")]));
            both(&DescribeConfigsRequest::default().with_resources(vec![resource]), version)
        }
        ApiKey::JoinGroup => both(&join_group(), version),
        ApiKey::SaslAuthenticate => {
            both(&SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(b"n,,n=x,r=y")), version)
        }
        ApiKey::SaslHandshake => {
            both(&SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN")), version)
        }
        ApiKey::OffsetCommit => plain::<OffsetCommitRequest>(version),
        ApiKey::OffsetFetch => plain::<OffsetFetchRequest>(version),
        ApiKey::FindCoordinator => plain::<FindCoordinatorRequest>(version),
        ApiKey::Heartbeat => plain::<HeartbeatRequest>(version),
        ApiKey::LeaveGroup => plain::<LeaveGroupRequest>(version),
        ApiKey::SyncGroup => plain::<SyncGroupRequest>(version),
        ApiKey::DescribeGroups => plain::<DescribeGroupsRequest>(version),
        ApiKey::ListGroups => plain::<ListGroupsRequest>(version),
        ApiKey::ApiVersions => plain::<ApiVersionsRequest>(version),
        ApiKey::DeleteTopics => plain::<DeleteTopicsRequest>(version),
        ApiKey::DeleteRecords => plain::<DeleteRecordsRequest>(version),
        ApiKey::InitProducerId => plain::<InitProducerIdRequest>(version),
        ApiKey::OffsetForLeaderEpoch => plain::<OffsetForLeaderEpochRequest>(version),
        ApiKey::DescribeAcls => plain::<DescribeAclsRequest>(version),
        ApiKey::CreateAcls => plain::<CreateAclsRequest>(version),
        ApiKey::DeleteAcls => plain::<DeleteAclsRequest>(version),
        ApiKey::AlterConfigs => plain::<AlterConfigsRequest>(version),
        ApiKey::CreatePartitions => plain::<CreatePartitionsRequest>(version),
        ApiKey::DeleteGroups => plain::<DeleteGroupsRequest>(version),
        ApiKey::IncrementalAlterConfigs => plain::<IncrementalAlterConfigsRequest>(version),
        ApiKey::OffsetDelete => plain::<OffsetDeleteRequest>(version),
        ApiKey::DescribeClientQuotas => both(&describe_quotas(), version),
        ApiKey::AlterClientQuotas => both(&alter_quotas(), version),
        ApiKey::DescribeUserScramCredentials => plain::<DescribeUserScramCredentialsRequest>(version),
        ApiKey::AlterUserScramCredentials => plain::<AlterUserScramCredentialsRequest>(version),
        ApiKey::DescribeCluster => plain::<DescribeClusterRequest>(version),
        ApiKey::ConsumerGroupHeartbeat => both(&consumer_group_heartbeat(), version),
        ApiKey::ConsumerGroupDescribe => {
            let group = GroupId(StrBytes::from_static_str("sample"));
            both(&ConsumerGroupDescribeRequest::default().with_group_ids(vec![group]), version)
        }
        ApiKey::DescribeTopicPartitions => both(&describe_topic_partitions(), version),
        ApiKey::DescribeLogDirs => {
            use describe_log_dirs_request::DescribableLogDirTopic;
            let topic = DescribableLogDirTopic::default().with_topic(topic_name(TOPIC)).with_partitions(vec![0, 1]);
            both(&DescribeLogDirsRequest::default().with_topics(Some(vec![topic])), version)
        }
        ApiKey::ElectLeaders => {
            use elect_leaders_request::TopicPartitions;
            let topic = TopicPartitions::default().with_topic(topic_name(TOPIC)).with_partitions(vec![0, 1]);
            both(&ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic])), version)
        }
        ApiKey::ListConfigResources => {
            both(&ListConfigResourcesRequest::default().with_resource_types(vec![2, 4]), version)
        }
        ApiKey::AddPartitionsToTxn => both(&add_partitions_to_txn(version), version),
        ApiKey::AddOffsetsToTxn => plain::<AddOffsetsToTxnRequest>(version),
        ApiKey::EndTxn => plain::<EndTxnRequest>(version),
        ApiKey::WriteTxnMarkers => both(&write_txn_markers(), version),
        ApiKey::TxnOffsetCommit => both(&txn_offset_commit(), version),
        ApiKey::DescribeProducers => {
            use describe_producers_request::TopicRequest;
            let topic = TopicRequest::default().with_name(topic_name(TOPIC)).with_partition_indexes(vec![0, 1]);
            both(&DescribeProducersRequest::default().with_topics(vec![topic]), version)
        }
        ApiKey::DescribeTransactions => {
            let ids = vec![TransactionalId(StrBytes::from_static_str("sample"))];
            both(&DescribeTransactionsRequest::default().with_transactional_ids(ids), version)
        }
        ApiKey::ListTransactions => {
            let states = vec![StrBytes::from_static_str("Ongoing"), StrBytes::from_static_str("no state")];
            let request = ListTransactionsRequest::default().with_state_filters(states);
            both(&request.with_producer_id_filters(vec![ProducerId(1)]), version)
        }
        _ => Vec::new(),
    }
}

fn add_partitions_to_txn(version: i16) -> AddPartitionsToTxnRequest {
    use add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction};
    let id = TransactionalId(StrBytes::from_static_str("sample"));
    let topics = vec![AddPartitionsToTxnTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![0, 1])];
    if version < 4 {
        let request = AddPartitionsToTxnRequest::default().with_v3_and_below_transactional_id(id);
        return request.with_v3_and_below_topics(topics);
    }
    let transaction = AddPartitionsToTxnTransaction::default().with_transactional_id(id).with_topics(topics);
    AddPartitionsToTxnRequest::default().with_transactions(vec![transaction])
}

fn write_txn_markers() -> WriteTxnMarkersRequest {
    use write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
    let topic = WritableTxnMarkerTopic::default().with_name(topic_name(TOPIC)).with_partition_indexes(vec![0, 1]);
    let marker = WritableTxnMarker::default().with_producer_id(ProducerId(1)).with_topics(vec![topic]);
    WriteTxnMarkersRequest::default().with_markers(vec![marker])
}

fn txn_offset_commit() -> TxnOffsetCommitRequest {
    use txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic};
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = TxnOffsetCommitRequestTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![partition]);
    TxnOffsetCommitRequest::default().with_topics(vec![topic])
}

fn plain<R: Request + Default>(version: i16) -> Vec<BytesMut> {
    frame(&R::default(), version, 1).into_iter().collect()
}

/// The filled request where this version can say it, and the empty one.
fn both<R: Request + Default>(request: &R, version: i16) -> Vec<BytesMut> {
    frame(request, version, 1).into_iter().chain(plain::<R>(version)).collect()
}

fn fetch() -> FetchRequest {
    let partition = FetchPartition::default().with_partition_max_bytes(1000).with_current_leader_epoch(-1);
    let topic = FetchTopic::default().with_topic(topic_name(TOPIC)).with_partitions(vec![partition]);
    FetchRequest::default().with_max_wait_ms(1).with_session_epoch(-1).with_topics(vec![topic])
}

fn describe_topic_partitions() -> DescribeTopicPartitionsRequest {
    use describe_topic_partitions_request::{Cursor, TopicRequest};
    let cursor = Cursor::default().with_topic_name(topic_name(TOPIC)).with_partition_index(0);
    DescribeTopicPartitionsRequest::default()
        .with_topics(vec![TopicRequest::default().with_name(topic_name(TOPIC))])
        .with_response_partition_limit(10)
        .with_cursor(Some(cursor))
}

fn describe_quotas() -> DescribeClientQuotasRequest {
    let component = describe_client_quotas_request::ComponentData::default()
        .with_entity_type(StrBytes::from_static_str("user"))
        .with_match(Some(StrBytes::from_static_str("sample")));
    DescribeClientQuotasRequest::default().with_components(vec![component])
}

/// Only checked, so that no mutation of it limits the honest client.
fn alter_quotas() -> AlterClientQuotasRequest {
    use alter_client_quotas_request::{EntityData, EntryData, OpData};
    let entity = EntityData::default().with_entity_type(StrBytes::from_static_str("user"));
    let op = OpData::default().with_key(StrBytes::from_static_str("request_percentage")).with_value(1e9);
    let entry = EntryData::default().with_entity(vec![entity.with_entity_name(Some("sample".into()))]);
    AlterClientQuotasRequest::default().with_entries(vec![entry.with_ops(vec![op])]).with_validate_only(true)
}

fn list_offsets() -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default().with_timestamp(-1).with_current_leader_epoch(-1);
    let topic = ListOffsetsTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

fn consumer_group_heartbeat() -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str("sample-consumers")))
        .with_member_id(StrBytes::from_static_str("member"))
        .with_rebalance_timeout_ms(1000)
        .with_subscribed_topic_names(Some(vec![topic_name(TOPIC)]))
        .with_topic_partitions(Some(Vec::new()))
}

fn join_group() -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(StrBytes::from_static_str("range"))
        .with_metadata(Bytes::from_static(&[0; 12]));
    JoinGroupRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str("sample")))
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_session_timeout_ms(6000)
        .with_rebalance_timeout_ms(100)
        .with_protocols(vec![protocol])
}
