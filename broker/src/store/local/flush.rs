//! Group commit: one flush at a time makes appended bytes durable for all partitions.
//!
//! When none runs, whoever waits starts one at once; while it runs, further appends gather for the next. Where flushes
//! are brief, the one who waits flushes in their own thread, because handing over to the flusher thread and back takes as
//! long as such a flush. What becomes durable is captured before the flush starts.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::crew::Crew;
use super::fs::{DataFile, Volume};
use super::gathering::Gathering;
use super::partition::LocalPartition;
use super::state::Mark;

/// How long records that nobody waits for may stay unflushed. Consumers see them only afterwards, so it is an upper
/// bound of their latency; much shorter and a stream of acks=0 appends would flush all the time.
const SOON: Duration = Duration::from_millis(10);
/// The same when durable ends do not wait for flushes: only bounds what a power cut takes.
const PAGE_CACHE: Duration = Duration::from_secs(1);
/// From so many dirty partitions on, one syncfs costs less than a flush for each.
const VOLUME_SYNC_FROM: usize = 17;

/// Flushes count as brief below this. An async worker that flushes itself serves nobody meanwhile, so it is of the order
/// of what a hand-over between threads costs, and a disk that turns slow is left to the flusher thread at once.
const BRIEF: Duration = Duration::from_micros(300);
/// More partitions than this are left to the flusher thread.
const FEW: usize = 4;

/// How urgently a partition wants its flush. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    None,
    /// Whoever waits is about to say so.
    Awaited,
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

/// A partition's part of a round.
pub(super) struct Flush {
    partition: Arc<LocalPartition>,
    captured: Captured,
}

#[derive(Default)]
struct Queue {
    dirty: Vec<Arc<LocalPartition>>,
    /// Partitions whose closed segments want index files and a newer checkpoint.
    upkeep: Vec<Arc<LocalPartition>>,
    due: Option<Instant>,
    gathering: Gathering,
    /// Somebody flushes: there is one round at a time.
    flushing: bool,
    stopped: bool,
}

impl Queue {
    fn round_begins(&mut self) {
        self.due = None;
        self.flushing = true;
        self.gathering.round_begins();
    }
}

/// Shared by partitions (who ask) and the threads (who do).
#[derive(Default)]
pub(super) struct Flusher {
    queue: Mutex<Queue>,
    wake: Condvar,
    wake_upkeep: Condvar,
    /// Helps with rounds of more than one partition.
    pub(super) crew: Crew<Flush>,
    /// How long a round takes (ns), with the last ones counting most.
    usual: AtomicU64,
    /// Told how long each round took.
    observer: OnceLock<Box<dyn Fn(Duration) + Send + Sync>>,
}

