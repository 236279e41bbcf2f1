//! The log above a store in memory, rule by rule.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use kafka_protocol::ResponseError;
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use super::codec::{Codec, compress};
use super::header::{Attributes, BatchHeader};
use super::memory::MemoryStore;
use super::records::{NewRecord, build, read_records};
use super::*;
use crate::clock::{Clock, ManualClock};
use crate::store::local::fs::RealFs;
use crate::store::local::{Durability, LocalSettings, LocalStore};
use crate::store::{PartitionId, Store};

pub(super) const NOW: i64 = 1_700_000_000_000;

pub(super) struct Rig {
    pub(super) store: Arc<MemoryStore>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) logs: Arc<Logs>,
    pub(super) id: PartitionId,
    pub(super) config: Arc<LogConfig>,
}

impl Rig {
    pub(super) async fn new(config: LogConfig) -> (Self, Arc<Partition>) {
        let store = Arc::new(MemoryStore::default());
        let clock = Arc::new(ManualClock::at(NOW));
        let logs = Logs::new(Arc::clone(&store) as Arc<dyn Store>, Arc::clone(&clock) as Arc<dyn Clock>);
        let id = PartitionId { topic: Uuid::from_u128(1), index: 0 };
        let rig = Self { store, clock, logs, id, config: Arc::new(config) };
        let partition = rig.logs.open(id, Arc::clone(&rig.config), true).await.unwrap();
        (rig, partition)
    }

    /// As after a crash: new objects over what the store kept.
    pub(super) async fn restart(&mut self) -> Arc<Partition> {
        self.logs = Logs::new(Arc::clone(&self.store) as Arc<dyn Store>, Arc::clone(&self.clock) as Arc<dyn Clock>);
        self.logs.open(self.id, Arc::clone(&self.config), false).await.unwrap()
    }
}

pub(super) fn record(key: &str, value: &str, timestamp: i64) -> NewRecord {
    let bytes = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
    NewRecord { key: bytes(key), value: bytes(value), timestamp }
}

/// A batch as a client would send it, after `change`.
pub(super) fn batch_of(records: &[NewRecord], codec: Codec, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let (mut header, body) = build(records);
    let body = compress(codec, &body).unwrap();
    header.attributes = Attributes::new(codec, false);
    change(&mut header);
    header.seal(&body);
    Bytes::from([&header.encode()[..], &body].concat())
}

pub(super) fn plain_batch(count: usize) -> Bytes {
    let records: Vec<_> = (0..count).map(|index| record("key", &format!("value {index}"), NOW)).collect();
    batch_of(&records, Codec::None, |_| {})
}

pub(super) fn produced(producer: i64, epoch: i16, sequence: i32, count: usize) -> Bytes {
    let records: Vec<_> = (0..count).map(|index| record("key", &format!("value {index}"), NOW)).collect();
    batch_of(&records, Codec::None, |header| {
        (header.producer_id, header.producer_epoch, header.base_sequence) = (producer, epoch, sequence);
    })
}

fn code<T: std::fmt::Debug>(result: Result<T, LogError>) -> ResponseError {
    result.unwrap_err().code()
}

async fn values(partition: &Partition, from: i64) -> Vec<String> {
    let fetched = partition.fetch(from, usize::MAX, true, Isolation::ReadUncommitted).await.unwrap();
    let records = read_records(read_slice(fetched.slice).await.unwrap()).unwrap();
    records.iter().map(|record| String::from_utf8_lossy(record.value.as_ref().unwrap()).into_owned()).collect()
}

#[tokio::test]
async fn what_was_appended_is_fetched_with_its_offsets() {
    let (_, partition) = Rig::new(LogConfig::default()).await;
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = batch_of(&[record("a", "1", NOW), record("b", "2", NOW)], codec, |_| {});
        let mut appended = partition.append(batch, Acks::All).unwrap();
        appended.durable().await.unwrap();
        assert!(!appended.duplicate);
        assert_eq!(appended.log_append_time, -1);
    }
    let fetched = partition.fetch(3, usize::MAX, true, Isolation::ReadCommitted).await.unwrap();
    let records = read_records(read_slice(fetched.slice).await.unwrap()).unwrap();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), (2..10).collect::<Vec<_>>());
    assert_eq!(fetched.bounds, Bounds { log_start: 0, last_stable: 10, high_watermark: 10, log_end: 10 });
}

