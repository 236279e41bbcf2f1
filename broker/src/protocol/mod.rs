//! Bytes in, typed requests out, and back.

pub mod schema;
mod schema_table;
