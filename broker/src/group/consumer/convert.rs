//! Online upgrade and downgrade: a classic group becomes a consumer group when the first member comes with the consumer
//! protocol, and a classic one again when the last such member has gone.

use std::sync::Arc;

use kafka_protocol::ResponseError;

use super::classic::{ids, named_assignment};
use super::embedded;
use super::heartbeat::Refused;
use super::member::{ClassicProfile, Current, Member, MemberState, Profile};
use super::records::{ConsumerRecord, GroupEpoch};
use super::{ConsumerGroup, World};
use crate::catalog::Image;
use crate::group::CONSUMER;
use crate::group::member::{Join, Member as ClassicMember, to_ms};
use crate::group::offsets::TopicPartition;
use crate::group::records::{MemberValue, RecordError};
use crate::group::state::{Group, Now, State};

impl ConsumerGroup {
    /// The consumer group that a classic one becomes. Its records are still to be written. An empty group starts afresh.
    pub(super) fn from_classic(group: &Group, world: &World) -> Result<Self, Refused> {
        let mut consumer = Self::new(Arc::clone(&group.id), Arc::clone(&group.settings));
        if group.members.is_empty() {
            return Ok(consumer);
        }
        consumer.check_upgrade(group)?;
        for member in group.members.values() {
            let malformed = |_| {
                let message = format!(
                    "Cannot upgrade the classic group {} to consumer group because the embedded consumer protocol is \
                     malformed.",
                    group.id
                );
                Refused::new(ResponseError::GroupIdNotFound, message)
            };
            let (profile, owned) = upgraded(member, group.protocol.as_deref()).map_err(malformed)?;
            // A leader may have given a partition to two; it is kept by the first.
            let mut assigned = ids(world.image, &owned);
            let taken: Vec<_> =
                assigned.partitions().filter(|partition| consumer.owners.contains_key(partition)).collect();
            taken.into_iter().for_each(|(topic, partition)| assigned.remove(topic, partition));
            let (epoch, state) = (group.generation, MemberState::Stable);
            let current = Current {
                epoch,
                previous_epoch: epoch,
                state,
                assigned: assigned.clone(),
                revoking: Default::default(),
            };
            consumer.put(ConsumerRecord::Member(Arc::clone(&member.id), Some(profile)));
            consumer.put(ConsumerRecord::Target(Arc::clone(&member.id), Some(assigned)));
            consumer.put(ConsumerRecord::Current(Arc::clone(&member.id), Some(current)));
        }
        consumer.put(ConsumerRecord::Group(Some(GroupEpoch { epoch: group.generation, metadata_hash: 0 })));
        consumer.put(ConsumerRecord::TargetEpoch(Some(group.generation)));
        Ok(consumer)
    }

    fn check_upgrade(&self, group: &Group) -> Result<(), Refused> {
        let why = if !self.own().migration.upgrades() {
            "online upgrade is disabled"
        } else if group.protocol_type.as_deref() != Some(CONSUMER) {
            "the group does not use the consumer embedded protocol"
        } else if group.members.len() > self.own().max_size {
            "its size is greater than the consumer group maximum size"
        } else {
            return Ok(());
        };
        tracing::info!(group = %self.id, why, "a classic group cannot become a consumer group");
        let message = format!("Cannot upgrade classic group {} to consumer group because {why}.", self.id);
        Err(Refused::new(ResponseError::GroupIdNotFound, message))
    }

    /// Whether the group is to become classic again when these members are gone.
    pub(super) fn should_downgrade_without(&self, leaving: &[Arc<str>]) -> bool {
        let (gone, left): (Vec<_>, Vec<_>) = self.members.iter().partition(|(id, _)| leaving.contains(id));
        !left.is_empty()
            && left.iter().all(|(_, member)| member.is_classic())
            && gone.iter().any(|(_, member)| !member.is_classic())
            && self.may_downgrade(left.len())
    }

    /// Whether a static member that joined with the classic protocol may have taken the place of the last one with the
    /// consumer protocol, so that the group is to become classic.
    pub(super) fn took_last_place(&self, join: &Join) -> bool {
        join.instance.is_some()
            && join.member.is_empty()
            && self.members.values().all(Member::is_classic)
            && self.may_downgrade(self.members.len())
    }

    fn may_downgrade(&self, left: usize) -> bool {
        self.own().migration.downgrades() && left <= self.settings.max_size
    }

    /// The classic group that stays when these members are gone. It is to rebalance.
    pub(super) fn to_classic(&self, leaving: &[Arc<str>], image: &Image, now: Now) -> Group {
        let mut group = Group::new(Arc::clone(&self.id), Arc::clone(&self.settings), now);
        group.generation = self.epoch.epoch;
        for (id, member) in self.members.iter().filter(|(id, _)| !leaving.contains(id)) {
            let Some(classic) = &member.profile.classic else { continue };
            let value = MemberValue {
                id: Arc::clone(id),
                instance_id: member.profile.instance.clone(),
                client_id: Arc::clone(&member.profile.client_id),
                client_host: Arc::clone(&member.profile.client_host),
                rebalance_timeout_ms: member.profile.rebalance_timeout_ms,
                session_timeout_ms: classic.session_timeout_ms,
                subscription: Default::default(),
                assignment: named_assignment(member, image),
            };
            let mut member = ClassicMember::stored(value, None, now.at);
            member.protocols = classic.protocols.clone();
            group.add(member, CONSUMER.into());
        }
        group.protocol = group.select_protocol();
        group.transition(State::Stable, now);
        group
    }
}

fn upgraded(member: &ClassicMember, protocol: Option<&str>) -> Result<(Profile, Vec<TopicPartition>), RecordError> {
    let chosen = member.protocols.iter().find(|offer| Some(&*offer.name) == protocol).or(member.protocols.first());
    let subscription = embedded::subscription(&chosen.map(|offer| offer.metadata.clone()).unwrap_or_default())?;
    let owned = embedded::assignment(&member.assignment)?;
    let profile = Profile {
        instance: member.instance.clone(),
        rack: subscription.rack,
        client_id: Arc::clone(&member.client_id),
        client_host: Arc::clone(&member.client_host),
        names: subscription.topics,
        regex: None,
        rebalance_timeout_ms: to_ms(member.rebalance_timeout),
        assignor: None,
        classic: Some(ClassicProfile {
            session_timeout_ms: to_ms(member.session_timeout),
            protocols: member.protocols.clone(),
        }),
    };
    Ok((profile, owned))
}
