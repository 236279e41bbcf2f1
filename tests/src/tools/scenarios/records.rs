//! `kafka-get-offsets`, `kafka-delete-records` and `kafka-log-dirs`.

use anyhow::Result;

use crate::batch::Batch;
use crate::requests::produce;
use crate::tools::Stage;
use crate::wire::Connection;

/// Time of the first record that [`write`] writes (milliseconds since 1970): 2023-11-14T22:13:20Z.
const FIRST_TIME: i64 = 1_700_000_000_000;

/// Writes records, each a second later than the one before.
pub(super) fn write(connection: &mut Connection, topic: &str, partition: i32, count: i64) -> Result<()> {
    for number in 0..count {
        let batch = Batch { timestamp: FIRST_TIME + number * 1000, ..Batch::of([format!("record {number}")]) };
        produce(connection, topic, partition, batch.encode().freeze())?;
    }
    Ok(())
}

pub(super) fn found_and_deleted(stage: &mut Stage<'_>) -> Result<()> {
    // Records of 2023 would be beyond their retention.
    stage.run(&[
        "kafka-topics --create --topic @t --partitions 3 --config retention.ms=-1",
        "kafka-topics --create --topic @u --config retention.ms=-1",
    ])?;
    let mut admin = stage.admin()?;
    for partition in 0..2 {
        write(&mut admin, &stage.own("t"), partition, 10 - i64::from(partition))?;
    }
    write(&mut admin, &stage.own("u"), 0, 2)?;
    stage.file("some.json", r#"{"partitions": [{"topic": "@t", "partition": 0, "offset": 4}, {"topic": "@u", "partition": 0, "offset": -1}], "version": 1}"#)?;
    stage.file("beyond.json", r#"{"partitions": [{"topic": "@t", "partition": 0, "offset": 400}], "version": 1}"#)?;
    stage.file("below.json", r#"{"partitions": [{"topic": "@t", "partition": 0, "offset": -7}], "version": 1}"#)?;
    stage.file("twice.json", r#"{"partitions": [{"topic": "@t", "partition": 0, "offset": 1}, {"topic": "@t", "partition": 0, "offset": 2}], "version": 1}"#)?;
    stage.file("no.json", "no")?;
    for time in [
        "",
        " --time latest",
        " --time -1",
        " --time earliest",
        " --time -2",
        " --time max-timestamp",
        " --time -3",
        " --time earliest-local",
        " --time -4",
        " --time latest-tiered",
        " --time -5",
        " --time -6",
        " --time 1700000003500",
        " --time 1800000000000",
        " --time 0",
        " --time -9",
        " --time soon",
    ] {
        stage.run(&[&format!("kafka-get-offsets --topic @t{time}")])?;
    }
    stage.run(&[
        "kafka-get-offsets --topic @.*",
        "kafka-get-offsets --topic @t --partitions 1,2",
        "kafka-get-offsets --topic @t --partitions 9",
        "kafka-get-offsets --topic-partitions @t:0-1,@u",
        "kafka-get-offsets --topic-partitions @t:1-",
        "kafka-get-offsets --topic-partitions @t:-1",
        "kafka-get-offsets --topic @none",
        "kafka-get-offsets --topic @.* --exclude-internal-topics",
    ])?;
    stage.run_unordered(&[
        "kafka-delete-records --offset-json-file %/some.json",
        "kafka-delete-records --offset-json-file %/some.json",
        "kafka-delete-records --offset-json-file %/beyond.json",
        "kafka-delete-records --offset-json-file %/below.json",
        "kafka-delete-records --offset-json-file %/twice.json",
        "kafka-delete-records --offset-json-file %/no.json",
        "kafka-get-offsets --topic @.* --time earliest",
        "kafka-log-dirs --describe --topic-list @t",
        "kafka-log-dirs --describe --topic-list @none",
        "kafka-log-dirs --describe --topic-list @t --broker-list 1",
        "kafka-log-dirs --describe --broker-list 7",
        "kafka-log-dirs --describe --broker-list one",
    ])
}
