//! Remembers to which replica set series went, by their label bytes as they came. Senders repeat these with every scrape,
//! and to look them up costs a fraction of what it takes to read the labels and hash them in order.
//!
//! An entry holds 64 bits of hash, over the bytes with tenant, ring and limits, and not the bytes. Where two series have
//! the same, the second goes where the first went: to a quorum of sidecars that are not the ring's for it, and queries,
//! which ask all sidecars, find it there.
//!
//! Invariant: at most [`ENTRIES_MAX`] entries, of 16 bytes each.

use ringside_hashring::{Hashring, ReplicaSetId, hash_bytes};
use ringside_proto::limits::ContentLimits;

/// As many series as a worker of a busy proxy sees in one scrape interval, in 16 MiB.
const ENTRIES_MAX: usize = 1 << 20;
/// Entries of a row, which is a cache line.
const WAYS: usize = 4;
const ROWS_MIN: usize = 256;

#[derive(Clone, Copy, Default)]
struct Entry {
    /// Zero where there is none.
    hash: u64,
    set: ReplicaSetId,
}

/// The replica sets of series that went out before.
#[derive(Default)]
pub(super) struct Placements {
    /// As many as a power of two, found by the top bits of the hash. The newest entry of a row comes first.
    rows: Vec<[Entry; WAYS]>,
    /// Entries that came since the rows last grew.
    added: usize,
}

/// Series of one tenant, under one ring and the same limits.
#[derive(Clone, Copy)]
pub(super) struct Scope(u64);

impl Scope {
    pub(super) fn new(tenant: &str, ring: &Hashring, limits: &ContentLimits) -> Self {
        let scope = hash_bytes(tenant.as_bytes(), ring.fingerprint());
        // Under no limits there is nothing that differs.
        let labels = limits.judges_labels().then(|| limits.to_string());
        Self(labels.map_or(scope, |limits| hash_bytes(limits.as_bytes(), scope)))
    }

    /// The hash of a series by its label bytes.
    #[inline]
    pub(super) fn hash(self, label_bytes: &[u8]) -> u64 {
        hash_bytes(label_bytes, self.0).max(1)
    }
}

impl Placements {
    /// Where a series of this hash went.
    #[inline]
    pub(super) fn get(&self, hash: u64) -> Option<ReplicaSetId> {
        let row = self.rows.get(row_of(hash, self.rows.len()))?;
        row.iter().find(|entry| entry.hash == hash).map(|entry| entry.set)
    }

    /// Takes note of where a series went that is not there yet, in the place of the row's oldest.
    pub(super) fn add(&mut self, hash: u64, set: ReplicaSetId) {
        let entries = self.rows.len() * WAYS;
        // Half full then: those that came before are as many.
        if self.added >= entries / 4 && entries < ENTRIES_MAX {
            self.grow();
        }
        self.added += 1;
        put(&mut self.rows, Entry { hash, set });
    }

    fn grow(&mut self) {
        let mut rows = vec![Default::default(); (self.rows.len() * 2).max(ROWS_MIN)];
        for entry in self.rows.iter().flat_map(|row| row.iter().rev()).filter(|entry| entry.hash != 0) {
            put(&mut rows, *entry);
        }
        self.rows = rows;
        self.added = 0;
    }
}

fn put(rows: &mut [[Entry; WAYS]], entry: Entry) {
    let count = rows.len();
    if let Some(row) = rows.get_mut(row_of(entry.hash, count)) {
        row.rotate_right(1);
        if let Some(first) = row.first_mut() {
            *first = entry;
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
        let scope = Scope::new("t", &ring, &ContentLimits::default());
        let set = |n: usize| ring.replica_set((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let hash = |n: usize| scope.hash(&n.to_le_bytes());
        let mut placements = Placements::default();
        assert_eq!(placements.get(hash(0)), None);
        for n in 0..100_000 {
            placements.add(hash(n), set(n));
        }
        let kept = (0..100_000).filter(|n| placements.get(hash(*n)) == Some(set(*n))).count();
        assert!(kept > 95_000, "{kept}");
        assert!((100_000..300_000).all(|n| placements.get(hash(n)).is_none()));
    }

    #[test]
    fn it_grows_to_its_bound() {
        let mut placements = Placements::default();
        let set = ring(3).replica_set(0);
        for n in 0..3 * ENTRIES_MAX {
            placements.add(hash_bytes(&n.to_le_bytes(), 0).max(1), set);
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
        let scopes = [
            ("a", &six, &none),
            ("b", &six, &none),
            ("a", &three, &none),
            ("a", &six, &limits),
            ("a", &six, &others),
        ]
        .map(|(tenant, ring, limits)| Scope::new(tenant, ring, limits).hash(b"x"));
        let distinct: std::collections::BTreeSet<_> = scopes.iter().collect();
        assert_eq!(distinct.len(), scopes.len());
        assert_eq!(Scope::new("a", &six, &series_only).hash(b"x"), scopes[0]);
        assert_eq!(Scope::new("a", &ring(6), &none).hash(b"x"), scopes[0]);
    }
}
