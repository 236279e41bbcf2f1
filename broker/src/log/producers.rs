//! What idempotent and transactional producers appended last: tells a retry from a new batch, a gap from the next batch,
//! and what belongs to an open transaction.
//!
//! The last five batches per producer id are known, as in Kafka, so that a producer may have five requests in flight.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes};
use kafka_protocol::ResponseError;

use super::header::{BatchHeader, NO_PRODUCER, sequence_after};
use super::marker::EndMarker;
use super::{LogError, refused};
use crate::store::{Offset, StateEntry};

/// Batches remembered per producer: `max.in.flight.requests.per.connection` of an idempotent producer is at most this.
const REMEMBERED: usize = 5;
/// Producer ids remembered per partition; beyond, the ones silent for longest are forgotten. An entry has some 200
/// bytes, so this bounds a partition's share of memory to about 20 MiB whatever ids clients make up.
const MAX_PRODUCERS: usize = 100_000;
const KEY_TAG: u8 = b'p';
/// Version 1 knows no transactions.
const VALUE_VERSION: u8 = 2;
const NO_OFFSET: Offset = -1;
/// Sequences that a chain can span without becoming ambiguous when they wrap.
const MAX_CHAIN: u32 = 1 << 30;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Batch {
    first_sequence: i32,
    /// Last offset (and sequence) minus the first.
    delta: i32,
    base_offset: Offset,
    timestamp: i64,
}

impl Batch {
    fn last_sequence(&self) -> i32 {
        sequence_after(self.first_sequence, self.delta)
    }

    fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.delta))
    }
}

/// One producer's last batches, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// When it last appended, on the broker's clock (ms).
    last_seen: i64,
    /// Sequences known to have been appended without a gap, up to the last one: tells an old retry from a batch that
    /// never arrived.
    chain: u32,
    batches: [Batch; REMEMBERED],
    len: usize,
    /// First offset of its open transaction.
    open: Option<Offset>,
    /// Of the coordinator that ended its last transaction; -1 before.
    coordinator_epoch: i32,
    /// Transactions that ended since the partition was opened.
    ends: u32,
}

/// A producer as DescribeProducers shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// -1 when it wrote no batch since its epoch began.
    pub last_sequence: i32,
    /// When it last appended, on the broker's clock (ms).
    pub last_seen: i64,
    /// -1 when none ended a transaction yet.
    pub coordinator_epoch: i32,
    /// First offset of the open transaction; -1 when there is none.
    pub transaction_start: Offset,
}

/// What a batch means to the producer's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Next in order; to be recorded with [`Producers::commit`] once it is appended.
    New(Option<Update>),
    Duplicate {
        base_offset: Offset,
        last_offset: Offset,
        timestamp: i64,
    },
    /// Appended before, below this offset, but its own offset is no longer known.
    Forgotten {
        below: Offset,
    },
}

/// The state of one producer after an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Update {
    producer_id: i64,
    producer: Producer,
    /// First offset of the transaction that the batch begins.
    pub(super) begins: Option<Offset>,
    /// First offset of the transaction that the marker ends.
    pub(super) ends: Option<Offset>,
}

/// Producer state of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Producers {
    by_id: HashMap<i64, Producer>,
}

impl Producers {
    /// Decides about a batch that would be appended at `base_offset`. Only one whose transaction is open, or was
    /// `verified`, may be transactional.
    pub(super) fn check(
        &self,
        header: &BatchHeader,
        base_offset: Offset,
        verified: bool,
        now_ms: i64,
    ) -> Result<Verdict, LogError> {
        if header.producer_id == NO_PRODUCER {
            return Ok(Verdict::New(None));
        }
        let known = self.by_id.get(&header.producer_id);
        if let Some(known) = known {
            known.check_epoch(header.producer_id, header.producer_epoch)?;
            if header.producer_epoch == known.epoch
                && let Some(verdict) = known.seen(header)
            {
                return Ok(verdict);
            }
        }
        let open = known.filter(|known| known.epoch == header.producer_epoch).and_then(|known| known.open);
        if header.attributes.transactional() && open.is_none() && !verified {
            return Err(refused(ResponseError::InvalidTxnState, "the batch is not part of an open transaction"));
        }
        if let Some(known) = known {
            known.check_sequence(header)?;
            if known.open.is_some() && !header.attributes.transactional() {
                let text =
                    format!("producer {} has an open transaction, and this batch is none of it", header.producer_id);
                return Err(refused(ResponseError::InvalidTxnState, text));
            }
        }
        let producer = Producer::after(known, header, base_offset, now_ms);
        let begins = producer.open.filter(|_| known.is_none_or(|known| known.open.is_none()));
        Ok(Verdict::New(Some(Update { producer_id: header.producer_id, producer, begins, ends: None })))
    }

