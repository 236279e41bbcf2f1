//! Scenarios of whole groups, with time as a value; and of the coordinator over a log in memory.

mod coordinator;
mod memory;
mod scenario;
mod topic_log;