#[tokio::test]
async fn a_flush_is_asked_for_by_whoever_waits_and_when_nobody_does_after_all() {
    let (_, partition) = Rig::new(LogConfig::default()).await;
    let mut first = partition.append(plain_batch(1), Acks::All).unwrap();
    let second = partition.append(plain_batch(1), Acks::All).unwrap();
    assert_eq!(partition.bounds().high_watermark, 0, "both share the flush");
    first.durable().await.unwrap();
    assert_eq!(partition.bounds().high_watermark, 2);
    let third = partition.append(plain_batch(1), Acks::All).unwrap();
    drop((second, third));
    assert_eq!(partition.bounds().high_watermark, 3, "the client went away, the records did not");
}

#[tokio::test]
async fn readers_see_nothing_that_is_not_durable() {
    let (rig, partition) = Rig::new(LogConfig::default()).await;
    partition.append(plain_batch(2), Acks::All).unwrap();
    rig.store.hold();
    partition.append(plain_batch(3), Acks::Leader).unwrap();
    assert_eq!(values(&partition, 0).await.len(), 2);
    assert_eq!(values(&partition, 2).await.len(), 0);
    assert_eq!(values(&partition, 4).await.len(), 0);
    assert_eq!(partition.bounds().log_end, 5);
    assert_eq!(partition.read_all(0, usize::MAX).await.unwrap().next_offset, 5);
    assert_eq!(code(partition.fetch(6, 1, true, Isolation::ReadUncommitted).await), ResponseError::OffsetOutOfRange);
    let mut watch = partition.watch();
    rig.store.release();
    watch.changed().await.unwrap();
    assert_eq!(values(&partition, 2).await.len(), 3);
}

#[tokio::test]
async fn fetching_honours_bytes_and_yields_at_least_one_batch() {
    let (_, partition) = Rig::new(LogConfig::default()).await;
    let len = plain_batch(1).len();
    for _ in 0..3 {
        partition.append(plain_batch(1), Acks::All).unwrap();
    }
    let fetch = |max, one| partition.fetch(0, max, one, Isolation::ReadUncommitted);
    assert_eq!(fetch(len * 2 + 1, false).await.unwrap().slice.len(), len * 2);
    assert_eq!(fetch(1, true).await.unwrap().slice.len(), len);
    assert_eq!(fetch(1, false).await.unwrap().slice.len(), 0);
}

#[tokio::test]
async fn a_failed_handle_is_reopened_without_reusing_durable_offsets() {
    let (rig, partition) = Rig::new(LogConfig::default()).await;
    let mut kept = partition.append(plain_batch(2), Acks::All).unwrap();
    kept.durable().await.unwrap();
    rig.store.hold();
    let mut lost = partition.append(plain_batch(3), Acks::All).unwrap();
    let epoch = partition.leader_epoch();
    rig.store.fail_opens(2);
    rig.store.fail_handle(rig.id);
    assert_eq!(code(lost.durable().await), ResponseError::NotLeaderOrFollower);
    assert_eq!(code(partition.append(plain_batch(1), Acks::All)), ResponseError::NotLeaderOrFollower);
    assert!(matches!(rig.logs.get(rig.id), Err(LogError::NotLeader)));
    let stop = tokio_util::sync::CancellationToken::new();
    let maintenance =
        tokio::spawn(Arc::clone(&rig.logs).run_maintenance(std::time::Duration::from_secs(1), stop.clone()));
    while rig.logs.get(rig.id).is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    stop.cancel();
    maintenance.await.unwrap();
    rig.store.release();
    assert!(partition.leader_epoch() > epoch);
    assert_eq!(partition.append(plain_batch(1), Acks::All).unwrap().base_offset, 2);
    assert_eq!(partition.epoch_end(epoch), Some(EpochEnd { leader_epoch: epoch, end_offset: 2 }));
    assert_eq!(partition.epoch_of(1), epoch);
    assert_eq!(partition.epoch_of(2), partition.leader_epoch());
}

