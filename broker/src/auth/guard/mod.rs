//! What each request needs, one file per family.

mod records;
mod topics;
