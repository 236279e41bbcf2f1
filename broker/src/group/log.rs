//! Where the coordinator's records are kept: the internal topic `__consumer_offsets`.

use super::limits::MAX_BATCH_BYTES;
use crate::state_topic::StateTopic;

/// The topic's name, as everywhere in the Kafka world.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
pub const OFFSETS: StateTopic = StateTopic { name: OFFSETS_TOPIC, max_batch_bytes: MAX_BATCH_BYTES };
