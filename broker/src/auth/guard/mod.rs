//! What each request needs, one file per family.

mod acls;
mod configs;
mod groups;
mod records;
mod topics;
mod users;
