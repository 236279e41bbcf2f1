//! Every part of the benchmark that a slow machine finishes in seconds, with small numbers. Each checks what it has done:
//! that groups come to rest with every partition given once, that batches are there, that partitions have leaders.

use anyhow::Result;
use lockgate_tests::bench::{groups, partitions, transactions};

#[test]
fn transactions_are_measured() -> Result<()> {
    transactions::run(16)
}

#[test]
fn groups_are_measured() -> Result<()> {
    groups::run(20)
}

#[test]
fn partitions_are_measured() -> Result<()> {
    partitions::run(50)
}
