//! Fetch responses, encoded around records that stay in files or shared buffers.
//!
//! Field order and versions follow Kafka's `FetchResponse.json`.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::FetchResponse as Message;
use kafka_protocol::protocol::{HeaderVersion, StrBytes};
use uuid::Uuid;

use super::Response;
use super::response::{finish_frame, start_frame};
use crate::store::{Offset, Piece, Slice};

/// First version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 12;
/// First version that names topics by id.
const TOPIC_IDS: i16 = 13;
/// First version that may name the current leader's address.
const NODE_ENDPOINTS: i16 = 16;

#[derive(Debug, Default)]
pub struct FetchResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub session_id: i32,
    pub topics: Vec<FetchedTopic>,
    /// Where the leaders named in the partitions are (KIP-951).
    pub leaders: Vec<NodeEndpoint>,
}

#[derive(Debug)]
pub struct NodeEndpoint {
    pub node_id: i32,
    pub host: StrBytes,
    pub port: i32,
}

#[derive(Debug)]
pub struct FetchedTopic {
    pub name: StrBytes,
    pub id: Uuid,
    pub partitions: Vec<FetchedPartition>,
}

#[derive(Debug)]
pub struct FetchedPartition {
    pub index: i32,
    pub error_code: i16,
    pub high_watermark: Offset,
    pub last_stable: Offset,
    pub log_start: Offset,
    /// (producer id, first offset) of aborted transactions; only for read_committed.
    pub aborted: Option<Vec<(i64, Offset)>>,
    /// (epoch, end offset) from which the client's log differs (KIP-320).
    pub diverging: Option<(i32, Offset)>,
    /// (node id, epoch) of the leader, told along with NOT_LEADER errors.
    pub current_leader: Option<(i32, i32)>,
    pub records: Slice,
}

impl FetchedPartition {
    /// A partition that answers nothing but an error.
    pub fn error(index: i32, error_code: i16) -> Self {
        Self {
            index,
            error_code,
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            aborted: None,
            diverging: None,
            current_leader: None,
            records: Slice::default(),
        }
    }
}

impl FetchResponse {
    pub fn encode(self, version: i16, correlation_id: i32) -> Response {
        let following: usize = self.records_len();
        let mut encoder = Encoder {
            version,
            flexible: version >= FLEXIBLE,
            frame: start_frame(Message::header_version(version), correlation_id, self.size_hint()),
            parts: Vec::new(),
            head_len: 0,
        };
        encoder.response(self);
        encoder.finish(following)
    }

    pub fn records_len(&self) -> usize {
        self.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.records.len()).sum()
    }

    fn size_hint(&self) -> usize {
        64 + self.topics.iter().map(|topic| 32 + topic.name.len() + topic.partitions.len() * 96).sum::<usize>()
    }
}

/// Collects the frame: plain fields in `frame`, which is cut wherever records go out of another place.
struct Encoder {
    version: i16,
    flexible: bool,
    frame: BytesMut,
    parts: Vec<Piece>,
    /// Bytes of `frame` already moved to `parts`.
    head_len: usize,
}

impl Encoder {
    fn response(&mut self, response: FetchResponse) {
        self.frame.put_i32(response.throttle_time_ms);
        if self.version >= 7 {
            self.frame.put_i16(response.error_code);
            self.frame.put_i32(response.session_id);
        }
        self.array_len(response.topics.len());
        for topic in response.topics {
            self.topic(topic);
        }
        if self.flexible {
            self.leaders(&response.leaders);
        }
    }

    fn topic(&mut self, topic: FetchedTopic) {
        if self.version >= TOPIC_IDS {
            self.frame.put_slice(topic.id.as_bytes());
        } else {
            self.string(&topic.name);
        }
        self.array_len(topic.partitions.len());
        for partition in topic.partitions {
            self.partition(partition);
        }
        self.no_tags();
    }

