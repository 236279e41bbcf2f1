//! The local store on real files, and what a sick disk does to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::fault::FaultFs;
use super::fs::RealFs;
use super::{Durability, LocalSettings, LocalStore, folder_name};
use crate::clock::ManualClock;
use crate::store::conformance::{self, Place, append, batch, bytes_of, new_id, options, read_all, wait_durable};
use crate::store::{Flush, Opened, PartitionId, PartitionStore, Read, Store, StoreError};

fn settings(folder: &TempDir) -> LocalSettings {
    LocalSettings { path: folder.path().join("data"), durability: Durability::Fsync, reserve_bytes: 0 }
}

fn open(settings: LocalSettings) -> Arc<LocalStore> {
    LocalStore::open(settings, Arc::new(RealFs), Arc::new(ManualClock::at(1_000_000))).expect("the folder is free")
}

fn temp() -> TempDir {
    TempDir::new().expect("a temporary folder can be made")
}

struct OnFiles(TempDir, Durability);

impl Place for OnFiles {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        let settings = LocalSettings { durability: self.1, ..settings(&self.0) };
        async move { open(settings) as Arc<dyn Store> }.boxed()
    }
}

struct OnFaultDisk(FaultFs);

impl Place for OnFaultDisk {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Store>> {
        async move { on_disk(&self.0, 0) as Arc<dyn Store> }.boxed()
    }
}

fn on_disk(disk: &FaultFs, reserve_bytes: u64) -> Arc<LocalStore> {
    let settings = LocalSettings { path: "/data".into(), durability: Durability::Fsync, reserve_bytes };
    LocalStore::open(settings, disk.boot(), Arc::new(ManualClock::at(0))).expect("the simulated folder is free")
}

async fn created(store: &LocalStore, segment_bytes: u64) -> (PartitionId, Opened) {
    let id = new_id();
    store.create(id, options(segment_bytes)).await.expect("created");
    (id, store.open(id, options(segment_bytes)).await.expect("opened"))
}

/// Appends one-record batches until the log ends at `to`, and waits until they are durable.
async fn fill(handle: &dyn PartitionStore, from: i64, to: i64) -> Vec<Bytes> {
    let made: Vec<_> = (from..to).map(|offset| batch(offset, 1, offset, 50)).collect();
    for batch in &made {
        append(handle, batch, Flush::Soon).expect("appended");
    }
    handle.flush();
    wait_durable(handle, to).await;
    made
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = entries.filter(|path| path.extension().is_some_and(|is| is == extension)).collect();
    found.sort();
    found
}

#[tokio::test]
async fn conforms() {
    conformance::run(|| OnFiles(temp(), Durability::Fsync)).await;
}

#[tokio::test]
async fn conforms_in_page_cache_mode() {
    conformance::run(|| OnFiles(temp(), Durability::PageCache)).await;
}

#[tokio::test]
async fn conforms_on_the_simulated_disk() {
    conformance::run(|| OnFaultDisk(FaultFs::new(1 << 30))).await;
}

