//! Offsets: the ends of partitions, what groups have committed, and the difference between them.

use std::collections::BTreeMap;

use krafka::__private::protocol::{
    ApiKey, ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic, ListOffsetsResponse,
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetFetchResponse, VersionedEncode, versions,
};
use krafka::error::ErrorCode;
use serde::Serialize;

use super::connection::{Admin, Api, Kind};
use crate::error::{Result, answer};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    Earliest,
    /// The offset of the next record to be written, as far as consumers may see.
    Latest,
    /// The first record at or after this time, in milliseconds since the epoch; the latest when there is none.
    AtTime(i64),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommittedOffset {
    pub offset: i64,
    pub metadata: Option<String>,
}

/// How far a group is behind, in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lag {
    #[serde(flatten)]
    pub partition: TopicPartition,
    pub committed: i64,
    /// `None` when the partition did not say (deleted since, or not allowed).
    pub end: Option<i64>,
    pub lag: Option<i64>,
}

const LIST: Api = Api {
    key: ApiKey::ListOffsets,
    name: "ListOffsets",
    min: versions::LIST_OFFSETS_MIN,
    max: versions::LIST_OFFSETS_MAX,
    kind: Kind::Read,
};
/// Versions 6 and 7: all of one group's offsets, by topic name.
const FETCH: Api = Api { key: ApiKey::OffsetFetch, name: "OffsetFetch", min: 6, max: 7, kind: Kind::Read };
/// Version 9 is the last that names topics and not their ids.
const COMMIT: Api = Api {
    key: ApiKey::OffsetCommit,
    name: "OffsetCommit",
    min: versions::OFFSET_COMMIT_MIN,
    max: 9,
    kind: Kind::Write,
};

/// Asks for everything that a group has committed. krafka's own request cannot be made outside krafka.
struct FetchAll<'a> {
    group: &'a str,
}

impl VersionedEncode for FetchAll<'_> {
    fn encode_versioned(&self, version: i16, buf: &mut impl bytes::BufMut) -> krafka::Result<()> {
        let length = u32::try_from(self.group.len() + 1)
            .map_err(|_| krafka::KrafkaError::config("the group's name is too long"))?;
        krafka::__private::util::varint::encode_unsigned_varint(length, buf);
        buf.put_slice(self.group.as_bytes());
        buf.put_u8(0); // null: all topics
        if version >= 7 {
            buf.put_u8(0); // offsets of open transactions do not matter
        }
        buf.put_u8(0); // no tagged fields
        Ok(())
    }
}

