//! One client's connection: frames in, answers out, in the order of the requests.
//!
//! One task owns the socket and both directions. Requests of one [`Lane`] overlap; any other is answered before the
//! next is begun, as Kafka does.

mod answer;
mod authentication;
mod budget;
mod frames;
mod metered;
mod page_cache;
mod tls_socket;
mod transport;

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;
use thiserror::Error;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

pub use budget::Budget;
pub use tls_socket::TlsSocket;
pub use transport::Transport;

use crate::auth::Principal;
use crate::limits;
use crate::metrics::{Outcome, Traffic};
use crate::protocol::Response;
use crate::protocol::api::{ProtocolError, Request};
use crate::service::{Context, Services};
use answer::{Answer, Appending, Made, answer, append, changes_things, versions};
use authentication::{Authentication, Progress};
use budget::Share;
use frames::{Frame, FrameError, Frames};

/// Why a connection is closed whose client takes too long to say who it is.
const UNAUTHENTICATED: &str = "the client did not authenticate in time";
/// Time for the answer that is being made when the broker stops.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// What the listener knows of a new connection.
pub struct Peer {
    pub host: IpAddr,
    pub listener: Arc<str>,
    /// Host and port that clients of this listener are told.
    pub advertised: (StrBytes, i32),
    /// Offered SASL mechanisms; none on listeners without SASL.
    pub sasl: Option<Arc<[crate::config::SaslMechanism]>>,
    /// From the client's certificate, or anonymous. Counts only without SASL.
    pub principal: Principal,
}

/// Why a connection was closed by the broker.
#[derive(Debug, Error)]
enum Closed {
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    #[error("connection failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("authentication failed")]
    Authentication,
    #[error("{0}")]
    Slow(&'static str),
    #[error("a request without acknowledgement failed")]
    Unacknowledged,
}

/// Serves a connection until one side ends it.
pub async fn serve(
    transport: impl Transport,
    peer: Peer,
    services: Arc<Services>,
    budget: Arc<Budget>,
    stop: CancellationToken,
) {
    let (host, listener) = (peer.host, Arc::clone(&peer.listener));
    let mut connection = Connection::new(transport, peer, services, budget);
    match connection.run(stop).await {
        Ok(()) => tracing::debug!(%host, listener = &*listener, "connection ended"),
        Err(Closed::Io(error)) => tracing::debug!(%host, listener = &*listener, %error, "connection lost"),
        // Whoever reaches the port can make these; the audit log has its own, limited entries.
        Err(reason) if connection.authentication.session().is_none() => {
            tracing::debug!(%host, listener = &*listener, %reason, "connection closed")
        }
        Err(reason) => tracing::info!(%host, listener = &*listener, %reason, "connection closed"),
    }
}

/// A request that was begun.
struct Begun {
    answer: Answer,
    /// The answer, once it is made and until its turn comes.
    made: Option<Result<Made, ProtocolError>>,
    api: ApiKey,
    /// It holds a share of the memory for large requests.
    large: bool,
    /// The next request waits for its answer, though it is of the same lane.
    first: bool,
    at: Instant,
}

impl Begun {
    fn new(api: ApiKey, large: bool, answer: Answer) -> Self {
        Self { answer, made: None, api, large, first: false, at: Instant::now() }
    }
}

/// Which requests may be begun while earlier ones still wait. Each is begun in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// The next batch is appended while earlier ones wait for the disk.
    Produce,
    /// Members of one group may share a connection: one waits for the others to join, whose requests come behind it.
    Consumer,
    Alone,
}

impl Lane {
    fn of(api: ApiKey) -> Self {
        match api {
            ApiKey::Produce => Lane::Produce,
            ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::Heartbeat
            | ApiKey::ConsumerGroupHeartbeat
            | ApiKey::LeaveGroup
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::FindCoordinator
            | ApiKey::ListOffsets
            | ApiKey::Fetch => Lane::Consumer,
            _ => Lane::Alone,
        }
    }
}

