//! What each request needs, one file per family.

mod acls;
mod users;
