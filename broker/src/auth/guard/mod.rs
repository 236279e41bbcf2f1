//! What each request needs, one file per family.

mod acls;
mod configs;
mod records;
mod topics;
mod users;
