//! The tools by the names of Kafka's scripts, and how each is told where the broker is.

use anyhow::{Context, Result};

/// Where the tools find a broker.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) bootstrap: String,
    /// The client's settings, as a file.
    pub(super) config: String,
}

/// Where the words that say it go.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// `--bootstrap-server SERVER --command-config FILE` before the other words.
    First,
    /// The same behind the first word, which is a subcommand.
    AfterSubcommand,
    /// `SERVER WORDS… FILE`, by position.
    Around,
}

const TOOLS: [(&str, &str, Place); 21] = [
    ("kafka-topics", "org.apache.kafka.tools.TopicCommand", Place::First),
    ("kafka-configs", "kafka.admin.ConfigCommand", Place::First),
    ("kafka-acls", "org.apache.kafka.tools.AclCommand", Place::First),
    ("kafka-groups", "org.apache.kafka.tools.GroupsCommand", Place::First),
    ("kafka-consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", Place::First),
    ("kafka-share-groups", "org.apache.kafka.tools.consumer.group.ShareGroupCommand", Place::First),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell", Place::First),
    ("kafka-delete-records", "org.apache.kafka.tools.DeleteRecordsCommand", Place::First),
    ("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand", Place::First),
    ("kafka-leader-election", "org.apache.kafka.tools.LeaderElectionCommand", Place::First),
    ("kafka-transactions", "org.apache.kafka.tools.TransactionsCommand", Place::First),
    ("kafka-features", "org.apache.kafka.tools.FeatureCommand", Place::First),
    ("kafka-broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand", Place::First),
    ("kafka-cluster", "org.apache.kafka.tools.ClusterTool", Place::AfterSubcommand),
    ("kafka-console-producer", "org.apache.kafka.tools.ConsoleProducer", Place::First),
    ("kafka-console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer", Place::First),
    ("kafka-producer-perf-test", "org.apache.kafka.tools.ProducerPerformance", Place::First),
    ("kafka-consumer-perf-test", "org.apache.kafka.tools.ConsumerPerformance", Place::First),
    ("kafka-e2e-latency", "org.apache.kafka.tools.EndToEndLatency", Place::Around),
    ("kafka-verifiable-producer", "org.apache.kafka.tools.VerifiableProducer", Place::First),
    ("kafka-verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer", Place::First),
];

/// The class of a tool, and the arguments for it.
pub(super) fn resolve(words: &[String], connection: &Connection) -> Result<(&'static str, Vec<String>)> {
    let (name, words) = words.split_first().context("no tool is named")?;
    let found = TOOLS.iter().find(|(known, ..)| known == name);
    let &(_, class, place) = found.with_context(|| format!("{name} is no tool that is known here"))?;
    let flags =
        ["--bootstrap-server", &connection.bootstrap, "--command-config", &connection.config].map(str::to_owned);
    let arguments = match place {
        Place::First => [&flags, words].concat(),
        Place::AfterSubcommand => {
            let (subcommand, words) = words.split_first().with_context(|| format!("{name} needs a subcommand"))?;
            [std::slice::from_ref(subcommand), &flags, words].concat()
        }
        Place::Around => {
            [&[connection.bootstrap.clone()][..], words, std::slice::from_ref(&connection.config)].concat()
        }
    };
    Ok((class, arguments))
}

/// The words of a command line; those between single quotes belong together.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => words.last_mut().expect("there is a first").push(letter),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(words("kafka-topics --topic 'a b' --x ''"), ["kafka-topics", "--topic", "a b", "--x", ""]);
    }

    #[test]
    fn each_tool_learns_where_the_broker_is() {
        let connection = Connection { bootstrap: "b:1".to_owned(), config: "c".to_owned() };
        let told = |line: &str| resolve(&words(line), &connection).expect("a known tool").1.join(" ");
        assert_eq!(told("kafka-topics --list"), "--bootstrap-server b:1 --command-config c --list");
        assert_eq!(told("kafka-cluster cluster-id"), "cluster-id --bootstrap-server b:1 --command-config c");
        assert_eq!(told("kafka-e2e-latency t 5 all 10"), "b:1 t 5 all 10 c");
        assert!(resolve(&words("kafka-nothing"), &connection).is_err());
    }
}
