//! Leaving, being put out when time is up, and what a member may do with offsets.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::heartbeat::{Beaten, Heartbeat, Refused, fenced, session_timeout, unknown};
use super::member::{Current, LEAVE_FOR_A_WHILE, MemberState};
use super::records::ConsumerRecord;
use super::{ConsumerGroup, World};
use crate::catalog::Image;
use crate::group::limits::FENCE_RETRY;
use crate::group::member::Identity;
use crate::group::state::Now;

impl ConsumerGroup {
    /// The heartbeat with which a member leaves.
    pub(super) fn leave(&mut self, beat: &Heartbeat, world: &World) -> Result<Beaten, Refused> {
        let id = Arc::clone(&beat.member);
        if let Some(instance) = &beat.instance {
            match self.statics.get(instance) {
                None => {
                    let message = format!("Instance id {instance} is unknown.");
                    return Err(Refused::new(ResponseError::UnknownMemberId, message));
                }
                Some(current) if *current != id => return Err(fenced(&id, instance, current)),
                Some(_) => {}
            }
        }
        let Some(member) = self.members.get(&id) else { return Err(unknown(&id, &self.id)) };
        if beat.epoch == LEAVE_FOR_A_WHILE && beat.instance.is_some() {
            let left = Current { epoch: LEAVE_FOR_A_WHILE, revoking: Default::default(), ..member.current.clone() };
            self.put(ConsumerRecord::Current(Arc::clone(&id), Some(left)));
            self.deadlines_of(&id).revocation = None;
        } else {
            self.fence(&[Arc::clone(&id)], world.image);
        }
        tracing::info!(group = %self.id, member = ?id, epoch = beat.epoch, "the member left the group");
        Ok(Beaten { member: id, epoch: beat.epoch, heartbeat_interval: None, assignment: None })
    }

    /// Puts members out. The others get their partitions with the next target assignment.
    pub(super) fn fence(&mut self, members: &[Arc<str>], image: &Image) {
        members.iter().for_each(|id| self.remove(id));
        let is_used = |regex: &Arc<str>| self.regex_members.contains_key(regex);
        let unused: Vec<_> = self.regexes.keys().filter(|regex| !is_used(regex)).cloned().collect();
        unused.into_iter().for_each(|regex| self.put(ConsumerRecord::Regex(regex, None)));
        self.update_epoch(true, image);
    }

    pub(super) fn remove(&mut self, id: &Arc<str>) {
        self.put(ConsumerRecord::Current(Arc::clone(id), None));
        self.put(ConsumerRecord::Target(Arc::clone(id), None));
        self.put(ConsumerRecord::Member(Arc::clone(id), None));
    }

    /// Members whose time is up.
    pub(super) fn overdue(&self, now: Now) -> Vec<Arc<str>> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now.at);
        let mut overdue = Vec::new();
        for (id, deadlines) in &self.deadlines {
            let Some(member) = self.members.get(id) else { continue };
            let still_to_revoke = |(epoch, at): (i32, Instant)| (member.current.epoch == epoch).then_some(at);
            let why = if is_due(deadlines.session) {
                "its session ended"
            } else if is_due(deadlines.revocation.and_then(still_to_revoke)) {
                "it did not give up its partitions in time"
            } else if is_due(deadlines.join) {
                "it did not join again in time"
            } else if is_due(deadlines.sync) {
                "it did not ask for its assignment in time"
            } else {
                continue;
            };
            tracing::info!(group = %self.id, member = ?id, why, "the member is put out of the group");
            overdue.push(Arc::clone(id));
        }
        overdue.sort();
        overdue
    }

    /// Members could not be put out, since the log did not take it: again after a while.
    pub(super) fn postpone(&mut self, members: &[Arc<str>], now: Now) {
        for id in members {
            let deadlines = self.deadlines_of(id);
            (deadlines.revocation, deadlines.join, deadlines.sync) = (None, None, None);
            deadlines.session = Some(now.at + FENCE_RETRY);
        }
    }

    /// Drops deadlines that are over without having any effect, so that the timer does not find them again.
    pub(super) fn forget_void_deadlines(&mut self, now: Now) {
        let members = &self.members;
        for (id, deadlines) in &mut self.deadlines {
            let epoch = members.get(id).map(|member| member.current.epoch);
            if deadlines.revocation.is_some_and(|(of, at)| at <= now.at && Some(of) != epoch) {
                deadlines.revocation = None;
            }
        }
    }

    /// The first deadline of all; or where a timer is `armed`, the first of those that were set since the last call,
    /// since the others do not come before it.
    pub(in crate::group) fn next_deadline(&mut self, armed: bool) -> Option<Instant> {
        let touched = std::mem::take(&mut self.touched);
        match armed {
            true => touched.iter().filter_map(|id| self.deadlines.get(id)?.next()).min(),
            false => self.deadlines.values().filter_map(|deadlines| deadlines.next()).min(),
        }
    }

    /// Starts the clocks of a group that was loaded or made from a classic one.
    pub(in crate::group) fn start_sessions(&mut self, image: &Image, now: Now) {
        let times = self.times(image);
        for (id, member) in &self.members {
            self.touched.push(Arc::clone(id));
            let deadlines = self.deadlines.entry(Arc::clone(id)).or_default();
            deadlines.session = Some(now.at + session_timeout(&member.profile, times.session_timeout));
            if member.current.state == MemberState::UnrevokedPartitions && !member.is_classic() {
                deadlines.revocation = Some((member.current.epoch, now.at + member.profile.rebalance_timeout()));
            }
        }
    }

    /// Whether this client may commit. Tools may while there are no members.
    pub(in crate::group) fn check_commit(&self, who: &Identity) -> Result<(), ResponseError> {
        if who.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check_epoch_of(&who.member, who.generation)
    }

    /// Whether a member may fetch offsets with this epoch.
    pub(in crate::group) fn check_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ResponseError> {
        match member {
            None if epoch < 0 => Ok(()),
            member => self.check_epoch_of(member.unwrap_or_default(), epoch),
        }
    }

    fn check_epoch_of(&self, member: &str, epoch: i32) -> Result<(), ResponseError> {
        let member = self.members.get(member).ok_or(ResponseError::UnknownMemberId)?;
        if member.current.epoch == epoch {
            return Ok(());
        }
        Err(if member.is_classic() { ResponseError::IllegalGeneration } else { ResponseError::StaleMemberEpoch })
    }

    /// Whether this member speaks in epochs, which older requests do not know.
    pub(in crate::group) fn uses_epochs(&self, member: &str) -> bool {
        self.members.get(member).is_some_and(|member| !member.is_classic())
    }
}
