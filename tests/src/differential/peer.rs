//! One of the two that are compared, and what it answers in a scenario.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, FetchResponse};
use kafka_protocol::protocol::Request;

use super::Step;
use super::flatten::{Fields, flatten};
use super::settle::Settling;
use crate::wire::{Connection, Login};

/// The field that tells of a connection that was closed instead of an answer.
pub(super) const CONNECTION: &str = "connection";
/// Milliseconds since 1970 are above this; durations are below.
const TIMES: i64 = 1_000_000_000_000;

/// One broker in one scenario.
pub struct Peer {
    name: &'static str,
    scenario: &'static str,
    plain: SocketAddr,
    sasl: SocketAddr,
    settling: Settling,
    steps: Vec<Step>,
    asked: BTreeSet<(i16, i16)>,
}

impl Peer {
    pub(super) fn new(name: &'static str, scenario: &'static str, plain: SocketAddr, sasl: SocketAddr) -> Self {
        Self { name, scenario, plain, sasl, settling: Settling::of(plain), steps: Vec::new(), asked: BTreeSet::new() }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A name that no other scenario uses.
    pub fn own(&self, name: &str) -> String {
        format!("{}-{name}", self.scenario)
    }

    /// A connection as a super user.
    pub fn admin(&self) -> Result<Connection> {
        Connection::plain(self.plain)
    }

    /// A connection on which nobody has said yet who they are.
    pub fn stranger(&self) -> Result<Connection> {
        Connection::plain(self.sasl)
    }

    /// A connection of a user that the scenario made, with SCRAM-SHA-256.
    pub fn user(&self, login: &Login) -> Result<Connection> {
        let mut connection = self.stranger()?;
        connection.authenticate(login)?;
        Ok(connection)
    }

    /// Asks, and keeps the answer for the comparison.
    pub fn ask<R>(&mut self, connection: &mut Connection, step: &str, request: &R, version: i16) -> Result<R::Response>
    where
        R: Request,
        R::Response: Debug + Clone + 'static,
    {
        let response = self.call(connection, request, version).with_context(|| format!("{step} v{version}"))?;
        self.keep(format!("{step} v{version}"), fields_of(&response));
        Ok(response)
    }

    /// Asks, for a scenario that looks at the answer itself.
    pub fn call<R: Request>(&mut self, connection: &mut Connection, request: &R, version: i16) -> Result<R::Response> {
        self.settling.before(R::KEY)?;
        self.asked.insert((R::KEY, version));
        connection.call(request, version)
    }

    /// Asks what may close the connection. That is kept like an answer.
    pub fn ask_in_vain<R>(
        &mut self,
        connection: &mut Connection,
        step: &str,
        request: &R,
        version: i16,
    ) -> Result<Option<R::Response>>
    where
        R: Request,
        R::Response: Debug + Clone + 'static,
    {
        let (response, fields) = match self.call(connection, request, version) {
            Ok(response) => {
                let fields = fields_of(&response);
                (Some(response), fields)
            }
            Err(error) if is_closed(&error) => (None, Fields::from([(CONNECTION.to_owned(), "closed".to_owned())])),
            Err(error) => return Err(error.context(format!("{step} v{version}"))),
        };
        self.keep(format!("{step} v{version}"), fields);
        Ok(response)
    }

    /// Asks as a super user, on a connection of its own, which the question may end.
    pub fn ask_once<R>(&mut self, step: &str, request: &R, version: i16) -> Result<()>
    where
        R: Request,
        R::Response: Debug + Clone + 'static,
    {
        let mut admin = self.admin()?;
        self.ask_in_vain(&mut admin, step, request, version).map(drop)
    }

    /// Asks without keeping the answer, until it is as wanted.
    pub fn await_answer<R: Request>(
        &mut self,
        connection: &mut Connection,
        request: &R,
        version: i16,
        wanted: impl Fn(&R::Response) -> bool,
    ) -> Result<R::Response> {
        self.settling.before(ApiKey::ApiVersions as i16)?;
        let patience = Duration::from_secs(30);
        crate::until(patience, "the answer that is wanted", || match connection.call(request, version) {
            Ok(response) => wanted(&response).then_some(Ok(response)),
            Err(error) => Some(Err(error)),
        })?
    }

    /// Waits until the broker has heard of changes that were not asked through the peer.
    pub fn settle(&self) -> Result<()> {
        self.settling.settle()
    }

    /// For requests that a scenario encodes itself.
    pub fn count(&mut self, key: i16, version: i16) {
        self.asked.insert((key, version));
    }

    /// Keeps something that a scenario found itself.
    pub fn note(&mut self, step: &str, value: impl Debug) {
        let fields = Fields::from([("value".to_owned(), format!("{value:?}"))]);
        self.keep(step.to_owned(), fields);
    }

    fn keep(&mut self, name: String, fields: Fields) {
        self.steps.push(Step { name, fields });
    }

    /// The steps, and which versions (API key, version) were asked.
    pub(super) fn into_steps(self) -> (Vec<Step>, BTreeSet<(i16, i16)>) {
        (self.steps, self.asked)
    }
}

/// Whether the broker ended the connection; anything else that goes wrong is the test's own fault.
pub(super) fn is_closed(error: &Error) -> bool {
    let kind = error.root_cause().downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let closed = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    kind.is_some_and(|kind| closed.contains(&kind))
}

fn fields_of<T: Debug + Clone + 'static>(response: &T) -> Fields {
    let mut response = response.clone();
    if let Some(fetched) = (&mut response as &mut dyn Any).downcast_mut::<FetchResponse>() {
        let partitions = fetched.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
        partitions.filter_map(|partition| partition.records.as_mut()).for_each(forget_epochs);
    }
    flatten(&response, &mut stand_in)
}

