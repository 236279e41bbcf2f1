//! Between the wire's names for groups and the coordinator's.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::group::Identity;

/// A copy for the coordinator: what came from the wire keeps its whole frame in memory.
pub(super) fn kept(text: &str) -> Arc<str> {
    Arc::from(text)
}

pub(super) fn kept_option(text: &Option<StrBytes>) -> Option<Arc<str>> {
    text.as_deref().map(kept)
}

pub(super) fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn wire_option(text: &Option<Arc<str>>) -> Option<StrBytes> {
    text.as_deref().map(wire)
}

pub(super) fn wire_topic(text: &str) -> TopicName {
    TopicName(wire(text))
}

/// 0 when all went well.
pub(super) fn error_code<T>(result: &Result<T, ResponseError>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

pub(super) fn identity(group: &GroupId, generation: i32, member: &StrBytes, instance: &Option<StrBytes>) -> Identity {
    Identity { group: kept(group), generation, member: kept(member), instance: kept_option(instance) }
}
