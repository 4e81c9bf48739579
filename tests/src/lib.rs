//! The harness that the end-to-end tests and the demo share: real processes on loopback (Envoy with
//! the filter, sidecars, an S3 server, Prometheus), generated load whose every answer is recorded, and
//! Prometheus' own tools as the judge of what was stored.
//!
//! It links nothing of the write path: requests are encoded here, and data directories are read by
//! `promtool`. The exceptions are the hashring, which tells where a series belongs, and the walkers that tell which
//! series a part has.

pub mod bucket;
pub mod clock;
pub mod cluster;
pub mod config_map;
pub mod contents;
pub mod envoy;
pub mod generator;
pub mod http;
pub mod oracle;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod receiver;
pub mod s3;
pub mod scratch;
pub mod sidecar;
pub mod tools;
pub mod wait;
pub mod wire;
pub mod wire_v2;
