//! What metrics tell of single groups: state, members and committed offsets, of as many as there is room for.

use std::sync::Arc;

use uuid::Uuid;

use super::coordinator::Coordinator;
use super::shard::Cell;
use super::state::{Group, State};
use crate::catalog::Image;

/// Series of a group besides those of its offsets: its state and its members.
const OWN_SERIES: usize = 2;

/// A group as it has its own series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSeries {
    pub group: Arc<str>,
    pub state: State,
    pub members: usize,
    pub offsets: Vec<CommittedOffset>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub topic: Arc<str>,
    pub topic_id: Uuid,
    pub partition: i32,
    pub offset: i64,
}

impl Coordinator {
    /// Groups with their offsets of topics that exist, and how many series are left out because `most` are enough.
    /// Groups with members come first, then those whose name does, so that the same ones are shown each time; a group
    /// is shown as a whole or not at all. Each group's lock is held only while it is copied.
    pub fn series(&self, image: &Image, most: usize) -> (Vec<GroupSeries>, usize) {
        let mut cells: Vec<_> = self.cells().into_iter().filter_map(ranked).collect();
        cells.sort_unstable_by(|(one, a), (other, b)| (one, &a.id).cmp(&(other, &b.id)));
        let (mut shown, mut left, mut omitted) = (Vec::new(), most, 0);
        for (_, cell) in cells {
            let group = cell.group.lock();
            let series = OWN_SERIES + group.offsets.len();
            if series > left {
                omitted += series;
                continue;
            }
            let group = shown_group(&group, image);
            left -= OWN_SERIES + group.offsets.len();
            shown.push(group);
        }
        (shown, omitted)
    }
}

/// A group with its rank: whether it is without members.
fn ranked(cell: Arc<Cell>) -> Option<(bool, Arc<Cell>)> {
    let rank = {
        let group = cell.group.lock();
        (group.state != State::Dead).then(|| group.member_count() == 0)
    };
    rank.map(|is_empty| (is_empty, cell))
}

fn shown_group(group: &Group, image: &Image) -> GroupSeries {
    let current = group.offsets.iter().filter(|(topic, _, value)| value.is_current(image, topic));
    let offsets = current.filter_map(|(topic, partition, value)| {
        let topic_id = image.topic(topic)?.id;
        Some(CommittedOffset { topic: Arc::clone(topic), topic_id, partition, offset: value.offset })
    });
    GroupSeries {
        group: Arc::clone(&group.id),
        state: group.shown_state(),
        members: group.member_count(),
        offsets: offsets.collect(),
    }
}
