//! `cargo +nightly fuzz run chunk`, in `sidecar/tsdb/`. What is asked of the reader stands in `ringside_tsdb::judge`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringside_tsdb::judge::chunk(bytes));
