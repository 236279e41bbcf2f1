//! Fetch: whole batches, as file ranges, from many partitions at once; waits for new records as long as asked.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use tokio::time::{Instant, timeout_at};

use super::fetch_session::{Key, Plan, Wanted};
use super::{Context, Services};
use crate::auth::{Access, Guarded, Refusal, authorize};
use crate::catalog::Topic;
use crate::catalog::acl::{Operation, ResourceType};
use crate::catalog::quota::QuotaKey;
use crate::limits;
use crate::log::{Bounds, Isolation, LogError, Partition};
use crate::protocol::fetch::{FetchResponse, FetchedPartition, FetchedTopic, NodeEndpoint};
use crate::store::Offset;

const QUOTA: QuotaKey = QuotaKey::ConsumerByteRate;
/// First version that names topics by id.
const TOPIC_IDS: i16 = 13;
/// First version in which the client tells the epoch of its last record, and learns of a diverging one (KIP-320).
const LAST_FETCHED_EPOCH: i16 = 12;

/// Answers a fetch request. `held` is what its frame keeps in memory, and is let go before a wait.
pub async fn fetch<H>(services: &Services, context: &Context, request: FetchRequest, held: H) -> FetchResponse {
    if let Some(refused) = throttled(services, context, &request) {
        return refused;
    }
    let plan = match services.fetch_sessions.plan(&request, &context.session.principal) {
        Ok(plan) => plan,
        Err(error) => return FetchResponse { error_code: error.code(), ..FetchResponse::default() },
    };
    let access = services.access(&context.session);
    let targets = Targets { plan, by_id: context.version >= TOPIC_IDS, found: Vec::new() };
    let targets = match authorize(targets, access) {
        Ok(targets) => targets.into_parts().0,
        Err((refusal, _)) => return FetchResponse { error_code: refusal.0.code(), ..FetchResponse::default() },
    };
    let reader = Reader::new(services, context, &request, targets);
    drop((request, held));
    reader.run().await
}

/// A client in debt gets an empty answer and comes again (KIP-219). A session goes on, but none is begun.
fn throttled(services: &Services, context: &Context, request: &FetchRequest) -> Option<FetchResponse> {
    let throttle_time_ms = services.quotas.debt(QUOTA, context.client());
    if throttle_time_ms == 0 {
        return None;
    }
    let next = services.fetch_sessions.pass(request, &context.session.principal);
    let (session_id, error_code) = match next {
        Ok(session_id) => (session_id, 0),
        Err(error) => (0, error.code()),
    };
    Some(FetchResponse { throttle_time_ms, error_code, session_id, ..FetchResponse::default() })
}

/// The partitions of a fetch, resolved; those that may not be read become errors in `guard`.
struct Targets {
    plan: Plan,
    by_id: bool,
    found: Vec<Result<Arc<Topic>, ResponseError>>,
}

impl Guarded for Targets {
    type Denied = ();

    fn guard(&mut self, access: &Access) -> Result<(), Refusal> {
        let image = access.image();
        let resolve = |key: &Key| {
            let topic = if self.by_id { image.topic_by_id(key.id) } else { image.topic(&key.name) };
            let readable = |name: &str| access.allows(Operation::Read, ResourceType::Topic, name);
            match topic {
                Some(topic) if readable(topic.name.as_str()) => Ok(topic.clone()),
                Some(_) => Err(ResponseError::TopicAuthorizationFailed),
                None if self.by_id => Err(ResponseError::UnknownTopicId),
                None if readable(&key.name) => Err(ResponseError::UnknownTopicOrPartition),
                None => Err(ResponseError::TopicAuthorizationFailed),
            }
        };
        self.found = self.plan.partitions.iter().map(|(key, _)| resolve(key)).collect();
        Ok(())
    }
}

struct Reader<'a> {
    services: &'a Services,
    context: &'a Context,
    plan: Plan,
    /// Topics of the partitions, where they are known, for counting.
    topics: Vec<Option<Arc<Topic>>>,
    partitions: Vec<Result<Arc<Partition>, LogError>>,
    isolation: Isolation,
    max_bytes: usize,
    min_bytes: usize,
    deadline: Instant,
}

/// One pass over all partitions.
struct Pass {
    answers: Vec<FetchedPartition>,
    bytes: usize,
    failed: bool,
    last_with_data: Option<usize>,
}