#[tokio::test]
async fn a_full_disk_refuses_and_an_unknown_outcome_ends_the_handle() {
    let (rig, partition) = Rig::new(LogConfig::default()).await;
    rig.store.refuse_next_append(StoreError::Full(Arc::from("full")));
    assert_eq!(code(partition.append(plain_batch(1), Acks::All)), ResponseError::KafkaStorageError);
    assert_eq!(partition.append(plain_batch(1), Acks::All).unwrap().base_offset, 0);
    rig.store.refuse_next_append(StoreError::Unknown(Arc::from("who knows")));
    assert_eq!(code(partition.append(plain_batch(1), Acks::All)), ResponseError::NotLeaderOrFollower);
    assert_eq!(code(partition.append(plain_batch(1), Acks::All)), ResponseError::NotLeaderOrFollower);
}

#[tokio::test]
async fn duplicates_are_answered_with_their_offset_and_only_when_durable() {
    let (rig, partition) = Rig::new(LogConfig::default()).await;
    partition.append(plain_batch(1), Acks::All).unwrap();
    rig.store.hold();
    partition.append(produced(7, 0, 0, 3), Acks::Leader).unwrap();
    let mut retry = partition.append(produced(7, 0, 0, 3), Acks::Leader).unwrap();
    assert!(retry.duplicate);
    assert_eq!((retry.base_offset, retry.last_offset), (1, 3));
    assert!(retry.durable().now_or_never().is_none());
    rig.store.fail_handle(rig.id);
    assert_eq!(code(retry.durable().await), ResponseError::NotLeaderOrFollower);
}

#[tokio::test]
async fn producer_state_survives_checkpoint_and_replay() {
    let (mut rig, partition) = Rig::new(LogConfig::default()).await;
    partition.append(produced(7, 0, 0, 3), Acks::All).unwrap();
    partition.checkpoint(&mut *partition.upkeep.lock().await).await.unwrap();
    partition.append(produced(7, 0, 3, 2), Acks::All).unwrap();
    let before = rig.store.deltas();
    let partition = rig.restart().await;
    assert!(partition.append(produced(7, 0, 0, 3), Acks::All).unwrap().duplicate);
    let second = partition.append(produced(7, 0, 3, 2), Acks::All).unwrap();
    assert!(second.duplicate);
    assert_eq!((second.base_offset, second.last_offset), (3, 4));
    assert_eq!(code(partition.append(produced(7, 0, 9, 1), Acks::All)), ResponseError::OutOfOrderSequenceNumber);
    // What a store would know that keeps deltas instead of replaying is the same.
    let state = partition.handle().unwrap().tail.lock().state();
    let producer = state.iter().find(|entry| entry.key[0] == b'p').unwrap();
    assert_eq!(before.get(&producer.key), Some(&producer.value));
}

#[tokio::test]
async fn state_of_batches_that_a_crash_took_is_forgotten() {
    let (mut rig, partition) = Rig::new(LogConfig::default()).await;
    partition.append(produced(7, 0, 0, 3), Acks::All).unwrap();
    rig.store.hold();
    partition.append(produced(7, 0, 3, 3), Acks::Leader).unwrap();
    let partition = rig.restart().await;
    rig.store.release();
    let again = partition.append(produced(7, 0, 3, 3), Acks::All).unwrap();
    assert!(!again.duplicate);
    assert_eq!(again.base_offset, 3);
}

#[tokio::test]
async fn an_old_retry_is_a_success_only_when_durable() {
    let (rig, partition) = Rig::new(LogConfig::default()).await;
    rig.store.hold();
    for sequence in 0..7 {
        partition.append(produced(7, 0, sequence, 1), Acks::Leader).unwrap();
    }
    assert_eq!(code(partition.append(produced(7, 0, 0, 1), Acks::All)), ResponseError::NotLeaderOrFollower);
    rig.store.release();
    assert_eq!(code(partition.append(produced(7, 0, 0, 1), Acks::All)), ResponseError::DuplicateSequenceNumber);
}

#[tokio::test]
async fn clients_may_not_touch_internal_topics_but_the_broker_may() {
    let (_, partition) = Rig::new(LogConfig { internal: true, ..LogConfig::default() }).await;
    assert_eq!(code(partition.append(plain_batch(1), Acks::All)), ResponseError::InvalidTopicException);
    let mut appended = partition.append_records(&[record("k", "v", NOW), record("k", "w", NOW)]).unwrap();
    appended.durable().await.unwrap();
    assert_eq!(values(&partition, 0).await, ["v", "w"]);
    assert_eq!(code(partition.append_records(&[])), ResponseError::InvalidRecord);
}

