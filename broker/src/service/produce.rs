//! Produce: appends at once, in the order in which requests came, and answers when the records are as safe as asked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::verification::{Verdicts, Verification};
use super::{Context, Services};
use crate::auth::{Access, authorize};
use crate::catalog::{Image, Topic};
use crate::limits;
use crate::log::header::is_transactional;
use crate::log::{Acks, Appended, BadRecord, LogError};
use crate::store::Offset;

/// First version that names topics by id.
const TOPIC_IDS: i16 = 13;
/// First version that tells the current leader along with NOT_LEADER (KIP-951).
const CURRENT_LEADER: i16 = 10;

/// A produce request whose records are written, and perhaps not yet durable.
pub struct Produced {
    response: ProduceResponse,
    /// (topic, partition) positions in `response` that wait.
    waiting: Vec<(usize, usize, Appended)>,
    acks: Acks,
    deadline: Instant,
}

impl Produced {
    /// Waits as long as the request's acks demand. `None` when the client wants no answer.
    pub async fn finish(mut self) -> Option<ProduceResponse> {
        for (topic, partition, mut appended) in self.waiting {
            let code = match timeout_at(self.deadline, appended.durable()).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.code(),
                Err(_) => ResponseError::RequestTimedOut,
            };
            let answer = &mut self.response.responses[topic].partition_responses[partition];
            answer.error_code = code.code();
            answer.base_offset = -1;
        }
        (self.acks != Acks::None).then_some(self.response)
    }

    /// Mutes the connection for so long, and tells the client.
    pub fn throttle(&mut self, throttle_ms: i32) {
        self.response.throttle_time_ms = throttle_ms;
    }

    /// True when nothing has to be waited for.
    pub fn is_ready(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A client that wants no answers learns of a failure by losing its connection, as with Kafka.
    pub fn failed_silently(&self) -> bool {
        let mut partitions = self.response.responses.iter().flat_map(|topic| &topic.partition_responses);
        self.acks == Acks::None && partitions.any(|partition| partition.error_code != 0)
    }
}

/// A produce request that was begun.
pub enum Producing {
    Written(Produced),
    /// A transaction begins in some partition, and its coordinator is asked first.
    Verifying(BoxFuture<'static, Produced>),
}

/// Appends every batch of a request, at once unless a coordinator has to be asked.
pub fn produce(services: &Arc<Services>, context: &Context, request: ProduceRequest) -> Producing {
    let terms = Terms::of(&request);
    match authorize(request, services.access(&context.session)) {
        Ok(authorized) => {
            let allowed = authorized.into_parts();
            let image = allowed.2.image();
            let Some(verification) = Verification::of(services, image, &allowed.0, context.version) else {
                return Producing::Written(append(services, context, allowed, terms, &Verdicts::default()));
            };
            let services = Arc::clone(services);
            let mut context = context.clone();
            context.detach();
            Producing::Verifying(Box::pin(async move {
                let verdicts = verification.ask(&services).await;
                append(&services, &context, allowed, terms, &verdicts)
            }))
        }
        Err((refusal, request)) => {
            let responses = request.topic_data.iter().map(|topic| refuse(topic, refusal.0)).collect();
            let response = ProduceResponse::default().with_responses(responses);
            let acks = terms.acks.unwrap_or(Acks::Leader);
            Producing::Written(Produced { response, waiting: Vec::new(), acks, deadline: terms.deadline })
        }
    }
}

/// What the client asks for, whatever the records are.
struct Terms {
    acks: Result<Acks, ResponseError>,
    deadline: Instant,
    transactional: bool,
}

impl Terms {
    fn of(request: &ProduceRequest) -> Self {
        let timeout = Duration::from_millis(request.timeout_ms.clamp(0, limits::PRODUCE_TIMEOUT_MS) as u64);
        let acks = match request.acks {
            0 => Ok(Acks::None),
            1 => Ok(Acks::Leader),
            -1 => Ok(Acks::All),
            _ => Err(ResponseError::InvalidRequiredAcks),
        };
        Self { acks, deadline: Instant::now() + timeout, transactional: request.transactional_id.is_some() }
    }
}

/// The request, what of it is refused, and the access that decided so.
type Allowed = (ProduceRequest, Vec<TopicProduceData>, Access);

fn append(services: &Services, context: &Context, allowed: Allowed, terms: Terms, verdicts: &Verdicts) -> Produced {
    let Terms { acks, deadline, transactional } = terms;
    let mut work = Work {
        services,
        context,
        acks: acks.unwrap_or(Acks::Leader),
        invalid: acks.err(),
        transactional,
        verdicts,
        waiting: Vec::new(),
        leader_named: false,
        nameable: limits::RECORD_ERRORS,
        seen: HashSet::new(),
    };
    let responses = work.append_allowed(allowed);
    let mut response = ProduceResponse::default().with_responses(responses);
    if work.leader_named {
        response.node_endpoints = vec![work.endpoint()];
    }
    Produced { response, waiting: work.waiting, acks: work.acks, deadline }
}

struct Work<'a> {
    services: &'a Services,
    context: &'a Context,
    acks: Acks,
    invalid: Option<ResponseError>,
    /// The request names a transactional id, which the client may write with.
    transactional: bool,
    verdicts: &'a Verdicts,
    waiting: Vec<(usize, usize, Appended)>,
    leader_named: bool,
    /// How many more records the answer may name as refused.
    nameable: usize,
    /// Partitions that the request has named.
    seen: HashSet<(Uuid, i32)>,
}

