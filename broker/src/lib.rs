//! The Lockgate broker. A request flows one way: socket → protocol → auth → service → log → store.

pub mod clock;
pub mod log;
pub mod store;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