    /// Decides about a marker. One that was written before is written again, and changes nothing.
    pub(super) fn check_marker(&self, marker: &EndMarker, now_ms: i64) -> Result<Update, LogError> {
        let known = self.by_id.get(&marker.producer_id);
        if let Some(known) = known {
            known.check_epoch(marker.producer_id, marker.producer_epoch)?;
            if marker.coordinator_epoch < known.coordinator_epoch {
                let text = format!("the coordinator has epoch {} by now", known.coordinator_epoch);
                return Err(refused(ResponseError::TransactionCoordinatorFenced, text));
            }
        }
        let producer = Producer::ended(known, marker, now_ms);
        let ends = known.and_then(|known| known.open);
        Ok(Update { producer_id: marker.producer_id, producer, begins: None, ends })
    }

    /// How many transactions the producer has ended, or `None` when one is open in this epoch.
    pub(super) fn ends_unless_open(&self, producer_id: i64, epoch: i16) -> Option<u32> {
        match self.by_id.get(&producer_id) {
            Some(known) if known.epoch == epoch && known.open.is_some() => None,
            known => Some(known.map_or(0, |known| known.ends)),
        }
    }

    pub(super) fn active(&self) -> Vec<ActiveProducer> {
        let active = |(id, producer): (&i64, &Producer)| ActiveProducer {
            producer_id: *id,
            producer_epoch: producer.epoch,
            last_sequence: producer.last().map_or(-1, Batch::last_sequence),
            last_seen: producer.last_seen,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start: producer.open.unwrap_or(NO_OFFSET),
        };
        self.by_id.iter().map(active).collect()
    }

    pub(super) fn is_open(&self, producer_id: i64) -> bool {
        self.by_id.get(&producer_id).is_some_and(|producer| producer.open.is_some())
    }

    /// Open transactions, as (producer id, first offset).
    pub(super) fn open(&self) -> impl Iterator<Item = (i64, Offset)> {
        self.by_id.iter().filter_map(|(id, producer)| producer.open.map(|first| (*id, first)))
    }

    pub(super) fn commit(&mut self, update: Update) {
        if self.by_id.len() >= MAX_PRODUCERS && !self.by_id.contains_key(&update.producer_id) {
            self.forget_longest_silent();
        }
        self.by_id.insert(update.producer_id, update.producer);
    }

    /// Takes a batch that is in the log as it is, checked before. Its producer counts as seen now: timestamps of
    /// records say nothing about when they came.
    pub(super) fn replay(&mut self, header: &BatchHeader, now_ms: i64) {
        if header.producer_id <= NO_PRODUCER || header.attributes.control() {
            return;
        }
        let known = self.by_id.get(&header.producer_id).filter(|known| known.epoch <= header.producer_epoch);
        let producer = Producer::after(known, header, header.base_offset, now_ms);
        self.commit(Update { producer_id: header.producer_id, producer, begins: None, ends: None });
    }

    /// The same for a control batch. Returns the first offset of the transaction that it ends.
    pub(super) fn replay_marker(&mut self, marker: &EndMarker, now_ms: i64) -> Option<Offset> {
        let known = self.by_id.get(&marker.producer_id).filter(|known| known.epoch <= marker.producer_epoch);
        let ends = known.and_then(|known| known.open);
        let producer = Producer::ended(known, marker, now_ms);
        self.commit(Update { producer_id: marker.producer_id, producer, begins: None, ends });
        ends
    }

    /// Forgets producers that appended nothing since `before` (ms) and have no open transaction.
    pub(super) fn expire(&mut self, before: i64) {
        self.by_id.retain(|_, producer| producer.last_seen >= before || producer.open.is_some());
    }

    /// Forgets what lies at or beyond `end`: it is not in the log.
    pub(super) fn truncate(&mut self, end: Offset) {
        self.by_id.retain(|_, producer| {
            let had_batches = producer.len > 0;
            producer.open = producer.open.filter(|first| *first < end);
            while producer.last().is_some_and(|batch| batch.last_offset() >= end) {
                producer.len -= 1;
                let lost = producer.batches[producer.len].delta as u32 + 1;
                producer.chain = producer.chain.saturating_sub(lost);
            }
            producer.len > 0 || !had_batches
        });
    }

