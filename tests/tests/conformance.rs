//! A short part of what `make conformance` runs: quick tests of every suite that are listed as passed.

use anyhow::{Result, ensure};
use lockgate_tests::conformance::expectations::Expectations;
use lockgate_tests::conformance::kafka_python::KafkaPython;
use lockgate_tests::conformance::librdkafka::{GroupProtocol, Librdkafka};
use lockgate_tests::conformance::{Selection, Suite, judge, list_path};

/// Quick tests of librdkafka, over produce, fetch, groups, offsets and administration.
const LIBRDKAFKA: &[&str] = &[
    "0001_multiobj",
    "0002_unkpart",
    "0012_produce_consume",
    "0013_null_msgs",
    "0017_compression",
    "0019_list_groups",
    "0021_rkt_destroy",
    "0022_consume_batch",
    "0031_get_offsets",
    "0036_partial_fetch",
    "0040_io_event",
    "0063_clusterid",
    "0070_null_empty",
    "0073_headers",
    "0085_headers",
    "0099_commit_metadata",
    "0125_immediate_flush",
    "0140_commit_metadata",
];

/// The same, of groups whose partitions the broker assigns.
const CONSUMER_PROTOCOL: &[&str] =
    &["0018_cgrp_term", "0022_consume_batch", "0029_assign_offset", "0030_offset_commit", "0113_cooperative_rebalance"];

/// The same of kafka-python.
const KAFKA_PYTHON: &[&str] = &[
    "test_create_describe_delete_acls",
    "test_describe_configs",
    "test_create_delete_topics",
    "test_create_partitions",
    "test_delete_records",
    "test_paused",
    "test_kafka_consumer_max_bytes",
    "test_kafka_consumer_offsets_for_time",
    "test_end_to_end",
    "test_idempotent_producer_max_in_flight",
    "test_sasl_integration.py::test_produce_and_consume",
    "test_ssl_handshake",
];

fn judge_part(suite: &dyn Suite, patterns: &[&str]) -> Result<()> {
    let list = Expectations::read(&list_path(suite.name()))?;
    for pattern in patterns {
        let listed = list.passed().any(|test| test.contains(pattern));
        ensure!(listed, "no test of {} that is listed as passed is called {pattern}", suite.name());
    }
    let selection =
        Selection { patterns: patterns.iter().map(|pattern| pattern.to_string()).collect(), ..Selection::default() };
    let summary = judge(suite, &selection)?;
    println!("{}", summary.line(suite.name()));
    ensure!(summary.broken.is_empty(), "not as listed: {:#?}", summary.broken);
    Ok(())
}

#[test]
fn suites() -> Result<()> {
    // One after the other: their time limits are meant for a machine that does nothing else.
    judge_part(&KafkaPython::built()?, KAFKA_PYTHON)?;
    judge_part(&Librdkafka::built(GroupProtocol::Classic)?, LIBRDKAFKA)?;
    judge_part(&Librdkafka::built(GroupProtocol::Consumer)?, CONSUMER_PROTOCOL)
}
