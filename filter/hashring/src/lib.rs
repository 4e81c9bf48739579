//! Placement: which sidecars a series belongs to. The series hash, the ketama
//! ring, replica sets, the quorum rule, `hashrings.json`, and what a change of
//! the ring moves. Bit for bit Thanos Receive's, so that either can take over
//! from the other and every series stays where it is.
//!
//! It does no I/O and reads no clock: the filter (wasm32) and the sidecar
//! (native) link this same crate, and no second copy of the hash exists.

#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::expect_used))]

mod config;
mod error;
mod glob;
mod hashring;
mod hashrings;
mod movement;
mod replicas;
mod series;
mod shares;

pub use error::{ConfigError, RingError};
pub use glob::{Glob, GlobError};
pub use hashring::{ENDPOINTS_MAX, Endpoint, Hashring, SECTIONS_PER_ENDPOINT};
pub use hashrings::{Hashrings, NamedRing, Tenants};
pub use movement::{Movement, NodeMovement};
pub use replicas::{EndpointIndex, ReplicaSet, ReplicaSetId, write_quorum};
pub use series::{SeriesHasher, hash_bytes, series_hash};
pub use shares::{NodeShare, shares};

#[cfg(test)]
mod golden;
