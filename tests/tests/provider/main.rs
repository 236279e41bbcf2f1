//! The provider with the real terraform against the real broker. One broker and one folder serve many steps: each command
//! of terraform takes a second. `LOCKGATE_ACCESS` says how the steps reach the broker; see [`access::Access`].

mod access;
mod acl;
mod connection;
mod data;
mod functions;
mod import;
mod lifecycle;
mod mistakes;
mod protection;
mod quota;
mod secrets;
mod stage;
mod topic;
mod user;
mod visibility;

use lockgate_tests::broker::Broker;

const PASSWORD: &str = "correct horse battery staple";

/// The provider block for a broker.
fn block(broker: &Broker) -> String {
    format!("provider \"lockgate\" {{\n  cluster = \"file://{}\"\n}}\n", broker.data().display())
}

fn with(block: &str, rest: &str) -> String {
    format!("{block}\n{rest}")
}
