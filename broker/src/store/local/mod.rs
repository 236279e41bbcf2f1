//! Partitions in segment files on one machine, in Kafka's own form.
//!
//! ```text
//! <data>/.lock                 held while a process uses the folder
//! <data>/leader-epoch          raised once per start
//! <data>/clean-shutdown        only between a clean stop and the next start
//! <data>/partitions/<topic uuid>-<index>/
//!     <base offset>.log        record batches, verbatim
//!     <base offset>.index      sparse offset index of a closed segment; can be rebuilt
//!     <base offset>.timeindex  sparse time index of a closed segment; can be rebuilt
//!     <base offset>.<end>.cut  what recovery cut from the end
//!     state                    log start, checkpoint, and the caller's state
//! <data>/strays/               partitions that nobody knew
//! ```

mod batch;
mod crew;
mod flush;
mod folders;
pub mod fs;
mod gathering;
mod index;
mod partition;
mod reading;
mod recovery;
mod reserve;
mod segment;
mod state;
mod upkeep;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
pub mod fault;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use uuid::Uuid;

use self::crew::CREW;
use self::flush::Flusher;
use self::folders::{create_blocking, move_away, open_blocking, prepare, remove_folder};
use self::fs::{FileSystem, Volume};
use self::partition::LocalPartition;
use self::reserve::Reserve;
use self::segment::OpenSegments;
#[cfg(fuzzing)]
pub use self::state::fuzz as fuzz_files;
use super::{Opened, PartitionId, PartitionOptions, PartitionStore, Space, Store, StoreError};
use crate::clock::Clock;

const PARTITIONS: &str = "partitions";
const STRAYS: &str = "strays";
const LEADER_EPOCH: &str = "leader-epoch";
const CLEAN_SHUTDOWN: &str = "clean-shutdown";
/// Extensions of folders that are being made or deleted.
const NEW: &str = ".new";
const DELETED: &str = ".deleted";

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The bytes are on the disk.
    Fsync,
    /// The bytes are in the page cache, as with Kafka's defaults: they survive the process, not the machine.
    PageCache,
}

/// How a local store is set up.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// The data folder; made when missing.
    pub path: PathBuf,
    pub durability: Durability,
    /// Client records are refused when less than this is free (bytes).
    pub reserve_bytes: u64,
}

/// Shared by the store, its partitions and its threads.
struct Shared {
    data: PathBuf,
    fs: Arc<dyn FileSystem>,
    volume: Arc<dyn Volume>,
    clock: Arc<dyn Clock>,
    durability: Durability,
    reserve: Reserve,
    flusher: Flusher,
    open_segments: OpenSegments,
    /// The newest that was given out.
    leader_epoch: Mutex<i32>,
    started_clean: bool,
}

/// What outlives the handles of one partition.
#[derive(Default)]
struct Slot {
    /// Held by whoever changes the partition's files other than by appending.
    structure: Mutex<()>,
    opened: Mutex<LastOpening>,
}

#[derive(Default)]
struct LastOpening {
    handle: Option<Arc<LocalPartition>>,
    /// The last opening by this process, 0 before.
    leader_epoch: i32,
}

impl LastOpening {
    /// It was opened and is neither open nor closed in order.
    fn is_broken(&self) -> bool {
        self.leader_epoch > 0 && self.handle.is_none()
    }
}

/// The store in a data folder.
pub struct LocalStore {
    shared: Arc<Shared>,
    slots: Mutex<HashMap<PartitionId, Arc<Slot>>>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

fn unknown(text: impl Display) -> StoreError {
    StoreError::Unknown(text.to_string().into())
}

fn refuse(text: impl Display) -> StoreError {
    StoreError::Rejected(text.to_string().into())
}

/// Runs work that waits for the disk outside the async workers.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(unknown(format_args!("the operation did not finish: {error}"))),
    }
}

fn folder_name(id: PartitionId) -> String {
    format!("{}-{}", id.topic, id.index)
}

