//! Membership, controller and ownership of shards, when several brokers share one bucket: which broker may write and
//! serve what.
//!
//! Nothing here does I/O or reads a clock. A [`Node`] takes [`Event`]s with the time at which they happened and returns
//! [`Effect`]s; whoever drives it has the sockets, the bucket and the timers. So the same code runs in the broker and
//! in the simulation that its tests consist of.
//!
//! What holds, whatever happens to machines, networks and clocks:
//!
//! * The bucket decides who writes: a shard's writer epoch, raised by every opening, fences everybody before.
//! * A broker serves a shard from the moment when a controller confirmed it, by a proof that is younger than the
//!   opening, and every lease of an earlier owner is over.
//! * A broker answers reads only under a [`Lease`], which some proof dates that nobody else had the shard yet.
//! * Everything that makes a broker give up uses the clock that says more time has passed, and everything that makes it
//!   take from others the one that says less.

mod assignment;
mod balance;
mod barrier;
mod clock;
mod conversation;
mod duties;
mod event;
mod finder;
mod lease;
mod members;
mod message;
mod node;
mod owner;
mod planning;
mod reign;
mod time;
mod timing;
mod versions;

#[cfg(test)]
mod simulation;

pub use clock::{ClusterClock, TooFarAhead};
pub use event::{Effect, Event};
pub use lease::Lease;
pub use message::{
    Action, Address, Answer, BrokerId, BrokerView, CATALOG_SHARD, Claim, ControllerRef, Epoch, Heartbeat, Identity,
    Incarnation, Message, Order, OrderId, ShardId, ShardView, Standing, View,
};
pub use node::Node;
pub use time::{Monotonic, Now, Patience};
pub use timing::{Timing, UnsafeTiming};
pub use versions::{ActiveVersions, VersionRange, Versions};
