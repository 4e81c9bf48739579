//! The ketama ring: 1000 sections per endpoint, sorted by hash; the replicas
//! of every section are found once, when the ring is built. A look-up is one
//! access to an index over the top bits and a step or two from there.
//!
//! Invariant: `starts`, `replicas` and `section_sets` describe the same
//! sections in the same order, ascending by hash, and there is at least one.

use std::collections::BTreeMap;

use xxhash_rust::xxh64::{Xxh64, xxh64};

use crate::error::RingError;
use crate::replicas::{EndpointIndex, ReplicaSet, ReplicaSetId};

/// How many sections of the ring each endpoint gets, as in Thanos.
pub const SECTIONS_PER_ENDPOINT: usize = 1000;

/// The largest ring. A section takes about 30 bytes, so this keeps a ring under 64 MiB.
pub const ENDPOINTS_MAX: usize = 2048;

const _: () = assert!(ENDPOINTS_MAX <= u16::MAX as usize);
const _: () = assert!(ENDPOINTS_MAX * SECTIONS_PER_ENDPOINT <= u32::MAX as usize);

/// A sidecar, as the ring knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address, exactly as configured: these characters are hashed.
    pub address: String,
    /// Its availability zone; empty counts as a zone of that name.
    pub az: String,
}

/// Where one endpoint begins to own the ring.
struct Section {
    hash: u64,
    endpoint: EndpointIndex,
}

/// A ring that can serve.
#[derive(Debug, Clone)]
pub struct Hashring {
    endpoints: Vec<Endpoint>,
    replication_factor: usize,
    /// The hashes of the sections, ascending.
    hashes: Vec<u64>,
    /// For each value of the top bits of a hash, the first section at or after it.
    starts: Vec<u32>,
    /// How far to shift a hash to get its top bits.
    shift: u32,
    /// `replication_factor` endpoints for each section.
    replicas: Vec<EndpointIndex>,
    section_sets: Vec<ReplicaSetId>,
    sets: Vec<ReplicaSet>,
    fingerprint: u64,
}

impl Hashring {
    /// Builds the ring of these endpoints, in the order of the configuration.
    pub fn ketama(endpoints: Vec<Endpoint>, replication_factor: usize) -> Result<Self, RingError> {
        Self::with_sections(endpoints, replication_factor, SECTIONS_PER_ENDPOINT)
    }

    pub(crate) fn with_sections(
        endpoints: Vec<Endpoint>,
        replication_factor: usize,
        sections_per_endpoint: usize,
    ) -> Result<Self, RingError> {
        validate(&endpoints, replication_factor)?;
        let sections = sections(&endpoints, sections_per_endpoint);
        let walk = Walk::new(&endpoints, &sections, replication_factor);

        let mut replicas = Vec::with_capacity(sections.len() * replication_factor);
        let mut section_sets = Vec::with_capacity(sections.len());
        let mut sets = Vec::new();
        let mut ids = BTreeMap::new();
        for from in 0..sections.len() {
            let picked = walk.replicas(from)?;
            let set = ReplicaSet::new(&picked);
            let id = *ids.entry(set.members().to_vec()).or_insert_with(|| {
                sets.push(set);
                ReplicaSetId(sets.len() as u32 - 1)
            });
            section_sets.push(id);
            replicas.extend_from_slice(&picked);
        }

        let hashes: Vec<u64> = sections.iter().map(|section| section.hash).collect();
        let (starts, shift) = index(&hashes);
        let fingerprint = fingerprint(&hashes, &section_sets);
        Ok(Self {
            endpoints,
            replication_factor,
            hashes,
            starts,
            shift,
            replicas,
            section_sets,
            sets,
            fingerprint,
        })
    }

    /// The endpoints, in the order of the configuration.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// How many endpoints hold each series.
    pub fn replication_factor(&self) -> usize {
        self.replication_factor
    }

    /// The endpoints that hold a series with this hash, in replica order.
    #[inline]
    pub fn replicas(&self, hash: u64) -> &[EndpointIndex] {
        self.section_replicas(self.section(hash))
    }

    /// Which set of endpoints holds a series with this hash.
    #[inline]
    pub fn replica_set(&self, hash: u64) -> ReplicaSetId {
        // The section is always there; the fallback spares the caller a panic.
        self.section_sets.get(self.section(hash)).copied().unwrap_or(ReplicaSetId(0))
    }

    /// Tells this ring from others: what has the same gives every series the same set.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The set of an id, if the ring has it.
    #[inline]
    pub fn replica_set_id(&self, id: usize) -> Option<ReplicaSetId> {
        (id < self.sets.len()).then_some(ReplicaSetId(id as u32))
    }

    /// Every set of endpoints that holds some series, by id.
    pub fn replica_sets(&self) -> &[ReplicaSet] {
        &self.sets
    }

