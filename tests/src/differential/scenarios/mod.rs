//! What both are asked, one file for each subject.

mod acls;
mod configs;
mod records;
mod topics;
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
];

/// Those that `make test` plays.
pub const SHORT: &[&str] = &["create-topics", "delete-topics"];
