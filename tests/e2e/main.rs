//! End-to-end tests with the real Envoy, real Prometheus and a real S3 server, on loopback. One binary,
//! so that it links once; a module for each promise, its topology in its opening comment.

mod bodies;
mod bucket_outage;
mod compliance;
mod dead_sidecar;
mod edge;
mod garbage;
mod hashrings;
mod kill_one;
mod kill_two;
mod limits;
mod placement;
mod prometheus_reads;
mod reconfiguration;
mod remote_write_2;
mod slow_replica;
mod soak;
mod statistics;
mod tenants;
mod thanos_receive;
mod trap;
mod verdicts;
mod write_path;
