//! Group commit: one thread makes appended bytes durable for all partitions.
//!
//! When it is idle, a waiting append starts a flush at once; while a flush runs, further appends gather for the next.
//! What becomes durable is captured before the flush starts.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::fs::{DataFile, Volume};
use super::partition::LocalPartition;
use super::state::Mark;

/// How long records that nobody waits for may stay unflushed. Consumers see them only afterwards, so it is an upper
/// bound of their latency; much shorter and a stream of acks=0 appends would flush all the time.
const SOON: Duration = Duration::from_millis(10);
/// The same when durable ends do not wait for flushes: only bounds what a power cut takes.
const PAGE_CACHE: Duration = Duration::from_secs(1);
/// From so many dirty partitions on, one syncfs costs less than a flush for each.
const VOLUME_SYNC_FROM: usize = 17;

/// How urgently a partition wants its flush. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    None,
    Background,
    Soon,
    Now,
}

/// What one partition wants flushed, captured before the flush.
pub(super) struct Captured {
    pub(super) files: Vec<Arc<dyn DataFile>>,
    /// New segment files whose names are not durable yet.
    pub(super) folder: bool,
    /// Durable up to here when the flush succeeds.
    pub(super) mark: Mark,
    /// Segments were closed: their indexes want writing.
    pub(super) rolled: bool,
}

#[derive(Default)]
struct Queue {
    dirty: Vec<Arc<LocalPartition>>,
    /// Partitions whose closed segments want index files and a newer checkpoint.
    upkeep: Vec<Arc<LocalPartition>>,
    due: Option<Instant>,
    stopped: bool,
}

/// Shared by partitions (who ask) and the two threads (who do).
#[derive(Default)]
pub(super) struct Flusher {
    queue: Mutex<Queue>,
    wake: Condvar,
    wake_upkeep: Condvar,
    /// Told how long each round took.
    observer: OnceLock<Box<dyn Fn(Duration) + Send + Sync>>,
}

impl Flusher {
    /// Puts a partition into the next round; `queued` says whether it is in one already.
    pub(super) fn request(&self, partition: &Arc<LocalPartition>, newly_queued: bool, urgency: Urgency) {
        let now = Instant::now();
        let due = match urgency {
            Urgency::Now | Urgency::None => now,
            Urgency::Soon => now + SOON,
            Urgency::Background => now + PAGE_CACHE,
        };
        let mut queue = self.queue.lock();
        if queue.stopped {
            drop(queue);
            partition.fail("the store is closed");
            return;
        }
        if newly_queued {
            queue.dirty.push(partition.clone());
        }
        if queue.due.is_none_or(|earlier| due < earlier) {
            queue.due = Some(due);
            self.wake.notify_one();
        }
    }

    /// Ends both threads. Nothing that is still queued becomes durable.
    pub(super) fn stop(&self) {
        let mut queue = self.queue.lock();
        queue.stopped = true;
        let left: Vec<_> = queue.dirty.drain(..).collect();
        queue.upkeep.clear();
        self.wake.notify_all();
        self.wake_upkeep.notify_all();
        drop(queue);
        left.iter().for_each(|partition| partition.fail("the store is closed"));
    }

    /// Names who is told how long each round took; the first one stays.
    pub(super) fn observe(&self, observer: Box<dyn Fn(Duration) + Send + Sync>) {
        _ = self.observer.set(observer);
    }

    /// The flusher thread.
    pub(super) fn run(&self, volume: &dyn Volume) {
        let mut round = Vec::new();
        while self.next_round(&mut round) {
            let began = Instant::now();
            self.flush(volume, &round);
            if let Some(observer) = self.observer.get() {
                observer(began.elapsed());
            }
            round.clear();
        }
    }

    /// Waits until a flush is due, and takes everything that is dirty. False when stopped.
    fn next_round(&self, round: &mut Vec<Arc<LocalPartition>>) -> bool {
        let mut queue = self.queue.lock();
        loop {
            match queue.due {
                _ if queue.stopped => return false,
                Some(due) if due <= Instant::now() => break,
                Some(due) => _ = self.wake.wait_until(&mut queue, due),
                None => self.wake.wait(&mut queue),
            }
        }
        queue.due = None;
        std::mem::swap(&mut queue.dirty, round);
        true
    }

    fn flush(&self, volume: &dyn Volume, round: &[Arc<LocalPartition>]) {
        let captured: Vec<_> = round.iter().map(|partition| (partition, partition.capture())).collect();
        if captured.len() >= VOLUME_SYNC_FROM {
            match volume.sync() {
                Ok(()) => captured.into_iter().for_each(|(partition, captured)| self.done(partition, &captured)),
                Err(error) => {
                    // The error is told once and may concern any file, so everyone with unflushed bytes fails.
                    let reason = format!("flushing the data volume failed: {error}");
                    let gathered: Vec<_> = self.queue.lock().dirty.clone();
                    round.iter().chain(&gathered).for_each(|partition| partition.fail(&reason));
                }
            }
            return;
        }
        for (partition, captured) in captured {
            match sync_files(partition, &captured) {
                Ok(()) => self.done(partition, &captured),
                Err(error) => partition.fail(&format!("flushing {} failed: {error}", partition.folder().display())),
            }
        }
    }

    fn done(&self, partition: &Arc<LocalPartition>, captured: &Captured) {
        partition.flushed(captured.mark);
        if captured.rolled {
            let mut queue = self.queue.lock();
            if !queue.stopped && !queue.upkeep.iter().any(|queued| Arc::ptr_eq(queued, partition)) {
                queue.upkeep.push(partition.clone());
                self.wake_upkeep.notify_one();
            }
        }
    }

    /// The thread that writes indexes of closed segments, so that recovery scans little.
    pub(super) fn run_upkeep(&self) {
        loop {
            let partition = {
                let mut queue = self.queue.lock();
                loop {
                    if queue.stopped {
                        return;
                    }
                    if let Some(partition) = queue.upkeep.pop() {
                        break partition;
                    }
                    self.wake_upkeep.wait(&mut queue);
                }
            };
            if let Err(error) = partition.update_state(|_| {}) {
                tracing::warn!(folder = %partition.folder().display(), %error, "checkpointing a partition failed");
            }
        }
    }
}

fn sync_files(partition: &LocalPartition, captured: &Captured) -> io::Result<()> {
    captured.files.iter().try_for_each(|file| file.sync_data())?;
    match captured.folder {
        true => partition.sync_folder(),
        false => Ok(()),
    }
}
