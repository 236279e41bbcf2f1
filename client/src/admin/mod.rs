//! Admin calls, over one connection to a bootstrap server.
//!
//! An answer that speaks of several items gives one result per item, so that one topic's failure does not hide the
//! others'; the outer result fails when the request as a whole did.

mod acl_messages;
mod acls;
mod cluster;
mod configs;
mod connection;
mod groups;
mod offsets;
mod quotas;
mod topics;
mod transactions;
mod users;

pub use acls::{Acl, AclFilter, AclOperation, AclPatternType, AclPermission, AclResourceType, UnknownAcl};
pub use cluster::{Broker, Cluster};
pub use configs::{Alteration, ConfigChange, ConfigEntry, ConfigResource, ConfigSource, ConfigSynonym};
pub use connection::Admin;
pub use groups::{Group, GroupListing, GroupMember, TopicPartitions};
pub use offsets::{CommittedOffset, Lag, OffsetSpec, TopicPartition};
pub use quotas::{Quota, QuotaAlteration, QuotaEntity, QuotaName};
pub use topics::{CreatedTopic, NewPartitions, NewTopic, Partition, Topic, TopicId};
pub use transactions::{PartitionProducer, Transaction, TransactionFilter, TransactionListing};
pub use users::{DEFAULT_ITERATIONS, ScramCredential, ScramMechanism, ScramUpsert};
