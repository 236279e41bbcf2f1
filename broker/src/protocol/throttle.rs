//! Tells a client in an encoded response how long its connection is going to be muted.
//!
//! Kafka's responses begin with the throttle time in every version that has one, but for the few named here.

use bytes::BytesMut;
use kafka_protocol::messages::ApiKey;

use super::Response;
use crate::store::Piece;

/// Length, correlation id.
const FRAME_HEAD: usize = 8;

/// The field's place in the body. Produce has it at the end and is told while it is made; ApiVersions and SASL are not
/// throttled.
fn place(api: ApiKey, version: i16) -> Option<usize> {
    let (first, at) = match api {
        ApiKey::Produce | ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate => return None,
        ApiKey::Metadata | ApiKey::OffsetCommit | ApiKey::OffsetFetch => (3, 0),
        ApiKey::ListOffsets | ApiKey::JoinGroup | ApiKey::CreateTopics | ApiKey::OffsetForLeaderEpoch => (2, 0),
        ApiKey::Fetch
        | ApiKey::FindCoordinator
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::SyncGroup
        | ApiKey::DescribeGroups
        | ApiKey::ListGroups
        | ApiKey::DeleteTopics => (1, 0),
        // Behind the error code.
        ApiKey::OffsetDelete => (0, 2),
        ApiKey::DeleteRecords
        | ApiKey::InitProducerId
        | ApiKey::DescribeAcls
        | ApiKey::CreateAcls
        | ApiKey::DeleteAcls
        | ApiKey::DescribeConfigs
        | ApiKey::AlterConfigs
        | ApiKey::CreatePartitions
        | ApiKey::DeleteGroups
        | ApiKey::IncrementalAlterConfigs
        | ApiKey::DescribeUserScramCredentials
        | ApiKey::AlterUserScramCredentials
        | ApiKey::DescribeCluster
        | ApiKey::DescribeTopicPartitions
        | ApiKey::DescribeLogDirs
        | ApiKey::ElectLeaders
        | ApiKey::ListConfigResources
        | ApiKey::DescribeClientQuotas
        | ApiKey::AlterClientQuotas
        | ApiKey::AddPartitionsToTxn
        | ApiKey::AddOffsetsToTxn
        | ApiKey::EndTxn
        | ApiKey::TxnOffsetCommit
        | ApiKey::DescribeProducers
        | ApiKey::DescribeTransactions
        | ApiKey::ListTransactions
        | ApiKey::ConsumerGroupHeartbeat
        | ApiKey::ConsumerGroupDescribe => (0, 0),
        // Muted without being told.
        _ => return None,
    };
    (version >= first).then_some(at)
}

/// Writes the throttle time where the version has it.
pub fn tell(api: ApiKey, version: i16, response: &mut Response, throttle_ms: i32) {
    let Some(place) = place(api, version) else { return };
    let at = FRAME_HEAD + usize::from(api.response_header_version(version) >= 1) + place;
    let Some(Piece::Memory(first)) = response.parts.first_mut() else { return };
    if first.len() < at + 4 {
        return;
    }
    let mut told = BytesMut::from(std::mem::take(first));
    told[at..at + 4].copy_from_slice(&throttle_ms.to_be_bytes());
    *first = told.freeze();
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::*;

    use super::*;
    use crate::protocol::api::APIS;
    use crate::protocol::encode;

    macro_rules! check {
        ($($key:ident => $response:ident),+ $(,)?) => {{
            let mut checked = Vec::new();
            $(
                let api = APIS.iter().find(|api| api.key == ApiKey::$key).expect("it is served");
                for version in api.min..=api.max {
                    let mut told = encode(&$response::default(), version, 7).expect("encoded");
                    tell(ApiKey::$key, version, &mut told, 0x0102_0304);
                    // Versions without the field refuse or leave out a value.
                    let meant = $response::default().with_throttle_time_ms(0x0102_0304);
                    if let Ok(meant) = encode(&meant, version, 7) {
                        let (Piece::Memory(told), Piece::Memory(meant)) = (&told.parts[0], &meant.parts[0]) else {
                            panic!("both are in memory")
                        };
                        assert_eq!(told, meant, "{} version {version}", stringify!($key));
                    }
                }
                checked.push(ApiKey::$key);
            )+
            checked
        }};
    }

    #[test]
    fn every_version_is_told_where_kafka_has_the_field() {
        let checked = check!(
            Fetch => FetchResponse, ListOffsets => ListOffsetsResponse, Metadata => MetadataResponse,
            OffsetCommit => OffsetCommitResponse, OffsetFetch => OffsetFetchResponse,
            FindCoordinator => FindCoordinatorResponse, JoinGroup => JoinGroupResponse,
            Heartbeat => HeartbeatResponse, LeaveGroup => LeaveGroupResponse, SyncGroup => SyncGroupResponse,
            DescribeGroups => DescribeGroupsResponse, ListGroups => ListGroupsResponse,
            CreateTopics => CreateTopicsResponse, DeleteTopics => DeleteTopicsResponse,
            DeleteRecords => DeleteRecordsResponse, InitProducerId => InitProducerIdResponse,
            OffsetForLeaderEpoch => OffsetForLeaderEpochResponse, DescribeAcls => DescribeAclsResponse,
            CreateAcls => CreateAclsResponse, DeleteAcls => DeleteAclsResponse,
            DescribeConfigs => DescribeConfigsResponse, AlterConfigs => AlterConfigsResponse,
            CreatePartitions => CreatePartitionsResponse, DeleteGroups => DeleteGroupsResponse,
            IncrementalAlterConfigs => IncrementalAlterConfigsResponse, OffsetDelete => OffsetDeleteResponse,
            DescribeClientQuotas => DescribeClientQuotasResponse, AlterClientQuotas => AlterClientQuotasResponse,
            DescribeUserScramCredentials => DescribeUserScramCredentialsResponse,
            AlterUserScramCredentials => AlterUserScramCredentialsResponse, DescribeCluster => DescribeClusterResponse,
            AddPartitionsToTxn => AddPartitionsToTxnResponse, AddOffsetsToTxn => AddOffsetsToTxnResponse,
            EndTxn => EndTxnResponse, TxnOffsetCommit => TxnOffsetCommitResponse,
            DescribeProducers => DescribeProducersResponse, DescribeTransactions => DescribeTransactionsResponse,
            ListTransactions => ListTransactionsResponse, ConsumerGroupHeartbeat => ConsumerGroupHeartbeatResponse,
            ConsumerGroupDescribe => ConsumerGroupDescribeResponse,
            DescribeTopicPartitions => DescribeTopicPartitionsResponse, DescribeLogDirs => DescribeLogDirsResponse,
            ElectLeaders => ElectLeadersResponse, ListConfigResources => ListConfigResourcesResponse,
        );
        let untold = [ApiKey::Produce, ApiKey::ApiVersions, ApiKey::SaslHandshake, ApiKey::SaslAuthenticate];
        let placed = |key: ApiKey| place(key, i16::MAX).is_some();
        for api in APIS.iter().filter(|api| !untold.contains(&api.key) && placed(api.key)) {
            assert!(checked.contains(&api.key), "{:?} is not checked", api.key);
        }
    }
}
