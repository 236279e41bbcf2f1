//! What the catalog's log holds: one JSON object per record, several records per atomic batch.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::acl::AclBinding;
use super::image::{ScramCredential, ScramMechanism, Topic};
use super::quota::{QuotaEntity, QuotaKey, QuotaValue};

/// One change. A later record about the same object replaces the earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum CatalogRecord {
    /// Everything before this record is superseded by what follows up to `SnapshotEnd`.
    SnapshotStart,
    SnapshotEnd,
    /// A topic as it is from now on (created, or its partitions or configs changed).
    Topic(Topic),
    TopicDeleted {
        id: Uuid,
    },
    Acl(AclBinding),
    AclDeleted(AclBinding),
    UserCredential {
        user: String,
        mechanism: ScramMechanism,
        credential: ScramCredential,
    },
    UserCredentialDeleted {
        user: String,
        mechanism: ScramMechanism,
    },
    BrokerConfig {
        name: String,
        value: Option<String>,
    },
    /// One config of one consumer group; without a value it is removed.
    GroupConfig {
        group: String,
        name: String,
        value: Option<String>,
    },
    /// One rate of one entity; without a value it is removed.
    ClientQuota {
        entity: QuotaEntity,
        key: QuotaKey,
        value: Option<QuotaValue>,
    },
    /// Producer ids below `next` have been handed out in blocks and are never used again.
    ProducerIds {
        next: i64,
    },
}

/// Binary fields as base64 text.
pub(super) mod base64_bytes {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map_err(de::Error::custom)
    }
}
