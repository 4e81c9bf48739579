//! Simulation: the filter's core among modelled sidecars, on a modelled network and clock, for thousands of seeds.
//!
//! Topology: five to nine sidecars; a hashring over two to all of them at two to five replicas, which may change
//! under way; one to three clients, which send both versions of remote write and repeat what they are told to repeat.
//! Requests, replies and whole sidecars get lost, delayed or doubled. What must hold of an answer stands in `answer`, and
//! what when all is over in `check`; `verdict` is the plain model that an answer is compared with.
//!
//! `RINGSIDE_SIMULATION_SEEDS` sets how many seeds are tried, and `RINGSIDE_SIMULATION_FIRST` the first of them, so that a
//! seed that fails, which is printed, is tried alone by the two. One beyond those that are always tried becomes a test of its
//! own with the fix, under a name that says what went wrong; none has so far.

#![cfg(not(target_arch = "wasm32"))]

mod answer;
mod check;
mod configs;
mod faults;
mod random;
mod sidecar;
mod traffic;
mod verdict;
mod witness;
mod world;

use std::collections::BTreeMap;

use configs::Configs;
use faults::Fault;
use world::World;

const SEEDS: u64 = 3000;

/// Runs the world of a seed; what happened in it.
fn run(seed: u64, configs: &Configs) -> BTreeMap<String, u64> {
    struct Failed(u64);
    impl Drop for Failed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("simulation: seed {} failed", self.0);
            }
        }
    }
    let guard = Failed(seed);
    let witness = World::new(seed, configs.clone()).run().expect("what must hold");
    drop(guard);
    witness.events
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn every_seed_keeps_the_invariants() {
    let first = setting("RINGSIDE_SIMULATION_FIRST", 0);
    let count = setting("RINGSIDE_SIMULATION_SEEDS", SEEDS);
    let configs = Configs::default();
    let mut events: BTreeMap<String, u64> = BTreeMap::new();
    for seed in first..first + count {
        for (event, times) in run(seed, &configs) {
            *events.entry(event).or_default() += times;
        }
    }
    println!("{count} worlds: {events:?}");
    if count >= SEEDS {
        for event in check::EVENTS {
            assert!(events.contains_key(event), "no world has shown: {event}");
        }
    }
}

#[test]
fn a_seed_makes_one_world() {
    let configs = Configs::default();
    for seed in 0..20 {
        assert_eq!(run(seed, &configs), run(seed, &configs), "seed {seed}");
    }
}

/// How many of so many worlds with a fault a check has found, and how many let a changed answer through.
fn found(fault: Fault, worlds: u64, configs: &Configs) -> (u64, u64) {
    let (mut found, mut let_through) = (0, 0);
    for seed in 0..worlds {
        match World::with_fault(seed, configs.clone(), fault).run() {
            Ok(witness) => let_through += u64::from(witness.events.contains_key("changed answer")),
            Err(_) => found += 1,
        }
    }
    (found, let_through)
}

#[test]
fn a_wrong_status_is_found_in_every_world() {
    let configs = Configs::default();
    let successes = [(200, 503), (204, 503), (204, 400)];
    let retries = [(503, 409), (503, 429), (503, 200), (429, 503), (429, 409), (429, 204)];
    let refusals = [(400, 503), (400, 413), (409, 503), (409, 400), (409, 200), (413, 409), (415, 400)];
    for (from, to) in [&successes[..], &retries, &refusals].concat() {
        let (found, let_through) = found(Fault::Status { from, to }, 100, &configs);
        assert_eq!(let_through, 0, "{from} as {to}");
        assert!(found > 0, "no world has an answer of {from}");
    }
}

#[test]
fn a_wrong_count_is_found() {
    let configs = Configs::default();
    let miscounts = [Fault::Written { more: 1 }, Fault::Written { more: -1 }];
    for fault in [&miscounts[..], &[Fault::CountsTwice, Fault::LosesReplies]].concat() {
        let (found, _) = found(fault, 100, &configs);
        assert!(found > 50, "{fault:?}: found in {found} worlds of 100");
    }
}
