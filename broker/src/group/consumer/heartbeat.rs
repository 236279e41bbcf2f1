//! ConsumerGroupHeartbeat: the one request with which members of a consumer group join, live, reconcile and leave.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::assignment::Assignment;
use super::member::{LEAVE, LEAVE_FOR_A_WHILE, Member, Profile};
use super::records::ConsumerRecord;
use super::{Assignor, ConsumerGroup, World, target};
use crate::group::ConsumerSettings;
use crate::group::limits::{MAX_ASSIGNOR_LETTERS, MAX_GROUP_BYTES, MAX_NAME_BYTES};
use crate::group::member::milliseconds;
use crate::group::state::Now;

/// What a member says. `None` means "as before".
#[derive(Clone, Debug, Default)]
pub struct Heartbeat {
    pub group: Arc<str>,
    /// May be empty in version 0 when joining.
    pub member: Arc<str>,
    pub epoch: i32,
    pub instance: Option<Arc<str>>,
    pub rack: Option<Arc<str>>,
    /// -1 means "as before".
    pub rebalance_timeout_ms: i32,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub names: Option<Vec<Arc<str>>>,
    /// An empty expression takes the subscription by expression back.
    pub regex: Option<Arc<str>>,
    pub assignor: Option<Arc<str>>,
    /// Topic id and partition of everything that the member has.
    pub owned: Option<Vec<(Uuid, i32)>>,
    /// The client makes its own member id (version 1 on).
    pub has_own_id: bool,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beaten {
    pub member: Arc<str>,
    pub epoch: i32,
    /// `None` when the member leaves.
    pub heartbeat_interval: Option<Duration>,
    /// Topic id and partitions; `None` when they are as the member knows them.
    pub assignment: Option<Vec<(Uuid, Vec<i32>)>>,
}

/// A refused request, in words for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: ResponseError,
    pub message: String,
}

impl Refused {
    pub(in crate::group) fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<ResponseError> for Refused {
    fn from(code: ResponseError) -> Self {
        Self::new(code, code.to_string())
    }
}

impl Heartbeat {
    pub(super) fn leaves(&self) -> bool {
        matches!(self.epoch, LEAVE | LEAVE_FOR_A_WHILE)
    }

    /// What can be judged without the group. Order and words are Kafka's.
    pub(super) fn check(&self, settings: &ConsumerSettings) -> Result<(), Refused> {
        let invalid = |message: &str| Err(Refused::new(ResponseError::InvalidRequest, message));
        let is_empty = |text: &Option<Arc<str>>| text.as_ref().is_some_and(|text| text.is_empty());
        let needs_id = self.has_own_id || self.epoch > 0 || self.leaves();
        if needs_id && self.member.is_empty() {
            return invalid("MemberId can't be empty.");
        }
        if self.group.is_empty() {
            return invalid("GroupId can't be empty.");
        }
        if is_empty(&self.instance) {
            return invalid("InstanceId can't be empty.");
        }
        if is_empty(&self.rack) {
            return invalid("RackId can't be empty.");
        }
        match self.epoch {
            0 if self.rebalance_timeout_ms == -1 => {
                return invalid("RebalanceTimeoutMs must be provided in first request.");
            }
            0 if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
                return invalid("TopicPartitions must be empty when (re-)joining.");
            }
            0 if self.names.is_none() && self.regex.is_none() => {
                return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be set in first request.");
            }
            LEAVE_FOR_A_WHILE if self.instance.is_none() => return invalid("InstanceId can't be null."),
            ..LEAVE_FOR_A_WHILE => return invalid("MemberEpoch is invalid."),
            _ => {}
        }
        self.check_assignor(settings)?;
        let names = [&self.group, &self.member, &self.client_id, &self.client_host].into_iter();
        if names.chain(&self.instance).chain(&self.rack).any(|name| name.len() > MAX_NAME_BYTES) {
            return invalid("A name is too long.");
        }
        if let Some(regex) = self.regex.as_deref().filter(|regex| !regex.is_empty()) {
            target::compile(regex)?;
        }
        Ok(())
    }

    fn check_assignor(&self, settings: &ConsumerSettings) -> Result<(), Refused> {
        let Some(name) = self.assignor.as_deref() else { return Ok(()) };
        // By its short name only, as clients know it.
        let known = settings.assignors.iter().any(|assignor| assignor.name() == name);
        if known {
            return Ok(());
        }
        let supported: Vec<_> = settings.assignors.iter().map(|assignor| Assignor::name(*assignor)).collect();
        let name: String = name.chars().take(MAX_ASSIGNOR_LETTERS).collect();
        let message = format!("ServerAssignor {name} is not supported. Supported assignors: {}.", supported.join(", "));
        Err(Refused::new(ResponseError::UnsupportedAssignor, message))
    }