    /// What compaction has to leave of every known producer: its last batch, or the marker that began its epoch.
    pub(super) fn last_traces(&self) -> HashMap<i64, Trace> {
        let trace = |producer: &Producer| match producer.last() {
            Some(batch) => Trace::Batch(batch.last_offset()),
            None => Trace::Marker(producer.epoch),
        };
        self.by_id.iter().map(|(id, producer)| (*id, trace(producer))).collect()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = StateEntry> {
        self.by_id.iter().map(|(id, producer)| entry(*id, producer))
    }

    /// True when the entry was one of a producer's.
    pub(super) fn restore(&mut self, state: &StateEntry) -> Result<bool, String> {
        let Some((&KEY_TAG, id)) = state.key.split_first() else { return Ok(false) };
        let id = id.try_into().map(i64::from_be_bytes).map_err(|_| "a producer's key has a wrong length".to_owned())?;
        if state.value.is_empty() {
            self.by_id.remove(&id);
        } else {
            self.by_id.insert(id, Producer::decode(&state.value)?);
        }
        Ok(true)
    }

    fn forget_longest_silent(&mut self) {
        let mut seen: Vec<i64> = self.by_id.values().map(|producer| producer.last_seen).collect();
        let (_, &mut border, _) = seen.select_nth_unstable(MAX_PRODUCERS / 10);
        let mut left = MAX_PRODUCERS / 10;
        self.by_id.retain(|_, producer| {
            let forget = left > 0 && producer.last_seen <= border && producer.open.is_none();
            left -= usize::from(forget);
            !forget
        });
    }
}

/// The batch that has to stay so that a producer's state can be told from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    /// It ends at this offset.
    Batch(Offset),
    /// It wrote nothing in this epoch; the marker did.
    Marker(i16),
}

impl Update {
    pub(super) fn entry(&self) -> StateEntry {
        entry(self.producer_id, &self.producer)
    }
}

impl Producer {
    fn last(&self) -> Option<&Batch> {
        self.known().last()
    }

    fn known(&self) -> &[Batch] {
        &self.batches[..self.len]
    }

    /// A batch of the same epoch that was appended before.
    fn seen(&self, header: &BatchHeader) -> Option<Verdict> {
        if is_without_sequence(header) {
            return None;
        }
        let same =
            |batch: &&Batch| batch.first_sequence == header.base_sequence && batch.delta == header.last_offset_delta;
        if let Some(batch) = self.known().iter().rev().find(same) {
            return Some(Verdict::Duplicate {
                base_offset: batch.base_offset,
                last_offset: batch.last_offset(),
                timestamp: batch.timestamp,
            });
        }
        let (oldest, last) = (self.known().first()?, self.last()?);
        let back = |sequence: i32| (last.last_sequence().wrapping_sub(sequence) & i32::MAX) as u32;
        let (first, end) = (back(header.base_sequence), back(header.last_sequence()));
        let whole = first >= end && first < self.chain && end > back(oldest.first_sequence);
        whole.then_some(Verdict::Forgotten { below: oldest.base_offset })
    }

    fn check_epoch(&self, producer_id: i64, epoch: i16) -> Result<(), LogError> {
        if epoch >= self.epoch {
            return Ok(());
        }
        let text = format!("producer {producer_id} has epoch {} by now", self.epoch);
        Err(refused(ResponseError::InvalidProducerEpoch, text))
    }

    fn check_sequence(&self, header: &BatchHeader) -> Result<(), LogError> {
        let last = self.last().filter(|_| header.producer_epoch == self.epoch);
        let next = last.map_or(0, |last| sequence_after(last.last_sequence(), 1));
        let in_order = is_without_sequence(header) || header.base_sequence == next;
        if in_order { Ok(()) } else { Err(out_of_order(header, next)) }
    }

    fn after(known: Option<&Producer>, header: &BatchHeader, base_offset: Offset, now_ms: i64) -> Producer {
        let batch = Batch {
            first_sequence: header.base_sequence,
            delta: header.last_offset_delta,
            base_offset,
            timestamp: header.max_timestamp,
        };
        let sequences = header.last_offset_delta.max(0) as u32 + 1;
        let mut producer = Producer::in_epoch(known, header.producer_epoch, now_ms);
        if header.attributes.transactional() {
            producer.open = producer.open.or(Some(base_offset));
        }
        if is_without_sequence(header) {
            return producer;
        }
        let follows = |last: &Batch| sequence_after(last.last_sequence(), 1) == header.base_sequence;
        producer.chain = match producer.last() {
            Some(last) if follows(last) => producer.chain.saturating_add(sequences).min(MAX_CHAIN),
            _ => sequences.min(MAX_CHAIN),
        };
        if producer.len == REMEMBERED {
            producer.batches.rotate_left(1);
            producer.len -= 1;
        }
        producer.batches[producer.len] = batch;
        producer.len += 1;
        producer
    }

