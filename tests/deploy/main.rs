//! The Kubernetes files, judged without a cluster: against the API's schemas, against each other, and against
//! the programs that they start. What is judged is what `kubectl apply -k` would send, as kustomize makes it.
//!
//! Topology: no more than one sidecar or one Envoy at a time, started from the very arguments and files of the
//! manifests, on loopback.

mod envoy;
mod images;
mod manifests;
mod network;
mod references;
mod rendered;
mod ring;
mod schema;
mod sidecar;