fn partition_of(name: &str) -> Option<PartitionId> {
    let (topic, index) = name.rsplit_once('-')?;
    let id = PartitionId { topic: Uuid::try_parse(topic).ok()?, index: index.parse().ok()? };
    // Only the one spelling that a folder of ours has.
    (folder_name(id) == name).then_some(id)
}

/// The name of a folder that is being made or deleted.
fn is_passing(name: &str) -> bool {
    name.ends_with(NEW) || name.ends_with(DELETED)
}

impl LocalStore {
    /// Takes the data folder, exclusively, and prepares it. Blocks for a few flushes.
    pub fn open(
        settings: LocalSettings,
        fs: Arc<dyn FileSystem>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StoreError> {
        let LocalSettings { path, durability, reserve_bytes } = settings;
        let failed = |error: io::Error| unknown(format_args!("the data folder {}: {error}", path.display()));
        fs.create_dir(&path).map_err(failed)?;
        let volume = fs.volume(&path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => refuse(format_args!(
                "the data folder {} is in use by another process; stop that one, or give this one its own folder",
                path.display()
            )),
            _ => failed(error),
        })?;
        let (started_clean, leader_epoch) = prepare(&*fs, &*volume, &path)?;
        let shared = Arc::new(Shared {
            data: path.clone(),
            fs,
            volume,
            clock,
            durability,
            reserve: Reserve::new(reserve_bytes),
            flusher: Flusher::default(),
            open_segments: OpenSegments::default(),
            leader_epoch: Mutex::new(leader_epoch),
            started_clean,
        });
        let threads = start_threads(&shared).map_err(failed)?;
        Ok(Arc::new(Self { shared, slots: Mutex::default(), threads: Mutex::new(threads) }))
    }

    /// Names who is told how long each flush took.
    pub fn observe_flushes(&self, observer: impl Fn(std::time::Duration) + Send + Sync + 'static) {
        self.shared.flusher.observe(Box::new(observer));
    }

    fn partitions(&self) -> PathBuf {
        self.shared.data.join(PARTITIONS)
    }

    fn folder(&self, id: PartitionId) -> PathBuf {
        self.partitions().join(folder_name(id))
    }

    fn slot(&self, id: PartitionId) -> Arc<Slot> {
        self.slots.lock().entry(id).or_default().clone()
    }
}

fn start_threads(shared: &Arc<Shared>) -> io::Result<Vec<thread::JoinHandle<()>>> {
    let start = |name: &str, run: fn(&Shared)| {
        let shared = shared.clone();
        thread::Builder::new().name(name.into()).spawn(move || run(&shared))
    };
    let mut threads = vec![
        start("flush", |shared| shared.flusher.run(&*shared.volume))?,
        start("upkeep", |shared| shared.flusher.run_upkeep())?,
    ];
    for _ in 0..CREW {
        threads.push(start("flush-crew", |shared| shared.flusher.crew.run(|flush| shared.flusher.flush_one(flush)))?);
    }
    Ok(threads)
}