impl Work<'_> {
    fn append_allowed(&mut self, (request, denied, access): Allowed) -> Vec<TopicProduceResponse> {
        let mut responses = Vec::with_capacity(request.topic_data.len() + denied.len());
        for topic in request.topic_data {
            let position = responses.len();
            let answers = self.append_topic(access.image(), &topic, position);
            responses.push(answer_for(&topic).with_partition_responses(answers));
        }
        responses.extend(denied.iter().map(|topic| refuse(topic, ResponseError::TopicAuthorizationFailed)));
        responses
    }

    fn append_topic(
        &mut self,
        image: &Image,
        data: &TopicProduceData,
        position: usize,
    ) -> Vec<PartitionProduceResponse> {
        let topic = match (self.invalid, topic_of(image, data, self.context.version)) {
            (Some(error), _) => Err(error),
            (None, topic) => topic,
        };
        let mut answers = Vec::with_capacity(data.partition_data.len());
        for partition in &data.partition_data {
            answers.push(match topic {
                Ok(topic) => self.append(topic, partition, (position, answers.len())),
                Err(error) => failed(partition.index, error),
            });
        }
        answers
    }

    fn append(
        &mut self,
        topic: &Topic,
        data: &PartitionProduceData,
        position: (usize, usize),
    ) -> PartitionProduceResponse {
        match self.try_append(topic, data) {
            Ok(appended) => {
                let answer = PartitionProduceResponse::default()
                    .with_index(data.index)
                    .with_base_offset(appended.base_offset)
                    .with_log_append_time_ms(appended.log_append_time)
                    .with_log_start_offset(appended.log_start);
                // A duplicate may still be on its way to the disk: it is never answered before.
                if self.acks == Acks::All || (appended.duplicate && self.acks == Acks::Leader) {
                    self.waiting.push((position.0, position.1, appended));
                }
                answer
            }
            Err(Failure { error, log_start }) => {
                let message = StrBytes::from_string(error.to_string());
                let mut answer =
                    failed(data.index, error.code()).with_error_message(Some(message)).with_log_start_offset(log_start);
                if let LogError::BadRecords(records) = &error {
                    answer.record_errors = self.named(records);
                }
                if matches!(error, LogError::NotLeader) && self.context.version >= CURRENT_LEADER {
                    answer.current_leader = LeaderIdAndEpoch::default()
                        .with_leader_id(BrokerId(self.services.config.node_id))
                        .with_leader_epoch(-1);
                    self.leader_named = true;
                }
                answer
            }
        }
    }

    fn try_append(&mut self, topic: &Topic, data: &PartitionProduceData) -> Result<Appended, Failure> {
        if !self.seen.insert((topic.id, data.index)) {
            let why = "the request names this partition more than once";
            return Err(refused(ResponseError::InvalidRequest, why).into());
        }
        let partition = self.services.partition(topic, data.index)?;
        let records =
            data.records.clone().filter(|records| !records.is_empty()).ok_or_else(|| {
                refused(ResponseError::InvalidRecord, "the request holds no records for this partition")
            })?;
        let bytes = records.len() as u64;
        if !self.transactional && is_transactional(&records) {
            return Err(refused(
                ResponseError::TransactionalIdAuthorizationFailed,
                "a transactional batch, and the request names no transactional id",
            )
            .into());
        }
        let verdict = self.verdicts.of(topic.id, data.index);
        let guard = verdict.map_err(|code| refused(code, "the transaction's coordinator does not allow it"))?;
        let appended = partition.append_verified(records, self.acks, guard).map_err(|error| Failure {
            log_start: if tells_start(&error) { partition.bounds().log_start } else { -1 },
            error,
        })?;
        self.services.metrics.produced(topic.name.as_str(), bytes);
        Ok(appended)
    }

    /// The records that made their batch fail, as far as the answer has room.
    fn named(&mut self, records: &[BadRecord]) -> Vec<BatchIndexAndErrorMessage> {
        let named = &records[..records.len().min(self.nameable)];
        self.nameable -= named.len();
        named
            .iter()
            .map(|record| {
                let message = StrBytes::from_string(record.fault.to_string());
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(record.index)
                    .with_batch_index_error_message(Some(message))
            })
            .collect()
    }

    fn endpoint(&self) -> NodeEndpoint {
        let (host, port) = self.context.advertised.clone();
        NodeEndpoint::default().with_node_id(BrokerId(self.services.config.node_id)).with_host(host).with_port(port)
    }
}

