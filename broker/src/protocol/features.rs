//! The one table of features. ApiVersions tells clients from it which protocols the cluster has switched on.

/// A feature with the levels that this version knows. All of them are finalized at their highest level: what is built in
/// is in use.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
}

/// Everything that is switched on.
pub const FEATURES: &[Feature] = &[
    // Lockgate's own, so that its tools can tell it from other clusters; Kafka's clients pass over names they do not know.
    // 1: every broker answers every admin request, and knows of a change as soon as it has answered it.
    Feature { name: "lockgate.version", min: 0, max: 1 },
    // 1: the consumer group protocol (KIP-848).
    Feature { name: "group.version", min: 0, max: 1 },
    // 2: an epoch for every transaction, and partitions that the broker adds (KIP-890).
    Feature { name: "transaction.version", min: 0, max: 2 },
];
