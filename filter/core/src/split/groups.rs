//! Groups the series of a request by replica set: a counting sort that keeps the client's order within a group.

use ringside_hashring::ReplicaSetId;
use ringside_proto::remote_write_v2::Contents;

use super::Span;

/// The replica sets in use, in order of first appearance.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) used: Vec<Group>,
    /// By replica set: one more than its place in `used`, zero for none.
    by_set: Vec<u32>,
}

/// The series of one replica set.
pub(super) struct Group {
    pub(super) set: ReplicaSetId,
    pub(super) len: u32,
    /// What its series hold, where that is counted.
    pub(super) contents: Contents,
    first: u32,
}

impl Group {
    /// Where its series are in the order.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.first as usize..(self.first + self.len) as usize
    }
}

impl Groups {
    pub(super) fn clear(&mut self) {
        for group in self.used.drain(..) {
            if let Some(slot) = self.by_set.get_mut(group.set.get()) {
                *slot = 0;
            }
        }
    }

    /// The place of the group of a replica set, which is there from now on.
    #[inline]
    pub(super) fn place(&mut self, set: ReplicaSetId) -> u32 {
        let at = set.get();
        if self.by_set.len() <= at {
            self.by_set.resize(at + 1, 0);
        }
        let Some(slot) = self.by_set.get_mut(at) else { return 0 };
        if *slot == 0 {
            self.used.push(Group { set, len: 0, contents: Contents::default(), first: 0 });
            *slot = self.used.len() as u32;
        }
        *slot - 1
    }

    /// Counts one more series of the group at a place, and what it holds; the place.
    #[inline]
    pub(super) fn count(&mut self, place: u32, contents: Contents) -> u32 {
        if let Some(group) = self.used.get_mut(place as usize) {
            group.len += 1;
            group.contents += contents;
        }
        place
    }

    /// The indexes of all series, group after group.
    pub(super) fn order(&mut self, spans: &[Span]) -> Vec<u32> {
        let mut first = 0;
        let mut next = Vec::with_capacity(self.used.len());
        for group in &mut self.used {
            group.first = first;
            next.push(first);
            first += group.len;
        }
        let mut order = vec![0; first as usize];
        for (index, span) in (0..).zip(spans) {
            if let Some(at) = next.get_mut(span.group as usize) {
                if let Some(slot) = order.get_mut(*at as usize) {
                    *slot = index;
                }
                *at += 1;
            }
        }
        order
    }
}