/// Why a batch was not taken.
struct Failure {
    error: LogError,
    /// Where the log begins, as far as the client is told; -1 otherwise.
    log_start: Offset,
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self { error, log_start: -1 }
    }
}

/// Kafka says where the log begins along with errors that it calls unexpected.
fn tells_start(error: &LogError) -> bool {
    !matches!(
        error.code(),
        ResponseError::UnknownTopicOrPartition
            | ResponseError::NotLeaderOrFollower
            | ResponseError::MessageTooLarge
            | ResponseError::CorruptMessage
            | ResponseError::KafkaStorageError
    )
}

/// The topic that a request means: by id from version 13 on.
pub(super) fn topic_of<'a>(
    image: &'a Image,
    data: &TopicProduceData,
    version: i16,
) -> Result<&'a Arc<Topic>, ResponseError> {
    if version >= TOPIC_IDS {
        image.topic_by_id(data.topic_id).ok_or(ResponseError::UnknownTopicId)
    } else {
        image.topic(&data.name).ok_or(ResponseError::UnknownTopicOrPartition)
    }
}

fn refused(code: ResponseError, message: &str) -> LogError {
    LogError::Refused { code, message: message.to_owned() }
}

fn answer_for(topic: &TopicProduceData) -> TopicProduceResponse {
    TopicProduceResponse::default().with_name(topic.name.clone()).with_topic_id(topic.topic_id)
}

fn refuse(topic: &TopicProduceData, error: ResponseError) -> TopicProduceResponse {
    let partitions = topic.partition_data.iter().map(|partition| failed(partition.index, error));
    answer_for(topic).with_partition_responses(partitions.collect())
}

fn failed(index: i32, error: ResponseError) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(error.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1)
}
