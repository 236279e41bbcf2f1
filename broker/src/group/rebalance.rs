//! The join phase: members come in, and when all are there (or the time is up) a new generation begins.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

use super::limits::{MAX_GROUP_BYTES, MEMBER_BYTES};
use super::member::{Join, JoinRefused, JoinResult, Member, new_member_id, protocol_bytes};
use super::state::{Change, Group, JoinTimer, Now, State, Store};

/// How long a new member waits for its first generation. It has no session before, since it does not know its id.
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);

type Reply = oneshot::Sender<JoinResult>;

impl Group {
    /// A member joins or joins again. The answer comes when the next generation begins, or at once.
    pub(super) fn join(&mut self, join: Join, now: Now) -> oneshot::Receiver<JoinResult> {
        let (reply, receiver) = oneshot::channel();
        if let Err(code) = self.admit(&join) {
            refuse(reply, code, &join.member);
            return receiver;
        }
        if !join.member.is_empty() {
            self.join_known(join, reply, now);
        } else if let Some(old) = join.instance.as_ref().and_then(|instance| self.statics.get(instance)).cloned() {
            self.join_returning_static(old, join, reply, now);
        } else {
            let id = new_member_id(&join);
            if join.instance.is_none() && join.id_first {
                self.pending_join.insert(Arc::clone(&id), now.at + join.session_timeout);
                refuse(reply, ResponseError::MemberIdRequired, &id);
            } else {
                self.join_new(id, join, reply, now);
            }
        }
        self.complete_if_all_joined(now);
        receiver
    }

