//! Transactions in a partition, rule by rule: what is refused, what readers of committed data see, and what a restart and
//! compaction leave of it.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio_util::sync::CancellationToken;

use super::codec::Codec;
use super::records::read_records;
use super::tests::{NOW, Rig, batch_of, plain_batch, produced, record};
use super::*;

fn transactional(producer: i64, epoch: i16, sequence: i32, records: &[(&str, &str)]) -> bytes::Bytes {
    let records: Vec<_> = records.iter().map(|(key, value)| record(key, value, NOW)).collect();
    batch_of(&records, Codec::None, |header| {
        (header.producer_id, header.producer_epoch, header.base_sequence) = (producer, epoch, sequence);
        header.attributes = header.attributes.with_transactional();
    })
}

fn marker(producer_id: i64, producer_epoch: i16, commit: bool) -> EndMarker {
    EndMarker { producer_id, producer_epoch, coordinator_epoch: 0, commit }
}

fn write(partition: &Partition, producer: i64, epoch: i16, sequence: i32) -> Result<Appended, LogError> {
    let guard = partition.begin_verification(producer, epoch)?;
    partition.append_verified(transactional(producer, epoch, sequence, &[("k", "v")]), Acks::All, guard)
}

fn code<T: std::fmt::Debug>(result: Result<T, LogError>) -> ResponseError {
    result.unwrap_err().code()
}

/// What a consumer with `read_committed` keeps: values of records that are not of aborted transactions.
async fn committed(partition: &Partition) -> Vec<String> {
    let from = partition.bounds().log_start;
    let fetched = partition.fetch(from, usize::MAX, true, Isolation::ReadCommitted).await.unwrap();
    let mut aborted = fetched.aborted;
    let bytes = read_slice(fetched.slice).await.unwrap();
    let mut aborting = std::collections::HashSet::new();
    let mut values = Vec::new();
    for batch in header::Batches::new(&bytes) {
        let (header, batch) = batch.unwrap();
        aborted.retain(|(producer, first)| {
            let begins = *first <= header.last_offset();
            if begins {
                aborting.insert(*producer);
            }
            !begins
        });
        if header.attributes.control() {
            aborting.remove(&header.producer_id);
        } else if !header.attributes.transactional() || !aborting.contains(&header.producer_id) {
            let records = read_records(bytes.slice_ref(batch)).unwrap();
            values.extend(records.into_iter().map(|r| String::from_utf8(r.value.unwrap().to_vec()).unwrap()));
        }
    }
    values
}

#[tokio::test]
async fn what_is_not_decided_is_not_stable() {
    let (mut rig, mut partition) = Rig::new(LogConfig::default()).await;
    partition.append(plain_batch(2), Acks::All).unwrap();
    write(&partition, 1, 0, 0).unwrap();
    partition.append(plain_batch(1), Acks::All).unwrap();
    for _ in 0..2 {
        assert_eq!(partition.bounds(), Bounds { log_start: 0, last_stable: 2, high_watermark: 4, log_end: 4 });
        partition = rig.restart().await;
    }
    rig.store.hold();
    partition.append_marker(marker(1, 0, false)).unwrap();
    assert_eq!(partition.bounds().last_stable, 2, "the marker is not durable");
    rig.store.release();
    for _ in 0..2 {
        assert_eq!(partition.bounds().last_stable, 5);
        assert_eq!(committed(&partition).await.len(), 3);
        let fetched = partition.fetch(0, usize::MAX, true, Isolation::ReadCommitted).await.unwrap();
        assert_eq!(fetched.aborted, [(1, 2)]);
        let fetched = partition.fetch(0, usize::MAX, true, Isolation::ReadUncommitted).await.unwrap();
        assert!(fetched.aborted.is_empty());
        partition = rig.restart().await;
    }
}

#[tokio::test]
async fn only_what_the_coordinator_knows_begins_a_transaction() {
    let (_, partition) = Rig::new(LogConfig::default()).await;
    let batch = || transactional(1, 0, 0, &[("k", "v")]);
    assert_eq!(code(partition.append(batch(), Acks::All)), ResponseError::InvalidTxnState);
    let late = partition.begin_verification(1, 0).unwrap();
    assert!(late.is_some());
    write(&partition, 1, 0, 0).unwrap();
    assert!(partition.begin_verification(1, 0).unwrap().is_none(), "it is open");
    assert!(partition.append(batch(), Acks::All).unwrap().duplicate);
    partition.append(transactional(1, 0, 1, &[("k", "v")]), Acks::All).unwrap();
    assert_eq!(code(partition.append(produced(1, 0, 2, 1), Acks::All)), ResponseError::InvalidTxnState);
    partition.append_marker(marker(1, 0, true)).unwrap();
    let next = transactional(1, 0, 2, &[("k", "v")]);
    let refused = code(partition.append_verified(next.clone(), Acks::All, late));
    assert_eq!(refused, ResponseError::InvalidTxnState, "a transaction ended since it was verified");
    let guard = partition.begin_verification(1, 0).unwrap();
    partition.append_verified(next, Acks::All, guard).unwrap();
}

#[tokio::test]
async fn markers_fence_epochs_and_deposed_coordinators() {
    let (_, partition) = Rig::new(LogConfig::default()).await;
    write(&partition, 1, 3, 0).unwrap();
    assert_eq!(code(partition.append_marker(marker(1, 2, true))), ResponseError::InvalidProducerEpoch);
    partition.append_marker(EndMarker { coordinator_epoch: 5, ..marker(1, 4, true) }).unwrap();
    let deposed = EndMarker { coordinator_epoch: 4, ..marker(1, 4, true) };
    assert_eq!(code(partition.append_marker(deposed)), ResponseError::TransactionCoordinatorFenced);
    assert_eq!(code(write(&partition, 1, 3, 1)), ResponseError::InvalidProducerEpoch);
    assert_eq!(code(write(&partition, 1, 4, 1)), ResponseError::OutOfOrderSequenceNumber);
    write(&partition, 1, 4, 0).unwrap();
    let producers = partition.active_producers().unwrap();
    assert_eq!((producers[0].transaction_start, producers[0].coordinator_epoch), (2, 5));
}

