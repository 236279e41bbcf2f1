//! The uniform assignor where everybody subscribes to the same topics: balanced first, then sticky.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::Spec;
use crate::group::consumer::assignment::Assignment;

pub(super) fn assign(spec: &Spec) -> BTreeMap<Arc<str>, Assignment> {
    let Some(first) = spec.members.values().next() else { return BTreeMap::new() };
    let topics = &first.topics;
    let taken: HashSet<(Uuid, i32)> = spec.members.values().flat_map(|member| member.owned.partitions()).collect();
    let every = topics.iter().flat_map(|topic| (0..spec.partitions(*topic)).map(|partition| (*topic, partition)));
    let total = every.clone().count();
    let mut unassigned: Vec<_> = every.filter(|partition| !taken.contains(partition)).collect();
    let quota = total / spec.members.len();
    let mut assigned = BTreeMap::new();
    let mut unfilled = Vec::new();
    let with_one_more = with_one_more(spec, quota, total % spec.members.len());
    for (id, member) in &spec.members {
        let mut quota = quota + usize::from(with_one_more.contains(id));
        let mut kept = Assignment::default();
        for (topic, partition) in member.owned.partitions().filter(|(topic, _)| topics.contains(topic)) {
            if quota > 0 {
                quota -= 1;
                kept.insert(topic, partition);
            } else {
                unassigned.push((topic, partition));
            }
        }
        assigned.insert(Arc::clone(id), kept);
        if quota > 0 {
            unfilled.push((id, quota));
        }
    }
    let mut unassigned = unassigned.into_iter();
    for (id, quota) in unfilled {
        if let Some(assignment) = assigned.get_mut(id) {
            assignment.extend(unassigned.by_ref().take(quota));
        }
    }
    assigned
}

/// The members that get one partition more than the others: those that have it already, or a newcomer would take it from
/// them.
fn with_one_more(spec: &Spec, quota: usize, count: usize) -> HashSet<&Arc<str>> {
    let topics = spec.members.values().next().map(|first| &first.topics);
    let subscribed = |topic: &Uuid| topics.is_some_and(|topics| topics.contains(topic));
    let has_more = |owned: &Assignment| owned.partitions().filter(|(topic, _)| subscribed(topic)).count() > quota;
    let (those, others): (Vec<_>, Vec<_>) = spec.members.iter().partition(|(_, member)| has_more(&member.owned));
    those.into_iter().chain(others).take(count).map(|(id, _)| id).collect()
}
