//! One balance, charged by one worker or by many at a time.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::{Rate, SharedData};
use crate::tenant::TenantId;

/// Shared data in which others write between a worker's reading and its writing, now and then.
#[derive(Default)]
pub(crate) struct Shared {
    values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    /// Every so many writes one fails.
    contention: u32,
    writes: Cell<u32>,
}

impl SharedData for Shared {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.values.borrow().get(key).cloned()
    }

    fn set(&self, key: &str, value: &[u8], version: Option<u32>) -> bool {
        self.writes.set(self.writes.get() + 1);
        let mut values = self.values.borrow_mut();
        let known = values.entry(key.to_owned()).or_default();
        if self.contention > 0 && self.writes.get().is_multiple_of(self.contention) {
            known.1 += 1;
        }
        if version.is_some_and(|version| version != known.1) {
            return false;
        }
        *known = (value.to_vec(), known.1 + 1);
        true
    }
}

fn tenant() -> TenantId {
    TenantId::new("t").unwrap()
}

const RATE: Rate = Rate { samples_per_second: 1000, burst: 5000 };

#[test]
fn a_burst_and_then_the_rate() {
    let shared = Shared::default();
    assert_eq!(RATE.admit(&shared, &tenant(), 0), Ok(()));
    assert!(RATE.charge(&shared, &tenant(), 4999, 0));
    assert_eq!(RATE.admit(&shared, &tenant(), 0), Ok(()), "one is left");
    assert!(RATE.charge(&shared, &tenant(), 2001, 0));
    assert_eq!(RATE.admit(&shared, &tenant(), 0), Err(3), "two seconds of debt, and a bit");
    assert_eq!(RATE.admit(&shared, &tenant(), 2000), Err(1));
    assert_eq!(RATE.admit(&shared, &tenant(), 2001), Ok(()));
    let other = TenantId::new("u").unwrap();
    assert_eq!(RATE.admit(&shared, &other, 0), Ok(()), "another tenant has its own");
}

#[test]
fn a_write_beyond_the_burst_is_taken_and_paid_for() {
    let shared = Shared::default();
    RATE.charge(&shared, &tenant(), 25_000, 0);
    assert_eq!(RATE.admit(&shared, &tenant(), 0), Err(21));
    assert_eq!(RATE.admit(&shared, &tenant(), 20_001), Ok(()));
}

#[test]
fn debt_and_waiting_are_bounded() {
    let shared = Shared::default();
    for _ in 0..3 {
        RATE.charge(&shared, &tenant(), u64::MAX, 0);
        assert_eq!(RATE.admit(&shared, &tenant(), 0), Err(60));
    }
    assert_eq!(RATE.admit(&shared, &tenant(), 60_001), Err(60), "the debt outlasts the wait");
    assert_eq!(RATE.admit(&shared, &tenant(), 6 * 24 * 3_600_000), Err(60));
    assert_eq!(RATE.admit(&shared, &tenant(), 7 * 24 * 3_600_000 + 1), Ok(()));
}

#[test]
fn idle_time_saves_no_more_than_the_burst() {
    let shared = Shared::default();
    RATE.charge(&shared, &tenant(), 1, 0);
    RATE.charge(&shared, &tenant(), 5000, u64::MAX / 2);
    assert_eq!(RATE.admit(&shared, &tenant(), u64::MAX / 2), Err(1));
}

#[test]
fn workers_clocks_may_differ() {
    let shared = Shared::default();
    RATE.charge(&shared, &tenant(), 5000, 10_000);
    assert_eq!(RATE.admit(&shared, &tenant(), 5_000), Err(1));
    RATE.charge(&shared, &tenant(), 0, 5_000);
    assert_eq!(RATE.admit(&shared, &tenant(), 10_000), Err(1), "time that runs backwards refills nothing");
    assert_eq!(RATE.admit(&shared, &tenant(), 10_001), Ok(()), "counted from when it was updated");
}

