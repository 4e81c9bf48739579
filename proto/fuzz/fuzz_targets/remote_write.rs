//! Feeds bytes to the walkers. What is asked of them stands in `judge`, which the property tests run too.
//!
//! `cargo +nightly fuzz run remote_write`, in `proto/`.

#![no_main]

#[path = "../../tests/judge/v1.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|body: &[u8]| judge::judge(body));
