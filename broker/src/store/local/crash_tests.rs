//! Power cuts at random moments over the simulated disk: whatever was acknowledged must be there afterwards.

use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::fault::{Cheats, FaultFs};
use super::{Durability, LocalSettings, LocalStore};
use crate::clock::ManualClock;
use crate::store::conformance::{append, batch, bytes_of, new_id, options};
use crate::store::{Flush, Offset, PartitionId, PartitionStore, Read, StateEntry, Store, StoreError};

const SEGMENT_BYTES: u64 = 1500;

/// Kinds of changes, as the percentage at which each begins.
const APPEND: u32 = 0;
const WAIT: u32 = 66;
const CHECKPOINT: u32 = 76;
const TRIM: u32 = 84;
const ROLL: u32 = 88;
const REPLACE: u32 = 92;

/// One partition's acknowledged and attempted changes.
#[derive(Clone)]
struct Ledger {
    id: PartitionId,
    handle: Option<Arc<dyn PartitionStore>>,
    batches: Vec<(Offset, Offset, Bytes)>,
    /// The batches as an unfinished replacement would leave them.
    replaced: Option<Vec<(Offset, Offset, Bytes)>>,
    end: Offset,
    acknowledged: Offset,
    log_start: (Offset, Offset),
    /// (acknowledged, attempted) checkpoint, as (number, end).
    checkpoint: [(i64, Offset); 2],
    epoch: i32,
}

struct Machine {
    disk: FaultFs,
    durability: Durability,
    random: StdRng,
    store: Option<Arc<LocalStore>>,
    ledgers: Vec<Ledger>,
}

