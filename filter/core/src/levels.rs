//! What all workers have under way together, kept where each of them sees it.
//!
//! Owns one entry for each configuration of each worker, which it renews while it lives. An entry that is not renewed is of
//! a worker whose module has trapped, or of a configuration that is gone, and counts no longer. So the sums heal by
//! themselves, whatever was under way when a worker lost its memory.

use crate::rate::SharedData;

/// How many levels there are.
pub const LEVELS: usize = 4;
/// How often an entry is renewed though nothing has changed, in milliseconds.
const RENEW_MS: u64 = 1000;
/// How long an entry counts that is not renewed, in milliseconds: longer than a worker is busy with one request.
const STALE_MS: u64 = 10_000;
/// How often a change is tried.
const TRIES: usize = 64;
const KEY: &str = "ringside.levels";

/// One worker's own levels under one configuration.
#[derive(Debug, Default)]
pub struct Levels {
    /// Its number among all entries, from when it has one.
    number: Option<u64>,
    values: [u64; LEVELS],
    renewed_ms: u64,
}

/// What is shared: the number of the next entry, and the entries.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shared {
    next: u64,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    number: u64,
    renewed_ms: u64,
    values: [u64; LEVELS],
}

impl Levels {
    /// Of a configuration that is being loaded, before it has anything under way. The host compares no version where there
    /// is no value yet, so two workers that were the first at once would lose one of their entries: hence there is a value
    /// long before.
    pub fn new(shared: &impl SharedData) -> Self {
        if shared.get(KEY).is_none() {
            shared.set(KEY, &Shared::default().write(), None);
        }
        Self::default()
    }

    /// Sets this worker's own levels. The sums over all workers, if it is time to show them anew.
    pub fn set(
        &mut self,
        shared: &impl SharedData,
        values: [u64; LEVELS],
        now_ms: u64,
    ) -> Option<[u64; LEVELS]> {
        let is_known = self.number.is_some() && values == self.values;
        if is_known && now_ms.abs_diff(self.renewed_ms) < RENEW_MS {
            return None;
        }
        (0..TRIES).find_map(|_| {
            let known = shared.get(KEY);
            let mut state = Shared::read(known.as_ref().map_or(&[], |(value, _)| value));
            let number = self.number.unwrap_or(state.next);
            state.next = state.next.max(number.saturating_add(1));
            state
                .entries
                .retain(|entry| entry.number != number && now_ms.saturating_sub(entry.renewed_ms) < STALE_MS);
            state.entries.push(Entry { number, renewed_ms: now_ms, values });
            shared.set(KEY, &state.write(), known.map(|(_, version)| version)).then(|| {
                (self.number, self.values, self.renewed_ms) = (Some(number), values, now_ms);
                state.sums()
            })
        })
    }
}

impl Shared {
    /// What is not ours, or of another layout, counts as nothing.
    fn read(value: &[u8]) -> Self {
        let mut numbers = value.chunks(8).map_while(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let next = numbers.next().unwrap_or(0);
        let entries = std::iter::from_fn(|| {
            let (number, renewed_ms) = (numbers.next()?, numbers.next()?);
            let mut values = [0; LEVELS];
            for value in &mut values {
                *value = numbers.next()?;
            }
            Some(Entry { number, renewed_ms, values })
        });
        Self { next, entries: entries.collect() }
    }

    fn write(&self) -> Vec<u8> {
        let entry = |entry: &Entry| [entry.number, entry.renewed_ms].into_iter().chain(entry.values);
        let numbers = std::iter::once(self.next).chain(self.entries.iter().flat_map(entry));
        numbers.flat_map(u64::to_le_bytes).collect()
    }

    fn sums(&self) -> [u64; LEVELS] {
        let mut sums = [0_u64; LEVELS];
        for entry in &self.entries {
            for (sum, value) in sums.iter_mut().zip(entry.values) {
                *sum = sum.saturating_add(value);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{Entry, Levels, RENEW_MS, STALE_MS, Shared};
    use crate::rate::tests::Shared as Data;

    #[test]
    fn workers_add_up() {
        let shared = Data::default();
        let [mut one, mut other] = [(); 2].map(|()| Levels::new(&shared));
        assert_eq!(one.set(&shared, [1, 2, 0, 0], 0), Some([1, 2, 0, 0]));
        assert_eq!(other.set(&shared, [10, 20, 30, 1], 0), Some([11, 22, 30, 1]));
        assert_eq!(one.set(&shared, [1, 2, 0, 0], RENEW_MS - 1), None, "nothing is new");
        assert_eq!(one.set(&shared, [0, 0, 0, 0], RENEW_MS - 1), Some([10, 20, 30, 1]));
        assert_eq!(other.set(&shared, [0, 0, 0, 0], RENEW_MS), Some([0, 0, 0, 0]));
    }

    #[test]
    fn a_worker_that_trapped_counts_no_longer() {
        let shared = Data::default();
        let [mut trapped, mut other] = [(); 2].map(|()| Levels::new(&shared));
        trapped.set(&shared, [5, 5, 5, 5], 0);
        let mut anew = Levels::new(&shared);
        assert_eq!(anew.set(&shared, [1, 0, 0, 0], 100), Some([6, 5, 5, 5]));
        for now_ms in (RENEW_MS..STALE_MS).step_by(1000) {
            assert_eq!(other.set(&shared, [0; 4], now_ms), Some([6, 5, 5, 5]), "{now_ms}");
            assert!(anew.set(&shared, [1, 0, 0, 0], now_ms + 100).is_some());
        }
        assert_eq!(other.set(&shared, [0; 4], STALE_MS), Some([1, 0, 0, 0]));
    }

    #[test]
    fn who_was_taken_for_gone_is_there_again() {
        let shared = Data::default();
        let [mut busy, mut other] = [(); 2].map(|()| Levels::new(&shared));
        busy.set(&shared, [5; 4], 0);
        assert_eq!(other.set(&shared, [1; 4], STALE_MS), Some([1; 4]));
        assert_eq!(busy.set(&shared, [5; 4], STALE_MS + 1), Some([6; 4]));
        assert_eq!(busy.set(&shared, [0; 4], STALE_MS + 2), Some([1; 4]));
    }

    #[test]
    fn what_is_cut_short_or_foreign_is_let_go() {
        let entry = Entry { number: 3, renewed_ms: 4, values: [5, 6, 7, 8] };
        let state = Shared { next: 9, entries: vec![entry, Entry { number: 4, ..entry }] };
        let bytes = state.write();
        assert_eq!(Shared::read(&bytes), state);
        for length in 0..bytes.len() {
            assert!(Shared::read(&bytes[..length]).entries.len() < 2);
        }
    }
}
