//! Feeds bytes to the walkers. What is asked of them stands in `judge`, which the property tests run too.
//!
//! `make fuzz ONLY=remote_write`.

#![no_main]

#[path = "../../tests/judge/v1.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|body: &[u8]| judge::judge(body));
