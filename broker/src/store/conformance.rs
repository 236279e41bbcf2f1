//! What every store must do, whatever holds the bytes: one suite for all of them.
//!
//! It sees stores only through the trait, so nothing here knows of files, segments' sizes or flush costs.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{
    Append, Flush, Offset, Opened, PartitionId, PartitionOptions, PartitionStore, Piece, Read, Slice, StateEntry,
    Store, StoreError,
};

/// Somewhere a store can live. Opened again after a close, it must show the same partitions.
pub trait Place: Send + Sync {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Store>>;
}

/// A valid, uncompressed batch with `count` empty records, and `padding` bytes that make it as large as a test wants.
pub fn batch(base_offset: Offset, count: i32, max_timestamp: i64, padding: usize) -> Bytes {
    let mut bytes = vec![0; 61];
    for delta in 0..count {
        let padding = if delta == 0 { padding } else { 0 };
        let mut record = vec![0];
        put_varint(&mut record, 0);
        put_varint(&mut record, i64::from(delta));
        put_varint(&mut record, -1);
        put_varint(&mut record, padding as i64);
        record.resize(record.len() + padding, base_offset as u8);
        put_varint(&mut record, 0);
        put_varint(&mut bytes, record.len() as i64);
        bytes.extend_from_slice(&record);
    }
    let length = bytes.len() as i32 - 12;
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[27..35].copy_from_slice(&max_timestamp.to_be_bytes());
    bytes[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
    bytes[43..57].fill(0xff);
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a batch of [`batch`] as somebody who waits at once, and returns its last offset.
pub fn append(handle: &dyn PartitionStore, bytes: &Bytes, flush: Flush) -> Result<Offset, StoreError> {
    let number = |range: Range<usize>| bytes[range].iter().fold(0, |number, byte| number << 8 | i64::from(*byte));
    let (base_offset, delta, max_timestamp) = (number(0..8), number(23..27), number(35..43));
    let parts = [&bytes[..30], &bytes[30..]];
    let delta_of_state = || vec![];
    let last_offset = base_offset + delta;
    handle.append(Append { base_offset, last_offset, max_timestamp, parts, delta: &delta_of_state }, flush)?;
    if flush == Flush::Now {
        handle.flush();
    }
    Ok(last_offset)
}

/// Waits until everything below `end` is durable. Panics when the handle fails first.
pub async fn wait_durable(handle: &dyn PartitionStore, end: Offset) {
    let mut durable = handle.durable();
    let reached = durable.wait_for(|durable| durable.end >= end || durable.failed.is_some()).await;
    assert!(reached.is_ok_and(|durable| durable.end >= end), "the handle failed before {end} was durable");
}

/// The bytes of a slice.
pub fn bytes_of(slice: &Slice) -> Vec<u8> {
    let mut all = Vec::new();
    for piece in &slice.pieces {
        match piece {
            Piece::Memory(bytes) => all.extend_from_slice(bytes),
            Piece::File(range) => {
                let mut bytes = vec![0; range.len];
                std::os::unix::fs::FileExt::read_exact_at(&*range.file, &mut bytes, range.position)
                    .expect("a range that was handed out can be read");
                all.extend_from_slice(&bytes);
            }
        }
    }
    all
}

/// Everything from `from` to `until`, read in portions of `max_bytes`.
pub async fn read_all(handle: &dyn PartitionStore, from: Offset, until: Offset, max_bytes: usize) -> Vec<u8> {
    let (mut from, mut all) = (from, Vec::new());
    loop {
        let slice = handle.read(Read { from, until, max_bytes, at_least_one: true }).await.expect("reading works");
        if slice.is_empty() {
            return all;
        }
        assert!(slice.next_offset > from, "reading goes forward");
        all.extend_from_slice(&bytes_of(&slice));
        from = slice.next_offset;
    }
}

/// Options with small chunks.
pub fn options(segment_bytes: u64) -> PartitionOptions {
    PartitionOptions { segment_bytes, segment_ms: i64::MAX, retention_ms: -1, compacted: false, internal: false }
}

pub fn new_id() -> PartitionId {
    PartitionId { topic: Uuid::new_v4(), index: 3 }
}

async fn created(store: &dyn Store, options: PartitionOptions) -> (PartitionId, Opened) {
    let id = new_id();
    store.create(id, options.clone()).await.expect("a partition can be created");
    (id, store.open(id, options).await.expect("and opened"))
}

/// Appends `batches` batches of two records and 100 bytes or so, each with its first offset as timestamp.
async fn fill(handle: &dyn PartitionStore, from: Offset, batches: i64) -> Vec<Bytes> {
    let made: Vec<_> = (0..batches).map(|n| batch(from + n * 2, 2, from + n * 2, 40)).collect();
    for batch in &made {
        append(handle, batch, Flush::Soon).expect("an append in order is accepted");
    }
    wait_durable(handle, from + batches * 2).await;
    made
}

fn entry(key: &str, value: &str) -> StateEntry {
    StateEntry { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::copy_from_slice(value.as_bytes()) }
}

/// Runs every check, each in a place of its own.
pub async fn run<P: Place>(make: impl Fn() -> P) {
    lifecycle(&make()).await;
    appending_and_reading(&make()).await;
    reading_within_bounds(&make()).await;
    durability_and_flush(&make()).await;
    time_look_up(&make()).await;
    trimming(&make()).await;
    an_empty_log_keeps_its_place(&make()).await;
    replacing(&make()).await;
    replacing_refuses(&make()).await;
    state_survives(&make()).await;
    changes_of_state_survive(&make()).await;
    an_earlier_handle_is_fenced(&make()).await;
    a_restart_shows_the_same(&make()).await;
    epochs_rise(&make()).await;
    setting_aside(&make()).await;
}

async fn lifecycle(place: &dyn Place) {
    let store = place.open().await;
    let id = new_id();
    assert!(matches!(store.open(id, options(1000)).await.err(), Some(StoreError::NotFound)));
    store.create(id, options(1000)).await.expect("created");
    assert!(matches!(store.create(id, options(1000)).await, Err(StoreError::Rejected(_))));
    assert_eq!(store.list().await.expect("listed"), [id]);
    let (handle, loaded) = store.open(id, options(1000)).await.expect("opened");
    assert_eq!((loaded.log_start, loaded.end, loaded.state_end), (0, 0, 0));
    assert!(loaded.state.is_empty());
    fill(&*handle, 0, 3).await;
    let before = handle.read(Read { from: 0, until: 6, max_bytes: 10_000, at_least_one: true }).await.expect("read");
    store.delete(id).await.expect("deleted");
    assert_eq!(store.list().await.expect("listed"), []);
    assert!(append(&*handle, &batch(6, 1, 0, 0), Flush::Now).is_err(), "the handle of a deleted partition is dead");
    assert!(!bytes_of(&before).is_empty(), "ranges handed out before stay readable");
    assert!(matches!(store.delete(id).await, Err(StoreError::NotFound)));
    assert!(store.space().total > 0);
    store.close().await.expect("closed");
}

async fn appending_and_reading(place: &dyn Place) {
    let store = place.open().await;
    let (_, (handle, _)) = created(&*store, options(1000)).await;
    let made = fill(&*handle, 0, 50).await;
    let all: Vec<u8> = made.concat();
    for max_bytes in [1, made[0].len(), 500, 1 << 20] {
        assert!(read_all(&*handle, 0, 100, max_bytes).await == all, "portions of {max_bytes} give the same bytes");
    }
    for from in 0..100 {
        let rest = made[from / 2..].concat();
        assert!(read_all(&*handle, from as Offset, 100, 1 << 20).await == rest, "from {from}, in a batch or not");
    }
    let wrong = [batch(99, 1, 0, 0), batch(101, 1, 0, 0)];
    for batch in wrong {
        assert!(matches!(append(&*handle, &batch, Flush::Now), Err(StoreError::Rejected(_))), "offsets have no gaps");
    }
    append(&*handle, &batch(100, 1, 0, 0), Flush::Now).expect("a rejected append leaves the handle usable");
    let chunks = handle.chunks();
    assert!(chunks.windows(2).all(|two| two[0].offsets.end == two[1].offsets.start && two[0].closed));
    assert_eq!(chunks.first().map(|chunk| chunk.offsets.start), Some(0));
    assert_eq!(chunks.last().map(|chunk| (chunk.offsets.end, chunk.closed)), Some((101, false)));
    store.close().await.expect("closed");
}

async fn reading_within_bounds(place: &dyn Place) {
    let store = place.open().await;
    let (_, (handle, _)) = created(&*store, options(100_000)).await;
    let made = fill(&*handle, 0, 200).await;
    let size = made[0].len();
    let read = |from, until, max_bytes, at_least_one| handle.read(Read { from, until, max_bytes, at_least_one });
    for from in [0, 3, 200, 390] {
        for count in [1, 2, 5] {
            let slice = read(from, 400, size * count + 7, false).await.expect("read");
            let first = (from / 2) as usize;
            assert!(bytes_of(&slice) == made[first..first + count].concat(), "{count} batches from {from}");
            assert_eq!(slice.next_offset, ((first + count) * 2) as Offset);
        }
        let none = read(from, 400, size - 1, false).await.expect("read");
        assert!(none.is_empty() && none.next_offset == from, "no batch is cut in two");
        assert_eq!(read(from, 400, 1, true).await.expect("read").len(), size, "but one may be too large");
    }
    // A batch that ends at or after `until` is not returned, not even as the first.
    for until in [0, 1] {
        assert!(read(0, until, 1 << 20, true).await.expect("read").is_empty());
    }
    assert_eq!(read(0, 2, 1 << 20, true).await.expect("read").next_offset, 2);
    for until in [101, 301, 399] {
        let slice = read(20, until, 1 << 20, true).await.expect("read");
        assert_eq!((slice.next_offset, slice.len()), (until - 1, size * ((until - 21) / 2) as usize));
    }
    let end = read(400, 500, 1 << 20, true).await.expect("read");
    assert!(end.is_empty() && end.next_offset == 400, "at the end there is nothing");
    store.close().await.expect("closed");
}

async fn durability_and_flush(place: &dyn Place) {
    let store = place.open().await;
    let (_, (handle, loaded)) = created(&*store, options(1000)).await;
    assert_eq!(handle.durable().borrow().end, loaded.end);
    for n in 0..20 {
        append(&*handle, &batch(n, 1, 0, 10), Flush::Now).expect("appended");
        if n % 5 == 4 {
            wait_durable(&*handle, n + 1).await;
        }
    }
    append(&*handle, &batch(20, 1, 0, 10), Flush::Soon).expect("appended");
    wait_durable(&*handle, 21).await;
    append(&*handle, &batch(21, 1, 0, 10), Flush::Soon).expect("appended");
    handle.flush();
    wait_durable(&*handle, 22).await;
    let durable = handle.durable().borrow().clone();
    assert!(durable.end == 22 && durable.failed.is_none(), "never beyond what was appended");
    handle.close().await.expect("closed");
    assert!(append(&*handle, &batch(22, 1, 0, 10), Flush::Now).is_err(), "a closed handle takes nothing");
    store.close().await.expect("closed");
}

async fn time_look_up(place: &dyn Place) {
    let store = place.open().await;
    let (_, (handle, _)) = created(&*store, options(2000)).await;
    assert_eq!(handle.seek_time(0).await.expect("sought"), None);
    // Timestamps rise, with one far ahead in the middle.
    for n in 0..100 {
        let timestamp = if n == 50 { 5000 } else { 1000 + n };
        append(&*handle, &batch(n, 1, timestamp, 60), Flush::Soon).expect("appended");
    }
    wait_durable(&*handle, 100).await;
    for (timestamp, first) in [(0, 0), (1000, 0), (1007, 7), (1049, 49), (1050, 50), (1080, 50), (5000, 50)] {
        let found = handle.seek_time(timestamp).await.expect("sought").expect("there is one");
        assert!(found <= first, "{timestamp} is at {first}, and reading on from {found} finds it");
    }
    assert_eq!(handle.seek_time(5001).await.expect("sought"), None);
    let max = handle.chunks().iter().map(|chunk| chunk.max_timestamp).max();
    assert_eq!(max, Some(5000));
    store.close().await.expect("closed");
}

async fn trimming(place: &dyn Place) {
    let store = place.open().await;
    let (id, (handle, _)) = created(&*store, options(500)).await;
    let made = fill(&*handle, 0, 30).await;
    let before: u64 = handle.chunks().iter().map(|chunk| chunk.bytes).sum();
    handle.trim(31).await.expect("trimmed");
    let after: u64 = handle.chunks().iter().map(|chunk| chunk.bytes).sum();
    assert!(after < before, "whole chunks below the log start are freed");
    assert!(read_all(&*handle, 31, 60, 1 << 20).await == made[15..].concat());
    assert!(read_all(&*handle, 0, 60, 1 << 20).await == made[15..].concat(), "nothing below the start is returned");
    handle.trim(10).await.expect("the log start never moves back");
    assert!(matches!(handle.trim(61).await, Err(StoreError::Rejected(_))), "nor beyond the end");
    let (handle, loaded) = store.open(id, options(500)).await.expect("opened again");
    assert_eq!((loaded.log_start, loaded.end), (31, 60));
    assert!(read_all(&*handle, 31, 60, 1 << 20).await == made[15..].concat());
    store.close().await.expect("closed");
}

async fn an_empty_log_keeps_its_place(place: &dyn Place) {
    let store = place.open().await;
    let (id, (handle, _)) = created(&*store, options(500)).await;
    fill(&*handle, 0, 30).await;
    handle.trim(60).await.expect("trimmed to the end");
    assert!(read_all(&*handle, 0, 60, 1 << 20).await.is_empty());
    let (_, loaded) = store.open(id, options(500)).await.expect("opened again");
    assert_eq!((loaded.log_start, loaded.end), (60, 60));
    store.close().await.expect("closed");
    drop((store, handle));
    let store = place.open().await;
    let (handle, loaded) = store.open(id, options(500)).await.expect("opened after a restart");
    assert_eq!((loaded.log_start, loaded.end), (60, 60));
    fill(&*handle, 60, 2).await;
    store.close().await.expect("closed");
}

/// Closed chunks from the first on, with their batches.
fn closed(handle: &dyn PartitionStore, count: usize) -> Range<Offset> {
    let chunks: Vec<_> = handle.chunks().into_iter().filter(|chunk| chunk.closed).collect();
    assert!(chunks.len() >= count, "the test needs {count} closed chunks");
    chunks[0].offsets.start..chunks[count - 1].offsets.end
}

async fn replacing(place: &dyn Place) {
    let store = place.open().await;
    let (id, (handle, _)) = created(&*store, options(400)).await;
    let made = fill(&*handle, 0, 30).await;
    handle.roll().expect("rolled");
    let range = closed(&*handle, 3);
    let (replaced, rest) = made.split_at((range.end / 2) as usize);
    let old = handle.read(Read { from: 0, until: range.end, max_bytes: 1 << 20, at_least_one: true }).await;
    let old_bytes = bytes_of(old.as_ref().expect("read"));
    // Every third batch stays.
    let kept: Vec<_> = replaced.iter().step_by(3).cloned().collect();
    handle.replace(range.clone(), Box::new(kept.clone().into_iter().map(Ok))).await.expect("replaced");
    let expected = [kept.concat(), rest.concat()].concat();
    assert!(read_all(&*handle, 0, 60, 1 << 20).await == expected);
    let in_gap = kept[1].clone();
    let slice = handle.read(Read { from: 3, until: 60, max_bytes: 1, at_least_one: true }).await.expect("read");
    assert!(bytes_of(&slice) == in_gap, "in a gap, reading goes on with the next batch");
    assert!(bytes_of(&old.expect("read")) == old_bytes, "ranges handed out before do not change");
    let chunks = handle.chunks();
    assert!(chunks.windows(2).all(|two| two[0].offsets.end == two[1].offsets.start));
    let (handle, loaded) = store.open(id, options(400)).await.expect("opened again");
    assert_eq!((loaded.log_start, loaded.end), (0, 60));
    assert!(read_all(&*handle, 0, 60, 1 << 20).await == expected);
    let range = closed(&*handle, 1);
    handle.replace(range.clone(), Box::new(std::iter::empty())).await.expect("nothing may stay");
    let left: Vec<_> = kept.iter().filter(|batch| batch[..8] >= range.end.to_be_bytes()[..]).cloned().collect();
    let expected = [left.concat(), rest.concat()].concat();
    assert!(read_all(&*handle, 0, 60, 1 << 20).await == expected);
    fill(&*handle, 60, 3).await;
    store.close().await.expect("closed");
    drop((store, handle));
    let store = place.open().await;
    let (handle, loaded) = store.open(id, options(400)).await.expect("opened after a restart");
    assert_eq!(loaded.end, 66);
    assert!(read_all(&*handle, 0, 60, 100).await == expected);
    store.close().await.expect("closed");
}

async fn replacing_refuses(place: &dyn Place) {
    let store = place.open().await;
    let (_, (handle, _)) = created(&*store, options(400)).await;
    let made = fill(&*handle, 0, 30).await;
    let range = closed(&*handle, 2);
    let replace = |range: Range<Offset>, batches: Vec<Result<Bytes, StoreError>>| {
        handle.replace(range, Box::new(batches.into_iter()))
    };
    let inside = range.start..range.end - 1;
    assert!(replace(inside, vec![]).await.is_err(), "only whole chunks");
    let swapped = vec![Ok(made[1].clone()), Ok(made[0].clone())];
    assert!(replace(range.clone(), swapped).await.is_err(), "only in order");
    assert!(replace(range.clone(), vec![Ok(made[29].clone())]).await.is_err(), "only these offsets");
    let broken = vec![Ok(made[0].clone()), Err(StoreError::Rejected("the source failed".into()))];
    assert!(replace(range, broken).await.is_err(), "an error of the source ends it");
    assert!(read_all(&*handle, 0, 60, 1 << 20).await == made.concat(), "and nothing has changed");
    fill(&*handle, 60, 1).await;
    store.close().await.expect("closed");
}

async fn state_survives(place: &dyn Place) {
    let store = place.open().await;
    let (id, (handle, _)) = created(&*store, options(400)).await;
    fill(&*handle, 0, 10).await;
    handle.checkpoint(20, vec![entry("a", "1"), entry("b", "2"), entry("gone", "")]).await.expect("checkpointed");
    fill(&*handle, 20, 2).await;
    handle.trim(5).await.expect("trimmed");
    let sorted = |mut entries: Vec<StateEntry>| {
        entries.sort_by(|one, two| one.key.cmp(&two.key));
        entries
    };
    let (handle, loaded) = store.open(id, options(400)).await.expect("opened again");
    // A store that takes changes of state with the batches has nothing to replay.
    assert!([20, 24].contains(&loaded.state_end) && loaded.end == 24);
    assert_eq!(sorted(loaded.state), [entry("a", "1"), entry("b", "2")]);
    handle.checkpoint(24, vec![entry("b", "3")]).await.expect("checkpointed");
    store.close().await.expect("closed");
    drop((store, handle));
    let store = place.open().await;
    let (_, loaded) = store.open(id, options(400)).await.expect("opened after a restart");
    assert_eq!((loaded.state_end, loaded.state), (24, vec![entry("b", "3")]));
    store.close().await.expect("closed");
}

async fn changes_of_state_survive(place: &dyn Place) {
    let store = place.open().await;
    let (id, (handle, _)) = created(&*store, options(400)).await;
    let append_with = |handle: &dyn PartitionStore, offset: Offset, delta: &dyn Fn() -> Vec<StateEntry>| {
        let bytes = batch(offset, 1, 0, 0);
        let parts = [&bytes[..61], &bytes[61..]];
        let append = Append { base_offset: offset, last_offset: offset, max_timestamp: 0, parts, delta };
        handle.append(append, Flush::Soon).expect("appended");
    };
    append_with(&*handle, 0, &|| vec![entry("a", "1"), entry("b", "1")]);
    append_with(&*handle, 1, &|| vec![entry("a", "2"), entry("c", "1")]);
    append_with(&*handle, 2, &|| vec![entry("b", ""), entry("c", "1")]);
    wait_durable(&*handle, 3).await;
    // What the log knew before the last append must not undo what that brought.
    handle.checkpoint(2, vec![entry("a", "2"), entry("b", "1"), entry("c", "1")]).await.expect("checkpointed");
    append_with(&*handle, 3, &|| vec![entry("d", "1")]);
    wait_durable(&*handle, 4).await;
    let check = |loaded: crate::store::Loaded| {
        let mut state = loaded.state;
        state.sort_by(|one, two| one.key.cmp(&two.key));
        match loaded.state_end {
            // The log replays the rest.
            2 => assert_eq!(state, [entry("a", "2"), entry("b", "1"), entry("c", "1")]),
            4 => assert_eq!(state, [entry("a", "2"), entry("c", "1"), entry("d", "1")]),
            other => panic!("{other} is neither what was checkpointed nor the end"),
        }
    };
    let (handle, loaded) = store.open(id, options(400)).await.expect("opened again");
    check(loaded);
    store.close().await.expect("closed");
    drop((store, handle));
    let store = place.open().await;
    check(store.open(id, options(400)).await.expect("opened after a restart").1);
    store.close().await.expect("closed");
}

async fn an_earlier_handle_is_fenced(place: &dyn Place) {
    let store = place.open().await;
    let (id, (first, _)) = created(&*store, options(400)).await;
    fill(&*first, 0, 5).await;
    append(&*first, &batch(10, 1, 0, 0), Flush::Soon).expect("appended");
    let (second, loaded) = store.open(id, options(400)).await.expect("opened again");
    assert!(matches!(append(&*first, &batch(11, 1, 0, 0), Flush::Now), Err(StoreError::Unknown(_))));
    assert!(first.trim(4).await.is_err());
    assert!(first.checkpoint(4, vec![]).await.is_err());
    assert!(first.roll().is_err());
    assert!(first.durable().borrow().failed.is_some(), "whoever waits learns of it");
    assert!(loaded.end == 10 || loaded.end == 11, "an append in flight may be there or not");
    fill(&*second, loaded.end, 2).await;
    store.close().await.expect("closed");
}

async fn a_restart_shows_the_same(place: &dyn Place) {
    let store = place.open().await;
    let (one, (handle, _)) = created(&*store, options(400)).await;
    let (two, _) = created(&*store, options(400)).await;
    let made = fill(&*handle, 0, 25).await;
    store.close().await.expect("closed");
    assert!(append(&*handle, &batch(50, 1, 0, 0), Flush::Now).is_err(), "the store is closed");
    drop((store, handle));
    let store = place.open().await;
    let mut listed = store.list().await.expect("listed");
    listed.sort();
    let mut expected = [one, two];
    expected.sort();
    assert_eq!(listed, expected);
    let (handle, loaded) = store.open(one, options(400)).await.expect("opened");
    assert_eq!((loaded.log_start, loaded.end), (0, 50));
    assert_eq!(handle.durable().borrow().end, 50);
    assert!(read_all(&*handle, 0, 50, 1 << 20).await == made.concat());
    assert_eq!(handle.chunks().iter().map(|chunk| chunk.max_timestamp).max(), Some(48));
    fill(&*handle, 50, 1).await;
    store.close().await.expect("closed");
}

async fn epochs_rise(place: &dyn Place) {
    let (mut last, mut before) = (-1, -1);
    let id = new_id();
    for start in 0..3 {
        let store = place.open().await;
        if start == 0 {
            store.create(id, options(400)).await.expect("created");
        }
        for _ in 0..2 {
            let (_, loaded) = store.open(id, options(400)).await.expect("opened");
            assert!(loaded.leader_epoch >= last, "no opening has a smaller epoch");
            assert!(loaded.leader_epoch > before, "one after a restart has a larger epoch");
            last = loaded.leader_epoch;
        }
        before = last;
        store.close().await.expect("closed");
    }
}

async fn setting_aside(place: &dyn Place) {
    let store = place.open().await;
    let (id, (handle, _)) = created(&*store, options(400)).await;
    fill(&*handle, 0, 2).await;
    assert!(!store.set_aside(id).await.expect("set aside").is_empty());
    assert!(append(&*handle, &batch(4, 1, 0, 0), Flush::Now).is_err());
    assert_eq!(store.list().await.expect("listed"), []);
    assert!(matches!(store.set_aside(id).await, Err(StoreError::NotFound)));
    store.close().await.expect("closed");
}