#[tokio::test]
async fn epochs_are_checked() {
    let (_, partition) = Rig::new(LogConfig::default()).await;
    let epoch = partition.leader_epoch();
    partition.check_epoch(-1).unwrap();
    partition.check_epoch(epoch).unwrap();
    assert_eq!(code(partition.check_epoch(epoch - 1)), ResponseError::FencedLeaderEpoch);
    assert_eq!(code(partition.check_epoch(epoch + 1)), ResponseError::UnknownLeaderEpoch);
    assert_eq!(partition.epoch_end(epoch + 1), None);
}

#[tokio::test]
async fn times_are_looked_up_exactly() {
    let (rig, partition) = Rig::new(LogConfig::default()).await;
    let at = |times: [i64; 2]| times.map(|time| record("k", "v", NOW + time));
    partition.append(batch_of(&at([0, 10]), Codec::Gzip, |_| {}), Acks::All).unwrap();
    partition.append(batch_of(&at([30, 20]), Codec::None, |_| {}), Acks::All).unwrap();
    let find = async |time: i64| partition.offset_for_time(NOW + time).await.unwrap().map(|found| found.offset);
    assert_eq!(find(-5).await, Some(0));
    assert_eq!(find(5).await, Some(1));
    assert_eq!(find(15).await, Some(2));
    assert_eq!(find(30).await, Some(2));
    assert_eq!(find(31).await, None);
    assert_eq!(partition.offset_of_max_timestamp().await.unwrap().unwrap().offset, 2);
    rig.store.hold();
    partition.append(batch_of(&at([50, 60]), Codec::None, |_| {}), Acks::All).unwrap();
    assert_eq!(find(31).await, None);
    assert_eq!(partition.offset_of_max_timestamp().await.unwrap().unwrap().timestamp, NOW + 30);
    rig.store.release();
    partition.delete_records(1).await.unwrap();
    assert_eq!(find(-5).await, Some(1));
}

#[tokio::test]
async fn loading_sets_strays_aside_and_keeps_damaged_partitions_offline() {
    let (rig, _) = Rig::new(LogConfig::default()).await;
    let other = |index| PartitionId { topic: Uuid::from_u128(2), index };
    for index in 0..4 {
        rig.logs.open(other(index), Arc::clone(&rig.config), true).await.unwrap();
    }
    rig.store.corrupt(other(0));
    let logs = Logs::new(Arc::clone(&rig.store) as Arc<dyn Store>, Arc::clone(&rig.clock) as Arc<dyn Clock>);
    let known = [other(0), other(1), other(9)].map(|id| (id, Arc::clone(&rig.config)));
    logs.load(known.to_vec(), &[other(2)]).await.unwrap();
    assert_eq!(*rig.store.strays.lock(), [rig.id, other(3)]);
    assert_eq!(code(logs.get(other(0)).map(drop)), ResponseError::KafkaStorageError);
    assert_eq!(code(logs.get(other(9)).map(drop)), ResponseError::KafkaStorageError);
    assert!(logs.get(other(1)).is_ok());
    assert!(matches!(logs.get(other(2)), Err(LogError::UnknownPartition)));
}

#[tokio::test]
async fn a_partition_that_cannot_be_opened_now_is_opened_later() {
    let (rig, partition) = Rig::new(LogConfig::default()).await;
    partition.append(plain_batch(2), Acks::All).unwrap().durable().await.unwrap();
    let logs = Logs::new(Arc::clone(&rig.store) as Arc<dyn Store>, Arc::clone(&rig.clock) as Arc<dyn Clock>);
    rig.store.fail_opens(3);
    logs.load(vec![(rig.id, Arc::clone(&rig.config))], &[]).await.unwrap();
    assert_eq!(code(logs.get(rig.id).map(drop)), ResponseError::KafkaStorageError);
    let stop = tokio_util::sync::CancellationToken::new();
    let maintenance = tokio::spawn(Arc::clone(&logs).run_maintenance(std::time::Duration::from_secs(1), stop.clone()));
    while logs.get(rig.id).is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    stop.cancel();
    maintenance.await.unwrap();
    assert_eq!(logs.get(rig.id).unwrap().append(plain_batch(1), Acks::All).unwrap().base_offset, 2);
}

