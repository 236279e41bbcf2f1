//! Members of a consumer group that still use the classic protocol: their JoinGroup, SyncGroup, Heartbeat and LeaveGroup,
//! answered from the same state. None of them leads: the coordinator shares out.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::assignment::Assignment;
use super::embedded;
use super::heartbeat::{Refused, session_timeout};
use super::member::{ClassicProfile, Member, MemberState, Profile};
use super::{ConsumerGroup, World};
use crate::catalog::Image;
use crate::group::CONSUMER;
use crate::group::member::{Identity, Join, JoinRefused, Joined, Sync, Synced, new_member_id, to_ms};
use crate::group::state::Now;

impl ConsumerGroup {
    /// A member joins, or joins again, with the classic protocol. On an error the caller rolls back.
    pub(super) fn classic_join(&mut self, join: &Join, world: &World, now: Now) -> Result<Joined, JoinRefused> {
        let is_new = join.member.is_empty();
        let id = if is_new { new_member_id(join) } else { Arc::clone(&join.member) };
        let refused = |code| JoinRefused { code, member: Arc::clone(&join.member) };
        self.check_room(&id).map_err(|error| refused(error.code))?;
        if !self.supports(join) {
            return Err(refused(ResponseError::InconsistentGroupProtocol));
        }
        if is_new && join.id_first && join.instance.is_none() {
            return Err(JoinRefused { code: ResponseError::MemberIdRequired, member: id });
        }
        let Some(first) = join.protocols.first() else {
            return Err(refused(ResponseError::InconsistentGroupProtocol));
        };
        let subscription =
            embedded::subscription(&first.metadata).map_err(|_| refused(ResponseError::InconsistentGroupProtocol))?;
        self.take_static_place(join, &id, is_new).map_err(|error| refused(error.code))?;
        let profile = Profile {
            instance: join.instance.clone(),
            rack: subscription.rack,
            client_id: Arc::clone(&join.client_id),
            client_host: Arc::clone(&join.client_host),
            names: subscription.topics,
            regex: None,
            rebalance_timeout_ms: to_ms(join.rebalance_timeout),
            assignor: None,
            classic: Some(ClassicProfile {
                session_timeout_ms: to_ms(join.session_timeout),
                protocols: join.protocols.clone(),
            }),
        };
        let owned = ids(world.image, &subscription.owned);
        let done = self.update_member(&id, profile, world, now).and_then(|()| self.reconcile(&id, Some(&owned)));
        done.map_err(|error| refused(error.code))?;
        let Some(generation) = self.members.get(&id).map(|member| member.current.epoch) else {
            return Err(refused(ResponseError::UnknownMemberId));
        };
        let deadlines = self.deadlines_of(&id);
        deadlines.session = Some(now.at + join.session_timeout);
        deadlines.sync = Some(now.at + join.rebalance_timeout);
        (deadlines.join, deadlines.revocation) = (None, None);
        Ok(Joined {
            generation,
            protocol_type: Some(CONSUMER.into()),
            protocol: Some(Arc::clone(&first.name)),
            leader: "".into(),
            member: id,
            skip_assignment: false,
            members: Vec::new(),
        })
    }

    /// A protocol that every other classic member offers too.
    fn supports(&self, join: &Join) -> bool {
        let others = self.members.iter().filter(|(id, _)| ***id != *join.member);
        let others: Vec<_> = others.filter_map(|(_, member)| member.profile.classic.as_ref()).collect();
        let offers = |classic: &ClassicProfile, name: &str| classic.protocols.iter().any(|offer| &*offer.name == name);
        &*join.protocol_type == CONSUMER
            && join.protocols.iter().any(|offer| others.iter().all(|classic| offers(classic, &offer.name)))
    }

    fn take_static_place(&mut self, join: &Join, id: &Arc<str>, is_new: bool) -> Result<(), Refused> {
        let Some(instance) = &join.instance else { return Ok(()) };
        match self.statics.get(instance).cloned() {
            Some(old) if is_new => drop(self.replace(&old, id)),
            Some(old) if old != *id => return Err(ResponseError::FencedInstanceId.into()),
            None if !is_new => return Err(ResponseError::UnknownMemberId.into()),
            _ => {}
        }
        Ok(())
    }

