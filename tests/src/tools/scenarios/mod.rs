//! What is run against both, one file for each subject.

mod acls;
mod clients;
mod cluster;
mod configs;
mod groups;
mod records;
mod topics;
mod transactions;

use super::Scenario;

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario { name: "topics", play: topics::lives },
    Scenario { name: "topics-refused", play: topics::refused },
    Scenario { name: "topic-configs", play: configs::of_topics },
    Scenario { name: "broker-configs", play: configs::of_brokers },
    Scenario { name: "group-configs", play: configs::of_groups },
    Scenario { name: "users", play: configs::of_users },
    Scenario { name: "quotas", play: configs::quotas },
    Scenario { name: "acls", play: acls::lists },
    Scenario { name: "rights", play: acls::rights },
    Scenario { name: "groups", play: groups::described },
    Scenario { name: "groups-reset", play: groups::reset },
    Scenario { name: "groups-deleted", play: groups::deleted },
    Scenario { name: "records", play: records::found_and_deleted },
    Scenario { name: "transactions", play: transactions::watched },
    Scenario { name: "cluster", play: cluster::described },
    Scenario { name: "elections", play: cluster::elections },
    Scenario { name: "console", play: clients::console },
    Scenario { name: "measured", play: clients::measured },
    Scenario { name: "verifiable", play: clients::verifiable },
];

/// Those that `make test` plays.
pub const SHORT: &[&str] = &["topics", "topic-configs", "groups-deleted", "transactions"];
