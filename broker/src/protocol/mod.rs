//! The Kafka wire protocol: which APIs and versions are served, request headers, and encoded responses.
//!
//! Most messages are decoded and encoded by `kafka-protocol`, after `schema` has checked what they claim; Fetch
//! responses are encoded here, so that records stay where they are until they are sent.

pub mod api;
pub mod features;
pub mod fetch;
mod response;
pub mod schema;
mod schema_table;
pub mod throttle;

pub use response::{Response, encode};
