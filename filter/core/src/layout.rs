//! Which series of a request are in which part, and at which index.
//!
//! Owns the arithmetic between three ways to name a series: its index in the client's request, its place
//! within its replica set, and its index in a sidecar's part. It holds no bytes and no outcomes.
//!
//! The series are grouped by replica set. A part is the concatenation of the sets that its sidecar holds, in
//! ascending order, each in the client's order:
//!
//! ```text
//! order    [ set 0: 0 3 4 | set 1: 1 5 | set 2: 2 ]      indexes in the client's request
//! part A = [ 0 3 4 | 1 5 ]          set 0 begins at part index 0, set 1 at 3
//! part B = [ 0 3 4 | 2 ]            set 0 begins at part index 0, set 2 at 3
//! ```

use ringside_proto::remote_write_v2::Contents;

/// The parts of one request.
#[derive(Debug)]
pub struct Layout {
    sets: Vec<Set>,
    /// Per part: the number of its series, `None` when nobody counted them.
    parts: Vec<Option<u32>>,
    /// The client's index of each series, set after set. Empty when nobody counted them.
    order: Vec<u32>,
}

/// The series of one replica set.
#[derive(Debug)]
pub struct Set {
    /// Its replicas, in ring order.
    pub members: Vec<Member>,
    /// The number of its series, `None` when nobody counted them.
    pub len: Option<u32>,
    /// What its series hold, `None` when nobody counted it.
    pub contents: Option<Contents>,
    /// Where its series begin in the layout's order.
    first: u32,
}

/// One replica of a set: a part, and the part index at which the set begins in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub part: u16,
    pub first: u32,
}

impl Layout {
    /// The layout of a request that goes whole to each of `parts` sidecars, with an unknown number of series.
    pub fn unchanged(parts: u16) -> Self {
        let members = (0..parts).map(|part| Member { part, first: 0 }).collect();
        let sets = vec![Set { members, len: None, contents: None, first: 0 }];
        Self { sets, parts: vec![None; usize::from(parts)], order: Vec::new() }
    }

    /// A layout of `parts` empty parts, whose series will be in the given order, set after set.
    pub fn split(parts: u16, order: Vec<u32>) -> Self {
        Self { sets: Vec::new(), parts: vec![Some(0); usize::from(parts)], order }
    }

    /// Adds the next set of a split request: the next `len` series, which hold `contents`, at the end of each of the
    /// given parts.
    pub fn push_set(&mut self, parts: impl Iterator<Item = u16>, len: u32, contents: Contents) {
        let first = self.sets.last().map_or(0, |set| set.first + set.len.unwrap_or(0));
        let members = parts
            .map(|part| {
                let length = self.parts.get_mut(usize::from(part)).and_then(Option::as_mut);
                let first = length.map_or(0, |length| std::mem::replace(length, *length + len));
                Member { part, first }
            })
            .collect();
        self.sets.push(Set { members, len: Some(len), contents: Some(contents), first });
    }

    pub fn sets(&self) -> &[Set] {
        &self.sets
    }

    /// The number of series that are in a part, 0 when nobody counted them.
    pub fn series(&self) -> u64 {
        self.order.len() as u64
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let members: usize = self.sets.iter().map(|set| size_of_val(&*set.members)).sum();
        members + size_of_val(&*self.sets) + size_of_val(&*self.order)
    }

    /// The number of parts.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Whether a sidecar may speak of this index of its part.
    pub fn holds(&self, part: u16, index: u32) -> bool {
        match self.parts.get(usize::from(part)) {
            Some(Some(length)) => index < *length,
            Some(None) => true,
            None => false,
        }
    }

    /// The index in the client's request of the series at a place of a set.
    pub fn client_index(&self, set: &Set, place: u32) -> u32 {
        if set.len.is_none() {
            return place;
        }
        self.order.get((set.first + place) as usize).copied().unwrap_or(place)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{Contents, Layout, Member};

    #[test]
    fn the_example_of_the_module() {
        let mut layout = Layout::split(2, vec![0, 3, 4, 1, 5, 2]);
        layout.push_set([0, 1].into_iter(), 3, Contents::default());
        layout.push_set([0].into_iter(), 2, Contents::default());
        layout.push_set([1].into_iter(), 1, Contents::default());
        let members: Vec<_> = layout.sets().iter().map(|set| set.members.clone()).collect();
        assert_eq!(members[0], [Member { part: 0, first: 0 }, Member { part: 1, first: 0 }]);
        assert_eq!(members[1], [Member { part: 0, first: 3 }]);
        assert_eq!(members[2], [Member { part: 1, first: 3 }]);
        assert_eq!(layout.client_index(&layout.sets()[1], 1), 5);
        assert_eq!(layout.client_index(&layout.sets()[2], 0), 2);
        assert!(layout.holds(0, 4) && !layout.holds(0, 5));
        assert!(layout.holds(1, 3) && !layout.holds(1, 4));
        assert!(!layout.holds(2, 0), "there is no third part");
    }

    #[test]
    fn an_unchanged_body_holds_any_index() {
        let layout = Layout::unchanged(3);
        assert_eq!(layout.parts(), 3);
        assert!(layout.holds(2, u32::MAX) && !layout.holds(3, 0));
        assert_eq!(layout.client_index(&layout.sets()[0], 17), 17);
    }
}