impl Admin {
    /// One offset of each partition.
    pub async fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
    ) -> Result<BTreeMap<TopicPartition, Result<i64>>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let timestamp = match spec {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::AtTime(millis) => millis,
        };
        let request = |partitions: &[TopicPartition]| self.list_request(partitions, timestamp);
        let mut answers = offsets_of(self.call(LIST, &request(partitions)).await?);
        let misplaced: Vec<TopicPartition> = answers
            .iter()
            .filter(|(_, (code, _))| *code == ErrorCode::NotLeaderForPartition)
            .map(|(partition, _)| partition.clone())
            .collect();
        for (address, partitions) in self.leaders(&misplaced).await? {
            answers.extend(offsets_of(self.call_at(&address, LIST, &request(&partitions)).await?));
        }
        let mut offsets = BTreeMap::new();
        let mut after_the_end = Vec::new();
        for (partition, (code, offset)) in answers {
            if code.is_ok() && offset < 0 && matches!(spec, OffsetSpec::AtTime(_)) {
                after_the_end.push(partition);
            } else {
                offsets.insert(partition, answer(code, None).map(|()| offset));
            }
        }
        if !after_the_end.is_empty() {
            offsets.extend(Box::pin(self.list_offsets(&after_the_end, OffsetSpec::Latest)).await?);
        }
        Ok(offsets)
    }

    fn list_request(&self, partitions: &[TopicPartition], timestamp: i64) -> ListOffsetsRequest {
        let topics = by_topic(partitions.iter().map(|partition| (partition, ())))
            .into_iter()
            .map(|(name, partitions)| ListOffsetsRequestTopic {
                name,
                partitions: partitions
                    .into_iter()
                    .map(|(partition_index, ())| ListOffsetsRequestPartition {
                        partition_index,
                        current_leader_epoch: -1,
                        timestamp,
                    })
                    .collect(),
            })
            .collect();
        ListOffsetsRequest { replica_id: -1, isolation_level: 0, topics, timeout_ms: Some(self.broker_timeout_ms()) }
    }

    /// The leaders' addresses with their partitions, for clusters that answer at the leader alone.
    pub(super) async fn leaders(&self, partitions: &[TopicPartition]) -> Result<BTreeMap<String, Vec<TopicPartition>>> {
        let mut leaders: BTreeMap<String, Vec<TopicPartition>> = BTreeMap::new();
        if partitions.is_empty() {
            return Ok(leaders);
        }
        let mut names: Vec<&str> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
        names.dedup();
        let topics = self.describe_topics(&names).await?;
        let brokers = self.describe_cluster().await?.brokers;
        for wanted in partitions {
            let topic = topics.get(&wanted.topic).and_then(|topic| topic.as_ref().ok());
            let partition = topic.and_then(|topic| topic.partitions.iter().find(|own| own.index == wanted.partition));
            let leader = partition.and_then(|own| brokers.iter().find(|broker| broker.id == own.leader));
            if let Some(broker) = leader {
                leaders.entry(format!("{}:{}", broker.host, broker.port)).or_default().push(wanted.clone());
            }
        }
        Ok(leaders)
    }

    /// Everything that the group has committed.
    pub async fn committed_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, Result<CommittedOffset>>> {
        let code = |response: &OffsetFetchResponse| Some(response.error_code);
        let response = self.call_group(group, FETCH, &FetchAll { group }, code).await?;
        answer(response.error_code, None)?;
        let mut offsets = BTreeMap::new();
        for topic in response.topics {
            for committed in topic.partitions {
                if committed.error_code.is_ok() && committed.committed_offset < 0 {
                    continue;
                }
                let partition = TopicPartition { topic: topic.name.clone(), partition: committed.partition_index };
                let offset = CommittedOffset {
                    offset: committed.committed_offset,
                    metadata: committed.metadata.filter(|text| !text.is_empty()),
                };
                offsets.insert(partition, answer(committed.error_code, None).map(|()| offset));
            }
        }
        Ok(offsets)
    }

    /// Commits offsets for a group without members.
    pub async fn commit_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let topics = by_topic(offsets.iter().map(|(partition, offset)| (partition, *offset)))
            .into_iter()
            .map(|(name, partitions)| OffsetCommitRequestTopic {
                name,
                topic_id: None,
                partitions: partitions
                    .into_iter()
                    .map(|(partition_index, committed_offset)| OffsetCommitRequestPartition {
                        partition_index,
                        committed_offset,
                        committed_leader_epoch: -1,
                        commit_timestamp: -1,
                        committed_metadata: None,
                    })
                    .collect(),
            })
            .collect();
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id: -1,
            member_id: String::new(),
            group_instance_id: None,
            retention_time_ms: -1,
            topics,
        };
        let code = |response: &OffsetCommitResponse| {
            response.topics.first().and_then(|topic| topic.partitions.first()).map(|partition| partition.error_code)
        };
        let response = self.call_group(group, COMMIT, &request, code).await?;
        let mut results = BTreeMap::new();
        for topic in response.topics {
            for committed in topic.partitions {
                let partition = TopicPartition { topic: topic.name.clone(), partition: committed.partition_index };
                results.insert(partition, answer(committed.error_code, None));
            }
        }
        Ok(results)
    }

    /// How far the group is behind in every partition that it has committed.
    pub async fn group_lag(&self, group: &str) -> Result<Vec<Lag>> {
        let mut committed = BTreeMap::new();
        for (partition, offset) in self.committed_offsets(group).await? {
            committed.insert(partition, offset?.offset);
        }
        let partitions: Vec<TopicPartition> = committed.keys().cloned().collect();
        let mut ends = self.list_offsets(&partitions, OffsetSpec::Latest).await?;
        Ok(committed
            .into_iter()
            .map(|(partition, committed)| {
                let end = ends.remove(&partition).and_then(Result::ok);
                Lag { lag: end.map(|end| (end - committed).max(0)), partition, committed, end }
            })
            .collect())
    }
}

fn offsets_of(response: ListOffsetsResponse) -> BTreeMap<TopicPartition, (ErrorCode, i64)> {
    let mut offsets = BTreeMap::new();
    for topic in response.topics {
        for answered in topic.partitions {
            let partition = TopicPartition { topic: topic.name.clone(), partition: answered.partition_index };
            offsets.insert(partition, (answered.error_code, answered.offset));
        }
    }
    offsets
}

fn by_topic<'a, T>(partitions: impl Iterator<Item = (&'a TopicPartition, T)>) -> BTreeMap<String, Vec<(i32, T)>> {
    let mut topics: BTreeMap<String, Vec<(i32, T)>> = BTreeMap::new();
    for (partition, value) in partitions {
        topics.entry(partition.topic.clone()).or_default().push((partition.partition, value));
    }
    topics
}
