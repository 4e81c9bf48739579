//! What a change of the ring moves: of a set of series, how many get another
//! first replica, how many copies go to a node that has none yet, and what
//! each node holds before and after. Nodes are told apart by their address.

use std::collections::BTreeMap;

use crate::hashring::{Endpoint, Hashring};

/// What one node holds, of the series that were counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeMovement {
    /// Its address.
    pub address: String,
    /// Series of which it is the first replica, in the old ring.
    pub old_primaries: u64,
    /// The same in the new ring.
    pub new_primaries: u64,
    /// Series that it holds at all, in the old ring.
    pub old_replicas: u64,
    /// The same in the new ring.
    pub new_replicas: u64,
}

/// What a change of the ring moves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Movement {
    /// How many series were counted.
    pub series: u64,
    /// Series with another first replica.
    pub primaries_moved: u64,
    /// Copies that go to a node which did not hold the series.
    pub replicas_moved: u64,
    /// All copies in the new ring.
    pub replicas: u64,
    /// Every node of either ring: the new ring's in its order, then those that left.
    pub nodes: Vec<NodeMovement>,
}

impl Movement {
    /// Counts what moves, of series with these hashes.
    pub fn count(old: &Hashring, new: &Hashring, hashes: impl IntoIterator<Item = u64>) -> Self {
        let (mut nodes, places) = nodes(old, new);
        let place = |endpoint: &Endpoint| places.get(endpoint.address.as_str()).copied();
        let of_old: Vec<_> = old.endpoints().iter().filter_map(place).collect();
        let of_new: Vec<_> = new.endpoints().iter().filter_map(place).collect();

        let mut movement = Movement::default();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for hash in hashes {
            before.clear();
            before.extend(old.replicas(hash).iter().filter_map(|replica| of_old.get(replica.get()).copied()));
            after.clear();
            after.extend(new.replicas(hash).iter().filter_map(|replica| of_new.get(replica.get()).copied()));

            movement.series += 1;
            movement.replicas += after.len() as u64;
            movement.primaries_moved += u64::from(before.first() != after.first());
            movement.replicas_moved += after.iter().filter(|node| !before.contains(node)).count() as u64;
            for (number, &node) in before.iter().enumerate() {
                if let Some(node) = nodes.get_mut(node) {
                    node.old_primaries += u64::from(number == 0);
                    node.old_replicas += 1;
                }
            }
            for (number, &node) in after.iter().enumerate() {
                if let Some(node) = nodes.get_mut(node) {
                    node.new_primaries += u64::from(number == 0);
                    node.new_replicas += 1;
                }
            }
        }
        movement.nodes = nodes;
        movement
    }
}

/// A row for each node of either ring, and where each address has its row.
fn nodes<'a>(old: &'a Hashring, new: &'a Hashring) -> (Vec<NodeMovement>, BTreeMap<&'a str, usize>) {
    let mut nodes = Vec::new();
    let mut places = BTreeMap::new();
    for endpoint in new.endpoints().iter().chain(old.endpoints()) {
        places.entry(endpoint.address.as_str()).or_insert_with(|| {
            nodes.push(NodeMovement { address: endpoint.address.clone(), ..NodeMovement::default() });
            nodes.len() - 1
        });
    }
    (nodes, places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series_hash;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const SERIES: u64 = 20_000;

    fn ring(names: &[&str], replication_factor: usize) -> Hashring {
        let endpoint = |name: &&str| Endpoint { address: (*name).to_owned(), az: String::new() };
        Hashring::ketama(names.iter().map(endpoint).collect(), replication_factor).unwrap()
    }

    fn hashes() -> impl Iterator<Item = u64> {
        (0..SERIES).map(|n| series_hash("t", [(&b"series"[..], n.to_string().as_bytes())]))
    }

    #[test]
    fn from_three_to_five_nodes_two_fifths_of_the_primaries_move() {
        let old = ring(&["node-1", "node-2", "node-3"], 3);
        let new = ring(&["node-1", "node-2", "node-3", "node-4", "node-5"], 3);
        let movement = Movement::count(&old, &new, hashes());
        let moved = movement.primaries_moved as f64 / SERIES as f64;
        assert!((moved - 0.4).abs() < 0.02, "{moved}");
        // Of three copies, as many as 3 x 2/5 go to the new nodes, and nothing goes anywhere else.
        let copies = movement.replicas_moved as f64 / movement.replicas as f64;
        assert!((copies - 0.4).abs() < 0.02, "{copies}");
        for node in &movement.nodes {
            let share = node.new_primaries as f64 / SERIES as f64;
            assert!((share - 0.2).abs() < 0.02, "{node:?}");
            let share = node.new_replicas as f64 / movement.replicas as f64;
            assert!((share - 0.2).abs() < 0.02, "{node:?}");
            assert!(node.old_replicas == 0 || node.new_replicas < node.old_replicas, "{node:?}");
        }
    }

    #[test]
    fn the_same_ring_moves_nothing_whatever_its_order() {
        let old = ring(&["node-1", "node-2", "node-3", "node-4"], 3);
        let new = ring(&["node-3", "node-1", "node-4", "node-2"], 3);
        let movement = Movement::count(&old, &new, hashes());
        assert_eq!((movement.primaries_moved, movement.replicas_moved), (0, 0));
        assert_eq!(movement.series, SERIES);
    }

    #[test]
    fn a_node_that_leaves_gives_all_away() {
        let old = ring(&["node-1", "node-2", "node-3"], 2);
        let new = ring(&["node-1", "node-2"], 2);
        let movement = Movement::count(&old, &new, hashes());
        let gone = movement.nodes.iter().find(|node| node.address == "node-3").unwrap();
        assert!(gone.old_replicas > 0);
        assert_eq!((gone.new_primaries, gone.new_replicas), (0, 0));
        assert_eq!(movement.replicas_moved, gone.old_replicas);
        assert_eq!(movement.primaries_moved, gone.old_primaries);
    }
}
