//! `make fuzz ONLY=meta_json`. What is asked of the reader stands in `ringside_tsdb::judge`.

#![no_main]

use ringside_tsdb::judge;

libfuzzer_sys::fuzz_target!(init: judge::write_seeds("meta_json"), |bytes: &[u8]| judge::meta_json(bytes));
