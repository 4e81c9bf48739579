//! `make bench-filter`: what the filter costs on one worker of Envoy, beside the same code without Envoy and Envoy without
//! the filter; and what the whole path costs. Prints a table for each and writes `docs/benchmarks/filter.md`.
//!
//! Only CPU time of the measured process counts: what the receivers of the parts need, which are in this process for
//! all but the whole path, does not.

mod core;
mod page;
mod proxy;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use ringside_e2e::{clock, tools};

use crate::load::{Load, Plan, SERIES_PER_REQUEST};
use crate::machine;
use crate::scenario::quantile_ms;
use crate::sender::Exchange;

const SERIES: usize = 20_000;
const SCRAPE: i64 = 15_000;
/// Scrapes before the measurement.
const WARM: usize = 20;
/// Scrapes that are measured for the page.
const SCRAPES: usize = 400;
/// Scrapes that one Envoy gets before it is the other's turn.
const TURN: usize = 20;
/// Endpoints of the two rings. With as many as there are replicas, bodies go out as they came.
const RINGS: [usize; 2] = [3, 6];
const REPLICATION_FACTOR: usize = 3;

/// What one system made of a load.
#[derive(Clone, Copy, Debug)]
struct Cost {
    samples: f64,
    cpu: Duration,
    /// In milliseconds; none where nothing is waited for.
    quantiles: Option<(f64, f64)>,
    /// Of how many turns this is the median, and how many there were; zero where there are none.
    turns: (usize, usize),
    /// The median of all of them.
    cpu_of_all: Duration,
}

impl Cost {
    fn new(requests: usize, cpu: Duration, exchanges: &[Exchange]) -> Self {
        let quantiles = (quantile_ms(exchanges, 0.5), quantile_ms(exchanges, 0.99));
        let quantiles = (!exchanges.is_empty()).then_some(quantiles);
        Self {
            samples: (requests * SERIES_PER_REQUEST) as f64,
            cpu,
            quantiles,
            turns: (0, 0),
            cpu_of_all: cpu,
        }
    }

    fn samples_per_cpu_second(&self) -> f64 {
        self.samples / self.cpu.as_secs_f64()
    }

    fn cpu_ms_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.samples
    }
}

/// What one ring cost, as far as it was measured.
struct Filter {
    endpoints: usize,
    costs: BTreeMap<What, Cost>,
    /// The core for series that it has not seen before.
    first_sight: Option<Cost>,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum What {
    /// The filter's core, native.
    Core,
    /// Envoy with the filter.
    Wasm,
    /// Envoy with another module, to compare the two; only with `--beside`.
    Beside,
    /// Envoy without it, which mirrors each body to two further receivers.
    Mirror,
    /// Envoy without it.
    Plain,
    /// Envoy and three sidecars.
    Path,
}

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Scrapes of 20,000 series to measure with; then the page is not written.
    #[arg(long)]
    scrapes: Option<usize>,
    /// Only these; then neither.
    #[arg(long, value_delimiter = ',', value_enum)]
    what: Vec<What>,
    /// Only rings of so many endpoints, of 3 and 6; then neither.
    #[arg(long, value_delimiter = ',')]
    rings: Vec<usize>,
    /// Further flags for `ringside hashring render`, to see what another setting costs; then neither.
    #[arg(long, allow_hyphen_values = true)]
    render: Vec<String>,
    /// Another build of the module, which gets the load in turns with the usual one; then neither.
    #[arg(long)]
    beside: Option<PathBuf>,
}

impl Flags {
    fn is_for_page(&self) -> bool {
        let is_less = self.scrapes.is_some() || !self.what.is_empty() || !self.rings.is_empty();
        !is_less && self.render.is_empty() && self.beside.is_none()
    }

    fn wants(&self, what: What) -> bool {
        let is_wanted = self.what.is_empty() || self.what.contains(&what);
        if what == What::Beside { self.beside.is_some() } else { is_wanted }
    }
}

/// What the whole path cost.
struct Path3 {
    envoy: Cost,
    sidecars: Cost,
}

/// Measures what the flags say.
pub(crate) async fn run(flags: &Flags, folder: &Path) -> Result<()> {
    let scrapes = flags.scrapes.unwrap_or(SCRAPES);
    let render = &flags.render;
    let facts = machine::filter_facts(folder)?;
    println!("{}\n", facts.join("\n"));
    let span = i64::try_from(WARM + scrapes)? * SCRAPE;
    let load = Load::prepare(Plan {
        series: SERIES,
        scrapes: WARM + scrapes,
        interval_ms: SCRAPE,
        start: clock::aligned(span, SCRAPE)?,
        churn: None,
    })?;
    let mut filters = Vec::new();
    for endpoints in RINGS.into_iter().filter(|ring| flags.rings.is_empty() || flags.rings.contains(ring)) {
        let folder = folder.join(format!("{endpoints}"));
        let envoys = [What::Wasm, What::Beside, What::Mirror, What::Plain];
        let envoys: Vec<What> = envoys.into_iter().filter(|what| flags.wants(*what)).collect();
        let costs = proxy::in_turns(&load, endpoints, &envoys, flags, &folder).await?;
        let mut filter = Filter { endpoints, costs, first_sight: None };
        if flags.wants(What::Core) {
            filter.costs.insert(What::Core, core::measure(&load, endpoints, true)?);
            filter.first_sight = Some(core::measure(&load, endpoints, false)?);
        }
        println!("{}", page::filter(&filter));
        if let Some(cost) = filter.costs.get(&What::Beside) {
            println!("the module beside it: {:.0} k\n", cost.samples_per_cpu_second() / 1000.0);
        }
        filters.push(filter);
    }
    if !flags.wants(What::Path) {
        return Ok(());
    }
    let path = proxy::whole_path(&load, render, &folder.join("path")).await.context("the whole path")?;
    println!("{}", page::path(&path));
    if !flags.is_for_page() {
        return Ok(());
    }
    let file = tools::root().join("docs/benchmarks/filter.md");
    std::fs::create_dir_all(file.parent().unwrap_or(&file))?;
    std::fs::write(&file, page::page(&facts, &filters, &path, load.bytes_per_series()))?;
    println!("written: {}", file.display());
    Ok(())
}

/// A hashrings.json of one ring.
fn hashrings(endpoints: &[String]) -> String {
    serde_json::json!([{ "endpoints": endpoints }]).to_string()
}