    /// What holds for every join: room in the group, and a protocol in common with the others.
    fn admit(&mut self, join: &Join) -> Result<(), ResponseError> {
        let max = self.settings.max_size;
        let member = self.members.get(&join.member);
        let has_room = match self.state {
            State::Dead => return Err(ResponseError::CoordinatorNotAvailable),
            // It became a consumer group a moment ago.
            _ if self.consumer.is_some() => return Err(ResponseError::RebalanceInProgress),
            State::Empty => true,
            State::PreparingRebalance => {
                member.is_some_and(|member| member.joining.is_some())
                    || self.members.values().filter(|member| member.joining.is_some()).count() < max
            }
            _ => member.is_some() || self.members.len() < max,
        };
        let instance = join.instance.as_ref().map_or(0, |instance| instance.len());
        let names = join.client_id.len() + join.client_host.len() + instance;
        let asked = names + protocol_bytes(&join.protocols);
        let others = self.bytes() - member.map_or(0, Member::bytes);
        let growth = member.map_or(MEMBER_BYTES + asked, |member| asked.saturating_sub(member.bytes()));
        let fits = others + asked <= MAX_GROUP_BYTES && self.may_grow_by(growth);
        let ids_pending = if join.member.is_empty() { self.pending_join.len() } else { 0 };
        if !has_room || ids_pending >= max || !fits {
            self.remove(&join.member);
            self.pending_join.remove(&join.member);
            return Err(ResponseError::GroupMaxSizeReached);
        }
        if !self.supports(&join.protocol_type, join.protocols.iter().map(|protocol| &protocol.name)) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn join_known(&mut self, join: Join, reply: Reply, now: Now) {
        let id = Arc::clone(&join.member);
        if self.pending_join.contains_key(&id) {
            if join.instance.is_some() {
                return refuse(reply, ResponseError::UnknownMemberId, &id);
            }
            return self.join_new(id, join, reply, now);
        }
        if let Err(code) = self.check_member(&id, join.instance.as_ref()) {
            return refuse(reply, code, &id);
        }
        let unchanged = self.members.get(&id).is_some_and(|member| member.protocols == join.protocols);
        match self.state {
            State::PreparingRebalance => self.rejoin(join, reply, now),
            // The answer to the first join got lost: say it again.
            State::CompletingRebalance if unchanged => {
                let joined = self.joined(&id, self.is_leader(&id));
                // The client may have gone.
                let _ = reply.send(Ok(joined));
            }
            // A leader that joins again wants a new assignment, for reasons that its metadata need not show.
            State::Stable if unchanged && !self.is_leader(&id) => {
                let _ = reply.send(Ok(self.joined(&id, false)));
            }
            State::CompletingRebalance | State::Stable => self.rejoin(join, reply, now),
            _ => refuse(reply, ResponseError::UnknownMemberId, &id),
        }
    }

    fn join_new(&mut self, id: Arc<str>, join: Join, reply: Reply, now: Now) {
        if self.initial_delay_runs() {
            self.new_member_added = true;
        }
        let protocol_type = Arc::clone(&join.protocol_type);
        let mut member = Member::new(id, join, reply);
        member.deadline = Some(now.at + NEW_MEMBER_JOIN_TIMEOUT);
        self.add(member, protocol_type);
        self.rebalance_unless_running(now);
    }

    fn rejoin(&mut self, join: Join, reply: Reply, now: Now) {
        let id = Arc::clone(&join.member);
        if let Some(member) = self.members.get_mut(&id) {
            member.update(join, Some(reply));
        }
        self.rebalance_unless_running(now);
    }

    /// A static member was restarted: it takes its old place under a new id. Whoever still uses the old id is fenced.
    fn join_returning_static(&mut self, old: Arc<str>, join: Join, reply: Reply, now: Now) {
        let (id, may_skip) = (new_member_id(&join), join.may_skip_assignment);
        let old_leader = self.leader.clone();
        if !self.replace_static(&old, &id, join.instance.clone()) {
            return refuse(reply, ResponseError::UnknownMemberId, &old);
        }
        let Some(member) = self.members.get_mut(&id) else { return };
        member.update(join, None);
        member.heard(now.at);
        if self.state == State::Stable && self.select_protocol() == self.protocol {
            let mut joined = self.joined(&id, may_skip && self.is_leader(&id));
            joined.skip_assignment = may_skip && self.is_leader(&id);
            // An older client that hears it leads would share out partitions, so it hears of the leader before.
            if let (false, Some(leader)) = (may_skip, old_leader) {
                joined.leader = leader;
            }
            self.to_store.push(Store::Replaced { reply, joined });
            return;
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.joining = Some(reply);
        }
        // After the join phase the leader may already have the old id in its hands.
        self.rebalance_unless_running(now);
    }

    /// Puts `new` where `old` was, in the same place of the order.
    fn replace_static(&mut self, old: &Arc<str>, new: &Arc<str>, instance: Option<Arc<str>>) -> bool {
        let Some((index, _, mut member)) = self.members.shift_remove_full(old) else { return false };
        member.refuse(ResponseError::FencedInstanceId, Arc::clone(old));
        member.id = Arc::clone(new);
        self.members.shift_insert(index, Arc::clone(new), member);
        if self.is_leader(old) {
            self.leader = Some(Arc::clone(new));
        }
        if self.pending_sync.remove(old) {
            self.pending_sync.insert(Arc::clone(new));
        }
        if let Some(instance) = instance {
            self.statics.insert(instance, Arc::clone(new));
        }
        true
    }

    fn initial_delay_runs(&self) -> bool {
        self.state == State::PreparingRebalance && matches!(self.join_timer, Some(JoinTimer::Initial { .. }))
    }

    /// Starts a rebalance, or ends the running one when this was the last member missing.
    pub(super) fn rebalance_unless_running(&mut self, now: Now) {
        match self.state {
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(now),
            State::PreparingRebalance => self.complete_if_all_joined(now),
            // Consumer groups do not come here.
            State::Assigning | State::Reconciling | State::Dead => {}
        }
    }

    fn prepare_rebalance(&mut self, now: Now) {
        if self.state == State::CompletingRebalance {
            self.answer_syncs(Err(ResponseError::RebalanceInProgress), now);
        }
        self.sync_deadline = None;
        let first = self.state == State::Empty;
        self.transition(State::PreparingRebalance, now);
        if first {
            let delay = self.settings.initial_rebalance_delay;
            let remaining = self.rebalance_timeout().saturating_sub(delay);
            self.new_member_added = false;
            self.join_timer = Some(JoinTimer::Initial { at: now.at + delay, remaining });
        } else {
            self.join_timer = Some(JoinTimer::Rebalance { at: now.at + self.rebalance_timeout() });
            self.complete_if_all_joined(now);
        }
    }

    /// Ends the join phase when nobody is missing. An empty group's first members wait out the initial delay.
    pub(super) fn complete_if_all_joined(&mut self, now: Now) {
        let all = self.pending_join.is_empty() && self.members.values().all(|member| member.joining.is_some());
        if self.state == State::PreparingRebalance && all && !self.initial_delay_runs() {
            self.complete_join(now);
        }
    }

    /// The join phase's time is up.
    pub(super) fn on_join_timer(&mut self, now: Now) {
        match self.join_timer {
            Some(JoinTimer::Initial { at, remaining }) if at <= now.at => {
                if self.new_member_added && !remaining.is_zero() {
                    let delay = self.settings.initial_rebalance_delay.min(remaining);
                    self.new_member_added = false;
                    self.join_timer =
                        Some(JoinTimer::Initial { at: now.at + delay, remaining: remaining.saturating_sub(delay) });
                } else {
                    self.complete_join(now);
                }
            }
            Some(JoinTimer::Rebalance { at }) if at <= now.at => self.complete_join(now),
            _ => {}
        }
    }

    /// Begins the next generation with those who are there.
    fn complete_join(&mut self, now: Now) {
        self.join_timer = None;
        self.drop_absent();
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members, none of which has come back: their sessions decide.
            self.join_timer = Some(JoinTimer::Rebalance { at: now.at + self.rebalance_timeout() });
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.pending_sync.clear();
        self.protocol = self.select_protocol();
        let (generation, members) = (self.generation, self.members.len());
        tracing::info!(group = %self.id, generation, members, "a new generation of the group begins");
        if self.members.is_empty() {
            self.leader = None;
            self.transition(State::Empty, now);
            self.to_store.push(Store::Empty);
            return;
        }
        self.transition(State::CompletingRebalance, now);
        self.answer_joins(now);
        self.sync_deadline = Some(now.at + self.rebalance_timeout());
    }

    /// Members that have not joined again are out, except static ones, whose place is kept for their session.
    fn drop_absent(&mut self) {
        let absent = |member: &&Member| member.joining.is_none() && member.instance.is_none();
        let gone: Vec<_> = self.members.values().filter(absent).map(|member| Arc::clone(&member.id)).collect();
        for id in gone {
            self.remove(&id);
        }
    }

    /// A leader that has not come back gives its office to one who has; false when nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |id: &Arc<str>| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let first = self.members.values().find(|member| member.joining.is_some()).map(|member| Arc::clone(&member.id));
        let elected = first.is_some();
        if elected {
            self.leader = first;
        }
        elected
    }