impl<'a> Reader<'a> {
    fn new(services: &'a Services, context: &'a Context, request: &FetchRequest, targets: Targets) -> Self {
        let open = |(found, (key, _)): (Result<Arc<Topic>, ResponseError>, &(Key, Wanted))| {
            let refused = |code: ResponseError| LogError::Refused { code, message: code.to_string() };
            found.map_err(refused).and_then(|topic| services.partition(&topic, key.index))
        };
        let topics = targets.found.iter().map(|found| found.as_ref().ok().cloned()).collect();
        let partitions = targets.found.into_iter().zip(&targets.plan.partitions).map(open).collect();
        // No more than a second's worth at once, so that the debt is waited off soon (Kafka bounds it by its windows).
        let allowance = services.quotas.rate(QUOTA, context.client()).map_or(usize::MAX, |rate| rate as usize);
        let wait = Duration::from_millis(request.max_wait_ms.clamp(0, limits::FETCH_WAIT_MS) as u64);
        Self {
            services,
            context,
            plan: targets.plan,
            topics,
            partitions,
            isolation: if request.isolation_level == 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted },
            max_bytes: (request.max_bytes.max(0) as usize).min(limits::FETCH_BYTES).min(allowance),
            min_bytes: (request.min_bytes.max(0) as usize).min(allowance),
            deadline: Instant::now() + wait,
        }
    }

    async fn run(self) -> FetchResponse {
        let mut pass = self.pass().await;
        if !self.enough(&pass) {
            // Subscribed before reading again, so that nothing that arrives in between is slept through.
            let mut watched: FuturesUnordered<_> = self.watched().collect();
            pass = self.pass().await;
            while !self.enough(&pass) {
                let woken = tokio::select! {
                    woken = timeout_at(self.deadline, watched.next()) => woken.is_ok(),
                    () = self.services.stopping.cancelled() => false,
                };
                if !woken || watched.is_empty() && !self.any_open() {
                    break;
                }
                watched = self.watched().collect();
                pass = self.pass().await;
            }
        }
        self.answer(pass)
    }

    fn enough(&self, pass: &Pass) -> bool {
        pass.failed || pass.bytes >= self.min_bytes || Instant::now() >= self.deadline
    }

    fn any_open(&self) -> bool {
        self.partitions.iter().any(Result::is_ok)
    }

    /// One future per partition, ready when its high watermark moves or it fails.
    fn watched(&self) -> impl Iterator<Item = impl Future<Output = ()> + use<>> {
        let receivers: Vec<_> = self.partitions.iter().flatten().map(|partition| partition.watch()).collect();
        receivers.into_iter().map(|mut receiver| async move {
            let _ = receiver.changed().await;
        })
    }

    async fn pass(&self) -> Pass {
        let mut pass =
            Pass { answers: Vec::with_capacity(self.partitions.len()), bytes: 0, failed: false, last_with_data: None };
        for (at, partition) in self.partitions.iter().enumerate() {
            let (key, wanted) = &self.plan.partitions[at];
            let left = self.max_bytes.saturating_sub(pass.bytes);
            let answer = match partition {
                Ok(partition) => {
                    let read = self.read(partition, key, wanted, left, pass.bytes == 0).await;
                    read.unwrap_or_else(|error| self.failed(key.index, &error))
                }
                // Kafka names no aborted transactions of a partition that it does not serve, instead of leaving that open.
                Err(error) => FetchedPartition { aborted: Some(Vec::new()), ..self.failed(key.index, error) },
            };
            pass.failed |= answer.error_code != 0 || answer.diverging.is_some();
            if !answer.records.is_empty() {
                pass.bytes += answer.records.len();
                pass.last_with_data = Some(at);
            }
            pass.answers.push(answer);
        }
        pass
    }

    async fn read(
        &self,
        partition: &Partition,
        key: &Key,
        wanted: &Wanted,
        left: usize,
        at_least_one: bool,
    ) -> Result<FetchedPartition, LogError> {
        partition.check_epoch(wanted.current_epoch)?;
        if let Some(diverging) = self.diverging(partition, wanted)? {
            let bounds = partition.bounds();
            return Ok(FetchedPartition {
                high_watermark: bounds.high_watermark,
                last_stable: bounds.last_stable,
                log_start: bounds.log_start,
                diverging: Some(diverging),
                ..FetchedPartition::error(key.index, 0)
            });
        }
        let max_bytes = (wanted.max_bytes.max(0) as usize).min(left);
        let fetched = partition.fetch(wanted.offset, max_bytes, at_least_one, self.isolation).await?;
        Ok(FetchedPartition {
            index: key.index,
            error_code: 0,
            high_watermark: fetched.bounds.high_watermark,
            last_stable: fetched.bounds.last_stable,
            log_start: fetched.bounds.log_start,
            aborted: (self.isolation == Isolation::ReadCommitted).then_some(fetched.aborted),
            diverging: None,
            current_leader: None,
            records: fetched.slice,
        })
    }

    /// The client's last record was of an epoch that ended before it here: its copy of the log differs.
    fn diverging(&self, partition: &Partition, wanted: &Wanted) -> Result<Option<(i32, Offset)>, LogError> {
        if self.context.version < LAST_FETCHED_EPOCH || wanted.last_fetched_epoch < 0 {
            return Ok(None);
        }
        let Some(end) = partition.epoch_end(wanted.last_fetched_epoch) else {
            // A partition that has just failed knows of no epoch, and says so itself.
            partition.check_epoch(-1)?;
            return Err(LogError::Refused {
                code: ResponseError::OffsetOutOfRange,
                message: format!("where epoch {} ended is not known", wanted.last_fetched_epoch),
            });
        };
        // What is deleted cannot be compared.
        let Bounds { log_start, log_end, .. } = partition.bounds();
        if wanted.offset < log_start {
            return Err(LogError::OffsetOutOfRange { wanted: wanted.offset, start: log_start, end: log_end });
        }
        let differs = end.leader_epoch < wanted.last_fetched_epoch || end.end_offset < wanted.offset;
        Ok(differs.then_some((end.leader_epoch, end.end_offset)))
    }

    fn failed(&self, index: i32, error: &LogError) -> FetchedPartition {
        let node_id = self.services.config.node_id;
        let current_leader = matches!(error, LogError::NotLeader).then_some((node_id, -1));
        FetchedPartition { current_leader, ..FetchedPartition::error(index, error.code().code()) }
    }

    fn answer(self, pass: Pass) -> FetchResponse {
        let quotas = &self.services.quotas;
        let mut throttle_time_ms = 0;
        if quotas.limits(QUOTA) {
            // Others of the same user may have used it up during a wait.
            throttle_time_ms = quotas.debt(QUOTA, self.context.client());
            if throttle_time_ms > 0 && pass.bytes > 0 {
                let session_id = self.services.fetch_sessions.withhold(&self.plan, &self.context.session.principal);
                return FetchResponse { throttle_time_ms, session_id, ..FetchResponse::default() };
            }
            throttle_time_ms = quotas.charge(QUOTA, self.context.client(), pass.bytes as f64);
        }
        let told: Vec<_> = pass
            .answers
            .iter()
            .map(|answer| (answer.error_code == 0).then_some((answer.high_watermark, answer.log_start)))
            .collect();
        self.services.fetch_sessions.told(&self.plan, &told, pass.last_with_data);
        let mut topics: Vec<FetchedTopic> = Vec::new();
        let mut leader_named = false;
        for (at, answer) in pass.answers.into_iter().enumerate() {
            let quiet = answer.error_code == 0 && answer.diverging.is_none() && answer.records.is_empty();
            if quiet && self.plan.unchanged(at, answer.high_watermark, answer.log_start) {
                continue;
            }
            leader_named |= answer.current_leader.is_some();
            if let Some(topic) = self.topics[at].as_ref().filter(|_| !answer.records.is_empty()) {
                self.services.metrics.fetched(topic.name.as_str(), answer.records.len() as u64);
            }
            let key = &self.plan.partitions[at].0;
            match topics.last_mut() {
                Some(topic) if topic.id == key.id && topic.name == key.name => topic.partitions.push(answer),
                _ => topics.push(FetchedTopic { name: key.name.clone(), id: key.id, partitions: vec![answer] }),
            }
        }
        FetchResponse {
            throttle_time_ms,
            session_id: self.plan.session_id,
            topics,
            leaders: if leader_named { vec![self.endpoint()] } else { Vec::new() },
            ..FetchResponse::default()
        }
    }

    fn endpoint(&self) -> NodeEndpoint {
        let (host, port) = self.context.advertised.clone();
        NodeEndpoint { node_id: self.services.config.node_id, host, port }
    }
}
