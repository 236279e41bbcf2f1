//! How the command line and the Terraform provider reach a cluster: a [`Profile`] says where the servers are and how to
//! prove who we are, an [`Admin`] asks and changes things there, and every [`Error`] says what was tried and what to do.
//!
//! Admin calls go to the bootstrap addresses alone and never follow Metadata, so they work through a tunnel or where only
//! the load balancer is reachable.

pub mod admin;
mod data;
mod discovery;
mod error;
mod profile;
pub mod properties;
mod secret;
mod settings;
mod url;

pub use admin::Admin;
pub use error::{BrokerError, Error, Result, code_name};
pub use profile::{Profile, SaslMechanism};
pub use secret::Secret;
pub use settings::{AdminUser, SaslSettings, Settings, TlsSettings, split_servers};
pub use url::ClusterUrl;

pub use krafka::error::ErrorCode;
