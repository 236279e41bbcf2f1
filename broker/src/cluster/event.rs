//! What comes into a [`Node`](super::Node), and what it wants done.

use std::sync::Arc;

use super::message::{Address, BrokerId, ControllerRef, Epoch, Message, ShardId};
use super::time::{Monotonic, Now};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time has passed; wanted every 100 ms or so.
    Tick,
    /// A message, after the sender was authenticated as a broker of this cluster.
    Received { from: Address, message: Message },

    /// Answers [`Effect::ListControllers`]: the objects with the highest epochs, highest first (some ten will do).
    ControllersListed(Vec<ControllerRef>),
    /// The objects could not be listed or read.
    ListControllersFailed,
    /// Answers [`Effect::CreateController`]. `object`: what is there now, read back when the object existed, since a
    /// creation that timed out may have succeeded.
    ControllerCreated { object: ControllerRef },
    /// Whether the object exists is not known.
    CreateControllerFailed { epoch: Epoch },

    /// Answers [`Effect::ReadEpoch`]: the writer epoch in the manifest, 0 when the shard was never opened; `None` when
    /// it could not be read. Read after the effect was given.
    EpochRead { request: u64, epoch: Option<Epoch> },
    /// Answers [`Effect::OpenShard`]: open, and everyone before is fenced.
    Opened { shard: ShardId, epoch: Epoch },
    /// Not open, and no handle is left; an epoch may have been used up.
    OpenFailed { shard: ShardId },
    /// An open handle can no longer be used. What was not acknowledged may or may not be durable.
    ShardFailed { shard: ShardId, epoch: Epoch },
    /// Nobody had taken the shard over at `began`: a WAL PUT or a manifest read that began then has succeeded.
    Proved { shard: ShardId, epoch: Epoch, began: Now },
    /// Answers [`Effect::StopWrites`]: all that was written is durable, and the handle takes no more.
    WritesStopped { shard: ShardId, epoch: Epoch },
    /// Since when the oldest write of a shard waits to be durable; `None` when none waits.
    Undurable { shard: ShardId, epoch: Epoch, since: Option<Monotonic> },
    /// Answers [`Effect::ReadStoreClock`] (ms since 1970); `None` when the store could not be asked.
    StoreClock { wall_ms: Option<i64> },

    /// The newest catalog version that this broker has applied.
    CatalogApplied { version: u64 },
    /// As controller: a change became durable with this version, and its answer waits for
    /// [`Effect::CatalogSettled`].
    CatalogCommitted { version: u64 },
    /// How many data shards there are (they are numbered from 1). Never fewer than before.
    DataShards { count: u32 },

    /// Hand every shard over, then say [`Effect::Drained`].
    Drain,
    /// Give everything up now.
    Stop,
}

/// Something to do. Each is done once, in the order given, and none is waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Send {
        to: Address,
        message: Message,
    },

    /// List `controller/`.
    ListControllers,
    /// Create `controller/<epoch>` unless it exists.
    CreateController(ControllerRef),
    ReadEpoch {
        shard: ShardId,
        request: u64,
    },
    /// Open when the epoch in the manifest is `expected`. Ends with `Opened` or `OpenFailed` within a time limit. At
    /// most one opening of a shard is under way.
    OpenShard {
        shard: ShardId,
        expected: Epoch,
    },
    /// Read the manifest; ends with `Proved`, with `ShardFailed` when another epoch is there, or not at all.
    ProveShard {
        shard: ShardId,
        epoch: Epoch,
    },
    /// Flush memory while writes go on, so that the next owner has less to replay; then refuse new writes, and make the
    /// others durable. Ends with `WritesStopped` or `ShardFailed`.
    StopWrites {
        shard: ShardId,
        epoch: Epoch,
    },
    /// Close without flushing, and without anybody waiting for it.
    CloseShard {
        shard: ShardId,
        epoch: Epoch,
    },
    /// Write a small object and read its `last_modified`.
    ReadStoreClock,

    /// From now on the shard may be served (reads only while [`Node::may_read`](super::Node::may_read) says so).
    ShardActive {
        shard: ShardId,
        epoch: Epoch,
    },
    /// From now on nothing is acknowledged or served through this handle.
    ShardLost {
        shard: ShardId,
        epoch: Epoch,
    },
    BecameController {
        epoch: Epoch,
    },
    SteppedDown {
        epoch: Epoch,
    },
    /// [`Node::view`](super::Node::view) is new.
    ViewChanged,
    /// As controller: whoever relies on the catalog has applied this version, and all before.
    CatalogSettled {
        version: u64,
    },
    Registered {
        id: BrokerId,
    },
    /// The controller does not take this broker; it goes on asking. `lasting`: for longer than an earlier life of the
    /// same broker could be the reason, so that the process may end with the sentence.
    Refused {
        sentence: Arc<str>,
        lasting: bool,
    },
    /// No shard is left here, after [`Event::Drain`].
    Drained,
}
