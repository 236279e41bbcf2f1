//! The Terraform provider for Lockgate and any other Kafka cluster.
//!
//! [`tfplugin`] is the plugin protocol and knows nothing of Kafka. The resources and data sources speak to the cluster
//! through the narrow trait in [`cluster`], over the connection that [`session`] holds.

pub mod cluster;
mod config;
pub mod data_sources;
#[cfg(test)]
mod fake;
pub mod functions;
mod gather;
mod lists;
pub mod provider;
mod requests;
pub mod resources;
pub mod session;
mod shared_read;
pub mod tfplugin;
