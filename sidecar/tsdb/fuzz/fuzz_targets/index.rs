//! `make fuzz ONLY=index`. What is asked of the reader stands in `ringside_tsdb::judge`.

#![no_main]

use ringside_tsdb::judge;

libfuzzer_sys::fuzz_target!(init: judge::write_seeds("index"), |bytes: &[u8]| judge::index(bytes));