    /// The state that a batch or marker of this epoch goes on from. A new epoch starts its sequences anew.
    fn in_epoch(known: Option<&Producer>, epoch: i16, now_ms: i64) -> Producer {
        let mut producer = known.cloned().unwrap_or(Producer {
            epoch,
            last_seen: now_ms,
            chain: 0,
            batches: Default::default(),
            len: 0,
            open: None,
            coordinator_epoch: -1,
            ends: 0,
        });
        if producer.epoch != epoch {
            (producer.epoch, producer.chain, producer.len) = (epoch, 0, 0);
            producer.batches = Default::default();
        }
        producer.last_seen = producer.last_seen.max(now_ms);
        producer
    }

    fn ended(known: Option<&Producer>, marker: &EndMarker, now_ms: i64) -> Producer {
        let mut producer = Producer::in_epoch(known, marker.producer_epoch, now_ms);
        producer.open = None;
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.ends = producer.ends.wrapping_add(1);
        producer
    }

    fn decode(mut value: &[u8]) -> Result<Self, String> {
        let wrong = |_| "a producer's state is cut".to_owned();
        let version = value.try_get_u8().map_err(wrong)?;
        if !(1..=VALUE_VERSION).contains(&version) {
            return Err(format!("a producer's state has version {version}, which this broker does not know"));
        }
        let mut producer = Producer {
            epoch: value.try_get_i16().map_err(wrong)?,
            last_seen: value.try_get_i64().map_err(wrong)?,
            chain: value.try_get_u32().map_err(wrong)?,
            batches: Default::default(),
            len: usize::from(value.try_get_u8().map_err(wrong)?),
            open: None,
            coordinator_epoch: -1,
            ends: 0,
        };
        for batch in producer.batches.get_mut(..producer.len).ok_or("a producer's state has too many batches")? {
            *batch = Batch {
                first_sequence: value.try_get_i32().map_err(wrong)?,
                delta: value.try_get_i32().map_err(wrong)?,
                base_offset: value.try_get_i64().map_err(wrong)?,
                timestamp: value.try_get_i64().map_err(wrong)?,
            };
            if batch.first_sequence < 0 || batch.delta < 0 || batch.base_offset < 0 {
                return Err("a producer's state has a negative sequence or offset".to_owned());
            }
        }
        if version >= 2 {
            producer.coordinator_epoch = value.try_get_i32().map_err(wrong)?;
            producer.open = Some(value.try_get_i64().map_err(wrong)?).filter(|first| *first != NO_OFFSET);
        }
        Ok(producer)
    }
}

/// Written by the broker for a producer, such as offsets of a transaction.
fn is_without_sequence(header: &BatchHeader) -> bool {
    header.base_sequence < 0
}

fn entry(id: i64, producer: &Producer) -> StateEntry {
    let mut key = Vec::with_capacity(9);
    key.put_u8(KEY_TAG);
    key.put_i64(id);
    let mut value = Vec::with_capacity(28 + 24 * producer.len);
    value.put_u8(VALUE_VERSION);
    value.put_i16(producer.epoch);
    value.put_i64(producer.last_seen);
    value.put_u32(producer.chain);
    value.put_u8(producer.len as u8);
    for batch in producer.known() {
        value.put_i32(batch.first_sequence);
        value.put_i32(batch.delta);
        value.put_i64(batch.base_offset);
        value.put_i64(batch.timestamp);
    }
    value.put_i32(producer.coordinator_epoch);
    value.put_i64(producer.open.unwrap_or(NO_OFFSET));
    StateEntry { key: Bytes::from(key), value: Bytes::from(value) }
}