#[tokio::test]
async fn deleting_wakes_waiting_readers() {
    let (rig, partition) = Rig::new(LogConfig::default()).await;
    let mut watch = partition.watch();
    rig.logs.delete(&[rig.id]).await.unwrap();
    _ = watch.changed().await;
    assert_eq!(
        code(partition.fetch(0, 1, true, Isolation::ReadUncommitted).await),
        ResponseError::UnknownTopicOrPartition
    );
    assert!(matches!(rig.logs.get(rig.id), Err(LogError::UnknownPartition)));
    rig.logs.delete(&[rig.id]).await.unwrap();
}

#[tokio::test]
async fn records_are_deleted_up_to_the_high_watermark() {
    let (mut rig, partition) = Rig::new(LogConfig::default()).await;
    partition.append(plain_batch(4), Acks::All).unwrap();
    assert_eq!(partition.delete_records(3).await.unwrap(), 3);
    assert_eq!(partition.delete_records(1).await.unwrap(), 3);
    assert_eq!(code(partition.delete_records(5).await), ResponseError::OffsetOutOfRange);
    assert_eq!(code(partition.fetch(2, 1, true, Isolation::ReadUncommitted).await), ResponseError::OffsetOutOfRange);
    assert_eq!(partition.delete_records(-1).await.unwrap(), 4);
    let partition = rig.restart().await;
    assert_eq!(partition.bounds().log_start, 4);
    assert_eq!(partition.append(plain_batch(1), Acks::All).unwrap().base_offset, 4);
}

#[tokio::test]
async fn closing_stores_the_state() {
    let (mut rig, partition) = Rig::new(LogConfig::default()).await;
    partition.append(produced(7, 0, 0, 3), Acks::All).unwrap();
    rig.logs.close().await.unwrap();
    assert_eq!(rig.store.state(rig.id).0, 3);
    let partition = rig.restart().await;
    assert!(partition.append(produced(7, 0, 0, 3), Acks::All).unwrap().duplicate);
}

/// The same rules over segment files: a history of appends, compaction, retention and restarts.
#[tokio::test]
async fn compaction_and_restarts_work_on_segment_files() {
    let folder = tempfile::TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::at(NOW));
    let config = Arc::new(LogConfig {
        cleanup: Cleanup { delete: false, compact: true },
        min_cleanable_dirty_ratio: 0.0,
        segment_bytes: 2_000,
        internal: true,
        ..LogConfig::default()
    });
    let id = PartitionId { topic: Uuid::from_u128(1), index: 0 };
    let mut newest = std::collections::BTreeMap::new();
    let mut offset = 0;
    for round in 0..4 {
        let settings =
            LocalSettings { path: folder.path().to_owned(), durability: Durability::Fsync, reserve_bytes: 0 };
        let store = LocalStore::open(settings, Arc::new(RealFs), Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let logs = Logs::new(store, Arc::clone(&clock) as Arc<dyn Clock>);
        let partition = logs.open(id, Arc::clone(&config), round == 0).await.unwrap();
        assert_eq!(partition.bounds().log_end, offset);
        for step in 0..100 {
            let (key, value) = (format!("key {}", (step * 7 + round) % 13), format!("{round} {step}"));
            let mut appended = partition.append_records(&[record(&key, &value, NOW + offset)]).unwrap();
            assert_eq!(appended.base_offset, offset);
            appended.durable().await.unwrap();
            newest.insert(key, (offset, value));
            offset += 1;
        }
        clock.advance(60_000);
        partition.maintain(&tokio_util::sync::CancellationToken::new()).await;
        let slice = partition.read_all(0, usize::MAX).await.unwrap();
        assert_eq!(partition.offset_for_time(NOW + offset - 1).await.unwrap().unwrap().offset, offset - 1);
        let mut records = Vec::new();
        let mut next = slice;
        while !next.is_empty() {
            let from = next.next_offset;
            records.extend(read_records(read_slice(next).await.unwrap()).unwrap());
            next = partition.read_all(from, usize::MAX).await.unwrap();
        }
        assert!(records.len() < 100, "{} records are left", records.len());
        let text = |bytes: &Option<Bytes>| String::from_utf8(bytes.as_ref().unwrap().to_vec()).unwrap();
        let left: std::collections::BTreeMap<_, _> =
            records.iter().map(|record| (text(&record.key), (record.offset, text(&record.value)))).collect();
        assert_eq!(left, newest);
        logs.close().await.unwrap();
    }
}