#[tokio::test]
async fn what_the_page_cache_has_is_not_flushed_for_those_who_wait() {
    let folder = temp();
    let store = open(LocalSettings { durability: Durability::PageCache, ..settings(&folder) });
    let rounds = Arc::new(AtomicUsize::new(0));
    let counted = rounds.clone();
    store.observe_flushes(move |_| _ = counted.fetch_add(1, Ordering::Relaxed));
    let (_, (handle, _)) = created(&store, 1 << 20).await;
    for offset in 0..200 {
        append(&*handle, &batch(offset, 1, offset, 50), Flush::Now).expect("appended");
        handle.flush();
        wait_durable(&*handle, offset + 1).await;
    }
    let rounds = rounds.load(Ordering::Relaxed);
    assert!(rounds <= 20, "{rounds} flushes for 200 batches that nobody waits for; one in a second is meant");
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let folder = temp();
    let store = open(settings(&folder));
    let second = LocalStore::open(settings(&folder), Arc::new(RealFs), Arc::new(ManualClock::at(0)));
    let Err(StoreError::Rejected(text)) = second.map(|_| ()) else { panic!("two stores share a folder") };
    assert!(text.contains("in use by another process"), "{text}");
    drop(store);
    // The threads of the first let go in their own time.
    for _ in 0..100 {
        if LocalStore::open(settings(&folder), Arc::new(RealFs), Arc::new(ManualClock::at(0))).is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the lock is never given back");
}

/// Closes a store as a killed process does.
async fn kill(store: Arc<LocalStore>, handle: Arc<dyn PartitionStore>) {
    let threads = std::mem::take(&mut *store.threads.lock());
    drop((store, handle));
    for thread in threads {
        thread.join().expect("the threads end");
    }
}

#[tokio::test]
async fn a_cut_log_recovers_to_an_exact_prefix() {
    let folder = temp();
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..30 {
        let store = open(settings(&folder));
        let (id, (handle, _)) = created(&store, 1 << 20).await;
        let made = fill(&*handle, 0, 60).await;
        kill(store, handle).await;
        let place = folder.path().join("data/partitions").join(folder_name(id));
        // Without a roll, a checkpoint or a close, everything is past the checkpoint.
        let log = files(&place, "log").pop().expect("a segment");
        let len = fs::metadata(&log).expect("metadata").len();
        let to = random.random_range(0..len);
        let file = fs::OpenOptions::new().write(true).open(&log).expect("opened");
        file.set_len(to).expect("cut");
        let store = open(settings(&folder));
        let (handle, loaded) = store.open(id, options(1 << 20)).await.expect("a torn tail is no damage");
        let size = made[0].len() as u64;
        let base: i64 = log.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).expect("a base offset");
        assert_eq!(loaded.end, base + (to / size) as i64, "round {round}: every whole batch is kept");
        let kept = made[..loaded.end as usize].concat();
        assert!(read_all(&*handle, 0, loaded.end, 1 << 20).await == kept, "round {round}: an exact prefix");
        let torn: u64 = files(&place, "cut").iter().map(|cut| fs::metadata(cut).expect("metadata").len()).sum();
        assert_eq!(torn, to % size, "round {round}: what was cut is kept beside the log");
        fill(&*handle, loaded.end, loaded.end + 5).await;
        store.delete(id).await.expect("deleted");
        store.close().await.expect("closed");
    }
}

#[tokio::test]
async fn batches_out_of_place_are_cut() {
    let folder = temp();
    let store = open(settings(&folder));
    let (id, (handle, _)) = created(&store, 1 << 20).await;
    let made = fill(&*handle, 0, 3).await;
    kill(store, handle).await;
    let log = folder.path().join("data/partitions").join(folder_name(id)).join("00000000000000000000.log");
    let stale = [made.concat(), batch(7, 1, 0, 0).to_vec()].concat();
    fs::write(&log, stale).expect("written");
    let store = open(settings(&folder));
    let (_, loaded) = store.open(id, options(1 << 20)).await.expect("opened");
    assert_eq!(loaded.end, 3, "a whole batch with the wrong offset does not belong to the log");
    store.close().await.expect("closed");
}

#[tokio::test]
async fn damage_below_the_checkpoint_takes_the_partition_offline() {
    let disk = FaultFs::new(1 << 30);
    let store = on_disk(&disk, 0);
    let (bad, (handle, _)) = created(&store, 1 << 20).await;
    let (good, (other, _)) = created(&store, 1 << 20).await;
    let made = fill(&*handle, 0, 20).await;
    fill(&*other, 0, 20).await;
    handle.checkpoint(20, vec![]).await.expect("checkpointed");
    disk.crash(1);
    let log = Path::new("/data/partitions").join(folder_name(bad)).join("00000000000000000000.log");
    disk.flip_byte(&log, made[0].len() * 7 + 70).expect("flipped");
    let store = on_disk(&disk, 0);
    let Err(StoreError::Corrupt(text)) = store.open(bad, options(1 << 20)).await.map(|_| ()) else {
        panic!("damaged records were believed")
    };
    assert!(text.contains("below the checkpoint"), "{text}");
    assert_eq!(store.open(good, options(1 << 20)).await.expect("the others go on").1.end, 20);
    assert!(store.close().await.is_err(), "and the next start has to look again");
}