fn out_of_order(header: &BatchHeader, expected: i32) -> LogError {
    refused(
        ResponseError::OutOfOrderSequenceNumber,
        format!("producer {} sent sequence {}, expected was {expected}", header.producer_id, header.base_sequence),
    )
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::super::codec::Codec;
    use super::super::header::Attributes;
    use super::*;

    fn header(producer_id: i64, producer_epoch: i16, base_sequence: i32, count: i32) -> BatchHeader {
        BatchHeader {
            base_offset: 0,
            batch_length: 49,
            leader_epoch: 0,
            crc: 0,
            attributes: Attributes::new(Codec::None, false),
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id,
            producer_epoch,
            base_sequence,
            count,
        }
    }

    /// Appends when the verdict is to do so, and says what it was.
    fn append(producers: &mut Producers, header: BatchHeader, offset: &mut Offset) -> Result<Verdict, ResponseError> {
        let verdict = producers.check(&header, *offset, false, 0).map_err(|error| error.code())?;
        if let Verdict::New(update) = verdict.clone() {
            update.into_iter().for_each(|update| producers.commit(update));
            *offset += i64::from(header.count);
        }
        Ok(verdict)
    }

    fn is_new(verdict: Result<Verdict, ResponseError>) -> bool {
        matches!(verdict, Ok(Verdict::New(_)))
    }

    #[test]
    fn epochs_fence_and_start_anew() {
        let (mut producers, mut offset) = (Producers::default(), 0);
        assert!(is_new(append(&mut producers, header(1, 3, 77, 2), &mut offset)), "without state any sequence goes");
        assert_eq!(append(&mut producers, header(1, 2, 79, 1), &mut offset), Err(ResponseError::InvalidProducerEpoch));
        assert_eq!(
            append(&mut producers, header(1, 4, 79, 1), &mut offset),
            Err(ResponseError::OutOfOrderSequenceNumber)
        );
        assert!(is_new(append(&mut producers, header(1, 4, 0, 1), &mut offset)));
        assert_eq!(append(&mut producers, header(1, 3, 77, 2), &mut offset), Err(ResponseError::InvalidProducerEpoch));
    }

    #[test]
    fn sequences_wrap() {
        let (mut producers, mut offset) = (Producers::default(), 0);
        assert!(is_new(append(&mut producers, header(1, 0, i32::MAX - 1, 2), &mut offset)));
        assert!(is_new(append(&mut producers, header(1, 0, 0, 3), &mut offset)));
        let retry = append(&mut producers, header(1, 0, i32::MAX - 1, 2), &mut offset).unwrap();
        assert_eq!(retry, Verdict::Duplicate { base_offset: 0, last_offset: 1, timestamp: 0 });
        assert!(is_new(append(&mut producers, header(1, 0, 3, 1), &mut offset)));
    }

    #[test]
    fn what_never_arrived_is_no_duplicate() {
        let (mut producers, mut offset) = (Producers::default(), 0);
        assert!(is_new(append(&mut producers, header(1, 0, 60, 10), &mut offset)));
        for first in [50, 0, 65] {
            assert_eq!(
                append(&mut producers, header(1, 0, first, 10), &mut offset),
                Err(ResponseError::OutOfOrderSequenceNumber)
            );
        }
    }

    #[test]
    fn silent_producers_expire_and_their_number_is_bounded() {
        let mut producers = Producers::default();
        for id in 0..=MAX_PRODUCERS as i64 {
            let Ok(Verdict::New(Some(update))) = producers.check(&header(id, 0, 0, 1), id, false, id) else {
                panic!("new")
            };
            producers.commit(update);
        }
        assert!(producers.by_id.len() <= MAX_PRODUCERS);
        assert!(!producers.by_id.contains_key(&0));
        assert!(producers.by_id.contains_key(&(MAX_PRODUCERS as i64)));
        producers.expire(MAX_PRODUCERS as i64);
        assert_eq!(producers.by_id.len(), 1);
    }

    #[test]
    fn random_histories_agree_with_a_model() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut producers, mut offset) = (Producers::default(), 0);
            // The model: every batch ever appended, as (sequence, count, offset).
            let mut history: Vec<(i32, i32, Offset)> = Vec::new();
            let mut next = rng.random_range(0..=i32::MAX);
            for _ in 0..200 {
                if history.is_empty() || rng.random_bool(0.5) {
                    let count = rng.random_range(1..20);
                    let base = offset;
                    assert!(is_new(append(&mut producers, header(1, 0, next, count), &mut offset)));
                    history.push((next, count, base));
                    next = sequence_after(next, count);
                } else if rng.random_bool(0.7) {
                    let index = rng.random_range(0..history.len());
                    let (sequence, count, base) = history[index];
                    let verdict = append(&mut producers, header(1, 0, sequence, count), &mut offset);
                    if history.len() - index <= REMEMBERED {
                        let last_offset = base + i64::from(count) - 1;
                        assert_eq!(verdict, Ok(Verdict::Duplicate { base_offset: base, last_offset, timestamp: 0 }));
                    } else {
                        let below = history[history.len() - REMEMBERED].2;
                        assert_eq!(verdict, Ok(Verdict::Forgotten { below }));
                    }
                } else {
                    let gap = sequence_after(next, rng.random_range(1..100));
                    let verdict = append(&mut producers, header(1, 0, gap, 1), &mut offset);
                    assert_eq!(verdict, Err(ResponseError::OutOfOrderSequenceNumber));
                }
                let mut restored = Producers::default();
                assert!(producers.entries().all(|entry| restored.restore(&entry) == Ok(true)));
                assert_eq!(restored, producers);
            }
        }
    }
}
