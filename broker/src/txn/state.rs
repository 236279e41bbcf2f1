//! One transactional id: its producer, its epoch, its transaction. Pure: every request is answered with the state that is
//! to be stored, or with why not. The transitions are those of Apache Kafka's transaction coordinator, KIP-890 included.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;

/// Topic → partition indexes.
pub type Partitions = BTreeMap<Arc<str>, BTreeSet<i32>>;
/// Producer id and epoch.
pub type Producer = (i64, i16);

/// Before the first InitProducerId is done.
const NO_EPOCH: i16 = -1;
/// From here on an epoch is used up: the largest one is left for a last marker.
const LAST_EPOCH: i16 = i16::MAX - 1;
/// First transaction version in which every transaction has an epoch of its own.
pub const EPOCH_PER_TRANSACTION: i16 = 2;
pub(super) const NOT_STARTED: i64 = -1;

/// With Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i8)]
pub enum Status {
    Empty = 0,
    Ongoing = 1,
    PrepareCommit = 2,
    PrepareAbort = 3,
    CompleteCommit = 4,
    CompleteAbort = 5,
    Dead = 6,
    PrepareEpochFence = 7,
}

impl Status {
    pub const ALL: [Status; 8] = [
        Status::Empty,
        Status::Ongoing,
        Status::PrepareCommit,
        Status::PrepareAbort,
        Status::CompleteCommit,
        Status::CompleteAbort,
        Status::Dead,
        Status::PrepareEpochFence,
    ];

    pub(super) fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as i8 == code)
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Status::Empty => "Empty",
            Status::Ongoing => "Ongoing",
            Status::PrepareCommit => "PrepareCommit",
            Status::PrepareAbort => "PrepareAbort",
            Status::CompleteCommit => "CompleteCommit",
            Status::CompleteAbort => "CompleteAbort",
            Status::Dead => "Dead",
            Status::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// Decided, with markers still to be written.
    pub(super) fn is_prepared(self) -> bool {
        matches!(self, Status::PrepareCommit | Status::PrepareAbort)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub producer_id: i64,
    /// The id that was used up before this one.
    pub previous_producer_id: Option<i64>,
    /// Takes the place of the id once the transaction is complete, because its epochs are used up.
    pub next_producer_id: Option<i64>,
    pub epoch: i16,
    /// The epoch of the producer that asked for this one: its repeated question gets the same answer. Not stored.
    pub last_epoch: i16,
    pub timeout_ms: i32,
    pub status: Status,
    pub partitions: Partitions,
    /// When the transaction began (ms since 1970), -1 before the first.
    pub started_ms: i64,
    pub updated_ms: i64,
    /// Transaction version (KIP-890) of the client that began or ended it last.
    pub client_version: i16,
}

/// What is to be done for InitProducerId.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Init {
    Store(Transaction),
    /// The question was asked before; this is the answer.
    Known,
    /// The epochs are used up: store what [`Transaction::rotated`] makes of a new id.
    Rotate,
    /// The open transaction is aborted first.
    Abort(Transaction),
}

/// What is to be done for EndTxn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Prepare {
        /// A new id is wanted, because this transaction's epoch is the last one.
        rotate: bool,
    },
    /// It was done before.
    Done,
}

