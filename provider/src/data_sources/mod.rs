//! The data sources, one file each.

mod cluster;

pub use cluster::ClusterDataSource;
