//! Members of groups, each with a connection of its own. All of them ask at the same time: every request is sent before the
//! first answer is waited for.

use std::time::Duration;

use anyhow::{Context, Result};
use kafka_protocol::messages::GroupId;
use kafka_protocol::protocol::{Request, StrBytes};

use crate::broker::Broker;
use crate::wire::Connection;

/// How long a group may take: its first members wait for others, and this machine may be slow.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn connect(broker: &Broker) -> Result<Connection> {
    let connection = Connection::plain(broker.plaintext_address())?;
    connection.set_patience(PATIENCE)?;
    Ok(connection)
}

/// One request for each connection, made by `request` from its place; the answers in the same order.
pub(super) fn ask_all<R: Request>(
    connections: &mut [Connection],
    version: i16,
    mut request: impl FnMut(usize) -> R,
) -> Result<Vec<R::Response>> {
    let mut sent = Vec::with_capacity(connections.len());
    for (place, connection) in connections.iter_mut().enumerate() {
        sent.push(connection.send(&request(place), version)?);
    }
    let answers = connections.iter_mut().zip(sent).enumerate().map(|(place, (connection, correlation))| {
        connection.answer::<R>(version, correlation).with_context(|| format!("member {place}"))
    });
    answers.collect()
}

/// Who shares a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    One,
    /// A group for each member: what nobody else's presence makes slower.
    Each,
}

impl Sharing {
    /// Name of the group of the member at `place`.
    pub(super) fn group(self, place: usize) -> GroupId {
        let name = match self {
            Self::One => "bench-one".to_owned(),
            Self::Each => format!("bench-each-{place}"),
        };
        GroupId(StrBytes::from_string(name))
    }
}
