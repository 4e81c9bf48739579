//! Remembers to which replica set series went, by their label bytes as they came. Senders repeat these with every scrape,
//! and to look them up costs a fraction of what it takes to read the labels and hash them in order.
//!
//! An entry holds a hash, over the bytes with tenant, ring and limits, and not the bytes. Where two series have the same,
//! one in 10^12 of those that are new, the second goes where the first went: to a quorum of sidecars that are not the
//! ring's for it, and queries, which ask all sidecars, find it there.
//!
//! Series come round and round. So the entry that gives way in a full row is drawn, and is not the oldest: that is the next
//! to be asked for.
//!
//! Invariant: at most [`ENTRIES_MAX`] entries, of 8 bytes each.

use ringside_hashring::{Hashring, ReplicaSetId, hash_bytes};
use ringside_proto::limits::ContentLimits;

/// As many series as a worker of a busy proxy sees in one scrape interval, in 8 MiB.
const ENTRIES_MAX: usize = 1 << 20;
/// Entries of a row, which is a cache line.
const WAYS: usize = 8;
const ROWS_MIN: usize = 256;
/// An entry is a set in its lowest bits, under the lower bits of a hash; the higher ones lead to the row. Zero is none.
const SET_BITS: u32 = 20;
const SET: u64 = (1 << SET_BITS) - 1;

/// The replica sets of series that went out before.
#[derive(Default)]
pub(super) struct Placements {
    /// Part of every hash, so that nobody who does not know it finds two series of the same.
    seed: u64,
    /// As many as a power of two, found by the top bits of the hash; each with its entries first.
    rows: Vec<[u64; WAYS]>,
    /// Entries that came since the rows last grew.
    added: usize,
    /// Draws the entry that gives way.
    draw: u64,
}

/// Series of one tenant, under one ring and the same limits.
#[derive(Clone, Copy)]
pub(super) struct Scope(u64);

impl Scope {
    /// The hash of a series by its label bytes.
    #[inline]
    pub(super) fn hash(self, label_bytes: &[u8]) -> u64 {
        hash_bytes(label_bytes, self.0)
    }
}

