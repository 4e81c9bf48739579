//! `make bench-filter`: what the filter costs on one worker of Envoy, beside the same code without Envoy and Envoy without
//! the filter; and what the whole path costs. Prints a table for each and writes `docs/benchmarks/filter.md`.
//!
//! Only CPU time of the measured process counts: what the receivers of the parts need, which are in this process for
//! all but the whole path, does not.

mod core;
mod page;
mod proxy;

use std::path::Path;
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
/// Endpoints of the two rings. With as many as there are replicas, bodies go out as they came.
const RINGS: [usize; 2] = [3, 6];
const REPLICATION_FACTOR: usize = 3;

/// What one system made of a load.
#[derive(Clone, Copy, Debug)]
struct Cost {
    samples: f64,
    cpu: Duration,
    /// Milliseconds; none where nothing is waited for.
    quantiles: Option<(f64, f64)>,
}

impl Cost {
    fn new(requests: usize, cpu: Duration, exchanges: &[Exchange]) -> Self {
        let quantiles = (quantile_ms(exchanges, 0.5), quantile_ms(exchanges, 0.99));
        let quantiles = (!exchanges.is_empty()).then_some(quantiles);
        Self { samples: (requests * SERIES_PER_REQUEST) as f64, cpu, quantiles }
    }

    fn samples_per_cpu_second(&self) -> f64 {
        self.samples / self.cpu.as_secs_f64()
    }

    fn cpu_ms_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.samples
    }
}

/// What one ring cost.
struct Filter {
    endpoints: usize,
    core: Cost,
    wasm: Cost,
    plain: Cost,
}

/// What the whole path cost.
struct Path3 {
    envoy: Cost,
    sidecars: Cost,
}

/// Measures all of it, over so many scrapes, or, for the page, over enough. `render` has further flags for
/// `ringside hashring render`, to see what another setting costs.
pub(crate) async fn run(scrapes: Option<usize>, render: &[String], folder: &Path) -> Result<()> {
    let for_page = scrapes.is_none() && render.is_empty();
    let scrapes = scrapes.unwrap_or(SCRAPES);
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
    for endpoints in RINGS {
        let folder = folder.join(format!("{endpoints}"));
        let plain =
            proxy::plain(&load, endpoints, render, &folder.join("plain")).await.context("plain Envoy")?;
        let wasm =
            proxy::filter(&load, endpoints, render, &folder.join("wasm")).await.context("the filter")?;
        let filter = Filter { endpoints, core: core::measure(&load, endpoints)?, wasm, plain };
        println!("{}", page::filter(&filter));
        filters.push(filter);
    }
    let path = proxy::whole_path(&load, render, &folder.join("path")).await.context("the whole path")?;
    println!("{}", page::path(&path));
    if !for_page {
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
