//! Feeds bytes to the walkers of remote write 2.0. What is asked of them stands in `judge`, which the property tests
//! run too.
//!
//! `make fuzz ONLY=remote_write_v2`.

#![no_main]

#[path = "../../tests/judge/v2.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|body: &[u8]| judge::judge(body));
