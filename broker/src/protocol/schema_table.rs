//! Requests as Apache Kafka defines them. Made by `broker/tools/request_schema.py`; not edited by hand.

use super::schema::Kind::{Array, Bytes, Fixed, Struct, Text};
use super::schema::{Field, LAST, Message, field};

static PRODUCE_PARTITION_PRODUCE_DATA: [Field; 2] =
    [field("Index", Fixed(4), 0, LAST), field("Records", Bytes, 0, LAST).nullable(0, LAST)];
static PRODUCE_TOPIC_PRODUCE_DATA: [Field; 3] = [
    field("Name", Text, 0, 12),
    field("TopicId", Fixed(16), 13, LAST),
    field("PartitionData", Array(&Struct(&PRODUCE_PARTITION_PRODUCE_DATA)), 0, LAST),
];
static PRODUCE_REQUEST: [Field; 4] = [
    field("TransactionalId", Text, 3, LAST).nullable(3, LAST),
    field("Acks", Fixed(2), 0, LAST),
    field("TimeoutMs", Fixed(4), 0, LAST),
    field("TopicData", Array(&Struct(&PRODUCE_TOPIC_PRODUCE_DATA)), 0, LAST),
];

static FETCH_REPLICA_STATE: [Field; 2] =
    [field("ReplicaId", Fixed(4), 15, LAST), field("ReplicaEpoch", Fixed(8), 15, LAST)];
static FETCH_FETCH_PARTITION: [Field; 8] = [
    field("Partition", Fixed(4), 0, LAST),
    field("CurrentLeaderEpoch", Fixed(4), 9, LAST),
    field("FetchOffset", Fixed(8), 0, LAST),
    field("LastFetchedEpoch", Fixed(4), 12, LAST),
    field("LogStartOffset", Fixed(8), 5, LAST),
    field("PartitionMaxBytes", Fixed(4), 0, LAST),
    field("ReplicaDirectoryId", Fixed(16), 17, LAST).tagged(0),
    field("HighWatermark", Fixed(8), 18, LAST).tagged(1),
];
static FETCH_FETCH_TOPIC: [Field; 3] = [
    field("Topic", Text, 0, 12),
    field("TopicId", Fixed(16), 13, LAST),
    field("Partitions", Array(&Struct(&FETCH_FETCH_PARTITION)), 0, LAST),
];
static FETCH_FORGOTTEN_TOPIC: [Field; 3] = [
    field("Topic", Text, 7, 12),
    field("TopicId", Fixed(16), 13, LAST),
    field("Partitions", Array(&Fixed(4)), 7, LAST),
];
static FETCH_REQUEST: [Field; 12] = [
    field("ClusterId", Text, 12, LAST).nullable(12, LAST).tagged(0),
    field("ReplicaId", Fixed(4), 0, 14),
    field("ReplicaState", Struct(&FETCH_REPLICA_STATE), 15, LAST).tagged(1),
    field("MaxWaitMs", Fixed(4), 0, LAST),
    field("MinBytes", Fixed(4), 0, LAST),
    field("MaxBytes", Fixed(4), 3, LAST),
    field("IsolationLevel", Fixed(1), 4, LAST),
    field("SessionId", Fixed(4), 7, LAST),
    field("SessionEpoch", Fixed(4), 7, LAST),
    field("Topics", Array(&Struct(&FETCH_FETCH_TOPIC)), 0, LAST),
    field("ForgottenTopicsData", Array(&Struct(&FETCH_FORGOTTEN_TOPIC)), 7, LAST),
    field("RackId", Text, 11, LAST),
];

static LIST_OFFSETS_LIST_OFFSETS_PARTITION: [Field; 3] = [
    field("PartitionIndex", Fixed(4), 0, LAST),
    field("CurrentLeaderEpoch", Fixed(4), 4, LAST),
    field("Timestamp", Fixed(8), 0, LAST),
];
static LIST_OFFSETS_LIST_OFFSETS_TOPIC: [Field; 2] =
    [field("Name", Text, 0, LAST), field("Partitions", Array(&Struct(&LIST_OFFSETS_LIST_OFFSETS_PARTITION)), 0, LAST)];
static LIST_OFFSETS_REQUEST: [Field; 4] = [
    field("ReplicaId", Fixed(4), 0, LAST),
    field("IsolationLevel", Fixed(1), 2, LAST),
    field("Topics", Array(&Struct(&LIST_OFFSETS_LIST_OFFSETS_TOPIC)), 0, LAST),
    field("TimeoutMs", Fixed(4), 10, LAST),
];

static METADATA_METADATA_REQUEST_TOPIC: [Field; 2] =
    [field("TopicId", Fixed(16), 10, LAST), field("Name", Text, 0, LAST).nullable(10, LAST)];
static METADATA_REQUEST: [Field; 4] = [
    field("Topics", Array(&Struct(&METADATA_METADATA_REQUEST_TOPIC)), 0, LAST).nullable(1, LAST),
    field("AllowAutoTopicCreation", Fixed(1), 4, LAST),
    field("IncludeClusterAuthorizedOperations", Fixed(1), 8, 10),
    field("IncludeTopicAuthorizedOperations", Fixed(1), 8, LAST),
];