fn text(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

fn start(disk: &FaultFs, durability: Durability) -> Result<Arc<LocalStore>, StoreError> {
    let settings = LocalSettings { path: "/data".into(), durability, reserve_bytes: 0 };
    LocalStore::open(settings, disk.boot(), Arc::new(ManualClock::at(0)))
}

impl Ledger {
    async fn new(store: &LocalStore) -> Result<Self, String> {
        let id = new_id();
        store.create(id, options(SEGMENT_BYTES)).await.map_err(text)?;
        Ok(Self {
            id,
            handle: None,
            batches: vec![],
            replaced: None,
            end: 0,
            acknowledged: 0,
            log_start: (0, 0),
            checkpoint: [(0, 0); 2],
            epoch: 0,
        })
    }

    /// Opens the partition and compares it with what was acknowledged. Then the ledger is what was found.
    async fn check(&mut self, store: &LocalStore) -> Result<(), String> {
        let mut opened = store.open(self.id, options(SEGMENT_BYTES)).await;
        if let Err(StoreError::Unknown(_)) = opened {
            // The sync that fails once may have been one of the opening's own.
            opened = store.open(self.id, options(SEGMENT_BYTES)).await;
        }
        let (handle, loaded) = opened.map_err(text)?;
        let wrong =
            |what: &str| Err(format!("{what}: {loaded:?}, acknowledged {}, end {}", self.acknowledged, self.end));
        if loaded.leader_epoch <= self.epoch {
            return wrong("the epoch was used before");
        }
        if loaded.end < self.acknowledged || loaded.end > self.end {
            return wrong("the end is wrong");
        }
        if loaded.log_start < self.log_start.0 || loaded.log_start > self.log_start.1 {
            return wrong("the log start is wrong");
        }
        let number = loaded.state.first().map_or(0, |entry| i64::from(entry.value[0]) << 8 | i64::from(entry.value[1]));
        if !self.checkpoint.contains(&(number, loaded.state_end)) {
            return wrong("the state is neither of the two it may be");
        }
        let found = read(&*handle, loaded.log_start, loaded.end).await?;
        let kept = |batches: &[(Offset, Offset, Bytes)]| -> Vec<_> {
            let inside = |(_, last, _): &&(Offset, Offset, Bytes)| *last >= loaded.log_start && *last < loaded.end;
            batches.iter().filter(inside).cloned().collect()
        };
        let variants = [Some(kept(&self.batches)), self.replaced.as_deref().map(kept)];
        let bytes = |batches: &[(Offset, Offset, Bytes)]| -> Vec<u8> {
            batches.iter().flat_map(|(_, _, bytes)| bytes.to_vec()).collect()
        };
        let Some(batches) = variants.into_iter().flatten().find(|batches| bytes(batches) == found) else {
            return wrong("the bytes are wrong");
        };
        for chunk in handle.chunks() {
            let inside = batches.iter().rev().find(|(base, ..)| chunk.offsets.contains(base));
            if inside.is_some_and(|(base, ..)| *base != chunk.max_timestamp) {
                return wrong("a chunk does not know its largest timestamp");
            }
        }
        self.batches = batches;
        self.replaced = None;
        (self.end, self.acknowledged, self.epoch) = (loaded.end, loaded.end, loaded.leader_epoch);
        self.log_start = (loaded.log_start, loaded.log_start);
        self.checkpoint = [(number, loaded.state_end); 2];
        self.handle = Some(handle);
        Ok(())
    }

    /// One random change. Errors are what the disk did; the caller opens again.
    async fn change(&mut self, random: &mut StdRng) -> Result<(), StoreError> {
        let kind = random.random_range(0..100);
        self.change_of_kind(kind, random).await
    }

    async fn change_of_kind(&mut self, kind: u32, random: &mut StdRng) -> Result<(), StoreError> {
        let Some(handle) = self.handle.clone() else { return Ok(()) };
        match kind {
            APPEND..WAIT => {
                let (count, padding) = (random.random_range(1..4), random.random_range(0..300));
                let bytes = batch(self.end, count, self.end, padding);
                let flush = if random.random_bool(0.5) { Flush::Now } else { Flush::Soon };
                // Pushed first: a failed append may or may not be there afterwards.
                let last = self.end + i64::from(count) - 1;
                let base = self.end;
                self.batches.push((base, last, bytes.clone()));
                self.end = last + 1;
                if let Err(error) = append(&*handle, &bytes, flush) {
                    if matches!(error, StoreError::Rejected(_) | StoreError::Full(_)) {
                        self.batches.pop();
                        self.end = base;
                    }
                    return Err(error);
                }
            }
            WAIT..CHECKPOINT => {
                handle.flush();
                let end = self.end;
                let mut durable = handle.durable();
                let reached = durable.wait_for(|durable| durable.end >= end || durable.failed.is_some()).await;
                if let Some(reason) = reached.ok().and_then(|durable| durable.failed.clone()) {
                    return Err(StoreError::Unknown(reason));
                }
            }
            CHECKPOINT..TRIM => {
                if random.random_bool(0.3) {
                    handle.roll()?;
                }
                let end = random.random_range(self.checkpoint[0].1.max(self.log_start.0)..=self.end);
                let number = self.checkpoint[1].0 + 1;
                self.checkpoint[1] = (number, end);
                let value = Bytes::copy_from_slice(&(number as u16).to_be_bytes());
                handle.checkpoint(end, vec![StateEntry { key: Bytes::from_static(b"n"), value }]).await?;
                self.checkpoint[0] = (number, end);
            }
            TRIM..ROLL => {
                let to = random.random_range(self.log_start.1..=self.end);
                self.log_start.1 = to;
                handle.trim(to).await?;
                self.log_start.0 = to;
            }
            ROLL..REPLACE => handle.roll()?,
            _ => self.replace(&*handle, random).await?,
        }
        Ok(())
    }

    async fn replace(&mut self, handle: &dyn PartitionStore, random: &mut StdRng) -> Result<(), StoreError> {
        let closed: Vec<_> = handle.chunks().into_iter().filter(|chunk| chunk.closed).collect();
        if closed.is_empty() {
            return Ok(());
        }
        let last = random.random_range(0..closed.len());
        let first = if random.random_bool(0.7) { 0 } else { random.random_range(0..=last) };
        let range = closed[first].offsets.start..closed[last].offsets.end;
        let mut dropped = |base: &Offset| range.contains(base) && random.random_bool(0.4);
        let after: Vec<_> = self.batches.iter().filter(|(base, ..)| !dropped(base)).cloned().collect();
        let inside = after.iter().filter(|(base, ..)| range.contains(base));
        let new: Vec<_> = inside.map(|(_, _, bytes)| Ok(bytes.clone())).collect();
        self.replaced = Some(after);
        handle.replace(range, Box::new(new.into_iter())).await?;
        self.batches = self.replaced.take().unwrap_or_default();
        Ok(())
    }
}

async fn read(handle: &dyn PartitionStore, from: Offset, until: Offset) -> Result<Vec<u8>, String> {
    let (mut from, mut all) = (from, Vec::new());
    loop {
        let slice =
            handle.read(Read { from, until, max_bytes: 1000, at_least_one: true }).await.map_err(|e| e.to_string())?;
        if slice.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes_of(&slice));
        from = slice.next_offset;
    }
}

