//! The tools that produce and consume.

use anyhow::{Result, ensure};

use crate::tools::Stage;

pub(super) fn console(stage: &mut Stage<'_>) -> Result<()> {
    stage.run(&["kafka-topics --create --topic @t", "kafka-topics --create --topic @keyed --partitions 3"])?;
    stage.run_with("kafka-console-producer --topic @t", "one\ntwo\n\nfour\n")?;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        stage.run_with(&format!("kafka-console-producer --topic @t --compression-codec {codec}"), codec)?;
    }
    stage.run_with("kafka-console-producer --topic @t --compression-codec brotli", "x\n")?;
    stage.run_with(
        "kafka-console-producer --topic @keyed --reader-property parse.key=true --reader-property parse.headers=true --reader-property null.marker=NULL",
        "h1:v1,h2:v2\tkey 1\tvalue 1\nNULL\tkey 2\tNULL\nh1:v1,h1:v3\tNULL\tvalue 3\n",
    )?;
    stage.run_with("kafka-console-producer --topic @keyed --reader-property parse.key=true", "without a key\n")?;
    stage.run_with(
        "kafka-console-producer --topic @keyed --reader-property parse.key=true --reader-property key.separator=:",
        "k:v\n",
    )?;
    stage.run_with("kafka-console-producer --topic @none --command-property max.block.ms=2000", "x\n")?;
    stage.run_with("kafka-console-producer --topic @t --sync --command-property acks=1", "the last\n")?;
    stage.run(&[
        "kafka-console-consumer --topic @t --from-beginning --max-messages 10",
        "kafka-console-consumer --topic @t --partition 0 --offset 3 --max-messages 2",
        "kafka-console-consumer --topic @t --partition 0 --offset earliest --max-messages 1",
        "kafka-console-consumer --topic @t --from-beginning --max-messages 2 --group @g --formatter-property print.offset=true --formatter-property print.partition=true",
        "kafka-console-consumer --topic @t --max-messages 2 --group @g --formatter-property print.offset=true",
        "kafka-console-consumer --topic @t --from-beginning --max-messages 3 --group @c --command-property group.protocol=consumer",
        "kafka-console-consumer --topic @t --from-beginning --max-messages 3 --isolation-level read_committed",
        "kafka-console-consumer --topic @t --partition 0 --offset latest --timeout-ms 1000",
        "kafka-console-consumer --topic @t --partition 0 --offset 400 --timeout-ms 3000",
        "kafka-console-consumer --topic @t --partition 9 --offset earliest --timeout-ms 3000",
        "kafka-console-consumer --topic @none --timeout-ms 3000",
        "kafka-console-consumer --topic @t --from-beginning --max-messages 1 --formatter-property print.timestamp=true",
        "kafka-console-consumer --topic @t --from-beginning --max-messages 1 --formatter org.apache.kafka.tools.consumer.LoggingMessageFormatter",
    ])?;
    stage.run_unordered(&[
        "kafka-console-consumer --topic @keyed --from-beginning --max-messages 4 --formatter-property print.key=true --formatter-property print.headers=true --formatter-property null.literal=NOTHING --formatter-property key.separator=|",
        "kafka-console-consumer --include @.* --from-beginning --max-messages 14",
        "kafka-consumer-groups --describe --group @g",
    ])
}

/// What they find is not compared, but that they find it.
pub(super) fn measured(stage: &mut Stage<'_>) -> Result<()> {
    stage.run(&["kafka-topics --create --topic @t --partitions 3", "kafka-topics --create --topic @lone"])?;
    for (command, said) in [
        (
            "kafka-producer-perf-test --topic @t --num-records 20000 --record-size 100 --throughput -1 --command-property acks=all",
            "20000 records sent",
        ),
        (
            "kafka-producer-perf-test --topic @t --num-records 2000 --record-size 1000 --throughput 10000 --transactional-id @tx --transaction-duration-ms 50",
            "2000 records sent",
        ),
        (
            "kafka-producer-perf-test --topic @t --num-records 2000 --payload-monotonic --throughput -1 --command-property compression.type=zstd",
            "2000 records sent",
        ),
        ("kafka-consumer-perf-test --topic @t --num-records 24000", "data.consumed.in.nMsg"),
        (
            "kafka-consumer-perf-test --topic @t --num-records 24000 --show-detailed-stats --reporting-interval 100",
            "MB.sec",
        ),
        ("kafka-e2e-latency @lone 200 all 100", "Avg latency"),
        ("kafka-e2e-latency @lone 200 1 100", "Percentiles: 50th"),
    ] {
        let run = stage.measure(command)?;
        ensure!(run.status == 0 && run.out.contains(said), "{command}: no {said:?} in {run:?}");
    }
    Ok(())
}

pub(super) fn verifiable(stage: &mut Stage<'_>) -> Result<()> {
    stage.run(&[
        "kafka-topics --create --topic @t",
        "kafka-verifiable-producer --topic @t --max-messages 20",
        "kafka-verifiable-producer --topic @t --max-messages 5 --acks 1 --value-prefix 7 --repeating-keys 2 --message-create-time 1700000000000",
    ])?;
    for protocol in ["classic", "consumer"] {
        stage.run_unordered(&[&format!(
            "kafka-verifiable-consumer --topic @t --group-id @{protocol} --group-protocol {protocol} --max-messages 25 --reset-policy earliest --verbose"
        )])?;
    }
    stage.run(&[
        "kafka-consumer-groups --describe --group @classic",
        "kafka-consumer-groups --describe --group @consumer",
    ])
}