    fn partition(&mut self, partition: FetchedPartition) {
        self.frame.put_i32(partition.index);
        self.frame.put_i16(partition.error_code);
        self.frame.put_i64(partition.high_watermark);
        self.frame.put_i64(partition.last_stable);
        if self.version >= 5 {
            self.frame.put_i64(partition.log_start);
        }
        self.aborted(partition.aborted.as_deref());
        if self.version >= 11 {
            // No preferred read replica.
            self.frame.put_i32(-1);
        }
        self.records(partition.records);
        if self.flexible {
            self.partition_tags(partition.diverging, partition.current_leader);
        }
    }

    fn aborted(&mut self, aborted: Option<&[(i64, Offset)]>) {
        let Some(aborted) = aborted else {
            return if self.flexible { self.frame.put_u8(0) } else { self.frame.put_i32(-1) };
        };
        self.array_len(aborted.len());
        for (producer_id, first_offset) in aborted {
            self.frame.put_i64(*producer_id);
            self.frame.put_i64(*first_offset);
            self.no_tags();
        }
    }

    fn records(&mut self, records: Slice) {
        let len = records.len();
        if self.flexible {
            self.varint(len as u32 + 1);
        } else {
            self.frame.put_i32(len as i32);
        }
        if len == 0 {
            return;
        }
        let before = self.frame.split().freeze();
        self.push_head(before);
        self.parts.extend(records.pieces);
    }

    /// Tags 0 (diverging epoch) and 1 (current leader).
    fn partition_tags(&mut self, diverging: Option<(i32, Offset)>, leader: Option<(i32, i32)>) {
        self.varint(u32::from(diverging.is_some()) + u32::from(leader.is_some()));
        if let Some((epoch, end_offset)) = diverging {
            self.varint(0);
            self.varint(4 + 8 + 1);
            self.frame.put_i32(epoch);
            self.frame.put_i64(end_offset);
            self.varint(0);
        }
        if let Some((node_id, epoch)) = leader {
            self.varint(1);
            self.varint(4 + 4 + 1);
            self.frame.put_i32(node_id);
            self.frame.put_i32(epoch);
            self.varint(0);
        }
    }

    /// Tag 0 of the response: node endpoints.
    fn leaders(&mut self, leaders: &[NodeEndpoint]) {
        if self.version < NODE_ENDPOINTS || leaders.is_empty() {
            return self.varint(0);
        }
        let mut field =
            Encoder { version: self.version, flexible: true, frame: BytesMut::new(), parts: Vec::new(), head_len: 0 };
        field.array_len(leaders.len());
        for leader in leaders {
            field.frame.put_i32(leader.node_id);
            field.string(&leader.host);
            field.frame.put_i32(leader.port);
            // No rack.
            field.varint(0);
            field.no_tags();
        }
        self.varint(1);
        self.varint(0);
        self.varint(field.frame.len() as u32);
        self.frame.put_slice(&field.frame);
    }

    fn array_len(&mut self, len: usize) {
        if self.flexible { self.varint(len as u32 + 1) } else { self.frame.put_i32(len as i32) }
    }

    fn string(&mut self, text: &str) {
        if self.flexible {
            self.varint(text.len() as u32 + 1);
        } else {
            self.frame.put_i16(text.len() as i16);
        }
        self.frame.put_slice(text.as_bytes());
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.varint(0);
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.frame.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.frame.put_u8(value as u8);
    }

    fn push_head(&mut self, bytes: Bytes) {
        self.head_len += bytes.len();
        self.parts.push(Piece::Memory(bytes));
    }

    /// Patches the length into the first part and puts the rest of the fields last.
    fn finish(mut self, records_len: usize) -> Response {
        if self.parts.is_empty() {
            return Response { parts: vec![Piece::Memory(finish_frame(self.frame, 0))] };
        }
        let rest = self.frame.split().freeze();
        self.push_head(rest);
        let length = (self.head_len - 4 + records_len) as u32;
        if let Some(Piece::Memory(first)) = self.parts.first_mut() {
            let mut patched = BytesMut::from(&first[..]);
            patched[..4].copy_from_slice(&length.to_be_bytes());
            *first = patched.freeze();
        }
        Response { parts: self.parts }
    }
}
