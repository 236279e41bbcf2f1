//! What both are asked, one file for each subject.

mod access;
mod acls;
mod cluster;
mod configs;
mod consumer_groups;
mod groups;
mod offsets;
mod records;
mod recreated;
pub(super) mod topics;
mod transactions;
mod users;

use super::Scenario;

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario { name: "create-topics", play: topics::create },
    Scenario { name: "grow-topics", play: topics::grow },
    Scenario { name: "delete-topics", play: topics::delete },
    Scenario { name: "configs-shown", play: configs::shown },
    Scenario { name: "configs-changed", play: configs::changed },
    Scenario { name: "broker-configs", play: configs::of_brokers },
    Scenario { name: "group-configs", play: configs::of_groups },
    Scenario { name: "acls", play: acls::filters },
    Scenario { name: "credentials", play: users::credentials },
    Scenario { name: "quotas", play: users::rates },
    Scenario { name: "logins", play: users::logins },
    Scenario { name: "produced", play: records::produced },
    Scenario { name: "fetched", play: records::fetched },
    Scenario { name: "fetch-sessions", play: records::sessions },
    Scenario { name: "offsets-found", play: records::found },
    Scenario { name: "records-deleted", play: records::deleted },
    Scenario { name: "metadata", play: cluster::metadata },
    Scenario { name: "cluster", play: cluster::described },
    Scenario { name: "partitions", play: cluster::partitions },
    Scenario { name: "coordinators", play: cluster::coordinators },
    Scenario { name: "versions", play: cluster::versions },
    Scenario { name: "groups", play: groups::lives },
    Scenario { name: "groups-refused", play: groups::refused },
    Scenario { name: "static-members", play: groups::static_members },
    Scenario { name: "groups-listed", play: groups::listed },
    Scenario { name: "offsets", play: offsets::committed },
    Scenario { name: "offsets-of-members", play: offsets::of_members },
    Scenario { name: "consumer-groups", play: consumer_groups::lives },
    Scenario { name: "consumer-groups-refused", play: consumer_groups::refused },
    Scenario { name: "consumer-groups-static", play: consumer_groups::static_members },
    Scenario { name: "transactions", play: transactions::lives },
    Scenario { name: "transactions-refused", play: transactions::refused },
    Scenario { name: "transactions-told", play: transactions::told },
    Scenario { name: "transactions-read", play: transactions::read },
    Scenario { name: "recreated", play: recreated::ids },
    Scenario { name: "access", play: access::rights },
];

/// Those that `make test` plays.
pub const SHORT: &[&str] = &[
    "create-topics",
    "grow-topics",
    "delete-topics",
    "configs-changed",
    "group-configs",
    "acls",
    "credentials",
    "quotas",
    "logins",
    "fetch-sessions",
    "records-deleted",
    "partitions",
    "coordinators",
    "groups-refused",
    "static-members",
    "offsets-of-members",
    "consumer-groups-refused",
    "transactions-told",
    "transactions-read",
    "recreated",
    "access",
];