#[test]
fn a_clock_that_was_set_back_locks_nobody_out() {
    let shared = Shared::default();
    RATE.charge(&shared, &tenant(), 9000, 3_600_000);
    assert_eq!(RATE.admit(&shared, &tenant(), 3_600_000), Err(5));
    assert_eq!(RATE.admit(&shared, &tenant(), 0), Ok(()));
    RATE.charge(&shared, &tenant(), 6000, 0);
    assert_eq!(RATE.admit(&shared, &tenant(), 0), Err(2), "and goes on from there");
}

#[test]
fn another_rate_takes_over_the_balance() {
    let shared = Shared::default();
    RATE.charge(&shared, &tenant(), 5000, 0);
    let faster = Rate { samples_per_second: 1_000_000, burst: 10 };
    assert_eq!(faster.admit(&shared, &tenant(), 1), Ok(()));
    faster.charge(&shared, &tenant(), 10, 1);
    assert!(faster.admit(&shared, &tenant(), 1).is_err(), "the smaller burst counts");
}

/// A client that is free to name its tenant takes a new name for each write.
#[test]
fn tenants_of_the_past_take_no_memory() {
    let shared = Shared::default();
    for number in 0..100_000 {
        let tenant = TenantId::new(&format!("{number}")).unwrap();
        assert!(RATE.charge(&shared, &tenant, 10, number));
    }
    let bytes: usize = shared.values.borrow().values().map(|(value, _)| value.len()).sum();
    assert!(bytes < 500_000, "{bytes} bytes");
}

#[test]
fn a_charge_that_never_gets_through_says_so() {
    let shared = Shared { contention: 1, ..Shared::default() };
    assert!(RATE.charge(&shared, &tenant(), 1, 0), "the first has nobody before it");
    assert!(!RATE.charge(&shared, &tenant(), 1, 0));
}

/// What gets in of an offer of several times the rate for a minute, as a share of the rate, burst aside.
fn share(workers: u64, is_late: bool, contention: u32) -> f64 {
    let shared = Shared { contention, ..Shared::default() };
    let rate = Rate { samples_per_second: 10_000, burst: 10_000 };
    let (mut taken, mut late) = (0, std::collections::VecDeque::new());
    for now_ms in 0..60_000 {
        while let Some((due, samples)) = late.front().copied()
            && due <= now_ms
        {
            late.pop_front();
            rate.charge(&shared, &tenant(), samples, now_ms);
        }
        // Each worker gets a request of 500 samples every 25 ms, all of them in turn.
        for worker in 0..workers {
            if (now_ms + worker * 7) % 25 == 0 && rate.admit(&shared, &tenant(), now_ms).is_ok() {
                taken += 500;
                if is_late {
                    late.push_back((now_ms + 40, 500));
                } else {
                    rate.charge(&shared, &tenant(), 500, now_ms);
                }
            }
        }
    }
    (taken - rate.burst) as f64 / (60 * rate.samples_per_second) as f64
}

#[test]
fn a_tenant_gets_its_rate_whatever_the_number_of_workers() {
    for workers in [1, 2, 4] {
        for (is_late, contention) in [(false, 0), (true, 0), (false, 3), (true, 3)] {
            let share = share(workers, is_late, contention);
            assert!((0.95..1.05).contains(&share), "{workers} {is_late} {contention}: {share}");
        }
    }
}

/// Writes of many times the rate, a hundred of them under way at once, of which each client sends the next one as soon
/// as it may.
#[test]
fn many_large_writes_at_once_are_paid_for() {
    let shared = Shared::default();
    let rate = Rate { samples_per_second: 100, burst: 100 };
    // Each time they run up a debt of more than five hours.
    let (mut taken, hours) = (0, 100);
    for now_ms in (0..hours * 3_600_000).step_by(10_000) {
        let admitted = (0..100).filter(|_| rate.admit(&shared, &tenant(), now_ms).is_ok()).count();
        for _ in 0..admitted {
            rate.charge(&shared, &tenant(), 20_000, now_ms);
            taken += 20_000;
        }
    }
    let share = taken as f64 / (hours * 3600 * rate.samples_per_second) as f64;
    // The last debt is not worked off yet.
    assert!((0.8..1.2).contains(&share), "{share}");
}