#[tokio::test]
async fn a_full_disk_refuses_and_leaves_no_garbage() {
    let disk = FaultFs::new(1 << 30);
    let store = on_disk(&disk, 0);
    let (id, (handle, _)) = created(&store, 1 << 20).await;
    let mut made = fill(&*handle, 0, 10).await;
    let used = (1 << 30) - store.space().free;
    disk.set_total(used + 70);
    for _ in 0..3 {
        assert!(matches!(append(&*handle, &batch(10, 1, 10, 50), Flush::Now), Err(StoreError::Full(_))));
    }
    assert!(read_all(&*handle, 0, 99, 1 << 20).await == made.concat());
    disk.set_total(1 << 30);
    made.extend(fill(&*handle, 10, 15).await);
    disk.crash(5);
    let store = on_disk(&disk, 0);
    let (handle, loaded) = store.open(id, options(1 << 20)).await.expect("opened");
    assert_eq!(loaded.end, 15);
    assert!(read_all(&*handle, 0, 15, 1 << 20).await == made.concat());
}

#[tokio::test]
async fn the_reserve_is_kept_for_the_broker_itself() {
    let disk = FaultFs::new(100_000);
    let store = on_disk(&disk, 50_000);
    let (_, (client, _)) = created(&store, 1 << 20).await;
    let internal = new_id();
    let own = crate::store::PartitionOptions { internal: true, ..options(1 << 20) };
    store.create(internal, own.clone()).await.expect("created");
    let (own, _) = store.open(internal, own).await.expect("opened");
    let mut offset = 0;
    let refused = loop {
        match append(&*client, &batch(offset, 1, 0, 1000), Flush::Soon) {
            Ok(_) => offset += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full(_)), "{refused}");
    assert!((40..50).contains(&offset), "half of the disk was to be used, not {offset} KB");
    assert!(store.space().free >= 50_000);
    append(&*own, &batch(0, 1, 0, 1000), Flush::Now).expect("the broker's own records still go in");
    client.roll().expect("rolled");
    client.trim(offset).await.expect("and retention works");
    append(&*client, &batch(offset, 1, 0, 1000), Flush::Now).expect("with space, clients go on");
}

#[tokio::test]
async fn a_failed_sync_fences_and_is_not_retried_into_success() {
    let disk = FaultFs::new(1 << 30);
    let store = on_disk(&disk, 0);
    let (id, (handle, first)) = created(&store, 1 << 20).await;
    let made = fill(&*handle, 0, 10).await;
    disk.fail_syncs(1);
    append(&*handle, &batch(10, 1, 10, 50), Flush::Now).expect("the write itself works");
    let mut durable = handle.durable();
    let failed = durable.wait_for(|durable| durable.failed.is_some()).await.expect("told").clone();
    assert_eq!(failed.end, 10, "nothing more is acknowledged");
    assert!(matches!(append(&*handle, &batch(11, 1, 11, 50), Flush::Now), Err(StoreError::Unknown(_))));
    handle.flush();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(handle.durable().borrow().end, 10, "the retried sync succeeds, and proves nothing");
    let (handle, loaded) = store.open(id, options(1 << 20)).await.expect("recovered");
    assert!(loaded.leader_epoch > first.leader_epoch);
    assert_eq!(loaded.end, 10, "what the disk never got is not shown");
    fill(&*handle, 10, 12).await;
    disk.crash(3);
    let store = on_disk(&disk, 0);
    let (handle, loaded) = store.open(id, options(1 << 20)).await.expect("opened");
    assert_eq!(loaded.end, 12);
    assert!(read_all(&*handle, 0, 10, 1 << 20).await == made.concat());
}