static OFFSET_COMMIT_OFFSET_COMMIT_REQUEST_PARTITION: [Field; 4] = [
    field("PartitionIndex", Fixed(4), 0, LAST),
    field("CommittedOffset", Fixed(8), 0, LAST),
    field("CommittedLeaderEpoch", Fixed(4), 6, LAST),
    field("CommittedMetadata", Text, 0, LAST).nullable(0, LAST),
];
static OFFSET_COMMIT_OFFSET_COMMIT_REQUEST_TOPIC: [Field; 3] = [
    field("Name", Text, 0, 9),
    field("TopicId", Fixed(16), 10, LAST),
    field("Partitions", Array(&Struct(&OFFSET_COMMIT_OFFSET_COMMIT_REQUEST_PARTITION)), 0, LAST),
];
static OFFSET_COMMIT_REQUEST: [Field; 6] = [
    field("GroupId", Text, 0, LAST),
    field("GenerationIdOrMemberEpoch", Fixed(4), 1, LAST),
    field("MemberId", Text, 1, LAST),
    field("GroupInstanceId", Text, 7, LAST).nullable(7, LAST),
    field("RetentionTimeMs", Fixed(8), 2, 4),
    field("Topics", Array(&Struct(&OFFSET_COMMIT_OFFSET_COMMIT_REQUEST_TOPIC)), 0, LAST),
];

static OFFSET_FETCH_OFFSET_FETCH_REQUEST_TOPIC: [Field; 2] =
    [field("Name", Text, 0, 7), field("PartitionIndexes", Array(&Fixed(4)), 0, 7)];
static OFFSET_FETCH_OFFSET_FETCH_REQUEST_TOPICS: [Field; 3] = [
    field("Name", Text, 8, 9),
    field("TopicId", Fixed(16), 10, LAST),
    field("PartitionIndexes", Array(&Fixed(4)), 8, LAST),
];
static OFFSET_FETCH_OFFSET_FETCH_REQUEST_GROUP: [Field; 4] = [
    field("GroupId", Text, 8, LAST),
    field("MemberId", Text, 9, LAST).nullable(9, LAST),
    field("MemberEpoch", Fixed(4), 9, LAST),
    field("Topics", Array(&Struct(&OFFSET_FETCH_OFFSET_FETCH_REQUEST_TOPICS)), 8, LAST).nullable(8, LAST),
];
static OFFSET_FETCH_REQUEST: [Field; 4] = [
    field("GroupId", Text, 0, 7),
    field("Topics", Array(&Struct(&OFFSET_FETCH_OFFSET_FETCH_REQUEST_TOPIC)), 0, 7).nullable(2, 7),
    field("Groups", Array(&Struct(&OFFSET_FETCH_OFFSET_FETCH_REQUEST_GROUP)), 8, LAST),
    field("RequireStable", Fixed(1), 7, LAST),
];

static FIND_COORDINATOR_REQUEST: [Field; 3] =
    [field("Key", Text, 0, 3), field("KeyType", Fixed(1), 1, LAST), field("CoordinatorKeys", Array(&Text), 4, LAST)];

static JOIN_GROUP_JOIN_GROUP_REQUEST_PROTOCOL: [Field; 2] =
    [field("Name", Text, 0, LAST), field("Metadata", Bytes, 0, LAST)];
static JOIN_GROUP_REQUEST: [Field; 8] = [
    field("GroupId", Text, 0, LAST),
    field("SessionTimeoutMs", Fixed(4), 0, LAST),
    field("RebalanceTimeoutMs", Fixed(4), 1, LAST),
    field("MemberId", Text, 0, LAST),
    field("GroupInstanceId", Text, 5, LAST).nullable(5, LAST),
    field("ProtocolType", Text, 0, LAST),
    field("Protocols", Array(&Struct(&JOIN_GROUP_JOIN_GROUP_REQUEST_PROTOCOL)), 0, LAST),
    field("Reason", Text, 8, LAST).nullable(8, LAST),
];

static HEARTBEAT_REQUEST: [Field; 4] = [
    field("GroupId", Text, 0, LAST),
    field("GenerationId", Fixed(4), 0, LAST),
    field("MemberId", Text, 0, LAST),
    field("GroupInstanceId", Text, 3, LAST).nullable(3, LAST),
];

static LEAVE_GROUP_MEMBER_IDENTITY: [Field; 3] = [
    field("MemberId", Text, 3, LAST),
    field("GroupInstanceId", Text, 3, LAST).nullable(3, LAST),
    field("Reason", Text, 5, LAST).nullable(5, LAST),
];
static LEAVE_GROUP_REQUEST: [Field; 3] = [
    field("GroupId", Text, 0, LAST),
    field("MemberId", Text, 0, 2),
    field("Members", Array(&Struct(&LEAVE_GROUP_MEMBER_IDENTITY)), 3, LAST),
];

static SYNC_GROUP_SYNC_GROUP_REQUEST_ASSIGNMENT: [Field; 2] =
    [field("MemberId", Text, 0, LAST), field("Assignment", Bytes, 0, LAST)];
static SYNC_GROUP_REQUEST: [Field; 7] = [
    field("GroupId", Text, 0, LAST),
    field("GenerationId", Fixed(4), 0, LAST),
    field("MemberId", Text, 0, LAST),
    field("GroupInstanceId", Text, 3, LAST).nullable(3, LAST),
    field("ProtocolType", Text, 5, LAST).nullable(5, LAST),
    field("ProtocolName", Text, 5, LAST).nullable(5, LAST),
    field("Assignments", Array(&Struct(&SYNC_GROUP_SYNC_GROUP_REQUEST_ASSIGNMENT)), 0, LAST),
];

static DESCRIBE_GROUPS_REQUEST: [Field; 2] =
    [field("Groups", Array(&Text), 0, LAST), field("IncludeAuthorizedOperations", Fixed(1), 3, LAST)];

static LIST_GROUPS_REQUEST: [Field; 2] =
    [field("StatesFilter", Array(&Text), 4, LAST), field("TypesFilter", Array(&Text), 5, LAST)];

static SASL_HANDSHAKE_REQUEST: [Field; 1] = [field("Mechanism", Text, 0, LAST)];

static API_VERSIONS_REQUEST: [Field; 2] =
    [field("ClientSoftwareName", Text, 3, LAST), field("ClientSoftwareVersion", Text, 3, LAST)];

