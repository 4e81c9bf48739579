//! The write path as a state machine: tenant, split, fan-out, verdict.
//!
//! Events go in and effects come out, so that the same code runs in Envoy's module, in a simulation and in a unit
//! test. It owns no I/O: neither host calls, nor clocks, nor randomness.
//!
//! ```text
//! headers ─ request, tenant ─▶ admitted       body ─ split ─▶ parts ─ fanout ─▶ sidecars
//!                                            client ◀─ reply ◀─ tally, quorum ◀─ answer ◀─┘
//! ```

#![cfg_attr(not(test), deny(clippy::expect_used, clippy::indexing_slicing))]

mod account;
pub mod admission;
pub mod answer;
pub mod backlog;
pub mod config;
pub mod events;
pub mod fanout;
pub mod layout;
pub mod levels;
pub mod limits;
pub mod metadata;
pub mod news;
pub mod pairs;
pub mod quorum;
pub mod rate;
pub mod reply;
pub mod request;
pub mod split;
pub mod tally;
pub mod tenant;
pub mod waiting;
mod write;

pub use admission::{Admission, Admitted};
pub use answer::{ANSWER_BYTES_MAX, Reply};
pub use config::{Config, ConfigError};
pub use events::{Call, Counter, Dispatch, Effect, Event, RequestId};
pub use fanout::{Fanouts, TICK_MS};
pub use levels::{LEVELS, Levels};
pub use limits::Limit;
pub use news::{Loaded, load};
pub use quorum::Outcome;
pub use rate::{Rate, SharedData};
pub use reply::Response;
pub use request::Head;
pub use ringside_proto::protocol::HEADERS_WRITTEN;
pub use ringside_proto::{HEADER_SERIES, Protocol};
pub use split::{Form, Splitter};
pub use tenant::{Lookup, Place, TenantId};
