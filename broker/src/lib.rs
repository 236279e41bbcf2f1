//! The Lockgate broker. A request flows one way: socket → protocol → auth → service → log → store.

pub mod auth;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod group;
pub mod http;
pub mod limits;
pub mod log;
pub mod logging;
pub mod metrics;
pub mod protocol;
pub mod server;
pub mod service;
pub mod state_topic;
pub mod store;
pub mod tls;
pub mod trust;
pub mod txn;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
