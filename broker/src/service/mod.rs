//! One file per request family: an authorized request in, its response out. Services know no sockets.

use std::future::Future;
use std::sync::Arc;

use kafka_protocol::protocol::{Request, StrBytes};

use crate::auth::{Authorized, Guarded, Refusal, Session};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Config;
use crate::log::Logs;

/// What services work with; made once at start.
pub struct Services {
    pub cluster_id: String,
    pub config: Arc<Config>,
    pub clock: Arc<dyn Clock>,
    pub catalog: Arc<Catalog>,
    pub logs: Arc<Logs>,
}

/// Facts about one request.
#[derive(Clone, Debug)]
pub struct Context {
    pub version: i16,
    pub client_id: Option<StrBytes>,
    pub session: Arc<Session>,
    /// Host and port that this listener advertises.
    pub advertised: (StrBytes, i32),
}

/// How one request type is answered.
pub trait Service: Guarded + Request {
    fn serve(
        services: &Services,
        context: &Context,
        request: Authorized<Self>,
    ) -> impl Future<Output = Self::Response> + Send;

    /// The response that says that the whole request was refused.
    fn refuse(refusal: Refusal, request: &Self, context: &Context) -> Self::Response;
}
