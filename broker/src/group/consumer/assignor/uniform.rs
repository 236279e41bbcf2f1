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
    let mut extra = total % spec.members.len();

    let mut assigned = BTreeMap::new();
    let mut unfilled = Vec::new();
    for (id, member) in &spec.members {
        let mut quota = quota;
        if extra > 0 {
            quota += 1;
            extra -= 1;
        }
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
