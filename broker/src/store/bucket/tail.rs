//! The newest batches of a partition in memory: all that are not durable yet, and of the others what the shard's share of
//! memory holds. Consumers at the end of a log are served from here. The bytes are the ones that SlateDB holds too.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::store::{Offset, Piece, Read, Slice};

struct Recent {
    last_offset: Offset,
    bytes: Bytes,
}

pub(super) struct Tail {
    batches: VecDeque<Recent>,
    /// Every batch from here to the end of the log is in it.
    start: Offset,
}

impl Tail {
    pub(super) fn new(end: Offset) -> Self {
        Self { batches: VecDeque::new(), start: end }
    }

    pub(super) fn start(&self) -> Offset {
        self.start
    }

    pub(super) fn push(&mut self, last_offset: Offset, bytes: Bytes) {
        self.batches.push_back(Recent { last_offset, bytes });
    }

    /// Forgets the batches that end below an offset.
    pub(super) fn forget(&mut self, below: Offset) {
        while self.batches.front().is_some_and(|oldest| oldest.last_offset < below) {
            if let Some(oldest) = self.batches.pop_front() {
                self.start = oldest.last_offset + 1;
            }
        }
    }

    /// Adds to a slice what there is from an offset on, which must not lie before the start.
    pub(super) fn read(&self, from: Offset, read: &Read, slice: &mut Slice) {
        let first = self.batches.partition_point(|batch| batch.last_offset < from);
        let mut len = slice.len();
        for batch in self.batches.range(first..) {
            let fits = len + batch.bytes.len() <= read.max_bytes || (len == 0 && read.at_least_one);
            if batch.last_offset >= read.until || !fits {
                return;
            }
            len += batch.bytes.len();
            slice.pieces.push(Piece::Memory(batch.bytes.clone()));
            slice.next_offset = batch.last_offset + 1;
        }
    }
}