    fn answer_joins(&mut self, now: Now) {
        let answers: Vec<_> = self.members.keys().map(|id| self.joined(id, self.is_leader(id))).collect();
        for (member, joined) in self.members.values_mut().zip(answers) {
            member.answer_join(Ok(joined));
            member.heard(now.at);
            member.is_new = false;
            self.pending_sync.insert(Arc::clone(&member.id));
        }
    }

    /// The group's metadata is durable, or could not be written.
    pub(super) fn store_done(&mut self, store: Store, result: Result<(), ResponseError>, now: Now) {
        match (store, result) {
            (Store::Empty, _) => {}
            (Store::Replaced { reply, joined }, Ok(())) => {
                let _ = reply.send(Ok(joined));
            }
            (Store::Replaced { reply, joined }, Err(code)) => refuse(reply, code, &joined.member),
            (Store::Assignment { generation, leader, assignments }, result) => {
                self.assignment_done(generation, &leader, assignments, result, now);
            }
        }
    }

    /// A member is gone: whoever remains shares out anew.
    pub(super) fn member_left(&mut self, id: &str, now: Now) {
        if let Some(mut member) = self.remove(id) {
            member.refuse(ResponseError::UnknownMemberId, Arc::default());
            self.rebalance_unless_running(now);
        }
    }
}

impl Change {
    /// What happens to it when its records could not be appended.
    pub(super) fn failed(self, group: &mut Group, code: ResponseError, now: Now) {
        if let Change::Stored(store) = self {
            group.store_done(store, Err(code), now);
        }
    }
}

fn refuse(reply: Reply, code: ResponseError, member: &Arc<str>) {
    // The client may have gone.
    let _ = reply.send(Err(JoinRefused { code, member: Arc::clone(member) }));
}
