//! What each request needs, one file per family.

mod configs;
mod records;
mod topics;