static CREATE_TOPICS_CREATABLE_REPLICA_ASSIGNMENT: [Field; 2] =
    [field("PartitionIndex", Fixed(4), 0, LAST), field("BrokerIds", Array(&Fixed(4)), 0, LAST)];
static CREATE_TOPICS_CREATABLE_TOPIC_CONFIG: [Field; 2] =
    [field("Name", Text, 0, LAST), field("Value", Text, 0, LAST).nullable(0, LAST)];
static CREATE_TOPICS_CREATABLE_TOPIC: [Field; 5] = [
    field("Name", Text, 0, LAST),
    field("NumPartitions", Fixed(4), 0, LAST),
    field("ReplicationFactor", Fixed(2), 0, LAST),
    field("Assignments", Array(&Struct(&CREATE_TOPICS_CREATABLE_REPLICA_ASSIGNMENT)), 0, LAST),
    field("Configs", Array(&Struct(&CREATE_TOPICS_CREATABLE_TOPIC_CONFIG)), 0, LAST),
];
static CREATE_TOPICS_REQUEST: [Field; 3] = [
    field("Topics", Array(&Struct(&CREATE_TOPICS_CREATABLE_TOPIC)), 0, LAST),
    field("timeoutMs", Fixed(4), 0, LAST),
    field("validateOnly", Fixed(1), 1, LAST),
];

static DELETE_TOPICS_DELETE_TOPIC_STATE: [Field; 2] =
    [field("Name", Text, 6, LAST).nullable(6, LAST), field("TopicId", Fixed(16), 6, LAST)];
static DELETE_TOPICS_REQUEST: [Field; 3] = [
    field("Topics", Array(&Struct(&DELETE_TOPICS_DELETE_TOPIC_STATE)), 6, LAST),
    field("TopicNames", Array(&Text), 0, 5),
    field("TimeoutMs", Fixed(4), 0, LAST),
];

static DELETE_RECORDS_DELETE_RECORDS_PARTITION: [Field; 2] =
    [field("PartitionIndex", Fixed(4), 0, LAST), field("Offset", Fixed(8), 0, LAST)];
static DELETE_RECORDS_DELETE_RECORDS_TOPIC: [Field; 2] = [
    field("Name", Text, 0, LAST),
    field("Partitions", Array(&Struct(&DELETE_RECORDS_DELETE_RECORDS_PARTITION)), 0, LAST),
];
static DELETE_RECORDS_REQUEST: [Field; 2] = [
    field("Topics", Array(&Struct(&DELETE_RECORDS_DELETE_RECORDS_TOPIC)), 0, LAST),
    field("TimeoutMs", Fixed(4), 0, LAST),
];

static INIT_PRODUCER_ID_REQUEST: [Field; 6] = [
    field("TransactionalId", Text, 0, LAST).nullable(0, LAST),
    field("TransactionTimeoutMs", Fixed(4), 0, LAST),
    field("ProducerId", Fixed(8), 3, LAST),
    field("ProducerEpoch", Fixed(2), 3, LAST),
    field("Enable2Pc", Fixed(1), 6, LAST),
    field("KeepPreparedTxn", Fixed(1), 6, LAST),
];

static OFFSET_FOR_LEADER_EPOCH_OFFSET_FOR_LEADER_PARTITION: [Field; 3] = [
    field("Partition", Fixed(4), 0, LAST),
    field("CurrentLeaderEpoch", Fixed(4), 2, LAST),
    field("LeaderEpoch", Fixed(4), 0, LAST),
];
static OFFSET_FOR_LEADER_EPOCH_OFFSET_FOR_LEADER_TOPIC: [Field; 2] = [
    field("Topic", Text, 0, LAST),
    field("Partitions", Array(&Struct(&OFFSET_FOR_LEADER_EPOCH_OFFSET_FOR_LEADER_PARTITION)), 0, LAST),
];
static OFFSET_FOR_LEADER_EPOCH_REQUEST: [Field; 2] = [
    field("ReplicaId", Fixed(4), 3, LAST),
    field("Topics", Array(&Struct(&OFFSET_FOR_LEADER_EPOCH_OFFSET_FOR_LEADER_TOPIC)), 0, LAST),
];

static ADD_PARTITIONS_TO_TXN_ADD_PARTITIONS_TO_TXN_TOPIC: [Field; 2] =
    [field("Name", Text, 0, LAST), field("Partitions", Array(&Fixed(4)), 0, LAST)];
static ADD_PARTITIONS_TO_TXN_ADD_PARTITIONS_TO_TXN_TRANSACTION: [Field; 5] = [
    field("TransactionalId", Text, 4, LAST),
    field("ProducerId", Fixed(8), 4, LAST),
    field("ProducerEpoch", Fixed(2), 4, LAST),
    field("VerifyOnly", Fixed(1), 4, LAST),
    field("Topics", Array(&Struct(&ADD_PARTITIONS_TO_TXN_ADD_PARTITIONS_TO_TXN_TOPIC)), 4, LAST),
];
static ADD_PARTITIONS_TO_TXN_REQUEST: [Field; 5] = [
    field("Transactions", Array(&Struct(&ADD_PARTITIONS_TO_TXN_ADD_PARTITIONS_TO_TXN_TRANSACTION)), 4, LAST),
    field("V3AndBelowTransactionalId", Text, 0, 3),
    field("V3AndBelowProducerId", Fixed(8), 0, 3),
    field("V3AndBelowProducerEpoch", Fixed(2), 0, 3),
    field("V3AndBelowTopics", Array(&Struct(&ADD_PARTITIONS_TO_TXN_ADD_PARTITIONS_TO_TXN_TOPIC)), 0, 3),
];

static ADD_OFFSETS_TO_TXN_REQUEST: [Field; 4] = [
    field("TransactionalId", Text, 0, LAST),
    field("ProducerId", Fixed(8), 0, LAST),
    field("ProducerEpoch", Fixed(2), 0, LAST),
    field("GroupId", Text, 0, LAST),
];