    pub(in crate::group) fn classic_sync(
        &mut self,
        sync: &Sync,
        image: &Image,
        now: Now,
    ) -> Result<Synced, ResponseError> {
        let who = &sync.identity;
        let id = self.classic_member(who)?;
        let Some(member) = self.members.get(&id) else { return Err(ResponseError::UnknownMemberId) };
        let classic = member.profile.classic.clone().unwrap_or_default();
        let protocol = classic.protocols.first().map(|protocol| Arc::clone(&protocol.name));
        let differs = |said: Option<&str>, is: Option<&str>| said.is_some() && said != is;
        if differs(sync.protocol_type.as_deref(), Some(CONSUMER))
            || differs(sync.protocol.as_deref(), protocol.as_deref())
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        if self.epoch.epoch > member.current.epoch && member.current.state != MemberState::UnrevokedPartitions {
            self.expect_join(&id, now);
            return Err(ResponseError::RebalanceInProgress);
        }
        let assignment = named_assignment(member, image);
        let session = now.at + session_timeout(&member.profile, self.own().session_timeout);
        let deadlines = self.deadlines_of(&id);
        (deadlines.session, deadlines.sync) = (Some(session), None);
        Ok(Synced { protocol_type: sync.protocol_type.clone(), protocol: sync.protocol.clone(), assignment })
    }

    pub(in crate::group) fn classic_heartbeat(&mut self, who: &Identity, now: Now) -> Result<(), ResponseError> {
        let id = self.classic_member(who)?;
        let Some(member) = self.members.get(&id) else { return Err(ResponseError::UnknownMemberId) };
        let current = &member.current;
        let has_to_join = current.epoch < self.epoch.epoch
            || current.state == MemberState::UnrevokedPartitions
            || (current.state == MemberState::UnreleasedPartitions && !self.waits_for_unreleased(&id));
        let session = now.at + session_timeout(&member.profile, self.own().session_timeout);
        self.deadlines_of(&id).session = Some(session);
        if has_to_join {
            self.expect_join(&id, now);
            return Err(ResponseError::RebalanceInProgress);
        }
        Ok(())
    }

    fn expect_join(&mut self, id: &Arc<str>, now: Now) {
        let timeout = self.members.get(id).map(|member| member.profile.rebalance_timeout()).unwrap_or_default();
        self.deadlines_of(id).join.get_or_insert(now.at + timeout);
    }

    /// The classic member that a request comes from.
    fn classic_member(&self, who: &Identity) -> Result<Arc<str>, ResponseError> {
        if let Some(instance) = &who.instance {
            match self.statics.get(instance) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(current) if *current != who.member => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        let member = self.members.get(&who.member).filter(|member| member.is_classic());
        let member = member.ok_or(ResponseError::UnknownMemberId)?;
        if member.current.epoch != who.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        Ok(Arc::clone(&who.member))
    }

    /// Which members a LeaveGroup takes out, one result for each that is named.
    pub(super) fn classic_leavers(
        &self,
        members: &[(Arc<str>, Option<Arc<str>>)],
    ) -> Vec<Result<Arc<str>, ResponseError>> {
        let leaver = |(member, instance): &(Arc<str>, Option<Arc<str>>)| {
            let id = match instance {
                None => member,
                Some(instance) => {
                    let current = self.statics.get(instance).ok_or(ResponseError::UnknownMemberId)?;
                    if !member.is_empty() && member != current {
                        return Err(ResponseError::FencedInstanceId);
                    }
                    current
                }
            };
            let known = self.members.get(id).is_some_and(Member::is_classic);
            if known { Ok(Arc::clone(id)) } else { Err(ResponseError::UnknownMemberId) }
        };
        members.iter().map(leaver).collect()
    }
}

/// Partitions of existing topics, by their ids.
pub(super) fn ids(image: &Image, partitions: &[(Arc<str>, i32)]) -> Assignment {
    let known = |(topic, partition): &(Arc<str>, i32)| image.topic(topic).map(|topic| (topic.id, *partition));
    partitions.iter().filter_map(known).collect()
}

/// What a classic member has, in the bytes that it understands.
pub(super) fn named_assignment(member: &Member, image: &Image) -> bytes::Bytes {
    let classic = member.profile.classic.as_ref();
    let subscription = classic.and_then(|classic| classic.protocols.first()).map(|protocol| protocol.metadata.clone());
    let topics = member.current.assigned.topics();
    let named: BTreeMap<_, _> = topics
        .filter_map(|(topic, partitions)| image.topic_names.get(&topic).map(|name| (name.as_str(), partitions)))
        .collect();
    embedded::encode_assignment(&subscription.unwrap_or_default(), named.into_iter())
}
