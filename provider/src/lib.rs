//! The Terraform provider for Lockgate and any other Kafka cluster.
//!
//! [`tfplugin`] is the plugin protocol and knows nothing of Kafka.

pub mod tfplugin;
