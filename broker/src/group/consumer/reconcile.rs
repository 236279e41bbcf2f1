//! Brings a member's current assignment towards its target: give up first, say so, then get what others have given up.

use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::assignment::Assignment;
use super::member::{Current, MemberState};
use super::records::ConsumerRecord;
use super::{ConsumerGroup, Refused};

impl ConsumerGroup {
    /// One step of a member. `owned` is what it says it has; `None` when it did not say.
    pub(super) fn reconcile(&mut self, id: &Arc<str>, owned: Option<&Assignment>) -> Result<(), Refused> {
        let Some(member) = self.members.get(id) else { return Ok(()) };
        if member.is_reconciled_to(self.target_epoch) {
            return Ok(());
        }
        let current = &member.current;
        let still_has = |revoking: &Assignment| owned.is_none_or(|owned| owned.overlaps(revoking));
        let next = match current.state {
            MemberState::UnrevokedPartitions if still_has(&current.revoking) => return Ok(()),
            MemberState::UnrevokedPartitions => {
                self.next(id, current, (current.epoch + 1).min(self.target_epoch), &still_has)
            }
            MemberState::Stable | MemberState::UnreleasedPartitions => {
                self.next(id, current, current.epoch, &still_has)
            }
            MemberState::Unknown if owned.is_none_or(|owned| !owned.is_empty()) => {
                return Err(Refused::new(
                    ResponseError::FencedMemberEpoch,
                    "The consumer group member is in a unknown state. The member must abandon all its partitions and \
                     rejoin.",
                ));
            }
            MemberState::Unknown => self.next(id, current, self.target_epoch, &still_has),
        };
        if next != *current {
            self.put(ConsumerRecord::Current(Arc::clone(id), Some(next)));
        }
        Ok(())
    }

    fn next(&self, id: &str, current: &Current, epoch: i32, still_has: &dyn Fn(&Assignment) -> bool) -> Current {
        let none = Assignment::default();
        let target = self.targets.get(id).unwrap_or(&none);
        let (mut assigned, mut revoking) = (Assignment::default(), Assignment::default());
        for (topic, partition) in current.assigned.partitions() {
            let kept = target.contains(topic, partition);
            if kept { &mut assigned } else { &mut revoking }.insert(topic, partition);
        }
        if !revoking.is_empty() && still_has(&revoking) {
            let state = MemberState::UnrevokedPartitions;
            return Current { epoch, previous_epoch: current.epoch, state, assigned, revoking };
        }
        let wanted = target.partitions().filter(|(topic, partition)| !current.assigned.contains(*topic, *partition));
        let (free, unreleased): (Vec<_>, Vec<_>) = wanted.partition(|partition| !self.owners.contains_key(partition));
        assigned.extend(free);
        let state = if unreleased.is_empty() { MemberState::Stable } else { MemberState::UnreleasedPartitions };
        let (epoch, revoking) = (self.target_epoch, Assignment::default());
        Current { epoch, previous_epoch: current.epoch, state, assigned, revoking }
    }

    /// Whether a member waits for partitions of which none has become free.
    pub(super) fn waits_for_unreleased(&self, id: &str) -> bool {
        let (Some(member), Some(target)) = (self.members.get(id), self.targets.get(id)) else { return false };
        member.current.state == MemberState::UnreleasedPartitions
            && target.partitions().any(|(topic, partition)| {
                !member.current.assigned.contains(topic, partition) && self.owners.contains_key(&(topic, partition))
            })
    }
}