#[tokio::test]
async fn a_failed_volume_sync_fences_everyone_who_waits() {
    let disk = FaultFs::new(1 << 30);
    let store = on_disk(&disk, 0);
    let mut handles = vec![];
    for _ in 0..30 {
        handles.push(created(&store, 1 << 20).await.1.0);
    }
    disk.hold_syncs(true);
    append(&*handles[0], &batch(0, 1, 0, 0), Flush::Now).expect("appended");
    until(|| disk.waiting_syncs() == 1).await;
    for handle in &handles[1..] {
        append(&**handle, &batch(0, 1, 0, 0), Flush::Now).expect("appended");
    }
    disk.fail_syncs(2);
    disk.hold_syncs(false);
    for handle in &handles {
        let mut durable = handle.durable();
        let told = durable.wait_for(|durable| durable.failed.is_some() || durable.end > 0).await.expect("told").clone();
        assert_eq!((told.end, told.failed.is_some()), (0, true));
    }
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it never happened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_brief_flush_is_done_by_whoever_waits() {
    let disk = FaultFs::new(1 << 30);
    let store = on_disk(&disk, 0);
    // Not on the thread that the test blocks, which is no worker.
    let appended = tokio::spawn(async move {
        let (_, (handle, _)) = created(&store, 1 << 20).await;
        append(&*handle, &batch(0, 1, 0, 0), Flush::Now).expect("appended");
        let durable = handle.durable().borrow().end;
        (handle, durable, store)
    });
    let (handle, durable, _store) = appended.await.expect("no panic");
    assert_eq!(durable, 1, "no other thread was waited for");
    disk.hold_syncs(true);
    let flushing = tokio::task::spawn_blocking({
        let handle = handle.clone();
        move || append(&*handle, &batch(1, 1, 0, 0), Flush::Now)
    });
    until(|| disk.waiting_syncs() == 1).await;
    append(&*handle, &batch(2, 1, 0, 0), Flush::Now).expect("appended, and not stuck behind the other's flush");
    disk.hold_syncs(false);
    flushing.await.expect("no panic").expect("appended");
    wait_durable(&*handle, 3).await;
}

#[tokio::test]
async fn durable_ends_are_captured_before_the_flush_begins() {
    let disk = FaultFs::new(1 << 30);
    let store = on_disk(&disk, 0);
    let (id, (handle, _)) = created(&store, 1 << 20).await;
    disk.hold_syncs(true);
    append(&*handle, &batch(0, 1, 0, 0), Flush::Now).expect("appended");
    until(|| disk.waiting_syncs() == 1).await;
    append(&*handle, &batch(1, 1, 0, 0), Flush::Now).expect("appended");
    // The sync in flight is the last thing that works.
    disk.cut_power_after(1);
    disk.hold_syncs(false);
    let mut durable = handle.durable();
    let last = durable.wait_for(|durable| durable.failed.is_some()).await.expect("told").clone();
    assert_eq!(last.end, 1, "what was appended during the flush is not durable by it");
    disk.crash(0);
    let store = on_disk(&disk, 0);
    assert!(store.open(id, options(1 << 20)).await.expect("opened").1.end >= 1);
}

#[tokio::test]
async fn nothing_is_appended_while_closing() {
    let disk = FaultFs::new(1 << 30);
    let store = on_disk(&disk, 0);
    let (id, (handle, _)) = created(&store, 1 << 20).await;
    disk.hold_syncs(true);
    append(&*handle, &batch(0, 1, 0, 0), Flush::Now).expect("appended");
    let closing = tokio::spawn({
        let handle = handle.clone();
        async move { handle.close().await }
    });
    until(|| matches!(handle.roll(), Err(StoreError::Rejected(_)))).await;
    let late = append(&*handle, &batch(1, 1, 0, 0), Flush::Now);
    assert!(matches!(late, Err(StoreError::Rejected(_))), "it would be synced by nobody: {late:?}");
    disk.hold_syncs(false);
    closing.await.expect("it ends").expect("closed");
    store.close().await.expect("a clean stop");
    let store = on_disk(&disk, 0);
    assert_eq!(store.open(id, options(1 << 20)).await.expect("opened").1.end, 1);
}

#[tokio::test]
async fn indexes_are_rebuilt_when_missing_or_damaged() {
    let folder = temp();
    let store = open(settings(&folder));
    let (id, (handle, _)) = created(&store, 20_000).await;
    let made = fill(&*handle, 0, 600).await;
    let chunks = handle.chunks();
    store.close().await.expect("closed");
    drop((store, handle));
    let place = folder.path().join("data/partitions").join(folder_name(id));
    let (offsets, times) = (files(&place, "index"), files(&place, "timeindex"));
    assert!(offsets.len() >= 3 && offsets.len() == times.len(), "closed segments have index files");
    fs::remove_file(&offsets[0]).expect("removed");
    fs::write(&offsets[1], [0xff; 24]).expect("written");
    fs::write(&times[2], b"short").expect("written");
    fs::write(place.join("active-index"), b"nonsense").expect("written");
    let store = open(settings(&folder));
    let (handle, loaded) = store.open(id, options(20_000)).await.expect("opened");
    assert_eq!(loaded.end, 600);
    assert_eq!(handle.chunks(), chunks);
    for from in (0..600).step_by(37) {
        let slice = handle.read(Read { from, until: 600, max_bytes: 1, at_least_one: true }).await.expect("read");
        assert!(bytes_of(&slice) == made[from as usize]);
        let sought = handle.seek_time(from).await.expect("sought").expect("there is one");
        assert!(sought <= from && from - sought < 100, "{from} is near {sought}");
    }
    store.close().await.expect("closed");
}

#[tokio::test]
async fn old_segments_are_closed_by_age() {
    let folder = temp();
    let clock = Arc::new(ManualClock::at(1_000_000));
    let store = LocalStore::open(settings(&folder), Arc::new(RealFs), clock.clone()).expect("opened");
    let id = new_id();
    let options = crate::store::PartitionOptions { segment_ms: 1000, ..options(1 << 20) };
    store.create(id, options.clone()).await.expect("created");
    let (handle, _) = store.open(id, options).await.expect("opened");
    for (offset, chunks) in [(0, 1), (1, 1), (2, 2)] {
        append(&*handle, &batch(offset, 1, 0, 0), Flush::Soon).expect("appended");
        assert_eq!(handle.chunks().len(), chunks);
        clock.advance(600);
    }
    store.close().await.expect("closed");
}

#[tokio::test]
async fn a_start_without_its_epoch_file_is_refused() {
    let folder = temp();
    let store = open(settings(&folder));
    assert!(!folder.path().join("data/clean-shutdown").exists());
    store.close().await.expect("closed");
    assert!(folder.path().join("data/clean-shutdown").exists(), "a clean stop leaves its mark");
    fs::remove_file(folder.path().join("data/leader-epoch")).expect("removed");
    let started = LocalStore::open(settings(&folder), Arc::new(RealFs), Arc::new(ManualClock::at(0)));
    assert!(matches!(started.err(), Some(StoreError::Corrupt(_))), "epochs would be given out twice");
}

#[tokio::test]
async fn strays_keep_their_bytes() {
    let folder = temp();
    let store = open(settings(&folder));
    let (id, (handle, _)) = created(&store, 1 << 20).await;
    let made = fill(&*handle, 0, 5).await;
    fs::create_dir(folder.path().join("data/partitions/lost+found")).expect("made");
    assert_eq!(store.list().await.expect("listed"), [id], "other folders are left alone");
    let place = store.set_aside(id).await.expect("set aside");
    let log = Path::new(&place).join("00000000000000000000.log");
    assert!(fs::read(log).expect("still there") == made.concat());
    store.close().await.expect("closed");
}

#[test]
fn partition_folders_have_one_spelling() {
    let id = new_id();
    assert_eq!(super::partition_of(&folder_name(id)), Some(id));
    for name in ["x", "a-1", &folder_name(id).to_uppercase(), &format!("{}-+1", id.topic), &format!("{}-01", id.topic)]
    {
        assert_eq!(super::partition_of(name), None, "{name}");
    }
}
