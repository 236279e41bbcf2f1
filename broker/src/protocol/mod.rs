//! The Kafka wire protocol: which APIs and versions are served, request headers, and encoded responses.
//!
//! Most messages are decoded and encoded by `kafka-protocol`; Fetch responses are encoded here, so that records stay
//! where they are until they are sent.

pub mod api;
pub mod fetch;
mod response;

pub use response::{Response, encode};
