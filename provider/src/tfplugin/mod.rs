//! Terraform's plugin protocol, version 6: everything between Terraform and a provider's own logic.
//!
//! A provider implements [`Provider`], [`Resource`], [`DataSource`] and [`Function`] over plain [`Value`]s and [`Schema`]s and calls
//! [`serve`]. This layer does the handshake, mutual TLS, the wire encoding, the generic part of planning and the RPCs. It
//! knows nothing of Kafka.

mod diagnostics;
mod function;
mod handshake;
mod logging;
mod plan;
mod plugin_services;
mod provider;
mod schema;
mod serve;
mod server;
mod tls;
mod types;
mod value;
mod wire;

#[cfg(test)]
mod interruption_tests;
#[cfg(test)]
mod transport_tests;

/// Generated from `proto/`.
pub(crate) mod proto {
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    pub(crate) mod tfplugin6 {
        tonic::include_proto!("tfplugin6");
    }
    pub(crate) mod plugin {
        tonic::include_proto!("plugin");
    }
    pub(crate) mod health {
        tonic::include_proto!("grpc.health.v1");
    }
}

pub use diagnostics::{AttributePath, Diagnostic, Diagnostics, Severity, Step};
pub use function::{Function, FunctionError, Parameter, Signature};
pub use plan::Planned;
#[cfg(test)]
pub(crate) use plan::plan as plan_by_schema;
pub use provider::{Applied, DataSource, Private, Provider, ReadOutcome, Resource};
pub use schema::{Attribute, Nesting, Schema, Shape};
pub use serve::serve;
pub use types::Type;
pub use value::{Number, Value};
pub use wire::WireError;
