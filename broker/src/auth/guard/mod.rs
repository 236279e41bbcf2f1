//! What each request needs, one file per family.

mod acls;
mod records;
mod topics;
mod users;