impl Transaction {
    pub(super) fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            previous_producer_id: None,
            next_producer_id: None,
            epoch: NO_EPOCH,
            last_epoch: NO_EPOCH,
            timeout_ms,
            status: Status::Empty,
            partitions: Partitions::new(),
            started_ms: NOT_STARTED,
            updated_ms: now_ms,
            client_version: 0,
        }
    }

    pub(super) fn producer(&self) -> Producer {
        (self.producer_id, self.epoch)
    }

    /// The producer that goes on when the transaction is complete.
    pub(super) fn next_producer(&self) -> Producer {
        self.next_producer_id.map_or(self.producer(), |id| (id, 0))
    }

    fn check(&self, producer: Producer) -> Result<(), ResponseError> {
        if producer.0 != self.producer_id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if producer.1 == self.epoch { Ok(()) } else { Err(ResponseError::ProducerFenced) }
    }

    /// InitProducerId, by a new instance or (`known`) by one that wants to go on after an error (KIP-360). The caller has
    /// waited until no decided transaction is under way.
    pub(super) fn init(&self, known: Option<Producer>, timeout_ms: i32, now_ms: i64) -> Result<Init, ResponseError> {
        if let Some((id, epoch)) = known.filter(|_| self.epoch != NO_EPOCH) {
            let rolled = self.previous_producer_id == Some(id) && epoch >= LAST_EPOCH;
            if id != self.producer_id && !rolled {
                return Err(ResponseError::ProducerFenced);
            }
            if rolled || epoch != self.epoch {
                let asked_before = rolled || epoch == self.last_epoch;
                let free = self.status != Status::Ongoing;
                return if asked_before && free { Ok(Init::Known) } else { Err(ResponseError::ProducerFenced) };
            }
        }
        let last_epoch = known.map_or(NO_EPOCH, |(_, epoch)| epoch);
        match self.status {
            Status::Ongoing => {
                let mut aborted = self.prepared(false, now_ms);
                aborted.epoch = self.epoch.saturating_add(1);
                aborted.last_epoch = last_epoch;
                Ok(Init::Abort(aborted))
            }
            _ if self.epoch >= LAST_EPOCH => Ok(Init::Rotate),
            _ => Ok(Init::Store(self.begun(self.epoch + 1, last_epoch, timeout_ms, now_ms))),
        }
    }

    fn begun(&self, epoch: i16, last_epoch: i16, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            epoch,
            last_epoch,
            timeout_ms,
            status: Status::Empty,
            partitions: Partitions::new(),
            started_ms: NOT_STARTED,
            updated_ms: now_ms,
            ..self.clone()
        }
    }

    /// The same transactional id under a new producer id.
    pub(super) fn rotated(&self, producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        let previous_producer_id = Some(self.producer_id);
        Self { producer_id, previous_producer_id, ..self.begun(0, NO_EPOCH, timeout_ms, now_ms) }
    }

    /// Adds partitions; `None` when all belong to the transaction already.
    pub(super) fn add(
        &self,
        producer: Producer,
        partitions: &Partitions,
        client_version: i16,
        now_ms: i64,
    ) -> Result<Option<Self>, ResponseError> {
        self.check(producer)?;
        if self.status.is_prepared() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        let ongoing = self.status == Status::Ongoing;
        if ongoing && self.missing(partitions).is_empty() {
            return Ok(None);
        }
        let mut next = self.clone();
        if !ongoing {
            next.partitions.clear();
            next.started_ms = now_ms;
        }
        for (topic, indexes) in partitions {
            next.partitions.entry(Arc::clone(topic)).or_default().extend(indexes);
        }
        Ok(Some(Self { status: Status::Ongoing, updated_ms: now_ms, client_version, ..next }))
    }

    /// The partitions that do not belong to the producer's open transaction.
    pub(super) fn verify(&self, producer: Producer, partitions: &Partitions) -> Result<Partitions, ResponseError> {
        self.check(producer)?;
        match self.status {
            Status::Ongoing => Ok(self.missing(partitions)),
            status if status.is_prepared() => Err(ResponseError::ConcurrentTransactions),
            _ => Ok(partitions.clone()),
        }
    }

    fn missing(&self, partitions: &Partitions) -> Partitions {
        let mut missing = Partitions::new();
        for (topic, indexes) in partitions {
            let known = self.partitions.get(topic);
            let absent: BTreeSet<i32> =
                indexes.iter().copied().filter(|index| known.is_none_or(|known| !known.contains(index))).collect();
            if !absent.is_empty() {
                missing.insert(Arc::clone(topic), absent);
            }
        }
        missing
    }

    /// EndTxn. The caller has waited until no decided transaction is under way.
    pub(super) fn end(&self, producer: Producer, commit: bool, client_version: i16) -> Result<End, ResponseError> {
        let bumps = client_version >= EPOCH_PER_TRANSACTION;
        if bumps && self.is_ended(producer) {
            let same = self.status == if commit { Status::CompleteCommit } else { Status::CompleteAbort };
            return if same { Ok(End::Done) } else { Err(ResponseError::InvalidTxnState) };
        }
        self.check(producer)?;
        let prepare = Ok(End::Prepare { rotate: bumps && self.epoch >= LAST_EPOCH });
        match (self.status, commit) {
            (Status::Ongoing, _) => prepare,
            // The producer cannot tell whether the coordinator knows of its transaction, and wants a new epoch.
            (Status::Empty | Status::CompleteCommit | Status::CompleteAbort, false) if bumps => prepare,
            (Status::CompleteCommit, true) | (Status::CompleteAbort, false) if !bumps => Ok(End::Done),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Whether the producer's last transaction has ended, which gave the next one another epoch or id.
    fn is_ended(&self, (id, epoch): Producer) -> bool {
        let bumped = id == self.producer_id && epoch.checked_add(1) == Some(self.epoch);
        bumped || (self.previous_producer_id == Some(id) && epoch >= LAST_EPOCH && self.epoch == 0)
    }

    /// The decision, before any marker is written.
    pub(super) fn prepared(&self, commit: bool, now_ms: i64) -> Self {
        let status = if commit { Status::PrepareCommit } else { Status::PrepareAbort };
        Self { status, updated_ms: now_ms, ..self.clone() }
    }

    /// The same for a client whose every transaction has an epoch of its own; `next_producer_id` when that one was the
    /// last.
    pub(super) fn prepared_with_bump(
        &self,
        commit: bool,
        client_version: i16,
        next_producer_id: Option<i64>,
        now_ms: i64,
    ) -> Self {
        let mut next = self.prepared(commit, now_ms);
        // What was complete before is no part of this end.
        if self.status != Status::Ongoing {
            next.partitions.clear();
        }
        next.last_epoch = self.epoch;
        next.epoch = self.epoch.saturating_add(1);
        Self { client_version, next_producer_id, ..next }
    }

    /// All markers are written.
    pub(super) fn completed(&self, now_ms: i64) -> Self {
        let status = match self.status {
            Status::PrepareCommit => Status::CompleteCommit,
            _ => Status::CompleteAbort,
        };
        let (producer_id, epoch) = self.next_producer();
        let rotated = producer_id != self.producer_id;
        Self {
            producer_id,
            epoch,
            previous_producer_id: if rotated { Some(self.producer_id) } else { self.previous_producer_id },
            next_producer_id: None,
            status,
            partitions: Partitions::new(),
            updated_ms: now_ms,
            ..self.clone()
        }
    }

    /// When the transaction takes too long: its end, which fences the producer.
    pub(super) fn timed_out(&self, now_ms: i64) -> Option<Self> {
        let late =
            self.status == Status::Ongoing && now_ms.saturating_sub(self.started_ms) > i64::from(self.timeout_ms);
        late.then(|| Self { epoch: self.epoch.saturating_add(1), last_epoch: NO_EPOCH, ..self.prepared(false, now_ms) })
    }

    /// Nothing has happened for so long that the id may be forgotten.
    pub(super) fn is_expired(&self, expiration_ms: i64, now_ms: i64) -> bool {
        matches!(self.status, Status::Empty | Status::CompleteCommit | Status::CompleteAbort)
            && now_ms.saturating_sub(self.updated_ms) >= expiration_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: i32 = 1_000;

    fn parts(index: i32) -> Partitions {
        [(Arc::from("t"), [index].into())].into()
    }

    fn initialised() -> Transaction {
        match Transaction::new(7, TIMEOUT, 0).init(None, TIMEOUT, 0) {
            Ok(Init::Store(next)) => next,
            other => panic!("{other:?}"),
        }
    }

    fn ongoing(version: i16) -> Transaction {
        let added = initialised().add((7, 0), &parts(1), version, 10).expect("added");
        added.expect("a change")
    }

    #[test]
    fn a_transaction_of_version_1_keeps_its_epoch() {
        let begun = ongoing(1);
        assert_eq!((begun.status, begun.started_ms, begun.epoch), (Status::Ongoing, 10, 0));
        assert_eq!(begun.add((7, 0), &parts(1), 1, 11), Ok(None));
        assert_eq!(begun.end((7, 0), true, 1), Ok(End::Prepare { rotate: false }));
        let prepared = begun.prepared(true, 12);
        assert_eq!(prepared.add((7, 0), &parts(2), 1, 13), Err(ResponseError::ConcurrentTransactions));
        let complete = prepared.completed(14);
        assert_eq!((complete.status, complete.producer()), (Status::CompleteCommit, (7, 0)));
        assert!(complete.partitions.is_empty());
        assert_eq!(complete.end((7, 0), true, 1), Ok(End::Done));
        assert_eq!(complete.end((7, 0), false, 1), Err(ResponseError::InvalidTxnState));
        assert_eq!(initialised().end((7, 0), true, 1), Err(ResponseError::InvalidTxnState));
    }

    #[test]
    fn a_transaction_of_version_2_ends_with_a_new_epoch() {
        let begun = ongoing(2);
        let complete = begun.prepared_with_bump(true, 2, None, 12).completed(14);
        assert_eq!((complete.status, complete.producer()), (Status::CompleteCommit, (7, 1)));
        assert_eq!(complete.end((7, 0), true, 2), Ok(End::Done), "a repeated question");
        assert_eq!(complete.end((7, 0), false, 2), Err(ResponseError::InvalidTxnState));
        assert_eq!(complete.end((7, 1), false, 2), Ok(End::Prepare { rotate: false }), "an abort of nothing");
        assert_eq!(complete.end((7, 1), true, 2), Err(ResponseError::InvalidTxnState));
        assert_eq!(complete.add((7, 0), &parts(1), 2, 15), Err(ResponseError::ProducerFenced));
        let nothing = complete.prepared_with_bump(false, 2, None, 16);
        assert!(nothing.partitions.is_empty());
        assert_eq!(nothing.completed(17).producer(), (7, 2));
    }

    #[test]
    fn used_up_epochs_give_a_new_id() {
        let last = Transaction { epoch: LAST_EPOCH, ..ongoing(2) };
        assert_eq!(last.end((7, LAST_EPOCH), true, 2), Ok(End::Prepare { rotate: true }));
        let prepared = last.prepared_with_bump(true, 2, Some(70), 1);
        assert_eq!((prepared.producer(), prepared.next_producer()), ((7, i16::MAX), (70, 0)));
        let complete = prepared.completed(2);
        assert_eq!((complete.producer(), complete.previous_producer_id), ((70, 0), Some(7)));
        assert_eq!(complete.end((7, LAST_EPOCH), true, 2), Ok(End::Done));
        assert_eq!(complete.init(Some((7, LAST_EPOCH)), TIMEOUT, 3), Ok(Init::Known));
        let idle = Transaction { epoch: LAST_EPOCH, ..initialised() };
        assert_eq!(idle.init(None, TIMEOUT, 3), Ok(Init::Rotate));
        assert_eq!(idle.rotated(8, TIMEOUT, 4).producer(), (8, 0));
    }

    #[test]
    fn a_new_instance_fences_the_old_one() {
        let begun = ongoing(1);
        let Ok(Init::Abort(aborted)) = begun.init(None, TIMEOUT, 20) else { panic!("it is open") };
        assert_eq!((aborted.status, aborted.epoch), (Status::PrepareAbort, 1));
        let complete = aborted.completed(21);
        let Ok(Init::Store(next)) = complete.init(None, 500, 22) else { panic!("it is free") };
        assert_eq!((next.epoch, next.timeout_ms, next.status), (2, 500, Status::Empty));
        assert_eq!(next.add((7, 0), &parts(1), 1, 23), Err(ResponseError::ProducerFenced));
        assert_eq!(next.add((8, 2), &parts(1), 1, 23), Err(ResponseError::InvalidProducerIdMapping));
        assert_eq!(next.end((7, 0), true, 1), Err(ResponseError::ProducerFenced));
    }

    #[test]
    fn going_on_after_an_error_bumps_once() {
        let complete = ongoing(1).prepared(false, 1).completed(2);
        let Ok(Init::Store(next)) = complete.init(Some((7, 0)), TIMEOUT, 3) else { panic!("it is free") };
        assert_eq!(next.producer(), (7, 1));
        assert_eq!(next.init(Some((7, 0)), TIMEOUT, 4), Ok(Init::Known), "asked again");
        assert_eq!(next.init(Some((9, 0)), TIMEOUT, 4), Err(ResponseError::ProducerFenced));
        let Ok(Init::Store(later)) = next.init(None, TIMEOUT, 5) else { panic!("it is free") };
        assert_eq!(later.init(Some((7, 0)), TIMEOUT, 6), Err(ResponseError::ProducerFenced));
    }

    #[test]
    fn only_members_of_the_open_transaction_are_verified() {
        let begun = ongoing(1);
        assert_eq!(begun.verify((7, 0), &parts(1)), Ok(Partitions::new()));
        assert_eq!(begun.verify((7, 0), &parts(2)), Ok(parts(2)));
        assert_eq!(begun.verify((7, 1), &parts(1)), Err(ResponseError::ProducerFenced));
        assert_eq!(begun.prepared(true, 1).verify((7, 0), &parts(1)), Err(ResponseError::ConcurrentTransactions));
        assert_eq!(initialised().verify((7, 0), &parts(1)), Ok(parts(1)));
    }

    #[test]
    fn what_takes_too_long_is_aborted_and_fenced() {
        let begun = ongoing(1);
        assert_eq!(begun.timed_out(10 + i64::from(TIMEOUT)), None);
        let ended = begun.timed_out(11 + i64::from(TIMEOUT)).expect("late");
        assert_eq!((ended.status, ended.epoch), (Status::PrepareAbort, 1));
        assert!(!begun.is_expired(5, 1_000_000));
        assert!(initialised().is_expired(5, 5));
    }
}
