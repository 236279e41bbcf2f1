//! `kafka-cluster`, `kafka-features`, `kafka-broker-api-versions`, `kafka-leader-election`, and what is not served.

use anyhow::Result;

use crate::tools::Stage;

pub(super) fn described(stage: &mut Stage<'_>) -> Result<()> {
    stage.run(&[
        "kafka-cluster cluster-id",
        "kafka-cluster list-endpoints",
        "kafka-cluster list-endpoints --include-fenced-brokers",
        "kafka-cluster unregister --id 7",
        "kafka-features describe",
        "kafka-features upgrade --feature group.version=1",
        "kafka-broker-api-versions",
        "kafka-share-groups --list",
    ])
}

pub(super) fn elections(stage: &mut Stage<'_>) -> Result<()> {
    stage.file("both.json", r#"{"partitions": [{"topic": "@t", "partition": 0}, {"topic": "@t", "partition": 1}]}"#)?;
    stage.file(
        "none.json",
        r#"{"partitions": [{"topic": "@none", "partition": 0}, {"topic": "@t", "partition": 9}]}"#,
    )?;
    stage.run(&["kafka-topics --create --topic @t --partitions 2"])?;
    stage.run_unordered(&[
        "kafka-leader-election --election-type preferred --topic @t --partition 0",
        "kafka-leader-election --election-type unclean --topic @t --partition 0",
        "kafka-leader-election --election-type preferred --topic @t --partition 9",
        "kafka-leader-election --election-type preferred --topic @none --partition 0",
        "kafka-leader-election --election-type preferred --path-to-json-file %/both.json",
        "kafka-leader-election --election-type preferred --path-to-json-file %/none.json",
        "kafka-leader-election --election-type preferred --all-topic-partitions",
        "kafka-leader-election --election-type free --topic @t --partition 0",
        "kafka-leader-election --election-type preferred --topic @t",
        "kafka-leader-election --election-type preferred",
    ])
}
