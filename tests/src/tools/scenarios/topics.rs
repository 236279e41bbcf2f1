//! `kafka-topics`.

use anyhow::Result;

use crate::tools::Stage;

pub(super) fn lives(stage: &mut Stage<'_>) -> Result<()> {
    stage.run(&[
        "kafka-topics --create --topic @orders --partitions 3 --replication-factor 1 --config retention.ms=3600000 --config cleanup.policy=compact,delete",
        "kafka-topics --create --topic @orders",
        "kafka-topics --create --topic @orders --if-not-exists",
        "kafka-topics --create --topic @plain",
        "kafka-topics --create --topic @assigned --replica-assignment 1,1",
        "kafka-topics --create --topic @with.dots --partitions 1",
        "kafka-topics --list --topic @.*",
        "kafka-topics --list --topic @.* --exclude-internal",
        "kafka-topics --list --topic @none",
        "kafka-topics --describe --topic @orders",
        "kafka-topics --describe --topic @assigned",
        "kafka-topics --describe --topic @.*",
        "kafka-topics --describe --topic @.* --partition-size-limit-per-response 1",
        "kafka-topics --describe --topic @.* --topics-with-overrides",
        "kafka-topics --describe --topic @.* --under-replicated-partitions",
        "kafka-topics --describe --topic @.* --unavailable-partitions",
        "kafka-topics --describe --topic @.* --under-min-isr-partitions",
        "kafka-topics --describe --topic @.* --at-min-isr-partitions",
        "kafka-topics --describe --topic __consumer_offsets --topics-with-overrides",
        "kafka-topics --alter --topic @orders --partitions 5",
        "kafka-topics --alter --topic @plain --partitions 3 --replica-assignment 1,1,1",
        "kafka-topics --describe --topic @orders",
        "kafka-topics --describe --topic @plain",
        "kafka-topics --delete --topic @plain",
        "kafka-topics --describe --topic @plain",
        "kafka-topics --delete --topic @plain",
        "kafka-topics --delete --topic @plain --if-exists",
        "kafka-topics --delete --topic @.*",
        "kafka-topics --list --topic @.*",
    ])
}

pub(super) fn refused(stage: &mut Stage<'_>) -> Result<()> {
    let long = format!("kafka-topics --create --topic {}", "n".repeat(250));
    stage.run(&[
        "kafka-topics --create --topic @t --partitions 2",
        "kafka-topics --create --topic @a --config no.such.config=1",
        "kafka-topics --create --topic @a --config retention.ms=soon",
        "kafka-topics --create --topic @a --config cleanup.policy=burn",
        "kafka-topics --create --topic @a --config min.insync.replicas=0",
        "kafka-topics --create --topic @a --partitions 0",
        "kafka-topics --create --topic @a --partitions -3",
        "kafka-topics --create --topic @a --partitions many",
        "kafka-topics --create --topic @a --replication-factor 0",
        "kafka-topics --create --topic @r --replication-factor 3",
        "kafka-topics --create --topic @a --replica-assignment 7",
        "kafka-topics --create --topic @a --replica-assignment 1:1",
        "kafka-topics --create --topic @a --replica-assignment 1 --partitions 1",
        "kafka-topics --create --topic '@with space'",
        "kafka-topics --create --topic ..",
        "kafka-topics --create --topic ''",
        "kafka-topics --create --topic __consumer_offsets",
        &long,
        "kafka-topics --alter --topic @t --partitions 1",
        "kafka-topics --alter --topic @t --partitions 2",
        "kafka-topics --alter --topic @t --partitions 4 --replica-assignment 1,1,1,9",
        "kafka-topics --alter --topic @t --partitions 4 --replica-assignment 1",
        "kafka-topics --alter --topic @none --partitions 4",
        "kafka-topics --alter --topic @none --partitions 4 --if-exists",
        "kafka-topics --describe --topic @none",
        "kafka-topics --describe --topic @none --if-exists",
        "kafka-topics --describe --topic-id AAAAAAAAAAAAAAAAAAAAAQ",
        "kafka-topics --describe --topic-id short",
        "kafka-topics --delete --topic @none",
        "kafka-topics --describe --topic @.*",
    ])
}
