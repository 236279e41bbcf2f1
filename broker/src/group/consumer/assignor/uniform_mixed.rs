//! The uniform assignor where members subscribe to different topics. What is owned and still wanted stays; what is free
//! goes to the least loaded subscribers; then partitions move from the most to the least loaded subscribers of each
//! topic until that changes nothing more.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::Spec;
use crate::group::consumer::assignment::Assignment;

/// Rounds over all topics; Kafka's bound.
const MAX_ROUNDS: usize = 16;

pub(super) fn assign(spec: &Spec) -> BTreeMap<Arc<str>, Assignment> {
    let mut builder = Builder::new(spec);
    builder.keep_owned();
    builder.assign_free();
    builder.balance();
    let ids = spec.members.keys().cloned();
    ids.zip(builder.assigned).collect()
}

/// Members go by their number in the order of their ids.
struct Builder<'a> {
    spec: &'a Spec,
    /// Numbers of the members that subscribe to a topic.
    subscribers: BTreeMap<Uuid, Vec<usize>>,
    assigned: Vec<Assignment>,
    sizes: Vec<usize>,
    /// The member that each partition goes to.
    owners: BTreeMap<Uuid, Vec<Option<usize>>>,
}

impl<'a> Builder<'a> {
    fn new(spec: &'a Spec) -> Self {
        let mut subscribers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        for (number, member) in spec.members.values().enumerate() {
            for topic in &member.topics {
                subscribers.entry(*topic).or_default().push(number);
            }
        }
        let nobody = |topic: &Uuid| vec![None; usize::try_from(spec.partitions(*topic)).unwrap_or(0)];
        let owners = subscribers.keys().map(|topic| (*topic, nobody(topic))).collect();
        let count = spec.members.len();
        Self { spec, subscribers, assigned: vec![Assignment::default(); count], sizes: vec![0; count], owners }
    }

    fn keep_owned(&mut self) {
        for (number, member) in self.spec.members.values().enumerate() {
            for (topic, partition) in member.owned.partitions().filter(|(topic, _)| member.topics.contains(topic)) {
                self.give(topic, partition, number);
            }
        }
    }

    fn give(&mut self, topic: Uuid, partition: i32, member: usize) {
        let owner = self.owners.get_mut(&topic).and_then(|owners| owners.get_mut(partition as usize));
        let Some(owner) = owner else { return };
        if let Some(before) = owner.replace(member) {
            self.assigned[before].remove(topic, partition);
            self.sizes[before] -= 1;
        }
        self.assigned[member].insert(topic, partition);
        self.sizes[member] += 1;
    }

    fn assign_free(&mut self) {
        for topic in self.in_order() {
            let mut loads = Loads::new(&self.subscribers[&topic], &self.sizes);
            let free = |(partition, owner): (usize, &Option<usize>)| owner.is_none().then_some(partition as i32);
            let free: Vec<i32> = self.owners[&topic].iter().enumerate().filter_map(free).collect();
            for partition in free {
                let member = loads.next_least(&self.sizes);
                self.give(topic, partition, member);
            }
        }
    }

    /// Topics with many partitions for few members first.
    fn in_order(&self) -> Vec<Uuid> {
        let mut topics: Vec<Uuid> = self.subscribers.keys().copied().collect();
        topics.sort_by(|one, other| {
            let measure = |topic: &Uuid| (self.spec.partitions(*topic) as u64, self.subscribers[topic].len());
            let ((partitions, members), (other_partitions, other_members)) = (measure(one), measure(other));
            let by_ratio = (other_partitions * members as u64).cmp(&(partitions * other_members as u64));
            by_ratio.then(members.cmp(&other_members)).then(one.cmp(other))
        });
        topics
    }

    fn balance(&mut self) {
        let mut topics = self.in_order();
        topics.retain(|topic| self.subscribers[topic].len() >= 2);
        let mut last_moved = None;
        for _ in 0..MAX_ROUNDS {
            for (index, topic) in topics.iter().enumerate() {
                // Once around without a move.
                if last_moved == Some(index) {
                    return;
                }
                if self.balance_topic(*topic) || last_moved.is_none() {
                    last_moved = Some(index);
                }
            }
        }
    }