impl Store for LocalStore {
    fn create(&self, id: PartitionId, _options: PartitionOptions) -> BoxFuture<'_, Result<(), StoreError>> {
        let (shared, slot, folder) = (self.shared.clone(), self.slot(id), self.folder(id));
        blocking(move || {
            let _structure = slot.structure.lock();
            create_blocking(&*shared.fs, &folder)
        })
        .boxed()
    }

    fn open(&self, id: PartitionId, options: PartitionOptions) -> BoxFuture<'_, Result<Opened, StoreError>> {
        let (shared, slot, folder) = (self.shared.clone(), self.slot(id), self.folder(id));
        blocking(move || open_blocking(shared, slot, folder, options)).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<PartitionId>, StoreError>> {
        let (shared, folder) = (self.shared.clone(), self.partitions());
        blocking(move || {
            let names = shared.fs.read_dir(&folder).map_err(|error| unknown(format_args!("listing: {error}")))?;
            let (ours, others): (Vec<_>, Vec<_>) =
                names.iter().filter(|name| !is_passing(name)).partition(|name| partition_of(name).is_some());
            others
                .iter()
                .for_each(|name| tracing::warn!(folder = %folder.display(), name, "not a partition, left alone"));
            Ok(ours.iter().filter_map(|name| partition_of(name)).collect())
        })
        .boxed()
    }

    fn delete(&self, id: PartitionId) -> BoxFuture<'_, Result<(), StoreError>> {
        let (fs, slot, folder) = (self.shared.fs.clone(), self.slot(id), self.folder(id));
        async move {
            let partitions = self.partitions();
            blocking(move || {
                let away = folder.with_added_extension(&DELETED[1..]);
                move_away(&*fs, &slot, &folder, &away, [&partitions, &partitions])?;
                remove_folder(&*fs, &away).unwrap_or_else(|error| {
                    tracing::warn!(folder = %away.display(), %error, "will be removed at the next start");
                });
                Ok(())
            })
            .await?;
            self.slots.lock().remove(&id);
            Ok(())
        }
        .boxed()
    }

    fn set_aside(&self, id: PartitionId) -> BoxFuture<'_, Result<String, StoreError>> {
        let (fs, slot, folder) = (self.shared.fs.clone(), self.slot(id), self.folder(id));
        let (partitions, strays) = (self.partitions(), self.shared.data.join(STRAYS));
        let data = self.shared.data.clone();
        async move {
            let place = blocking(move || {
                let prepare = || -> io::Result<PathBuf> {
                    fs.create_dir(&strays)?;
                    fs.sync_dir(&data)?;
                    let taken = fs.read_dir(&strays)?;
                    let names = (0..).map(|count| format!("{}.{count}", folder_name(id)));
                    let free = names.into_iter().find(|name| !taken.contains(name));
                    Ok(strays.join(free.expect("of endless names one is free")))
                };
                let place = prepare().map_err(|error| unknown(format_args!("{}: {error}", strays.display())))?;
                move_away(&*fs, &slot, &folder, &place, [&strays, &partitions])?;
                Ok(place.display().to_string())
            })
            .await?;
            self.slots.lock().remove(&id);
            Ok(place)
        }
        .boxed()
    }

    fn space(&self) -> Space {
        self.shared.volume.space().unwrap_or_else(|error| {
            tracing::warn!(%error, "asking for the free space failed");
            Space { free: 0, total: 0 }
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let slots: Vec<_> = self.slots.lock().values().cloned().collect();
            let handles: Vec<_> = slots.iter().filter_map(|slot| slot.opened.lock().handle.clone()).collect();
            // A partition whose opening failed is not in order; the next start has to look.
            let mut result = match slots.iter().any(|slot| slot.opened.lock().is_broken()) {
                true => Err(unknown("a partition could not be opened, so this is no clean shutdown")),
                false => Ok(()),
            };
            let open = handles.iter().filter(|handle| !handle.is_closed());
            for closed in futures_util::future::join_all(open.map(|handle| handle.close())).await {
                result = result.and(closed);
            }
            let (shared, data) = (self.shared.clone(), self.shared.data.clone());
            let threads = std::mem::take(&mut *self.threads.lock());
            blocking(move || {
                shared.flusher.stop();
                threads.into_iter().for_each(|thread| _ = thread.join());
                // Whatever still changes files finishes first.
                slots.iter().for_each(|slot| drop(slot.structure.lock()));
                let marked = result.and_then(|()| {
                    let marker = data.join(CLEAN_SHUTDOWN);
                    let mark = shared.fs.create(&marker).and_then(|file| file.sync_data());
                    mark.and_then(|()| shared.fs.sync_dir(&data))
                        .map_err(|error| unknown(format_args!("{}: {error}", marker.display())))
                });
                shared.volume.unlock();
                marked
            })
            .await
        }
        .boxed()
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.shared.flusher.stop();
        for slot in self.slots.lock().values() {
            if let Some(handle) = slot.opened.lock().handle.take() {
                handle.fail("the store is closed");
            }
        }
        // The lock goes with the last handle or thread, so that nobody else starts while one still writes.
    }
}