static END_TXN_REQUEST: [Field; 4] = [
    field("TransactionalId", Text, 0, LAST),
    field("ProducerId", Fixed(8), 0, LAST),
    field("ProducerEpoch", Fixed(2), 0, LAST),
    field("Committed", Fixed(1), 0, LAST),
];

static WRITE_TXN_MARKERS_WRITABLE_TXN_MARKER_TOPIC: [Field; 2] =
    [field("Name", Text, 0, LAST), field("PartitionIndexes", Array(&Fixed(4)), 0, LAST)];
static WRITE_TXN_MARKERS_WRITABLE_TXN_MARKER: [Field; 5] = [
    field("ProducerId", Fixed(8), 0, LAST),
    field("ProducerEpoch", Fixed(2), 0, LAST),
    field("TransactionResult", Fixed(1), 0, LAST),
    field("Topics", Array(&Struct(&WRITE_TXN_MARKERS_WRITABLE_TXN_MARKER_TOPIC)), 0, LAST),
    field("CoordinatorEpoch", Fixed(4), 0, LAST),
];
static WRITE_TXN_MARKERS_REQUEST: [Field; 1] =
    [field("Markers", Array(&Struct(&WRITE_TXN_MARKERS_WRITABLE_TXN_MARKER)), 0, LAST)];

static TXN_OFFSET_COMMIT_TXN_OFFSET_COMMIT_REQUEST_PARTITION: [Field; 4] = [
    field("PartitionIndex", Fixed(4), 0, LAST),
    field("CommittedOffset", Fixed(8), 0, LAST),
    field("CommittedLeaderEpoch", Fixed(4), 2, LAST),
    field("CommittedMetadata", Text, 0, LAST).nullable(0, LAST),
];
static TXN_OFFSET_COMMIT_TXN_OFFSET_COMMIT_REQUEST_TOPIC: [Field; 2] = [
    field("Name", Text, 0, LAST),
    field("Partitions", Array(&Struct(&TXN_OFFSET_COMMIT_TXN_OFFSET_COMMIT_REQUEST_PARTITION)), 0, LAST),
];
static TXN_OFFSET_COMMIT_REQUEST: [Field; 8] = [
    field("TransactionalId", Text, 0, LAST),
    field("GroupId", Text, 0, LAST),
    field("ProducerId", Fixed(8), 0, LAST),
    field("ProducerEpoch", Fixed(2), 0, LAST),
    field("GenerationId", Fixed(4), 3, LAST),
    field("MemberId", Text, 3, LAST),
    field("GroupInstanceId", Text, 3, LAST).nullable(3, LAST),
    field("Topics", Array(&Struct(&TXN_OFFSET_COMMIT_TXN_OFFSET_COMMIT_REQUEST_TOPIC)), 0, LAST),
];

static DESCRIBE_ACLS_REQUEST: [Field; 7] = [
    field("ResourceTypeFilter", Fixed(1), 0, LAST),
    field("ResourceNameFilter", Text, 0, LAST).nullable(0, LAST),
    field("PatternTypeFilter", Fixed(1), 1, LAST),
    field("PrincipalFilter", Text, 0, LAST).nullable(0, LAST),
    field("HostFilter", Text, 0, LAST).nullable(0, LAST),
    field("Operation", Fixed(1), 0, LAST),
    field("PermissionType", Fixed(1), 0, LAST),
];

static CREATE_ACLS_ACL_CREATION: [Field; 7] = [
    field("ResourceType", Fixed(1), 0, LAST),
    field("ResourceName", Text, 0, LAST),
    field("ResourcePatternType", Fixed(1), 1, LAST),
    field("Principal", Text, 0, LAST),
    field("Host", Text, 0, LAST),
    field("Operation", Fixed(1), 0, LAST),
    field("PermissionType", Fixed(1), 0, LAST),
];
static CREATE_ACLS_REQUEST: [Field; 1] = [field("Creations", Array(&Struct(&CREATE_ACLS_ACL_CREATION)), 0, LAST)];

static DELETE_ACLS_DELETE_ACLS_FILTER: [Field; 7] = [
    field("ResourceTypeFilter", Fixed(1), 0, LAST),
    field("ResourceNameFilter", Text, 0, LAST).nullable(0, LAST),
    field("PatternTypeFilter", Fixed(1), 1, LAST),
    field("PrincipalFilter", Text, 0, LAST).nullable(0, LAST),
    field("HostFilter", Text, 0, LAST).nullable(0, LAST),
    field("Operation", Fixed(1), 0, LAST),
    field("PermissionType", Fixed(1), 0, LAST),
];
static DELETE_ACLS_REQUEST: [Field; 1] = [field("Filters", Array(&Struct(&DELETE_ACLS_DELETE_ACLS_FILTER)), 0, LAST)];

static DESCRIBE_CONFIGS_DESCRIBE_CONFIGS_RESOURCE: [Field; 3] = [
    field("ResourceType", Fixed(1), 0, LAST),
    field("ResourceName", Text, 0, LAST),
    field("ConfigurationKeys", Array(&Text), 0, LAST).nullable(0, LAST),
];
static DESCRIBE_CONFIGS_REQUEST: [Field; 3] = [
    field("Resources", Array(&Struct(&DESCRIBE_CONFIGS_DESCRIBE_CONFIGS_RESOURCE)), 0, LAST),
    field("IncludeSynonyms", Fixed(1), 1, LAST),
    field("IncludeDocumentation", Fixed(1), 3, LAST),
];

static ALTER_CONFIGS_ALTERABLE_CONFIG: [Field; 2] =
    [field("Name", Text, 0, LAST), field("Value", Text, 0, LAST).nullable(0, LAST)];
