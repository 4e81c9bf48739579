//! The hash of a series: XXH64, seed 0, over
//! `tenant 0xFF (name 0xFF value 0xFF)*`.
//!
//! The caller feeds labels in order of their names. Thanos hashes them as they
//! arrive, which is the same for every sender that keeps to remote write 1.0.

use xxhash_rust::xxh64::{Xxh64, xxh64};

const SEPARATOR: u8 = 0xff;

/// Longer keys are hashed piece by piece, so that no series makes the buffer grow beyond this.
const KEY_BYTES_MAX: usize = 4 << 10;

/// The hash of any bytes, XXH64, to tell one text from another.
#[inline]
pub fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    xxh64(bytes, seed)
}

/// Hashes series of one tenant, one after the other, without allocating for each.
#[derive(Clone)]
pub struct SeriesHasher {
    /// The tenant and its separator, then the labels that are not yet in `long`; as much as `len` says.
    key: Box<[u8]>,
    len: usize,
    prefix: usize,
    /// The hash so far of a key that outgrew the buffer.
    long: Option<Box<Xxh64>>,
}

impl SeriesHasher {
    /// A hasher for series of this tenant.
    pub fn new(tenant: &str) -> Self {
        let prefix = tenant.len() + 1;
        let mut key = [tenant.as_bytes(), &[SEPARATOR]].concat();
        key.resize(prefix + KEY_BYTES_MAX, 0);
        Self { key: key.into(), len: prefix, prefix, long: None }
    }

    /// Adds a label. Labels come sorted by name.
    #[inline]
    pub fn label(&mut self, name: &[u8], value: &[u8]) {
        let len = self.len + name.len() + value.len() + 2;
        let Some((to_name, rest)) =
            self.key.get_mut(self.len..len).and_then(|to| to.split_at_mut_checked(name.len()))
        else {
            return self.label_long(name, value);
        };
        copy(name, to_name);
        if let Some((separator, rest)) = rest.split_first_mut()
            && let Some((last, to_value)) = rest.split_last_mut()
        {
            copy(value, to_value);
            (*separator, *last) = (SEPARATOR, SEPARATOR);
        }
        self.len = len;
    }

    #[cold]
    fn label_long(&mut self, name: &[u8], value: &[u8]) {
        self.spill();
        if let Some(long) = &mut self.long {
            for part in [name, &[SEPARATOR], value, &[SEPARATOR]] {
                long.update(part);
            }
        }
    }

    /// Moves the buffered part of the key into the running hash.
    #[cold]
    fn spill(&mut self) {
        let done = if self.long.is_some() { self.prefix } else { 0 };
        let long = self.long.get_or_insert_with(|| Box::new(Xxh64::new(0)));
        long.update(self.key.get(done..self.len).unwrap_or_default());
        self.len = self.prefix;
    }

    /// The hash of the series, after which the hasher is ready for the next one of the same tenant.
    #[inline]
    pub fn finish_series(&mut self) -> u64 {
        if self.long.is_some() {
            self.spill();
        }
        let hash = match self.long.take() {
            Some(long) => long.digest(),
            None => xxh64(self.key.get(..self.len).unwrap_or_default(), 0),
        };
        self.len = self.prefix;
        hash
    }

    /// The hash of the series.
    #[inline]
    pub fn finish(mut self) -> u64 {
        self.finish_series()
    }
}

/// Copies bytes to as many. Names and values are short, and a general copy of a few bytes costs more than the bytes,
/// above all under wasm.
#[inline]
fn copy(from: &[u8], to: &mut [u8]) {
    #[inline]
    fn both_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
        if let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) {
            to.first_chunk_mut().into_iter().for_each(|to| *to = *first);
            to.last_chunk_mut().into_iter().for_each(|to| *to = *last);
        }
    }
    match from.len() {
        0..4 => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
        4..8 => both_ends::<4>(from, to),
        8..16 => both_ends::<8>(from, to),
        16..=32 => both_ends::<16>(from, to),
        _ if from.len() == to.len() => to.copy_from_slice(from),
        _ => {}
    }
}

/// The hash of one series, its labels sorted by name.
pub fn series_hash<'a>(tenant: &str, labels: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> u64 {
    let mut hasher = SeriesHasher::new(tenant);
    for (name, value) in labels {
        hasher.label(name, value);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn plain(tenant: &str, labels: &[(Vec<u8>, Vec<u8>)]) -> u64 {
        let mut key = tenant.as_bytes().to_vec();
        key.push(SEPARATOR);
        for (name, value) in labels {
            for part in [name, value] {
                key.extend_from_slice(part);
                key.push(SEPARATOR);
            }
        }
        xxh64(&key, 0)
    }

    #[test]
    fn a_series_without_labels_is_its_tenant() {
        assert_eq!(series_hash("t", []), xxh64(b"t\xff", 0));
    }

    #[test]
    fn one_hasher_for_series_of_every_length() {
        let mut hasher = SeriesHasher::new("team-a");
        for bytes in [1, 100, KEY_BYTES_MAX - 20, KEY_BYTES_MAX - 9, KEY_BYTES_MAX, 3 * KEY_BYTES_MAX, 2] {
            let labels = [
                (b"a".to_vec(), vec![b'x'; bytes]),
                (b"b".to_vec(), b"y".to_vec()),
                (vec![], vec![b'z'; bytes]),
            ];
            for (name, value) in &labels {
                hasher.label(name, value);
            }
            assert_eq!(hasher.finish_series(), plain("team-a", &labels), "{bytes}");
        }
    }
}