/// A producer with five batches in flight, over a store whose flushes stall and whose handles fail: what it was told is
/// in the log is there, once and in order.
#[tokio::test]
async fn idempotence_holds_through_stalls_failures_and_restarts() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut rig, mut partition) = Rig::new(LogConfig::default()).await;
        let batch = |sequence: i32| {
            batch_of(&[record("k", &sequence.to_string(), NOW)], Codec::None, |header| {
                (header.producer_id, header.producer_epoch, header.base_sequence) = (7, 0, sequence);
            })
        };
        // Everything below is acknowledged; what is in flight beyond is retried in order.
        let mut acknowledged = 0;
        while acknowledged < 60 {
            match rng.random_range(0..10) {
                0 => rig.store.hold(),
                1..4 => rig.store.release(),
                4 => rig.store.fail_handle(rig.id),
                5 => partition = rig.restart().await,
                _ => {}
            }
            if rng.random_bool(0.05) && !partition.is_failed() {
                // As long as nothing stalls, or it would wait.
                rig.store.release();
                partition.checkpoint(&mut *partition.upkeep.lock().await).await.unwrap();
            }
            if partition.is_failed() && rng.random_bool(0.5) {
                partition.reopen().await.unwrap();
            }
            let acks = if rng.random_bool(0.5) { Acks::All } else { Acks::Leader };
            let sent: Vec<_> =
                (acknowledged..acknowledged + 5).map(|next| partition.append(batch(next), acks)).collect();
            for result in sent {
                let told = match result {
                    Ok(mut appended) => matches!(appended.durable().now_or_never(), Some(Ok(()))),
                    Err(error) => error.code() == ResponseError::DuplicateSequenceNumber,
                };
                if !told {
                    break;
                }
                acknowledged += 1;
            }
            // A late copy of something acknowledged, from another connection.
            if acknowledged > 0 {
                let late = rng.random_range(0..acknowledged);
                if let Ok(appended) = partition.append(batch(late), Acks::All) {
                    assert!(appended.duplicate, "seed {seed}: {late} was appended twice");
                }
            }
        }
        rig.store.release();
        let partition = rig.restart().await;
        let found = values(&partition, 0).await;
        let expected: Vec<_> = (0..found.len()).map(|sequence| sequence.to_string()).collect();
        assert_eq!(found, expected, "seed {seed}");
        assert!(found.len() >= acknowledged as usize, "seed {seed}");
    }
}

/// Another implementation reads what this one builds, and the other way round.
#[test]
fn batches_are_those_of_another_implementation() {
    use kafka_protocol::indexmap::IndexMap;
    use kafka_protocol::protocol::StrBytes;
    use kafka_protocol::records::{
        Compression as Theirs, Record as TheirRecord, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
        TimestampType as TheirType,
    };
    let theirs: Vec<_> = (0..3)
        .map(|index| TheirRecord {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: 5,
            producer_epoch: 1,
            timestamp_type: TheirType::Creation,
            offset: index,
            sequence: index as i32,
            timestamp: NOW + index * 100,
            key: (index > 0).then(|| Bytes::from(vec![1; 70])),
            value: (index < 2).then(|| Bytes::from(vec![2; 9_000])),
            headers: IndexMap::from([(StrBytes::from_static_str("h"), Some(Bytes::from("v")))]),
        })
        .collect();
    let mut encoded = bytes::BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Theirs::None };
    RecordBatchEncoder::encode(&mut encoded, theirs.iter(), &options).unwrap();
    let encoded = encoded.freeze();
    validate::validate(&encoded, &LogConfig::default(), NOW).unwrap();
    let ours = read_records(encoded).unwrap();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!((ours.offset, ours.timestamp), (theirs.offset, theirs.timestamp));
        assert_eq!((&ours.key, &ours.value), (&theirs.key, &theirs.value));
    }
    let mut built = batch_of(&[record("a", "1", NOW), record("b", "2", NOW - 70_000)], Codec::None, |_| {});
    let read = RecordBatchDecoder::decode(&mut built).unwrap().records;
    let shown: Vec<_> = read.iter().map(|record| (record.offset, record.timestamp, record.value.clone())).collect();
    assert_eq!(shown, [(0, NOW, Some(Bytes::from("1"))), (1, NOW - 70_000, Some(Bytes::from("2")))]);
}
