//! What both are asked, one file for each subject.

mod topics;

use super::Scenario;

/// Every scenario.
pub const ALL: &[Scenario] = &[
    Scenario { name: "create-topics", play: topics::create },
    Scenario { name: "grow-topics", play: topics::grow },
    Scenario { name: "delete-topics", play: topics::delete },
];

/// Those that `make test` plays.
pub const SHORT: &[&str] = &["create-topics", "delete-topics"];
