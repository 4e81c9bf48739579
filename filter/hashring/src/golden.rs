//! The ring against golden data: hashes and placements published for or
//! measured on Thanos, and digests of whole rings from an independent
//! implementation. The same file is read natively and under wasm, where filter
//! and sidecar must agree.

use serde::Deserialize;
use serde_json::Value;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use xxhash_rust::xxh64::{Xxh64, xxh64};

use crate::{Endpoint, Hashring, RingError, series_hash};

#[derive(Deserialize)]
struct Golden {
    section_hashes: Vec<SectionHash>,
    placements: Vec<Placement>,
    rings: Vec<WholeRing>,
    endless: Vec<Endless>,
}

#[derive(Deserialize)]
struct SectionHash {
    address: String,
    section: u32,
    hash: String,
}

#[derive(Deserialize)]
struct Placement {
    endpoints: Vec<Value>,
    sections: usize,
    replication_factor: usize,
    tenant: String,
    labels: Vec<(String, String)>,
    hash: String,
    replicas: Vec<String>,
}

#[derive(Deserialize)]
struct WholeRing {
    endpoints: Vec<Value>,
    replication_factor: usize,
    replica_sets: usize,
    /// XXH64 over each section's hash and replicas, little endian, in order.
    digest: String,
}

#[derive(Deserialize)]
struct Endless {
    endpoints: Vec<Value>,
    replication_factor: usize,
    picked: usize,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/ring.json")).unwrap()
}

fn endpoints(values: &[Value]) -> Vec<Endpoint> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let endpoint = |value: &Value| match value {
        Value::String(address) => Endpoint { address: address.clone(), az: String::new() },
        value => Endpoint { address: text(&value["address"]), az: text(&value["az"]) },
    };
    values.iter().map(endpoint).collect()
}

#[test]
fn section_hashes() {
    let golden = golden();
    assert!(!golden.section_hashes.is_empty());
    for section in golden.section_hashes {
        let key = format!("{}:{}", section.address, section.section);
        assert_eq!(format!("{:016x}", xxh64(key.as_bytes(), 0)), section.hash, "{key}");
        let ring =
            Hashring::ketama(vec![Endpoint { address: section.address, az: String::new() }], 1).unwrap();
        assert!(ring.sections().any(|(hash, _)| format!("{hash:016x}") == section.hash), "{key}");
    }
}

#[test]
fn placements() {
    let golden = golden();
    assert!(golden.placements.len() >= 12);
    for case in golden.placements {
        let endpoints = endpoints(&case.endpoints);
        let ring = Hashring::with_sections(endpoints, case.replication_factor, case.sections).unwrap();
        let labels = case.labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let hash = series_hash(&case.tenant, labels);
        assert_eq!(format!("{hash:016x}"), case.hash);

        let replicas = ring.replicas(hash);
        let addresses: Vec<_> = replicas.iter().map(|index| &ring.endpoints()[index.get()].address).collect();
        assert_eq!(addresses, case.replicas.iter().collect::<Vec<_>>(), "{} {:?}", case.tenant, case.labels);

        let mut members = replicas.to_vec();
        members.sort();
        assert_eq!(ring.replica_sets()[ring.replica_set(hash).get()].members(), members);
    }
}

#[test]
fn whole_rings() {
    let golden = golden();
    assert!(!golden.rings.is_empty());
    for case in golden.rings {
        let ring = Hashring::ketama(endpoints(&case.endpoints), case.replication_factor).unwrap();
        let mut digest = Xxh64::new(0);
        for (hash, replicas) in ring.sections() {
            digest.update(&hash.to_le_bytes());
            for replica in replicas {
                digest.update(&replica.0.to_le_bytes());
            }
        }
        assert_eq!(format!("{:016x}", digest.digest()), case.digest, "{:?}", case.endpoints);
        assert_eq!(ring.replica_sets().len(), case.replica_sets, "{:?}", case.endpoints);
    }
}

#[test]
fn zones_that_thanos_never_finishes_are_refused() {
    let golden = golden();
    assert!(!golden.endless.is_empty());
    for case in golden.endless {
        match Hashring::ketama(endpoints(&case.endpoints), case.replication_factor) {
            Err(RingError::ZoneSpread { replication_factor, picked, zones }) => {
                assert_eq!((replication_factor, picked), (case.replication_factor, case.picked), "{zones}");
            }
            other => panic!("{other:?}"),
        }
    }
}
