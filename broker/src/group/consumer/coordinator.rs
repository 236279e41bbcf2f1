//! The coordinator's part: asks a consumer group under its lock, appends what it wants written as one batch, and answers
//! when that is durable. Converts between the kinds of groups on the way.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::watch;

use super::heartbeat::{Beaten, Heartbeat, Refused};
use super::member::LEAVE;
use super::{ConsumerGroup, World};
use crate::catalog::Image;
use crate::group::coordinator::{Coordinator, Encoded};
use crate::group::member::{Identity, Join, JoinRefused, JoinResult, Joined};
use crate::group::records::Key;
use crate::group::shard::Cell;
use crate::group::state::{Change, Group, Now, State};

/// Waits until everything that an answer rests on is durable.
struct Rest {
    change: u64,
    durable: watch::Receiver<u64>,
}

impl Rest {
    fn of(group: &Group) -> Self {
        let (change, durable) = group.in_flight_until();
        Self { change, durable }
    }

    async fn durable(mut self) -> Result<(), ResponseError> {
        let change = self.change;
        // The group is given up when its log fails: the client finds its coordinator again.
        let waited = self.durable.wait_for(|durable| *durable >= change).await;
        waited.map(drop).map_err(|_| ResponseError::NotCoordinator)
    }
}

impl Coordinator {
    /// A member of a consumer group joins, lives or leaves. `may_describe` says which topics it may see.
    pub async fn consumer_heartbeat(
        self: &Arc<Self>,
        beat: Heartbeat,
        may_describe: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Beaten, Refused> {
        beat.check(&self.settings.consumer)?;
        let cell = match beat.epoch {
            0 => self.find_or_create(&beat.group)?,
            _ => self.shard(&beat.group)?.get(&beat.group)?.ok_or_else(|| not_found(&beat.group))?,
        };
        let image = self.catalog.image();
        let world = World { image: &image, may_describe };
        let (beaten, rest) = self.beat(&cell, &beat, &world)?;
        rest.durable().await?;
        Ok(beaten)
    }

    fn beat(self: &Arc<Self>, cell: &Arc<Cell>, beat: &Heartbeat, world: &World) -> Result<(Beaten, Rest), Refused> {
        let now = self.now();
        let mut group = cell.group.lock();
        if group.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable.into());
        }
        let leaving = std::slice::from_ref(&beat.member);
        let consumer = group.consumer.as_mut().filter(|_| beat.epoch == LEAVE);
        if let Some(consumer) = consumer.filter(|consumer| consumer.should_downgrade_without(leaving)) {
            // Decides whether the member may leave at all, and what it is told.
            let beaten = consumer.leave(beat, world);
            consumer.roll_back();
            let beaten = beaten?;
            self.downgrade(cell, &mut group, leaving, world.image, now)?;
            return Ok((beaten, Rest::of(&group)));
        }
        let is_new = group.consumer.is_none();
        let mut consumer = match group.consumer.take() {
            Some(consumer) => consumer,
            None if beat.epoch != 0 => {
                let message = format!("Group {} is not a consumer group.", group.id);
                return Err(Refused::new(ResponseError::GroupIdNotFound, message));
            }
            None => Box::new(ConsumerGroup::from_classic(&group, world)?),
        };
        let before = consumer.bytes();
        let decided = match beat.leaves() {
            true => consumer.leave(beat, world),
            false => consumer.heartbeat(beat, world, now),
        };
        let written = decided.and_then(|beaten| {
            if !self.held.has_room_for(consumer.bytes().saturating_sub(before)) {
                return Err(ResponseError::GroupMaxSizeReached.into());
            }
            let mut records = classic_tombstone(&group, is_new);
            records.extend(encoded(&consumer));
            self.append_change(cell, &mut group, records, now)?;
            Ok(beaten)
        });
        if written.is_ok() {
            consumer.appended();
            if is_new {
                consumer.start_sessions(world.image, now);
                group.leave_classic(now);
            }
        } else {
            consumer.roll_back();
        }
        // A group that did not become a consumer group stays what it was.
        if written.is_ok() || !is_new {
            group.consumer = Some(consumer);
        }
        self.arm(cell, &mut group);
        written.map(|beaten| (beaten, Rest::of(&group)))
    }

    /// Appends records that have taken effect already. Answers wait for them with [`Rest`].
    fn append_change(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        group: &mut Group,
        records: Vec<Encoded>,
        now: Now,
    ) -> Result<(), ResponseError> {
        if records.is_empty() {
            return Ok(());
        }
        self.write_at_once(cell, group, records, Change::Consumer, now).map(drop)
    }

    /// Appends what a consumer group has decided on, or takes it back.
    fn conclude(self: &Arc<Self>, cell: &Arc<Cell>, group: &mut Group, now: Now) -> Result<(), ResponseError> {
        let Some(consumer) = &group.consumer else { return Ok(()) };
        let records = encoded(consumer).collect();
        let appended = self.append_change(cell, group, records, now);
        if let Some(consumer) = &mut group.consumer {
            if appended.is_ok() { consumer.appended() } else { consumer.roll_back() }
        }
        appended
    }

    /// Makes a classic group of a consumer group, without some members; the others share out anew.
    fn downgrade(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        group: &mut Group,
        leaving: &[Arc<str>],
        image: &Image,
        now: Now,
    ) -> Result<(), ResponseError> {
        let Some(consumer) = &group.consumer else { return Err(ResponseError::GroupIdNotFound) };
        let classic = consumer.to_classic(leaving, image, now);
        let mut records: Vec<Encoded> = consumer.tombstones().iter().map(|record| record.encode(&cell.id)).collect();
        let key = Key::Group { group: Arc::clone(&cell.id) };
        records.push((key.encode(), Some(classic.value(None).encode())));
        self.append_change(cell, group, records, now)?;
        tracing::info!(group = %cell.id, members = classic.members.len(), "the consumer group is a classic group again");
        group.become_classic(classic);
        group.rebalance_unless_running(now);
        self.store(cell, group, now);
        self.arm(cell, group);
        Ok(())
    }

    /// Puts out members whose time is up.
    pub(in crate::group) fn put_out_overdue(self: &Arc<Self>, cell: &Arc<Cell>) {
        let now = self.now();
        let image = self.catalog.image();
        let mut group = cell.group.lock();
        let Some(consumer) = &mut group.consumer else { return };
        consumer.forget_void_deadlines(now);
        let overdue = consumer.overdue(now);
        if !overdue.is_empty()
            && let Err(code) = self.put_out(cell, &mut group, &overdue, &image, now)
        {
            tracing::warn!(group = %group.id, %code, "members whose time is up could not be put out; again later");
            if let Some(consumer) = &mut group.consumer {
                consumer.postpone(&overdue, now);
            }
        }
        self.arm(cell, &mut group);
    }

    fn put_out(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        group: &mut Group,
        members: &[Arc<str>],
        image: &Image,
        now: Now,
    ) -> Result<(), ResponseError> {
        let Some(consumer) = &mut group.consumer else { return Ok(()) };
        if consumer.should_downgrade_without(members) {
            return self.downgrade(cell, group, members, image, now);
        }
        consumer.fence(members, image);
        self.conclude(cell, group, now)
    }

    /// A JoinGroup to a group that may be a consumer group; `None` when it is (or now becomes) a classic one.
    pub(in crate::group) async fn join_consumer(self: &Arc<Self>, cell: &Arc<Cell>, join: &Join) -> Option<JoinResult> {
        let (joined, rest) = match self.join_consumer_now(cell, join)? {
            Ok(joined) => joined,
            Err(refused) => return Some(Err(refused)),
        };
        let refused = |code| JoinRefused { code, member: Arc::clone(&join.member) };
        Some(rest.durable().await.map(|()| joined).map_err(refused))
    }

    fn join_consumer_now(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        join: &Join,
    ) -> Option<Result<(Joined, Rest), JoinRefused>> {
        let now = self.now();
        let image = self.catalog.image();
        let world = World { image: &image, may_describe: &|_| true };
        let mut group = cell.group.lock();
        let refused = |code| JoinRefused { code, member: Arc::clone(&join.member) };
        let consumer = group.consumer.as_mut()?;
        if consumer.is_empty() {
            // Nobody is there: the group becomes classic, and the join goes on there.
            let records = consumer.tombstones().iter().map(|record| record.encode(&cell.id)).collect();
            return match self.append_change(cell, &mut group, records, now) {
                Ok(()) => {
                    group.consumer = None;
                    None
                }
                Err(code) => Some(Err(refused(code))),
            };
        }
        let before = consumer.bytes();
        let joined = consumer.classic_join(join, &world, now).and_then(|joined| {
            let fits = self.held.has_room_for(consumer.bytes().saturating_sub(before));
            if fits { Ok(joined) } else { Err(refused(ResponseError::GroupMaxSizeReached)) }
        });
        let joined = match joined {
            Ok(joined) => joined,
            Err(error) => {
                consumer.roll_back();
                return Some(Err(error));
            }
        };
        if let Err(code) = self.conclude(cell, &mut group, now) {
            return Some(Err(refused(code)));
        }
        if group.consumer.as_ref().is_some_and(|consumer| consumer.took_last_place(join)) {
            // The last one with the consumer protocol was a static member, whose place this one has taken.
            if let Err(code) = self.downgrade(cell, &mut group, &[], &image, now) {
                tracing::warn!(group = %cell.id, %code, "the group could not be made a classic one");
            }
        }
        self.arm(cell, &mut group);
        Some(Ok((joined, Rest::of(&group))))
    }

    /// A LeaveGroup to a consumer group; `None` when it is a classic one.
    pub(in crate::group) fn leave_consumer(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        members: &[(Arc<str>, Option<Arc<str>>)],
    ) -> Option<Result<Vec<Result<(), ResponseError>>, ResponseError>> {
        let now = self.now();
        let image = self.catalog.image();
        let mut group = cell.group.lock();
        let leavers = group.consumer.as_ref()?.classic_leavers(members);
        let mut ids: Vec<_> = leavers.iter().flatten().cloned().collect();
        ids.sort();
        ids.dedup();
        let put_out = if ids.is_empty() { Ok(()) } else { self.put_out(cell, &mut group, &ids, &image, now) };
        self.arm(cell, &mut group);
        Some(put_out.map(|()| leavers.into_iter().map(|leaver| leaver.map(drop)).collect()))
    }

    /// Whether a commit may come in a request of this kind; `knows_epochs` from version 9 on.
    pub fn check_commit_version(&self, who: &Identity, knows_epochs: bool) -> Result<(), ResponseError> {
        let found = self.shard(&who.group)?.get(&who.group)?;
        let Some(cell) = found else {
            let is_member = who.generation >= 0;
            return if is_member && knows_epochs { Err(ResponseError::GroupIdNotFound) } else { Ok(()) };
        };
        let group = cell.group.lock();
        let needs_epochs = group.consumer.as_ref().is_some_and(|consumer| consumer.uses_epochs(&who.member));
        if needs_epochs && !knows_epochs { Err(ResponseError::UnsupportedVersion) } else { Ok(()) }
    }

    /// Whether a member may fetch offsets with this epoch (version 9 on).
    pub fn check_fetch(&self, group: &str, member: Option<&str>, epoch: i32) -> Result<(), ResponseError> {
        let Some(cell) = self.shard(group)?.get(group)? else { return Ok(()) };
        let group = cell.group.lock();
        group.consumer.as_ref().map_or(Ok(()), |consumer| consumer.check_fetch(member, epoch))
    }
}

fn not_found(group: &str) -> Refused {
    Refused::new(ResponseError::GroupIdNotFound, format!("Consumer group {group} not found."))
}

fn encoded(consumer: &ConsumerGroup) -> impl Iterator<Item = (Bytes, Option<Bytes>)> {
    consumer.to_write().map(|record| record.encode(&consumer.id))
}

/// What takes the classic group's record away, where it was ever written.
fn classic_tombstone(group: &Group, becomes_consumer: bool) -> Vec<Encoded> {
    let was_written = becomes_consumer && group.generation > 0;
    let key = Key::Group { group: Arc::clone(&group.id) };
    if was_written { vec![(key.encode(), None)] } else { Vec::new() }
}