static ALTER_CONFIGS_ALTER_CONFIGS_RESOURCE: [Field; 3] = [
    field("ResourceType", Fixed(1), 0, LAST),
    field("ResourceName", Text, 0, LAST),
    field("Configs", Array(&Struct(&ALTER_CONFIGS_ALTERABLE_CONFIG)), 0, LAST),
];
static ALTER_CONFIGS_REQUEST: [Field; 2] = [
    field("Resources", Array(&Struct(&ALTER_CONFIGS_ALTER_CONFIGS_RESOURCE)), 0, LAST),
    field("ValidateOnly", Fixed(1), 0, LAST),
];

static ALTER_REPLICA_LOG_DIRS_ALTER_REPLICA_LOG_DIR_TOPIC: [Field; 2] =
    [field("Name", Text, 0, LAST), field("Partitions", Array(&Fixed(4)), 0, LAST)];
static ALTER_REPLICA_LOG_DIRS_ALTER_REPLICA_LOG_DIR: [Field; 2] = [
    field("Path", Text, 0, LAST),
    field("Topics", Array(&Struct(&ALTER_REPLICA_LOG_DIRS_ALTER_REPLICA_LOG_DIR_TOPIC)), 0, LAST),
];
static ALTER_REPLICA_LOG_DIRS_REQUEST: [Field; 1] =
    [field("Dirs", Array(&Struct(&ALTER_REPLICA_LOG_DIRS_ALTER_REPLICA_LOG_DIR)), 0, LAST)];

static DESCRIBE_LOG_DIRS_DESCRIBABLE_LOG_DIR_TOPIC: [Field; 2] =
    [field("Topic", Text, 0, LAST), field("Partitions", Array(&Fixed(4)), 0, LAST)];
static DESCRIBE_LOG_DIRS_REQUEST: [Field; 1] =
    [field("Topics", Array(&Struct(&DESCRIBE_LOG_DIRS_DESCRIBABLE_LOG_DIR_TOPIC)), 0, LAST).nullable(0, LAST)];

static SASL_AUTHENTICATE_REQUEST: [Field; 1] = [field("AuthBytes", Bytes, 0, LAST)];

static CREATE_PARTITIONS_CREATE_PARTITIONS_ASSIGNMENT: [Field; 1] = [field("BrokerIds", Array(&Fixed(4)), 0, LAST)];
static CREATE_PARTITIONS_CREATE_PARTITIONS_TOPIC: [Field; 3] = [
    field("Name", Text, 0, LAST),
    field("Count", Fixed(4), 0, LAST),
    field("Assignments", Array(&Struct(&CREATE_PARTITIONS_CREATE_PARTITIONS_ASSIGNMENT)), 0, LAST).nullable(0, LAST),
];
static CREATE_PARTITIONS_REQUEST: [Field; 3] = [
    field("Topics", Array(&Struct(&CREATE_PARTITIONS_CREATE_PARTITIONS_TOPIC)), 0, LAST),
    field("TimeoutMs", Fixed(4), 0, LAST),
    field("ValidateOnly", Fixed(1), 0, LAST),
];

static DELETE_GROUPS_REQUEST: [Field; 1] = [field("GroupsNames", Array(&Text), 0, LAST)];

static ELECT_LEADERS_TOPIC_PARTITIONS: [Field; 2] =
    [field("Topic", Text, 0, LAST), field("Partitions", Array(&Fixed(4)), 0, LAST)];
static ELECT_LEADERS_REQUEST: [Field; 3] = [
    field("ElectionType", Fixed(1), 1, LAST),
    field("TopicPartitions", Array(&Struct(&ELECT_LEADERS_TOPIC_PARTITIONS)), 0, LAST).nullable(0, LAST),
    field("TimeoutMs", Fixed(4), 0, LAST),
];

static INCREMENTAL_ALTER_CONFIGS_ALTERABLE_CONFIG: [Field; 3] = [
    field("Name", Text, 0, LAST),
    field("ConfigOperation", Fixed(1), 0, LAST),
    field("Value", Text, 0, LAST).nullable(0, LAST),
];
static INCREMENTAL_ALTER_CONFIGS_ALTER_CONFIGS_RESOURCE: [Field; 3] = [
    field("ResourceType", Fixed(1), 0, LAST),
    field("ResourceName", Text, 0, LAST),
    field("Configs", Array(&Struct(&INCREMENTAL_ALTER_CONFIGS_ALTERABLE_CONFIG)), 0, LAST),
];
static INCREMENTAL_ALTER_CONFIGS_REQUEST: [Field; 2] = [
    field("Resources", Array(&Struct(&INCREMENTAL_ALTER_CONFIGS_ALTER_CONFIGS_RESOURCE)), 0, LAST),
    field("ValidateOnly", Fixed(1), 0, LAST),
];

static ALTER_PARTITION_REASSIGNMENTS_REASSIGNABLE_PARTITION: [Field; 2] =
    [field("PartitionIndex", Fixed(4), 0, LAST), field("Replicas", Array(&Fixed(4)), 0, LAST).nullable(0, LAST)];
static ALTER_PARTITION_REASSIGNMENTS_REASSIGNABLE_TOPIC: [Field; 2] = [
    field("Name", Text, 0, LAST),
    field("Partitions", Array(&Struct(&ALTER_PARTITION_REASSIGNMENTS_REASSIGNABLE_PARTITION)), 0, LAST),
];
static ALTER_PARTITION_REASSIGNMENTS_REQUEST: [Field; 3] = [
    field("TimeoutMs", Fixed(4), 0, LAST),
    field("AllowReplicationFactorChange", Fixed(1), 1, LAST),
    field("Topics", Array(&Struct(&ALTER_PARTITION_REASSIGNMENTS_REASSIGNABLE_TOPIC)), 0, LAST),
];

