//! `kafka-acls`, and what the tools say to those who may not.

use anyhow::Result;

use crate::tools::Stage;
use crate::wire::Login;

pub(super) fn lists(stage: &mut Stage<'_>) -> Result<()> {
    stage.run_unordered(&[
        "kafka-acls --list --topic @t",
        "kafka-acls --add --allow-principal User:@alice --operation Read --topic @t",
        "kafka-acls --add --allow-principal User:@alice --allow-principal User:@bob --operation Read --operation Write --topic @t --allow-host 10.0.0.1 --allow-host 10.0.0.2",
        "kafka-acls --add --deny-principal User:@eve --deny-host 10.0.0.3 --operation All --topic @t",
        "kafka-acls --add --allow-principal User:@alice --operation Describe --topic @p- --resource-pattern-type prefixed",
        "kafka-acls --add --allow-principal User:@alice --producer --topic @t --transactional-id @tx --idempotent",
        "kafka-acls --add --allow-principal User:@bob --consumer --topic @t --group @g",
        "kafka-acls --add --allow-principal User:@bob --consumer --producer --topic @both --group @g",
        "kafka-acls --add --allow-principal User:* --operation Describe --group @g",
        "kafka-acls --add --allow-principal User:@alice --operation ClusterAction --cluster",
        "kafka-acls --add --allow-principal User:@alice --operation Describe --delegation-token @token",
        "kafka-acls --add --allow-principal User:@alice --operation CreateTokens --user-principal User:@bob",
        "kafka-acls --list --topic @t",
        "kafka-acls --list --topic @p-x",
        "kafka-acls --list --topic @p-x --resource-pattern-type match",
        "kafka-acls --list --topic @p- --resource-pattern-type prefixed",
        "kafka-acls --list --topic @t --resource-pattern-type any",
        "kafka-acls --list --group @g",
        "kafka-acls --list --cluster",
        "kafka-acls --list --transactional-id @tx",
        "kafka-acls --list --delegation-token @token",
        "kafka-acls --list --user-principal User:@bob",
        "kafka-acls --list --principal User:@alice",
        "kafka-acls --list --principal User:@alice --principal User:@bob --topic @t",
        "kafka-acls --list --topic @none",
        "kafka-acls --add --allow-principal @alice --operation Read --topic @t",
        "kafka-acls --add --allow-principal User:@alice --operation Dance --topic @t",
        "kafka-acls --add --allow-principal User:@alice --operation Create --group @g",
        "kafka-acls --add --allow-principal User:@alice --operation Read --topic @t --resource-pattern-type match",
        "kafka-acls --add --allow-principal User:@alice --operation Read",
        "kafka-acls --add --operation Read --topic @t",
        "kafka-acls --add --allow-principal Group:@alice --operation Read --topic @t",
        "kafka-acls --add --allow-principal User:@alice --producer --consumer --topic @t",
        "kafka-acls --remove --allow-principal User:@alice --operation Read --topic @t --force",
        "kafka-acls --remove --allow-principal User:@nobody --operation Read --topic @t --force",
        "kafka-acls --list --topic @t",
        "kafka-acls --remove --allow-principal User:@bob --consumer --topic @t --group @g --force",
        "kafka-acls --remove --topic @t --force",
        "kafka-acls --remove --topic @p- --resource-pattern-type prefixed --force",
        "kafka-acls --remove --topic @both --force",
        "kafka-acls --remove --group @g --force",
        "kafka-acls --remove --transactional-id @tx --force",
        "kafka-acls --remove --delegation-token @token --force",
        "kafka-acls --remove --user-principal User:@bob --force",
        "kafka-acls --remove --cluster --force",
        "kafka-acls --list --principal User:@alice",
        "kafka-acls --list --topic @t",
    ])?;
    // Asked before it removes anything.
    stage.run(&["kafka-acls --add --allow-principal User:@alice --operation Read --topic @asked"])?;
    for answer in ["no\n", "yes\n"] {
        stage.run_with("kafka-acls --remove --topic @asked", answer)?;
        stage.run(&["kafka-acls --list --topic @asked"])?;
    }
    Ok(())
}

/// A user who may read one topic and nothing else, and one who is not there.
pub(super) fn rights(stage: &mut Stage<'_>) -> Result<()> {
    stage.run(&[
        "kafka-topics --create --topic @open",
        "kafka-topics --create --topic @shut",
        "kafka-configs --alter --user @mallory --add-config 'SCRAM-SHA-256=[password=secret]'",
        "kafka-acls --add --allow-principal User:@mallory --operation Read --topic @open",
    ])?;
    let mallory = Login { user: stage.own("mallory"), password: "secret".to_owned() };
    stage.become_user(&mallory)?;
    stage.run(&[
        "kafka-topics --list",
        "kafka-topics --describe --topic @open",
        "kafka-topics --describe --topic @shut",
        "kafka-topics --create --topic @new",
        "kafka-topics --delete --topic @open",
        "kafka-topics --alter --topic @open --partitions 4",
        "kafka-configs --describe --topic @open",
        "kafka-configs --alter --topic @open --add-config retention.ms=1000",
        "kafka-configs --describe --broker 1",
        "kafka-configs --describe --user @mallory",
        "kafka-configs --alter --user @mallory --add-config 'SCRAM-SHA-256=[password=secret]'",
        "kafka-configs --alter --user @mallory --add-config producer_byte_rate=1",
        "kafka-acls --list",
        "kafka-acls --add --allow-principal User:@mallory --operation All --topic @shut",
        "kafka-acls --remove --topic @open --force",
        "kafka-consumer-groups --list",
        "kafka-consumer-groups --describe --group @g",
        "kafka-consumer-groups --delete --group @g",
        "kafka-consumer-groups --reset-offsets --group @g --topic @open --to-earliest --execute",
        "kafka-get-offsets --topic @open",
        "kafka-get-offsets --topic @shut",
        "kafka-log-dirs --describe",
        "kafka-transactions list",
        "kafka-transactions describe --transactional-id @tx",
        "kafka-leader-election --election-type preferred --topic @open --partition 0",
        "kafka-cluster cluster-id",
        "kafka-console-consumer --topic @shut --group @g --timeout-ms 5000",
    ])?;
    stage.run_with("kafka-console-producer --topic @open", "a record\n")?;
    stage.become_user(&Login { user: stage.own("nobody"), password: "secret".to_owned() })?;
    stage.run(&["kafka-topics --list", "kafka-consumer-groups --list"])?;
    stage.become_user(&Login { password: "wrong".to_owned(), ..mallory })?;
    stage.run(&["kafka-topics --list"])
}
