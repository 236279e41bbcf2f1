//! The handle that services work with: finds the group, asks it under its lock, writes what it wants written.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::Settings;
use super::limits::{BATCH_BYTES, MAX_GROUPS, MAX_NAME_BYTES, MAX_PROTOCOLS};
use super::member::{Identity, Join, JoinRefused, JoinResult, Sync, SyncResult};
use super::memory::Held;
use super::offsets::TopicPartition;
use super::records::{Key, OffsetValue, partition_of};
use super::shard::{Cell, Shard};
use super::state::{Change, Group, Now, State, Store};
use super::timers::Timers;
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::log::LogError;
use crate::log::records::NewRecord;
use crate::state_topic::{StateLog, WhenDurable};
use crate::store::StoreError;

/// Resolves when a change is durable.
type Done = oneshot::Receiver<Result<(), ResponseError>>;

/// A record's key and value, as they are written.
pub(super) type Encoded = (Bytes, Option<Bytes>);

/// Coordinates every group of this broker. [`Self::run`] has to run beside it.
pub struct Coordinator {
    pub(super) settings: Arc<Settings>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) log: Arc<dyn StateLog>,
    /// The topics that consumer groups share out.
    pub(super) catalog: Arc<Catalog>,
    /// One per partition of the log; absent until the log is open.
    pub(super) shards: OnceLock<Box<[Arc<Shard>]>>,
    pub(super) timers: Timers,
    /// What all groups hold in memory.
    pub(super) held: Arc<Held>,
    /// Shards whose log failed, as (partition, loading), for [`Self::run`].
    pub(super) failed: Mutex<Vec<(i32, u64)>>,
    pub(super) failure: Notify,
    /// Waits for durability. They outlive the request, whose client may go away.
    pub(super) tasks: TaskTracker,
}

