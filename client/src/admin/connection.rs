//! The connection behind the admin calls: opened on first use, reopened when it broke, always to a bootstrap address.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use krafka::__private::network::{BrokerConnection, ConnectionConfig};
use krafka::__private::protocol::{ApiKey, VersionedDecode, VersionedEncode};
use krafka::KrafkaError;
use tokio::sync::Mutex;

use crate::error::{Error, Place, Result};
use crate::profile::Profile;

/// A request and the versions of it that this client speaks.
#[derive(Clone, Copy)]
pub(super) struct Api {
    pub(super) key: ApiKey,
    pub(super) name: &'static str,
    pub(super) min: i16,
    pub(super) max: i16,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Asked again once when the connection breaks.
    Read,
    /// Never sent twice: after a broken connection nobody knows whether the change was made.
    Write,
}

/// A handle to a cluster; cheap to clone, shared by concurrent calls.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

struct Shared {
    profile: Profile,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    connection: Option<Arc<BrokerConnection>>,
    /// The credential that worked, tried first when the connection is opened again.
    attempt: usize,
    /// Brokers that had to be asked by name, by address.
    others: HashMap<String, Arc<BrokerConnection>>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("profile", &self.shared.profile).finish_non_exhaustive()
    }
}

impl Admin {
    /// Makes no connection yet.
    pub fn new(profile: Profile) -> Self {
        Self { shared: Arc::new(Shared { profile, open: Mutex::new(Open::default()) }) }
    }

    /// Opens the connection, so that a wrong address or password shows now.
    pub async fn connect(profile: Profile) -> Result<Self> {
        let admin = Self::new(profile);
        admin.connection().await?;
        Ok(admin)
    }

    pub fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    /// Which of the profile's credentials the broker accepted, for [`Profile::security`].
    pub async fn accepted_credential(&self) -> Result<usize> {
        self.connection().await?;
        Ok(self.shared.open.lock().await.attempt)
    }

    /// Sends one request and decodes its answer.
    pub(super) async fn call<Req, Resp>(&self, api: Api, request: &Req) -> Result<Resp>
    where
        Req: VersionedEncode,
        Resp: VersionedDecode,
    {
        let mut broken = false;
        loop {
            let connection = self.connection().await?;
            let error = match exchange(&connection, api, request).await {
                Ok(response) => return Ok(response),
                Err(Exchange::Failed(error)) => error,
                Err(Exchange::Unsupported(error)) => return Err(error),
            };
            if api.kind == Kind::Read && !broken && matches!(error, KrafkaError::Network(_)) {
                broken = true;
                self.forget(&connection).await;
                continue;
            }
            return Err(match self.place(&connection, api).error(&error) {
                Error::Connection { what, server, reason } if self.shared.profile.username().is_none() => {
                    let reason = format!("{reason}; the port may expect SASL, and no user is set");
                    Error::Connection { what, server, reason }
                }
                other => other,
            });
        }
    }

    /// The same, at one broker. Only for clusters whose bootstrap servers answered that another broker must be asked;
    /// Lockgate's answer everything.
    pub(super) async fn call_at<Req, Resp>(&self, address: &str, api: Api, request: &Req) -> Result<Resp>
    where
        Req: VersionedEncode,
        Resp: VersionedDecode,
    {
        let connection = self.connection_to(address).await?;
        exchange(&connection, api, request).await.map_err(|error| match error {
            Exchange::Failed(error) => self.place(&connection, api).error(&error),
            Exchange::Unsupported(error) => error,
        })
    }

    async fn connection_to(&self, address: &str) -> Result<Arc<BrokerConnection>> {
        let mut open = self.shared.open.lock().await;
        if let Some(connection) = open.others.get(address).filter(|connection| connection.is_usable()) {
            return Ok(connection.clone());
        }
        let connection = dial_as(&self.shared.profile, &[address.to_owned()], open.attempt).await?;
        let connection = Arc::new(connection);
        open.others.insert(address.to_owned(), connection.clone());
        Ok(connection)
    }

