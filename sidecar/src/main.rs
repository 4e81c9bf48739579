//! The `ringside` binary: reads the command line, starts the runtime, sets the exit code.

mod app;
mod append;
mod background;
mod backoff;
mod bucket;
mod cardinality;
mod config;
mod data_dir;
mod error;
mod external_labels;
mod flush;
mod grpc;
mod hashring;
mod histograms;
mod http;
mod limits;
mod logging;
mod metrics;
mod pressure;
mod process;
mod ring;
mod shipper;
mod snappy;
mod table;
mod tenant_id;
mod tenants;
mod tsdb_command;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tikv_jemalloc_ctl::{Access, AsName};

use crate::config::{Cli, Command, SidecarFlags};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long freed memory waits for its next use before the kernel gets it.
const FREED_KEPT_MS: isize = 250;

/// For blocking work that is still under way at the very end, such as a replay that a signal cut short.
const RUNTIME_STOP_MAX: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Sidecar(flags) => sidecar(*flags),
        Command::Hashring(command) => hashring::run(*command),
        Command::Tsdb(command) => tsdb_command::run(*command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringside: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn sidecar(flags: SidecarFlags) -> anyhow::Result<()> {
    logging::init(flags.log());
    let config = flags.into_config()?;
    give_memory_back();
    take_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(app::run(config));
    runtime.shutdown_timeout(RUNTIME_STOP_MAX);
    Ok(outcome?)
}

/// Takes as many file descriptors as the process may have: by default it gets a few only, and each connection needs one.
fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let told = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let enough = limit.maximum.is_none_or(|most| most > http::CONNECTIONS_MAX as u64);
    if told.is_err() || !enough {
        tracing::warn!(
            limit = ?limit.maximum,
            needed = http::CONNECTIONS_MAX,
            "connections beyond the limit on open files will wait"
        );
    }
}

/// Has the allocator return freed memory to the kernel by itself, also while nothing is allocated, and soon: resident
/// memory is what [`pressure`] goes by, and a replay frees more in a second than a day of writes.
fn give_memory_back() {
    // The first arena is there already; the others are made as this says.
    let decays = ["arenas.dirty_decay_ms\0", "arena.0.dirty_decay_ms\0"];
    let told = tikv_jemalloc_ctl::background_thread::write(true);
    let told = decays.into_iter().fold(told, |told, name| told.and(name.name().write(FREED_KEPT_MS)));
    if let Err(error) = told {
        tracing::warn!(%error, "the allocator does not return memory by itself, or not soon");
    }
}
