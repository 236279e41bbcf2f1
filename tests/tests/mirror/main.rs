//! From Apache Kafka to Lockgate with MirrorMaker 2, as docs/migrate-from-kafka.md says.

mod page;
mod records;
mod stage;

/// The page that is followed.
const GUIDE: &str = "docs/migrate-from-kafka.md";
/// Everyone's password.
const PASSWORD: &str = "correct horse battery staple";