    /// Moves the topic's partitions from its most to its least loaded subscribers; says whether any moved.
    fn balance_topic(&mut self, topic: Uuid) -> bool {
        let mut loads = Loads::new(&self.subscribers[&topic], &self.sizes);
        if loads.imbalance(&self.sizes) <= 1 {
            return false;
        }
        let mut held: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
        for (partition, owner) in self.owners[&topic].iter().enumerate() {
            held.entry(owner.unwrap_or(usize::MAX)).or_default().push(partition as i32);
        }
        let mut moved = false;
        while !loads.is_balanced() {
            let Some(partition) = loads.take_from_most(&self.sizes, &mut held) else { break };
            let member = loads.next_least(&self.sizes);
            if loads.is_balanced() {
                break;
            }
            self.give(topic, partition, member);
            moved = true;
        }
        moved
    }
}

/// A topic's subscribers by load: a range of the least loaded that grows to the right, and one of the most loaded that
/// grows to the left. Each goes round within its range before it grows, and both are kept in step with what they gave.
struct Loads {
    members: Vec<usize>,
    least_end: usize,
    least_count: i64,
    next_least: usize,
    most_start: usize,
    most_end: usize,
    most_count: i64,
    /// One past the next one to take from.
    next_most: usize,
}

impl Loads {
    /// `members` is not empty: a topic is only here because somebody subscribes to it.
    fn new(members: &[usize], sizes: &[usize]) -> Self {
        let mut members = members.to_vec();
        members.sort_by_key(|member| (sizes[*member], *member));
        let count = members.len();
        let load = |at: usize| sizes[members[at]] as i64;
        let (least_count, most_count) = (load(0) - 1, load(count - 1) + 1);
        Self {
            members,
            least_end: 0,
            least_count,
            next_least: 0,
            most_start: count,
            most_end: count,
            most_count,
            next_most: count,
        }
    }

    fn imbalance(&self, sizes: &[usize]) -> usize {
        let loads = self.members.iter().map(|member| sizes[*member]);
        loads.clone().max().unwrap_or(0) - loads.min().unwrap_or(0)
    }

    fn is_balanced(&self) -> bool {
        self.most_count - self.least_count <= 1
    }

    fn next_least(&mut self, sizes: &[usize]) -> usize {
        if self.next_least >= self.least_end {
            self.least_count += 1;
            while self.least_end < self.members.len() && sizes[self.members[self.least_end]] as i64 == self.least_count
            {
                self.least_end += 1;
            }
            self.next_least = 0;
        }
        let member = self.members[self.next_least];
        self.next_least += 1;
        member
    }

    fn next_most(&mut self, sizes: &[usize]) -> Option<usize> {
        if self.next_most <= self.most_start {
            if self.most_end <= self.most_start && self.most_start > 0 {
                // Everybody in the range had nothing to give: go on with the next level that there is.
                self.most_count = sizes[self.members[self.most_start - 1]] as i64;
            } else {
                self.most_count -= 1;
            }
            while self.most_start > 0 && sizes[self.members[self.most_start - 1]] as i64 == self.most_count {
                self.most_start -= 1;
            }
            self.next_most = self.most_end;
        }
        self.next_most = self.next_most.checked_sub(1)?;
        Some(self.members[self.next_most])
    }

    /// The last partition of the most loaded member that has one to give.
    fn take_from_most(&mut self, sizes: &[usize], held: &mut BTreeMap<usize, Vec<i32>>) -> Option<i32> {
        loop {
            let member = self.next_most(sizes)?;
            if let Some(partition) = held.get_mut(&member).and_then(Vec::pop) {
                return Some(partition);
            }
            // Out of the range: to its end, which then moves.
            self.members.swap(self.next_most, self.most_end - 1);
            self.most_end -= 1;
        }
    }
}
