//! `kafka-configs`: topics, brokers, groups, users and quotas.

use anyhow::Result;

use crate::tools::Stage;

pub(super) fn of_topics(stage: &mut Stage<'_>) -> Result<()> {
    stage.file("more.properties", "segment.ms=7200000\nmax.message.bytes=2000000\n")?;
    stage.run(&[
        "kafka-topics --create --topic @t --config retention.ms=3600000",
        "kafka-configs --describe --entity-type topics --entity-name @t",
        "kafka-configs --describe --topic @t --all",
        "kafka-configs --alter --entity-type topics --entity-name @t --add-config retention.ms=60000,segment.bytes=1048576",
        "kafka-configs --alter --topic @t --add-config 'cleanup.policy=[compact,delete]'",
        "kafka-configs --alter --topic @t --add-config-file %/more.properties",
        "kafka-configs --describe --topic @t",
        "kafka-configs --alter --topic @t --delete-config retention.ms,segment.bytes",
        "kafka-configs --alter --topic @t --add-config retention.bytes=1000000 --delete-config segment.ms",
        "kafka-configs --describe --topic @t",
        "kafka-configs --alter --topic @t --delete-config flush.ms",
        "kafka-configs --alter --topic @t --delete-config no.such.config",
        "kafka-configs --alter --topic @t --add-config no.such.config=1",
        "kafka-configs --alter --topic @t --add-config retention.ms=soon",
        "kafka-configs --alter --topic @t --add-config retention.ms=-5",
        "kafka-configs --alter --topic @t --add-config min.insync.replicas=2",
        "kafka-configs --alter --topic @t --add-config compression.type=brotli",
        "kafka-configs --alter --topic @t --add-config min.compaction.lag.ms=9,max.compaction.lag.ms=5",
        "kafka-configs --alter --topic @t --add-config 'leader.replication.throttled.replicas=[0:1]'",
        "kafka-configs --alter --topic @t --add-config retention.ms",
        "kafka-configs --alter --topic @none --add-config retention.ms=1000",
        "kafka-configs --describe --topic @none",
        "kafka-configs --describe --topic @t",
        "kafka-topics --describe --topic @t",
    ])
}

pub(super) fn of_brokers(stage: &mut Stage<'_>) -> Result<()> {
    stage.run(&[
        "kafka-configs --describe --broker-defaults",
        "kafka-configs --alter --broker-defaults --add-config log.retention.ms=3600000,message.max.bytes=2000000",
        "kafka-configs --describe --entity-type brokers --entity-default",
        "kafka-topics --create --topic @t",
        "kafka-configs --describe --topic @t",
        "kafka-configs --alter --broker-defaults --add-config log.retention.ms=soon",
        "kafka-configs --alter --broker-defaults --add-config no.such.config=1",
        "kafka-configs --alter --broker-defaults --add-config node.id=7",
        "kafka-configs --alter --broker-defaults --delete-config log.retention.ms,message.max.bytes",
        "kafka-configs --alter --broker-defaults --delete-config log.retention.ms",
        "kafka-configs --describe --broker-defaults",
        "kafka-configs --describe --broker 1",
        "kafka-configs --describe --broker 1 --all",
        "kafka-configs --describe --broker 7",
        "kafka-configs --describe --broker one",
        "kafka-configs --alter --broker 1 --add-config log.cleaner.threads=2",
        "kafka-configs --alter --broker 7 --add-config log.cleaner.threads=2",
        "kafka-configs --alter --broker-logger 1 --add-config kafka.server.KafkaApis=DEBUG",
        "kafka-configs --describe --client-metrics @m",
        "kafka-configs --alter --client-metrics @m --add-config interval.ms=1000",
    ])
}

pub(super) fn of_groups(stage: &mut Stage<'_>) -> Result<()> {
    stage.run(&[
        "kafka-configs --describe --group @g",
        "kafka-configs --alter --group @g --add-config consumer.session.timeout.ms=50000,consumer.heartbeat.interval.ms=6000",
        "kafka-configs --describe --group @g",
        "kafka-configs --describe --group @g --all",
        "kafka-configs --describe --entity-type groups",
        "kafka-configs --alter --group @g --add-config consumer.session.timeout.ms=1",
        "kafka-configs --alter --group @g --add-config consumer.session.timeout.ms=long",
        "kafka-configs --alter --group @g --add-config no.such.config=1",
        "kafka-configs --alter --entity-type groups --entity-default --add-config consumer.session.timeout.ms=50000",
        "kafka-configs --alter --group @g --delete-config consumer.session.timeout.ms,consumer.heartbeat.interval.ms",
        "kafka-configs --describe --group @g",
    ])
}

