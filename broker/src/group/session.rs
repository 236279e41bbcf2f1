//! After the join phase: assignments, heartbeats, leaving, and what happens when time passes.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

use super::limits::MAX_GROUP_BYTES;
use super::member::{Identity, Sync, SyncResult, Synced};
use super::state::{Group, Now, State, Store};

impl Group {
    /// A member asks for its assignment. The answer comes when the leader's assignments are durable, or at once.
    pub(super) fn sync(&mut self, sync: Sync, now: Now) -> oneshot::Receiver<SyncResult> {
        let (reply, receiver) = oneshot::channel();
        if let Err(code) = self.check_sync(&sync) {
            // The client may have gone.
            let _ = reply.send(Err(code));
            return receiver;
        }
        let id = sync.identity.member;
        self.pending_sync.remove(&id);
        let synced = self.synced(&id);
        let Some(member) = self.members.get_mut(&id) else { return receiver };
        if self.state == State::Stable {
            member.heard(now.at);
            let _ = reply.send(Ok(synced));
            return receiver;
        }
        member.syncing = Some(reply);
        if self.is_leader(&id) {
            self.accept_assignments(id, sync.assignments, now);
        }
        receiver
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), ResponseError> {
        let who = &sync.identity;
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.check_member(&who.member, who.instance.as_ref())?;
        if who.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        let differs = |said: &Option<Arc<str>>, is: &Option<Arc<str>>| said.is_some() && said != is;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn synced(&self, member: &str) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(member).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    /// The leader has shared out: members that it left out get an empty assignment, strangers are ignored.
    fn accept_assignments(&mut self, leader: Arc<str>, said: Vec<(Arc<str>, Bytes)>, now: Now) {
        let mut assignments: HashMap<_, _> = self.members.keys().map(|id| (Arc::clone(id), Bytes::new())).collect();
        for (id, assignment) in said {
            if let Some(slot) = assignments.get_mut(&id) {
                *slot = assignment;
            }
        }
        let before: usize = self.members.values().map(|member| member.assignment.len()).sum();
        let shared_out: usize = assignments.values().map(Bytes::len).sum();
        let fits = self.bytes() - before + shared_out <= MAX_GROUP_BYTES;
        if !fits || !self.may_grow_by(shared_out.saturating_sub(before)) {
            let error = Err(ResponseError::UnknownServerError);
            return self.assignment_done(self.generation, &leader, assignments, error, now);
        }
        self.to_store.push(Store::Assignment { generation: self.generation, leader, assignments });
    }

    /// The assignments are durable, or could not be written. Meanwhile another rebalance may have begun.
    pub(super) fn assignment_done(
        &mut self,
        generation: i32,
        leader: &str,
        mut assignments: HashMap<Arc<str>, Bytes>,
        result: Result<(), ResponseError>,
        now: Now,
    ) {
        if self.state != State::CompletingRebalance || self.generation != generation {
            return;
        }
        match result {
            Ok(()) => {
                for member in self.members.values_mut() {
                    member.assignment = assignments.remove(&member.id).unwrap_or_default();
                }
                self.transition(State::Stable, now);
                self.answer_syncs(Ok(()), now);
            }
            Err(code) => {
                tracing::warn!(group = %self.id, leader, generation, %code, "the group's assignments could not be stored");
                self.answer_syncs(Err(code), now);
                self.rebalance_unless_running(now);
            }
        }
    }

    /// Answers every waiting sync, and starts the sessions of those who waited again. An error voids the assignments.
    pub(super) fn answer_syncs(&mut self, result: Result<(), ResponseError>, now: Now) {
        let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
        for member in self.members.values_mut() {
            if result.is_err() {
                member.assignment = Bytes::new();
            }
            let answer = result.map(|()| Synced {
                protocol_type: protocol_type.clone(),
                protocol: protocol.clone(),
                assignment: member.assignment.clone(),
            });
            if member.answer_sync(answer) {
                member.heard(now.at);
            }
        }
    }

    pub(super) fn heartbeat(&mut self, who: &Identity, now: Now) -> Result<(), ResponseError> {
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.check_member(&who.member, who.instance.as_ref())?;
        if who.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if self.state == State::Empty {
            return Err(ResponseError::UnknownMemberId);
        }
        if let Some(member) = self.members.get_mut(&who.member) {
            member.heard(now.at);
        }
        if self.state == State::PreparingRebalance { Err(ResponseError::RebalanceInProgress) } else { Ok(()) }
    }

    /// One member leaves, or an operator removes a static member by its instance id alone. The rebalance that follows
    /// is started by [`Self::members_left`], once for a batch.
    pub(super) fn leave(&mut self, member: &str, instance: Option<&Arc<str>>) -> Result<(), ResponseError> {
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        let id = if member.is_empty() {
            let current = instance.and_then(|instance| self.statics.get(instance));
            Arc::clone(current.ok_or(ResponseError::UnknownMemberId)?)
        } else if self.pending_join.remove(member).is_some() {
            return Ok(());
        } else {
            self.check_member(member, instance)?;
            Arc::from(member)
        };
        if let Some(mut gone) = self.remove(&id) {
            gone.refuse(ResponseError::UnknownMemberId, Arc::default());
        }
        Ok(())
    }

    /// After [`Self::leave`]: whoever remains shares out anew.
    pub(super) fn members_left(&mut self, now: Now) {
        match self.state {
            State::CompletingRebalance | State::Stable => self.rebalance_unless_running(now),
            State::PreparingRebalance => self.complete_if_all_joined(now),
            _ => {}
        }
    }

    /// Ends sessions and phases whose time is up.
    pub(super) fn on_time(&mut self, now: Now) {
        let pending = self.pending_join.len();
        self.pending_join.retain(|_, until| *until > now.at);
        if self.pending_join.len() < pending {
            self.complete_if_all_joined(now);
        }
        let is_due = |deadline: Option<tokio::time::Instant>| deadline.is_some_and(|deadline| deadline <= now.at);
        let due = self.members.values().filter(|member| is_due(member.deadline));
        for id in due.map(|member| Arc::clone(&member.id)).collect::<Vec<_>>() {
            self.on_session_end(&id, now);
        }
        self.on_join_timer(now);
        if is_due(self.sync_deadline) {
            self.on_sync_deadline(now);
        }
    }

    fn on_session_end(&mut self, id: &Arc<str>, now: Now) {
        let Some(member) = self.members.get_mut(id) else { return };
        // A rebalance on the way may have restarted the session.
        if member.deadline.is_none_or(|deadline| deadline > now.at) {
            return;
        }
        if !member.is_new && (member.joining.is_some() || member.syncing.is_some()) {
            // It waits for us, so it cannot send heartbeats; the session starts again with the answer.
            member.deadline = None;
            return;
        }
        tracing::info!(group = %self.id, member = ?id, "the member's session ended");
        self.member_left(id, now);
    }

    /// Members that joined and never asked for their assignment hold the others up no longer.
    fn on_sync_deadline(&mut self, now: Now) {
        self.sync_deadline = None;
        if !matches!(self.state, State::CompletingRebalance | State::Stable) || self.pending_sync.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_sync) {
            if let Some(mut member) = self.remove(&id) {
                member.refuse(ResponseError::UnknownMemberId, Arc::default());
            }
        }
        self.rebalance_unless_running(now);
    }
}