#[tokio::test]
async fn compaction_drops_what_was_aborted_and_keeps_what_it_would_have_hidden() {
    let config = LogConfig {
        cleanup: Cleanup { delete: false, compact: true },
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: 1_000,
        segment_bytes: 1,
        ..LogConfig::default()
    };
    let (mut rig, partition) = Rig::new(config).await;
    let append = |producer: i64, sequence: i32, records: &[(&str, &str)]| {
        let guard = partition.begin_verification(producer, 0).unwrap();
        partition.append_verified(transactional(producer, 0, sequence, records), Acks::All, guard).unwrap();
    };
    append(1, 0, &[("a", "old"), ("b", "old")]);
    partition.append_marker(marker(1, 0, true)).unwrap();
    append(2, 0, &[("a", "aborted")]);
    append(1, 2, &[("b", "new")]);
    partition.append_marker(marker(2, 0, false)).unwrap();
    partition.append_marker(marker(1, 0, true)).unwrap();
    append(3, 0, &[("a", "open")]);
    partition.append(batch_of(&[record("c", "plain", NOW)], Codec::None, |_| {}), Acks::All).unwrap();
    assert_eq!(committed(&partition).await, ["old", "old", "new"]);
    let stop = CancellationToken::new();
    for _ in 0..4 {
        partition.maintain(&stop).await;
        assert_eq!(committed(&partition).await, ["old", "new"]);
        rig.clock.advance(2_000);
        // More to clean, or a pass has nothing to do.
        partition.append(batch_of(&[record("c", "plain", NOW)], Codec::None, |_| {}), Acks::All).unwrap();
    }
    let partition = rig.restart().await;
    assert_eq!(committed(&partition).await, ["old", "new"]);
    partition.append_marker(marker(3, 0, false)).unwrap();
    assert_eq!(committed(&partition).await[..2], ["old", "new"]);
    let kept = read_slice(partition.read_all(0, usize::MAX).await.unwrap()).await.unwrap();
    let batches: Vec<_> = header::Batches::new(&kept).map(|batch| batch.unwrap().0).collect();
    let aborted = batches.iter().find(|header| header.producer_id == 2 && !header.attributes.control()).unwrap();
    assert_eq!(aborted.count, 0, "only the header of the producer's last batch is left");
}

/// What the model knows of a producer.
#[derive(Clone, Default)]
struct Modelled {
    epoch: i16,
    sequence: i32,
    open: Vec<String>,
    first: i64,
}

#[tokio::test]
async fn random_histories_with_restarts_agree_with_a_model() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut rig, mut partition) = Rig::new(LogConfig::default()).await;
        let mut model: BTreeMap<i64, Modelled> = BTreeMap::new();
        let mut seen: Vec<(i64, String)> = Vec::new();
        for step in 0..80 {
            let id = rng.random_range(0..4);
            let producer = model.entry(id).or_default();
            let end = partition.bounds().log_end;
            match rng.random_range(0..10) {
                0..5 => {
                    let value = format!("{id}/{step}");
                    let guard = partition.begin_verification(id, producer.epoch).unwrap();
                    assert_eq!(guard.is_none(), !producer.open.is_empty());
                    let batch = transactional(id, producer.epoch, producer.sequence, &[("k", &value)]);
                    partition.append_verified(batch, Acks::All, guard).unwrap();
                    if producer.open.is_empty() {
                        producer.first = end;
                    }
                    producer.open.push(value);
                    producer.sequence += 1;
                }
                5..8 => {
                    let commit = rng.random_bool(0.5);
                    let bump = rng.random_bool(0.5);
                    let epoch = producer.epoch + i16::from(bump);
                    partition.append_marker(marker(id, epoch, commit)).unwrap();
                    let open = std::mem::take(&mut producer.open);
                    if commit {
                        let first = producer.first;
                        seen.extend(open.into_iter().map(|value| (first, value)));
                    }
                    if bump {
                        (producer.epoch, producer.sequence) = (epoch, 0);
                    }
                }
                8 => partition.checkpoint(&mut *partition.upkeep.lock().await).await.unwrap(),
                _ => partition = rig.restart().await,
            }
            let bounds = partition.bounds();
            let unstable = model.values().filter(|p| !p.open.is_empty()).map(|p| p.first).min();
            assert_eq!(bounds.last_stable, unstable.unwrap_or(bounds.high_watermark), "seed {seed}, step {step}");
        }
        let stable = partition.bounds().last_stable;
        let found = committed(&partition).await;
        let mut wanted: Vec<_> = seen.iter().filter(|(first, _)| *first < stable).map(|(_, value)| value).collect();
        let mut all: Vec<_> = found.iter().collect();
        // Those that began before the last stable offset may go on behind it.
        wanted.retain(|value| found.contains(value));
        all.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(all, wanted, "seed {seed}");
        for (id, producer) in &model {
            partition.append_marker(marker(*id, producer.epoch + 1, false)).unwrap();
        }
        let mut found = committed(&partition).await;
        let mut wanted: Vec<_> = seen.into_iter().map(|(_, value)| value).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "seed {seed}, when all is decided");
    }
}
