//! Where the programs are that the tests run: our own artifacts under `target/`, foreign tools under
//! `.tools/bin/`. A missing one is an error that carries the line which builds or installs it; it is
//! never a reason to skip. This module builds and installs nothing itself.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The root of the checkout.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// The `ringside` binary of the profile that this code was built with, so that `cargo test` judges what
/// `cargo build` has just made and never a stale release build.
pub fn ringside() -> Result<PathBuf> {
    if cfg!(debug_assertions) {
        artifact("target/debug/ringside", "cargo build -p ringside")
    } else {
        artifact("target/release/ringside", "cargo build --release -p ringside")
    }
}

/// The filter, as Envoy loads it.
pub fn wasm_module() -> Result<PathBuf> {
    artifact("target/ringside.wasm", "scripts/build-wasm")
}

/// The filter in the build that traps on the header `x-ringside-trap`.
pub fn trapping_wasm_module() -> Result<PathBuf> {
    artifact(
        "target/ringside-trap.wasm",
        "MODULE=target/ringside-trap.wasm scripts/build-wasm --features trap",
    )
}

/// Envoy, the real one, with V8.
pub fn envoy() -> Result<PathBuf> {
    artifact(".tools/bin/envoy", "scripts/tools envoy")
}

/// Debian's Prometheus 2.42.
pub fn prometheus() -> Result<PathBuf> {
    artifact(".tools/bin/prometheus", "scripts/tools prometheus")
}

/// Debian's VictoriaMetrics 1.79, single-node.
pub fn victoria_metrics() -> Result<PathBuf> {
    artifact(".tools/bin/victoria-metrics", "scripts/tools victoria-metrics")
}

/// The judge of every data directory.
pub fn promtool() -> Result<PathBuf> {
    artifact(".tools/bin/promtool", "scripts/tools prometheus")
}

/// SeaweedFS, the S3 server.
pub fn weed() -> Result<PathBuf> {
    artifact(".tools/bin/weed", "scripts/tools s3")
}

fn artifact(path: &str, install: &str) -> Result<PathBuf> {
    let found = root().join(path);
    if !found.is_file() {
        bail!("{path} is missing; this makes it: {install}");
    }
    Ok(found)
}