impl Placements {
    pub(super) fn seeded(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    pub(super) fn scope(&self, tenant: &str, ring: &Hashring, limits: &ContentLimits) -> Scope {
        let scope = hash_bytes(tenant.as_bytes(), ring.fingerprint() ^ self.seed);
        // Under no limits there is nothing that differs.
        let labels = limits.judges_labels().then(|| limits.to_string());
        Scope(labels.map_or(scope, |limits| hash_bytes(limits.as_bytes(), scope)))
    }

    /// Where a series of this hash went.
    #[inline]
    pub(super) fn get(&self, ring: &Hashring, hash: u64) -> Option<ReplicaSetId> {
        let row = self.rows.get(row_of(hash, self.rows.len()))?;
        let entry = row.iter().find(|entry| **entry & !SET == hash << SET_BITS && **entry != 0)?;
        // What is not a set of this ring is another's, and the hash the same by chance.
        ring.replica_set_id((entry & SET) as usize)
    }

    /// Takes note of where a series went that is not there yet. Sets beyond the millionth are not kept.
    pub(super) fn add(&mut self, hash: u64, set: ReplicaSetId) {
        let entry = hash << SET_BITS | set.get() as u64;
        if set.get() as u64 > SET || entry == 0 {
            return;
        }
        if self.added >= self.rows.len() * WAYS / 2 && self.rows.len() * WAYS < ENTRIES_MAX {
            // The bits that would lead to a row of the larger table are not kept, so it starts empty.
            self.rows = vec![[0; WAYS]; (self.rows.len() * 2).max(ROWS_MIN)];
            self.added = 0;
        }
        self.added += 1;
        let row = row_of(hash, self.rows.len());
        let Some(row) = self.rows.get_mut(row) else { return };
        self.draw = self.draw.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let drawn = (self.draw >> (u64::BITS - WAYS.trailing_zeros())) as usize;
        let at = row.iter().position(|entry| *entry == 0).unwrap_or(drawn);
        if let Some(place) = row.get_mut(at) {
            *place = entry;
        }
    }
}

/// Which of so many rows, a power of two, has a hash; any number where there are none.
#[inline]
fn row_of(hash: u64, rows: usize) -> usize {
    hash.checked_shr(u64::BITS - rows.trailing_zeros()).unwrap_or(0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringside_hashring::Endpoint;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn ring(endpoints: usize) -> Hashring {
        let endpoint = |n| Endpoint { address: format!("node-{n}"), az: String::new() };
        Hashring::ketama((1..=endpoints).map(endpoint).collect(), 3).unwrap()
    }

    #[test]
    fn what_was_added_is_there_until_newer_ones_take_its_place() {
        let ring = ring(6);
        let set = |n: usize| ring.replica_set((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut placements = Placements::default();
        let scope = placements.scope("t", &ring, &ContentLimits::default());
        let hash = |n: usize| scope.hash(&n.to_le_bytes());
        assert_eq!(placements.get(&ring, hash(0)), None);
        // Those that came before it last grew have to come again.
        for n in (0..300_000).map(|n| n % 100_000) {
            if placements.get(&ring, hash(n)).is_none() {
                placements.add(hash(n), set(n));
            }
        }
        let kept = (0..100_000).filter(|n| placements.get(&ring, hash(*n)) == Some(set(*n))).count();
        assert!(kept > 95_000, "{kept}");
        assert!((100_000..300_000).all(|n| placements.get(&ring, hash(n)).is_none()));
    }

    /// More series than there is place for, round and round, as scrapes are.
    #[test]
    fn many_more_series_than_places_are_found_in_part() {
        let ring = ring(3);
        let set = ring.replica_set(0);
        let mut placements = Placements::default();
        for (series, share) in [(ENTRIES_MAX / 2, 0.95), (ENTRIES_MAX, 0.7), (2 * ENTRIES_MAX, 0.15)] {
            let mut found = 0;
            for round in 0..6 {
                for n in 0..series {
                    let hash = hash_bytes(&n.to_le_bytes(), 0);
                    match placements.get(&ring, hash) {
                        Some(_) => found += usize::from(round == 5),
                        None => placements.add(hash, set),
                    }
                }
            }
            assert!(found as f64 > share * series as f64, "{found} of {series}");
        }
    }

    #[test]
    fn what_is_no_set_of_the_ring_is_not_found() {
        let (three, nine) = (ring(3), ring(9));
        let set = (0..1000).map(|n| nine.replica_set(n << 54)).find(|set| set.get() > 0).unwrap();
        let mut placements = Placements::default();
        placements.add(7, set);
        placements.add(7, set);
        assert_eq!(placements.get(&nine, 7), Some(set));
        assert_eq!(placements.get(&three, 7), None);
    }

    #[test]
    fn it_grows_to_its_bound() {
        let mut placements = Placements::default();
        let set = ring(3).replica_set(0);
        for n in 0..3 * ENTRIES_MAX {
            placements.add(hash_bytes(&n.to_le_bytes(), 0), set);
        }
        assert_eq!(placements.rows.len() * WAYS, ENTRIES_MAX);
    }

    #[test]
    fn tenants_rings_and_limits_are_told_apart() {
        let limits = ContentLimits { labels_per_series: Some(30), ..ContentLimits::default() };
        let others = ContentLimits { labels_per_series: Some(31), ..ContentLimits::default() };
        let series_only = ContentLimits { series_per_request: Some(9), ..ContentLimits::default() };
        let (three, six) = (ring(3), ring(6));
        let none = ContentLimits::default();
        let placements = Placements::default();
        let scopes = [
            ("a", &six, &none),
            ("b", &six, &none),
            ("a", &three, &none),
            ("a", &six, &limits),
            ("a", &six, &others),
        ]
        .map(|(tenant, ring, limits)| placements.scope(tenant, ring, limits).hash(b"x"));
        let distinct: std::collections::BTreeSet<_> = scopes.iter().collect();
        assert_eq!(distinct.len(), scopes.len());
        assert_eq!(placements.scope("a", &six, &series_only).hash(b"x"), scopes[0]);
        assert_eq!(placements.scope("a", &ring(6), &none).hash(b"x"), scopes[0]);
        let others = Placements::seeded(1);
        assert_ne!(others.scope("a", &six, &none).hash(b"x"), scopes[0], "nobody foresees a hash");
    }
}
