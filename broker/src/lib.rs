//! The Lockgate broker. A request flows one way: socket → protocol → auth → service → log → store.

pub mod auth;
pub mod catalog;
pub mod clock;
pub mod config;
pub mod connection;
pub mod limits;
pub mod group;
pub mod log;
pub mod protocol;
pub mod server;
pub mod service;
pub mod store;
pub mod tls;
pub mod trust;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
