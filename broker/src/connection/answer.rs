//! How a request is begun, and what its answer says of quotas.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kafka_protocol::messages::{ApiKey, ProduceRequest};
use tokio::time::Instant;

use super::budget::Share;
use super::metered::Metered;
use crate::catalog::quota::QuotaKey;
use crate::protocol::api::{ProtocolError, Request};
use crate::protocol::{Response, encode, throttle};
use crate::service::{Answered, Context, Producing, Services, api_versions, dispatch, produce};

/// An answer that is made: `None` when the client wants none; and how long the connection is muted afterwards.
pub(super) struct Made {
    pub(super) response: Option<Response>,
    pub(super) throttle_ms: i32,
}

impl From<Response> for Made {
    fn from(response: Response) -> Self {
        Self { response: Some(response), throttle_ms: 0 }
    }
}

impl From<Answered> for Made {
    fn from(answered: Answered) -> Self {
        Self { response: Some(answered.response), throttle_ms: answered.throttle_ms }
    }
}

/// An answer that is being made.
pub(super) type Answer = BoxFuture<'static, Result<Made, ProtocolError>>;

/// Requests that change the catalog. Metadata may make topics.
pub(super) fn changes_things(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::CreateTopics
            | ApiKey::DeleteTopics
            | ApiKey::CreatePartitions
            | ApiKey::DeleteRecords
            | ApiKey::AlterConfigs
            | ApiKey::IncrementalAlterConfigs
            | ApiKey::CreateAcls
            | ApiKey::DeleteAcls
            | ApiKey::AlterUserScramCredentials
            | ApiKey::AlterClientQuotas
            | ApiKey::InitProducerId
            | ApiKey::WriteTxnMarkers
            | ApiKey::TxnOffsetCommit
            | ApiKey::Metadata
    )
}

/// Answers a request, and holds it to the quota of processor time if there is one.
pub(super) async fn answer(
    services: Arc<Services>,
    context: Context,
    request: Request,
    budget: Option<Share>,
) -> Result<Answered, ProtocolError> {
    const KEY: QuotaKey = QuotaKey::RequestPercentage;
    if !services.quotas.limits(KEY) {
        return dispatch(services, context, request, budget).await;
    }
    let (api, version) = (request.api.key, request.version);
    let mut who = context.clone();
    who.detach();
    let (answered, spent) = Metered::new(dispatch(Arc::clone(&services), context, request, budget)).await;
    let mut answered = answered?;
    let throttle_ms = services.quotas.charge(KEY, who.client(), milliseconds(spent));
    if throttle_ms > answered.throttle_ms {
        throttle::tell(api, version, &mut answered.response, throttle_ms);
        answered.throttle_ms = throttle_ms;
    }
    Ok(answered)
}

fn milliseconds(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1000.0
}

/// A produce request that was begun.
pub(super) struct Appending {
    /// Waits for what the client's acks demand.
    pub(super) answer: Answer,
    /// How long a quota mutes the connection.
    pub(super) throttle_ms: i32,
    /// Nothing is appended yet: a coordinator is asked first, and what is pipelined behind must not overtake it.
    pub(super) verifying: bool,
}

impl Appending {
    fn failed(error: ProtocolError) -> Self {
        Self { answer: Box::pin(async { Err(error) }), throttle_ms: 0, verifying: false }
    }
}

/// Appends at once, unless a transaction begins.
pub(super) fn append(services: &Arc<Services>, context: &Context, request: Request) -> Appending {
    let (version, correlation_id) = (request.version, request.correlation_id);
    let size = request.body.len();
    let quotas = &services.quotas;
    let began = quotas.limits(QuotaKey::RequestPercentage).then(Instant::now);
    let decoded = match request.decode::<ProduceRequest>() {
        Ok(decoded) => decoded,
        Err(error) => return Appending::failed(error),
    };
    drop(request);
    let producing = produce(services, context, decoded);
    if matches!(&producing, Producing::Written(produced) if produced.failed_silently()) {
        return Appending::failed(ProtocolError::Unacknowledged);
    }
    let bandwidth = quotas.charge(QuotaKey::ProducerByteRate, context.client(), size as f64);
    let time = began.map(|began| milliseconds(began.elapsed()));
    let time = time.map_or(0, |spent| quotas.charge(QuotaKey::RequestPercentage, context.client(), spent));
    let throttle_ms = bandwidth.max(time);
    let verifying = matches!(&producing, Producing::Verifying(_));
    let answer = Box::pin(async move {
        let mut produced = match producing {
            Producing::Written(produced) => produced,
            Producing::Verifying(verified) => verified.await,
        };
        if produced.failed_silently() {
            return Err(ProtocolError::Unacknowledged);
        }
        // The connection is muted already, from the moment of the append.
        produced.throttle(throttle_ms);
        let response = produced.finish().await.map(|response| encode(&response, version, correlation_id));
        Ok(Made { response: response.transpose()?, throttle_ms: 0 })
    });
    Appending { answer, throttle_ms, verifying }
}

/// ApiVersions of a version we do not know is answered in version 0, with the list.
pub(super) fn versions(request: &Request) -> Result<Response, ProtocolError> {
    let version = if request.served() { request.version } else { 0 };
    if request.served() {
        request.decode::<kafka_protocol::messages::ApiVersionsRequest>()?;
    }
    encode(&api_versions(version, request.served()), version, request.correlation_id)
}
