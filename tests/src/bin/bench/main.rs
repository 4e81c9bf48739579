//! `make bench`: one sidecar, Prometheus and VictoriaMetrics as remote-write receivers, one after the other on the
//! same core and the same bytes. Prints a table for each scenario; a run of everything also writes
//! `docs/benchmarks/results.md`.
//!
//! `bench filter`, by `make bench-filter`, measures the filter instead, see `filter`.
//!
//! It leaves nothing running, and its data in `target/bench/` only when it fails.

mod cores;
mod cut;
mod figures;
mod filter;
mod load;
mod machine;
mod page;
mod scenario;
mod sender;
mod series;
mod system;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use ringside_e2e::tools;

use crate::figures::Figures;
use crate::page::Outcome;
use crate::scenario::Scenario;
use crate::system::Kind;

/// As in a sidecar. The C library's own gives large bodies back to the kernel after each request.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures the storage beside its peers.
#[derive(Debug, Parser)]
struct Flags {
    /// Only these scenarios: a, b1, b2, c, d.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these systems.
    #[arg(long, value_delimiter = ',', value_enum)]
    systems: Vec<Kind>,
    #[command(subcommand)]
    instead: Option<Instead>,
}

#[derive(Debug, Subcommand)]
enum Instead {
    /// Measures the filter in Envoy.
    Filter(filter::Flags),
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    // Before any thread is there to be missed.
    cores::pin_generator()?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(bench(&flags))
}

async fn bench(flags: &Flags) -> Result<()> {
    let all = flags.only.is_empty() && flags.systems.is_empty();
    let scenarios: Vec<&'static Scenario> = scenario::ALL
        .iter()
        .filter(|scenario| flags.only.is_empty() || flags.only.iter().any(|name| name == scenario.name))
        .collect();
    ensure!(!scenarios.is_empty(), "--only names none of a, b1, b2, c, d");
    let systems: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| flags.systems.is_empty() || flags.systems.contains(kind))
        .collect();

    let (folder, begin) = (tools::root().join("target/bench"), Instant::now());
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    if let Some(Instead::Filter(flags)) = &flags.instead {
        filter::run(flags, &folder).await?;
        return Ok(std::fs::remove_dir_all(&folder)?);
    }
    let facts = machine::facts(&folder)?;
    println!("{}\n", facts.join("\n"));
    let mut outcomes = Vec::new();
    for scenario in scenarios {
        let outcome = run(scenario, &systems, &folder.join(scenario.name)).await?;
        println!("\n{}", outcome.section());
        outcomes.push(outcome);
    }
    println!("all of it took {:.0} s", begin.elapsed().as_secs_f64());
    std::fs::remove_dir_all(&folder)?;
    if all {
        let path = tools::root().join("docs/benchmarks/results.md");
        std::fs::write(&path, page::page(&facts, &outcomes)).with_context(|| path.display().to_string())?;
        println!("written: {}", path.display());
    }
    Ok(())
}

async fn run(scenario: &'static Scenario, systems: &[Kind], folder: &Path) -> Result<Outcome> {
    println!("({}) {}", scenario.name, scenario.title);
    let begin = Instant::now();
    let load = scenario.prepare()?;
    println!(
        "    load: {:.0} MB in {:.0} s, {:.2} ms of CPU a request",
        load.bytes() as f64 / 1e6,
        begin.elapsed().as_secs_f64(),
        load.cost.as_secs_f64() * 1000.0
    );
    let mut outcome = Outcome {
        scenario,
        systems: BTreeMap::new(),
        generator_share: 0.0,
        series_bytes: load.bytes_per_series(),
    };
    for &kind in systems {
        let (folder, begin) = (folder.join(kind.name()), Instant::now());
        std::fs::create_dir_all(&folder)?;
        let (mut figures, share) = scenario
            .run(&load, kind, &folder)
            .await
            .with_context(|| format!("{}: {}", scenario.name, kind.name()))?;
        outcome.generator_share = outcome.generator_share.max(share);
        if kind == Kind::Prometheus && outcome.systems.contains_key(&Kind::Ringside) && scenario.restarts() {
            let ours = folder.with_file_name(Kind::Ringside.name());
            figures.extend(start_on_our_wal(&ours, &folder.with_file_name("on-our-wal")).await?);
        }
        println!("    {} took {:.0} s", kind.name(), begin.elapsed().as_secs_f64());
        outcome.systems.insert(kind, figures);
    }
    std::fs::remove_dir_all(folder)?;
    Ok(outcome)
}

async fn start_on_our_wal(ours: &Path, folder: &Path) -> Result<Figures> {
    scenario::prometheus_on_our_wal(ours, folder).await.context("Prometheus on Ringside's WAL")
}