impl Coordinator {
    pub fn new(settings: Settings, clock: Arc<dyn Clock>, log: Arc<dyn StateLog>, catalog: Arc<Catalog>) -> Arc<Self> {
        Arc::new(Self {
            settings: Arc::new(settings),
            clock,
            log,
            catalog,
            shards: OnceLock::new(),
            timers: Timers::default(),
            held: Arc::default(),
            failed: Mutex::new(Vec::new()),
            failure: Notify::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Joins a group and waits for its next generation.
    pub async fn join(self: &Arc<Self>, join: Join) -> JoinResult {
        let refused = |code| JoinRefused { code, member: Arc::clone(&join.member) };
        self.check_join(&join).map_err(refused)?;
        let cell = if join.member.is_empty() {
            self.find_or_create(&join.group).map_err(refused)?
        } else {
            self.find_member_group(&join.group).map_err(refused)?
        };
        if let Some(joined) = self.join_consumer(&cell, &join).await {
            return joined;
        }
        let member = Arc::clone(&join.member);
        let receiver = self.with(&cell, |group, now| group.join(join, now));
        // The sender is dropped when the member asked again on another connection.
        receiver.await.unwrap_or(Err(JoinRefused { code: ResponseError::NotCoordinator, member }))
    }

    fn check_join(&self, join: &Join) -> Result<(), ResponseError> {
        check_group_id(&join.group)?;
        let sessions = self.settings.min_session_timeout..=self.settings.max_session_timeout;
        if !sessions.contains(&join.session_timeout) {
            return Err(ResponseError::InvalidSessionTimeout);
        }
        let names = join.protocols.iter().map(|protocol| &protocol.name);
        let names = names.chain(&join.instance).chain([&join.protocol_type, &join.client_id, &join.client_host]);
        if join.protocols.len() > MAX_PROTOCOLS || names.into_iter().any(|name| name.len() > MAX_NAME_BYTES) {
            return Err(ResponseError::InvalidRequest);
        }
        Ok(())
    }

    /// Hands in the leader's assignments, or waits for one's own.
    pub async fn sync(self: &Arc<Self>, sync: Sync) -> SyncResult {
        check_group_id(&sync.identity.group)?;
        let cell = self.find_member_group(&sync.identity.group)?;
        let image = self.catalog.image();
        let receiver = self.with(&cell, |group, now| match &mut group.consumer {
            Some(consumer) => Err(consumer.classic_sync(&sync, &image, now)),
            None => Ok(group.sync(sync, now)),
        });
        let receiver = match receiver {
            Ok(receiver) => receiver,
            Err(synced) => return synced,
        };
        receiver.await.unwrap_or(Err(ResponseError::NotCoordinator))
    }

    pub fn heartbeat(&self, who: &Identity) -> Result<(), ResponseError> {
        check_group_id(&who.group)?;
        let cell = match self.shard(&who.group).and_then(|shard| shard.get(&who.group)) {
            // While groups are loaded their sessions do not run.
            Err(ResponseError::CoordinatorLoadInProgress) => return Ok(()),
            found => found?.ok_or(ResponseError::UnknownMemberId)?,
        };
        let now = self.now();
        let mut group = cell.group.lock();
        if let Some(consumer) = &mut group.consumer {
            let beaten = consumer.classic_heartbeat(who, now);
            self.arm(&cell, &mut group);
            return beaten;
        }
        // A heartbeat only moves deadlines back, so timers stay as they are.
        group.heartbeat(who, now)
    }

    /// Members leave, each named by its id, its instance id or both. One result for each.
    pub fn leave(
        self: &Arc<Self>,
        group: &Arc<str>,
        members: &[(Arc<str>, Option<Arc<str>>)],
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        check_group_id(group)?;
        let Some(cell) = self.shard(group)?.get(group)? else {
            return Ok(vec![Err(ResponseError::UnknownMemberId); members.len()]);
        };
        if let Some(left) = self.leave_consumer(&cell, members) {
            return left;
        }
        self.with(&cell, |group, now| {
            if group.state == State::Dead {
                return Err(ResponseError::CoordinatorNotAvailable);
            }
            let left: Vec<_> =
                members.iter().map(|(member, instance)| group.leave(member, instance.as_ref())).collect();
            if left.iter().any(Result::is_ok) {
                group.members_left(now);
            }
            Ok(left)
        })
    }

    /// Commits offsets; returns when they are durable.
    pub async fn commit(
        self: &Arc<Self>,
        who: &Identity,
        offsets: Vec<(TopicPartition, OffsetValue)>,
    ) -> Result<(), ResponseError> {
        if who.group.len() > MAX_NAME_BYTES {
            return Err(ResponseError::InvalidGroupId);
        }
        let cell = if who.generation < 0 {
            self.find_or_create(&who.group)?
        } else {
            self.shard(&who.group)?.get(&who.group)?.ok_or(ResponseError::IllegalGeneration)?
        };
        let done = self.with(&cell, |group, now| {
            group.check_commit(who, now)?;
            if !group.has_room_for(&offsets) {
                return Err(ResponseError::InvalidCommitOffsetSize);
            }
            let record = |((topic, partition), value): &(TopicPartition, OffsetValue)| {
                let (group, topic) = (Arc::clone(&who.group), Arc::clone(topic));
                (Key::Offset { group, topic, partition: *partition }, Some(value.encode()))
            };
            let records = offsets.iter().map(record).collect();
            let partitions: Vec<_> = offsets.iter().map(|(partition, _)| partition.clone()).collect();
            let written = self.write(&cell, group, records, Change::Committed(offsets), now);
            if written.is_ok() {
                group.offsets.pending.release(partitions.iter());
            }
            written.map_err(|code| match code {
                ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge => {
                    ResponseError::InvalidCommitOffsetSize
                }
                other => other,
            })
        })?;
        finished(done).await
    }

    /// Deletes committed offsets; one result for each partition, when it is durable.
    pub async fn delete_offsets(
        self: &Arc<Self>,
        group: &Arc<str>,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        let cell = self.shard(group)?.get(group)?.ok_or(ResponseError::GroupIdNotFound)?;
        let (results, done) = self.with(&cell, |group, now| {
            group.check_offset_delete()?;
            let subscribed = group.subscribed();
            let allowed = |(topic, _): &TopicPartition| !subscribed.contains(topic);
            let result = |ok| if ok { Ok(()) } else { Err(ResponseError::GroupSubscribedToTopic) };
            let results: Vec<_> = partitions.iter().map(|partition| result(allowed(partition))).collect();
            let is_stored = |(topic, partition): &TopicPartition| group.offsets.get(topic, *partition).is_some();
            let gone: Vec<_> = partitions.into_iter().filter(|p| allowed(p) && is_stored(p)).collect();
            Ok((results, self.remove_offsets(&cell, group, gone, now)?))
        })?;
        if let Some(done) = done {
            finished(done).await?;
        }
        Ok(results)
    }

    /// Deletes a group without members, with its offsets; returns when that is durable.
    pub async fn delete_group(self: &Arc<Self>, id: &Arc<str>) -> Result<(), ResponseError> {
        check_group_id(id)?;
        let shard = self.shard(id)?;
        let cell = shard.get(id)?.ok_or(ResponseError::GroupIdNotFound)?;
        let done = self.with(&cell, |group, now| match group.state {
            // Just deleted, or being loaded again: the client's next attempt tells.
            State::Dead => Err(ResponseError::CoordinatorNotAvailable),
            State::Empty if group.consumer.as_ref().is_none_or(|consumer| consumer.is_empty()) => {
                self.delete(&cell, group, now)
            }
            _ => Err(ResponseError::NonEmptyGroup),
        })?;
        finished(done).await?;
        shard.forget(&cell);
        Ok(())
    }

    /// Writes the end of a group. Nothing is admitted to it from now on, so nothing can follow its tombstones.
    pub(super) fn delete(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        group: &mut Group,
        now: Now,
    ) -> Result<Done, ResponseError> {
        let mut records = offset_tombstones(&group.id, &group.partitions(|_| true));
        records.push((Key::Group { group: Arc::clone(&group.id) }, None));
        let mut records = encoded(records);
        if let Some(consumer) = &group.consumer {
            records.extend(consumer.tombstones().iter().map(|record| record.encode(&group.id)));
        }
        let done = self.write_encoded(cell, group, records, Change::Deleted, now)?;
        group.transition(State::Dead, now);
        Ok(done)
    }

    /// Writes tombstones for committed offsets; `None` when there is nothing to write.
    pub(super) fn remove_offsets(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        group: &mut Group,
        gone: Vec<TopicPartition>,
        now: Now,
    ) -> Result<Option<Done>, ResponseError> {
        // A dead group's offsets are deleted already, or looked after by its successor.
        if gone.is_empty() || group.state == State::Dead {
            return Ok(None);
        }
        let records = offset_tombstones(&group.id, &gone);
        let written = self.write(cell, group, records, Change::OffsetsRemoved(gone.clone()), now)?;
        group.offsets.pending.release(gone.iter());
        Ok(Some(written))
    }

    pub(super) fn now(&self) -> Now {
        Now { at: Instant::now(), wall_ms: self.clock.now_ms() }
    }

    pub(super) fn shard(&self, group: &str) -> Result<&Arc<Shard>, ResponseError> {
        let shards = self.shards.get().ok_or(ResponseError::CoordinatorLoadInProgress)?;
        let partition = partition_of(group, shards.len() as i32);
        shards.get(partition as usize).ok_or(ResponseError::CoordinatorNotAvailable)
    }

    fn find_member_group(&self, group: &Arc<str>) -> Result<Arc<Cell>, ResponseError> {
        self.shard(group)?.get(group)?.ok_or(ResponseError::UnknownMemberId)
    }

    pub(super) fn find_or_create(&self, group: &Arc<str>) -> Result<Arc<Cell>, ResponseError> {
        let shards = self.shards.get().ok_or(ResponseError::CoordinatorLoadInProgress)?;
        let shard = self.shard(group)?;
        if let Some(cell) = shard.get(group)? {
            return Ok(cell);
        }
        if shards.iter().map(|shard| shard.len()).sum::<usize>() >= MAX_GROUPS {
            tracing::warn!(%group, MAX_GROUPS, "no room for another group: delete groups that are not used");
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        shard.get_or_create(group, || {
            let mut fresh = Group::new(Arc::clone(group), Arc::clone(&self.settings), self.now());
            fresh.weigh(&self.held);
            Ok(fresh)
        })
    }

    /// Asks a group under its lock; then writes what it wants written, and sets its timer.
    pub(super) fn with<R>(self: &Arc<Self>, cell: &Arc<Cell>, ask: impl FnOnce(&mut Group, Now) -> R) -> R {
        let now = self.now();
        let mut group = cell.group.lock();
        let answer = ask(&mut group, now);
        self.store(cell, &mut group, now);
        self.arm(cell, &mut group);
        answer
    }

    /// Writes the metadata of a classic group, where it wants that.
    pub(super) fn store(self: &Arc<Self>, cell: &Arc<Cell>, group: &mut Group, now: Now) {
        while let Some(store) = group.to_store.pop() {
            let value = match &store {
                Store::Assignment { assignments, .. } => group.value(Some(assignments)),
                Store::Empty | Store::Replaced { .. } => group.value(None),
            };
            let record = (Key::Group { group: Arc::clone(&group.id) }, Some(value.encode()));
            // A refusal is told to whoever waits for the change.
            let _ = self.write(cell, group, vec![record], Change::Stored(store), now);
        }
    }

    /// After a change, before the lock is released: sets the group's timer when its next deadline comes earlier, and counts
    /// what the group holds.
    pub(super) fn arm(&self, cell: &Arc<Cell>, group: &mut Group) {
        if let Some(next) = group.next_deadline()
            && group.armed.is_none_or(|armed| next < armed)
        {
            group.armed = Some(next);
            self.timers.add(next, cell);
        }
        group.weigh(&self.held);
    }

    /// Appends a change's records, in batches of bounded size, and lets it take effect when they are durable.
    fn write(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        group: &mut Group,
        records: Vec<(Key, Option<Bytes>)>,
        change: Change,
        now: Now,
    ) -> Result<Done, ResponseError> {
        self.write_encoded(cell, group, encoded(records), change, now)
    }

    fn write_encoded(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        group: &mut Group,
        records: Vec<Encoded>,
        change: Change,
        now: Now,
    ) -> Result<Done, ResponseError> {
        let durable = self.append(cell, records, now);
        self.track(cell, group, durable, change, now)
    }

    /// Like [`Self::write`], in one batch: all or none of it is there after a crash.
    pub(super) fn write_at_once(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        group: &mut Group,
        records: Vec<Encoded>,
        change: Change,
        now: Now,
    ) -> Result<Done, ResponseError> {
        let record = |(key, value): Encoded| NewRecord { key: Some(key), value, timestamp: now.wall_ms };
        let batch: Vec<_> = records.into_iter().map(record).collect();
        let appended = self.log.append(cell.partition, &batch);
        let durable = appended.map_err(|error| self.append_failed(cell, &error));
        self.track(cell, group, durable, change, now)
    }

    /// Lets a change take effect when it is durable.
    pub(super) fn track(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        group: &mut Group,
        appended: Result<WhenDurable, ResponseError>,
        change: Change,
        now: Now,
    ) -> Result<Done, ResponseError> {
        let durable = match appended {
            Ok(durable) => durable,
            Err(code) => {
                change.failed(group, code, now);
                return Err(code);
            }
        };
        let took_effect = matches!(change, Change::Consumer);
        let number = group.appended(change);
        let (sender, receiver) = oneshot::channel();
        let (coordinator, cell) = (Arc::clone(self), Arc::clone(cell));
        self.tasks.spawn(async move {
            let result = match durable.await {
                Ok(()) => {
                    let ended = coordinator.with(&cell, |group, now| {
                        group.durable(number, now);
                        let ended = group.state == State::Dead && !group.has_in_flight();
                        ended.then(|| Arc::clone(&group.id))
                    });
                    // Whoever comes next finds a new group, also when nobody waits for this one's end.
                    if let Some(Ok(shard)) = ended.map(|id| coordinator.shard(&id)) {
                        shard.forget(&cell);
                    }
                    Ok(())
                }
                Err(error) => {
                    let code = coordinator.append_failed(&cell, &error);
                    if took_effect {
                        // The group is ahead of its log.
                        coordinator.reload(&cell);
                    }
                    Err(code)
                }
            };
            // The client may have gone.
            let _ = sender.send(result);
        });
        Ok(receiver)
    }

    fn append(&self, cell: &Cell, records: Vec<Encoded>, now: Now) -> Result<WhenDurable, ResponseError> {
        let mut durable: Option<WhenDurable> = None;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut records = records.into_iter().peekable();
        while let Some((key, value)) = records.next() {
            bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
            batch.push(NewRecord { key: Some(key), value, timestamp: now.wall_ms });
            if bytes < BATCH_BYTES && records.peek().is_some() {
                continue;
            }
            match self.log.append(cell.partition, &batch) {
                // The last batch is durable after all others.
                Ok(when) => durable = Some(when),
                Err(error) => {
                    let code = self.append_failed(cell, &error);
                    if durable.is_some() {
                        // A part is written: only the log knows what holds.
                        self.reload(cell);
                    }
                    return Err(code);
                }
            }
            batch.clear();
            bytes = 0;
        }
        Ok(durable.unwrap_or_else(|| Box::pin(async { Ok(()) })))
    }

    /// The answer to a failed append. When its outcome is unknown, the shard is loaded again.
    pub(super) fn append_failed(&self, cell: &Cell, error: &LogError) -> ResponseError {
        tracing::warn!(group = %cell.id, partition = cell.partition, %error, "a group's records could not be written");
        match error {
            LogError::Refused { code, .. } => *code,
            LogError::Store(StoreError::Rejected(_) | StoreError::Full(_)) => ResponseError::CoordinatorNotAvailable,
            _ => {
                self.reload(cell);
                ResponseError::NotCoordinator
            }
        }
    }

    fn reload(&self, cell: &Cell) {
        let mut failed = self.failed.lock();
        if !failed.contains(&(cell.partition, cell.epoch)) {
            failed.push((cell.partition, cell.epoch));
            self.failure.notify_one();
        }
    }

    /// How long after a failed loading the next attempt starts.
    pub(super) const RETRY: Duration = Duration::from_millis(200);
}

pub(super) async fn finished(done: Done) -> Result<(), ResponseError> {
    done.await.unwrap_or(Err(ResponseError::NotCoordinator))
}

pub(super) fn check_group_id(group: &str) -> Result<(), ResponseError> {
    if group.is_empty() || group.len() > MAX_NAME_BYTES { Err(ResponseError::InvalidGroupId) } else { Ok(()) }
}

fn encoded(records: Vec<(Key, Option<Bytes>)>) -> Vec<Encoded> {
    records.into_iter().map(|(key, value)| (key.encode(), value)).collect()
}

fn offset_tombstones(group: &Arc<str>, gone: &[TopicPartition]) -> Vec<(Key, Option<Bytes>)> {
    let key = |(topic, partition): &TopicPartition| Key::Offset {
        group: Arc::clone(group),
        topic: Arc::clone(topic),
        partition: *partition,
    };
    gone.iter().map(|partition| (key(partition), None)).collect()
}