pub(super) fn of_users(stage: &mut Stage<'_>) -> Result<()> {
    stage.run(&[
        "kafka-configs --describe --user @alice",
        "kafka-configs --alter --user @alice --add-config 'SCRAM-SHA-256=[iterations=8192,password=secret],SCRAM-SHA-512=[password=secret]'",
        "kafka-configs --describe --user @alice",
        "kafka-configs --describe --entity-type users --entity-name @alice",
        "kafka-configs --alter --entity-type users --entity-name @bob --add-config 'SCRAM-SHA-512=[password=secret]'",
        "kafka-configs --alter --user @alice --add-config 'SCRAM-SHA-256=[iterations=5000,password=other]'",
        "kafka-configs --describe --user @alice",
        "kafka-configs --alter --user @alice --delete-config SCRAM-SHA-256",
        "kafka-configs --alter --user @alice --delete-config SCRAM-SHA-256",
        "kafka-configs --alter --user @alice --add-config producer_byte_rate=1000 --delete-config SCRAM-SHA-512",
        "kafka-configs --alter --user @alice --delete-config SCRAM-SHA-512",
        "kafka-configs --describe --user @alice",
        "kafka-configs --alter --user @alice --add-config 'SCRAM-SHA-256=[iterations=100,password=secret]'",
        "kafka-configs --alter --user @alice --add-config 'SCRAM-SHA-256=[iterations=20000,password=secret]'",
        "kafka-configs --alter --user @alice --add-config 'SCRAM-SHA-256=[password=]'",
        "kafka-configs --alter --user @alice --add-config 'SCRAM-SHA-1=[password=secret]'",
        "kafka-configs --alter --user @alice --add-config 'SCRAM-SHA-256=secret'",
        "kafka-configs --alter --entity-type users --entity-default --add-config 'SCRAM-SHA-256=[password=secret]'",
        "kafka-configs --alter --user @bob --delete-config SCRAM-SHA-512",
        "kafka-configs --describe --user @bob",
    ])
}

pub(super) fn quotas(stage: &mut Stage<'_>) -> Result<()> {
    stage.run(&[
        "kafka-configs --alter --user @alice --add-config producer_byte_rate=1048576,consumer_byte_rate=2097152,request_percentage=150",
        "kafka-configs --alter --user @alice --client @app --add-config controller_mutation_rate=0.5",
        "kafka-configs --alter --user @alice --client-defaults --add-config producer_byte_rate=1000",
        "kafka-configs --alter --user-defaults --add-config consumer_byte_rate=3000",
        "kafka-configs --alter --user-defaults --client @app --add-config consumer_byte_rate=4000",
        "kafka-configs --alter --client @app --add-config request_percentage=50",
        "kafka-configs --alter --client-defaults --add-config producer_byte_rate=5000",
        "kafka-configs --alter --ip 10.1.2.3 --add-config connection_creation_rate=7",
        "kafka-configs --alter --ip-defaults --add-config connection_creation_rate=5000",
        "kafka-configs --describe --user @alice",
        "kafka-configs --describe --user @alice --client @app",
        "kafka-configs --describe --user @alice --client-defaults",
        "kafka-configs --describe --user-defaults",
        "kafka-configs --describe --client @app",
        "kafka-configs --describe --client-defaults",
        "kafka-configs --describe --ip 10.1.2.3",
        "kafka-configs --describe --ip 10.9.9.9",
        "kafka-configs --describe --ip-defaults",
    ])?;
    stage.run_unordered(&[
        "kafka-configs --describe --entity-type users",
        "kafka-configs --describe --entity-type clients",
        "kafka-configs --describe --entity-type users --entity-type clients",
        "kafka-configs --describe --entity-type ips",
    ])?;
    stage.run(&[
        "kafka-configs --alter --user @alice --add-config no_such_rate=1",
        "kafka-configs --alter --user @alice --add-config producer_byte_rate=much",
        "kafka-configs --alter --user @alice --add-config producer_byte_rate=-1",
        "kafka-configs --alter --user @alice --add-config producer_byte_rate=0",
        "kafka-configs --alter --user @alice --add-config connection_creation_rate=5",
        "kafka-configs --alter --ip 10.1.2.3 --add-config producer_byte_rate=5",
        "kafka-configs --alter --ip no.address.example.invalid --add-config connection_creation_rate=5",
        "kafka-configs --alter --ip 10.1.2.3 --user @alice --add-config connection_creation_rate=5",
        "kafka-configs --alter --user @alice --delete-config no_such_rate",
        "kafka-configs --alter --user @nobody --delete-config producer_byte_rate",
        "kafka-configs --alter --user @alice --delete-config producer_byte_rate,consumer_byte_rate,request_percentage",
        "kafka-configs --alter --user @alice --client @app --delete-config controller_mutation_rate",
        "kafka-configs --alter --user @alice --client-defaults --delete-config producer_byte_rate",
        "kafka-configs --alter --user-defaults --delete-config consumer_byte_rate",
        "kafka-configs --alter --user-defaults --client @app --delete-config consumer_byte_rate",
        "kafka-configs --alter --client @app --delete-config request_percentage",
        "kafka-configs --alter --client-defaults --delete-config producer_byte_rate",
        "kafka-configs --alter --ip 10.1.2.3 --delete-config connection_creation_rate",
        "kafka-configs --alter --ip-defaults --delete-config connection_creation_rate",
        "kafka-configs --describe --user @alice",
        "kafka-configs --describe --entity-type clients",
        "kafka-configs --describe --entity-type ips",
    ])
}