/// Takes the leader epoch out of each batch: it is the broker's own, and not covered by the batch's CRC.
fn forget_epochs(records: &mut Bytes) {
    let mut bytes = BytesMut::from(&records[..]);
    let mut at = 0;
    while let Some(head) = bytes.get_mut(at..at + 16) {
        let length = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        head[12..16].fill(0);
        let Ok(length) = usize::try_from(length) else { break };
        at += 12 + length;
    }
    *records = bytes.freeze();
}

/// What stands for values that differ from one broker, run or moment to the next.
fn stand_in(name: &str, value: &str) -> String {
    let number = value.parse::<i64>().ok();
    let stand_in = match name {
        // Kafka says nothing in either way.
        "error_message" if value == "\"\"" || value == "\"NONE\"" => "None",
        // Each says it in its own words; that something is said is compared.
        "error_message" if value.starts_with('"') => "<message>",
        "cluster_id" if value != "None" => "<cluster>",
        "host" | "client_host" if value != "\"\"" => "<host>",
        "port" if number != Some(-1) => "<port>",
        "producer_id" if number.is_some_and(|id| id >= 0) => "<producer>",
        // Ids that a broker gave; "stranger" and the like stay.
        "member_id" | "leader" if value.len() > 20 => "<member>",
        "session_id" if number != Some(0) => "<session>",
        "auth_bytes" if value != "b\"\"" => "<bytes>",
        "log_dir" => "<folder>",
        "total_bytes" | "usable_bytes" | "partition_size" => "<bytes>",
        "documentation" if value != "None" => "<text>",
        "finalized_features_epoch" if number != Some(-1) => "<epoch>",
        _ if number.is_some_and(|number| number > TIMES && number != i64::MAX) => "<time>",
        _ if is_uuid(value) => "<uuid>",
        _ => value,
    };
    stand_in.to_owned()
}

fn is_uuid(value: &str) -> bool {
    uuid::Uuid::parse_str(value.trim_matches('"')).is_ok_and(|id| !id.is_nil())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;

    #[test]
    fn only_the_epochs_of_batches_are_forgotten() {
        let batch = |epoch: u8| {
            let mut batch = Batch { timestamp: 1, ..Batch::of(["a", "b"]) }.encode();
            batch[15] = epoch;
            batch
        };
        let forgotten = |batches: &[BytesMut]| {
            let mut records = Bytes::from(batches.concat());
            forget_epochs(&mut records);
            records
        };
        assert_eq!(forgotten(&[batch(1), batch(2)]), forgotten(&[batch(3), batch(4)]));
        assert_ne!(forgotten(&[batch(1)]), forgotten(&[batch(1), batch(1)]));
        assert_eq!(forgotten(&[BytesMut::from(&b"short"[..])]), Bytes::from_static(b"short"));
    }
}