impl Machine {
    fn new(seed: u64, durability: Durability) -> Self {
        let disk = FaultFs::new(1 << 30);
        Self { disk, durability, random: StdRng::seed_from_u64(seed), store: None, ledgers: vec![] }
    }

    /// Starts the store again and compares everything.
    async fn restart(&mut self) -> Result<(), String> {
        let store = start(&self.disk, self.durability).map_err(text)?;
        for ledger in &mut self.ledgers {
            ledger.check(&store).await?;
        }
        self.store = Some(store);
        Ok(())
    }

    /// Random work, until the power goes or enough is done; then a crash.
    async fn run_until_crash(&mut self, operations: usize) -> Result<(), String> {
        let store = self.store.clone().ok_or("not started")?;
        let cut_at = self.random.random_bool(0.7).then(|| self.random.random_range(0..operations));
        if cut_at.is_none() && self.random.random_bool(0.5) {
            self.disk.fail_syncs(1);
        }
        for operation in 0..operations {
            let at = self.random.random_range(0..self.ledgers.len());
            let ledger = &mut self.ledgers[at];
            if cut_at == Some(operation) {
                // In the middle of one of the next operations.
                self.disk.cut_power_after(self.random.random_range(0..20));
            }
            let failed = ledger.change(&mut self.random).await.is_err();
            if failed && cut_at.is_some_and(|at| at <= operation) {
                break;
            }
            if failed || (cut_at.is_none() && self.random.random_bool(0.03)) {
                note_durable(ledger);
                ledger.check(&store).await.map_err(|error| format!("reopened: {error}"))?;
            }
        }
        // What is published by now is acknowledged.
        self.ledgers.iter_mut().for_each(note_durable);
        match self.random.random_bool(0.3) {
            true => self.disk.kill(),
            false => self.disk.crash(self.random.random()),
        }
        self.store = None;
        Ok(())
    }
}

fn note_durable(ledger: &mut Ledger) {
    if let Some(handle) = &ledger.handle {
        ledger.acknowledged = ledger.acknowledged.max(handle.durable().borrow().end);
    }
}