impl Flusher {
    /// Puts a partition into the next round; `queued` says whether it is in one already.
    pub(super) fn request(&self, partition: &Arc<LocalPartition>, newly_queued: bool, urgency: Urgency) {
        let now = Instant::now();
        let due = match urgency {
            Urgency::Now | Urgency::None => Some(now),
            Urgency::Soon => Some(now + SOON),
            Urgency::Background => Some(now + PAGE_CACHE),
            Urgency::Awaited => None,
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
        if let Some(due) = due {
            self.set_due(&mut queue, due);
        }
    }

    fn set_due(&self, queue: &mut Queue, due: Instant) {
        if queue.due.is_none_or(|earlier| due < earlier) {
            queue.due = Some(due);
            if !queue.flushing {
                self.wake.notify_one();
            }
        }
    }

    /// The next round is due; it may still wait for others who are expected.
    fn set_due_now(&self, queue: &mut Queue) {
        let now = Instant::now();
        match queue.due {
            // The thread may be waiting for the last one of them.
            Some(due) if due <= now && !queue.flushing && queue.gathering.waits_until(now).is_none() => {
                self.wake.notify_one();
            }
            _ => self.set_due(queue, now),
        }
    }

    /// Flushes what is queued, for somebody who waits: here, or in the next round of the thread.
    pub(super) fn flush_now(&self, volume: &dyn Volume) {
        let mut queue = self.queue.lock();
        queue.gathering.ask();
        // None: another thread is about to queue what is to be flushed.
        let few = (1..=FEW).contains(&queue.dirty.len());
        if queue.flushing || queue.stopped || !few || !self.may_flush_here() {
            return self.set_due_now(&mut queue);
        }
        let round = std::mem::take(&mut queue.dirty);
        queue.round_begins();
        drop(queue);
        self.round(volume, &round);
        self.round_ended();
    }

    fn may_flush_here(&self) -> bool {
        let multi_threaded = |handle: Handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread;
        self.usual() < BRIEF && Handle::try_current().is_ok_and(multi_threaded)
    }

    fn usual(&self) -> Duration {
        Duration::from_nanos(self.usual.load(Ordering::Relaxed))
    }

    fn round(&self, volume: &dyn Volume, round: &[Arc<LocalPartition>]) {
        let began = Instant::now();
        self.flush(volume, round);
        let took = began.elapsed();
        let usual = self.usual.load(Ordering::Relaxed);
        self.usual.store((usual * 7 + took.as_nanos() as u64) / 8, Ordering::Relaxed);
        if let Some(observer) = self.observer.get() {
            observer(took);
        }
    }

    fn round_ended(&self) {
        let usual = Some(self.usual()).filter(|usual| *usual >= BRIEF);
        let mut queue = self.queue.lock();
        queue.flushing = false;
        queue.gathering.round_ended(Instant::now(), usual);
        if queue.due.is_some() || queue.stopped {
            self.wake.notify_one();
        }
    }

    /// Ends all threads. Nothing that is still queued becomes durable.
    pub(super) fn stop(&self) {
        let mut queue = self.queue.lock();
        queue.stopped = true;
        let left: Vec<_> = queue.dirty.drain(..).collect();
        queue.upkeep.clear();
        self.wake.notify_all();
        self.wake_upkeep.notify_all();
        drop(queue);
        self.crew.stop();
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
            self.round(volume, &round);
            round.clear();
            self.round_ended();
        }
    }

    /// Waits until a flush is due, and takes everything that is dirty. False when stopped.
    fn next_round(&self, round: &mut Vec<Arc<LocalPartition>>) -> bool {
        let mut queue = self.queue.lock();
        loop {
            let now = Instant::now();
            match queue.due {
                _ if queue.stopped => return false,
                _ if queue.flushing => self.wake.wait(&mut queue),
                Some(due) if due <= now => match queue.gathering.waits_until(now) {
                    Some(until) => _ = self.wake.wait_until(&mut queue, until),
                    None => break,
                },
                Some(due) => _ = self.wake.wait_until(&mut queue, due),
                None => self.wake.wait(&mut queue),
            }
        }
        queue.round_begins();
        std::mem::swap(&mut queue.dirty, round);
        true
    }

    fn flush(&self, volume: &dyn Volume, round: &[Arc<LocalPartition>]) {
        let captured =
            |partition: &Arc<LocalPartition>| Flush { partition: partition.clone(), captured: partition.capture() };
        let flushes: Vec<_> = round.iter().map(captured).collect();
        if flushes.len() < VOLUME_SYNC_FROM {
            return self.crew.work_off(flushes, |flush| self.flush_one(flush));
        }
        match volume.sync() {
            Ok(()) => flushes.iter().for_each(|flush| self.done(flush)),
            Err(error) => {
                // The error is told once and may concern any file, so everyone with unflushed bytes fails.
                let reason = format!("flushing the data volume failed: {error}");
                let gathered: Vec<_> = self.queue.lock().dirty.clone();
                round.iter().chain(&gathered).for_each(|partition| partition.fail(&reason));
            }
        }
    }

    /// Also what a thread of the crew does.
    pub(super) fn flush_one(&self, flush: Flush) {
        match sync_files(&flush.partition, &flush.captured) {
            Ok(()) => self.done(&flush),
            Err(error) => {
                flush.partition.fail(&format!("flushing {} failed: {error}", flush.partition.folder().display()));
            }
        }
    }

    fn done(&self, Flush { partition, captured }: &Flush) {
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
