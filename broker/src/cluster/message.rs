//! What brokers say to each other. Messages may be lost, late, doubled or overtaken: each says how things are, none
//! what has changed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::time::Now;
use super::versions::{ActiveVersions, Versions};

/// A broker's number, leased from the controller.
pub type BrokerId = i32;
/// Number of a shard. Shard 0 holds the catalog, and its owner is the controller.
pub type ShardId = u32;
/// Writer epoch of a shard, one more with every opening. Of shard 0: the controller's epoch.
pub type Epoch = u64;
/// Where brokers reach a broker (`host:port` of its internal listener).
pub type Address = Arc<str>;

/// The shard of the catalog and the controller.
pub const CATALOG_SHARD: ShardId = 0;

/// One life of a broker process. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub Uuid);

impl fmt::Debug for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell lives apart in a trace.
        write!(formatter, "{:08x}", self.0.as_u128() >> 96)
    }
}

/// What the object `controller/<epoch>` holds, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerRef {
    pub epoch: Epoch,
    /// `None` when it became controller before it had an id.
    pub id: Option<BrokerId>,
    pub incarnation: Incarnation,
    pub address: Address,
}

/// Who a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub incarnation: Incarnation,
    pub address: Address,
    pub zone: Arc<str>,
    /// The id that its configuration asks for.
    pub configured_id: Option<BrokerId>,
    pub versions: Versions,
}

/// A message, with its sender's address beside it.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Registers a broker and keeps it registered. To the controller.
    Heartbeat(Box<Heartbeat>),
    /// To a broker: for a heartbeat, and again whenever something changes for it.
    Answer(Box<Answer>),
    /// The newest controller that the sender knows: instead of an answer when it is none itself, and to everybody when
    /// it has become one.
    Newest(Option<ControllerRef>),
    /// To a peer: do you hear the controller?
    Ask { round: u64, controller: Epoch },
    /// `heard`: this peer had an answer of this controller, or a newer one, within half the failover time, and by a
    /// proof that was fresh.
    Heard { round: u64, heard: bool, newest: Option<ControllerRef> },
    /// To the broker that shall become controller now: the one before has stopped writing to shard 0.
    Resign { controller: Epoch },
}

/// How a broker is.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    pub broker: Identity,
    /// The id that it has from this controller or an earlier one.
    pub id: Option<BrokerId>,
    /// Counts this broker's heartbeats, from 1.
    pub sequence: u64,
    /// The newest of them that was answered; 0 when none was.
    pub heard: u64,
    /// The controller that it is meant for.
    pub controller: Epoch,
    /// The broker's wall clock (ms since 1970).
    pub wall_ms: i64,
    /// Whether its wall clock can be worked with.
    pub clock_trusted: bool,
    /// It wants to be rid of its shards.
    pub draining: bool,
    /// It is about to stop, and has given everything up.
    pub leaving: bool,
    /// The newest catalog version that it has applied.
    pub catalog_version: u64,
    /// Every shard that it has open, and may serve or is about to stop serving. One that is missing is not served.
    pub shards: Vec<Claim>,
    /// For each shard the last order to open it that came to nothing.
    pub failed_orders: Vec<(ShardId, OrderId)>,
}

/// A shard that a broker has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub shard: ShardId,
    /// Of the opened handle.
    pub epoch: Epoch,
    /// Whether a controller has confirmed this owner, so that it serves.
    pub active: bool,
    /// How long its oldest write waits to be durable (ms).
    pub undurable_ms: u64,
}

/// Orders are followed in this order, and each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId {
    pub controller: Epoch,
    pub number: u64,
}

/// What a broker shall do with a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub shard: ShardId,
    pub action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open it, when its epoch is still `expected`, and acknowledge nothing for `settle_ms` afterwards.
    Own { expected: Epoch, settle_ms: u64 },
    /// Stop serving the handle with this epoch or an older one.
    Release { epoch: Epoch },
}

/// What the controller says to a broker.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub controller: ControllerRef,
    pub to: Incarnation,
    /// The newest heartbeat of the broker that has arrived.
    pub sequence: u64,
    /// When the controller last proved that it owns shard 0: the beginning of that request, in ms after the heartbeat
    /// arrived (negative: before).
    pub proof_offset_ms: i64,
    /// The same of the moment at which the broker last had everything that the catalog holds.
    pub catalog_offset_ms: i64,
    pub standing: Standing,
    /// Shards that the broker may serve, under a lease that the two offsets date.
    pub granted: Vec<(ShardId, Epoch)>,
    pub orders: Vec<Order>,
    pub view: Arc<View>,
    /// The cluster's time as the controller knows it (ms since 1970).
    pub cluster_ms: i64,
}

/// Whether the broker is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Registered(BrokerId),
    /// A new controller gives out no ids before it knows those that are in use.
    Waiting,
    /// One sentence for the operator.
    Refused(Arc<str>),
}

/// The cluster as clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// With `version`: which of two views is newer.
    pub controller: Epoch,
    pub version: u64,
    pub controller_id: Option<BrokerId>,
    pub brokers: BTreeMap<BrokerId, BrokerView>,
    /// Owner of each data shard that is served; one that is missing has no leader now.
    pub shards: BTreeMap<ShardId, ShardView>,
    pub versions: ActiveVersions,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerView {
    pub incarnation: Incarnation,
    pub address: Address,
    pub zone: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardView {
    pub owner: BrokerId,
    pub incarnation: Incarnation,
    /// The leader epoch of its partitions, from the opened handle.
    pub epoch: Epoch,
}

impl View {
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
        (self.controller, self.version) > (other.controller, other.version)
    }
}

impl Answer {
    /// From when a lease counts for a broker that sent the heartbeat at `sent`.
    pub(super) fn lease_from(&self, sent: Now) -> Now {
        sent.offset(self.proof_offset_ms.min(0))
    }
}