    /// The member's profile after this heartbeat.
    fn update(&self, before: &Profile) -> Profile {
        let said = |now: &Option<Arc<str>>, before: &Option<Arc<str>>| now.clone().or_else(|| before.clone());
        Profile {
            instance: said(&self.instance, &before.instance),
            rack: said(&self.rack, &before.rack),
            client_id: Arc::clone(&self.client_id),
            client_host: Arc::clone(&self.client_host),
            names: self.names.as_ref().map_or_else(|| before.names.clone(), |names| names.iter().cloned().collect()),
            regex: said(&self.regex, &before.regex).filter(|regex| !regex.is_empty()),
            rebalance_timeout_ms: match self.rebalance_timeout_ms {
                -1 => before.rebalance_timeout_ms,
                timeout => timeout,
            },
            assignor: said(&self.assignor, &before.assignor),
            classic: None,
        }
    }

    /// Whether the member says everything, and so wants to hear everything.
    fn is_full(&self) -> bool {
        let subscribes = self.names.is_some() || self.regex.is_some();
        self.epoch == 0 || (self.rebalance_timeout_ms != -1 && subscribes && self.owned.is_some())
    }
}

impl ConsumerGroup {
    /// A member joins or lives. On an error the caller rolls back.
    pub(super) fn heartbeat(&mut self, beat: &Heartbeat, world: &World, now: Now) -> Result<Beaten, Refused> {
        self.check_room(&beat.member)?;
        let owned = beat.owned.as_ref().map(|owned| owned.iter().copied().collect::<Assignment>());
        let id = match beat.member.is_empty() {
            true => Uuid::new_v4().to_string().into(),
            false => Arc::clone(&beat.member),
        };
        let before = self.find_or_subscribe(&id, beat, owned.as_ref())?;
        let had = before.as_ref().map(|member| member.current.assigned.clone());
        let profile = beat.update(&before.unwrap_or_default().profile);
        let (timeout, state) = (profile.rebalance_timeout(), self.members.get(&id).map(|m| m.current.clone()));
        self.update_member(&id, profile, world, now)?;
        self.reconcile(&id, owned.as_ref())?;
        let Some(member) = self.members.get(&id) else { return Err(ResponseError::UnknownMemberId.into()) };
        let current = member.current.clone();
        let moved = state.as_ref() != Some(&current);

        let times = self.times(world.image);
        let session = now.at + times.session_timeout;
        let deadlines = self.deadlines_of(&id);
        deadlines.session = Some(session);
        // The member may have used the classic protocol before.
        (deadlines.join, deadlines.sync) = (None, None);
        if moved {
            let has_to_revoke = !current.revoking.is_empty();
            deadlines.revocation = has_to_revoke.then_some((current.epoch, now.at + timeout));
        }
        let changed = had.as_ref() != Some(&current.assigned);
        let by_topic = |(topic, partitions): (Uuid, &std::collections::BTreeSet<i32>)| {
            (topic, partitions.iter().copied().collect())
        };
        Ok(Beaten {
            member: id,
            epoch: current.epoch,
            heartbeat_interval: Some(times.heartbeat_interval),
            assignment: (beat.is_full() || changed).then(|| current.assigned.topics().map(by_topic).collect()),
        })
    }

    /// Stores what a member says of itself, with what follows for the group.
    pub(super) fn update_member(
        &mut self,
        id: &Arc<str>,
        profile: Profile,
        world: &World,
        now: Now,
    ) -> Result<(), Refused> {
        let before = self.members.get(id).map(|member| member.profile.clone());
        let same = |of: fn(&Profile, &Profile) -> bool| before.as_ref().is_some_and(|before| of(before, &profile));
        let (names_changed, regex_changed) = match &before {
            Some(_) => (!same(|one, other| one.names == other.names), !same(|one, other| one.regex == other.regex)),
            None => (true, profile.regex.is_some()),
        };
        let regex = profile.regex.clone();
        if before.as_ref() != Some(&profile) {
            self.put(ConsumerRecord::Member(Arc::clone(id), Some(profile)));
            if self.bytes() > MAX_GROUP_BYTES {
                return Err(ResponseError::GroupMaxSizeReached.into());
            }
        }
        let new_regex = regex.as_ref().filter(|_| regex_changed);
        let resolved = self.refresh_regexes(new_regex, world, now)?;
        self.update_epoch(names_changed || regex_changed || resolved, world.image);
        self.update_target(world.image);
        Ok(())
    }