struct Connection<T> {
    transport: T,
    frames: Frames,
    peer: Peer,
    services: Arc<Services>,
    authentication: Authentication,
    /// Answers in the order of their requests, all of one lane.
    answers: VecDeque<Begun>,
    lane: Lane,
    /// A frame that has to wait for the answers before it.
    held: Option<Request>,
    held_budget: Option<Share>,
    /// Until when nothing is read or begun, because of a quota.
    muted: Option<Instant>,
    traffic: Traffic,
    last_request: Instant,
    /// When the frame that is being received began.
    frame_began: Option<Instant>,
}

impl<T: Transport> Connection<T> {
    fn new(transport: T, peer: Peer, services: Arc<Services>, budget: Arc<Budget>) -> Self {
        let authentication = Authentication::new(&peer, &services);
        let now = Instant::now();
        let traffic = services.metrics.traffic(&peer.listener);
        Self {
            transport,
            frames: Frames::new(budget.of(peer.host)),
            peer,
            services,
            authentication,
            answers: VecDeque::new(),
            lane: Lane::Alone,
            held: None,
            held_budget: None,
            muted: None,
            traffic,
            last_request: now,
            frame_began: None,
        }
    }

    async fn run(&mut self, stop: CancellationToken) -> Result<(), Closed> {
        let _open = self.traffic.open();
        loop {
            while self.start_next().await? {
                self.check_authentication_time()?;
            }
            let stopping = stop.is_cancelled();
            let muted = self.muted;
            if stopping && self.answers.is_empty() {
                return Ok(());
            }
            let limit = self.frame_limit();
            let may_read =
                !stopping && muted.is_none() && self.held.is_none() && self.answers.len() < limits::PIPELINED_REQUESTS;
            let deadline = self.deadline(stopping);
            tokio::select! {
                biased;
                answer = front(&mut self.answers) => self.finish(answer).await?,
                count = self.frames.read(&mut self.transport, limit), if may_read => {
                    match count? {
                        0 => return Ok(()),
                        count => self.traffic.received.inc_by(count as u64),
                    };
                }
                () = stop.cancelled(), if !stopping => {}
                () = sleep_until(muted.unwrap_or_else(Instant::now)), if muted.is_some() => self.unmute(),
                reason = too_slow(deadline) => return Err(Closed::Slow(reason)),
            }
        }
    }

    /// A client that keeps the broker busy does not get more time than one that is silent.
    fn check_authentication_time(&self) -> Result<(), Closed> {
        match self.authentication.deadline() {
            Some(deadline) if deadline < Instant::now() => Err(Closed::Slow(UNAUTHENTICATED)),
            _ => Ok(()),
        }
    }

    fn frame_limit(&self) -> usize {
        match self.authentication.session() {
            Some(_) => self.services.config.limits.request_bytes,
            None => limits::FRAME_BEFORE_AUTHENTICATION,
        }
    }

    /// Until when something has to happen, and what to say if it does not.
    fn deadline(&self, stopping: bool) -> Option<(Instant, &'static str)> {
        if stopping {
            return Some((Instant::now() + LAST_ANSWER, "the broker stops"));
        }
        if let Some(deadline) = self.authentication.deadline() {
            return Some((deadline, UNAUTHENTICATED));
        }
        if self.muted.is_some() {
            return None;
        }
        if let Some(began) = self.frame_began {
            let patience = self.transfer_patience();
            return Some((began + patience, "the rest of a request did not come in time"));
        }
        let idle = Duration::from_secs(self.services.config.limits.idle_seconds);
        self.answers.is_empty().then(|| (self.last_request + idle, "the connection was idle for too long"))
    }

    /// What has come buys time for the rest; waiting for memory is not the client's fault.
    fn transfer_patience(&self) -> Duration {
        let longest = Duration::from_secs(limits::TRANSFER_SECONDS);
        if self.frames.is_waiting() {
            return longest;
        }
        let bought = self.frames.arrived() as u64 / limits::TRANSFER_BYTES_PER_SECOND;
        Duration::from_secs(limits::TRANSFER_START_SECONDS + bought).min(longest)
    }