/// A machine's life with several crashes; an error when something acknowledged was lost.
async fn live(seed: u64, durability: Durability, cheats: Cheats, partitions: usize) -> Result<(), String> {
    let mut machine = Machine::new(seed, durability);
    machine.disk.cheat(cheats);
    machine.restart().await?;
    for _ in 0..partitions {
        let store = machine.store.clone().ok_or("not started")?;
        let mut ledger = Ledger::new(&store).await?;
        ledger.check(&store).await?;
        machine.ledgers.push(ledger);
    }
    for _ in 0..4 {
        machine.run_until_crash(40 * partitions.min(4)).await?;
        machine.restart().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost() {
    for seed in 0..200 {
        // Now and then so many partitions that flushes go through the whole volume.
        let partitions = if seed % 20 == 0 { 24 } else { 1 + seed as usize % 3 };
        if let Err(error) = live(seed, Durability::Fsync, Cheats::default(), partitions).await {
            panic!("seed {seed}: {error}");
        }
    }
}

/// Cuts the power after every single operation of one kind of change in turn.
async fn cut_everywhere_in(kind: u32) {
    // A replacement writes several segments before it commits.
    let operations = if kind == REPLACE { 64 } else { 20 };
    for operation in 0..operations {
        for seed in 0..2 {
            let mut machine = Machine::new(seed, Durability::Fsync);
            machine.restart().await.expect("started");
            let store = machine.store.clone().expect("started");
            let mut ledger = Ledger::new(&store).await.expect("created");
            ledger.check(&store).await.expect("opened");
            for _ in 0..18 {
                ledger.change_of_kind(APPEND, &mut machine.random).await.expect("appended");
            }
            ledger.change_of_kind(WAIT, &mut machine.random).await.expect("flushed");
            if kind == ROLL {
                // With the new segment's name still in the cache only.
                ledger.change_of_kind(ROLL, &mut machine.random).await.expect("rolled");
                ledger.check(&store).await.expect("opened again");
                ledger.change_of_kind(APPEND, &mut machine.random).await.expect("appended");
                ledger.change_of_kind(WAIT, &mut machine.random).await.expect("flushed");
            }
            if kind == REPLACE || kind == TRIM {
                // Index files first, so that the cuts are in the change itself.
                ledger.change_of_kind(CHECKPOINT, &mut machine.random).await.expect("checkpointed");
            }
            if kind == CHECKPOINT {
                let handle = ledger.handle.clone().expect("opened");
                handle.roll().expect("rolled");
            }
            machine.disk.cut_power_after(operation);
            // Whether it succeeds is up to the power; the ledger knows what either means.
            _ = ledger.change_of_kind(kind, &mut machine.random).await;
            note_durable(&mut ledger);
            for crash in 0..8 {
                let mut after = Machine::new(seed, Durability::Fsync);
                after.disk = machine.disk.fork();
                after.disk.crash(operation * 1000 + seed * 100 + crash);
                after.ledgers.push(ledger.clone());
                if let Err(error) = after.restart().await {
                    panic!("seed {seed}, cut after {operation}, crash {crash}: {error}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_anywhere_in_a_replacement_leaves_old_or_new() {
    cut_everywhere_in(REPLACE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_anywhere_in_a_trim_leaves_a_whole_log() {
    cut_everywhere_in(TRIM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_anywhere_in_a_checkpoint_leaves_old_or_new() {
    cut_everywhere_in(CHECKPOINT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_after_a_roll_and_a_reopening_loses_nothing() {
    cut_everywhere_in(ROLL).await;
}

#[tokio::test]
async fn bytes_that_only_the_page_cache_has_are_not_believed_after_a_kill() {
    for seed in 0..20 {
        let mut machine = Machine::new(seed, Durability::Fsync);
        machine.restart().await.expect("started");
        let store = machine.store.clone().expect("started");
        let mut ledger = Ledger::new(&store).await.expect("created");
        ledger.check(&store).await.expect("opened");
        machine.disk.fail_syncs(1);
        ledger.change_of_kind(APPEND, &mut machine.random).await.expect("appended");
        ledger.change_of_kind(WAIT, &mut machine.random).await.expect_err("the sync fails");
        machine.ledgers.push(ledger);
        drop(store);
        machine.disk.kill();
        machine.store = None;
        machine.restart().await.expect("started after the kill");
        machine.disk.crash(seed);
        machine.store = None;
        machine.restart().await.expect("what the second start showed is still there");
    }
}

/// Whether one of a few seeds shows the loss that this broken store must have.
async fn is_caught(durability: Durability, cheats: Cheats) -> bool {
    for seed in 1..40 {
        if live(seed, durability, cheats, 2).await.is_err() {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_skips_the_data_sync_is_caught() {
    assert!(is_caught(Durability::Fsync, Cheats { skip_data_sync: true, ..Cheats::default() }).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_skips_the_folder_sync_is_caught() {
    assert!(is_caught(Durability::Fsync, Cheats { skip_folder_sync: true, ..Cheats::default() }).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_answers_early_is_caught() {
    // Page-cache mode publishes the end at the write: exactly what must not happen otherwise.
    assert!(is_caught(Durability::PageCache, Cheats::default()).await);
}

#[tokio::test]
async fn a_folder_that_was_never_a_data_folder_starts() {
    let disk = FaultFs::new(1 << 30);
    for round in 0..30 {
        disk.cut_power_after(round);
        let started = start(&disk, Durability::Fsync);
        disk.crash(round);
        drop(started);
    }
    let store = start(&disk, Durability::Fsync).expect("an interrupted first start resumes");
    assert_eq!(store.list().await.expect("listed"), []);
}
