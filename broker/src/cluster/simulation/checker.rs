//! What must hold after every step.

use std::collections::BTreeMap;

use super::super::{Epoch, ShardId};
use super::bucket::{Bucket, Record};

#[derive(Debug, Default)]
pub(super) struct Checker {
    acknowledged: BTreeMap<ShardId, BTreeMap<usize, Record>>,
    /// What any reader has seen, or any producer was told, by shard: one past the last offset.
    known: BTreeMap<ShardId, usize>,
    /// The newest epoch in which a shard was served, by shard.
    served: BTreeMap<ShardId, Epoch>,
    opened: BTreeMap<(ShardId, Epoch), usize>,
    controllers: BTreeMap<Epoch, usize>,
    /// By host and life.
    believed: BTreeMap<(usize, u64), Epoch>,
    /// The newest catalog version that was answered.
    pub(super) settled: u64,
    pub(super) reigns: usize,
    /// When each shard last acknowledged something, and the longest it has taken (ms).
    pub(super) last_write: BTreeMap<ShardId, u64>,
    pub(super) write_gap: BTreeMap<ShardId, u64>,
    /// The same of reads.
    pub(super) last_read: BTreeMap<ShardId, u64>,
    pub(super) read_gap: BTreeMap<ShardId, u64>,
}

type Check = Result<(), String>;

impl Checker {
    pub(super) fn opened(&mut self, host: usize, shard: ShardId, epoch: Epoch, expected: Option<Epoch>) -> Check {
        if expected.is_none_or(|expected| epoch != expected + 1) {
            return Err(format!("host {host} opened shard {shard} in epoch {epoch}, and {expected:?} was expected"));
        }
        match self.opened.insert((shard, epoch), host) {
            None => Ok(()),
            Some(other) => Err(format!("two writers in epoch {epoch} of shard {shard}: hosts {other} and {host}")),
        }
    }

    /// Two that both took over may announce it in any order, but never with the same epoch.
    pub(super) fn became_controller(&mut self, host: usize, epoch: Epoch) -> Check {
        self.reigns += 1;
        match self.controllers.insert(epoch, host) {
            None => Ok(()),
            Some(other) => Err(format!("hosts {other} and {host} were both controller in epoch {epoch}")),
        }
    }

    /// What a process believes to be the controller's epoch, only ever grows.
    pub(super) fn believes(&mut self, host: usize, life: u64, epoch: Epoch) -> Check {
        let before = self.believed.insert((host, life), epoch).unwrap_or(0);
        match epoch >= before {
            true => Ok(()),
            false => Err(format!("host {host} went from controller {before} back to {epoch}")),
        }
    }

    /// A broker begins to serve. One that was paused may do so after its successor: it has no lease then, and its
    /// writes fail.
    pub(super) fn active(&mut self, shard: ShardId, epoch: Epoch) {
        let served = self.served.entry(shard).or_default();
        *served = (*served).max(epoch);
    }

    pub(super) fn acknowledged(
        &mut self,
        time: u64,
        bucket: &mut Bucket,
        shard: ShardId,
        offset: usize,
        record: Record,
    ) -> Check {
        if bucket.shard(shard).log.get(offset) != Some(&record) {
            return Err(format!(
                "record {record} was acknowledged at offset {offset} of shard {shard}, and is not there"
            ));
        }
        if let Some(other) = self.acknowledged.entry(shard).or_default().insert(offset, record) {
            return Err(format!("offset {offset} of shard {shard} was given to record {other} and to {record}"));
        }
        let known = self.known.entry(shard).or_default();
        *known = (*known).max(offset + 1);
        note(&mut self.last_write, &mut self.write_gap, shard, time);
        Ok(())
    }

    pub(super) fn read(
        &mut self,
        time: u64,
        host: usize,
        shard: ShardId,
        epoch: Epoch,
        high_watermark: usize,
    ) -> Check {
        let served = self.served.get(&shard).copied().unwrap_or(0);
        if epoch < served {
            return Err(format!(
                "host {host} has a lease for shard {shard} in epoch {epoch}, which is served in {served}"
            ));
        }
        let known = self.known.entry(shard).or_default();
        if high_watermark < *known {
            return Err(format!(
                "stale read: host {host} shows shard {shard} up to {high_watermark} in epoch {epoch}, {known} is known"
            ));
        }
        *known = high_watermark;
        note(&mut self.last_read, &mut self.read_gap, shard, time);
        Ok(())
    }

    pub(super) fn relies_on_catalog(&self, host: usize, applied: u64) -> Check {
        match applied >= self.settled {
            true => Ok(()),
            false => Err(format!(
                "host {host} relies on catalog version {applied}, and version {} was answered",
                self.settled
            )),
        }
    }

    /// Every acknowledged record is where it was acknowledged, once, and in the order of sending.
    pub(super) fn logs(&self, bucket: &Bucket) -> Check {
        for (shard, stored) in &bucket.shards {
            if let Some(pair) = stored.log.windows(2).find(|pair| pair[0] >= pair[1]) {
                return Err(format!("shard {shard} holds {} before {}", pair[0], pair[1]));
            }
            for (offset, record) in self.acknowledged.get(shard).into_iter().flatten() {
                if stored.log.get(*offset) != Some(record) {
                    return Err(format!("acknowledged record {record} of shard {shard} is lost"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn acknowledged_count(&self) -> usize {
        self.acknowledged.values().map(BTreeMap::len).sum()
    }

    /// The longest time that one of `shards` took until the next acknowledgement and the next read (ms).
    pub(super) fn longest(&self, shards: &[ShardId], time: u64) -> u64 {
        let longest = |last: &BTreeMap<ShardId, u64>, gaps: &BTreeMap<ShardId, u64>| {
            let open = |shard| time - last.get(shard).copied().unwrap_or(0);
            shards.iter().map(|shard| gaps.get(shard).copied().unwrap_or(0).max(open(shard))).max().unwrap_or(0)
        };
        longest(&self.last_write, &self.write_gap).max(longest(&self.last_read, &self.read_gap))
    }

    /// Gaps are measured from now on.
    pub(super) fn measure_from(&mut self, time: u64) {
        self.last_write.values_mut().chain(self.last_read.values_mut()).for_each(|last| *last = time);
        (self.write_gap, self.read_gap) = Default::default();
    }
}

fn note(last: &mut BTreeMap<ShardId, u64>, gaps: &mut BTreeMap<ShardId, u64>, shard: ShardId, time: u64) {
    if let Some(before) = last.insert(shard, time) {
        let gap = gaps.entry(shard).or_default();
        *gap = (*gap).max(time - before);
    }
}
