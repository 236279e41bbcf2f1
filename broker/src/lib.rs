//! The Lockgate broker. A request flows one way: socket → protocol → auth → service → log → store.

pub mod auth;
pub mod catalog;
pub mod clock;
pub mod config;
pub mod log;
pub mod service;
pub mod store;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
