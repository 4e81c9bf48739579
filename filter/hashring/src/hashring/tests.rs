//! The ring where it has edges: at every section, at both ends of the hash
//! space, at its limits; and what must hold of any ring.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn endpoint(address: &str, az: &str) -> Endpoint {
    Endpoint { address: address.to_owned(), az: az.to_owned() }
}

fn nodes(count: usize) -> Vec<Endpoint> {
    (0..count).map(|n| endpoint(&format!("ringside-{n}.ringside:19291"), "")).collect()
}

/// The look-up as the algorithm says it: the first section at or after the hash, else the first of all.
fn linear(ring: &Hashring, hash: u64) -> &[EndpointIndex] {
    let (_, replicas) =
        ring.sections().find(|(end, _)| *end >= hash).or_else(|| ring.sections().next()).unwrap();
    replicas
}

#[test]
fn the_index_finds_every_section() {
    for (endpoints, sections) in [(1, 1), (1, 2), (3, 10), (7, 1000), (50, 1000)] {
        let ring = Hashring::with_sections(nodes(endpoints), 1, sections).unwrap();
        let ends: Vec<u64> = ring.sections().map(|(end, _)| end).collect();
        for (section, &end) in ends.iter().enumerate() {
            assert_eq!(ring.section(end), section, "a section holds its own end");
            let next = if section + 1 == ends.len() { 0 } else { section + 1 };
            assert_eq!(ring.section(end.wrapping_add(1)), next, "and nothing after it");
        }
        assert_eq!(ring.section(0), 0);
        assert_eq!(ring.section(u64::MAX), 0, "the ring goes on at its start");
    }
}

#[test]
fn every_hash_has_as_many_different_replicas_as_asked_for() {
    for replication_factor in 1..=5 {
        let ring = Hashring::ketama(nodes(5), replication_factor).unwrap();
        for step in 0..2_000u64 {
            let hash = step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let replicas = ring.replicas(hash);
            assert_eq!(replicas, linear(&ring, hash));
            let set = &ring.replica_sets()[ring.replica_set(hash).get()];
            let mut members = replicas.to_vec();
            members.sort();
            members.dedup();
            assert_eq!(members.len(), replication_factor);
            assert_eq!(set.members(), members);
        }
    }
}

#[test]
fn replica_sets_are_dense_and_different() {
    let ring = Hashring::ketama(nodes(5), 3).unwrap();
    let mut sets: Vec<_> = ring.replica_sets().iter().map(|set| set.members().to_vec()).collect();
    assert_eq!(sets.len(), 10, "all choices of 3 among 5");
    sets.sort();
    sets.dedup();
    assert_eq!(sets.len(), 10);
    assert_eq!(Hashring::ketama(nodes(3), 3).unwrap().replica_sets().len(), 1);
}

#[test]
fn zones_hold_as_many_replicas_as_each_other() {
    let zones = ["a", "b", "c"];
    let endpoints = (0..9).map(|n| endpoint(&format!("n{n}:1"), zones[n % 3])).collect();
    let ring = Hashring::ketama(endpoints, 6).unwrap();
    for (_, replicas) in ring.sections() {
        for zone in zones {
            let held = replicas.iter().filter(|index| ring.endpoints()[index.get()].az == zone).count();
            assert_eq!(held, 2);
        }
    }
}

#[test]
fn what_cannot_serve_is_refused() {
    let refused = |endpoints: Vec<Endpoint>, replication_factor| {
        Hashring::ketama(endpoints, replication_factor).unwrap_err()
    };
    assert_eq!(refused(nodes(3), 0), RingError::NoReplicas);
    assert_eq!(refused(vec![], 1), RingError::NoEndpoints);
    assert_eq!(refused(nodes(2), 3), RingError::TooFewEndpoints { endpoints: 2, replication_factor: 3 });
    assert_eq!(
        refused(nodes(2), usize::MAX),
        RingError::TooFewEndpoints { endpoints: 2, replication_factor: usize::MAX }
    );
    let many = ENDPOINTS_MAX + 1;
    assert_eq!(refused(nodes(many), 3), RingError::TooManyEndpoints { endpoints: many });
    assert_eq!(refused(vec![endpoint("a", ""), endpoint("", "")], 1), RingError::EmptyAddress { index: 1 });
    let twice = vec![endpoint("a", "1"), endpoint("b", "1"), endpoint("a", "2")];
    let duplicate = RingError::DuplicateAddress { address: "a".to_owned(), first: 0, second: 2 };
    assert_eq!(refused(twice, 3), duplicate);
}

#[test]
fn zones_that_end_the_walk_nowhere_are_named() {
    let mut endpoints = vec![endpoint("a:1", "near")];
    endpoints.extend((0..5).map(|n| endpoint(&format!("b{n}:1"), "far")));
    let message = Hashring::ketama(endpoints, 4).unwrap_err().to_string();
    assert!(message.contains("\"far\": 5, \"near\": 1") && message.contains("4 replicas"), "{message}");
}