    /// Reads and begins nothing for a while.
    fn mute(&mut self, throttle_ms: i32) {
        if throttle_ms > 0 {
            let until = Instant::now() + Duration::from_millis(throttle_ms as u64);
            self.muted = Some(self.muted.map_or(until, |muted| muted.max(until)));
        }
    }

    /// The client could do nothing meanwhile, so its deadlines begin anew.
    fn unmute(&mut self) {
        self.muted = None;
        self.last_request = Instant::now();
        self.frame_began = self.frame_began.map(|_| self.last_request);
    }

    /// Begins the next request if one has arrived and may begin. True when there may be another.
    async fn start_next(&mut self) -> Result<bool, Closed> {
        if self.muted.is_some() {
            return Ok(false);
        }
        if let Some(request) = self.held.take_if(|_| self.answers.is_empty()) {
            let budget = self.held_budget.take();
            self.begin(request, budget).await?;
            return Ok(true);
        }
        if self.held.is_some() || self.answers.len() >= limits::PIPELINED_REQUESTS {
            return Ok(false);
        }
        let Some(frame) = self.frames.next(self.frame_limit())? else {
            self.frame_began = match self.frames.is_partial() {
                true => self.frame_began.or_else(|| Some(Instant::now())),
                false => None,
            };
            return Ok(false);
        };
        self.frame_began = None;
        self.last_request = Instant::now();
        match self.authentication.goes_on() {
            true => self.authenticate(frame).await?,
            false => self.start(frame).await?,
        }
        Ok(true)
    }

    /// A frame of a SASL exchange: answered at once. No answer is owed meanwhile.
    async fn authenticate(&mut self, frame: Frame) -> Result<(), Closed> {
        let deadline = self.authentication.deadline();
        let progress = self.authentication.advance(frame.bytes, &self.peer, &self.services).await?;
        self.tell(progress, deadline).await
    }

    async fn tell(&mut self, progress: Progress, deadline: Option<Instant>) -> Result<(), Closed> {
        let Progress { response, failed } = progress;
        let patience = Instant::now() + Duration::from_secs(limits::AUTHENTICATION_SECONDS);
        match timeout_at(deadline.unwrap_or(patience), self.send(response)).await {
            Ok(sent) => sent?,
            Err(_) => return Err(Closed::Slow(UNAUTHENTICATED)),
        }
        if failed { Err(Closed::Authentication) } else { Ok(()) }
    }

    async fn start(&mut self, frame: Frame) -> Result<(), Closed> {
        let request = match Request::parse(frame.bytes).and_then(|request| self.in_session(request)) {
            Ok(request) => request,
            // The error closes the connection, after the answers before it.
            Err(error) => {
                self.lane = Lane::Alone;
                self.answers.push_back(Begun::new(ApiKey::ApiVersions, false, Box::pin(async { Err(error) })));
                return Ok(());
            }
        };
        let lane = Lane::of(request.api.key);
        // One large request of a connection at a time: pipelining is not a way to more memory.
        let crowded = frame.budget.is_some() && self.answers.iter().any(|begun| begun.large);
        let ordered = !self.answers.iter().any(|begun| begun.first);
        let may_begin = self.answers.is_empty() || lane == self.lane && lane != Lane::Alone && !crowded && ordered;
        if !may_begin {
            self.held = Some(request);
            self.held_budget = frame.budget;
            return Ok(());
        }
        self.begin(request, frame.budget).await
    }

    /// After its session has ended a client may only authenticate again.
    fn in_session(&self, request: Request) -> Result<Request, ProtocolError> {
        let api = request.api.key;
        if api == ApiKey::SaslHandshake || !self.authentication.has_ended() {
            return Ok(request);
        }
        self.services.metrics.expired_sessions.inc();
        let user = self.authentication.session().map(|session| session.principal.name());
        let reason = "the session has ended and the client did not authenticate again";
        let audit = self.services.authorizer.audit();
        audit.authentication_failed(user, self.peer.host, &self.peer.listener, reason);
        Err(ProtocolError::SessionEnded(api))
    }