static LIST_PARTITION_REASSIGNMENTS_LIST_PARTITION_REASSIGNMENTS_TOPICS: [Field; 2] =
    [field("Name", Text, 0, LAST), field("PartitionIndexes", Array(&Fixed(4)), 0, LAST)];
static LIST_PARTITION_REASSIGNMENTS_REQUEST: [Field; 2] = [
    field("TimeoutMs", Fixed(4), 0, LAST),
    field("Topics", Array(&Struct(&LIST_PARTITION_REASSIGNMENTS_LIST_PARTITION_REASSIGNMENTS_TOPICS)), 0, LAST)
        .nullable(0, LAST),
];

static OFFSET_DELETE_OFFSET_DELETE_REQUEST_PARTITION: [Field; 1] = [field("PartitionIndex", Fixed(4), 0, LAST)];
static OFFSET_DELETE_OFFSET_DELETE_REQUEST_TOPIC: [Field; 2] = [
    field("Name", Text, 0, LAST),
    field("Partitions", Array(&Struct(&OFFSET_DELETE_OFFSET_DELETE_REQUEST_PARTITION)), 0, LAST),
];
static OFFSET_DELETE_REQUEST: [Field; 2] = [
    field("GroupId", Text, 0, LAST),
    field("Topics", Array(&Struct(&OFFSET_DELETE_OFFSET_DELETE_REQUEST_TOPIC)), 0, LAST),
];

static DESCRIBE_CLIENT_QUOTAS_COMPONENT_DATA: [Field; 3] = [
    field("EntityType", Text, 0, LAST),
    field("MatchType", Fixed(1), 0, LAST),
    field("Match", Text, 0, LAST).nullable(0, LAST),
];
static DESCRIBE_CLIENT_QUOTAS_REQUEST: [Field; 2] = [
    field("Components", Array(&Struct(&DESCRIBE_CLIENT_QUOTAS_COMPONENT_DATA)), 0, LAST),
    field("Strict", Fixed(1), 0, LAST),
];

static ALTER_CLIENT_QUOTAS_ENTITY_DATA: [Field; 2] =
    [field("EntityType", Text, 0, LAST), field("EntityName", Text, 0, LAST).nullable(0, LAST)];
static ALTER_CLIENT_QUOTAS_OP_DATA: [Field; 3] =
    [field("Key", Text, 0, LAST), field("Value", Fixed(8), 0, LAST), field("Remove", Fixed(1), 0, LAST)];
static ALTER_CLIENT_QUOTAS_ENTRY_DATA: [Field; 2] = [
    field("Entity", Array(&Struct(&ALTER_CLIENT_QUOTAS_ENTITY_DATA)), 0, LAST),
    field("Ops", Array(&Struct(&ALTER_CLIENT_QUOTAS_OP_DATA)), 0, LAST),
];
static ALTER_CLIENT_QUOTAS_REQUEST: [Field; 2] = [
    field("Entries", Array(&Struct(&ALTER_CLIENT_QUOTAS_ENTRY_DATA)), 0, LAST),
    field("ValidateOnly", Fixed(1), 0, LAST),
];

static DESCRIBE_USER_SCRAM_CREDENTIALS_USER_NAME: [Field; 1] = [field("Name", Text, 0, LAST)];
static DESCRIBE_USER_SCRAM_CREDENTIALS_REQUEST: [Field; 1] =
    [field("Users", Array(&Struct(&DESCRIBE_USER_SCRAM_CREDENTIALS_USER_NAME)), 0, LAST).nullable(0, LAST)];

static ALTER_USER_SCRAM_CREDENTIALS_SCRAM_CREDENTIAL_DELETION: [Field; 2] =
    [field("Name", Text, 0, LAST), field("Mechanism", Fixed(1), 0, LAST)];
static ALTER_USER_SCRAM_CREDENTIALS_SCRAM_CREDENTIAL_UPSERTION: [Field; 5] = [
    field("Name", Text, 0, LAST),
    field("Mechanism", Fixed(1), 0, LAST),
    field("Iterations", Fixed(4), 0, LAST),
    field("Salt", Bytes, 0, LAST),
    field("SaltedPassword", Bytes, 0, LAST),
];
static ALTER_USER_SCRAM_CREDENTIALS_REQUEST: [Field; 2] = [
    field("Deletions", Array(&Struct(&ALTER_USER_SCRAM_CREDENTIALS_SCRAM_CREDENTIAL_DELETION)), 0, LAST),
    field("Upsertions", Array(&Struct(&ALTER_USER_SCRAM_CREDENTIALS_SCRAM_CREDENTIAL_UPSERTION)), 0, LAST),
];

static DESCRIBE_QUORUM_PARTITION_DATA: [Field; 1] = [field("PartitionIndex", Fixed(4), 0, LAST)];
static DESCRIBE_QUORUM_TOPIC_DATA: [Field; 2] =
    [field("TopicName", Text, 0, LAST), field("Partitions", Array(&Struct(&DESCRIBE_QUORUM_PARTITION_DATA)), 0, LAST)];
static DESCRIBE_QUORUM_REQUEST: [Field; 1] = [field("Topics", Array(&Struct(&DESCRIBE_QUORUM_TOPIC_DATA)), 0, LAST)];

static UPDATE_FEATURES_FEATURE_UPDATE_KEY: [Field; 4] = [
    field("Feature", Text, 0, LAST),
    field("MaxVersionLevel", Fixed(2), 0, LAST),
    field("AllowDowngrade", Fixed(1), 0, 0),
    field("UpgradeType", Fixed(1), 1, LAST),
];
static UPDATE_FEATURES_REQUEST: [Field; 3] = [
    field("timeoutMs", Fixed(4), 0, LAST),
    field("FeatureUpdates", Array(&Struct(&UPDATE_FEATURES_FEATURE_UPDATE_KEY)), 0, LAST),
    field("ValidateOnly", Fixed(1), 1, LAST),
];

