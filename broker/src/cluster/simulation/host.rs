//! A machine with a broker process on it: clocks, a node, open handles.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use super::super::{
    Address, BrokerId, Epoch, Identity, Incarnation, Message, Monotonic, Node, Now, ShardId, Timing, VersionRange,
    Versions,
};
use super::bucket::Record;
use super::world::Done;

/// Simulated time starts here (ms since 1970).
pub(super) const WALL: i64 = 1_700_000_000_000;

/// Something that waits for the process to run.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Tick,
    Message { from: Address, message: Message },
    Done { life: u64, done: Done },
}

/// A shard that is open in the process.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) epoch: Epoch,
    /// What was in the log at the opening, and what was acknowledged since: what readers see.
    pub(super) high_watermark: usize,
    pub(super) queue: VecDeque<Record>,
    pub(super) in_flight: bool,
    pub(super) stopping: bool,
    /// It may be written to and acknowledged through.
    pub(super) active: bool,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) index: usize,
    pub(super) address: Address,
    pub(super) zone: Arc<str>,
    pub(super) configured_id: Option<BrokerId>,
    pub(super) versions: Versions,
    pub(super) node: Option<Node>,
    /// Counts the processes that ran here.
    pub(super) life: u64,
    pub(super) paused: bool,
    pub(super) inbox: VecDeque<Item>,
    pub(super) handles: BTreeMap<ShardId, Handle>,
    pub(super) applied: u64,
    pub(super) wall_offset_ms: i64,
    /// Of the steady clock against true time.
    pub(super) steady_offset_ms: i64,
    /// The steady clock stands still since then.
    pub(super) frozen: Option<u64>,
    /// It was told to hand everything over.
    pub(super) draining: bool,
    pub(super) drained: bool,
    /// Changes of the catalog do not arrive.
    pub(super) stuck: bool,
    /// Openings under way: the epochs that were expected.
    pub(super) opening: BTreeMap<ShardId, Epoch>,
    pub(super) refused: Option<Arc<str>>,
}

impl Host {
    pub(super) fn new(index: usize, zones: usize) -> Self {
        let range = VersionRange { min: 1, max: 1 };
        Self {
            index,
            address: Arc::from(format!("b{index}:9")),
            zone: Arc::from(format!("z{}", index % zones)),
            configured_id: None,
            versions: Versions { protocol: range, catalog: range },
            node: None,
            life: 0,
            paused: false,
            inbox: VecDeque::new(),
            handles: BTreeMap::new(),
            applied: 0,
            wall_offset_ms: 0,
            steady_offset_ms: 1_000_000,
            frozen: None,
            draining: false,
            drained: false,
            stuck: false,
            opening: BTreeMap::new(),
            refused: None,
        }
    }

    pub(super) fn now(&self, time: u64) -> Now {
        let steady = self.frozen.unwrap_or(time).saturating_add_signed(self.steady_offset_ms);
        Now { monotonic: Monotonic::from_millis(steady), wall_ms: WALL + time as i64 + self.wall_offset_ms }
    }

    pub(super) fn start(&mut self, time: u64, timing: Timing, data_shards: u32, seed: u64) {
        self.life += 1;
        (self.draining, self.drained) = (false, false);
        let incarnation = Incarnation(Uuid::from_u128((((self.index as u128) << 16) | u128::from(self.life)) << 96));
        let identity = Identity {
            incarnation,
            address: self.address.clone(),
            zone: self.zone.clone(),
            configured_id: self.configured_id,
            versions: self.versions,
        };
        self.node = Some(Node::new(identity, timing, data_shards, self.now(time), seed));
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        self.node = None;
        self.handles.clear();
        self.inbox.clear();
        self.opening.clear();
        self.applied = 0;
        self.resume_clock(0);
        self.paused = false;
    }

    pub(super) fn freeze_clock(&mut self, time: u64) {
        self.frozen = Some(time);
    }

    pub(super) fn resume_clock(&mut self, time: u64) {
        if let Some(frozen) = self.frozen.take() {
            self.steady_offset_ms -= time.saturating_sub(frozen) as i64;
        }
    }

    /// The shard's handle, when the node lets it be served.
    pub(super) fn served(&mut self, shard: ShardId) -> Option<&mut Handle> {
        let epoch = self.node.as_ref()?.active(shard)?;
        self.handles.get_mut(&shard).filter(|handle| handle.epoch == epoch && handle.active)
    }

    pub(super) fn is_running(&self) -> bool {
        self.node.is_some() && !self.paused
    }
}