    async fn begin(&mut self, request: Request, budget: Option<Share>) -> Result<(), Closed> {
        if request.api.key == ApiKey::SaslHandshake {
            let progress = self.authentication.begin_again(&request, &self.peer, &self.services)?;
            return self.tell(progress, None).await;
        }
        let Some(session) = self.authentication.session() else { return Ok(()) };
        let context = Context {
            version: request.version,
            client_id: request.client_id.clone(),
            session: Arc::clone(session),
            advertised: self.peer.advertised.clone(),
        };
        let api = request.api.key;
        self.lane = Lane::of(api);
        let large = budget.is_some() && api != ApiKey::Produce;
        let answer: Answer = match api {
            ApiKey::Produce => {
                let Appending { answer, throttle_ms, verifying } = append(&self.services, &context, request);
                // From now on, so that what is pipelined behind it is not begun on credit.
                self.mute(throttle_ms);
                self.answers.push_back(Begun { first: verifying, ..Begun::new(api, large, answer) });
                return Ok(());
            }
            ApiKey::ApiVersions => Box::pin(async move { versions(&request).map(Made::from) }),
            ApiKey::SaslAuthenticate => {
                let response = authentication::already_done(&request).map(Made::from);
                Box::pin(async move { response })
            }
            _ if changes_things(api) => {
                // Half a change would stay half done if it ended with the connection.
                let services = Arc::clone(&self.services);
                let change =
                    self.services.changes.spawn(async move { answer(services, context, request, budget).await });
                Box::pin(async move {
                    let done = change.await.map_err(|error| ProtocolError::Interrupted(error.to_string()))?;
                    done.map(Made::from)
                })
            }
            _ => {
                let services = Arc::clone(&self.services);
                Box::pin(async move { answer(services, context, request, budget).await.map(Made::from) })
            }
        };
        self.answers.push_back(Begun::new(api, large, answer));
        Ok(())
    }

    async fn finish(&mut self, answer: Result<Made, ProtocolError>) -> Result<(), Closed> {
        if let Some(begun) = self.answers.pop_front() {
            let outcome = if answer.is_ok() { Outcome::Answered } else { Outcome::Failed };
            self.services.metrics.request(begun.api as i16, outcome, begun.at.elapsed());
        }
        let Made { response, throttle_ms } = match answer {
            Ok(made) => made,
            Err(ProtocolError::Unacknowledged) => return Err(Closed::Unacknowledged),
            Err(error) => return Err(error.into()),
        };
        self.last_request = Instant::now();
        if let Some(response) = response {
            self.send(response).await?;
        }
        // Answered first, muted afterwards (KIP-219).
        self.mute(throttle_ms);
        Ok(())
    }

    async fn send(&mut self, response: Response) -> Result<(), Closed> {
        let patience = Duration::from_secs(limits::TRANSFER_SECONDS);
        self.traffic.sent.inc_by(response.len() as u64);
        match timeout(patience, self.transport.send(response.parts)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(Closed::Slow("the client did not take an answer in time")),
        }
    }
}

/// Works on all answers, in order, until the first is made; it stays in its place. Cancel safe.
async fn front(answers: &mut VecDeque<Begun>) -> Result<Made, ProtocolError> {
    poll_fn(|context| {
        for begun in answers.iter_mut().filter(|begun| begun.made.is_none()) {
            if let Poll::Ready(made) = begun.answer.as_mut().poll(context) {
                begun.made = Some(made);
            }
        }
        match answers.front_mut().and_then(|first| first.made.take()) {
            Some(made) => Poll::Ready(made),
            None => Poll::Pending,
        }
    })
    .await
}

async fn too_slow(deadline: Option<(Instant, &'static str)>) -> &'static str {
    match deadline {
        Some((at, reason)) => {
            sleep_until(at).await;
            reason
        }
        None => pending().await,
    }
}