static DESCRIBE_CLUSTER_REQUEST: [Field; 3] = [
    field("IncludeClusterAuthorizedOperations", Fixed(1), 0, LAST),
    field("EndpointType", Fixed(1), 1, LAST),
    field("IncludeFencedBrokers", Fixed(1), 2, LAST),
];

static DESCRIBE_PRODUCERS_TOPIC_REQUEST: [Field; 2] =
    [field("Name", Text, 0, LAST), field("PartitionIndexes", Array(&Fixed(4)), 0, LAST)];
static DESCRIBE_PRODUCERS_REQUEST: [Field; 1] =
    [field("Topics", Array(&Struct(&DESCRIBE_PRODUCERS_TOPIC_REQUEST)), 0, LAST)];

static DESCRIBE_TRANSACTIONS_REQUEST: [Field; 1] = [field("TransactionalIds", Array(&Text), 0, LAST)];

static LIST_TRANSACTIONS_REQUEST: [Field; 4] = [
    field("StateFilters", Array(&Text), 0, LAST),
    field("ProducerIdFilters", Array(&Fixed(8)), 0, LAST),
    field("DurationFilter", Fixed(8), 1, LAST),
    field("TransactionalIdPattern", Text, 2, LAST).nullable(2, LAST),
];

static CONSUMER_GROUP_HEARTBEAT_TOPIC_PARTITIONS: [Field; 2] =
    [field("TopicId", Fixed(16), 0, LAST), field("Partitions", Array(&Fixed(4)), 0, LAST)];
static CONSUMER_GROUP_HEARTBEAT_REQUEST: [Field; 10] = [
    field("GroupId", Text, 0, LAST),
    field("MemberId", Text, 0, LAST),
    field("MemberEpoch", Fixed(4), 0, LAST),
    field("InstanceId", Text, 0, LAST).nullable(0, LAST),
    field("RackId", Text, 0, LAST).nullable(0, LAST),
    field("RebalanceTimeoutMs", Fixed(4), 0, LAST),
    field("SubscribedTopicNames", Array(&Text), 0, LAST).nullable(0, LAST),
    field("SubscribedTopicRegex", Text, 1, LAST).nullable(1, LAST),
    field("ServerAssignor", Text, 0, LAST).nullable(0, LAST),
    field("TopicPartitions", Array(&Struct(&CONSUMER_GROUP_HEARTBEAT_TOPIC_PARTITIONS)), 0, LAST).nullable(0, LAST),
];

static CONSUMER_GROUP_DESCRIBE_REQUEST: [Field; 2] =
    [field("GroupIds", Array(&Text), 0, LAST), field("IncludeAuthorizedOperations", Fixed(1), 0, LAST)];

static GET_TELEMETRY_SUBSCRIPTIONS_REQUEST: [Field; 1] = [field("ClientInstanceId", Fixed(16), 0, LAST)];

static PUSH_TELEMETRY_REQUEST: [Field; 5] = [
    field("ClientInstanceId", Fixed(16), 0, LAST),
    field("SubscriptionId", Fixed(4), 0, LAST),
    field("Terminating", Fixed(1), 0, LAST),
    field("CompressionType", Fixed(1), 0, LAST),
    field("Metrics", Bytes, 0, LAST),
];

static LIST_CONFIG_RESOURCES_REQUEST: [Field; 1] = [field("ResourceTypes", Array(&Fixed(1)), 1, LAST)];

static DESCRIBE_TOPIC_PARTITIONS_TOPIC_REQUEST: [Field; 1] = [field("Name", Text, 0, LAST)];
static DESCRIBE_TOPIC_PARTITIONS_CURSOR: [Field; 2] =
    [field("TopicName", Text, 0, LAST), field("PartitionIndex", Fixed(4), 0, LAST)];
static DESCRIBE_TOPIC_PARTITIONS_REQUEST: [Field; 3] = [
    field("Topics", Array(&Struct(&DESCRIBE_TOPIC_PARTITIONS_TOPIC_REQUEST)), 0, LAST),
    field("ResponsePartitionLimit", Fixed(4), 0, LAST),
    field("Cursor", Struct(&DESCRIBE_TOPIC_PARTITIONS_CURSOR), 0, LAST).nullable(0, LAST),
];

/// Every key that [`message`] knows.
#[cfg(test)]
pub(super) const KEYS: &[i16] = &[
    0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33,
    34, 35, 36, 37, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 55, 57, 60, 61, 65, 66, 68, 69, 71, 72, 74, 75,
];