    pub(super) fn check_room(&self, member: &str) -> Result<(), Refused> {
        let max = self.own().max_size;
        if self.members.len() >= max && !self.members.contains_key(member) {
            let message = format!("The consumer group has reached its maximum capacity of {max} members.");
            return Err(Refused::new(ResponseError::GroupMaxSizeReached, message));
        }
        Ok(())
    }

    /// The member as it is; `None` for one that is only now made.
    fn find_or_subscribe(
        &mut self,
        id: &Arc<str>,
        beat: &Heartbeat,
        owned: Option<&Assignment>,
    ) -> Result<Option<Member>, Refused> {
        let joins = beat.epoch == 0;
        let Some(instance) = &beat.instance else {
            let Some(member) = self.members.get(id) else {
                return if joins { Ok(None) } else { Err(unknown(id, &self.id)) };
            };
            check_epoch(member, beat.epoch, owned)?;
            return Ok(Some(member.clone()));
        };
        let existing = self.statics.get(instance).cloned();
        match existing {
            None if joins => Ok(self.members.get(id).cloned()),
            None => Err(Refused::new(ResponseError::UnknownMemberId, format!("Instance id {instance} is unknown."))),
            Some(old) if joins && old != *id => {
                let member = self.members.get(&old);
                let released =
                    member.is_none_or(|member| member.is_classic() || member.current.epoch == LEAVE_FOR_A_WHILE);
                if !released {
                    let message = format!(
                        "Static member {id} with instance id {instance} cannot join the group because the instance id \
                         is owned by {old} member."
                    );
                    return Err(Refused::new(ResponseError::UnreleasedInstanceId, message));
                }
                Ok(self.replace(&old, id))
            }
            Some(old) if old != *id => Err(fenced(id, instance, &old)),
            Some(_) => {
                let Some(member) = self.members.get(id).cloned() else { return Err(unknown(id, &self.id)) };
                if joins && member.current.epoch == LEAVE_FOR_A_WHILE {
                    // Back under its old id.
                    return Ok(self.replace(id, id));
                }
                check_epoch(&member, beat.epoch, owned)?;
                Ok(Some(member))
            }
        }
    }

    /// Gives a static member's place, with its target and what it has, to its next incarnation.
    pub(super) fn replace(&mut self, old: &Arc<str>, new: &Arc<str>) -> Option<Member> {
        let mut member = self.members.get(old)?.clone();
        let target = self.targets.get(old).cloned().unwrap_or_default();
        (member.current.epoch, member.current.previous_epoch) = (0, 0);
        self.remove(old);
        self.put(ConsumerRecord::Member(Arc::clone(new), Some(member.profile.clone())));
        self.put(ConsumerRecord::Target(Arc::clone(new), Some(target)));
        self.put(ConsumerRecord::Current(Arc::clone(new), Some(member.current.clone())));
        tracing::info!(group = %self.id, ?old, ?new, "a static member of the group came back");
        Some(member)
    }
}

/// A member that comes with its last epoch and has nothing more than it may have missed the answer. One that comes with
/// epoch 0 has nothing any more, and begins anew.
fn check_epoch(member: &Member, epoch: i32, owned: Option<&Assignment>) -> Result<(), Refused> {
    let current = &member.current;
    let missed_answer =
        || epoch == current.previous_epoch && owned.is_some_and(|owned| owned.is_subset(&current.assigned));
    if epoch == current.epoch || epoch == 0 || (epoch < current.epoch && missed_answer()) {
        return Ok(());
    }
    let size = if epoch > current.epoch { "greater" } else { "smaller" };
    let message = format!(
        "The consumer group member has a {size} member epoch ({epoch}) than the one known by the group coordinator ({}). \
         The member must abandon all its partitions and rejoin.",
        current.epoch
    );
    Err(Refused::new(ResponseError::FencedMemberEpoch, message))
}

pub(super) fn unknown(member: &str, group: &str) -> Refused {
    let message = format!("Member {member} is not a member of group {group}.");
    Refused::new(ResponseError::UnknownMemberId, message)
}

pub(super) fn fenced(member: &str, instance: &str, by: &str) -> Refused {
    let message = format!("Static member {member} with instance id {instance} was fenced by member {by}.");
    Refused::new(ResponseError::FencedInstanceId, message)
}

/// The session timeout that holds for a member: members of the classic protocol bring their own.
pub(super) fn session_timeout(profile: &Profile, group: Duration) -> Duration {
    profile.classic.as_ref().map_or(group, |classic| milliseconds(classic.session_timeout_ms))
}