    /// The hashes where sections end, ascending, each with the replicas of its section.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (u64, &[EndpointIndex])> {
        self.hashes.iter().copied().zip(self.replicas.chunks_exact(self.replication_factor))
    }

    #[inline]
    fn section_replicas(&self, section: usize) -> &[EndpointIndex] {
        let from = section * self.replication_factor;
        self.replicas.get(from..from + self.replication_factor).unwrap_or_default()
    }

    /// The first section at or after the hash, else section 0.
    #[inline]
    fn section(&self, hash: u64) -> usize {
        let bucket = (hash >> self.shift) as usize;
        let mut section = self.starts.get(bucket).map_or(0, |&start| start as usize);
        while let Some(&end) = self.hashes.get(section) {
            if end >= hash {
                return section;
            }
            section += 1;
        }
        0
    }
}

fn validate(endpoints: &[Endpoint], replication_factor: usize) -> Result<(), RingError> {
    if replication_factor == 0 {
        return Err(RingError::NoReplicas);
    }
    if endpoints.is_empty() {
        return Err(RingError::NoEndpoints);
    }
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(RingError::TooManyEndpoints { endpoints: endpoints.len() });
    }
    let mut seen = BTreeMap::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        if endpoint.address.is_empty() {
            return Err(RingError::EmptyAddress { index });
        }
        if let Some(first) = seen.insert(endpoint.address.as_str(), index) {
            let address = endpoint.address.clone();
            return Err(RingError::DuplicateAddress { address, first, second: index });
        }
    }
    if endpoints.len() < replication_factor {
        return Err(RingError::TooFewEndpoints { endpoints: endpoints.len(), replication_factor });
    }
    Ok(())
}

/// The sections of all endpoints, ascending by hash. Numbers count from 1.
fn sections(endpoints: &[Endpoint], per_endpoint: usize) -> Vec<Section> {
    let mut sections = Vec::with_capacity(endpoints.len() * per_endpoint);
    let mut key = String::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        for number in 1..=per_endpoint {
            key.clear();
            key.push_str(&endpoint.address);
            key.push(':');
            key.push_str(&number.to_string());
            sections.push(Section { hash: xxh64(key.as_bytes(), 0), endpoint: EndpointIndex(index as u16) });
        }
    }
    sections.sort_by_key(|section| section.hash);
    sections
}

fn fingerprint(hashes: &[u64], sets: &[ReplicaSetId]) -> u64 {
    let mut all = Xxh64::new(0);
    for (hash, set) in hashes.iter().zip(sets) {
        all.update(&hash.to_le_bytes());
        all.update(&set.0.to_le_bytes());
    }
    all.digest()
}

/// An index with at least two entries per section, and the shift that gives a hash's entry.
fn index(hashes: &[u64]) -> (Vec<u32>, u32) {
    let bits = (hashes.len() * 2).next_power_of_two().trailing_zeros();
    let shift = u64::BITS - bits;
    let mut starts = Vec::with_capacity(1 << bits);
    let mut section = 0;
    for bucket in 0..1u64 << bits {
        while hashes.get(section).is_some_and(|&hash| hash < bucket << shift) {
            section += 1;
        }
        starts.push(section as u32);
    }
    (starts, shift)
}

/// Finds the replicas of a section: clockwise from it, skipping endpoints that
/// are picked already and zones that have more replicas than another zone.
struct Walk<'a> {
    sections: &'a [Section],
    /// The zone of each endpoint, as a number from 0.
    zone_of: Vec<usize>,
    /// How many endpoints each zone has, by its name.
    zones: BTreeMap<&'a str, usize>,
    replication_factor: usize,
}

impl<'a> Walk<'a> {
    fn new(endpoints: &'a [Endpoint], sections: &'a [Section], replication_factor: usize) -> Self {
        let mut zones = BTreeMap::new();
        for endpoint in endpoints {
            *zones.entry(endpoint.az.as_str()).or_insert(0) += 1;
        }
        let number = |endpoint: &Endpoint| zones.keys().position(|az| *az == endpoint.az).unwrap_or(0);
        let zone_of = endpoints.iter().map(number).collect();
        Self { sections, zone_of, zones, replication_factor }
    }

    fn replicas(&self, from: usize) -> Result<Vec<EndpointIndex>, RingError> {
        let mut picked = Vec::with_capacity(self.replication_factor);
        let mut spread = vec![0usize; self.zones.len()];
        // A lap that picks nothing changes nothing, so the next one would not either.
        let mut passed = 0;
        let (before, after) = self.sections.split_at(from);
        for section in after.iter().chain(before).cycle() {
            if picked.len() == self.replication_factor {
                break;
            }
            if passed == self.sections.len() {
                return Err(self.endless(picked.len()));
            }
            passed += 1;
            let zone = self.zone_of.get(section.endpoint.get()).copied().unwrap_or(0);
            let least = spread.iter().copied().min().unwrap_or(0);
            let Some(held) = spread.get_mut(zone) else { continue };
            // With one zone, `held` is the least.
            if *held > least || picked.contains(&section.endpoint) {
                continue;
            }
            *held += 1;
            picked.push(section.endpoint);
            passed = 0;
        }
        Ok(picked)
    }

    fn endless(&self, picked: usize) -> RingError {
        let zones: Vec<String> = self.zones.iter().map(|(az, count)| format!("{az:?}: {count}")).collect();
        RingError::ZoneSpread { zones: zones.join(", "), replication_factor: self.replication_factor, picked }
    }
}

#[cfg(test)]
mod tests;
