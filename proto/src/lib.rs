//! The wire of Ringside: the types of remote write 1.0 and 2.0 and of our own
//! messages, walkers that read a write request in place, and the names and
//! rules that the filter and the sidecar must share.
//!
//! It owns no storage and no placement. Nothing here reads a clock, starts a
//! thread or does I/O, so the crate also builds for wasm32. The walkers never
//! panic: what is malformed comes back as a [`WireError`] with its offset.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod labels;
pub mod limits;
mod parts;
pub mod protocol;
pub mod remote_write;
pub mod remote_write_v2;
pub mod settings;
pub mod snappy;
pub mod tenant;
mod wire;

pub use parts::Parts;
pub use protocol::Protocol;
pub use wire::{WireError, WireFault};

/// The types of Prometheus remote write 1.0, as generated (`tests/generated.rs` keeps them true).
pub mod prometheus {
    include!("generated/prometheus.rs");
}

/// The types of Prometheus remote write 2.0, as generated.
pub mod prometheus_v2 {
    include!("generated/io.prometheus.write.v2.rs");
}

/// Our own messages between the filter and the sidecars, as generated.
pub mod ringside {
    include!("generated/ringside.v1.rs");
}

/// Request header by which the filter asks a sidecar for the list of refused series. A sidecar that is asked says
/// what is written of a request of 1.0 too (see [`protocol::HEADERS_WRITTEN`]): the filter charges it to the tenant's
/// rate where it did not look inside, and tells no client.
pub const HEADER_REFUSALS: &str = "x-ringside-refusals";

/// Response header by which a sidecar that is asked so says how many series its part has.
pub const HEADER_SERIES: &str = "x-ringside-series";

/// Content type of an answer that carries a [`ringside::WriteRefused`].
pub const CONTENT_TYPE_REFUSED: &str = "application/x-protobuf;proto=ringside.v1.WriteRefused";

/// The longest list of refused series. A body can hold one for every two bytes; a sidecar that refuses more of them answers
/// without a list, which counts for all, and the filter reads no longer one.
pub const REFUSED_LISTED_MAX: usize = 100_000;

/// The paths that take remote write. The first is Thanos', the others are aliases.
pub const WRITE_PATHS: [&str; 3] = ["/api/v1/receive", "/api/v1/write", "/api/v1/push"];

/// Default ceiling of a decompressed request body, in bytes.
pub const DECODED_BYTES_MAX: usize = 32 << 20;

/// Most labels that a sidecar takes of a series. Where a series with more of them goes does not matter.
pub const LABELS_MAX: usize = 1_000;
