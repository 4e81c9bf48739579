//! Who holds a series: endpoints by index, sets of them by id, and how many
//! must acknowledge a write.

/// The place of an endpoint in its ring's configuration, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointIndex(pub(crate) u16);

impl EndpointIndex {
    /// As an index into [`Hashring::endpoints`](crate::Hashring::endpoints).
    #[inline]
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// The id of a [`ReplicaSet`] within its ring: dense, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaSetId(pub(crate) u32);

impl ReplicaSetId {
    /// As an index into [`Hashring::replica_sets`](crate::Hashring::replica_sets).
    #[inline]
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// The endpoints that hold some series, whatever their replica order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSet {
    members: Box<[EndpointIndex]>,
}

impl ReplicaSet {
    /// Takes the replicas of a section, in any order.
    pub(crate) fn new(replicas: &[EndpointIndex]) -> Self {
        let mut members: Box<[EndpointIndex]> = replicas.into();
        members.sort_unstable();
        Self { members }
    }

    /// The members, ascending.
    #[inline]
    pub fn members(&self) -> &[EndpointIndex] {
        &self.members
    }
}

/// How many replicas of a series must acknowledge it: a majority, but one of two.
#[inline]
pub fn write_quorum(replication_factor: usize) -> usize {
    if replication_factor == 2 { 1 } else { replication_factor / 2 + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn quorum_is_a_majority_but_one_of_two() {
        let quorums: Vec<_> = (1..=7).map(write_quorum).collect();
        assert_eq!(quorums, [1, 1, 2, 3, 3, 4, 4]);
    }
}
