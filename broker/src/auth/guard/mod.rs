//! What each request needs, one file per family.

mod acls;
mod cluster;
mod configs;
mod groups;
mod quotas;
mod records;
mod topics;
mod transactions;
mod users;
