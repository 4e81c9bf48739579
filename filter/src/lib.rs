//! Ringside's module for Envoy: replicates remote writes to the sidecars of a hashring.
//!
//! Owns the start of the VM and nothing else. `root_context` holds a configuration and its writes, `http_context`
//! turns a client's stream into events, `header_map` reads headers, `effects` turns effects into host calls, `shared_data` is what workers share,
//! `stats` names what is counted.
//! Every decision is taken in `ringside_filter_core`.
//!
//! Invariant: nothing here panics. A trap would cost every request in flight in the worker.

#![deny(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod effects;
mod header_map;
mod http_context;
mod root_context;
mod shared_data;
mod stats;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(root_context::create);
}}
