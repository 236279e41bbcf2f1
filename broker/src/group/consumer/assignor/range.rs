//! The range assignor: each topic's partitions in contiguous ranges over its subscribers, static members first.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::{MemberSpec, Spec};
use crate::group::consumer::assignment::Assignment;

/// How far a topic is shared out.
struct Ranges {
    partitions: i32,
    quota: i32,
    /// Members that still get one more than the quota.
    extra: i32,
    next: i32,
}

impl Ranges {
    fn take(&mut self) -> std::ops::Range<i32> {
        let mut quota = self.quota;
        if self.extra > 0 {
            quota += 1;
            self.extra -= 1;
        }
        let start = self.next;
        self.next = (start + quota).min(self.partitions);
        start..self.next
    }
}

pub(super) fn assign(spec: &Spec) -> BTreeMap<Arc<str>, Assignment> {
    let mut subscribers: BTreeMap<Uuid, i32> = BTreeMap::new();
    for topic in spec.members.values().flat_map(|member| &member.topics) {
        *subscribers.entry(*topic).or_default() += 1;
    }
    let ranges = |(topic, members): (Uuid, i32)| {
        let partitions = spec.partitions(topic);
        (topic, Ranges { partitions, quota: partitions / members, extra: partitions % members, next: 0 })
    };
    let mut topics: BTreeMap<Uuid, Ranges> = subscribers.into_iter().map(ranges).collect();
    let mut assigned = BTreeMap::new();
    for (id, member) in in_order(spec) {
        let mut assignment = Assignment::default();
        for topic in &member.topics {
            let range = topics.get_mut(topic).map(Ranges::take).unwrap_or_default();
            assignment.extend(range.map(|partition| (*topic, partition)));
        }
        assigned.insert(Arc::clone(id), assignment);
    }
    assigned
}

/// Static members by their instance, then the others by their id: what a restarted static member gets stays the same.
fn in_order(spec: &Spec) -> Vec<(&Arc<str>, &MemberSpec)> {
    let mut members: Vec<_> = spec.members.iter().collect();
    members.sort_by_key(|(id, member)| (member.instance.is_none(), member.instance.as_ref().unwrap_or(id)));
    members
}