/// The request with this key.
pub(super) fn message(key: i16) -> Option<Message> {
    Some(match key {
        0 => Message { first: 3, last: 13, flexible: 9, fields: &PRODUCE_REQUEST },
        1 => Message { first: 4, last: 18, flexible: 12, fields: &FETCH_REQUEST },
        2 => Message { first: 1, last: 10, flexible: 6, fields: &LIST_OFFSETS_REQUEST },
        3 => Message { first: 0, last: 13, flexible: 9, fields: &METADATA_REQUEST },
        8 => Message { first: 2, last: 9, flexible: 8, fields: &OFFSET_COMMIT_REQUEST },
        9 => Message { first: 1, last: 9, flexible: 6, fields: &OFFSET_FETCH_REQUEST },
        10 => Message { first: 0, last: 6, flexible: 3, fields: &FIND_COORDINATOR_REQUEST },
        11 => Message { first: 0, last: 9, flexible: 6, fields: &JOIN_GROUP_REQUEST },
        12 => Message { first: 0, last: 4, flexible: 4, fields: &HEARTBEAT_REQUEST },
        13 => Message { first: 0, last: 5, flexible: 4, fields: &LEAVE_GROUP_REQUEST },
        14 => Message { first: 0, last: 5, flexible: 4, fields: &SYNC_GROUP_REQUEST },
        15 => Message { first: 0, last: 6, flexible: 5, fields: &DESCRIBE_GROUPS_REQUEST },
        16 => Message { first: 0, last: 5, flexible: 3, fields: &LIST_GROUPS_REQUEST },
        17 => Message { first: 0, last: 1, flexible: i16::MAX, fields: &SASL_HANDSHAKE_REQUEST },
        18 => Message { first: 0, last: 4, flexible: 3, fields: &API_VERSIONS_REQUEST },
        19 => Message { first: 2, last: 7, flexible: 5, fields: &CREATE_TOPICS_REQUEST },
        20 => Message { first: 1, last: 6, flexible: 4, fields: &DELETE_TOPICS_REQUEST },
        21 => Message { first: 0, last: 2, flexible: 2, fields: &DELETE_RECORDS_REQUEST },
        22 => Message { first: 0, last: 5, flexible: 2, fields: &INIT_PRODUCER_ID_REQUEST },
        23 => Message { first: 2, last: 4, flexible: 4, fields: &OFFSET_FOR_LEADER_EPOCH_REQUEST },
        24 => Message { first: 0, last: 5, flexible: 3, fields: &ADD_PARTITIONS_TO_TXN_REQUEST },
        25 => Message { first: 0, last: 4, flexible: 3, fields: &ADD_OFFSETS_TO_TXN_REQUEST },
        26 => Message { first: 0, last: 5, flexible: 3, fields: &END_TXN_REQUEST },
        27 => Message { first: 1, last: 1, flexible: 1, fields: &WRITE_TXN_MARKERS_REQUEST },
        28 => Message { first: 0, last: 5, flexible: 3, fields: &TXN_OFFSET_COMMIT_REQUEST },
        29 => Message { first: 1, last: 3, flexible: 2, fields: &DESCRIBE_ACLS_REQUEST },
        30 => Message { first: 1, last: 3, flexible: 2, fields: &CREATE_ACLS_REQUEST },
        31 => Message { first: 1, last: 3, flexible: 2, fields: &DELETE_ACLS_REQUEST },
        32 => Message { first: 1, last: 4, flexible: 4, fields: &DESCRIBE_CONFIGS_REQUEST },
        33 => Message { first: 0, last: 2, flexible: 2, fields: &ALTER_CONFIGS_REQUEST },
        34 => Message { first: 1, last: 2, flexible: 2, fields: &ALTER_REPLICA_LOG_DIRS_REQUEST },
        35 => Message { first: 1, last: 4, flexible: 2, fields: &DESCRIBE_LOG_DIRS_REQUEST },
        36 => Message { first: 0, last: 2, flexible: 2, fields: &SASL_AUTHENTICATE_REQUEST },
        37 => Message { first: 0, last: 3, flexible: 2, fields: &CREATE_PARTITIONS_REQUEST },
        42 => Message { first: 0, last: 2, flexible: 2, fields: &DELETE_GROUPS_REQUEST },
        43 => Message { first: 0, last: 2, flexible: 2, fields: &ELECT_LEADERS_REQUEST },
        44 => Message { first: 0, last: 1, flexible: 1, fields: &INCREMENTAL_ALTER_CONFIGS_REQUEST },
        45 => Message { first: 0, last: 1, flexible: 0, fields: &ALTER_PARTITION_REASSIGNMENTS_REQUEST },
        46 => Message { first: 0, last: 0, flexible: 0, fields: &LIST_PARTITION_REASSIGNMENTS_REQUEST },
        47 => Message { first: 0, last: 0, flexible: i16::MAX, fields: &OFFSET_DELETE_REQUEST },
        48 => Message { first: 0, last: 1, flexible: 1, fields: &DESCRIBE_CLIENT_QUOTAS_REQUEST },
        49 => Message { first: 0, last: 1, flexible: 1, fields: &ALTER_CLIENT_QUOTAS_REQUEST },
        50 => Message { first: 0, last: 0, flexible: 0, fields: &DESCRIBE_USER_SCRAM_CREDENTIALS_REQUEST },
        51 => Message { first: 0, last: 0, flexible: 0, fields: &ALTER_USER_SCRAM_CREDENTIALS_REQUEST },
        55 => Message { first: 0, last: 2, flexible: 0, fields: &DESCRIBE_QUORUM_REQUEST },
        57 => Message { first: 0, last: 2, flexible: 0, fields: &UPDATE_FEATURES_REQUEST },
        60 => Message { first: 0, last: 2, flexible: 0, fields: &DESCRIBE_CLUSTER_REQUEST },
        61 => Message { first: 0, last: 0, flexible: 0, fields: &DESCRIBE_PRODUCERS_REQUEST },
        65 => Message { first: 0, last: 0, flexible: 0, fields: &DESCRIBE_TRANSACTIONS_REQUEST },
        66 => Message { first: 0, last: 2, flexible: 0, fields: &LIST_TRANSACTIONS_REQUEST },
        68 => Message { first: 0, last: 1, flexible: 0, fields: &CONSUMER_GROUP_HEARTBEAT_REQUEST },
        69 => Message { first: 0, last: 1, flexible: 0, fields: &CONSUMER_GROUP_DESCRIBE_REQUEST },
        71 => Message { first: 0, last: 0, flexible: 0, fields: &GET_TELEMETRY_SUBSCRIPTIONS_REQUEST },
        72 => Message { first: 0, last: 0, flexible: 0, fields: &PUSH_TELEMETRY_REQUEST },
        74 => Message { first: 0, last: 1, flexible: 0, fields: &LIST_CONFIG_RESOURCES_REQUEST },
        75 => Message { first: 0, last: 0, flexible: 0, fields: &DESCRIBE_TOPIC_PARTITIONS_REQUEST },
        _ => return None,
    })
}
