//! `make fuzz ONLY=chunk_segment`. What is asked of the reader stands in `ringside_tsdb::judge`.

#![no_main]

use ringside_tsdb::judge;

libfuzzer_sys::fuzz_target!(init: judge::write_seeds("chunk_segment"), |bytes: &[u8]| judge::chunk_segment(bytes));
