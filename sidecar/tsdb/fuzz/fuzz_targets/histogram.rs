//! `make fuzz ONLY=histogram`: native histograms off the wire, decoded as the sidecar does it. What it takes is the same
//! when it is stored and read again.

#![no_main]

#[path = "../../../src/histograms.rs"]
mod histograms;

use ringside_tsdb::judge;

libfuzzer_sys::fuzz_target!(init: judge::write_seeds("histogram"), |message: &[u8]| {
    if let Ok((t_ms, value)) = histograms::decode(message) {
        judge::value(t_ms, &value);
    }
});