    fn place<'a>(&self, connection: &'a BrokerConnection, api: Api) -> Place<'a> {
        let timeout = self.shared.profile.request_timeout;
        Place { server: connection.address(), what: api.name, user: None, timeout }
    }

    /// Bound that a broker is told for a change, a little under our own so that its answer arrives.
    pub(super) fn broker_timeout_ms(&self) -> i32 {
        let millis = self.shared.profile.request_timeout.as_millis() * 9 / 10;
        i32::try_from(millis).unwrap_or(i32::MAX)
    }

    pub(super) async fn connection(&self) -> Result<Arc<BrokerConnection>> {
        let mut open = self.shared.open.lock().await;
        if let Some(connection) = open.connection.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(connection.clone());
        }
        let (connection, attempt) = dial(&self.shared.profile, open.attempt).await?;
        let connection = Arc::new(connection);
        open.connection = Some(connection.clone());
        open.attempt = attempt;
        Ok(connection)
    }

    async fn forget(&self, broken: &Arc<BrokerConnection>) {
        let mut open = self.shared.open.lock().await;
        if open.connection.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, broken)) {
            open.connection = None;
        }
    }
}

enum Exchange {
    Failed(KrafkaError),
    Unsupported(Error),
}

async fn exchange<Req, Resp>(connection: &BrokerConnection, api: Api, request: &Req) -> Result<Resp, Exchange>
where
    Req: VersionedEncode,
    Resp: VersionedDecode,
{
    let version = connection.negotiate_api_version(api.key, api.max, api.min).ok_or_else(|| {
        let server = connection.address().to_owned();
        Exchange::Unsupported(Error::Unsupported { what: api.name.to_owned(), server })
    })?;
    let sent = connection.send_request(api.key, version, |buf| request.encode_versioned(version, buf)).await;
    sent.and_then(|mut bytes| Resp::decode_versioned(version, &mut bytes)).map_err(Exchange::Failed)
}

/// Tries each credential at each server, the one that worked last time first.
async fn dial(profile: &Profile, first: usize) -> Result<(BrokerConnection, usize)> {
    let attempts = profile.attempts();
    let mut refused = None;
    for attempt in (0..attempts).map(|step| (first + step) % attempts) {
        match dial_as(profile, profile.servers(), attempt).await {
            Ok(connection) => return Ok((connection, attempt)),
            Err(error @ Error::Authentication { .. }) => refused = refused.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or(Error::Unreachable { tried: Vec::new() }))
}

/// Tries each server with one credential. A server that answers and refuses is worth more to the user than one that is
/// out of reach, so its error wins.
async fn dial_as(profile: &Profile, servers: &[String], attempt: usize) -> Result<BrokerConnection> {
    let config = ConnectionConfig::builder()
        .client_id("lockgate")
        .connect_timeout(profile.connect_timeout)
        .request_timeout(profile.request_timeout)
        .auth(profile.security(attempt))
        .build()
        .map_err(|error| Error::Settings(error.to_string()))?;
    let mut tried = Vec::new();
    let mut refused = None;
    for server in servers {
        let cause = match BrokerConnection::connect(server, config.clone()).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        tracing::debug!(server, error = %cause, "server not usable");
        let place =
            Place { server, what: "the connection", user: profile.user(attempt), timeout: profile.connect_timeout };
        match place.error(&cause) {
            Error::Connection { reason, .. } => tried.push((server.clone(), short_cause(&reason))),
            Error::Timeout { .. } => {
                tried.push((server.clone(), format!("no answer within {:?}", profile.connect_timeout)))
            }
            // What a TLS port says to a client without TLS, and the other way round, is no Kafka answer.
            Error::Answer { .. } => tried.push((server.clone(), OTHER_PROTOCOL.to_owned())),
            other => refused = refused.or(Some(other)),
        }
    }
    Err(refused.unwrap_or(Error::Unreachable { tried }))
}

const OTHER_PROTOCOL: &str = "it hung up; the port may expect TLS, or SASL, or neither of them";

/// The plain cause inside the transport's nested messages.
fn short_cause(reason: &str) -> String {
    let lower = reason.to_ascii_lowercase();
    for cause in ["connection refused", "network is unreachable", "no route to host", "connection reset"] {
        if lower.contains(cause) {
            return cause.to_owned();
        }
    }
    if lower.contains("lookup") || lower.contains("name or service not known") || lower.contains("resolve") {
        return "the host name is not known".to_owned();
    }
    if lower.contains("eof") || lower.contains("closed") {
        return OTHER_PROTOCOL.to_owned();
    }
    reason.to_owned()
}
