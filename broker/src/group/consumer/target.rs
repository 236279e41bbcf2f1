//! What everybody should have: regular expressions are resolved, a change of subscriptions or topics begins a new group
//! epoch, and for a new group epoch the assignor makes a new target assignment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use regex::{Regex, RegexBuilder};
use sha2::{Digest, Sha256};

use super::assignor::{Assignor, MemberSpec, Spec};
use super::records::{ConsumerRecord, GroupEpoch, Resolved};
use super::{ConsumerGroup, Refused, World};
use crate::catalog::Image;
use crate::group::limits::{MAX_REGEX_BYTES, MAX_REGEX_PROGRAM_BYTES, REGEX_REFRESH_PAUSE_MS};
use crate::group::state::Now;

/// An expression that has to match a topic's whole name. The syntax is RE2's, which the crate's nearly is; matching takes
/// time linear in the name's length.
pub(super) fn compile(regex: &str) -> Result<Regex, Refused> {
    let invalid = |reason: String| {
        let message = format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {reason}");
        Refused::new(ResponseError::InvalidRegularExpression, message)
    };
    if regex.len() > MAX_REGEX_BYTES {
        return Err(Refused::new(
            ResponseError::InvalidRegularExpression,
            format!("SubscribedTopicRegex has {} bytes; at most {MAX_REGEX_BYTES} are possible", regex.len()),
        ));
    }
    let build = |text: &str| RegexBuilder::new(text).size_limit(MAX_REGEX_PROGRAM_BYTES).build();
    // On its own first: what closes a bracket that it did not open must not become valid by what is put around it.
    build(regex).map_err(|error| invalid(error.to_string()))?;
    build(&format!(r"\A(?:{regex})\z")).map_err(|error| invalid(error.to_string()))
}

impl ConsumerGroup {
    /// Resolves the expression of a member that has a new one, and from time to time all of them.
    pub(super) fn refresh_regexes(&mut self, new: Option<&Arc<str>>, world: &World, now: Now) -> Result<bool, Refused> {
        let used: Vec<Arc<str>> = self.regex_members.keys().cloned().collect();
        let is_used = |regex: &Arc<str>| self.regex_members.contains_key(regex);
        let unused: Vec<_> = self.regexes.keys().filter(|regex| !is_used(regex)).cloned().collect();
        unused.into_iter().for_each(|regex| self.put(ConsumerRecord::Regex(regex, None)));
        let mut changed = false;
        for regex in used {
            let known = self.regexes.get(&regex);
            if known.is_some_and(|known| !self.is_due(known, world.image, now)) {
                continue;
            }
            let topics = match compile(&regex) {
                Ok(pattern) => matching(&pattern, world),
                Err(error) if new == Some(&regex) => return Err(error),
                // Stored by somebody whose syntax was another.
                Err(_) => BTreeSet::new(),
            };
            changed |= known.is_none_or(|known| known.topics != topics);
            let version = i64::try_from(world.image.version).unwrap_or(i64::MAX);
            self.put(ConsumerRecord::Regex(regex, Some(Resolved { topics, version, at_ms: now.wall_ms })));
        }
        Ok(changed)
    }

    /// Kafka's rule: when topics have changed, though not more often than every ten seconds; and at intervals, since
    /// ACLs may have changed.
    fn is_due(&self, resolved: &Resolved, image: &Image, now: Now) -> bool {
        let age = now.wall_ms.saturating_sub(resolved.at_ms);
        let interval = i64::try_from(self.own().regex_refresh.as_millis()).unwrap_or(i64::MAX);
        let image_changed = i64::try_from(image.version).unwrap_or(i64::MAX) != resolved.version;
        age >= interval || (image_changed && age >= REGEX_REFRESH_PAUSE_MS)
    }

    /// Begins a new group epoch when subscriptions changed (`bump`), or when the topics that are subscribed to did.
    pub(super) fn update_epoch(&mut self, mut bump: bool, image: &Image) {
        if !bump && self.compared_with == Some(image.version) {
            return;
        }
        let metadata_hash = self.metadata_hash(image);
        bump |= metadata_hash != self.epoch.metadata_hash;
        self.compared_with = Some(image.version);
        if bump {
            let epoch = self.epoch.epoch + 1;
            self.put(ConsumerRecord::Group(Some(GroupEpoch { epoch, metadata_hash })));
        }
    }

    /// Names, ids and partition counts of the subscribed topics that exist. Kafka has a hash of its own, which it computes
    /// anew when it finds another: the worst that comes of a move between the two is one rebalance.
    fn metadata_hash(&self, image: &Image) -> i64 {
        let topics: Vec<_> = self.subscribed_topics().into_iter().filter_map(|name| image.topic(name)).collect();
        if topics.is_empty() {
            return 0;
        }
        let mut hash = Sha256::new();
        for topic in topics {
            hash.update(topic.name.as_str());
            hash.update(topic.id.as_bytes());
            hash.update(topic.partitions.to_be_bytes());
        }
        let digest = hash.finalize();
        digest.iter().take(8).fold(0, |hash, byte| hash << 8 | i64::from(*byte))
    }

    /// Makes the target assignment for the newest group epoch.
    pub(super) fn update_target(&mut self, image: &Image) {
        if self.epoch.epoch <= self.target_epoch {
            return;
        }
        let assigned = self.preferred_assignor().assign(&self.spec(image));
        for (id, target) in assigned {
            if self.targets.get(&id) != Some(&target) {
                self.put(ConsumerRecord::Target(id, Some(target)));
            }
        }
        self.put(ConsumerRecord::TargetEpoch(Some(self.epoch.epoch)));
        let (epoch, members) = (self.epoch.epoch, self.members.len());
        tracing::info!(group = %self.id, epoch, members, "a new target assignment of the group was made");
    }

    fn spec(&self, image: &Image) -> Spec {
        let topic = |name: &Arc<str>| image.topic(name).map(|topic| (topic.id, topic.partitions));
        let mut spec = Spec::default();
        for (id, member) in &self.members {
            let topics: BTreeMap<_, _> = self.topics_of(&member.profile).filter_map(topic).collect();
            let member = MemberSpec {
                instance: member.profile.instance.clone(),
                topics: topics.keys().copied().collect(),
                owned: self.targets.get(id).cloned().unwrap_or_default(),
            };
            spec.topics.extend(topics);
            spec.members.insert(Arc::clone(id), member);
        }
        spec
    }

    /// The assignor that most members ask for; the first configured one when nobody does.
    pub(super) fn preferred_assignor(&self) -> Assignor {
        let configured = &self.own().assignors;
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        let asked = self.members.values().filter_map(|member| member.profile.assignor.as_deref());
        for assignor in asked.filter_map(Assignor::parse).filter(|assignor| configured.contains(assignor)) {
            *votes.entry(assignor).or_default() += 1;
        }
        let most = votes.values().max().copied();
        let winner = votes.into_iter().find(|(_, count)| Some(*count) == most).map(|(assignor, _)| assignor);
        winner.or(configured.first().copied()).unwrap_or(Assignor::Uniform)
    }
}

fn matching(pattern: &Regex, world: &World) -> BTreeSet<Arc<str>> {
    let names = world.image.topics.keys().map(|name| name.as_str());
    names.filter(|name| pattern.is_match(name) && (world.may_describe)(name)).map(Arc::from).collect()
}
