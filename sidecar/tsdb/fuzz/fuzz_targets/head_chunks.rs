//! `make fuzz ONLY=head_chunks`. What is asked of the reader stands in `ringside_tsdb::judge`.

#![no_main]

use ringside_tsdb::judge;

libfuzzer_sys::fuzz_target!(init: judge::write_seeds("head_chunks"), |bytes: &[u8]| judge::head_chunks(bytes));
